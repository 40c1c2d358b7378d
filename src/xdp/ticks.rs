//! The kernel's ticks and our time. The program counts in jiffies, which cost it nothing to read; they advance in step with
//! `CLOCK_MONOTONIC`, so one comparison of the two holds for good.

use super::layout::Moment;
use crate::base::Instant;
use crate::base::time::Duration;
use rustix::time::{ClockId, clock_getres, clock_gettime};
use std::sync::atomic::Ordering::Relaxed;

/// Deadlines count units of so many ticks.
pub const TICKS_PER_UNIT: u64 = 64;

/// Tells ticks from nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    jiffies: u64,
    ns: u64,
    tick_ns: u64,
}

impl Ticks {
    /// From what the kernel said of both at one moment, and the length of a tick.
    #[must_use]
    pub fn new(moment: &Moment, tick: Duration) -> Self {
        let tick_ns = u64::try_from(tick.as_nanos()).unwrap_or(u64::MAX).max(1);
        Self { jiffies: moment.jiffies.load(Relaxed), ns: moment.ns.load(Relaxed), tick_ns }
    }

    /// Length of a tick on this host: the coarse clock is the one that the tick advances.
    #[must_use]
    pub fn tick() -> Duration {
        let resolution = clock_getres(ClockId::MonotonicCoarse);
        Duration::new(u64::try_from(resolution.tv_sec).unwrap_or(0), u32::try_from(resolution.tv_nsec).unwrap_or(0))
    }

    /// `CLOCK_MONOTONIC` now, in nanoseconds.
    #[must_use]
    pub fn monotonic() -> u64 {
        let now = clock_gettime(ClockId::Monotonic);
        u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
    }

    /// What the kernel's tick counter says at `monotonic_ns`.
    #[must_use]
    pub fn at(&self, monotonic_ns: u64) -> u64 {
        self.jiffies + monotonic_ns.saturating_sub(self.ns) / self.tick_ns
    }

    /// The deadline of a rule that is to end `after` from `jiffies` on, at the latest.
    #[must_use]
    pub fn deadline(&self, jiffies: u64, after: Duration) -> u32 {
        let ticks = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX) / self.tick_ns;
        ((jiffies + ticks) / TICKS_PER_UNIT) as u32
    }

    /// When the tick with these last 32 bits was, seen from `now` at tick `jiffies`.
    #[must_use]
    pub fn instant(&self, now: Instant, jiffies: u64, tick: u32) -> Instant {
        let age = (jiffies as u32).wrapping_sub(tick);
        // The kernel may be a tick ahead of our reckoning.
        let age = if age > u32::MAX / 2 { 0 } else { u64::from(age) };
        Instant::from_nanos(now.as_nanos().saturating_sub(age.saturating_mul(self.tick_ns)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks() -> Ticks {
        let moment = Moment::default();
        moment.jiffies.store(1_000, Relaxed);
        moment.ns.store(5_000_000_000, Relaxed);
        Ticks::new(&moment, Duration::from_millis(4))
    }

    #[test]
    fn a_deadline_is_never_later_than_asked_for() {
        let ticks = ticks();
        for jiffies in 1_000..1_200 {
            let unit = u64::from(ticks.deadline(jiffies, Duration::from_secs(10)));
            let ends = unit * TICKS_PER_UNIT;
            assert!(ends <= jiffies + 2_500 && ends + TICKS_PER_UNIT > jiffies + 2_500, "{jiffies}: {ends}");
        }
    }

    #[test]
    fn ticks_read_back_as_time() {
        let ticks = ticks();
        assert_eq!(ticks.at(5_000_000_000 + 8_000_000), 1_002);
        let now = Instant::from_millis(9_000);
        assert_eq!(ticks.instant(now, 1_002, 1_000), Instant::from_millis(8_992));
        assert_eq!(ticks.instant(now, 1_002, 1_003), now, "a tick ahead of us");
        assert_eq!(ticks.instant(now, (1 << 32) + 1, u32::MAX), Instant::from_millis(8_992), "across the wrap");
    }
}
