//! Randomness as an argument: seeded by the worker from the kernel, by the simulator from the seed of the run.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};

/// A cryptographic generator, since tags, branches and nonces must not be guessed (RFC 3261 §19.3).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Frozen", into = "Frozen")]
pub struct Random(ChaCha8Rng);

/// Where the generator stands; the words of its position, high half first.
#[derive(Serialize, Deserialize)]
struct Frozen {
    seed: [u8; 32],
    stream: u64,
    position: [u64; 2],
}

impl From<Random> for Frozen {
    fn from(Random(generator): Random) -> Self {
        let at = generator.get_word_pos();
        Self { seed: generator.get_seed(), stream: generator.get_stream(), position: [(at >> 64) as u64, at as u64] }
    }
}

impl From<Frozen> for Random {
    fn from(frozen: Frozen) -> Self {
        let mut generator = ChaCha8Rng::from_seed(frozen.seed);
        generator.set_stream(frozen.stream);
        generator.set_word_pos(u128::from(frozen.position[0]) << 64 | u128::from(frozen.position[1]));
        Self(generator)
    }
}

impl Random {
    /// From 32 bytes of the kernel's randomness.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha8Rng::from_seed(seed))
    }

    /// From a simulator's seed: the same seed, the same run.
    #[must_use]
    pub fn from_u64(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A number in `0..bound`; zero for a bound of zero. The bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }

    /// `N` lower-case hexadecimal digits.
    pub fn hex<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out.map(|byte| b"0123456789abcdef"[usize::from(byte & 0xf)])
    }

    /// A generator of its own for a part of the house, so that one part's use does not shift another's numbers.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        let mut seed = [0; 32];
        self.fill(&mut seed);
        Self::new(seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_generator_goes_on_where_it_was() {
        let mut random = Random::from_u64(7);
        for step in 0..100 {
            random.fill(&mut vec![0; step % 7]);
            let frozen = rmp_serde::to_vec_named(&random).unwrap();
            let mut thawed: Random = rmp_serde::from_slice(&frozen).unwrap();
            assert_eq!([(); 40].map(|()| thawed.next_u32()), [(); 40].map(|()| random.next_u32()), "after {step}");
        }
    }
}
