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
//! in order although a tick is about a millisecond.

use super::time::Instant;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
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

/// Entries in a chunk: two bytes of liveness, four cache lines.
const CHUNK: usize = 16;
/// No chunk.
const NIL: u32 = u32::MAX;
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

/// A timer as a bucket or the heap knows it; stale once its node is of another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: Instant,
    index: u32,
    generation: NonZeroU32,
}

impl Entry {
    const NONE: Self = Self { at: Instant::ZERO, index: 0, generation: NonZeroU32::MIN };
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// The chunk that is being filled; all behind it are full.
    chunk: u32,
    len: u32,
    stale: u32,
}

impl Bucket {
    const EMPTY: Self = Self { chunk: NIL, len: 0, stale: 0 };
}

/// The chunks of all buckets.
#[derive(Debug, Default)]
struct Chunks {
    entries: Vec<[Entry; CHUNK]>,
    /// What follows each chunk in its bucket, or among the free ones.
    next: Vec<u32>,
    free: Option<u32>,
}

impl Chunks {
    #[cold]
    #[inline(never)]
    fn take(&mut self, next: u32) -> u32 {
        let Some(chunk) = self.free else {
            self.entries.push([Entry::NONE; CHUNK]);
            self.next.push(next);
            return (self.next.len() - 1) as u32;
        };
        let after = std::mem::replace(&mut self.next[chunk as usize], next);
        self.free = Some(after).filter(|&after| after != NIL);
        chunk
    }

    /// Frees a chunk; the one that followed it.
    fn release(&mut self, chunk: u32) -> u32 {
        std::mem::replace(&mut self.next[chunk as usize], self.free.replace(chunk).unwrap_or(NIL))
    }
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

    /// Where a later tick than `elapsed` belongs, seen from there: the level is the highest digit that differs.
    fn bucket(&self, tick: u64) -> usize {
        let level = (tick ^ self.elapsed).ilog2() / DIGIT_BITS;
        let digit = (tick >> (level * DIGIT_BITS)) as usize % BUCKETS;
        level as usize * BUCKETS + digit
    }

    #[inline(always)]
    fn place(&mut self, entry: Entry) {
        let tick = tick(entry.at);
        if tick > self.elapsed {
            return self.add(self.bucket(tick), entry);
        }
        self.due.push(Reverse(entry));
        self.due_live += 1;
    }

