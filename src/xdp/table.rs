//! One shard's rows: writes rules, keeps them alive, reads what they counted. Only this shard writes them.
//!
//! **How a rule is written.** The program reads deadline and sequence as one word, then the fields, then the sequence again
//! before it changes the packet. So a rule is taken out by one store (deadline zero), and written with the sequence odd:
//! fields, sequence even, and the deadline last. The tests look at every interleaving (`torn.rs`). The relay lets
//! [`SETTLE`](crate::media::path::SETTLE) pass between taking a rule out and writing the next one into the same row, far longer
//! than a run of the program, so that also a processor that reorders loads cannot see the old rule's deadline with the new rule's
//! fields; and on such a one the deadline comes with the next sweep, so that it cannot see the new one's with the old fields.

use super::hops::Aim;
use super::layout::{Row, changes, ports, state, words};
use super::memory::Memory;
use super::ticks::Ticks;
use crate::base::time::Duration;
use crate::base::{Instant, SocketKey};
use crate::media::path::{FastCounts, FastPath, FastRule, Mark, PathRequest, PathTotals, Swept};
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, fence};

/// Finds the way to a far party. Shards share it; it must not block.
pub trait Ways: Send + Sync + Debug {
    /// The hop towards `to`, if it is known and may be used now; otherwise it is asked for, and may be known later.
    fn resolve(&self, to: Aim) -> Option<u16>;

    /// A rule towards `to` is using the hop: true while that is still the way.
    fn keep(&self, to: Aim, hop: u16) -> bool;

    /// A rule of the process before goes to `to` by this hop.
    fn adopt(&self, to: Aim, hop: u16);
}

/// What the node has once and shards share.
pub trait Commons: Send + Sync + Debug {
    /// Drops UDP from a source for so long.
    fn block(&self, source: IpAddr, ticks: u64);

    /// What was dropped and passed up.
    fn totals(&self) -> PathTotals;

    /// False while another process has the rules: no table ends them then.
    fn is_ours(&self) -> bool;
}

/// Which keys and ports are the shard's, and what it says about itself.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    /// The socket key of `port_min` on the IPv4 address.
    pub socket_base: u32,
    /// The first port.
    pub port_min: u16,
    /// The last.
    pub port_max: u16,
    /// This shard tells the node's totals.
    pub tells_totals: bool,
}

/// How the way is called in figures and by `show calls`.
#[must_use]
pub const fn name(native: bool) -> &'static str {
    if native { "xdp" } else { "xdp-generic" }
}

/// The program's loads take place in their order.
const LOADS_IN_ORDER: bool = cfg!(target_arch = "x86_64");

/// How far the counters of a row have come.
fn mark_of(row: &Row) -> Mark {
    Mark {
        packets: row.packets.load(Relaxed),
        octets: row.octets.load(Relaxed),
        duplicates: row.duplicates.load(Relaxed),
        late: row.late.load(Relaxed),
        gaps: row.gaps.load(Relaxed),
        skipped: row.skipped.load(Relaxed),
    }
}

/// The fast path of one shard.
#[derive(Debug)]
pub struct ShardTable {
    name: &'static str,
    is_generic: bool,
    memory: Arc<Memory>,
    ways: Arc<dyn Ways>,
    commons: Arc<dyn Commons>,
    ticks: Ticks,
    dead_man: Duration,
    slice: Slice,
    /// By pair: as far as it has been read.
    marks: Vec<Mark>,
    /// Pairs whose rules are in, for the sweep.
    installed: Vec<Installed>,
    /// By pair: its place in `installed` and one, or zero.
    places: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Installed {
    pair: usize,
    to: Aim,
    hop: u16,
}

/// What a table is made of.
#[derive(Debug)]
pub struct TableOptions {
    /// Native on every device; otherwise parties behind VLANs may stay on the sockets.
    pub native: bool,
    /// What the program sees.
    pub memory: Arc<Memory>,
    /// Next hops.
    pub ways: Arc<dyn Ways>,
    /// The blocklist and the totals.
    pub commons: Arc<dyn Commons>,
    /// The kernel's time.
    pub ticks: Ticks,
    /// Rules end so long after the last sweep.
    pub dead_man: Duration,
    /// The shard's part.
    pub slice: Slice,
}

impl ShardTable {
    /// A table with no rule. Rows are left as they are until the relay says who is open.
    #[must_use]
    pub fn new(options: TableOptions) -> Self {
        let TableOptions { native, memory, ways, commons, ticks, dead_man, slice } = options;
        let pairs = 2 * usize::from(slice.pairs());
        Self {
            name: name(native),
            is_generic: !native,
            memory,
            ways,
            commons,
            ticks,
            dead_man,
            slice,
            marks: vec![Mark::default(); pairs],
            installed: Vec::with_capacity(pairs),
            places: vec![0; pairs],
        }
    }

