//! The network between them: how long things take, what gets lost, doubled, overtaken or cut off.

use std::net::IpAddr;
use strowger::base::time::Duration;
use strowger::base::{Instant, Random};

/// Misfortunes of datagrams, in parts of a thousand, and delays.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Lost.
    pub loss: u64,
    /// Delivered twice.
    pub duplication: u64,
    /// Held back so that later ones overtake.
    pub reordering: u64,
    /// Shortest way.
    pub delay_min: Duration,
    /// Longest ordinary way.
    pub delay_max: Duration,
    /// Stream data arrives in pieces.
    pub chop: bool,
    /// Sockets that cannot be opened.
    pub sockets: u64,
}

impl Faults {
    /// A good network: 1 ms, nothing lost.
    pub const NONE: Self = Self {
        loss: 0,
        duplication: 0,
        reordering: 0,
        delay_min: Duration::from_millis(1),
        delay_max: Duration::from_millis(1),
        chop: false,
        sockets: 0,
    };
}

/// Longest time a datagram is held back.
const HELD_MAX_NS: u64 = 300_000_000;

/// Decides what becomes of each datagram.
#[derive(Debug)]
pub struct Network {
    pub faults: Faults,
    cuts: Vec<(IpAddr, IpAddr, Instant)>,
    random: Random,
}

impl Network {
    pub fn new(faults: Faults, random: Random) -> Self {
        Self { faults, cuts: Vec::new(), random }
    }

    /// Nothing goes from `from` to `to` until then; the other way is another cut.
    pub fn cut(&mut self, from: IpAddr, to: IpAddr, until: Instant) {
        self.cuts.push((from, to, until));
    }

    /// Ends all misfortune.
    pub fn heal(&mut self) {
        self.cuts.clear();
        self.faults = Faults { chop: self.faults.chop, ..Faults::NONE };
    }

    pub fn is_cut(&self, now: Instant, from: IpAddr, to: IpAddr) -> bool {
        self.cuts.iter().any(|cut| cut.0 == from && cut.1 == to && now < cut.2)
    }

    /// How long it takes.
    pub fn delay(&mut self) -> Duration {
        let span = (self.faults.delay_max - self.faults.delay_min).as_nanos() as u64;
        self.faults.delay_min + Duration::from_nanos(self.random.below(span + 1))
    }

    fn happens(&mut self, per_thousand: u64) -> bool {
        per_thousand > 0 && self.random.below(1000) < per_thousand
    }

    /// When the copies of a datagram arrive: none, one or two.
    pub fn arrivals(&mut self, now: Instant, from: IpAddr, to: IpAddr) -> [Option<Instant>; 2] {
        if self.is_cut(now, from, to) || self.happens(self.faults.loss) {
            return [None, None];
        }
        let mut at = now + self.delay();
        if self.happens(self.faults.reordering) {
            at += Duration::from_nanos(self.random.below(HELD_MAX_NS));
        }
        let again = self.happens(self.faults.duplication).then(|| now + self.delay() * 2);
        [Some(at), again]
    }

    /// True when the kernel refuses a socket.
    pub fn refuses_socket(&mut self) -> bool {
        self.happens(self.faults.sockets)
    }

    /// Cuts stream data into pieces.
    pub fn pieces(&mut self, len: usize) -> usize {
        if self.faults.chop && len > 1 { 1 + self.random.below(len as u64) as usize } else { len }
    }

    /// One of `count`.
    pub fn pick(&mut self, count: usize) -> usize {
        self.random.below(count as u64) as usize
    }
}
