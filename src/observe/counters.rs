//! One shard's counters: cells that the shard alone writes and `control` reads while it does.
//!
//! Relaxed loads and stores, no locked instruction: a reader may see one cell a moment before another, which a scrape
//! does not mind. The struct stands on cache lines of its own, so that shards do not slow each other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::histogram::{Histogram, bump};
use super::labels::{
    CallResult, Counter, Direction, DropReason, FastPathPass, Gauge, LimitReason, MediaPath, MethodLabel, Suspicion,
};
use crate::base::Transport;
use crate::base::time::Duration;

/// Every transport, in the order of the cells.
pub const TRANSPORTS: [Transport; 5] = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];

/// Response classes, 1xx to 6xx.
pub const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "6xx"];

type PerMethod = [[AtomicU64; Direction::COUNT]; TRANSPORTS.len()];

/// The cells of one shard.
#[derive(Debug)]
#[repr(align(128))]
pub struct Counters {
    requests: [PerMethod; MethodLabel::COUNT],
    responses: [AtomicU64; CLASSES.len()],
    calls: [AtomicU64; CallResult::COUNT],
    limits: [AtomicU64; LimitReason::COUNT],
    packets: [AtomicU64; MediaPath::COUNT],
    bytes: [AtomicU64; MediaPath::COUNT],
    drops: [AtomicU64; DropReason::COUNT],
    passes: [AtomicU64; FastPathPass::COUNT],
    suspicions: [AtomicU64; Suspicion::COUNT],
    plain: [AtomicU64; Counter::COUNT],
    gauges: [AtomicU64; Gauge::COUNT],
    setup: Histogram,
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

fn cells<const N: usize>() -> [AtomicU64; N] {
    std::array::from_fn(|_| AtomicU64::new(0))
}

impl Counters {
    /// All zero.
    #[must_use]
    pub fn new() -> Self {
        Self {
            requests: std::array::from_fn(|_| std::array::from_fn(|_| cells())),
            responses: cells(),
            calls: cells(),
            limits: cells(),
            packets: cells(),
            bytes: cells(),
            drops: cells(),
            passes: cells(),
            suspicions: cells(),
            plain: cells(),
            gauges: cells(),
            setup: Histogram::default(),
        }
    }

    /// A request came or went (retransmissions too).
    pub fn request(&self, method: MethodLabel, transport: Transport, direction: Direction) {
        bump(&self.requests[method.index()][transport_index(transport)][direction.index()], 1);
    }

    /// A response was sent.
    pub fn response(&self, status: u16) {
        if let Some(cell) = self.responses.get((usize::from(status) / 100).wrapping_sub(1)) {
            bump(cell, 1);
        }
    }

    /// A call ended, or was refused.
    pub fn call(&self, result: CallResult) {
        bump(&self.calls[result.index()], 1);
    }

    /// A limit refused a call.
    pub fn limit(&self, reason: LimitReason) {
        bump(&self.limits[reason.index()], 1);
    }

    /// One RTP or RTCP packet was relayed.
    pub fn media(&self, path: MediaPath, bytes: u64) {
        self.media_many(path, 1, bytes);
    }

    /// Many were: figures read back from the fast path.
    pub fn media_many(&self, path: MediaPath, packets: u64, bytes: u64) {
        bump(&self.packets[path.index()], packets);
        bump(&self.bytes[path.index()], bytes);
    }

    /// Something was thrown away.
    pub fn count_drop(&self, reason: DropReason) {
        self.count_drops(reason, 1);
    }

    /// Many were.
    pub fn count_drops(&self, reason: DropReason, count: u64) {
        bump(&self.drops[reason.index()], count);
    }

    /// The fast path handed packets up.
    pub fn count_passes(&self, reason: FastPathPass, count: u64) {
        bump(&self.passes[reason.index()], count);
    }

    /// Somebody behaved like a scanner.
    pub fn suspicion(&self, reason: Suspicion) {
        bump(&self.suspicions[reason.index()], 1);
    }

    /// One more.
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// `by` more.
    pub fn add(&self, counter: Counter, by: u64) {
        bump(&self.plain[counter.index()], by);
    }

    /// A level.
    pub fn set(&self, gauge: Gauge, value: u64) {
        self.gauges[gauge.index()].store(value, Relaxed);
    }

    /// From INVITE to the first response other than 100 (RFC 6076 §4.3.1).
    pub fn setup(&self, duration: Duration) {
        self.setup.record(duration);
    }

    /// Reads a request cell.
    #[must_use]
    pub fn requests(&self, method: MethodLabel, transport: Transport, direction: Direction) -> u64 {
        self.requests[method.index()][transport_index(transport)][direction.index()].load(Relaxed)
    }

    /// Reads a response cell; `class` counts from 1.
    #[must_use]
    pub fn responses(&self, class: usize) -> u64 {
        self.responses.get(class.wrapping_sub(1)).map_or(0, |cell| cell.load(Relaxed))
    }

    /// Reads calls by result.
    #[must_use]
    pub fn calls(&self, result: CallResult) -> u64 {
        self.calls[result.index()].load(Relaxed)
    }

    /// Reads refusals by limit.
    #[must_use]
    pub fn limits(&self, reason: LimitReason) -> u64 {
        self.limits[reason.index()].load(Relaxed)
    }

    /// Reads relayed packets and bytes.
    #[must_use]
    pub fn relayed(&self, path: MediaPath) -> (u64, u64) {
        (self.packets[path.index()].load(Relaxed), self.bytes[path.index()].load(Relaxed))
    }

