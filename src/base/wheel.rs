//! Timers of one shard: a hierarchical wheel, so that a million pending timers cost no more per operation than ten.
//!
//! Owned by each room that waits for something; the room asks [`Wheel::next_deadline`] and drains
//! [`Wheel::pop_expired`]. After Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987): six levels of 256
//! buckets hold every instant there is, and all timers of a transaction (up to 64*T1) stand in the lower two. A bucket is a doubly linked list through the arena, so that scheduling and
//! cancelling touch a handful of words. The timers of the tick at hand stand in a small heap, which keeps firing exact
//! to the nanosecond and in order although a tick is about a millisecond.

use super::time::Instant;
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

/// No node.
const NIL: u32 = u32::MAX;
/// In `previous`: the node is the first of the bucket in the low bits.
const HEAD: u32 = 1 << 31;
/// In `previous`: the node waits in the heap of the tick at hand.
const DUE: u32 = u32::MAX;
/// Stale entries that the heap may carry besides as many as it has live ones.
const STALE_MAX: usize = 64;

/// Names one scheduled timer. Four billion timers later, at the earliest, the same key names another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerKey {
    index: u32,
    generation: NonZeroU32,
}

#[derive(Debug)]
struct Node<T> {
    at: Instant,
    next: u32,
    previous: u32,
    generation: NonZeroU32,
    /// `None` while the node is free; `next` is then the next free one.
    value: Option<T>,
}

/// A bounded set of timers.
#[derive(Debug)]
pub struct Wheel<T> {
    nodes: Vec<Node<T>>,
    free: u32,
    len: usize,
    bound: usize,
    /// Every timer in a bucket is of a later tick; every timer of this tick or an earlier one is in `due`.
    elapsed: u64,
    /// One bit for each bucket that is not empty.
    occupied: [[u64; WORDS]; LEVELS],
    heads: Box<[u32]>,
    due: BinaryHeap<Reverse<(Instant, u32, NonZeroU32)>>,
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
            free: NIL,
            len: 0,
            bound: bound.min(HEAD as usize),
            elapsed: tick(start),
            occupied: [[0; WORDS]; LEVELS],
            heads: vec![NIL; LEVELS * BUCKETS].into_boxed_slice(),
            due: BinaryHeap::new(),
            due_live: 0,
        }
    }

    /// Schedules `value` for `at` (at once, if that is past).
    ///
    /// # Errors
    /// Gives the value back when the wheel is full.
    pub fn schedule(&mut self, at: Instant, value: T) -> Result<TimerKey, T> {
        if self.len >= self.bound {
            return Err(value);
        }
        self.len += 1;
        let index = if self.free == NIL {
            let generation = NonZeroU32::MIN;
            self.nodes.push(Node { at, next: NIL, previous: NIL, generation, value: Some(value) });
            (self.nodes.len() - 1) as u32
        } else {
            let index = self.free;
            let node = &mut self.nodes[index as usize];
            self.free = node.next;
            node.at = at;
            node.value = Some(value);
            index
        };
        self.place(index);
        Ok(TimerKey { index, generation: self.nodes[index as usize].generation })
    }

    /// Cancels; the value comes back unless it has fired.
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let node = self.nodes.get(key.index as usize)?;
        if node.generation != key.generation {
            return None;
        }
        if node.previous == DUE {
            self.due_live -= 1;
            let value = self.release(key.index);
            self.sweep();
            return value;
        }
        self.unlink(node.previous, node.next);
        self.release(key.index)
    }

    /// The next value due at `now`, earliest first, never early. Timers for the same instant come in no set order.
    pub fn pop_expired(&mut self, now: Instant) -> Option<T> {
        loop {
            while let Some(&Reverse((at, index, generation))) = self.due.peek() {
                let live = self.nodes[index as usize].generation == generation;
                if live && at > now {
                    return None;
                }
                self.due.pop();
                if live {
                    self.due_live -= 1;
                    return self.release(index);
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
        if self.len == 0 {
            return None;
        }
        if let Some(Reverse((at, _, _))) = self.due.peek() {
            return Some(*at);
        }
        self.next_bucket().map(|(_, start)| Instant::from_nanos(start << TICK_BITS))
    }

    /// Timers scheduled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts a node where its instant belongs, seen from `elapsed`: the level is the highest digit that differs.
    fn place(&mut self, index: u32) {
        let node = &mut self.nodes[index as usize];
        let tick = tick(node.at);
        if tick <= self.elapsed {
            node.previous = DUE;
            self.due.push(Reverse((node.at, index, node.generation)));
            self.due_live += 1;
            return;
        }
        let level = (tick ^ self.elapsed).ilog2() / DIGIT_BITS;
        let digit = (tick >> (level * DIGIT_BITS)) as usize % BUCKETS;
        let bucket = level as usize * BUCKETS + digit;
        let first = std::mem::replace(&mut self.heads[bucket], index);
        node.next = first;
        node.previous = HEAD | bucket as u32;
        if first == NIL {
            self.occupied[level as usize][digit / 64] |= 1 << (digit % 64);
        } else {
            self.nodes[first as usize].previous = index;
        }
    }

    fn unlink(&mut self, previous: u32, next: u32) {
        if next != NIL {
            self.nodes[next as usize].previous = previous;
        }
        if previous & HEAD == 0 {
            self.nodes[previous as usize].next = next;
            return;
        }
        let bucket = (previous & !HEAD) as usize;
        self.heads[bucket] = next;
        if next == NIL {
            self.vacate(bucket);
        }
    }

    fn vacate(&mut self, bucket: usize) {
        let digit = bucket % BUCKETS;
        self.occupied[bucket / BUCKETS][digit / 64] &= !(1 << (digit % 64));
    }

    fn release(&mut self, index: u32) -> Option<T> {
        let node = &mut self.nodes[index as usize];
        node.generation = node.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        node.next = std::mem::replace(&mut self.free, index);
        node.previous = NIL;
        self.len -= 1;
        node.value.take()
    }

    /// Keeps the heap's memory bounded by its live timers, however often one is scheduled and cancelled in one tick.
    fn sweep(&mut self) {
        if self.due.len() > STALE_MAX + 2 * self.due_live {
            let nodes = &self.nodes;
            self.due.retain(|&Reverse((_, index, generation))| nodes[index as usize].generation == generation);
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
        let Some((bucket, start)) = self.next_bucket().filter(|&(_, start)| start <= now) else {
            self.elapsed = self.elapsed.max(now);
            return false;
        };
        self.elapsed = start;
        self.vacate(bucket);
        let mut index = std::mem::replace(&mut self.heads[bucket], NIL);
        while index != NIL {
            let next = self.nodes[index as usize].next;
            self.place(index);
            index = next;
        }
        true
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
        Schedule { nanos: u64 },
        Cancel { nth: usize },
        Pass { nanos: u64 },
        Wait,
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

    #[test]
    fn an_optional_key_is_no_larger_than_a_key() {
        assert_eq!((size_of::<Option<TimerKey>>(), size_of::<Node<[u32; 3]>>()), (8, 40));
    }
}
