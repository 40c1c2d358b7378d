//! The rate as the user wants it, by the keys of the screen. Every change is noted: the report says that it was by hand.

use std::time::Duration;

/// Another rate than the one asked for at first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateChange {
    /// From when on, counted from the first arrival.
    pub at: Duration,
    /// Arrivals per second; 0 is a pause.
    pub rate: f64,
}

/// The rate as it is wanted.
pub struct Pace {
    /// Arrivals per second when not paused.
    wanted: f64,
    paused: bool,
    in_force: f64,
    changes: Vec<RateChange>,
}

impl Pace {
    /// As the command line says.
    pub fn new(rate: f64) -> Self {
        Self { wanted: rate, paused: false, in_force: rate, changes: Vec::new() }
    }

    /// So many arrivals per second more, or fewer; never fewer than none.
    pub fn add(&mut self, by: f64) {
        self.wanted = (self.wanted + by).max(0.0);
    }

    /// Pause, or go on.
    pub fn pause(&mut self) {
        self.paused = !self.paused;
    }

    /// Arrivals per second when not paused.
    pub fn wanted(&self) -> f64 {
        self.wanted
    }

    /// Nothing new is begun.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Arrivals per second.
    pub fn rate(&self) -> f64 {
        if self.paused { 0.0 } else { self.wanted }
    }

    /// Notes that the rate is another one from `at` on; false if it is still the same.
    pub fn note(&mut self, at: Duration) -> bool {
        let rate = self.rate();
        let changed = rate != self.in_force;
        if changed {
            self.in_force = rate;
            self.changes.push(RateChange { at, rate });
        }
        changed
    }

    /// What was changed so far.
    pub fn changes(&self) -> &[RateChange] {
        &self.changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_noted_once_and_a_pause_keeps_the_rate() {
        let second = Duration::from_secs;
        let mut pace = Pace::new(10.0);
        assert!(!pace.note(second(1)));
        pace.add(-50.0);
        assert!(pace.note(second(2)) && !pace.note(second(3)));
        pace.add(20.0);
        pace.pause();
        assert!(!pace.note(second(4)), "nothing was begun, and nothing is");
        pace.add(1.0);
        pace.pause();
        assert!(pace.note(second(5)));
        let change = |at, rate| RateChange { at: second(at), rate };
        assert_eq!(pace.changes(), [change(2, 0.0), change(5, 21.0)]);
        assert_eq!((pace.wanted(), pace.rate(), pace.is_paused()), (21.0, 21.0, false));
    }
}
