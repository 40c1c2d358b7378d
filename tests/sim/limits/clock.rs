//! A host's monotonic clock: runs a little fast or slow, and begins anywhere after each boot.

use strowger::base::Instant;
use strowger::base::time::Duration;

const MILLION: u128 = 1_000_000;

/// True nanoseconds to a host's own and back.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Parts per million of its speed: a million is true.
    speed: u64,
    /// What it showed when true time was zero.
    offset: u64,
}

impl Clock {
    pub fn new(speed: u64, offset: u64) -> Self {
        Self { speed, offset }
    }

    /// What it shows at a true time.
    pub fn read(&self, truth: u64) -> Instant {
        let passed = u128::from(truth) * u128::from(self.speed) / MILLION;
        Instant::from_nanos(self.offset + passed as u64)
    }

    /// The first true time at which it shows that.
    pub fn when(&self, shows: Instant) -> u64 {
        let passed = u128::from(shows.as_nanos().saturating_sub(self.offset));
        u64::try_from((passed * MILLION).div_ceil(u128::from(self.speed))).unwrap_or(u64::MAX)
    }

    /// How long it takes in truth until this clock has counted so much.
    pub fn truly(&self, counted: Duration) -> u64 {
        (counted.as_nanos() * MILLION / u128::from(self.speed)) as u64
    }
}
