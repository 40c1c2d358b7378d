//! The far end of an RTP stream: says whether what was sent is what arrived (RFC 3550), by sequence, SSRC and a
//! payload that is a function of both.

use crate::base::Instant;
use crate::base::time::Duration;
use arrayvec::ArrayVec;

/// Bytes of a header without contributing sources.
pub const HEADER_BYTES: usize = 12;
/// 20 ms of G.711.
pub const PAYLOAD_BYTES: usize = 160;
/// Different SSRCs followed at one sink.
const SOURCES_MAX: usize = 8;
/// Most digits kept.
const DIGITS_MAX: usize = 64;

/// What came of one sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Its SSRC.
    pub ssrc: u32,
    /// Packets, each counted once.
    pub received: u64,
    /// Missing between the first and the highest sequence number seen.
    pub lost: u64,
    /// Seen again.
    pub duplicated: u64,
    /// Behind a later one.
    pub reordered: u64,
    first: u64,
    highest: u64,
    window: u128,
}

impl Source {
    fn new(ssrc: u32, sequence: u16) -> Self {
        let first = (1 << 16) | u64::from(sequence);
        Self { ssrc, received: 1, first, highest: first, window: 1, ..Self::default() }
    }

    fn note(&mut self, sequence: u16) {
        let ahead = sequence.wrapping_sub(self.highest as u16) as i16;
        let number = self.highest.wrapping_add_signed(i64::from(ahead));
        if ahead > 0 {
            self.window = self.window.checked_shl(u32::from(ahead.unsigned_abs())).unwrap_or(0) | 1;
            self.highest = number;
            self.received += 1;
        } else {
            let behind = u32::from(ahead.unsigned_abs());
            let bit = 1u128.checked_shl(behind).unwrap_or(0);
            if self.window & bit != 0 || bit == 0 {
                self.duplicated += 1;
            } else {
                self.window |= bit;
                self.received += 1;
                self.reordered += 1;
                self.first = self.first.min(number);
            }
        }
        self.lost = (self.highest - self.first + 1).saturating_sub(self.received);
    }
}

/// Verifies what arrives on one media port.
#[derive(Clone, Debug, Default)]
pub struct Sink {
    /// Per SSRC, in order of appearance.
    pub sources: ArrayVec<Source, SOURCES_MAX>,
    /// Packets that are not RTP, or whose payload is not what its sender writes.
    pub corrupt: u64,
    /// RFC 4733 digits, each once.
    pub digits: ArrayVec<u8, DIGITS_MAX>,
    event_timestamp: Option<u32>,
}

impl Sink {
    /// Takes a packet; answers how long it travelled.
    pub fn take(&mut self, now: Instant, packet: &[u8], events: &[u8]) -> Option<Duration> {
        let Some((header, payload)) = packet.split_first_chunk::<HEADER_BYTES>() else {
            self.corrupt += 1;
            return None;
        };
        let sequence = u16::from_be_bytes([header[2], header[3]]);
        let timestamp = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let ssrc = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        let kind = header[1] & 0x7f;
        let is_event = events.contains(&kind) && payload.len() == 4;
        if header[0] != 0x80 || !(is_event || verify(ssrc, sequence, payload)) {
            self.corrupt += 1;
            return None;
        }
        match self.sources.iter_mut().find(|source| source.ssrc == ssrc) {
            Some(source) => source.note(sequence),
            None => self.corrupt += u64::from(self.sources.try_push(Source::new(ssrc, sequence)).is_err()),
        }
        if is_event {
            if self.event_timestamp != Some(timestamp) {
                self.event_timestamp = Some(timestamp);
                let digit = *b"0123456789*#ABCD".get(usize::from(payload[0])).unwrap_or(&b'?');
                let _ = self.digits.try_push(digit);
            }
            return None;
        }
        let stamp = payload.first_chunk::<8>().map(|stamp| u64::from_be_bytes(*stamp))?;
        Some(now.since(Instant::from_nanos(stamp)))
    }

    /// Packets of all sources, each counted once.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.sources.iter().map(|source| source.received).sum()
    }
}

fn pattern(ssrc: u32, sequence: u16) -> impl Iterator<Item = u8> {
    let mut state = (u64::from(ssrc) << 16 | u64::from(sequence)) | 1 << 63;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
}

/// The payload of one packet: when it was due, then bytes that only this SSRC and sequence number give.
pub fn fill(ssrc: u32, sequence: u16, due: Instant, payload: &mut [u8; PAYLOAD_BYTES]) {
    let (stamp, rest) = payload.split_at_mut(8);
    stamp.copy_from_slice(&due.as_nanos().to_be_bytes());
    for (byte, value) in rest.iter_mut().zip(pattern(ssrc, sequence)) {
        *byte = value;
    }
}

fn verify(ssrc: u32, sequence: u16, payload: &[u8]) -> bool {
    payload.len() == PAYLOAD_BYTES && payload[8..].iter().copied().eq(pattern(ssrc, sequence).take(PAYLOAD_BYTES - 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(ssrc: u32, sequence: u16) -> Vec<u8> {
        let mut payload = [0; PAYLOAD_BYTES];
        fill(ssrc, sequence, Instant::from_millis(5), &mut payload);
        let mut out = vec![0x80, 0];
        out.extend_from_slice(&sequence.to_be_bytes());
        out.extend_from_slice(&0u32.to_be_bytes());
        out.extend_from_slice(&ssrc.to_be_bytes());
        out.extend_from_slice(&payload);
        out
    }

    #[test]
    fn loss_duplication_reordering_and_damage_are_told_apart() {
        let mut sink = Sink::default();
        for sequence in [65_534, 65_535, 1, 0, 0, 4] {
            assert_eq!(sink.take(Instant::from_millis(9), &packet(7, sequence), &[]), Some(Duration::from_millis(4)));
        }
        let source = sink.sources[0];
        assert_eq!((source.received, source.lost, source.duplicated, source.reordered), (5, 2, 1, 1));
        let mut damaged = packet(7, 5);
        damaged[100] ^= 1;
        assert_eq!(sink.take(Instant::ZERO, &damaged, &[]), None);
        sink.take(Instant::ZERO, &packet(8, 5), &[]);
        sink.take(Instant::ZERO, &[0; 3], &[]);
        assert_eq!((sink.corrupt, sink.sources.len(), sink.received()), (2, 2, 6));
    }
}
