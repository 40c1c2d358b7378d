//! Draws from a source of random words that its caller owns: an even number, a normal one, a chance.

use strowger::base::Random;

/// From 0 to below 1.
pub fn unit(random: &mut Random) -> f64 {
    (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Above 0, at most 1: what a logarithm may be taken of.
pub fn open(random: &mut Random) -> f64 {
    1.0 - unit(random)
}

/// Mean 0, standard deviation 1, by Box and Muller.
pub fn normal(random: &mut Random) -> f64 {
    (-2.0 * open(random).ln()).sqrt() * (std::f64::consts::TAU * unit(random)).cos()
}

/// True for so many percent of all.
pub fn chance(random: &mut Random, percent: f64) -> bool {
    unit(random) * 100.0 < percent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_share() {
        let mut random = Random::from_u64(4);
        let mut count = |percent| (0..10_000).filter(|_| chance(&mut random, percent)).count();
        assert_eq!((count(0.0), count(100.0)), (0, 10_000));
        assert!((400..600).contains(&count(5.0)));
    }

    #[test]
    fn normal_numbers_have_their_mean_and_deviation() {
        let mut random = Random::from_u64(5);
        let drawn: Vec<f64> = (0..50_000).map(|_| normal(&mut random)).collect();
        let mean = drawn.iter().sum::<f64>() / 50_000.0;
        let square = drawn.iter().map(|x| x * x).sum::<f64>() / 50_000.0;
        assert!(mean.abs() < 0.02 && (square - 1.0).abs() < 0.03, "{mean} {square}");
    }
}