    /// Which pair of the slice a key names: IPv4 first.
    fn pair(&self, key: SocketKey) -> Option<usize> {
        let (range, pairs) = (self.slice.range(), usize::from(self.slice.pairs()));
        let index = key.0.checked_sub(self.slice.socket_base)?;
        let (family, offset) = (index.checked_div(range)?, index.checked_rem(range)?);
        let port = self.slice.port_min.checked_add(u16::try_from(offset).ok()?)?;
        let pair = usize::from(port.checked_sub(self.slice.first())? / 2);
        (family < 2 && port % 2 == 0 && pair < pairs).then_some(family as usize * pairs + pair)
    }

    fn key(&self, pair: usize) -> SocketKey {
        let pairs = usize::from(self.slice.pairs());
        let (family, pair) = ((pair / pairs) as u32, (pair % pairs) as u32);
        let offset = u32::from(self.slice.first() - self.slice.port_min) + 2 * pair;
        SocketKey(self.slice.socket_base + family * self.slice.range() + offset)
    }

    /// The RTP port of a pair.
    fn port(&self, pair: usize) -> u16 {
        self.slice.first() + 2 * (pair % usize::from(self.slice.pairs())) as u16
    }

    fn is_v6(&self, pair: usize) -> bool {
        pair >= usize::from(self.slice.pairs())
    }

    fn row(&self, pair: usize) -> Option<&Row> {
        let offset = self.port(pair).checked_sub(self.memory.constants.port_min)?;
        self.memory.rows(self.is_v6(pair)).get(usize::from(offset / 2))
    }

    fn lower(&mut self, pair: usize, rule: &FastRule) -> bool {
        let Some(row) = self.row(pair).filter(|row| row.state.load(Relaxed) == state::OPEN) else { return false };
        let v6 = self.is_v6(pair);
        let one_family = [rule.source, rule.to, rule.from].iter().all(|address| address.is_ipv6() == v6);
        // RTCP would pass for these (RFC 5761 §4).
        let is_rtp = rule.payload_type < 128 && !matches!(rule.payload_type, 64..=95);
        let (Some(own), true) = (self.own(v6), one_family && is_rtp) else { return false };
        let to = Aim { to: rule.to.ip(), dscp: rule.dscp };
        let Some(hop) = self.ways.resolve(to) else { return false };
        // Who has no way because the program is not shown his tag sends frames with one, too.
        if self.is_generic && self.ways.resolve(Aim { to: rule.source.ip(), dscp: 0 }).is_none() {
            return false;
        }
        let deadline = match LOADS_IN_ORDER {
            true => self.ticks.deadline(self.ticks.at(Ticks::monotonic()), self.dead_man),
            false => 0,
        };
        write(row, rule, SocketAddr::new(own, self.port(pair)), hop, deadline, &|_| {});
        let mark = mark_of(row);
        self.install(pair, to, hop, mark);
        true
    }

    /// The rule is in.
    fn install(&mut self, pair: usize, to: Aim, hop: u16, mark: Mark) {
        self.marks[pair] = mark;
        self.installed.push(Installed { pair, to, hop });
        self.places[pair] = self.installed.len() as u32;
    }

