//! Gathering: a busy driver lets signalling wait a little, so that one wake-up finds several messages and one system call
//! sends what answers them. An idle driver is woken by the first message, and media never waits.
//!
//! What it saves is a wake on either side, ours and that of the peer whose answers then leave together. Between virtual
//! processors each is an interrupt that costs as much as three or four messages, and code and tables that the messages share
//! stay in the caches. Therefore the wait is as long as it takes for [`ENOUGH`] messages to come at the present rate, and never
//! longer than the configuration says.

use std::time::{Duration, Instant};

use super::Counters;

/// How often it is decided anew whether the driver is busy.
const WINDOW: Duration = Duration::from_millis(10);
/// Without a packet of media for so long, none is expected: several of a call's intervals.
const QUIET: Duration = Duration::from_millis(100);
/// Messages for which one wake-up costs little beside what they cost themselves.
const ENOUGH: u32 = 32;
/// Gathering begins when so many are to be expected in the longest wait, and ends when it is less than half of them: a rate
/// near the edge does not make it come and go.
const WORTH_IT: u128 = 4;

pub(super) struct Gather {
    span_max: Duration,
    /// The start of this window, and what had been received then.
    start: Instant,
    messages: u64,
    packets: u64,
    quiet_from: Instant,
    span: Duration,
}

impl Gather {
    pub(super) fn new(span_max: Duration) -> Self {
        let start = Instant::now();
        Self { span_max, start, messages: 0, packets: 0, quiet_from: start, span: Duration::ZERO }
    }

    /// For how long to gather now.
    pub(super) fn span(&mut self, received: &Counters) -> Duration {
        if self.span_max.is_zero() {
            return self.span_max;
        }
        let now = Instant::now();
        let elapsed = now.duration_since(self.start);
        if elapsed >= WINDOW {
            self.decide(now, elapsed, received.received - received.received_media, received.received_media);
        }
        self.span
    }

    /// Several messages are to be expected in the longest wait, and no media.
    fn decide(&mut self, now: Instant, elapsed: Duration, messages: u64, packets: u64) {
        if packets != self.packets {
            self.quiet_from = now + QUIET;
        }
        let came = messages - self.messages;
        let worth_it = if self.span.is_zero() { WORTH_IT } else { WORTH_IT / 2 };
        let pays = u128::from(came) * self.span_max.as_nanos() >= worth_it * elapsed.as_nanos();
        self.span = match u32::try_from(came) {
            Ok(came @ 1..) if pays && now >= self.quiet_from => self.span_max.min(elapsed * ENOUGH / came),
            _ => Duration::ZERO,
        };
        (self.start, self.messages, self.packets) = (now, messages, packets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_in_the_longest_wait_are_worth_it_and_half_of_them_keep_it_so() {
        let mut gather = Gather::new(Duration::from_micros(100));
        let (mut now, mut messages) = (gather.start, 0);
        let mut pays = |came, millis| {
            let elapsed = Duration::from_millis(millis);
            (now, messages) = (now + elapsed, messages + came);
            gather.decide(now, elapsed, messages, 0);
            !gather.span.is_zero()
        };
        assert!(!pays(399, 10));
        assert!(pays(400, 10) && pays(200, 10));
        assert!(!pays(199, 10) && !pays(399, 10));
        assert!(pays(400, 10) && !pays(400, 60_000));
        assert!(!pays(0, 10));
    }

    #[test]
    fn the_busier_the_shorter() {
        let mut gather = Gather::new(Duration::from_millis(5));
        let (mut now, mut messages) = (gather.start, 0);
        let mut span = |came| {
            (now, messages) = (now + WINDOW, messages + came);
            gather.decide(now, WINDOW, messages, 0);
            gather.span
        };
        let slow = u64::from(ENOUGH);
        assert_eq!((span(slow), span(4 * slow)), (Duration::from_millis(5), Duration::from_micros(2500)));
        assert_eq!((span(10_000 * slow), span(u64::from(u32::MAX) + 1)), (Duration::from_micros(1), Duration::ZERO));
    }

    #[test]
    fn media_does_not_wait() {
        let mut gather = Gather::new(Duration::from_millis(1));
        let (mut now, mut messages) = (gather.start, 0);
        let mut pays = |packets| {
            (now, messages) = (now + WINDOW, messages + 1000);
            gather.decide(now, WINDOW, messages, packets);
            !gather.span.is_zero()
        };
        assert!(pays(0));
        assert!(!pays(1));
        assert_eq!((0..10).filter(|_| pays(1)).count(), 1);
        assert!(pays(1) && !pays(2));
    }
}
