//! The process's monotonic clock as the shards count it.

use crate::base::Instant;

/// Counts from `origin`, which the process fixes once, so that all shards' instants can be compared.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock whose [`Instant::ZERO`] is `origin`.
    #[must_use]
    pub const fn new(origin: std::time::Instant) -> Self {
        Self { origin }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::ZERO + self.origin.elapsed()
    }
}