    fn adopt(&mut self, pair: usize, to: IpAddr, mark: Mark) -> bool {
        let Some(row) = self.row(pair).filter(|row| row.state.load(Relaxed) == state::SETTLED) else { return false };
        let (hop, to) = (row.hop.load(Relaxed), Aim { to, dscp: row.dscp.load(Relaxed) });
        self.ways.adopt(to, hop);
        self.install(pair, to, hop, mark);
        true
    }

    /// Our address of that family.
    fn own(&self, v6: bool) -> Option<IpAddr> {
        let constants = &self.memory.constants;
        if v6 {
            let mut octets = [0; 16];
            octets[..12].copy_from_slice(&constants.v6_prefix);
            octets[12..].copy_from_slice(&constants.v6_base.to_be_bytes());
            (constants.v6_count > 0).then(|| octets.into())
        } else {
            (constants.v4_count > 0).then(|| constants.v4_base.to_be_bytes().into())
        }
    }

    fn set_state(&mut self, pair: usize, to: u8) {
        if let Some(row) = self.row(pair) {
            row.deadline.store(0, Relaxed);
            row.state.store(to, Release);
        }
        let Some(place) = self.places[pair].checked_sub(1) else { return };
        self.places[pair] = 0;
        self.installed.swap_remove(place as usize);
        if let Some(moved) = self.installed.get(place as usize) {
            self.places[moved.pair] = place + 1;
        }
    }

    fn news(&mut self, now: Instant, jiffies: u64, pair: usize) -> FastCounts {
        let Some(row) = self.row(pair) else { return FastCounts::default() };
        let new = mark_of(row);
        let (highest, last) = (row.highest.load(Relaxed), row.last.load(Relaxed));
        let nanos = |value: u32| Duration::from_nanos(u64::from(value));
        let jitter = (nanos(row.jitter_ns.load(Relaxed)), nanos(row.jitter_ns_max.load(Relaxed)));
        let old = std::mem::replace(&mut self.marks[pair], new);
        let packets = new.packets.wrapping_sub(old.packets);
        FastCounts {
            packets: packets.into(),
            bytes: new.octets.wrapping_sub(old.octets).into(),
            last: (packets > 0).then(|| self.ticks.instant(now, jiffies, last)),
            highest,
            duplicates: new.duplicates.wrapping_sub(old.duplicates),
            late: new.late.wrapping_sub(old.late),
            gaps: new.gaps.wrapping_sub(old.gaps),
            skipped: new.skipped.wrapping_sub(old.skipped),
            jitter: jitter.0,
            jitter_max: jitter.1,
        }
    }
}

impl Slice {
    const fn range(&self) -> u32 {
        self.port_max as u32 + 1 - self.port_min as u32
    }

    /// The first even port.
    const fn first(&self) -> u16 {
        self.port_min + self.port_min % 2
    }

