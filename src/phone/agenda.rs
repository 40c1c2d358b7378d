//! What a phone means to do and when: an ordered set, so that a run is the same each time.

use crate::base::Instant;
use std::collections::BTreeMap;

/// Things to do, earliest first; equal times keep their order.
#[derive(Debug)]
pub struct Agenda<T> {
    entries: BTreeMap<(Instant, u64), T>,
    count: u64,
    bound: usize,
}

impl<T> Agenda<T> {
    /// For at most `bound` entries.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self { entries: BTreeMap::new(), count: 0, bound }
    }

    /// Adds an entry; false when full.
    pub fn add(&mut self, at: Instant, what: T) -> bool {
        if self.entries.len() >= self.bound {
            return false;
        }
        self.count += 1;
        self.entries.insert((at, self.count), what);
        true
    }

    /// The next entry due, with the time it was meant for.
    pub fn pop(&mut self, now: Instant) -> Option<(Instant, T)> {
        let (&key, _) = self.entries.first_key_value().filter(|(key, _)| key.0 <= now)?;
        self.entries.remove(&key).map(|what| (key.0, what))
    }

    /// When the next is due.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.entries.first_key_value().map(|(key, _)| key.0)
    }
}
