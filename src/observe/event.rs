//! A log event as plain values. Text for people is made where it is written, on a thread of `control`.
//!
//! Telephone numbers and DTMF go in as [`Value::Digits`], and only the sink decides whether they are shown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use arrayvec::ArrayVec;

use super::record::CallId;
use crate::base::time::Duration;
use crate::base::{Instant, ShardId};

/// How severe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something is broken.
    Error,
    /// Something is odd.
    Warn,
    /// What ops want to see in a day.
    Info,
    /// Each call's steps.
    Debug,
}

/// How severe an event must be to be written: one value for the log and for those who would wake it in vain.
#[derive(Clone, Debug, Default)]
pub struct Verbosity(Arc<AtomicU8>);

impl Verbosity {
    /// Below [`Level::Debug`]: everything, also what libraries trace.
    pub const TRACE: u8 = Level::Debug as u8 + 1;

    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self(Arc::new(AtomicU8::new(Self::TRACE)))
    }

    /// From now on: events of `level` and the more severe ones.
    pub fn set(&self, level: u8) {
        self.0.store(level, Ordering::Relaxed);
    }

    /// Whether events of `level` are written.
    #[must_use]
    pub fn takes(&self, level: u8) -> bool {
        level <= self.0.load(Ordering::Relaxed)
    }
}

/// A field's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A word of ours.
    Word(&'static str),
    /// A peer's or the configuration's text; not a telephone number.
    Text(Box<str>),
    /// A telephone number, a user part or DTMF: redacted unless the configuration says otherwise.
    Digits(Box<str>),
    /// A count.
    Number(u64),
    /// A time span.
    Span(Duration),
    /// A peer.
    Address(SocketAddr),
}

/// Most fields of one event; more are left out.
pub const FIELDS_MAX: usize = 10;

/// Something happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When, by the shard's clock.
    pub at: Instant,
    /// Where.
    pub shard: ShardId,
    /// How severe.
    pub level: Level,
    /// What, in a few words that never vary: `call answered`.
    pub what: &'static str,
    /// Which call.
    pub call: Option<CallId>,
    /// The rest.
    pub fields: ArrayVec<(&'static str, Value), FIELDS_MAX>,
}

impl Event {
    /// An event without fields.
    #[must_use]
    pub fn new(at: Instant, shard: ShardId, level: Level, what: &'static str) -> Self {
        Self { at, shard, level, what, call: None, fields: ArrayVec::new() }
    }

    /// With its call.
    #[must_use]
    pub fn call(mut self, call: CallId) -> Self {
        self.call = Some(call);
        self
    }

    /// With one more field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Value) -> Self {
        let _ = self.fields.try_push((name, value));
        self
    }

    /// With a word of ours.
    #[must_use]
    pub fn word(self, name: &'static str, word: &'static str) -> Self {
        self.with(name, Value::Word(word))
    }

    /// With text that is not a telephone number.
    #[must_use]
    pub fn text(self, name: &'static str, text: impl Into<Box<str>>) -> Self {
        self.with(name, Value::Text(text.into()))
    }

    /// With a telephone number, a user part or DTMF.
    #[must_use]
    pub fn digits(self, name: &'static str, digits: impl Into<Box<str>>) -> Self {
        self.with(name, Value::Digits(digits.into()))
    }

    /// With a count.
    #[must_use]
    pub fn number(self, name: &'static str, number: u64) -> Self {
        self.with(name, Value::Number(number))
    }

    /// With a peer's address.
    #[must_use]
    pub fn address(self, name: &'static str, address: SocketAddr) -> Self {
        self.with(name, Value::Address(address))
    }
}

/// A telephone number as logs show it: the last two digits stay, so that a person can still tell calls apart.
#[must_use]
pub fn redacted(digits: &str) -> String {
    let count = digits.chars().filter(char::is_ascii_digit).count();
    let mut seen = 0;
    digits
        .chars()
        .map(|letter| {
            if !letter.is_ascii_digit() {
                return letter;
            }
            seen += 1;
            if count >= 6 && seen > count - 2 { letter } else { 'x' }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_redacted_but_their_end() {
        assert_eq!(redacted("+15550100"), "+xxxxxx00");
        assert_eq!(redacted("1234"), "xxxx");
        assert_eq!(redacted("alice"), "alice");
        assert_eq!(redacted(""), "");
    }

    #[test]
    fn too_many_fields_are_left_out() {
        let mut event = Event::new(Instant::ZERO, ShardId(0), Level::Info, "test");
        for _ in 0..FIELDS_MAX + 3 {
            event = event.number("n", 1);
        }
        assert_eq!(event.fields.len(), FIELDS_MAX);
    }
}