    const fn pairs(&self) -> u16 {
        ((self.port_max as u32 + 1).saturating_sub(self.first() as u32) / 2) as u16
    }
}

/// Writes a rule into a row whose deadline is zero. `seen` is shown the row after each store, as the program may find it.
fn write(row: &Row, rule: &FastRule, own: SocketAddr, hop: u16, deadline: u32, seen: &impl Fn(&Row)) {
    let put = |place: &AtomicU32, value: u32| {
        place.store(value, Relaxed);
        seen(row);
    };
    let put_half = |place: &AtomicU16, value: u16| {
        place.store(value, Relaxed);
        seen(row);
    };
    let put_octet = |place: &AtomicU8, value: u8| {
        place.store(value, Relaxed);
        seen(row);
    };
    let (ip_change, udp_change) = changes([rule.source, own], [rule.from, rule.to]);
    let sequence = row.sequence.load(Relaxed);
    put(&row.sequence, sequence | 1);
    fence(Release);
    put(&row.ssrc, rule.ssrc.to_be());
    put_half(&row.rtp, u16::from_ne_bytes([0x80, rule.payload_type & 0x7f]));
    put_half(&row.hop, hop);
    put(&row.ports, ports(rule.source.port(), own.port()));
    put(&row.ports_out, ports(rule.from.port(), rule.to.port()));
    put_half(&row.udp_change, udp_change);
    put_half(&row.ip_change, ip_change);
    put(&row.from, words(rule.from.ip())[3]);
    let mut to = words(rule.to.ip());
    if rule.to.is_ipv4() {
        to.rotate_right(1);
    }
    for (places, words) in [(&row.source, words(rule.source.ip())), (&row.to, to)] {
        places.iter().zip(words).for_each(|(place, word)| put(place, word));
    }
    let ns_per_unit_q8 = 256_000_000_000u64.checked_div(rule.clock_rate.into()).unwrap_or(0);
    put(&row.ns_per_unit_q8, u32::try_from(ns_per_unit_q8).unwrap_or(0));
    put(&row.jitter_ns, 0);
    put(&row.jitter_ns_max, 0);
    put_half(&row.generation, row.generation.load(Relaxed).wrapping_add(1));
    put_octet(&row.dscp, rule.dscp & 63);
    put_octet(&row.state, state::SETTLED);
    fence(Release);
    put(&row.sequence, (sequence | 1).wrapping_add(1));
    fence(Release);
    put(&row.deadline, deadline);
}

impl FastPath for ShardTable {
    fn name(&self) -> &'static str {
        self.name
    }

    fn apply(&mut self, _: Instant, request: PathRequest) -> bool {
        let (PathRequest::Opened { key }
        | PathRequest::Closed { key }
        | PathRequest::Down { key, .. }
        | PathRequest::Up { key }
        | PathRequest::Adopted { key, .. }) = request;
        let Some(pair) = self.pair(key) else { return false };
        match request {
            PathRequest::Down { rule, .. } => return self.lower(pair, &rule),
            PathRequest::Adopted { to, mark, .. } => return self.adopt(pair, to, mark),
            PathRequest::Opened { .. } | PathRequest::Up { .. } => self.set_state(pair, state::OPEN),
            PathRequest::Closed { .. } => self.set_state(pair, state::CLOSED),
        }
        true
    }

    fn read(&mut self, now: Instant, key: SocketKey) -> FastCounts {
        fence(Acquire);
        let jiffies = self.ticks.at(Ticks::monotonic());
        self.pair(key).map(|pair| self.news(now, jiffies, pair)).unwrap_or_default()
    }

    fn mark(&self, key: SocketKey) -> Mark {
        self.pair(key).map(|pair| self.marks[pair]).unwrap_or_default()
    }

    fn sweep(&mut self, now: Instant, report: &mut dyn FnMut(SocketKey, Swept)) {
        let jiffies = self.ticks.at(Ticks::monotonic());
        let deadline = self.ticks.deadline(jiffies, self.dead_man);
        let mut lost = Vec::new();
        for place in 0..self.installed.len() {
            let Installed { pair, to, hop } = self.installed[place];
            let is_way = self.ways.keep(to, hop);
            if let Some(row) = self.row(pair) {
                row.deadline.store(if is_way { deadline } else { 0 }, Relaxed);
            }
            let counts = self.news(now, jiffies, pair);
            if counts.packets > 0 {
                report(self.key(pair), Swept::Counts(counts));
            }
            if !is_way {
                lost.push(pair);
            }
        }
        for pair in lost {
            self.set_state(pair, state::OPEN);
            report(self.key(pair), Swept::Refused);
        }
    }

    fn block(&mut self, now: Instant, source: IpAddr, until: Instant) {
        let after = u64::try_from(until.since(now).as_nanos()).unwrap_or(u64::MAX);
        let end = self.ticks.at(Ticks::monotonic().saturating_add(after));
        self.commons.block(source, end);
    }

    fn totals(&mut self) -> Option<PathTotals> {
        self.slice.tells_totals.then(|| self.commons.totals())
    }
}

impl Drop for ShardTable {
    fn drop(&mut self) {
        if !self.commons.is_ours() {
            return;
        }
        for pair in 0..self.places.len() {
            self.set_state(pair, state::OPEN);
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod torn;
