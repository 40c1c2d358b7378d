//! The shard's own slice of the port range, as pairs: RTP on the even port, RTCP on the odd one above (RFC 3550 §11).
//!
//! A released pair rests before it is given again, so that the last packets of one call do not reach the next. The order
//! of giving is shuffled once: a port says nothing about the next.

use crate::base::time::Duration;
use crate::base::{Instant, Random};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Used,
    /// Could not be opened; never given again.
    Failed,
    /// Could not be opened while in use.
    FailedInUse,
}

/// Pairs of ports, each free, in use or failed.
#[derive(Debug)]
pub struct PortPool {
    first: u16,
    states: Vec<State>,
    /// In order of readiness; a pair that failed meanwhile is skipped when its turn comes.
    free: VecDeque<(u16, Instant)>,
    rest: Duration,
    used: usize,
    failed: usize,
}

/// How many pairs are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounts {
    /// Ready or resting.
    pub free: usize,
    /// In use.
    pub used: usize,
    /// Taken out.
    pub failed: usize,
    /// All.
    pub total: usize,
}

/// A [`PortPool`] at rest: one letter for each pair, and those that are free in the order they are given.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Frozen {
    first: u16,
    states: String,
    free: VecDeque<(u16, Instant)>,
}

/// In the order of their letters.
const STATES: [(char, State); 4] =
    [('.', State::Free), ('u', State::Used), ('f', State::Failed), ('x', State::FailedInUse)];

impl PortPool {
    pub(super) fn freeze(&self) -> Frozen {
        let letter = |state: &State| STATES.iter().find(|(_, of)| of == state).map_or('.', |(letter, _)| *letter);
        Frozen { first: self.first, states: self.states.iter().map(letter).collect(), free: self.free.clone() }
    }

    pub(super) fn thaw(frozen: Frozen, rest: Duration) -> Self {
        let state = |letter| STATES.iter().find(|(of, _)| *of == letter).map_or(State::Failed, |(_, state)| *state);
        let states: Vec<State> = frozen.states.chars().map(state).collect();
        let count = |wanted: &[State]| states.iter().filter(|state| wanted.contains(state)).count();
        let (used, failed) = (count(&[State::Used, State::FailedInUse]), count(&[State::Failed]));
        Self { first: frozen.first, free: frozen.free, rest, used, failed, states }
    }

    /// The pairs that lie whole within `port_min..=port_max`; each rests for `rest` after release.
    #[must_use]
    pub fn new(port_min: u16, port_max: u16, rest: Duration, random: &mut Random) -> Self {
        let first = u32::from(port_min).next_multiple_of(2).max(2);
        let pairs = (u32::from(port_max) + 1).saturating_sub(first) / 2;
        let mut free: VecDeque<_> = (0..pairs as u16).map(|index| (index, Instant::ZERO)).collect();
        for last in (1..free.len()).rev() {
            free.swap(last, random.below(last as u64 + 1) as usize);
        }
        Self { first: first as u16, states: vec![State::Free; pairs as usize], free, rest, used: 0, failed: 0 }
    }

    /// The even port of a pair that nobody uses and that has rested.
    pub fn allocate(&mut self, now: Instant) -> Option<u16> {
        // Released in order of time, therefore ready in order of time.
        while let Some(&(index, ready)) = self.free.front() {
            if ready > now {
                return None;
            }
            self.free.pop_front();
            let state = self.states.get_mut(usize::from(index))?;
            if *state == State::Free {
                *state = State::Used;
                self.used += 1;
                return Some(self.first + index * 2);
            }
        }
        None
    }

    /// The even ports of the pairs that stand at the first `count` places of those to be given, whether they have rested or
    /// not; the last one first.
    pub fn upcoming(&self, count: usize) -> impl Iterator<Item = u16> {
        let is_free = |index: u16| self.states.get(usize::from(index)) == Some(&State::Free);
        let next = self.free.range(..count.min(self.free.len())).rev();
        next.filter(move |(index, _)| is_free(*index)).map(|(index, _)| self.first + index * 2)
    }