    /// Adds to a bucket.
    #[inline(always)]
    fn add(&mut self, at: usize, entry: Entry) {
        let bucket = &mut self.buckets[at];
        let filled = bucket.len as usize % CHUNK;
        if filled == 0 {
            self.occupied[at / BUCKETS][at % BUCKETS / 64] |= 1 << (at % 64);
            bucket.chunk = self.chunks.take(bucket.chunk);
        }
        bucket.len += 1;
        self.chunks.entries[bucket.chunk as usize][filled] = entry;
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

    /// Keeps the heap's memory bounded by its live timers, however often one is scheduled and cancelled in one tick.
    fn sweep(&mut self) {
        if self.due.len() > STALE_MAX + 2 * self.due_live {
            let nodes = &self.nodes;
            self.due.retain(|Reverse(entry)| nodes[entry.index as usize].generation == entry.generation);
        }
    }

    /// The earliest bucket that holds anything, and the tick it begins with.
    fn next_bucket(&self) -> Option<(usize, u64)> {
        let word = self.occupied.as_flattened().iter().position(|&bits| bits != 0)?;
        let (level, bits) = (word / WORDS, self.occupied.as_flattened()[word]);
        let digit = word % WORDS * 64 + bits.trailing_zeros() as usize;
        let shift = level as u32 * DIGIT_BITS;
        let above = (self.elapsed >> shift) & !(BUCKETS as u64 - 1);
        Some((level * BUCKETS + digit, (above | digit as u64) << shift))
    }

    /// Moves on to the next bucket that begins by `now` and spreads it over the finer levels; false when there is none.
    fn advance(&mut self, now: u64) -> bool {
        if now <= self.elapsed {
            return false;
        }
        let Some((bucket, start)) = self.next_bucket().filter(|&(_, start)| start <= now) else {
            self.elapsed = now;
            return false;
        };
        self.elapsed = start;
        self.spread(bucket);
        true
    }

    /// Empties a bucket without looking at its entries.
    fn clear(&mut self, at: usize) {
        let mut chunk = self.vacate(at).chunk;
        while chunk != NIL {
            chunk = self.chunks.release(chunk);
        }
    }

    /// Places the live timers of a bucket again, and forgets the stale ones.
    fn spread(&mut self, at: usize) {
        let Bucket { mut chunk, len, stale } = self.vacate(at);
        let mut filled = (len as usize).wrapping_sub(1) % CHUNK + 1;
        while chunk != NIL {
            let entries = self.chunks.entries[chunk as usize];
            chunk = self.chunks.release(chunk);
            let entries = entries.get(..filled).unwrap_or_default();
            let live = if stale == 0 { u16::MAX } else { self.live(entries) };
            for (bit, &entry) in entries.iter().enumerate() {
                if live >> bit & 1 != 0 {
                    self.place(entry);
                }
            }
            filled = CHUNK;
        }
    }

    /// Which of a chunk's entries are live, the first in the lowest bit; without branches, so that the nodes are fetched
    /// at the same time.
    fn live(&self, entries: &[Entry]) -> u16 {
        entries.iter().rev().fold(0, |bits, &entry| bits << 1 | u16::from(self.is_live(entry)))
    }

    fn vacate(&mut self, at: usize) -> Bucket {
        self.occupied[at / BUCKETS][at % BUCKETS / 64] &= !(1 << (at % 64));
        std::mem::replace(&mut self.buckets[at], Bucket::EMPTY)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Duration;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// The specification: an ordered map.
    #[derive(Default)]
    struct Map {
        order: BTreeMap<(Instant, u32), TimerKey>,
    }

    #[derive(Clone, Debug)]
    enum Step {
        Schedule {
            nanos: u64,
        },
        Cancel {
            nth: usize,
        },
        Pass {
            nanos: u64,
        },
        Wait,
        /// Into another wheel, whose keys mean the same.
        Freeze,
    }

    /// Distances of every magnitude, since each belongs to another level.
    fn distance() -> impl Strategy<Value = u64> {
        (0u32..64, any::<u64>()).prop_map(|(bits, random)| random & ((1u64 << bits) | ((1u64 << bits) - 1)))
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => distance().prop_map(|nanos| Step::Schedule { nanos }),
            2 => (0u64..80_000_000_000).prop_map(|nanos| Step::Schedule { nanos }),
            2 => any::<usize>().prop_map(|nth| Step::Cancel { nth }),
            1 => distance().prop_map(|nanos| Step::Pass { nanos }),
            2 => (0u64..5_000_000_000).prop_map(|nanos| Step::Pass { nanos }),
            2 => Just(Step::Wait),
            1 => Just(Step::Freeze),
        ]
    }

    fn drain(wheel: &mut Wheel<(Instant, u32)>, map: &mut Map, now: Instant) -> Result<(), TestCaseError> {
        while let Some((at, id)) = wheel.pop_expired(now) {
            prop_assert!(at <= now, "early");
            let earliest = map.order.first_key_value().map(|(&(at, _), _)| at);
            prop_assert_eq!(earliest, Some(at), "out of order");
            prop_assert!(map.order.remove(&(at, id)).is_some(), "fired twice or after its cancellation");
        }
        let earliest = map.order.first_key_value().map(|(&(at, _), _)| at);
        prop_assert!(earliest.is_none_or(|at| at > now), "one is late");
        prop_assert_eq!(wheel.next_deadline().is_some(), earliest.is_some());
        if let (Some(deadline), Some(earliest)) = (wheel.next_deadline(), earliest) {
            prop_assert!(deadline <= earliest && deadline > now);
        }
        prop_assert_eq!(wheel.len(), map.order.len());
        Ok(())
    }

    proptest! {
        #[test]
        fn the_wheel_does_what_an_ordered_map_does(start: u64, steps in prop::collection::vec(step(), 1..200)) {
            let mut now = Instant::from_nanos(start >> 1);
            let (mut wheel, mut map) = (Wheel::new(now, 100), Map::default());
            for (id, step) in (0u32..).zip(steps) {
                match step {
                    Step::Schedule { nanos } => {
                        let at = now + Duration::from_nanos(nanos);
                        match wheel.schedule(at, (at, id)) {
                            Ok(key) => drop(map.order.insert((at, id), key)),
                            Err(value) => prop_assert_eq!((value, map.order.len()), ((at, id), 100)),
                        }
                    }
                    Step::Cancel { nth } if !map.order.is_empty() => {
                        let (&(at, id), &key) = map.order.iter().nth(nth % map.order.len()).unwrap();
                        map.order.remove(&(at, id));
                        prop_assert_eq!(wheel.cancel(key), Some((at, id)));
                        prop_assert_eq!(wheel.cancel(key), None);
                    }
                    Step::Cancel { .. } => {}
                    Step::Pass { nanos } => now += Duration::from_nanos(nanos),
                    Step::Freeze => {
                        let frozen = rmp_serde::to_vec_named(&wheel).unwrap();
                        wheel = rmp_serde::from_slice(&frozen).unwrap();
                    }
                    Step::Wait => now = wheel.next_deadline().unwrap_or(now).max(now),
                }
                if !matches!(step, Step::Schedule { .. } | Step::Cancel { .. }) {
                    drain(&mut wheel, &mut map, now)?;
                }
            }
            drain(&mut wheel, &mut map, Instant::MAX)?;
            prop_assert!(wheel.is_empty() && wheel.next_deadline().is_none());
        }
    }

    #[test]
    fn a_timer_fires_at_its_nanosecond() {
        let mut wheel = Wheel::new(Instant::ZERO, 2);
        let at = Instant::from_nanos(123_456_789);
        wheel.schedule(at, 'a').unwrap();
        assert_eq!(wheel.pop_expired(Instant::from_nanos(123_456_788)), None);
        assert_eq!(wheel.next_deadline(), Some(at));
        assert_eq!(wheel.pop_expired(at), Some('a'));
    }

    #[test]
    fn few_wakes_lead_to_a_far_timer() {
        let mut wheel = Wheel::new(Instant::from_millis(77), 1);
        wheel.schedule(Instant::from_millis(32_077), ()).unwrap();
        let mut wakes = 0;
        while let Some(deadline) = wheel.next_deadline() {
            wakes += 1;
            wheel.pop_expired(deadline);
        }
        assert!(wakes <= 5, "{wakes}");
    }

    #[test]
    fn cancelling_within_one_tick_does_not_grow_the_heap() {
        let mut wheel = Wheel::new(Instant::ZERO, 4);
        for _ in 0..10_000 {
            let key = wheel.schedule(Instant::ZERO, ()).unwrap();
            assert_eq!(wheel.cancel(key), Some(()));
        }
        assert!(wheel.due.len() <= STALE_MAX + 1);
        assert_eq!((wheel.next_deadline(), wheel.pop_expired(Instant::MAX)), (None, None));
    }

    /// As when every call is answered: what is cancelled long before its time must not stay until then.
    #[test]
    fn cancelled_timers_leave_and_the_others_fire() {
        const FLIGHT: usize = 1_000;
        let (mut wheel, mut map) = (Wheel::new(Instant::ZERO, 2 * FLIGHT), Map::default());
        let mut recent = std::collections::VecDeque::new();
        for id in 0..50_000 {
            let at = Instant::from_millis(32_000 + u64::from(id) * 7 % 501);
            let key = wheel.schedule(at, (at, id)).unwrap();
            if id % 100 == 0 {
                map.order.insert((at, id), key);
                continue;
            }
            recent.push_back((key, (at, id)));
            if recent.len() == FLIGHT {
                let (key, value) = recent.pop_front().unwrap();
                assert_eq!(wheel.cancel(key), Some(value));
            }
        }
        let entries = wheel.chunks.next.len() * CHUNK;
        assert!(entries < 6 * 2 * FLIGHT, "{entries} entries for {} timers", wheel.len());
        recent.into_iter().for_each(|(key, value)| assert_eq!(wheel.cancel(key), Some(value)));
        drain(&mut wheel, &mut map, Instant::from_millis(32_100)).unwrap();
        drain(&mut wheel, &mut map, Instant::from_millis(33_000)).unwrap();
        assert!(wheel.is_empty() && wheel.buckets.iter().all(|bucket| bucket.len == 0));
    }

    #[test]
    fn an_optional_key_is_no_larger_than_a_key() {
        assert_eq!((size_of::<Option<TimerKey>>(), size_of::<Node<[u32; 3]>>()), (8, 32));
    }
}
