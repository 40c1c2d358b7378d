//! Gathering: a busy driver lets what comes wait a little, so that one wake-up finds several messages or packets and one
//! system call sends what answers them. An idle driver is woken by the first.
//!
//! What it saves is a wake on either side, ours and that of the peer whose answers then leave together. Between virtual
//! processors each is an interrupt that costs as much as three or four messages, and code and tables that the messages share
//! stay in the caches. Therefore the wait is as long as it takes for [`ENOUGH`] to come at the present rate, and never longer
//! than the configuration says: of signalling, and of media, whose packets an ear hears the gaps between. Callers send at
//! instants of their own, so that a busy relay without it wakes for each packet.

use std::time::{Duration, Instant};

use super::{Counters, GatherMax};

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
    max: GatherMax,
    /// The start of this window, and what had been received then.
    start: Instant,
    received: u64,
    packets: u64,
    /// Media is expected until then.
    media_until: Instant,
    span: Duration,
}

impl Gather {
    pub(super) fn new(max: GatherMax) -> Self {
        let start = Instant::now();
        Self { max, start, received: 0, packets: 0, media_until: start, span: Duration::ZERO }
    }

    /// For how long to gather now.
    pub(super) fn span(&mut self, counters: &Counters) -> Duration {
        if self.max == GatherMax::default() {
            return Duration::ZERO;
        }
        let now = Instant::now();
        let elapsed = now.duration_since(self.start);
        if elapsed >= WINDOW {
            self.decide(now, elapsed, counters.received, counters.received_media);
        }
        self.span
    }

    /// Several are to be expected in the longest wait. `received` is everything so far, `packets` the media in it.
    fn decide(&mut self, now: Instant, elapsed: Duration, received: u64, packets: u64) {
        if packets != self.packets {
            self.media_until = now + QUIET;
        }
        let longest = if now < self.media_until { self.max.media } else { self.max.signalling };
        let came = received - self.received;
        let worth_it = if self.span.is_zero() { WORTH_IT } else { WORTH_IT / 2 };
        let pays = u128::from(came) * longest.as_nanos() >= worth_it * elapsed.as_nanos();
        self.span = match u32::try_from(came) {
            Ok(came @ 1..) if pays => longest.min(elapsed * ENOUGH / came),
            _ => Duration::ZERO,
        };
        (self.start, self.received, self.packets) = (now, received, packets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows one after another.
    struct Windows {
        gather: Gather,
        now: Instant,
        received: u64,
        packets: u64,
    }

    impl Windows {
        fn new(signalling_micros: u64, media_micros: u64) -> Self {
            let [signalling, media] = [signalling_micros, media_micros].map(Duration::from_micros);
            let gather = Gather::new(GatherMax { signalling, media });
            Self { now: gather.start, gather, received: 0, packets: 0 }
        }

        /// The next one, in which so much came: microseconds to gather.
        fn next(&mut self, messages: u64, packets: u64, elapsed: Duration) -> u128 {
            self.now += elapsed;
            self.packets += packets;
            self.received += messages + packets;
            self.gather.decide(self.now, elapsed, self.received, self.packets);
            self.gather.span.as_micros()
        }
    }

    #[test]
    fn some_in_the_longest_wait_are_worth_it_and_half_of_them_keep_it_so() {
        let mut windows = Windows::new(100, 0);
        let mut pays = |came, millis| windows.next(came, 0, Duration::from_millis(millis)) > 0;
        assert!(!pays(399, 10));
        assert!(pays(400, 10));
        assert!(pays(200, 10));
        assert!(!pays(199, 10));
        assert!(!pays(399, 10), "it has to be worth beginning again");
        assert!(pays(40_000, 1000), "after a second without a look");
        assert!(!pays(400, 60_000));
        assert!(!pays(0, 10));
    }

    #[test]
    fn the_busier_it_is_the_shorter_it_waits() {
        let mut windows = Windows::new(5_000, 0);
        let mut span = |came| windows.next(came, 0, WINDOW);
        assert_eq!(span(20), 5_000, "two in each millisecond: it takes 16 for enough of them");
        assert_eq!(span(100), 3_200);
        assert_eq!(span(320), 1_000);
        assert_eq!(span(3_200), 100);
        assert_eq!(span(320_000), 1);
        assert_eq!(span(u64::from(u32::MAX) + 1), 0);
        assert_eq!(span(0), 0);
    }

    #[test]
    fn while_media_flows_nothing_waits_longer_than_media_may() {
        let mut windows = Windows::new(2_000, 500);
        assert_eq!(windows.next(200, 0, WINDOW), 1_600);
        assert_eq!(windows.next(200, 1, WINDOW), 500, "one packet, and it may wait for what comes with it");
        assert_eq!(windows.next(200, 0, WINDOW), 500, "and another is expected");
        assert_eq!(windows.next(0, 5, WINDOW), 0, "a call or two: the packets are too far apart");
        assert_eq!(windows.next(0, 300, WINDOW), 500);
        assert_eq!(windows.next(0, 1_280, WINDOW), 250, "enough come sooner");
        assert_eq!(windows.next(20, 0, WINDOW), 0, "messages alone, and too few of them in what media may wait");
        assert_eq!(
            (0..10).filter(|_| windows.next(200, 0, WINDOW) == 500).count(),
            8,
            "a tenth of a second from the last packet on"
        );
        assert_eq!(windows.next(200, 0, WINDOW), 1_600, "a while after it");
    }

    #[test]
    fn either_can_be_turned_off() {
        let mut windows = Windows::new(2_000, 0);
        assert_eq!(windows.next(200, 0, WINDOW), 1_600);
        assert_eq!(windows.next(200, 10, WINDOW), 0, "media never waits");
        let mut windows = Windows::new(0, 500);
        assert_eq!(windows.next(1_000, 0, WINDOW), 0, "signalling never waits alone");
        assert_eq!(windows.next(999, 1, WINDOW), 320);
    }
}
