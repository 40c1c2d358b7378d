//! Where timers wait: a bucket is a chain of chunks, which all buckets share; an entry names its timer and may be stale.
//!
//! Owned by the wheel.

use crate::base::Instant;
use std::num::NonZeroU32;

/// Entries in a chunk: two bytes of liveness, four cache lines.
pub(super) const CHUNK: usize = 16;
/// No chunk.
pub(super) const NIL: u32 = u32::MAX;

/// A timer as a bucket or the heap knows it; stale once its node is of another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) at: Instant,
    pub(super) index: u32,
    pub(super) generation: NonZeroU32,
}

impl Entry {
    pub(super) const NONE: Self = Self { at: Instant::ZERO, index: 0, generation: NonZeroU32::MIN };
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// The chunk that is being filled; all behind it are full.
    pub(super) chunk: u32,
    pub(super) len: u32,
    pub(super) stale: u32,
}

impl Bucket {
    pub(super) const EMPTY: Self = Self { chunk: NIL, len: 0, stale: 0 };
}

/// The chunks of all buckets.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    pub(super) entries: Vec<[Entry; CHUNK]>,
    /// What follows each chunk in its bucket, or among the free ones.
    pub(super) next: Vec<u32>,
    free: Option<u32>,
}

impl Chunks {
    /// A chunk before `next`.
    #[cold]
    #[inline(never)]
    pub(super) fn take(&mut self, next: u32) -> u32 {
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
    pub(super) fn release(&mut self, chunk: u32) -> u32 {
        std::mem::replace(&mut self.next[chunk as usize], self.free.replace(chunk).unwrap_or(NIL))
    }
}
