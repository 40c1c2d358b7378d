//! When each call or registration is due, whatever the target does: the open loop.
//!
//! A closed loop waits for a stalled server and so hides the stall; here every latency counts from these instants.

use strowger::base::time::Duration;
use strowger::base::{Instant, Random};

use super::tick::at_or_after;

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

/// From an instant on, counted from the beginning of the run, arrivals come at this rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    from_s: f64,
    /// Arrivals that the pieces before hold.
    before: f64,
    rate: f64,
}

/// One core's share of the arrivals: every `cores`-th, beginning with its own number.
#[derive(Debug)]
pub struct Schedule {
    load: Load,
    stride: u64,
    number: u64,
    /// Arrivals of all cores before the next one of this core; a whole number where they are evenly spaced.
    due: f64,
    pieces: Vec<Piece>,
    start: Option<Instant>,
    tick: Duration,
    random: Random,
}

impl Schedule {
    /// The share of core `core` of `cores`; nothing is due before [`start`](Self::start).
    pub fn new(load: Load, core: u64, cores: u64, random: Random) -> Self {
        let pieces = vec![Piece { from_s: 0.0, before: 0.0, rate: load.rate }];
        let (stride, tick) = (cores.max(1), Duration::ZERO);
        let mut schedule = Self { load, stride, number: core, due: 0.0, pieces, start: None, tick, random };
        schedule.due = match load.arrivals {
            Arrivals::Uniform => core as f64,
            Arrivals::Poisson => schedule.gap(),
        };
        schedule
    }

    /// Other rates one after the other, each for so long, instead of the one of the load.
    #[must_use]
    pub fn with_steps(mut self, steps: &[(f64, Duration)]) -> Self {
        let (mut from_s, mut before) = (0.0, 0.0);
        for (index, &(rate, length)) in steps.iter().enumerate() {
            if index == 0 {
                self.pieces.clear();
            }
            self.pieces.push(Piece { from_s, before, rate });
            from_s += length.as_secs_f64();
            before += rate * length.as_secs_f64();
        }
        self
    }

    /// Whatever is due is due at a tick.
    #[must_use]
    pub fn with_tick(mut self, tick: Duration) -> Self {
        self.tick = tick;
        self
    }

    /// Sets the instant of arrival zero.
    pub fn start(&mut self, at: Instant) {
        self.start = Some(at);
    }

    /// So long after arrival zero.
    pub fn at(&self, offset: Duration) -> Option<Instant> {
        self.start.map(|start| start + offset)
    }

    /// From now on another rate; 0 is a pause. What was due before stays due when it was.
    pub fn set_rate(&mut self, now: Instant, rate: f64) {
        let from_s = self.start.map_or(0.0, |start| now.since(start).as_secs_f64());
        let last = self.pieces.iter().rfind(|piece| piece.from_s <= from_s).copied();
        let before = last.map_or(0.0, |last| last.before + (from_s - last.from_s) * last.rate);
        self.pieces.retain(|piece| piece.from_s < from_s);
        self.pieces.push(Piece { from_s, before, rate });
    }

    /// Stops: nothing more will be due.
    pub fn stop(&mut self) {
        self.load.count = Some(0);
    }

    /// True when nothing will be due any more. A pause ends by a new rate.
    pub fn is_over(&self) -> bool {
        self.load.count.is_some_and(|count| self.number >= count)
            || self
                .load
                .duration
                .is_some_and(|duration| self.offset_s().is_some_and(|offset| offset >= duration.as_secs_f64()))
    }

    /// Seconds from the start to the next arrival; `None` during a pause.
    fn offset_s(&self) -> Option<f64> {
        let after = self.pieces.partition_point(|piece| piece.before <= self.due);
        let piece = self.pieces[after.saturating_sub(1)];
        (piece.rate > 0.0).then(|| piece.from_s + (self.due - piece.before) / piece.rate)
    }

    /// The next arrival.
    pub fn next_deadline(&self) -> Option<Instant> {
        let start = self.start?;
        let offset = self.offset_s().filter(|_| !self.is_over())?;
        Some(at_or_after(start + Duration::from_secs_f64(offset), self.tick))
    }

    /// The next arrival that is due: its number and the instant it was scheduled for.
    pub fn take(&mut self, now: Instant) -> Option<(u64, Instant)> {
        let at = self.next_deadline().filter(|&at| at <= now)?;
        let number = self.number;
        self.number += self.stride;
        self.due = match self.load.arrivals {
            Arrivals::Uniform => self.number as f64,
            Arrivals::Poisson => self.due + self.gap(),
        };
        Some((number, at))
    }

    /// In which of the steps an instant lies.
    pub fn step_of(&self, at: Instant) -> usize {
        let from_s = self.start.map_or(0.0, |start| at.since(start).as_secs_f64()) + 1e-9;
        self.pieces.partition_point(|piece| piece.from_s <= from_s).saturating_sub(1)
    }

    /// In arrivals of all cores.
    fn gap(&mut self) -> f64 {
        let uniform = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        -(1.0 - uniform).ln() * self.stride as f64
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

    #[test]
    fn with_ticks_what_is_due_between_two_is_due_at_the_second() {
        let fast = Load { rate: 4000.0, count: Some(9), duration: None, ..load(Arrivals::Uniform) };
        let mut schedule = Schedule::new(fast, 0, 1, Random::from_u64(1)).with_tick(Duration::from_millis(1));
        schedule.start(Instant::from_millis(7));
        assert_eq!(instants(&mut schedule, 7), [7]);
        assert_eq!(instants(&mut schedule, 9), [8, 8, 8, 8, 9, 9, 9, 9]);
    }

    fn instants(schedule: &mut Schedule, until: u64) -> Vec<u64> {
        std::iter::from_fn(|| schedule.take(Instant::from_millis(until))).map(|(_, at)| at.as_millis()).collect()
    }

    #[test]
    fn steps_follow_each_other_without_a_gap() {
        let seconds = Duration::from_secs;
        let long = Load { duration: Some(seconds(6)), ..load(Arrivals::Uniform) };
        let steps = [(10.0, seconds(2)), (100.0, seconds(1)), (20.0, seconds(3))];
        let mut schedule = Schedule::new(long, 0, 1, Random::from_u64(1)).with_steps(&steps);
        schedule.start(Instant::ZERO);
        let at = instants(&mut schedule, 60_000);
        let within = |from, to| at.iter().filter(|&&at| at >= from && at < to).count();
        assert_eq!((within(0, 2000), within(2000, 3000), within(3000, 6000)), (20, 100, 60));
        assert!(schedule.is_over());
        let step = |millis| schedule.step_of(Instant::from_millis(millis));
        assert_eq!([step(0), step(1999), step(2000), step(2999), step(3000), step(9000)], [0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn a_new_rate_holds_from_its_instant_and_zero_is_a_pause() {
        let endless = Load { duration: None, rate: 10.0, ..load(Arrivals::Uniform) };
        let mut schedule = Schedule::new(endless, 0, 1, Random::from_u64(1));
        schedule.start(Instant::ZERO);
        assert_eq!(instants(&mut schedule, 950).len(), 10);
        schedule.set_rate(Instant::from_millis(1000), 0.0);
        assert_eq!((schedule.next_deadline().is_none(), schedule.is_over()), (true, false));
        schedule.set_rate(Instant::from_millis(5000), 100.0);
        assert_eq!(instants(&mut schedule, 5035), [5000, 5010, 5020, 5030]);
        schedule.set_rate(Instant::from_millis(5035), 1.0);
        assert_eq!(instants(&mut schedule, 7000), [5535, 6535]);
    }
}
