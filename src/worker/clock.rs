//! The process's monotonic clock as the shards count it. It goes on while the host sleeps: a borrowed right ends then, too.

use crate::base::Instant;
use crate::base::time::Duration;
use rustix::time::{ClockId, clock_gettime};

/// Counts from `origin`, which the process fixes once, so that all shards' instants can be compared.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Duration,
}

impl Clock {
    /// A clock whose [`Instant::ZERO`] is `origin`.
    #[must_use]
    pub fn new(origin: std::time::Instant) -> Self {
        Self { origin: boottime().saturating_sub(origin.elapsed()) }
    }

    /// What [`at`](Self::at) takes.
    #[must_use]
    pub fn origin(&self) -> Duration {
        self.origin
    }

    /// A clock that goes on from another process's; `origin` is in the time of this host.
    #[must_use]
    pub fn at(origin: Duration) -> Self {
        Self { origin }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::ZERO + boottime().saturating_sub(self.origin)
    }
}

/// Since the host was started.
fn boottime() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}
