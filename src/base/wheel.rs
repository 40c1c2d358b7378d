//! Timers of one shard (first form: an ordered map; a wheel takes its place behind the same names).

use super::slab::{Slab, Slot};
use super::time::Instant;
use std::collections::BTreeMap;

/// Names one scheduled timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerKey(Slot);

/// A bounded set of timers.
#[derive(Debug)]
pub struct Wheel<T> {
    order: BTreeMap<(Instant, u32), Slot>,
    timers: Slab<(Instant, T)>,
}

impl<T> Wheel<T> {
    /// For at most `bound` timers, beginning at `start`.
    #[must_use]
    pub fn new(_start: Instant, bound: usize) -> Self {
        Self { order: BTreeMap::new(), timers: Slab::new(bound) }
    }

    /// Schedules `value` for `at` (at once, if that is past).
    ///
    /// # Errors
    /// Gives the value back when the wheel is full.
    pub fn schedule(&mut self, at: Instant, value: T) -> Result<TimerKey, T> {
        let slot = self.timers.insert((at, value)).map_err(|(_, value)| value)?;
        self.order.insert((at, slot.index), slot);
        Ok(TimerKey(slot))
    }

    /// Cancels; the value comes back unless it has fired.
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let (at, value) = self.timers.remove(key.0)?;
        self.order.remove(&(at, key.0.index));
        Some(value)
    }

    /// The next value due at `now`, earliest first, never early.
    pub fn pop_expired(&mut self, now: Instant) -> Option<T> {
        let (&(at, index), &slot) = self.order.first_key_value()?;
        if at > now {
            return None;
        }
        self.order.remove(&(at, index));
        self.timers.remove(slot).map(|(_, value)| value)
    }

    /// When to call [`pop_expired`](Self::pop_expired) next; may be earlier than the next timer, never later.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.order.first_key_value().map(|(&(at, _), _)| at)
    }

    /// Timers scheduled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }
}
