//! The appliance without its threads: production shards, their sockets by name, and the rules of the kernel between
//! them (which shard a datagram or connection lands at).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use strowger::base::time::Duration;
use strowger::base::{Instant, Random, ShardId, SocketKey, StreamKey, Transport};
use strowger::call::{Audit, Directory};
use strowger::config::Config;
use strowger::media::RelayConfig;
use strowger::media::model::{Bug, Fate, Kernel};
use strowger::observe::{CallRecord, Counters, MediaPath};
use strowger::shard::{Answer, Frozen, Input, Mail, Output, Query, Shard, ShardOptions, Steering, Waiting};
use strowger::tally::Pulse;

/// All shards of one node.
pub struct Appliance {
    pub shards: Vec<Shard>,
    /// What must not happen and did.
    pub fault: Option<String>,
    /// Since when a shard that is paused is.
    paused_since: Vec<Instant>,
    /// No shard acts before then: a machine that stood still.
    pub paused_until: Vec<Instant>,
    pub directory: Arc<Directory>,
    /// A fast path for each shard, where there is one.
    pub kernels: Vec<Kernel>,
    /// Media ports that somebody else held.
    pub ports_refused: usize,
    /// Packets that a fast path relayed.
    pub relayed_below: u64,
    pub records: Vec<CallRecord>,
    /// Shards that have said that they are done.
    pub stopped: BTreeSet<usize>,
    config: Config,
    /// What each shard has been told last.
    directories: Vec<Arc<Directory>>,
    steering: Steering,
    sockets: BTreeMap<SocketAddr, (usize, SocketKey)>,
    addresses: BTreeMap<(usize, SocketKey), SocketAddr>,
    listeners: Vec<(SocketAddr, Transport, SocketKey)>,
    accepted: u64,
    relays: Vec<RelayConfig>,
}

/// Of the kernel: shorter than some of the pauses that shards make.
pub const DEAD_MAN: Duration = Duration::from_millis(1500);

impl Appliance {
    pub fn new(config: &Config, shards: usize, mut random: Random, now: Instant, pulse: Option<&Arc<Pulse>>) -> Self {
        let directory = Arc::new(match pulse {
            Some(pulse) => Directory::kept(config, None, pulse),
            None => Directory::new(config, None),
        });
        let key = [(); 4].map(|()| random.next_u64());
        let steering = Steering::new(shards as u8, key);
        let listeners: Vec<_> = config
            .sip
            .listen
            .iter()
            .zip(0..)
            .map(|(listen, key)| (listen.address, listen.transport, SocketKey(key)))
            .collect();
        let mut relays = Vec::new();
        let shards: Vec<Shard> = (0..shards)
            .map(|index| {
                let counters = Arc::new(Counters::default());
                let directory = Arc::clone(&directory);
                let path = MediaPath::Epoll;
                let options = ShardOptions::new(config, directory, counters, index as u8, steering.clone(), path);
                relays.push(options.engine.relay);
                Shard::new(options, random.fork(), now)
            })
            .collect();
        Self {
            fault: None,
            paused_since: vec![Instant::ZERO; shards.len()],
            config: config.clone(),
            directories: vec![Arc::clone(&directory); shards.len()],
            steering,
            paused_until: vec![Instant::ZERO; shards.len()],
            shards,
            relays,
            directory,
            kernels: Vec::new(),
            relayed_below: 0,
            ports_refused: 0,
            records: Vec::new(),
            stopped: BTreeSet::new(),
            sockets: BTreeMap::new(),
            addresses: BTreeMap::new(),
            listeners,
            accepted: 0,
        }
    }

    /// Puts a kernel that can relay under each shard.
    pub fn add_kernels(&mut self, now: Instant, bug: Option<Bug>) {
        for (shard, relay) in self.shards.iter_mut().zip(&self.relays) {
            let kernel = Kernel::new(*relay, DEAD_MAN);
            kernel.plant(bug);
            shard.set_fast_path(now, kernel.path());
            self.kernels.push(kernel);
        }
    }

    /// What the kernels do with a datagram before any socket hears it.
    pub fn below(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, bytes: &[u8]) -> Fate {
        let of = |relay: &RelayConfig| (relay.port_min..=relay.port_max).contains(&to.port());
        let Some(index) = self.relays.iter().position(of).filter(|index| *index < self.kernels.len()) else {
            return Fate::Up;
        };
        let fate = self.kernels[index].packet(now, from, to, bytes);
        if let Fate::Relayed { .. } = fate {
            self.relayed_below += 1;
            let stood = now.since(self.paused_since[index]);
            if self.paused_until[index] > now && stood > DEAD_MAN {
                self.fault = Some(format!("the kernel relays for a shard that has stood still for {stood:?}"));
            }
        }
        fate
    }

    /// Lets a shard stand still until then.
    pub fn pause(&mut self, shard: usize, now: Instant, until: Instant) {
        if self.paused_until[shard] <= now {
            self.paused_since[shard] = now;
        }
        self.paused_until[shard] = until;
    }

    /// Another process takes this shard over: it gets what is frozen, and what it is told by its own configuration.
    /// Its kernel is adopted with all rules, or set up anew.
    pub fn take_over(&mut self, now: Instant, shard: usize, waiting: Waiting) -> Result<(), String> {
        let frozen = Frozen::read(&self.shards[shard].freeze(now, waiting))?;
        let (directory, counters) = (Arc::clone(&self.directories[shard]), Arc::new(Counters::default()));
        let steering = Steering::new(self.steering.shards(), [0; 4]);
        let options = ShardOptions::new(&self.config, directory, counters, shard as u8, steering, MediaPath::Epoll);
        let before = self.shards[shard].audit();
        self.shards[shard] = Shard::thaw(options, frozen)?;
        if let Some(kernel) = self.kernels.get(shard) {
            self.shards[shard].set_fast_path(now, kernel.path());
        }
        let after = self.shards[shard].audit();
        if before == after { Ok(()) } else { Err(format!("taken over: {before:?} became {after:?}")) }
    }

