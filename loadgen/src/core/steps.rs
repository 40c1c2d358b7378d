//! What came of the calls of each step of a ramp, by the step they were scheduled in.

use hdrhistogram::Histogram;
use strowger::base::time::Duration;

const NANOS_MAX: u64 = 3_600_000_000_000;

/// Calls of one step.
#[derive(Clone, Debug)]
pub struct StepFigures {
    /// Scheduled in it.
    pub offered: u64,
    /// Answered with 200, whenever that was.
    pub answered: u64,
    /// Refused with another final answer.
    pub refused: u64,
    /// Begun and otherwise lost, or not begun because too many were up.
    pub failed: u64,
    /// Session request delay.
    pub srd: Histogram<u64>,
}

impl Default for StepFigures {
    fn default() -> Self {
        let srd = Histogram::new_with_bounds(1000, NANOS_MAX, 2).expect("constant bounds");
        Self { offered: 0, answered: 0, refused: 0, failed: 0, srd }
    }
}

impl StepFigures {
    /// Takes the delay of an answered call.
    pub fn answer(&mut self, srd: Duration) {
        self.answered += 1;
        self.srd.saturating_record(u64::try_from(srd.as_nanos()).unwrap_or(NANOS_MAX));
    }

    /// Adds another core's.
    pub fn merge(&mut self, other: &Self) {
        self.offered += other.offered;
        self.answered += other.answered;
        self.refused += other.refused;
        self.failed += other.failed;
        // Histograms of the same bounds can always be added.
        let _ = self.srd.add(&other.srd);
    }
}

/// The rates of a ramp: up in `count` steps from `low` to `high`, the top, and down again.
pub fn shape(low: f64, high: f64, count: u32, length: Duration, top: Duration) -> Vec<(f64, Duration)> {
    let rate = |index: u32| low + (high - low) * f64::from(index) / f64::from(count.max(2) - 1);
    let up = (0..count.max(2) - 1).map(|index| (rate(index), length));
    let down = (0..count.max(2) - 1).rev().map(|index| (rate(index), length));
    up.chain([(high, top)]).chain(down).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_and_down_again() {
        let (length, top) = (Duration::from_secs(1), Duration::from_secs(3));
        let rates: Vec<f64> = shape(10.0, 30.0, 3, length, top).iter().map(|step| step.0).collect();
        assert_eq!(rates, [10.0, 20.0, 30.0, 20.0, 10.0]);
        assert_eq!(shape(10.0, 30.0, 1, length, top).len(), 3);
        let mut sum = StepFigures::default();
        sum.answer(Duration::from_millis(1));
        sum.merge(&sum.clone());
        assert_eq!((sum.answered, sum.srd.len()), (2, 2));
    }
}
