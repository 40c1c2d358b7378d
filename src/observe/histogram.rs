//! A histogram of durations with fixed buckets, so that recording is two relaxed stores.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::base::time::Duration;

/// Upper bounds of the buckets in microseconds; one more bucket takes the rest.
pub const BOUNDS_MICROS: [u64; 15] = [
    250, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000,
    10_000_000,
];

/// Durations, counted. One writer, any number of readers.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_MICROS.len() + 1],
    sum_nanos: AtomicU64,
}

impl Histogram {
    /// Counts one duration. Only the owner calls this.
    pub fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.partition_point(|&bound| bound < micros);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        bump(&self.buckets[bucket], 1);
        bump(&self.sum_nanos, nanos);
    }

    /// Its cells by name.
    pub(super) fn each(&self, visit: &mut dyn FnMut(String, &AtomicU64)) {
        let bounds = BOUNDS_MICROS.iter().map(|bound| format!("to {bound} us")).chain(["above".to_owned()]);
        bounds.zip(&self.buckets).for_each(|(name, cell)| visit(name, cell));
        visit("sum_nanos".to_owned(), &self.sum_nanos);
    }

    /// Counts per bucket (not cumulative), the last one unbounded, and the sum in nanoseconds.
    #[must_use]
    pub fn read(&self) -> ([u64; BOUNDS_MICROS.len() + 1], u64) {
        (std::array::from_fn(|bucket| self.buckets[bucket].load(Relaxed)), self.sum_nanos.load(Relaxed))
    }
}

/// Adds without a locked instruction: right because each cell has one writer.
pub(super) fn bump(cell: &AtomicU64, by: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(by), Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_micros(250));
        histogram.record(Duration::from_nanos(250_001));
        histogram.record(Duration::from_secs(60));
        let (buckets, sum) = histogram.read();
        assert_eq!((buckets[0], buckets[1], buckets[15]), (1, 1, 1));
        assert_eq!(sum, 250_000 + 250_001 + 60_000_000_000);
    }
}