    /// True for an address where SIP is heard.
    pub fn hears_sip(&self, address: SocketAddr) -> bool {
        self.listeners.iter().any(|listener| listener.0 == address)
    }

    /// The shard and socket that hear `to`; several shards share a SIP port, the kernel chooses by addresses.
    pub fn socket(&self, from: SocketAddr, to: SocketAddr) -> Option<(usize, SocketKey)> {
        if let Some(found) = self.sockets.get(&to) {
            return Some(*found);
        }
        let heard = |listener: &&(SocketAddr, Transport, SocketKey)| listener.0 == to && listener.1 == Transport::Udp;
        let (.., key) = self.listeners.iter().find(heard)?;
        let ip = match from.ip() {
            IpAddr::V4(ip) => u32::from(ip),
            IpAddr::V6(ip) => ip.to_bits() as u32,
        };
        let spread = u64::from(ip) << 16 | u64::from(from.port());
        Some(((spread.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as usize % self.shards.len(), *key))
    }

    /// Where that shard's socket sends from.
    pub fn address(&self, shard: usize, socket: SocketKey) -> Option<SocketAddr> {
        let listener = self.listeners.iter().find(|listener| listener.2 == socket).map(|listener| listener.0);
        self.addresses.get(&(shard, socket)).copied().or(listener)
    }

    /// A media socket was asked for.
    pub fn open(&mut self, shard: usize, socket: SocketKey, bind: SocketAddr) {
        self.sockets.insert(bind, (shard, socket));
        self.addresses.insert((shard, socket), bind);
    }

    /// The listener at that address, and a name for the connection it accepts.
    pub fn accept(&mut self, to: SocketAddr) -> Option<(SocketKey, StreamKey)> {
        let (.., key) = self.listeners.iter().find(|listener| listener.0 == to && listener.1 == Transport::Tcp)?;
        self.accepted += 1;
        Some((*key, StreamKey(StreamKey::ACCEPTED | self.accepted)))
    }

    /// A datagram; what is relayed comes back with its addresses.
    pub fn datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        place: (usize, SocketKey),
        bytes: &mut [u8],
    ) -> Option<(SocketAddr, SocketAddr, usize)> {
        let (shard, socket) = place;
        let forward = self.shards[shard].handle(now, Input::Datagram { socket, from, bytes })?;
        Some((self.address(shard, forward.socket)?, forward.to, forward.len))
    }

    pub fn mail(&mut self, now: Instant, to: ShardId, mail: Mail) {
        if let (Mail::Directory(directory), Some(known)) = (&mail, self.directories.get_mut(usize::from(to.0))) {
            *known = Arc::clone(directory);
        }
        if let Some(shard) = self.shards.get_mut(usize::from(to.0)) {
            shard.handle(now, Input::Mail(mail));
        }
    }

    /// What an operator does: `strowger hangup` for each call there is; says how many.
    pub fn hang_up_all(&mut self, now: Instant) -> usize {
        let (reply, answers) = crossbeam::channel::unbounded();
        for shard in &mut self.shards {
            let query = Mail::Query { query: Query::Calls { limit: 100 }, reply: reply.clone() };
            shard.handle(now, Input::Mail(query));
            let Ok(Answer::Calls(calls)) = answers.try_recv() else { continue };
            for call in calls {
                shard.handle(now, Input::Mail(Mail::Hangup { call: call.call, reply: reply.clone() }));
            }
        }
        answers.try_iter().filter(|answer| matches!(answer, Answer::Hangup { found: true })).count()
    }

    /// `source`, `state` and `reason` of all whom something is done about, as any shard says it.
    pub fn standings(&mut self, now: Instant) -> Vec<(String, &'static str, &'static str)> {
        let (reply, answers) = crossbeam::channel::unbounded();
        for shard in &mut self.shards {
            let query = Mail::Query { query: Query::Blocked { limit: 100 }, reply: reply.clone() };
            shard.handle(now, Input::Mail(query));
        }
        let rows = answers.try_iter().flat_map(|answer| match answer {
            Answer::Blocked(rows) => rows,
            _ => Vec::new(),
        });
        rows.map(|row| (row.source, row.state, row.reason)).collect()
    }

    pub fn poll(&mut self, shard: usize) -> Option<Output> {
        self.shards[shard].poll_output()
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        let due = self.shards.iter().zip(&self.paused_until);
        due.filter_map(|(shard, paused)| shard.next_deadline().map(|deadline| deadline.max(*paused))).min()
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        for (shard, paused) in self.shards.iter_mut().zip(&self.paused_until) {
            if *paused <= now && shard.next_deadline().is_some_and(|deadline| deadline <= now) {
                shard.handle_timeout(now);
            }
        }
    }

    /// The sum over all shards.
    pub fn audit(&self) -> Audit {
        self.shards.iter().fold(Audit::default(), |sum, shard| {
            let one = shard.audit();
            Audit {
                calls: sum.calls + one.calls,
                calls_live: sum.calls_live + one.calls_live,
                transactions: sum.transactions + one.transactions,
                timers: sum.timers + one.timers,
                rights: sum.rights + one.rights,
                listed: sum.listed + one.listed,
                streams: sum.streams + one.streams,
                ports: sum.ports + one.ports,
                contacts: sum.contacts + one.contacts,
            }
        })
    }
}
