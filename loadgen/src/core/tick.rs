//! Ticks: at high rates a generator that wakes for every message spends its time on waking. It takes what has come at each
//! tick instead, and begins and ends calls at ticks, so that what is due together leaves together.
//!
//! Latencies stay exact: they begin at scheduled instants, which lie on ticks, and end when the kernel took the answer from
//! the network, not when it was looked at.

use strowger::base::Instant;
use strowger::base::time::Duration;

/// How often it is decided anew whether to gather.
const WINDOW: Duration = Duration::from_millis(10);
/// Messages to be expected in a tick that are worth it.
const MESSAGES_MIN: u128 = 2;

/// The first tick at this instant or after it; the instant itself where there are no ticks.
pub fn at_or_after(at: Instant, tick: Duration) -> Instant {
    match u64::try_from(tick.as_nanos()) {
        Ok(tick @ 1..) => at.as_nanos().checked_next_multiple_of(tick).map_or(Instant::MAX, Instant::from_nanos),
        _ => at,
    }
}

/// Whether a core gathers what comes until the next tick.
#[derive(Clone, Copy, Debug)]
pub struct Gathering {
    tick: Duration,
    window: Instant,
    received: u64,
    pays: bool,
}

impl Gathering {
    /// Never, with ticks of no length.
    pub fn new(tick: Duration) -> Self {
        Self { tick, window: Instant::ZERO, received: 0, pays: false }
    }

    /// Until when to gather, if so much came lately that several messages are to be expected by then. `received` counts
    /// since the beginning.
    pub fn until(&mut self, now: Instant, received: u64) -> Option<Instant> {
        if self.tick.is_zero() {
            return None;
        }
        let elapsed = now.since(self.window);
        if elapsed >= WINDOW {
            let expected = u128::from(received - self.received) * self.tick.as_nanos();
            self.pays = expected >= MESSAGES_MIN * elapsed.as_nanos();
            (self.window, self.received) = (now, received);
        }
        self.pays.then(|| at_or_after(now + Duration::from_nanos(1), self.tick))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(1);

    fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1000)
    }

    #[test]
    fn instants_move_to_the_next_tick_and_stay_without_one() {
        assert_eq!([0, 1, 999, 1000].map(|micros| at_or_after(at(micros), TICK)), [0, 1000, 1000, 1000].map(at));
        assert_eq!(at_or_after(at(1), Duration::ZERO), at(1));
        assert_eq!(at_or_after(Instant::MAX, TICK), Instant::MAX);
    }

    #[test]
    fn gathering_begins_and_ends_with_what_comes() {
        let mut gathering = Gathering::new(TICK);
        assert_eq!(gathering.until(at(10_000), 5), None);
        assert_eq!(gathering.until(at(20_300), 26), Some(at(21_000)), "two in each millisecond");
        assert_eq!(gathering.until(at(21_000), 26), Some(at(22_000)));
        assert_eq!(gathering.until(at(40_000), 50), None, "fewer");
        assert_eq!(Gathering::new(Duration::ZERO).until(at(50_000), 1_000_000), None);
    }
}
