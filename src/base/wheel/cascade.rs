//! The hierarchy: which bucket a timer stands in, and how a bucket is spread over the finer levels when its time has come.
//!
//! Owned by the wheel. Stale entries are swept here, too: before they are more than the live ones allow.

use super::bucket::{Bucket, CHUNK, Entry, NIL};
use super::{BUCKETS, DIGIT_BITS, STALE_MAX, WORDS, Wheel, tick};
use std::cmp::Reverse;

impl<T> Wheel<T> {
    /// Where a later tick than `elapsed` belongs, seen from there: the level is the highest digit that differs.
    pub(super) fn bucket(&self, tick: u64) -> usize {
        let level = (tick ^ self.elapsed).ilog2() / DIGIT_BITS;
        let digit = (tick >> (level * DIGIT_BITS)) as usize % BUCKETS;
        level as usize * BUCKETS + digit
    }

    #[inline(always)]
    pub(super) fn place(&mut self, entry: Entry) {
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

    /// Keeps the heap's memory bounded by its live timers, however often one is scheduled and cancelled in one tick.
    pub(super) fn sweep(&mut self) {
        if self.due.len() > STALE_MAX + 2 * self.due_live {
            let nodes = &self.nodes;
            self.due.retain(|Reverse(entry)| nodes[entry.index as usize].generation == entry.generation);
        }
    }

    /// The earliest bucket that holds anything, and the tick it begins with.
    pub(super) fn next_bucket(&self) -> Option<(usize, u64)> {
        let word = self.occupied.as_flattened().iter().position(|&bits| bits != 0)?;
        let (level, bits) = (word / WORDS, self.occupied.as_flattened()[word]);
        let digit = word % WORDS * 64 + bits.trailing_zeros() as usize;
        let shift = level as u32 * DIGIT_BITS;
        let above = (self.elapsed >> shift) & !(BUCKETS as u64 - 1);
        Some((level * BUCKETS + digit, (above | digit as u64) << shift))
    }

    /// Moves on to the next bucket that begins by `now` and spreads it over the finer levels; false when there is none.
    pub(super) fn advance(&mut self, now: u64) -> bool {
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
    pub(super) fn clear(&mut self, at: usize) {
        let mut chunk = self.vacate(at).chunk;
        while chunk != NIL {
            chunk = self.chunks.release(chunk);
        }
    }

    /// Places the live timers of a bucket again, and forgets the stale ones.
    pub(super) fn spread(&mut self, at: usize) {
        let Bucket { mut chunk, len, stale } = self.vacate(at);
        let mut filled = (len as usize).wrapping_sub(1) % CHUNK + 1;
        while chunk != NIL {
            let mut live = match stale {
                0 => u16::MAX >> (CHUNK - filled),
                _ => self.live(&self.chunks.entries[chunk as usize], filled),
            };
            let held = chunk;
            chunk = self.chunks.release(held);
            if live != 0 {
                // A copy, since the first that is placed may fill this chunk again.
                let entries = self.chunks.entries[held as usize];
                while live != 0 {
                    self.place(entries[live.trailing_zeros() as usize % CHUNK]);
                    live &= live - 1;
                }
            }
            filled = CHUNK;
        }
    }

    /// Which of a chunk's first entries are live, the first in the lowest bit; without branches, so that the nodes are fetched
    /// at the same time.
    fn live(&self, entries: &[Entry; CHUNK], filled: usize) -> u16 {
        let bits = entries.iter().rev().fold(0, |bits, &entry| bits << 1 | u16::from(self.is_live(entry)));
        bits & u16::MAX >> (CHUNK - filled)
    }

    fn vacate(&mut self, at: usize) -> Bucket {
        self.occupied[at / BUCKETS][at % BUCKETS / 64] &= !(1 << (at % 64));
        std::mem::replace(&mut self.buckets[at], Bucket::EMPTY)
    }
}
