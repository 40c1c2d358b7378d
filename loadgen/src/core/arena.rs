//! Where messages are written: chunks that many of them share, and that come back when the last one is gone.
//!
//! Memory that a run has not touched yet is dear where it counts: on a virtual machine whose host backs a page at its first touch,
//! one took 17 us, as long as four calls, and a generator that was late for want of memory needed more of it for the calls that
//! waited. So the chunks for some calls are touched before the first, and those used last are used again, while they are in the
//! caches. Few messages are kept longer than an answer takes; each keeps its chunk.

use std::collections::VecDeque;
use std::hint::black_box;

use bytes::{Bytes, BytesMut};

const CHUNK_BYTES: usize = 64 * 1024;
/// Room to begin a message with; a longer one moves to an allocation of its own.
const MESSAGE_BYTES: usize = 1024;
/// Chunks whose end is watched for; what is beyond them goes back to the allocator.
const FILLED_MAX: usize = 2048;
/// Chunks that wait for use.
const SPARE_MAX: usize = 1024;
/// Filled chunks looked at when one is needed: two, so that their number falls again after a burst.
const LOOKS: usize = 2;

const PAGE_BYTES: usize = 4096;

/// Writes to every page of zeroed memory, which the kernel otherwise gives out when it is used.
pub fn touch<T: Default>(memory: &mut [T]) {
    for place in memory.iter_mut().step_by(PAGE_BYTES / size_of::<T>()) {
        *place = black_box(T::default());
    }
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Arena {
    open: BytesMut,
    /// In the order in which they were filled, which is about the order in which they become free.
    filled: VecDeque<BytesMut>,
    spare: Vec<BytesMut>,
}

impl Arena {
    /// Takes memory for so many octets of messages now.
    pub fn prepare(&mut self, bytes: usize) {
        let chunks = bytes.div_ceil(CHUNK_BYTES).min(SPARE_MAX);
        self.spare.resize_with(chunks.max(self.spare.len()), || {
            let mut chunk = BytesMut::zeroed(CHUNK_BYTES);
            touch(&mut chunk);
            chunk.clear();
            chunk
        });
    }

    /// What `write` appends.
    pub fn write(&mut self, write: impl FnOnce(&mut BytesMut)) -> Bytes {
        if self.open.capacity() < MESSAGE_BYTES {
            self.turn();
        }
        write(&mut self.open);
        self.open.split().freeze()
    }

    /// Goes on in another chunk.
    fn turn(&mut self) {
        self.filled.push_back(std::mem::take(&mut self.open));
        for _ in 0..LOOKS {
            let Some(mut chunk) = self.filled.pop_front() else { break };
            if !chunk.try_reclaim(CHUNK_BYTES) {
                self.filled.push_back(chunk); // a message that stays long must not hide those behind it
            } else if self.spare.len() < SPARE_MAX {
                self.spare.push(chunk);
            }
        }
        if self.filled.len() > FILLED_MAX {
            self.filled.pop_front();
        }
        self.open = self.spare.pop().unwrap_or_else(|| BytesMut::with_capacity(CHUNK_BYTES));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(arena: &mut Arena, number: usize) -> Bytes {
        arena.write(|out| out.extend_from_slice(&[number as u8; 1000]))
    }

    #[test]
    fn messages_keep_their_octets_and_free_chunks_are_used_again() {
        let mut arena = Arena::default();
        let mut kept = VecDeque::new();
        for number in 0..10_000 {
            kept.push_back((number, message(&mut arena, number)));
            if kept.len() > 200 {
                kept.pop_front();
            }
            assert!(number % 100 > 0 || kept.iter().all(|(number, bytes)| bytes[..] == [*number as u8; 1000]));
        }
        let chunks = arena.filled.len() + arena.spare.len();
        assert!(chunks <= 8, "{chunks}: 200 messages fill four");
    }

    #[test]
    fn one_that_stays_keeps_its_chunk_alone() {
        let mut arena = Arena::default();
        let stays: Vec<Bytes> = (0..5000).map(|number| message(&mut arena, number)).step_by(500).collect();
        (0..5000).for_each(|number| drop(message(&mut arena, number)));
        assert!(stays.iter().enumerate().all(|(place, bytes)| bytes[..] == [(place * 500) as u8; 1000]));
        let chunks = arena.filled.len() + arena.spare.len();
        assert!(chunks < 30, "{chunks}");
    }

    #[test]
    fn a_burst_leaves_few_filled_chunks_and_memory_has_a_bound() {
        let mut arena = Arena::default();
        arena.prepare(usize::MAX);
        assert_eq!(arena.spare.len(), SPARE_MAX);
        let burst: Vec<Bytes> = (0..200_000).map(|number| message(&mut arena, number)).collect();
        assert!(arena.filled.len() <= FILLED_MAX && arena.spare.is_empty());
        assert!(burst.iter().enumerate().all(|(number, bytes)| bytes[999] == number as u8));
        drop(burst);
        (0..200_000).for_each(|number| drop(message(&mut arena, number)));
        assert!(arena.filled.len() <= LOOKS && arena.spare.len() <= SPARE_MAX, "{}", arena.filled.len());
    }
}
