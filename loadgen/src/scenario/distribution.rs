//! The distributions a pause or a sample is drawn from, under the names and parameters SIPp gives them.

use strowger::base::Random;

use crate::draw::{normal, open, unit};

/// A distribution with its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Always the same.
    Fixed(f64),
    /// Between the two.
    Uniform(f64, f64),
    /// Mean and standard deviation.
    Normal(f64, f64),
    /// Mean and standard deviation of the logarithm.
    Lognormal(f64, f64),
    /// Mean.
    Exponential(f64),
    /// Scale and shape.
    Weibull(f64, f64),
    /// Shape and least value.
    Pareto(f64, f64),
    /// Shape and scale.
    Gamma(f64, f64),
    /// Probability of a success, and how many of them are waited for; the value counts the failures.
    NegativeBinomial(f64, f64),
}

/// Names, the parameters each needs, and how it is made of them.
type Row = (&'static str, &'static [&'static str], fn(&[f64]) -> Distribution);

/// All of them.
pub const ROWS: [Row; 9] = [
    ("fixed", &["value"], |p| Distribution::Fixed(p[0])),
    ("uniform", &["min", "max"], |p| Distribution::Uniform(p[0], p[1])),
    ("normal", &["mean", "stdev"], |p| Distribution::Normal(p[0], p[1])),
    ("lognormal", &["mean", "stdev"], |p| Distribution::Lognormal(p[0], p[1])),
    ("exponential", &["mean"], |p| Distribution::Exponential(p[0])),
    ("weibull", &["lambda", "k"], |p| Distribution::Weibull(p[0], p[1])),
    ("pareto", &["k", "x_m"], |p| Distribution::Pareto(p[0], p[1])),
    ("gamma", &["k", "theta"], |p| Distribution::Gamma(p[0], p[1])),
    ("negbin", &["p", "n"], |p| Distribution::NegativeBinomial(p[0], p[1])),
];

/// Parameters of all of them.
pub const PARAMETERS: [&str; 11] = ["value", "min", "max", "mean", "stdev", "lambda", "k", "x_m", "theta", "p", "n"];

impl Distribution {
    /// A parameter that no such distribution can have, in a word.
    pub fn fault(&self) -> Option<&'static str> {
        match *self {
            Self::Uniform(min, max) if min > max => Some("min is above max"),
            Self::Normal(_, deviation) | Self::Lognormal(_, deviation) if deviation < 0.0 => Some("stdev is negative"),
            Self::Exponential(mean) if mean <= 0.0 => Some("mean must be above 0"),
            Self::Weibull(a, b) | Self::Pareto(a, b) | Self::Gamma(a, b) if a <= 0.0 || b <= 0.0 => {
                Some("both parameters must be above 0")
            }
            Self::NegativeBinomial(p, n) if p <= 0.0 || p > 1.0 || n <= 0.0 => {
                Some("p must be above 0 and at most 1, n above 0")
            }
            _ => None,
        }
    }

    /// What it comes to on average, for what depends on how long a call takes.
    pub fn mean(&self) -> f64 {
        match *self {
            Self::Fixed(value) | Self::Normal(value, _) | Self::Exponential(value) => value,
            Self::Uniform(min, max) => f64::midpoint(min, max),
            Self::Lognormal(mean, deviation) => (mean + deviation * deviation / 2.0).exp(),
            Self::Weibull(scale, _) => scale,
            Self::Pareto(shape, least) if shape > 1.0 => shape * least / (shape - 1.0),
            Self::Pareto(_, least) => least,
            Self::Gamma(shape, scale) => shape * scale,
            Self::NegativeBinomial(p, n) => n * (1.0 - p) / p,
        }
    }

    /// One value.
    pub fn sample(&self, random: &mut Random) -> f64 {
        match *self {
            Self::Fixed(value) => value,
            Self::Uniform(min, max) => min + (max - min) * unit(random),
            Self::Normal(mean, deviation) => mean + deviation * normal(random),
            Self::Lognormal(mean, deviation) => (mean + deviation * normal(random)).exp(),
            Self::Exponential(mean) => -open(random).ln() * mean,
            Self::Weibull(scale, shape) => scale * (-open(random).ln()).powf(1.0 / shape),
            Self::Pareto(shape, least) => least / open(random).powf(1.0 / shape),
            Self::Gamma(shape, scale) => gamma(random, shape) * scale,
            // A Poisson whose mean is gamma distributed.
            Self::NegativeBinomial(p, n) => {
                let mean = gamma(random, n) * (1.0 - p) / p;
                poisson(random, mean)
            }
        }
    }
}

/// Marsaglia and Tsang; for shapes below 1 by the one above.
fn gamma(random: &mut Random, shape: f64) -> f64 {
    if shape < 1.0 {
        return gamma(random, shape + 1.0) * open(random).powf(1.0 / shape);
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(random);
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && open(random).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

/// By the exponential gaps of its events; a large mean is as good as normal.
fn poisson(random: &mut Random, mean: f64) -> f64 {
    if mean > 500.0 {
        return (mean + mean.sqrt() * normal(random)).round().max(0.0);
    }
    let (mut count, mut left) = (0.0, mean);
    loop {
        left += open(random).ln();
        if left < 0.0 {
            return count;
        }
        count += 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_have_the_mean_their_parameters_say() {
        let mut random = Random::from_u64(11);
        for (distribution, mean) in [
            (Distribution::Fixed(1000.0), 1000.0),
            (Distribution::Uniform(2000.0, 5000.0), 3500.0),
            (Distribution::Normal(60_000.0, 15_000.0), 60_000.0),
            (Distribution::Lognormal(7.0, 0.5), (7.0f64 + 0.125).exp()),
            (Distribution::Exponential(900.0), 900.0),
            (Distribution::Weibull(3.0, 1.0), 3.0),
            (Distribution::Pareto(3.0, 2.0), 3.0),
            (Distribution::Gamma(3.0, 2.0), 6.0),
            (Distribution::Gamma(0.5, 2.0), 1.0),
            (Distribution::NegativeBinomial(0.1, 2.0), 18.0),
        ] {
            let sum: f64 = (0..20_000).map(|_| distribution.sample(&mut random)).sum();
            let found = sum / 20_000.0;
            assert!((found / mean - 1.0).abs() < 0.05, "{distribution:?}: {found} for {mean}");
            assert!((distribution.mean() / mean - 1.0).abs() < 1e-9, "{distribution:?}");
            assert_eq!(distribution.fault(), None);
        }
    }

    #[test]
    fn impossible_parameters_are_named() {
        assert!(Distribution::Uniform(2.0, 1.0).fault().is_some());
        assert!(Distribution::Gamma(0.0, 1.0).fault().is_some());
        assert!(Distribution::NegativeBinomial(1.5, 1.0).fault().is_some());
        for (_, parameters, _) in ROWS {
            assert!(parameters.iter().all(|parameter| PARAMETERS.contains(parameter)));
        }
    }
}
