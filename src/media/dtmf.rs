//! Telephone events (RFC 4733): passed on like any packet, noticed here; and built for the phones of our own.

use super::rtp::Header;
use serde::{Deserialize, Serialize};

/// Octets of one event payload.
pub const EVENT_LEN: usize = 4;
/// A sender starts a new segment when the duration field is full (RFC 4733 §2.5.1.3).
const DURATION_MAX: u16 = 0xffff;

/// The payload (RFC 4733 §2.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// 0–15 are the DTMF digits; others are tones and signals.
    pub code: u8,
    /// The last report of this event.
    pub end: bool,
    /// In -dBm0, 0–63.
    pub volume: u8,
    /// Since the event's timestamp, in its units.
    pub duration: u16,
}

impl Event {
    /// Reads a payload.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let four = payload.first_chunk::<EVENT_LEN>()?;
        Some(Self {
            code: four[0],
            end: four[1] & 0x80 != 0,
            volume: four[1] & 0x3f,
            duration: u16::from_be_bytes([four[2], four[3]]),
        })
    }

    /// The payload as it stands on the wire.
    #[must_use]
    pub fn encode(&self) -> [u8; EVENT_LEN] {
        let duration = self.duration.to_be_bytes();
        [self.code, u8::from(self.end) << 7 | self.volume & 0x3f, duration[0], duration[1]]
    }
}

/// The digit of an event code: `0`–`9`, `*`, `#`, `A`–`D`.
#[must_use]
pub fn digit_of(code: u8) -> Option<char> {
    b"0123456789*#ABCD".get(usize::from(code)).map(|byte| char::from(*byte))
}

/// The event code of a digit, in any case.
#[must_use]
pub fn code_of(digit: char) -> Option<u8> {
    "0123456789*#ABCD".find(digit.to_ascii_uppercase()).map(|code| code as u8)
}

/// One packet of the train that a pressed key becomes: updates while it is held, then three ends (RFC 4733 §2.5.1.4).
#[derive(Clone, Debug)]
pub struct Press {
    header: Header,
    event: Event,
    step: u16,
    total: u16,
    ends_left: u8,
}

impl Press {
    /// A key held for `total` timestamp units, reported every `step`. `header` gives type, source, the first sequence
    /// number and the timestamp at which the key goes down.
    #[must_use]
    pub fn new(header: Header, code: u8, volume: u8, step: u16, total: u16) -> Self {
        let event = Event { code, end: false, volume, duration: 0 };
        Self { header: Header { marker: true, ..header }, event, step: step.max(1), total, ends_left: 3 }
    }
}

impl Iterator for Press {
    type Item = (Header, Event);

    fn next(&mut self) -> Option<(Header, Event)> {
        if self.ends_left == 0 {
            return None;
        }
        self.event.duration = self.event.duration.saturating_add(self.step).min(self.total);
        self.event.end = self.event.duration == self.total;
        self.ends_left -= u8::from(self.event.end);
        let header = self.header;
        self.header.marker = false;
        self.header.sequence = header.sequence.wrapping_add(1);
        Some((header, self.event))
    }
}

/// A key press, seen to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noticed {
    /// The event code; see [`digit_of`].
    pub code: u8,
    /// In timestamp units.
    pub duration: u32,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Current {
    ssrc: u32,
    timestamp: u32,
    code: u8,
    earlier_segments: u32,
    duration: u16,
    told: bool,
}

/// Follows the events of one stream: each is told once, at its first end report, or when the next begins without one.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Detector {
    current: Option<Current>,
}

impl Detector {
    /// Takes one packet with a telephone-event payload.
    pub fn handle(&mut self, header: &Header, event: Event) -> Option<Noticed> {
        let mut told = None;
        match &self.current {
            Some(have) if have.ssrc == header.ssrc && have.timestamp == header.timestamp => {}
            // Late, of an event that another has followed.
            Some(have) if have.ssrc == header.ssrc && is_before(header.timestamp, have.timestamp) => return None,
            _ => {
                let earlier_segments = self.continued(header, event);
                if earlier_segments == 0 {
                    told = self.flush();
                }
                self.current = Some(Current::begin(header, event, earlier_segments));
            }
        }
        let current = self.current.as_mut()?;
        current.duration = current.duration.max(event.duration);
        if event.end && !current.told && told.is_none() {
            current.told = true;
            told = Some(current.noticed());
        }
        told
    }

    /// The event whose end never came: told when something else shows that it is over.
    pub fn flush(&mut self) -> Option<Noticed> {
        let current = self.current.as_mut().filter(|current| !current.told)?;
        current.told = true;
        Some(current.noticed())
    }

    /// Units of earlier segments where this packet continues a long event, else zero.
    fn continued(&self, header: &Header, event: Event) -> u32 {
        let Some(have) = self.current.filter(|have| have.ssrc == header.ssrc && have.code == event.code) else {
            return 0;
        };
        let next = have.timestamp.wrapping_add(u32::from(DURATION_MAX));
        let follows = have.duration == DURATION_MAX && !have.told && header.timestamp == next;
        if follows { have.earlier_segments + u32::from(DURATION_MAX) } else { 0 }
    }
}

fn is_before(timestamp: u32, other: u32) -> bool {
    (timestamp.wrapping_sub(other) as i32) < 0
}

impl Current {
    fn begin(header: &Header, event: Event, earlier_segments: u32) -> Self {
        let Header { ssrc, timestamp, .. } = *header;
        Self { ssrc, timestamp, code: event.code, earlier_segments, duration: 0, told: false }
    }

    fn noticed(&self) -> Noticed {
        Noticed { code: self.code, duration: self.earlier_segments.saturating_add(u32::from(self.duration)) }
    }
}

#[cfg(test)]
mod tests;
