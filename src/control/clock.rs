//! The one place where a shard's instants become wall-clock time.
//!
//! Every worker counts its instants from `origin`. Wall time is worked out backwards from the present, so that a clock
//! that was stepped (NTP) does not leave an old offset in new records.

use std::time::SystemTime;

use arrayvec::ArrayString;
use rustix::time::{ClockId, clock_gettime};
use time::{Date, OffsetDateTime, UtcOffset};

use crate::base::Instant;
use crate::base::time::Duration;

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

    /// Both clocks now, by which several instants are read.
    #[must_use]
    pub fn reading(&self) -> Reading {
        Reading { now: self.now(), wall: OffsetDateTime::from(SystemTime::now()).to_offset(UtcOffset::UTC) }
    }

    /// When that was or will be.
    #[must_use]
    pub fn wall(&self, at: Instant) -> OffsetDateTime {
        self.reading().wall(at)
    }
}

/// A shard's clock and the wall's at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    now: Instant,
    wall: OffsetDateTime,
}

impl Reading {
    /// When that was or will be.
    #[must_use]
    pub fn wall(&self, at: Instant) -> OffsetDateTime {
        if at <= self.now { self.wall - self.now.since(at) } else { self.wall + at.since(self.now) }
    }

    /// The same as text.
    #[must_use]
    pub fn text(&self, at: Instant) -> Rfc3339 {
        rfc3339(self.wall(at))
    }
}

/// A time in UTC as RFC 3339 writes it, with milliseconds.
pub type Rfc3339 = ArrayString<24>;
/// `YYYY-MM-DD`, as files of records are named.
pub type DateText = ArrayString<10>;

/// RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn rfc3339(wall: OffsetDateTime) -> Rfc3339 {
    let (date, (hour, minute, second, milli)) = (date(wall.date()), wall.to_hms_milli());
    let mut text = *b"0000-00-00T00:00:00.000Z";
    text[..10].copy_from_slice(date.as_bytes());
    for (at, value) in [(13, hour), (16, minute), (19, second)] {
        digits(&mut text[at - 2..at], u32::from(value));
    }
    digits(&mut text[20..23], u32::from(milli));
    ArrayString::from_byte_string(&text).expect("digits are text")
}

/// A day of a year with four digits, in which every year is.
#[must_use]
pub fn date(day: Date) -> DateText {
    let (year, month, day) = day.to_calendar_date();
    let mut text = *b"0000-00-00";
    digits(&mut text[..4], year.unsigned_abs());
    digits(&mut text[5..7], u8::from(month).into());
    digits(&mut text[8..], day.into());
    ArrayString::from_byte_string(&text).expect("digits are text")
}

/// The last digits of a number, as many as there is room for.
fn digits(room: &mut [u8], mut value: u32) {
    for place in room.iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
    }
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
        assert_eq!((rfc3339(wall).as_str(), date(wall.date()).as_str()), ("2024-02-29T23:59:59.062Z", "2024-02-29"));
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
