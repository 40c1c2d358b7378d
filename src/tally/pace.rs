//! A limit on calls a second, shared by the shards of a node (generic cell rate algorithm, ITU-T I.371).

use crate::base::Instant;
use crate::base::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering};

/// Admits `rate` a second with bursts of up to a tenth of a second's worth (at least one).
#[derive(Debug)]
pub struct Pace {
    interval_ns: u64,
    burst_ns: u64,
    due_ns: AtomicU64,
}

impl Pace {
    /// A pace of `rate` calls a second.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        let interval_ns = 1_000_000_000 / u64::from(rate.max(1));
        let burst_ns = Duration::from_millis(100).as_nanos() as u64;
        Self { interval_ns, burst_ns: burst_ns.max(interval_ns) - interval_ns, due_ns: AtomicU64::new(0) }
    }

    /// Calls a second.
    #[must_use]
    pub fn rate(&self) -> u32 {
        u32::try_from(1_000_000_000 / self.interval_ns.max(1)).unwrap_or(u32::MAX)
    }

    /// True when a call may start now; counts it.
    pub fn admit(&self, now: Instant) -> bool {
        let now_ns = now.as_nanos();
        self.due_ns
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |due| {
                (due <= now_ns.saturating_add(self.burst_ns)).then(|| due.max(now_ns) + self.interval_ns)
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holds_its_rate() {
        let pace = Pace::new(50);
        let admitted = (0..10_000u64).filter(|step| pace.admit(Instant::from_nanos(step * 100_000))).count();
        assert!((50..=56).contains(&admitted), "{admitted}");
    }

    #[test]
    fn one_a_second_means_one() {
        let pace = Pace::new(1);
        let at = |millis| pace.admit(Instant::from_millis(millis));
        assert_eq!((at(10_000), at(10_500), at(11_000)), (true, false, true));
    }
}