    /// Reads drops.
    #[must_use]
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops[reason.index()].load(Relaxed)
    }

    /// Reads what the fast path handed up.
    #[must_use]
    pub fn passes(&self, reason: FastPathPass) -> u64 {
        self.passes[reason.index()].load(Relaxed)
    }

    /// Reads evidence of scanning.
    #[must_use]
    pub fn suspicions(&self, reason: Suspicion) -> u64 {
        self.suspicions[reason.index()].load(Relaxed)
    }

    /// Reads a plain counter.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.plain[counter.index()].load(Relaxed)
    }

    /// Reads a level.
    #[must_use]
    pub fn level(&self, gauge: Gauge) -> u64 {
        self.gauges[gauge.index()].load(Relaxed)
    }

    /// All that counts, by names that outlive a version; levels do not. Zeros are left out.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        self.each(&mut |name, cell| {
            let count = cell.load(Relaxed);
            if count > 0 {
                counts.insert(name, count);
            }
        });
        counts
    }

    /// Goes on where another process's cells were read. A name that is no more is passed over.
    pub fn take_on(&self, counts: &BTreeMap<String, u64>) {
        self.each(&mut |name, cell| bump(cell, counts.get(&name).copied().unwrap_or(0)));
    }

    fn each(&self, visit: &mut dyn FnMut(String, &AtomicU64)) {
        for (method, cells) in MethodLabel::ALL.iter().zip(&self.requests) {
            for (transport, cells) in TRANSPORTS.iter().zip(cells) {
                for (direction, cell) in Direction::ALL.iter().zip(cells) {
                    let (method, direction) = (method.as_str(), direction.as_str());
                    visit(format!("requests/{method}/{}/{direction}", transport.uri_token()), cell);
                }
            }
        }
        let mut all = |what: &str, names: &mut dyn Iterator<Item = &'static str>, cells: &[AtomicU64]| {
            names.zip(cells).for_each(|(name, cell)| visit(format!("{what}/{name}"), cell));
        };
        all("responses", &mut CLASSES.into_iter(), &self.responses);
        all("calls", &mut CallResult::ALL.iter().map(|label| label.as_str()), &self.calls);
        all("limits", &mut LimitReason::ALL.iter().map(|label| label.as_str()), &self.limits);
        all("packets", &mut MediaPath::ALL.iter().map(|label| label.as_str()), &self.packets);
        all("bytes", &mut MediaPath::ALL.iter().map(|label| label.as_str()), &self.bytes);
        all("drops", &mut DropReason::ALL.iter().map(|label| label.as_str()), &self.drops);
        all("passes", &mut FastPathPass::ALL.iter().map(|label| label.as_str()), &self.passes);
        all("plain", &mut Counter::ALL.iter().map(|label| label.as_str()), &self.plain);
        self.setup.each(&mut |name, cell| visit(format!("setup/{name}"), cell));
    }

    /// Set-up times.
    #[must_use]
    pub fn setup_times(&self) -> &Histogram {
        &self.setup
    }
}

fn transport_index(transport: Transport) -> usize {
    match transport {
        Transport::Udp => 0,
        Transport::Tcp => 1,
        Transport::Tls => 2,
        Transport::Ws => 3,
        Transport::Wss => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_stand_where_their_cells_are() {
        for (index, &transport) in TRANSPORTS.iter().enumerate() {
            assert_eq!(transport_index(transport), index);
        }
    }

    #[test]
    fn another_process_counts_on_and_levels_are_its_own() {
        let (old, new) = (Counters::new(), Counters::new());
        old.request(MethodLabel::Bye, Transport::Udp, Direction::Out);
        old.response(486);
        old.media(MediaPath::Xdp, 172);
        old.count_drop(DropReason::MediaStray);
        old.count(Counter::MailSent);
        old.set(Gauge::CallsActive, 3);
        old.setup(Duration::from_millis(3));
        new.media(MediaPath::Xdp, 100);
        let mut counts = old.counts();
        counts.insert("drops/of another version".to_owned(), 7);
        new.take_on(&counts);
        assert_eq!(new.requests(MethodLabel::Bye, Transport::Udp, Direction::Out), 1);
        assert_eq!((new.responses(4), new.relayed(MediaPath::Xdp), new.get(Counter::MailSent)), (1, (2, 272), 1));
        assert_eq!((new.drops(DropReason::MediaStray), new.level(Gauge::CallsActive)), (1, 0));
        assert_eq!(new.setup_times().read(), old.setup_times().read());
        assert_eq!(new.counts().len(), 8);
        let mut names = Vec::new();
        old.each(&mut |name, _| names.push(name));
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn what_is_counted_is_read() {
        let counters = Counters::new();
        counters.request(MethodLabel::Invite, Transport::Tcp, Direction::In);
        counters.response(200);
        counters.response(7);
        counters.media(MediaPath::Epoll, 172);
        counters.count_drop(DropReason::MediaStray);
        counters.set(Gauge::CallsActive, 3);
        counters.setup(Duration::from_millis(3));
        assert_eq!(counters.requests(MethodLabel::Invite, Transport::Tcp, Direction::In), 1);
        assert_eq!((counters.responses(2), counters.responses(0), counters.responses(7)), (1, 0, 0));
        assert_eq!(counters.relayed(MediaPath::Epoll), (1, 172));
        assert_eq!((counters.drops(DropReason::MediaStray), counters.level(Gauge::CallsActive)), (1, 3));
    }
}
