//! Which nonce counts were used (RFC 7616 §3.4, `nc`): a window per nonce, in a table with a bound.
//!
//! When the table is full the nonce that came into use first makes room, and every nonce as old as it that is not in
//! the table counts as stale from then on. So a full table costs clients another round trip, never a replay.

use crate::base::{Instant, Keyed};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// How far behind the highest count a late one may come.
const WINDOW: u32 = 64;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Window {
    made: Instant,
    highest: u32,
    /// Bit n: `highest - n` was used.
    used: u64,
}

/// What a count turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Fresh,
    Again,
    /// Nothing is known about so old a nonce any more.
    Forgotten,
}

#[derive(Debug)]
pub(super) struct Replays {
    windows: HashMap<u64, Window, Keyed>,
    /// In the order of first use.
    order: VecDeque<u64>,
    bound: usize,
    horizon: Option<Instant>,
}

/// The windows in the order of first use.
#[derive(Serialize, Deserialize)]
pub(super) struct Frozen {
    hasher: Keyed,
    windows: Vec<(u64, Window)>,
    horizon: Option<Instant>,
}

impl Replays {
    pub(super) fn new(bound: usize, hasher: Keyed) -> Self {
        Self { windows: HashMap::with_hasher(hasher), order: VecDeque::new(), bound: bound.max(1), horizon: None }
    }

    /// Notes the use of `count` with the nonce `serial` that was made at `made`; those made before `oldest` are expired.
    pub(super) fn note(&mut self, serial: u64, made: Instant, count: u32, oldest: Instant) -> Use {
        if count == 0 {
            return Use::Again;
        }
        if let Some(window) = self.windows.get_mut(&serial) {
            return window.note(count);
        }
        if self.horizon.is_some_and(|horizon| made <= horizon) {
            return Use::Forgotten;
        }
        self.make_room(oldest);
        self.windows.insert(serial, Window { made, highest: count, used: 1 });
        self.order.push_back(serial);
        Use::Fresh
    }

    pub(super) fn freeze(&self) -> Frozen {
        let windows = self.order.iter().filter_map(|serial| Some((*serial, *self.windows.get(serial)?))).collect();
        Frozen { hasher: self.windows.hasher().clone(), windows, horizon: self.horizon }
    }

    /// More than the bound stay until they expire.
    pub(super) fn thaw(&mut self, frozen: Frozen) {
        self.order = frozen.windows.iter().map(|(serial, _)| *serial).collect();
        self.windows = HashMap::with_hasher(frozen.hasher);
        self.windows.extend(frozen.windows);
        self.horizon = frozen.horizon;
    }

    fn make_room(&mut self, oldest: Instant) {
        while let Some(first) = self.order.front() {
            let made = self.windows.get(first).map(|window| window.made);
            let expired = made.is_none_or(|made| made < oldest);
            if !expired && self.order.len() < self.bound {
                return;
            }
            if !expired {
                self.horizon = self.horizon.max(made);
            }
            self.windows.remove(first);
            self.order.pop_front();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.windows.len()
    }
}

impl Window {
    fn note(&mut self, count: u32) -> Use {
        if count > self.highest {
            self.used = self.used.checked_shl(count - self.highest).unwrap_or(0) | 1;
            self.highest = count;
            return Use::Fresh;
        }
        let behind = self.highest - count;
        if behind >= WINDOW || self.used & (1 << behind) != 0 {
            return Use::Again;
        }
        self.used |= 1 << behind;
        Use::Fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn replays(bound: usize) -> Replays {
        Replays::new(bound, Keyed::new([1, 2, 3, 4]))
    }

    #[test]
    fn late_counts_pass_once_within_the_window() {
        let mut replays = replays(4);
        let mut note = |count| replays.note(7, Instant::ZERO, count, Instant::ZERO);
        assert_eq!((note(100), note(100), note(99), note(99)), (Use::Fresh, Use::Again, Use::Fresh, Use::Again));
        assert_eq!((note(37), note(36), note(0)), (Use::Fresh, Use::Again, Use::Again));
        assert_eq!((note(u32::MAX), note(100)), (Use::Fresh, Use::Again));
    }

    #[test]
    fn a_full_table_forgets_but_never_accepts_twice() {
        let mut replays = replays(2);
        let at = Instant::from_millis;
        for serial in 1..=3 {
            assert_eq!(replays.note(serial, at(serial), 1, Instant::ZERO), Use::Fresh);
        }
        assert_eq!(replays.len(), 2);
        assert_eq!(replays.note(1, at(1), 1, Instant::ZERO), Use::Forgotten);
        assert_eq!(replays.note(3, at(3), 1, Instant::ZERO), Use::Again);
        assert_eq!(replays.note(4, at(1_000), 1, at(500)), Use::Fresh);
        assert_eq!(replays.len(), 1, "what has expired leaves");
    }

    proptest! {
        #[test]
        fn no_count_is_fresh_twice(notes in prop::collection::vec((0u64..6, 0u32..150), 1..300)) {
            let mut replays = replays(3);
            let mut seen = HashSet::new();
            for (serial, count) in notes {
                let result = replays.note(serial, Instant::from_millis(serial), count, Instant::ZERO);
                prop_assert!(result != Use::Fresh || seen.insert((serial, count)));
                prop_assert!(replays.len() <= 3);
            }
        }
    }
}
