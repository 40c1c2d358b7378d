//! What a listener would say: the E-model of ITU-T G.107 with its default values, for G.711.

use std::time::Duration;

/// R0 less what echo and noise of the default connection take (G.107, table 3).
const RATING: f64 = 93.2;
/// Robustness of G.711 against random loss, with loss concealment (G.113, appendix I).
const ROBUSTNESS: f64 = 25.1;

/// Mean opinion score, 1.0 to 4.5: `loss` is a share, `delay` one-way; a playout buffer of twice the jitter and one packet of
/// 20 ms are added to it.
pub fn mos(loss: f64, delay: Duration, jitter: Duration) -> f64 {
    let percent = loss.clamp(0.0, 1.0) * 100.0;
    let equipment = 95.0 * percent / (percent + ROBUSTNESS);
    let millis = (delay + jitter * 2 + Duration::from_millis(20)).as_secs_f64() * 1000.0;
    let rating = RATING - delay_impairment(millis) - equipment;
    if rating <= 0.0 {
        return 1.0;
    }
    (1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6).clamp(1.0, 4.5)
}

/// G.107 (7-27), (7-28): nothing up to 100 ms.
fn delay_impairment(millis: f64) -> f64 {
    if millis <= 100.0 {
        return 0.0;
    }
    let x = (millis / 100.0).log2();
    let root = |x: f64| (1.0 + x.powi(6)).powf(1.0 / 6.0);
    25.0 * (root(x) - 3.0 * root(x / 3.0) + 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_falls_with_loss_delay_and_jitter() {
        let millis = Duration::from_millis;
        let best = mos(0.0, millis(1), Duration::ZERO);
        assert!((4.40..4.42).contains(&best), "{best}");
        let lossy = mos(0.05, millis(1), Duration::ZERO);
        assert!((3.8..4.2).contains(&lossy), "{lossy}");
        let far = mos(0.0, millis(400), Duration::ZERO);
        assert!((2.5..3.6).contains(&far), "{far}");
        assert!(mos(0.0, millis(90), millis(40)) < best);
        assert!(mos(1.0, millis(0), Duration::ZERO) < 1.6);
        assert_eq!(mos(1.0, Duration::from_secs(5), Duration::ZERO), 1.0);
    }
}
