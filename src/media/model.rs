//! A model of the relay in the kernel: what [`apply`] says, with deadlines, counts and refusals, so that the rules and the
//! simulator can be tried without one.
//!
//! The network asks [`Kernel::packet`] before it hands a datagram to a socket; the relay has [`Kernel::path`]. Whatever is
//! simplified here is simpler than the real thing in the same way: one CPU, every neighbour known unless told otherwise.

use super::options::RelayConfig;
use super::path::{FastCounts, FastPath, FastRule, Mark, PassReason, PathRequest, PathTotals, Swept};
use super::relay::{Applied, Expect, Miss, Rule, apply};
use super::rtp::Header;
use crate::base::time::Duration;
use crate::base::{Instant, SocketKey};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const DROPOUT_MAX: u16 = 3000;
const MISORDER_MAX: u16 = 100;

/// What the kernel does with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The socket gets it.
    Up,
    /// It leaves again, unchanged.
    Relayed {
        /// From this address of ours.
        from: SocketAddr,
        /// To the far party.
        to: SocketAddr,
    },
    /// Nobody gets it.
    Dropped,
}

/// A fault of the kernel's side, planted to see that the tests notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A rule goes on after it was taken up.
    DeafToUp,
    /// What was relayed between the last sweep and the way up is forgotten.
    ForgetsRest,
    /// The deadline is not looked at.
    Immortal,
    /// Any source identifier and payload type matches.
    Careless,
    /// Relays a packet and passes it up as well.
    Doubles,
}

#[derive(Debug)]
struct Below {
    rule: Rule,
    from: SocketAddr,
    clock_rate: u32,
    deadline: Instant,
}

/// One row of counters: outlives its rule until it is read.
#[derive(Debug, Default)]
struct Series {
    counts: FastCounts,
    begun: bool,
    reference: Option<(Instant, u32)>,
}

#[derive(Debug, Default)]
struct Port {
    open: bool,
    below: Option<Below>,
    series: Series,
}

#[derive(Debug)]
struct State {
    config: RelayConfig,
    dead_man: Duration,
    ports: BTreeMap<u32, Port>,
    blocked: BTreeMap<IpAddr, Instant>,
    totals: PathTotals,
    refuses: bool,
    bug: Option<Bug>,
}

/// See the head of this file. Clones are the same kernel.
#[derive(Clone, Debug)]
pub struct Kernel(Arc<Mutex<State>>);

