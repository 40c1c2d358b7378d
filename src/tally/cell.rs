//! A limit on simultaneous calls as one 64-bit word: live calls in the upper half, usable rights in the lower.
//!
//! Shards admit and release with one compare-and-swap each; only the owner of the limit changes `usable`. A [`Permit`]
//! gives its right back exactly once, when it is dropped, whatever path the call took to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// The count of one account or trunk on this node.
///
/// With the counts of its [`Arc`] and the allocator's own it takes two cache lines, which processors fetch as a pair, so that
/// two accounts never slow each other; what an admission writes is together at its beginning, so that it costs one cache miss
/// where an account is seldom called. (In one line two threads on two accounts cost 45 ns instead of 10; aligned, it took
/// four lines of the allocator's: `cargo bench --bench limits`.)
#[derive(Debug)]
pub struct Cell {
    word: AtomicU64,
    refused: AtomicU32,
    may_borrow: AtomicBool,
    cut_off: AtomicBool,
    _spare: [u64; SPARE_WORDS],
}

/// So that nothing else is on the two lines.
const SPARE_WORDS: usize = 10;
const TWO_LINES_BYTES: usize = 128;
const ARC_COUNTS_BYTES: usize = 2 * size_of::<usize>();
/// What glibc puts before each block.
const ALLOCATOR_BYTES: usize = 16;
const _: () = assert!(size_of::<Cell>() + ARC_COUNTS_BYTES + ALLOCATOR_BYTES == TWO_LINES_BYTES);

const fn pack(live: u32, usable: u32) -> u64 {
    (live as u64) << 32 | usable as u64
}

const fn unpack(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

impl Cell {
    /// A cell with `usable` rights and no live calls.
    #[must_use]
    pub fn new(usable: u32) -> Arc<Self> {
        let word = AtomicU64::new(pack(0, usable));
        Arc::new(Self {
            word,
            refused: AtomicU32::new(0),
            may_borrow: AtomicBool::new(false),
            cut_off: AtomicBool::new(false),
            _spare: [0; SPARE_WORDS],
        })
    }

    /// Takes a right, if there is one.
    #[must_use]
    pub fn admit(self: &Arc<Self>) -> Option<Permit> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let (live, usable) = unpack(word);
            if live >= usable {
                return None;
            }
            match self.word.compare_exchange_weak(word, pack(live + 1, usable), Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(Permit(Arc::clone(self))),
                Err(now) => word = now,
            }
        }
    }

    /// A right for a call that is up already and comes from another process: it counts, whatever is usable.
    pub fn hold(self: &Arc<Self>) -> Permit {
        self.word.fetch_add(1 << 32, Ordering::AcqRel);
        Permit(Arc::clone(self))
    }

    /// Live calls and usable rights, as of one instant.
    #[must_use]
    pub fn read(&self) -> (u32, u32) {
        unpack(self.word.load(Ordering::Relaxed))
    }

    /// Sets the usable rights. Calls that are up stay up: below `live`, admission waits until they have ended.
    pub fn set_usable(&self, usable: u32) {
        let mut word = self.word.load(Ordering::Relaxed);
        while let Err(now) =
            self.word.compare_exchange_weak(word, pack(unpack(word).0, usable), Ordering::AcqRel, Ordering::Relaxed)
        {
            word = now;
        }
    }

    /// Takes up to `wanted` usable rights away, never one that a call holds; tells how many.
    #[must_use]
    pub fn withdraw(&self, wanted: u32) -> u32 {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let (live, usable) = unpack(word);
            let taken = wanted.min(usable.saturating_sub(live));
            if taken == 0 {
                return 0;
            }
            match self.word.compare_exchange_weak(word, pack(live, usable - taken), Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return taken,
                Err(now) => word = now,
            }
        }
    }

    /// Counts a refusal for want of a right.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Refusals so far; wraps.
    #[must_use]
    pub fn refused(&self) -> u32 {
        self.refused.load(Ordering::Relaxed)
    }

    /// True while another site that can be reached may have a right to lend: a call may wait for one.
    #[must_use]
    pub fn may_borrow(&self) -> bool {
        self.may_borrow.load(Ordering::Relaxed)
    }

    /// Says whether waiting for a right makes sense.
    pub fn set_may_borrow(&self, may: bool) {
        self.may_borrow.store(may, Ordering::Relaxed);
    }

    /// True while no other site can be reached at all: why there is no right to be had.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Relaxed)
    }

    /// Says so.
    pub fn set_cut_off(&self, cut_off: bool) {
        self.cut_off.store(cut_off, Ordering::Relaxed);
    }

    fn release(&self) {
        let before = self.word.fetch_sub(1 << 32, Ordering::AcqRel);
        assert!(unpack(before).0 > 0, "a permit was given back twice");
    }
}

/// One right in use. Dropping it gives the right back.
#[derive(Debug)]
#[must_use = "dropping a permit gives the right back"]
pub struct Permit(Arc<Cell>);

impl Permit {
    /// True for a right of that cell.
    #[must_use]
    pub fn is_of(&self, cell: &Arc<Cell>) -> bool {
        Arc::ptr_eq(&self.0, cell)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_permits_than_rights() {
        let cell = Cell::new(2);
        let first = cell.admit().unwrap();
        let second = cell.admit().unwrap();
        assert!(cell.admit().is_none());
        drop(first);
        assert_eq!(cell.read(), (1, 2));
        cell.set_usable(1);
        assert!(cell.admit().is_none(), "lowered below the calls that are up");
        drop(second);
        assert!(cell.admit().is_some());
        assert_eq!(cell.read(), (0, 1));
    }

    #[test]
    fn a_withdrawal_leaves_what_calls_hold() {
        let cell = Cell::new(5);
        let permits = [cell.admit().unwrap(), cell.admit().unwrap()];
        assert_eq!(cell.withdraw(1), 1);
        assert_eq!(cell.withdraw(9), 2);
        assert_eq!((cell.withdraw(1), cell.read()), (0, (2, 2)));
        drop(permits);
        assert_eq!(cell.read(), (0, 2));
    }

    #[test]
    fn two_threads_never_overshoot() {
        let cell = Cell::new(3);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let permit = cell.admit();
                        let (live, usable) = cell.read();
                        assert!(live <= usable);
                        drop(permit);
                    }
                });
            }
        });
        assert_eq!(cell.read(), (0, 3));
    }
}