    /// Gives a pair back, by either port.
    pub fn release(&mut self, now: Instant, port: u16) {
        let Some(index) = self.index(port) else { return };
        let state = &mut self.states[usize::from(index)];
        match *state {
            State::Used => {
                *state = State::Free;
                self.free.push_back((index, now + self.rest));
                self.used -= 1;
            }
            State::FailedInUse => {
                *state = State::Failed;
                self.used -= 1;
                self.failed += 1;
            }
            State::Free | State::Failed => {}
        }
    }

    /// Takes a pair out for good, by either port: it could not be opened.
    pub fn fail(&mut self, port: u16) {
        let Some(index) = self.index(port) else { return };
        let state = &mut self.states[usize::from(index)];
        match *state {
            State::Used => *state = State::FailedInUse,
            State::Free => {
                *state = State::Failed;
                self.failed += 1;
            }
            State::Failed | State::FailedInUse => {}
        }
    }

    /// The even ports of all pairs, and which of them are taken out.
    pub fn all(&self) -> impl Iterator<Item = (u16, bool)> {
        (0..self.states.len() as u16).map(|index| self.first + index * 2).map(|port| (port, self.is_failed(port)))
    }

    /// True where the pair of this port is taken out.
    #[must_use]
    pub fn is_failed(&self, port: u16) -> bool {
        let state = self.index(port).and_then(|index| self.states.get(usize::from(index)));
        matches!(state, Some(State::Failed | State::FailedInUse))
    }

    /// How many pairs are where; the three always add up to the total.
    #[must_use]
    pub fn counts(&self) -> PortCounts {
        let total = self.states.len();
        PortCounts { free: total - self.used - self.failed, used: self.used, failed: self.failed, total }
    }

    fn index(&self, port: u16) -> Option<u16> {
        let index = port.checked_sub(self.first)? / 2;
        (usize::from(index) < self.states.len()).then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pool(min: u16, max: u16) -> PortPool {
        PortPool::new(min, max, Duration::from_secs(1), &mut Random::from_u64(1))
    }

    #[test]
    fn pairs_lie_within_the_range_and_begin_even() {
        assert_eq!(pool(30_001, 30_004).counts().total, 1);
        assert_eq!(pool(30_000, 30_000).counts().total, 0);
        assert_eq!(pool(0, u16::MAX).counts().total, 32_767);
        assert_eq!(pool(9, 3).counts().total, 0);
        assert_eq!(pool(30_001, 30_004).allocate(Instant::ZERO), Some(30_002));
    }

    #[test]
    fn a_released_pair_rests_and_a_failed_one_is_gone() {
        let mut pool = pool(100, 101);
        let start = Instant::from_millis(5);
        assert_eq!(pool.allocate(start), Some(100));
        pool.release(start, 101);
        assert_eq!(pool.allocate(start + Duration::from_millis(999)), None);
        assert_eq!(pool.allocate(start + Duration::from_secs(1)), Some(100));
        pool.fail(100);
        pool.release(start, 100);
        assert_eq!(pool.allocate(Instant::from_millis(90_000)), None);
        assert_eq!(pool.counts(), PortCounts { free: 0, used: 0, failed: 1, total: 1 });
    }

    proptest! {
        #[test]
        fn the_counts_balance_after_any_use(steps in prop::collection::vec((0u8..4, 100u16..130), 0..300)) {
            let mut pool = pool(103, 126);
            let mut now = Instant::ZERO;
            let mut mine = std::collections::BTreeSet::new();
            for (what, port) in steps {
                match what {
                    0 | 1 => if let Some(port) = pool.allocate(now) {
                        prop_assert!(port % 2 == 0 && (103..126).contains(&port) && mine.insert(port));
                    },
                    2 => { pool.release(now, port); mine.remove(&(port & !1)); }
                    _ => pool.fail(port),
                }
                now += Duration::from_millis(200);
                let counts = pool.counts();
                prop_assert_eq!(counts.free + counts.used + counts.failed, counts.total);
                prop_assert_eq!(counts.used, mine.len());
                prop_assert!(pool.upcoming(usize::MAX).count() == counts.free);
            }
            let (free, rested) = (pool.counts().free, now + Duration::from_secs(1));
            prop_assert_eq!(std::iter::from_fn(|| pool.allocate(rested)).count(), free);
        }
    }
}
