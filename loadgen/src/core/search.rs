//! The search for the highest rate (or number of calls) that still passes: doubling, bisection, confirmation. The procedure
//! of RFC 7502 §5 with two additions: a failure counts when it comes twice, and what is found must pass again.

/// Steps after which the search gives what it has.
const STEPS_MAX: u32 = 100;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Found {
    /// Passed, and again each time it was to be confirmed; a little more failed twice.
    Highest(f64),
    /// All there was to try passed.
    AtLeast(f64),
    /// Not even the lowest passed.
    Nothing,
}

/// A search in progress.
#[derive(Clone, Debug)]
pub struct Search {
    lowest: f64,
    highest: f64,
    precision: f64,
    confirmations: u32,
    trying: f64,
    failed_once: bool,
    confirmed: Option<u32>,
    passed: Vec<f64>,
    failed: Option<f64>,
    steps: u32,
    found: Option<Found>,
}

impl Search {
    /// Between two values; done when the gap is at most `precision` of the lower (0.02 is 2 %).
    pub fn new(lowest: f64, highest: f64, precision: f64, confirmations: u32) -> Self {
        let (passed, failed, found) = Default::default();
        Self {
            lowest,
            highest,
            precision,
            confirmations,
            trying: lowest,
            failed_once: false,
            confirmed: None,
            passed,
            failed,
            steps: 0,
            found,
        }
    }

    /// What to try next.
    pub fn trying(&self) -> f64 {
        self.trying
    }

    /// The step repeats a failure.
    pub fn is_again(&self) -> bool {
        self.failed_once
    }

    /// The step confirms what was found.
    pub fn is_confirming(&self) -> bool {
        self.confirmed.is_some()
    }

    /// The end, if it is reached.
    pub fn found(&self) -> Option<Found> {
        self.found
    }

    /// The step passed, or not.
    pub fn took(&mut self, passed: bool) {
        self.steps += 1;
        if passed {
            self.failed_once = false;
            match &mut self.confirmed {
                Some(count) => *count += 1,
                None => self.passed.push(self.trying),
            }
        } else if !self.failed_once {
            self.failed_once = true;
        } else {
            (self.failed_once, self.confirmed) = (false, None);
            self.failed = Some(self.trying);
            self.passed.retain(|&passed| passed < self.trying);
        }
        if !self.failed_once || self.steps >= STEPS_MAX {
            self.advance();
        }
    }

    fn advance(&mut self) {
        let best = self.passed.last().copied();
        let Some(best) = best else {
            match self.failed {
                Some(failed) if failed > self.lowest && self.steps < STEPS_MAX => self.trying = self.lowest,
                _ => self.found = Some(Found::Nothing),
            }
            return;
        };
        let close = self.failed.map_or(best >= self.highest, |failed| failed - best <= best * self.precision);
        if close && self.confirmed.is_none_or(|count| count < self.confirmations) && self.steps < STEPS_MAX {
            self.trying = best;
            self.confirmed.get_or_insert(0);
            if self.confirmations > 0 {
                return;
            }
        }
        if close || self.steps >= STEPS_MAX {
            let all = self.failed.is_none();
            self.found = Some(if all { Found::AtLeast(best) } else { Found::Highest(best) });
            return;
        }
        self.trying = self.failed.map_or((best * 2.0).min(self.highest), |failed| f64::midpoint(best, failed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strowger::base::Random;

    fn run(mut search: Search, mut passes: impl FnMut(f64) -> bool) -> (Found, Vec<f64>) {
        let mut tried = Vec::new();
        while search.found().is_none() {
            tried.push(search.trying());
            let passed = passes(search.trying());
            search.took(passed);
        }
        (search.found().unwrap(), tried)
    }

    #[test]
    fn a_limit_is_found_within_the_precision() {
        for limit in [1.5, 10.0, 333.0, 1234.5, 9999.0] {
            let (found, tried) = run(Search::new(1.0, 10_000.0, 0.02, 2), |rate| rate <= limit);
            let Found::Highest(found) = found else { panic!("{found:?}") };
            assert!(found <= limit && limit <= found * 1.021, "{limit}: {found}");
            assert!(tried.ends_with(&[found, found]) && tried.len() < 50, "{limit}: {tried:?}");
        }
    }

    #[test]
    fn the_ends_are_said_as_they_are() {
        assert_eq!(run(Search::new(10.0, 100.0, 0.02, 1), |_| true).0, Found::AtLeast(100.0));
        assert_eq!(run(Search::new(10.0, 100.0, 0.02, 1), |_| false), (Found::Nothing, vec![10.0, 10.0]));
    }

    #[test]
    fn one_bad_step_in_ten_moves_nothing_far() {
        for seed in 0..200 {
            let mut random = Random::from_u64(seed);
            let noisy = |rate: f64| rate <= 400.0 && random.below(10) > 0;
            let Found::Highest(found) = run(Search::new(10.0, 5000.0, 0.02, 2), noisy).0 else { panic!("{seed}") };
            assert!(found <= 400.0, "seed {seed}: {found}");
        }
    }

    #[test]
    fn what_does_not_confirm_is_searched_below() {
        let mut count = 0;
        // Passes at 100 the first time only: the true limit is 80.
        let (found, _) = run(Search::new(10.0, 5000.0, 0.02, 2), |rate| {
            count += u32::from(rate > 80.0 && rate <= 100.0);
            rate <= 80.0 || rate <= 100.0 && count <= 1
        });
        let Found::Highest(found) = found else { panic!("{found:?}") };
        assert!((78.0..=80.0).contains(&found), "{found}");
    }
}
