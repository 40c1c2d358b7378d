//! Randomness as an argument: seeded by the worker from the kernel, by the simulator from the seed of the run.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A cryptographic generator, since tags, branches and nonces must not be guessed (RFC 3261 §19.3).
#[derive(Clone, Debug)]
pub struct Random(ChaCha8Rng);

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
