//! The one place where a shard's instants become wall-clock time.
//!
//! Every worker counts its instants from `origin`. Wall time is worked out backwards from the present, so that a clock
//! that was stepped (NTP) does not leave an old offset in new records.

use std::time::SystemTime;

use rustix::time::{ClockId, clock_gettime};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

use crate::base::Instant;
use crate::base::time::Duration;

const RFC3339: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
const DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

/// Reads instants.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Duration,
}

impl Clock {
    /// A clock whose [`Instant::ZERO`] is `origin`: the same that the workers have.
    #[must_use]
    pub fn new(origin: std::time::Instant) -> Self {
        Self { origin: boottime().saturating_sub(origin.elapsed()) }
    }

    /// A clock that goes on from another process's; `origin` is in the time of this host.
    #[must_use]
    pub fn at(origin: Duration) -> Self {
        Self { origin }
    }

    /// Now, as a shard would stamp it.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::ZERO + boottime().saturating_sub(self.origin)
    }

    /// When that was or will be.
    #[must_use]
    pub fn wall(&self, at: Instant) -> OffsetDateTime {
        let now = self.now();
        let wall = OffsetDateTime::from(SystemTime::now()).to_offset(UtcOffset::UTC);
        if at <= now { wall - now.since(at) } else { wall + at.since(now) }
    }

    /// RFC 3339 in UTC with milliseconds.
    #[must_use]
    pub fn text(&self, at: Instant) -> String {
        rfc3339(self.wall(at))
    }
}

/// RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn rfc3339(wall: OffsetDateTime) -> String {
    wall.format(RFC3339).unwrap_or_else(|_| "unknown".to_owned())
}

/// `YYYY-MM-DD`, as files of records are named.
#[must_use]
pub fn date(wall: OffsetDateTime) -> String {
    wall.format(DATE).unwrap_or_else(|_| "unknown".to_owned())
}

/// Since the host was started.
fn boottime() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_is_rfc_3339_in_utc() {
        let wall = time::macros::datetime!(2024-02-29 23:59:59.0625 UTC);
        assert_eq!((rfc3339(wall).as_str(), date(wall).as_str()), ("2024-02-29T23:59:59.062Z", "2024-02-29"));
    }

    #[test]
    fn the_past_is_past_and_the_future_ahead() {
        let clock = Clock::new(std::time::Instant::now());
        let now = clock.now();
        let hour = std::time::Duration::from_secs(3600);
        assert!(clock.wall(now + hour) - clock.wall(now) > time::Duration::minutes(59));
        assert!(clock.wall(now) - OffsetDateTime::now_utc() < time::Duration::seconds(1));
    }
}
