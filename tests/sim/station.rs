//! A phone in its place: an address, ports, moods, and what it has noticed.

use std::collections::BTreeSet;
use std::net::IpAddr;
use strowger::base::{Instant, Random};
use strowger::phone::{Event, Options, Phone};

/// One phone or trunk.
#[derive(Debug)]
pub struct Station {
    /// For people.
    pub name: String,
    /// The phone.
    pub phone: Phone,
    /// Counts its lives.
    pub life: u32,
    /// It neither hears nor acts until then.
    pub paused_until: Instant,
    /// Its plug is out until then: the kernel of its machine answers for it.
    pub off_until: Instant,
    /// Open RTP ports.
    pub ports: BTreeSet<u16>,
    /// What it noticed, oldest first.
    pub events: Vec<(Instant, Event)>,
    options: Options,
    random: Random,
}

impl Station {
    pub fn new(name: &str, options: Options, mut random: Random) -> Self {
        Self {
            name: name.to_owned(),
            phone: Phone::new(options.clone(), random.fork()),
            life: 0,
            paused_until: Instant::ZERO,
            off_until: Instant::ZERO,
            ports: BTreeSet::new(),
            events: Vec::new(),
            options,
            random,
        }
    }

    /// Switched off and on: it remembers nothing.
    pub fn restart(&mut self) {
        let answering = self.phone.options().answering.clone();
        self.phone = Phone::new(Options { answering, ..self.options.clone() }, self.random.fork());
        self.life += 1;
        self.ports.clear();
    }

    pub fn ip(&self) -> IpAddr {
        self.phone.options().local.ip()
    }

    /// When it wants to act.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.phone.next_deadline().map(|deadline| deadline.max(self.paused_until).max(self.off_until))
    }
}
