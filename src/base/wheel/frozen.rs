//! A wheel at rest: its timers by their keys, which mean the same in the wheel that thaws.

use super::bucket::Entry;
use super::{Node, TICK_BITS, Wheel};
use crate::base::Instant;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::num::NonZeroU32;

/// What a wheel is besides where its timers stand: keys keep their meaning.
#[derive(Serialize, Deserialize)]
struct Frozen<N, F> {
    nodes: N,
    free: F,
    bound: usize,
    elapsed: u64,
}

/// When, of which generation, and what; nothing while the node is free.
#[derive(Serialize, Deserialize)]
struct FrozenNode<V>(Instant, NonZeroU32, Option<V>);

impl<T: Serialize> Serialize for Wheel<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nodes = self.nodes.iter().map(|node| FrozenNode(node.at, node.generation, node.value.as_ref()));
        let nodes: Vec<_> = nodes.collect();
        Frozen { nodes, free: &self.free, bound: self.bound, elapsed: self.elapsed }.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Wheel<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let frozen = Frozen::<Vec<FrozenNode<T>>, Vec<u32>>::deserialize(deserializer)?;
        let mut wheel = Self::new(Instant::from_nanos(frozen.elapsed << TICK_BITS), frozen.bound);
        let free = |node: &FrozenNode<T>| node.2.is_none();
        if frozen.free.len() != frozen.nodes.iter().filter(|node| free(node)).count()
            || frozen.free.iter().any(|&index| !frozen.nodes.get(index as usize).is_some_and(free))
        {
            return Err(serde::de::Error::custom("a wheel's free places are not those without a timer"));
        }
        let nodes = frozen.nodes.into_iter().map(|FrozenNode(at, generation, value)| Node { at, generation, value });
        wheel.nodes = nodes.collect();
        wheel.free = frozen.free;
        for index in 0..wheel.nodes.len() {
            let Node { at, generation, value } = &wheel.nodes[index];
            let entry = Entry { at: *at, index: index as u32, generation: *generation };
            if value.is_some() {
                wheel.place(entry);
            }
        }
        Ok(wheel)
    }
}
