//! Whether the keeper of the rights is awake. A loan's end closes admission only when the keeper sees it: a process that
//! stood still for a minute must not admit calls on rights that ended meanwhile, in the moment before its keeper runs.
//!
//! Owned by the keeper, which beats after each of its turns; read by every shard, once an admission.

use crate::base::Instant;
use crate::base::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering};

/// Until when shards may trust the cells.
#[derive(Debug)]
#[repr(align(64))]
pub struct Pulse(AtomicU64);

impl Pulse {
    /// A pulse that never stops: no other site is involved.
    #[must_use]
    pub fn steady() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }

    /// A pulse that has not begun: nothing is admitted yet.
    #[must_use]
    pub fn waiting() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The keeper has done everything that was due at `now`: the cells hold for `trust`, which is at most half of the
    /// slop that lenders allow for.
    pub fn beat(&self, now: Instant, trust: Duration) {
        self.0.store((now + trust).as_nanos(), Ordering::Release);
    }

    /// True while the cells may be trusted.
    #[must_use]
    pub fn beats(&self, now: Instant) -> bool {
        now <= self.until()
    }

    /// Until when the last beat holds. Whatever the keeper wrote before it can be read by who has seen it.
    #[must_use]
    pub fn until(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keeper_that_stands_still_is_not_trusted() {
        let pulse = Pulse::waiting();
        let at = Instant::from_millis;
        assert!(!pulse.beats(at(1)));
        pulse.beat(at(1_000), Duration::from_millis(900));
        assert!(pulse.beats(at(1_900)));
        assert!(!pulse.beats(at(1_901)));
        assert!(Pulse::steady().beats(Instant::MAX));
    }
}
