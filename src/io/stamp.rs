//! From the kernel's time stamps, which are of the wall clock, to the clock that everything here counts by.

use rustix::time::{ClockId, clock_gettime};

use crate::base::Instant;

/// Looks at the clocks; the one least disturbed counts.
const LOOKS: usize = 3;

/// How the two clocks stand to each other: read once a batch, when the first stamp of it comes, so that neither drift nor a
/// step of the wall clock lasts.
#[derive(Default)]
pub(super) struct Clocks(Option<Pair>);

#[derive(Clone, Copy)]
struct Pair {
    monotonic: u64,
    wall: u64,
}

impl Clocks {
    /// A batch begins.
    pub(super) fn begin(&mut self) {
        self.0 = None;
    }

    /// The instant of a stamp; what lies in the future is now.
    pub(super) fn instant(&mut self, stamp: u64) -> Instant {
        let pair = *self.0.get_or_insert_with(Pair::read);
        Instant::from_nanos(pair.monotonic.saturating_sub(pair.wall.saturating_sub(stamp)))
    }
}

impl Pair {
    fn read() -> Self {
        let look = |_| {
            let before = nanos(ClockId::Monotonic);
            let wall = nanos(ClockId::Realtime);
            let after = nanos(ClockId::Monotonic);
            (after - before, Self { monotonic: before + (after - before) / 2, wall })
        };
        (0..LOOKS).map(look).min_by_key(|(span, _)| *span).unwrap_or_else(|| look(0)).1
    }
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_as_old_here_as_there_and_none_is_of_the_future() {
        let mut clocks = Clocks(Some(Pair { monotonic: 5_000, wall: 1_000_000 }));
        assert_eq!(clocks.instant(999_000), Instant::from_nanos(4_000));
        assert_eq!(clocks.instant(1_000_001), Instant::from_nanos(5_000));
        assert_eq!(clocks.instant(3), Instant::ZERO);
        clocks.begin();
        let before = nanos(ClockId::Monotonic);
        assert!(clocks.instant(u64::MAX) >= Instant::from_nanos(before));
    }
}