impl Kernel {
    /// For the ports of one relay. Rules end `dead_man` after the last sweep.
    #[must_use]
    pub fn new(config: RelayConfig, dead_man: Duration) -> Self {
        Self(Arc::new(Mutex::new(State {
            config,
            dead_man,
            ports: BTreeMap::new(),
            blocked: BTreeMap::new(),
            totals: PathTotals::default(),
            refuses: false,
            bug: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The relay's end of it.
    #[must_use]
    pub fn path(&self) -> Box<dyn FastPath> {
        Box::new(self.clone())
    }

    /// No neighbour is known from now on, or all are again.
    pub fn refuse(&self, refuses: bool) {
        self.state().refuses = refuses;
    }

    /// True where a refusal is in force.
    #[must_use]
    pub fn is_refusing(&self) -> bool {
        self.state().refuses
    }

    /// Plants a fault.
    pub fn plant(&self, bug: Option<Bug>) {
        self.state().bug = bug;
    }

    /// Ports that are down.
    #[must_use]
    pub fn below(&self) -> usize {
        self.state().ports.values().filter(|port| port.below.is_some()).count()
    }

    /// Pairs that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.state().ports.values().filter(|port| port.open).count()
    }

    /// A datagram has come for `to`.
    #[must_use]
    pub fn packet(&self, now: Instant, from: SocketAddr, to: SocketAddr, packet: &[u8]) -> Fate {
        self.state().packet(now, from, to, packet)
    }
}

impl State {
    /// The pair that an address of ours belongs to, and whether it is the pair's RTP port.
    fn pair(&self, to: SocketAddr) -> Option<(u32, bool)> {
        let (own, family) = if to.is_ipv6() { (self.config.v6, self.config.port_range()) } else { (self.config.v4, 0) };
        let in_range = (self.config.port_min..=self.config.port_max).contains(&to.port());
        (own?.bind == to.ip() && in_range).then(|| {
            let even = u32::from((to.port() & !1).saturating_sub(self.config.port_min));
            (self.config.socket_base + family + even, to.port() & 1 == 0)
        })
    }

    fn packet(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, packet: &[u8]) -> Fate {
        let is_blocked = self.blocked.get(&from.ip()).is_some_and(|until| *until > now);
        let fate = match self.pair(to) {
            None => Fate::Up,
            Some((key, is_rtp)) => self.packet_of_pair(now, key, is_rtp, from, packet),
        };
        if fate == Fate::Up && is_blocked {
            self.totals.blocked += 1;
            return Fate::Dropped;
        }
        fate
    }

    fn packet_of_pair(&mut self, now: Instant, key: u32, is_rtp: bool, from: SocketAddr, packet: &[u8]) -> Fate {
        let Some(port) = self.ports.get_mut(&key).filter(|port| port.open) else {
            self.totals.closed += 1;
            return Fate::Dropped;
        };
        let bug = self.bug;
        let mut pass = |reason: PassReason| {
            self.totals.passed[reason.index()] += 1;
            Fate::Up
        };
        let Some(below) = port.below.as_mut().filter(|_| is_rtp) else { return pass(PassReason::Open) };
        if below.deadline <= now && bug != Some(Bug::Immortal) {
            return pass(PassReason::Expired);
        }
        let header = Header::parse(packet);
        if bug == Some(Bug::Careless)
            && let Some(expect) = header.and_then(|header| Expect::new(header.payload_type, header.ssrc))
        {
            below.rule.expect = expect;
        }
        match apply(&mut below.rule, from, packet) {
            Applied::Forward { to, .. } => {
                if let Some(header) = header {
                    port.series.take(now, &header, packet.len(), below.clock_rate);
                }
                if bug == Some(Bug::Doubles) { Fate::Up } else { Fate::Relayed { from: below.from, to } }
            }
            Applied::Miss(Miss::Source) => pass(PassReason::Source),
            Applied::Miss(Miss::NotRtp) => pass(PassReason::NotRtp),
            Applied::Miss(Miss::Unexpected) => pass(PassReason::Unexpected),
        }
    }

    fn lower(&mut self, now: Instant, key: SocketKey, fast: FastRule) -> bool {
        let Some(expect) = Expect::new(fast.payload_type, fast.ssrc).filter(|_| !self.refuses) else { return false };
        let port = self.ports.entry(key.0).or_default();
        let is_sound = port.open && port.below.is_none() && port.series.counts.packets == 0;
        assert!(is_sound || self.bug.is_some(), "{key:?} goes down twice, or is nobody's, or was not read: {port:?}");
        let rule = Rule { source: fast.source, socket: key, to: fast.to, expect, packets: 0, bytes: 0 };
        let deadline = now + self.dead_man;
        port.below = Some(Below { rule, from: fast.from, clock_rate: fast.clock_rate, deadline });
        port.series = Series::default();
        true
    }
}

impl Series {
    fn take(&mut self, now: Instant, header: &Header, len: usize, clock_rate: u32) {
        let counts = &mut self.counts;
        counts.packets += 1;
        counts.bytes += len as u64;
        counts.last = Some(now);
        let ahead = header.sequence.wrapping_sub(counts.highest);
        if !self.begun {
            self.begun = true;
        } else if ahead == 0 {
            counts.duplicates += 1;
            return;
        } else if ahead > u16::MAX - MISORDER_MAX {
            counts.late += 1;
            return;
        } else if ahead >= DROPOUT_MAX {
            counts.skipped += u32::from(ahead) - 1;
        } else {
            counts.gaps += u32::from(ahead > 1);
        }
        counts.highest = header.sequence;
        self.measure(now, header.timestamp, clock_rate);
    }

    fn measure(&mut self, now: Instant, timestamp: u32, clock_rate: u32) {
        let before = self.reference.replace((now, timestamp));
        let (Some((arrival, sent)), true) = (before, clock_rate > 0) else { return };
        let units = i128::from(timestamp.wrapping_sub(sent).cast_signed());
        let apart = now.since(arrival).as_nanos() as i128 - units * 1_000_000_000 / i128::from(clock_rate);
        let difference = Duration::from_nanos(u64::try_from(apart.unsigned_abs()).unwrap_or(u64::MAX));
        let counts = &mut self.counts;
        counts.jitter = counts.jitter - counts.jitter / 16 + difference / 16;
        counts.jitter_max = counts.jitter_max.max(counts.jitter);
    }

    /// The news; what is absolute stays.
    fn read(&mut self) -> FastCounts {
        let FastCounts { highest, jitter, jitter_max, .. } = self.counts;
        let rest = FastCounts { highest, jitter, jitter_max, ..FastCounts::default() };
        std::mem::replace(&mut self.counts, rest)
    }
}

impl FastPath for Kernel {
    fn name(&self) -> &'static str {
        "model"
    }

    fn apply(&mut self, now: Instant, request: PathRequest) -> bool {
        let mut state = self.state();
        let bug = state.bug;
        match request {
            PathRequest::Down { key, rule } => return state.lower(now, key, rule),
            PathRequest::Adopted { key, to, .. } => {
                let rule = state.ports.get(&key.0).and_then(|port| Some(port.below.as_ref()?.rule.to.ip()));
                assert!(rule == Some(to) || bug.is_some(), "{key:?} is not below, or goes elsewhere: {rule:?}");
            }
            PathRequest::Up { key } => {
                let port = state.ports.entry(key.0).or_default();
                if bug == Some(Bug::ForgetsRest) {
                    port.series.read();
                }
                if bug != Some(Bug::DeafToUp) {
                    port.below = None;
                }
            }
            PathRequest::Opened { key } => {
                *state.ports.entry(key.0).or_default() = Port { open: true, ..Port::default() }
            }
            PathRequest::Closed { key } => *state.ports.entry(key.0).or_default() = Port::default(),
        }
        true
    }

    fn read(&mut self, _: Instant, key: SocketKey) -> FastCounts {
        self.state().ports.get_mut(&key.0).map(|port| port.series.read()).unwrap_or_default()
    }

    /// Readings are the kernel's own here.
    fn mark(&self, _: SocketKey) -> Mark {
        Mark::default()
    }

    fn sweep(&mut self, now: Instant, report: &mut dyn FnMut(SocketKey, Swept)) {
        let mut state = self.state();
        let deadline = now + state.dead_man;
        for (key, port) in &mut state.ports {
            let Some(below) = &mut port.below else { continue };
            below.deadline = deadline;
            if port.series.counts.packets > 0 {
                report(SocketKey(*key), Swept::Counts(port.series.read()));
            }
        }
    }

    fn block(&mut self, _: Instant, source: IpAddr, until: Instant) {
        self.state().blocked.insert(source, until);
    }

    fn totals(&mut self) -> Option<PathTotals> {
        Some(self.state().totals)
    }
}
