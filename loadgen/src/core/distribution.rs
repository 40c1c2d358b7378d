//! How long calls last: fixed, or drawn anew for each. The syntax of `--hold`.

use std::fmt;

use strowger::base::Random;
use strowger::base::time::Duration;

use crate::draw::{normal, open, unit};
use crate::units;

/// What to write, for every error.
const SYNTAX: &str =
    "write 5s, exp:5s (mean), uniform:2s-8s, normal:5s,1s or lognormal:5s,3s (mean, standard deviation)";
/// Exponential times are cut here, in means: 45 of a million are longer.
const EXPONENTIAL_MEANS_MAX: u32 = 10;
/// Normal and log-normal times are cut here, in standard deviations above the mean.
const DEVIATIONS_MAX: u32 = 10;

/// A distribution of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Always the same.
    Fixed(Duration),
    /// The classic of traffic theory.
    Exponential {
        /// Mean.
        mean: Duration,
    },
    /// Any time between two, equally likely.
    Uniform {
        /// Shortest.
        low: Duration,
        /// Longest.
        high: Duration,
    },
    /// Normal; what would be negative is zero.
    Normal {
        /// Mean.
        mean: Duration,
        /// Standard deviation.
        deviation: Duration,
    },
    /// Log-normal, which measured telephone calls resemble most.
    LogNormal {
        /// Mean of the times, not of their logarithms.
        mean: Duration,
        /// Standard deviation of the times.
        deviation: Duration,
    },
}

impl Distribution {
    /// Reads one; an error is a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((name, rest)) = text.split_once(':') else {
            return units::duration(text).map(Self::Fixed).map_err(|error| format!("{error}; {SYNTAX}"));
        };
        let two = |separator: char| {
            let (first, second) = rest.split_once(separator).ok_or_else(|| format!("'{text}': {SYNTAX}"))?;
            Ok::<_, String>((units::duration(first)?, units::duration(second)?))
        };
        let found = match name {
            "fixed" => Self::Fixed(units::duration(rest)?),
            "exp" => Self::Exponential { mean: units::duration(rest)? },
            "uniform" => {
                let (low, high) = two('-')?;
                if low > high {
                    return Err(format!("'{text}': the shorter time comes first, as in uniform:2s-8s"));
                }
                Self::Uniform { low, high }
            }
            "normal" => two(',').map(|(mean, deviation)| Self::Normal { mean, deviation })?,
            "lognormal" => two(',').map(|(mean, deviation)| Self::LogNormal { mean, deviation })?,
            other => return Err(format!("'{other}' is no distribution: {SYNTAX}")),
        };
        if matches!(found, Self::LogNormal { mean, .. } if mean.is_zero()) {
            return Err(format!("'{text}': the mean of a log-normal time is above zero"));
        }
        Ok(found)
    }

    /// The mean, before anything is cut.
    pub fn mean(self) -> Duration {
        match self {
            Self::Fixed(mean)
            | Self::Exponential { mean }
            | Self::Normal { mean, .. }
            | Self::LogNormal { mean, .. } => mean,
            Self::Uniform { low, high } => (low + high) / 2,
        }
    }

    /// No time is longer.
    pub fn longest(self) -> Duration {
        match self {
            Self::Fixed(time) => time,
            Self::Exponential { mean } => mean.saturating_mul(EXPONENTIAL_MEANS_MAX),
            Self::Uniform { high, .. } => high,
            Self::Normal { mean, deviation } | Self::LogNormal { mean, deviation } => {
                mean.saturating_add(deviation.saturating_mul(DEVIATIONS_MAX))
            }
        }
    }

    /// One time.
    pub fn sample(self, random: &mut Random) -> Duration {
        let seconds = match self {
            Self::Fixed(time) => return time,
            Self::Exponential { mean } => -open(random).ln() * mean.as_secs_f64(),
            Self::Uniform { low, high } => low.as_secs_f64() + unit(random) * (high - low).as_secs_f64(),
            Self::Normal { mean, deviation } => mean.as_secs_f64() + normal(random) * deviation.as_secs_f64(),
            Self::LogNormal { mean, deviation } => {
                let (mean, ratio) = (mean.as_secs_f64(), deviation.as_secs_f64() / mean.as_secs_f64());
                let variance = (1.0 + ratio * ratio).ln();
                (mean.ln() - variance / 2.0 + variance.sqrt() * normal(random)).exp()
            }
        };
        let longest = self.longest();
        Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(longest).min(longest)
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(time) => write!(out, "{time:?}"),
            Self::Exponential { mean } => write!(out, "exp:{mean:?}"),
            Self::Uniform { low, high } => write!(out, "uniform:{low:?}-{high:?}"),
            Self::Normal { mean, deviation } => write!(out, "normal:{mean:?},{deviation:?}"),
            Self::LogNormal { mean, deviation } => write!(out, "lognormal:{mean:?},{deviation:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_deviations_are_those_asked_for() {
        for (text, mean, deviation) in [
            ("5s", 5.0, 0.0),
            ("exp:5s", 5.0, 5.0),
            ("uniform:2s-8s", 5.0, 1.732),
            ("normal:5s,500ms", 5.0, 0.5),
            ("lognormal:5s,3s", 5.0, 3.0),
        ] {
            let distribution = Distribution::parse(text).unwrap();
            let mut random = Random::from_u64(3);
            let times: Vec<f64> = (0..50_000).map(|_| distribution.sample(&mut random).as_secs_f64()).collect();
            let found = times.iter().sum::<f64>() / times.len() as f64;
            let spread = times.iter().map(|time| (time - found).powi(2)).sum::<f64>() / times.len() as f64;
            assert!(
                (found - mean).abs() < 0.06 && (spread.sqrt() - deviation).abs() < 0.12,
                "{text}: {found} {spread}"
            );
            assert!(times.iter().all(|&time| time <= distribution.longest().as_secs_f64()));
            assert_eq!(Distribution::parse(&distribution.to_string()), Ok(distribution));
        }
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        let error = |text| Distribution::parse(text).unwrap_err();
        assert!(error("5").contains("5s"));
        assert!(error("poisson:5s").contains("lognormal:5s,3s"));
        assert!(error("uniform:8s-2s").contains("shorter") && error("uniform:8s").contains("uniform:2s-8s"));
        assert!(error("lognormal:0s,1s").contains("above zero") && error("exp:5").contains("no unit"));
    }
}
