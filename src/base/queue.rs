//! A FIFO with a bound: when it is full the newcomer is refused and counted, never the room grown.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// A bounded FIFO. Allocates once.
#[derive(Debug, Serialize, Deserialize)]
pub struct Queue<T> {
    items: VecDeque<T>,
    bound: usize,
    refused: u64,
}

impl<T> Queue<T> {
    /// A queue for at most `bound` items.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self { items: VecDeque::with_capacity(bound), bound, refused: 0 }
    }

    /// Adds at the end.
    ///
    /// # Errors
    /// Gives the item back when the queue is full, and counts it.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        if self.items.len() >= self.bound {
            self.refused += 1;
            return Err(item);
        }
        self.items.push_back(item);
        Ok(())
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<T> {
        self.items.pop_front()
    }

    /// Another bound from now on; what waits beyond it is kept.
    pub fn set_bound(&mut self, bound: usize) {
        self.bound = bound;
    }

    /// The most that may wait.
    #[must_use]
    pub fn bound(&self) -> usize {
        self.bound
    }

    /// Items waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True when nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Room left.
    #[must_use]
    pub fn room(&self) -> usize {
        self.bound.saturating_sub(self.items.len())
    }

    /// Items refused since the start.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_refuses_and_counts() {
        let mut queue = Queue::new(2);
        assert_eq!((queue.push(1), queue.push(2), queue.push(3)), (Ok(()), Ok(()), Err(3)));
        assert_eq!((queue.len(), queue.room(), queue.refused()), (2, 0, 1));
        assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some(1), Some(2), None));
    }
}
