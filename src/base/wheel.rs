//! Timers of one shard: a hierarchical wheel, so that a million pending timers cost no more per operation than ten.
//!
//! Owned by each room that waits for something; the room asks [`Wheel::next_deadline`] and drains
//! [`Wheel::pop_expired`]. After Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987): six levels of 256
//! buckets hold every instant there is, and all timers of a transaction (up to 64*T1) stand in the lower two.
//!
//! With a million timers every word touched is a cache miss, so an operation touches few. A timer's value stands in a
//! node; a bucket is a chain of chunks of 16 entries that name nodes. Scheduling writes one of each. Cancelling frees the
//! node and leaves the entry behind, stale: the bucket only counts it, and is swept before more than four in five of its
//! entries are stale. The timers of the tick at hand stand in a small heap, which keeps firing exact to the nanosecond and
//! in order although a tick is about a millisecond. `cascade` moves timers from the coarse levels to the fine ones.

mod bucket;
mod cascade;
mod frozen;

use super::time::Instant;
use bucket::{Bucket, Chunks, Entry};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;

/// A tick is `2^20` nanoseconds, 1.05 ms.
const TICK_BITS: u32 = 20;
const DIGIT_BITS: u32 = 8;
const BUCKETS: usize = 1 << DIGIT_BITS;
const WORDS: usize = BUCKETS / 64;
/// 64 bits of nanoseconds less the tick, in digits of eight bits.
const LEVELS: usize = (64 - TICK_BITS).div_ceil(DIGIT_BITS) as usize;

/// Stale entries that a bucket or the heap may carry besides those that its live ones allow.
const STALE_MAX: usize = if cfg!(test) { 4 } else { 64 };
/// Timers in one wheel: with all their stale entries, their number fits in 32 bits.
const BOUND_MAX: usize = 1 << 28;

/// Names one scheduled timer. Four billion timers later, at the earliest, the same key names another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TimerKey {
    index: u32,
    generation: NonZeroU32,
}

#[derive(Debug)]
struct Node<T> {
    at: Instant,
    generation: NonZeroU32,
    /// `None` while the node is free.
    value: Option<T>,
}

/// A bounded set of timers.
#[derive(Debug)]
pub struct Wheel<T> {
    nodes: Vec<Node<T>>,
    /// Nodes without a timer, latest last.
    free: Vec<u32>,
    bound: usize,
    /// Every timer in a bucket is of a later tick; every timer of this tick or an earlier one is in `due`. Therefore the
    /// bucket of a timer is the same today as when it was scheduled: the highest digit that differs stays the highest
    /// until its bucket is reached.
    elapsed: u64,
    /// One bit for each bucket with live timers; the others are empty.
    occupied: [[u64; WORDS]; LEVELS],
    buckets: Box<[Bucket]>,
    chunks: Chunks,
    due: BinaryHeap<Reverse<Entry>>,
    due_live: usize,
}

const fn tick(at: Instant) -> u64 {
    at.as_nanos() >> TICK_BITS
}

impl<T> Wheel<T> {
    /// For at most `bound` timers, beginning at `start`. Memory is taken as it fills.
    #[must_use]
    pub fn new(start: Instant, bound: usize) -> Self {
        Self {
            nodes: Vec::new(),
            free: Vec::new(),
            bound: bound.min(BOUND_MAX),
            elapsed: tick(start),
            occupied: [[0; WORDS]; LEVELS],
            buckets: vec![Bucket::EMPTY; LEVELS * BUCKETS].into_boxed_slice(),
            chunks: Chunks::default(),
            due: BinaryHeap::new(),
            due_live: 0,
        }
    }

    /// Schedules `value` for `at` (at once, if that is past).
    ///
    /// # Errors
    /// Gives the value back when the wheel is full.
    pub fn schedule(&mut self, at: Instant, value: T) -> Result<TimerKey, T> {
        let (index, generation) = if let Some(index) = self.free.pop() {
            let node = &mut self.nodes[index as usize];
            node.at = at;
            node.value = Some(value);
            (index, node.generation)
        } else if self.nodes.len() < self.bound {
            let generation = NonZeroU32::MIN;
            self.nodes.push(Node { at, generation, value: Some(value) });
            ((self.nodes.len() - 1) as u32, generation)
        } else {
            return Err(value);
        };
        self.place(Entry { at, index, generation });
        Ok(TimerKey { index, generation })
    }

    /// Cancels; the value comes back unless it has fired.
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let node = self.nodes.get(key.index as usize).filter(|node| node.generation == key.generation)?;
        let tick = tick(node.at);
        let value = self.release(key.index);
        if tick <= self.elapsed {
            self.due_live -= 1;
            self.sweep();
            return value;
        }
        let at = self.bucket(tick);
        let bucket = &mut self.buckets[at];
        bucket.stale += 1;
        if bucket.stale == bucket.len {
            self.clear(at);
        } else if bucket.stale as usize > STALE_MAX + 4 * (bucket.len - bucket.stale) as usize {
            self.spread(at);
        }
        value
    }

    /// The next value due at `now`, earliest first, never early. Timers for the same instant come in no set order.
    pub fn pop_expired(&mut self, now: Instant) -> Option<T> {
        loop {
            while let Some(&Reverse(entry)) = self.due.peek() {
                let live = self.is_live(entry);
                if live && entry.at > now {
                    return None;
                }
                self.due.pop();
                if live {
                    self.due_live -= 1;
                    return self.release(entry.index);
                }
            }
            if !self.advance(tick(now)) {
                return None;
            }
        }
    }

    /// When to call [`pop_expired`](Self::pop_expired) next; may be earlier than the next timer, never later. After a
    /// call that returned `None` for `now`, it is later than `now`.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.is_empty() {
            return None;
        }
        if let Some(Reverse(entry)) = self.due.peek() {
            return Some(entry.at);
        }
        self.next_bucket().map(|(_, start)| Instant::from_nanos(start << TICK_BITS))
    }

    /// The most timers it takes.
    #[must_use]
    pub fn bound(&self) -> usize {
        self.bound
    }

    /// Another bound from now on; timers beyond it stay.
    pub fn set_bound(&mut self, bound: usize) {
        self.bound = bound.min(BOUND_MAX);
    }

    /// Timers scheduled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn is_live(&self, entry: Entry) -> bool {
        self.nodes.get(entry.index as usize).is_some_and(|node| node.generation == entry.generation)
    }

    fn release(&mut self, index: u32) -> Option<T> {
        let node = &mut self.nodes[index as usize];
        node.generation = node.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.free.push(index);
        node.value.take()
    }
}

#[cfg(test)]
mod tests;
