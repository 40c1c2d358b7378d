//! Keyed hashing of what peers choose, with a key that can be frozen: whoever thaws it must hash the same.

use ahash::RandomState;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::hash::{BuildHasher, Hash};

/// A hash function that nobody outside can aim at, since its key is random.
#[derive(Clone, Debug)]
pub struct Keyed {
    seeds: [u64; 4],
    state: RandomState,
}

/// What the frozen form says that the function makes of [`PROBE`].
#[derive(Serialize, Deserialize)]
struct Frozen {
    seeds: [u64; 4],
    probe: u64,
}

const PROBE: &[u8] = b"strowger";

impl Keyed {
    /// By this key.
    #[must_use]
    pub fn new(seeds: [u64; 4]) -> Self {
        let [a, b, c, d] = seeds;
        Self { seeds, state: RandomState::with_seeds(a, b, c, d) }
    }

    /// By the next random numbers.
    #[must_use]
    pub fn from_random(random: &mut super::Random) -> Self {
        Self::new([random.next_u64(), random.next_u64(), random.next_u64(), random.next_u64()])
    }

    /// The hash of a value.
    #[inline]
    pub fn hash_one<T: Hash>(&self, value: T) -> u64 {
        self.state.hash_one(value)
    }
}

impl BuildHasher for Keyed {
    type Hasher = <RandomState as BuildHasher>::Hasher;

    #[inline]
    fn build_hasher(&self) -> Self::Hasher {
        self.state.build_hasher()
    }
}

impl Serialize for Keyed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Frozen { seeds: self.seeds, probe: self.hash_one(PROBE) }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Keyed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let frozen = Frozen::deserialize(deserializer)?;
        let keyed = Self::new(frozen.seeds);
        if keyed.hash_one(PROBE) == frozen.probe {
            Ok(keyed)
        } else {
            Err(serde::de::Error::custom("its hash function is another than ours"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_frozen_and_another_function_is_noticed() {
        let keyed = Keyed::new([1, 2, 3, 4]);
        let thawed: Keyed = rmp_serde::from_slice(&rmp_serde::to_vec_named(&keyed).unwrap()).unwrap();
        assert_eq!(thawed.hash_one("a"), keyed.hash_one("a"));
        let other = Frozen { seeds: [1, 2, 3, 4], probe: keyed.hash_one(PROBE) ^ 1 };
        assert!(rmp_serde::from_slice::<Keyed>(&rmp_serde::to_vec_named(&other).unwrap()).is_err());
    }
}
