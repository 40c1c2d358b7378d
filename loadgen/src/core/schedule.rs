//! When each call or registration is due, whatever the target does: the open loop.
//!
//! A closed loop waits for a stalled server and so hides the stall; here every latency counts from these instants.

use strowger::base::time::Duration;
use strowger::base::{Instant, Random};

/// The spacing of arrivals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrivals {
    /// Evenly spaced.
    #[default]
    Uniform,
    /// Exponentially distributed gaps, as independent callers make them.
    Poisson,
}

/// What a run asks for, of all cores together.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Arrivals per second.
    pub rate: f64,
    /// How long to go on.
    pub duration: Option<Duration>,
    /// How many at most.
    pub count: Option<u64>,
    /// Spacing.
    pub arrivals: Arrivals,
}

/// One core's share of the arrivals: every `cores`-th, beginning with its own number.
#[derive(Debug)]
pub struct Schedule {
    load: Load,
    stride: u64,
    number: u64,
    offset: f64,
    start: Option<Instant>,
    random: Random,
}

impl Schedule {
    /// The share of core `core` of `cores`; nothing is due before [`start`](Self::start).
    pub fn new(load: Load, core: u64, cores: u64, random: Random) -> Self {
        let mut schedule = Self { load, stride: cores.max(1), number: core, offset: 0.0, start: None, random };
        schedule.offset = match load.arrivals {
            Arrivals::Uniform => core as f64 / load.rate,
            Arrivals::Poisson => schedule.gap(),
        };
        schedule
    }

    /// Sets the instant of arrival zero.
    pub fn start(&mut self, at: Instant) {
        self.start = Some(at);
    }

    /// Stops: nothing more will be due.
    pub fn stop(&mut self) {
        self.load.count = Some(0);
    }

    /// True when nothing will be due any more.
    pub fn is_over(&self) -> bool {
        self.load.count.is_some_and(|count| self.number >= count)
            || self.load.duration.is_some_and(|duration| self.offset >= duration.as_secs_f64())
    }

    /// The next arrival.
    pub fn next_deadline(&self) -> Option<Instant> {
        let start = self.start?;
        (!self.is_over()).then(|| start + Duration::from_secs_f64(self.offset))
    }

    /// The next arrival that is due: its number and the instant it was scheduled for.
    pub fn take(&mut self, now: Instant) -> Option<(u64, Instant)> {
        let at = self.next_deadline().filter(|&at| at <= now)?;
        let number = self.number;
        self.number += self.stride;
        self.offset = match self.load.arrivals {
            Arrivals::Uniform => self.number as f64 / self.load.rate,
            Arrivals::Poisson => self.offset + self.gap(),
        };
        Some((number, at))
    }

    fn gap(&mut self) -> f64 {
        let uniform = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        -(1.0 - uniform).ln() * self.stride as f64 / self.load.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(arrivals: Arrivals) -> Load {
        Load { rate: 250.0, duration: Some(Duration::from_secs(4)), count: None, arrivals }
    }

    #[test]
    fn two_cores_together_make_the_whole_schedule() {
        let mut seen = Vec::new();
        for core in 0..2 {
            let mut schedule = Schedule::new(load(Arrivals::Uniform), core, 2, Random::from_u64(1));
            assert_eq!(schedule.take(Instant::MAX), None);
            schedule.start(Instant::from_millis(1000));
            assert_eq!(schedule.take(Instant::from_millis(999)), None);
            while let Some((number, at)) = schedule.take(Instant::from_millis(60_000)) {
                assert_eq!(at.as_millis(), 1000 + number * 4);
                seen.push(number);
            }
            assert!(schedule.is_over());
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn poisson_keeps_the_mean_and_the_count_its_bound() {
        let mut schedule = Schedule::new(load(Arrivals::Poisson), 0, 1, Random::from_u64(7));
        schedule.start(Instant::ZERO);
        let count = std::iter::from_fn(|| schedule.take(Instant::MAX)).count();
        assert!((900..1100).contains(&count), "{count}");
        let bounded = Load { count: Some(10), duration: None, ..load(Arrivals::Uniform) };
        let mut schedule = Schedule::new(bounded, 0, 1, Random::from_u64(7));
        schedule.start(Instant::ZERO);
        assert_eq!(std::iter::from_fn(|| schedule.take(Instant::MAX)).count(), 10);
    }
}
