//! What a listener would say of a stream: ITU-T G.107 (06/2015), the E-model with all values at their defaults but delay
//! and loss. Written from the recommendation and not shared with the appliance, whose figures it is there to check.

use strowger::base::time::Duration;

/// G.107 table 3: R with every default, which is R0 - Is + A with no delay and no loss.
const RATING_DEFAULT: f64 = 93.2;
/// G.113 appendix I: G.711 with packet loss concealment has Ie = 0, Bpl = 25.1.
const ROBUSTNESS: f64 = 25.1;
/// Samples wait for their packet to be full, and then for a playout buffer of twice the jitter.
const PACKETISATION: Duration = Duration::from_millis(20);

/// What is known of a stream at its end.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// Packets that should have come.
    pub expected: u64,
    /// Of them, lost.
    pub lost: u64,
    /// Runs of losses.
    pub gaps: u64,
    /// Mean one-way delay; zero where it cannot be measured.
    pub delay: Duration,
    /// RFC 3550 jitter.
    pub jitter: Duration,
}

impl Heard {
    /// Mean opinion score, 1.0 to 4.5.
    pub fn score(&self) -> f64 {
        if self.lost == 0 || self.expected == 0 {
            return mos(0.0, 1.0, self.delay, self.jitter);
        }
        let share = self.lost as f64 / self.expected as f64;
        let run = self.lost as f64 / self.gaps.clamp(1, self.lost) as f64;
        mos(share, run * (1.0 - share), self.delay, self.jitter)
    }
}

/// Mean opinion score, 1.0 to 4.5. `loss` is a share; `burst_ratio` is the mean run of losses over that of as many random ones,
/// 1 at least; `delay` is one-way.
pub fn mos(loss: f64, burst_ratio: f64, delay: Duration, jitter: Duration) -> f64 {
    score(RATING_DEFAULT - delay_impairment(delay, jitter) - loss_impairment(loss, burst_ratio.max(1.0)))
}

/// Ie,eff of G.107 clause 7.5 (3-29) with Ie = 0.
fn loss_impairment(share: f64, burst_ratio: f64) -> f64 {
    95.0 * share * 100.0 / (share * 100.0 / burst_ratio + ROBUSTNESS)
}

/// Idd of G.107 clause 7.4 (3-27, 3-28): absolute delay, nothing up to 100 ms.
fn delay_impairment(delay: Duration, jitter: Duration) -> f64 {
    let to_ear = (delay + PACKETISATION + jitter * 2).as_secs_f64() * 1000.0;
    if to_ear <= 100.0 {
        return 0.0;
    }
    let x = (to_ear / 100.0).log2();
    let sixth = |value: f64| (1.0 + value.powi(6)).powf(1.0 / 6.0);
    25.0 * (sixth(x) - 3.0 * sixth(x / 3.0) + 2.0)
}

/// G.107 annex B.4.
fn score(rating: f64) -> f64 {
    if rating <= 0.0 {
        1.0
    } else if rating >= 100.0 {
        4.5
    } else {
        (1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: Heard = Heard { expected: 1000, lost: 0, gaps: 0, delay: Duration::ZERO, jitter: Duration::ZERO };

    #[test]
    fn ratings_become_the_scores_of_annex_b() {
        for (rating, opinion) in [(90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58)] {
            assert!((score(rating) - opinion).abs() < 0.01, "{rating}: {}", score(rating));
        }
        assert!((CLEAN.score() - 4.41).abs() < 0.005);
    }

    #[test]
    fn loss_costs_what_g_113_says_and_bursts_cost_more() {
        let lossy = Heard { lost: 20, gaps: 20, ..CLEAN };
        assert!((loss_impairment(0.02, 1.0) - 95.0 * 2.0 / 27.1).abs() < 1e-9);
        let bursty = Heard { gaps: 4, ..lossy };
        assert!(bursty.score() < lossy.score() && lossy.score() < CLEAN.score());
        assert!((Heard { expected: 10, lost: 10, gaps: 1, ..CLEAN }).score() < 1.6);
    }

    #[test]
    fn delay_costs_nothing_up_to_100_ms() {
        let late = |millis| delay_impairment(Duration::from_millis(millis), Duration::ZERO);
        assert!(late(80).abs() < 1e-9);
        for (millis, impairment) in [(130, 0.16), (180, 3.04), (280, 14.76), (380, 24.07)] {
            assert!((late(millis) - impairment).abs() < 0.01, "{millis}: {}", late(millis));
        }
    }
}
