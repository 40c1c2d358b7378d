//! One shard without sockets: what goes in, what comes out, and what each step takes.

use super::counting::allocations;
use bytes::Bytes;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};
use strowger::base::{Instant, Random, SocketKey};
use strowger::call::Directory;
use strowger::observe::{Counters, MediaPath};
use strowger::shard::{Input, Output, Shard, ShardOptions, Steering};
use strowger::sip::wire::{Framing, Index, Message, parse};

/// What one step of the work has cost.
#[derive(Clone, Copy)]
struct Cost {
    name: &'static str,
    nanos: u64,
    allocations: u64,
}

/// A shard, its time, and what it has cost.
pub struct Desk {
    shard: Shard,
    now: Instant,
    sent: Vec<(SocketAddr, Bytes)>,
    /// The last one is for timers.
    costs: Vec<Cost>,
}

impl Desk {
    /// A shard of this configuration, whose work has these steps, and timers as a step of their own.
    pub fn new(config: &str, steps: &[&'static str]) -> Self {
        let config = strowger::config::read(config, "bench.toml").config.expect("a configuration of ours");
        let (counters, steering) = (Arc::new(Counters::new()), Steering::new(1, [1, 2, 3, 4]));
        let directory = Arc::new(Directory::new(&config, None));
        let options = ShardOptions::new(&config, directory, counters, 0, steering, MediaPath::IoUring);
        let now = Instant::from_millis(1000);
        let shard = Shard::new(options, Random::from_u64(7), now);
        let cost = |name| Cost { name, nanos: 0, allocations: 0 };
        let costs = steps.iter().copied().chain(["timers"]).map(cost).collect();
        Self { shard, now, sent: Vec::new(), costs }
    }

    /// Forgets what has been spent.
    pub fn reset(&mut self) {
        self.costs.iter_mut().for_each(|cost| (cost.nanos, cost.allocations) = (0, 0));
    }

    /// Nanoseconds spent.
    pub fn spent(&self) -> u64 {
        self.costs.iter().map(|cost| cost.nanos).sum()
    }

    /// What each step takes, and all of them.
    pub fn print(&self, what: &str, times: u32) {
        let mean = |sum: u64| sum as f64 / f64::from(times);
        let line = |name: &str, nanos, allocations| {
            println!("{name:<14} {:>8.0} ns {:>6.1} allocations", mean(nanos), mean(allocations));
        };
        self.costs.iter().for_each(|cost| line(cost.name, cost.nanos, cost.allocations));
        line(what, self.spent(), self.costs.iter().map(|cost| cost.allocations).sum());
    }

    fn timed(&mut self, step: usize, work: impl FnOnce(&mut Shard, Instant)) {
        self.sent.clear();
        let (before, begin) = (allocations(), Clock::now());
        measured(&mut self.shard, self.now, &mut self.sent, work);
        let cost = &mut self.costs[step];
        cost.nanos += begin.elapsed().as_nanos() as u64;
        cost.allocations += allocations() - before;
    }

    /// One message comes in.
    pub fn deliver(&mut self, step: usize, from: &str, mut text: Vec<u8>) {
        let from = from.parse().expect("an address");
        self.timed(step, |shard, now| {
            shard.handle(now, Input::Datagram { socket: SocketKey(0), from, bytes: &mut text });
        });
    }

    /// What is sent to `to` in answer to `text`.
    pub fn exchange(&mut self, step: usize, from: &str, text: Vec<u8>, to: &str) -> Bytes {
        let question = text.clone();
        self.deliver(step, from, text);
        let to = to.parse().expect("an address");
        let sent = self.sent.iter().find(|(at, _)| *at == to).map(|(_, bytes)| bytes.clone());
        sent.unwrap_or_else(|| panic!("nothing in answer to {}", String::from_utf8_lossy(&question)))
    }

    /// The shard's time goes on.
    pub fn advance(&mut self, by: Duration) {
        self.now += by;
        if self.shard.next_deadline().is_some_and(|deadline| deadline <= self.now) {
            self.timed(self.costs.len() - 1, |shard, now| shard.handle_timeout(now));
        }
    }
}

/// What is counted, and nothing else.
#[inline(never)]
fn measured(
    shard: &mut Shard,
    now: Instant,
    sent: &mut Vec<(SocketAddr, Bytes)>,
    work: impl FnOnce(&mut Shard, Instant),
) {
    work(shard, now);
    while let Some(output) = shard.poll_output() {
        if let Output::Send { to, bytes, .. } = output {
            sent.push((to, bytes));
        }
    }
    black_box(shard.next_deadline());
}

/// Something that stands in a message.
pub fn field(message: &[u8], read: impl Fn(&Message<'_>) -> Vec<u8>) -> String {
    let mut index = Index::new();
    let message = parse(message, &mut index, Framing::Datagram).expect("what the shard sends can be read");
    String::from_utf8(read(&message)).expect("text")
}

/// How messages without a body end.
pub const EMPTY: &str = "Content-Length: 0\r\n\r\n";
