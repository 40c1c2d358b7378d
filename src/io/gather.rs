//! Gathering: a busy driver lets signalling wait a little, so that one wake-up finds several messages and one system call
//! sends what answers them. An idle driver is woken by the first message, and media never waits.

use std::time::{Duration, Instant};

use super::Counters;

/// How often it is decided anew whether the driver is busy.
const WINDOW: Duration = Duration::from_millis(10);
/// Without a packet of media for so long, none is expected: several of a call's intervals.
const QUIET: Duration = Duration::from_millis(100);

pub(super) struct Gather {
    span: Duration,
    /// The start of this window, and what had been received then.
    start: Instant,
    messages: u64,
    packets: u64,
    quiet_from: Instant,
    pays: bool,
}

impl Gather {
    pub(super) fn new(span: Duration) -> Self {
        let start = Instant::now();
        Self { span, start, messages: 0, packets: 0, quiet_from: start, pays: false }
    }

    /// For how long to gather now.
    pub(super) fn span(&mut self, received: &Counters) -> Duration {
        if self.span.is_zero() {
            return self.span;
        }
        let now = Instant::now();
        let elapsed = now.duration_since(self.start);
        if elapsed >= WINDOW {
            self.decide(now, elapsed, received.received - received.received_media, received.received_media);
        }
        if self.pays { self.span } else { Duration::ZERO }
    }

    /// Two messages or more are to be expected in a span, and no media.
    fn decide(&mut self, now: Instant, elapsed: Duration, messages: u64, packets: u64) {
        if packets != self.packets {
            self.quiet_from = now + QUIET;
        }
        let expected = u128::from(messages - self.messages) * self.span.as_nanos();
        self.pays = now >= self.quiet_from && expected >= 2 * elapsed.as_nanos();
        (self.start, self.messages, self.packets) = (now, messages, packets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_in_a_span_are_worth_it() {
        let mut gather = Gather::new(Duration::from_micros(100));
        let mut now = gather.start;
        let mut pays = |messages, millis| {
            let elapsed = Duration::from_millis(millis);
            now += elapsed;
            gather.decide(now, elapsed, messages, 0);
            gather.pays
        };
        assert!(!pays(199, 10));
        assert!(pays(399, 10));
        assert!(!pays(599, 60_000));
    }

    #[test]
    fn media_does_not_wait() {
        let mut gather = Gather::new(Duration::from_millis(1));
        let (mut now, mut messages) = (gather.start, 0);
        let mut pays = |packets| {
            (now, messages) = (now + WINDOW, messages + 1000);
            gather.decide(now, WINDOW, messages, packets);
            gather.pays
        };
        assert!(pays(0));
        assert!(!pays(1));
        assert_eq!((0..10).filter(|_| pays(1)).count(), 1);
        assert!(pays(1) && !pays(2));
    }
}
