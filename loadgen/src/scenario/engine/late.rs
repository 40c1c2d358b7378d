//! Calls that are over but whose messages may still come again: their answers are repeated for a while.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use bytes::Bytes;
use strowger::base::Instant;

use super::seen::Seen;
use crate::core::Path;

/// Calls remembered; more are forgotten early.
const CALLS_MAX: usize = 50_000;

struct Entry {
    seen: Seen,
    /// A `timewait` asked for it: the call counts as up.
    lingers: bool,
    serial: u64,
}

/// Calls that are over.
#[derive(Default)]
pub struct Late {
    calls: HashMap<Vec<u8>, Entry>,
    until: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    serial: u64,
    lingering: usize,
}

impl Late {
    /// Remembers a call until an instant.
    pub fn insert(&mut self, call_id: Vec<u8>, seen: Seen, until: Instant, lingers: bool) {
        if self.calls.len() >= CALLS_MAX {
            self.forget_first();
        }
        self.serial += 1;
        self.lingering += usize::from(lingers);
        let entry = Entry { seen, lingers, serial: self.serial };
        self.until.push(Reverse((until, self.serial, call_id.clone())));
        if let Some(before) = self.calls.insert(call_id, entry) {
            self.lingering -= usize::from(before.lingers);
        }
    }

    /// Whether the call is known, and what its message was answered with before.
    pub fn find(&self, call_id: &[u8], hash: u64) -> Option<Option<(Path, Bytes)>> {
        let entry = self.calls.get(call_id)?;
        Some(entry.seen.find(hash).and_then(|answer| answer.cloned()))
    }

    /// Forgets what is over.
    pub fn expire(&mut self, now: Instant) {
        while self.until.peek().is_some_and(|entry| entry.0.0 <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some(Reverse((_, serial, call_id))) = self.until.pop() else { return };
        if self.calls.get(&call_id).is_some_and(|entry| entry.serial == serial)
            && let Some(entry) = self.calls.remove(&call_id)
        {
            self.lingering -= usize::from(entry.lingers);
        }
    }

    /// Calls in their `timewait`.
    pub fn lingering(&self) -> usize {
        self.lingering
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_forgotten_in_their_time() {
        let mut late = Late::default();
        let (soon, later) = (Instant::from_millis(10), Instant::from_millis(20));
        late.insert(b"a".to_vec(), Seen::default(), later, true);
        late.insert(b"b".to_vec(), Seen::default(), soon, false);
        late.insert(b"a".to_vec(), Seen::default(), Instant::from_millis(30), true);
        assert_eq!((late.lingering(), late.find(b"a", 1)), (1, Some(None)));
        late.expire(soon);
        assert!(late.find(b"b", 1).is_none());
        late.expire(later);
        assert_eq!(late.lingering(), 1, "the one under the same name goes on");
        late.expire(Instant::from_millis(30));
        assert_eq!((late.lingering(), late.find(b"a", 1)), (0, None));
    }
}
