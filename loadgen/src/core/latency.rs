//! One latency, kept twice: of the whole run for the report, and of the time since somebody last looked for the course of it.
//!
//! A percentile of one second cannot be had from the percentiles of two cores, or from those of the whole run before and
//! after it; so the second has a histogram of its own, small enough to be handed over while packets wait.

use std::ops::Deref;

use hdrhistogram::Histogram;
use strowger::base::time::Duration;

/// Longest latency told apart: an hour.
const NANOS_MAX: u64 = 3_600_000_000_000;
/// Significant digits of the whole run.
const DIGITS_WHOLE: u8 = 3;
/// Significant digits of what is recent: 18 kB.
const DIGITS_RECENT: u8 = 2;

/// An empty histogram of the resolution that recent latencies have.
pub fn recent() -> Histogram<u32> {
    Histogram::new_with_bounds(1, NANOS_MAX, DIGITS_RECENT).expect("constant bounds")
}

/// One latency in nanoseconds. Reads as the histogram of the whole run.
#[derive(Clone, Debug)]
pub struct Latency {
    whole: Histogram<u64>,
    recent: Histogram<u32>,
}

impl Default for Latency {
    fn default() -> Self {
        let whole = Histogram::new_with_bounds(1, NANOS_MAX, DIGITS_WHOLE).expect("constant bounds");
        Self { whole, recent: recent() }
    }
}

impl Deref for Latency {
    type Target = Histogram<u64>;

    fn deref(&self) -> &Histogram<u64> {
        &self.whole
    }
}

impl Latency {
    /// Records a value, saturating at the longest.
    pub fn record(&mut self, value: Duration) {
        let nanos = u64::try_from(value.as_nanos()).unwrap_or(NANOS_MAX).max(1);
        self.whole.saturating_record(nanos);
        self.recent.saturating_record(nanos);
    }

    /// What came since the last time this was asked; nothing if nothing came.
    pub fn take_recent(&mut self) -> Option<Histogram<u32>> {
        (!self.recent.is_empty()).then(|| {
            let taken = self.recent.clone();
            self.recent.reset();
            taken
        })
    }

    /// Adds another core's.
    pub fn merge(&mut self, other: &Self) {
        // Histograms of the same bounds can always be added.
        let _ = self.whole.add(&other.whole);
        let _ = self.recent.add(&other.recent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_own_percentiles_and_the_whole_keeps_them_all() {
        let mut latency = Latency::default();
        (0..99).for_each(|_| latency.record(Duration::from_millis(1)));
        let first = latency.take_recent().unwrap();
        assert_eq!((first.len(), first.value_at_quantile(0.99) / 100_000), (99, 10));
        assert!(latency.take_recent().is_none());
        latency.record(Duration::from_millis(200));
        let second = latency.take_recent().unwrap();
        assert!(second.value_at_quantile(0.5).abs_diff(200_000_000) < 2_000_000, "one percent");
        assert_eq!(
            (latency.len(), latency.max() / 1_000_000, latency.value_at_quantile(0.5) / 100_000),
            (100, 200, 10)
        );
        latency.record(Duration::MAX);
        assert!(latency.max() >= NANOS_MAX);
    }
}
