//! One call's audio: 20 ms of PCMU at a time, digits by RFC 4733, and the sink that verifies the other direction.

use super::offer::{EVENT_PAYLOAD_TYPE, Media};
use super::sink::{self, HEADER_BYTES, PAYLOAD_BYTES, Sink};
use crate::base::Instant;
use crate::base::time::Duration;
use arrayvec::ArrayVec;
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Time between packets.
pub const PACKET_TIME: Duration = Duration::from_millis(20);
const SAMPLES: u32 = 160;
/// Packets of a digit that is held down, then the end said three times (RFC 4733 §2.5.1.4).
const DIGIT_PACKETS: u16 = 5;
const DIGIT_END_PACKETS: u16 = 3;
/// Audio between two digits.
const DIGIT_GAP_PACKETS: u16 = 4;
/// Digits waiting to be sent.
const DIGITS_MAX: usize = 64;

/// What became of a call's media.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// RTP packets sent.
    pub sent: u64,
    /// RTP packets received, each counted once.
    pub received: u64,
    /// Gaps seen in the sequence numbers.
    pub lost: u64,
    /// Packets that came again.
    pub duplicated: u64,
    /// Packets behind a later one.
    pub reordered: u64,
    /// Not what its sender wrote.
    pub corrupt: u64,
    /// Our SSRC.
    pub ssrc: u32,
    /// The SSRCs heard.
    pub heard: Vec<u32>,
    /// Digits heard.
    pub digits: String,
    /// RTCP packets sent and received.
    pub rtcp: (u64, u64),
}

/// Both directions of a call's audio.
#[derive(Debug)]
pub struct Audio {
    /// Our RTP port; RTCP is the next.
    pub port: u16,
    /// When the next packet is due, while sending.
    pub due: Option<Instant>,
    remote: Option<SocketAddr>,
    rtcp_remote: Option<SocketAddr>,
    format: u8,
    event: Option<u8>,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    digits: VecDeque<u8>,
    digit: Option<(u8, u32, u16)>,
    gap: u16,
    sent: u64,
    rtcp: (u64, u64),
    sink: Sink,
}

impl Audio {
    /// Silent until told where to send.
    #[must_use]
    pub fn new(port: u16, ssrc: u32, sequence: u16, timestamp: u32) -> Self {
        Self {
            port,
            due: None,
            remote: None,
            rtcp_remote: None,
            format: 0,
            event: None,
            ssrc,
            sequence,
            timestamp,
            marker: true,
            digits: VecDeque::new(),
            digit: None,
            gap: 0,
            sent: 0,
            rtcp: (0, 0),
            sink: Sink::default(),
        }
    }

    /// Takes the peer's description; the peer's payload types are the ones it wants to hear (RFC 3264 §5.1).
    pub fn set_remote(&mut self, media: &Media, formats: &[u8]) {
        self.remote = media.rtp();
        self.rtcp_remote = media.rtcp();
        self.event = media.event;
        if let Some(format) = media.formats.iter().copied().find(|format| formats.contains(format)) {
            self.format = format;
        }
    }

    /// True once the peer has said where it listens.
    #[must_use]
    pub fn has_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// Queues digits; unknown ones and those beyond the bound are dropped.
    pub fn dial(&mut self, digits: &str) {
        for digit in digits.bytes() {
            let code = b"0123456789*#ABCD".iter().position(|known| *known == digit.to_ascii_uppercase());
            if let Some(code) = code.filter(|_| self.digits.len() < DIGITS_MAX) {
                self.digits.push_back(code as u8);
            }
        }
    }

    /// True while digits wait or are being sent.
    #[cfg(test)]
    pub fn is_dialling(&self) -> bool {
        !self.digits.is_empty() || self.digit.is_some()
    }

    /// The packet due at `due`, and where to.
    pub fn packet(&mut self, due: Instant) -> Option<(SocketAddr, Bytes)> {
        let remote = self.remote?;
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(SAMPLES);
        self.begin_digit();
        let mut out = ArrayVec::<u8, { HEADER_BYTES + PAYLOAD_BYTES }>::new();
        let (format, timestamp) = match (self.digit, self.event) {
            (Some((_, start, _)), Some(event)) => (event, start),
            _ => (self.format, self.timestamp),
        };
        out.extend([0x80, format | u8::from(std::mem::take(&mut self.marker)) << 7]);
        out.extend(self.sequence.to_be_bytes());
        out.extend(timestamp.to_be_bytes());
        out.extend(self.ssrc.to_be_bytes());
        if let Some((code, start, number)) = self.digit.filter(|_| self.event.is_some()) {
            let duration = (number.min(DIGIT_PACKETS)) * SAMPLES as u16;
            let end = number > DIGIT_PACKETS;
            out.extend([code, 10 | u8::from(end) << 7]);
            out.extend(duration.to_be_bytes());
            let last = number == DIGIT_PACKETS + DIGIT_END_PACKETS;
            self.digit = if last { None } else { Some((code, start, number + 1)) };
            self.gap = if last { DIGIT_GAP_PACKETS } else { 0 };
        } else {
            let mut payload = [0; PAYLOAD_BYTES];
            sink::fill(self.ssrc, self.sequence, due, &mut payload);
            out.extend(payload);
            self.gap = self.gap.saturating_sub(1);
        }
        self.sent += 1;
        Some((remote, Bytes::copy_from_slice(&out)))
    }

    fn begin_digit(&mut self) {
        if self.digit.is_none()
            && self.gap == 0
            && self.event.is_some()
            && let Some(code) = self.digits.pop_front()
        {
            self.digit = Some((code, self.timestamp, 1));
            self.marker = true;
        }
    }

    /// A sender report without blocks (RFC 3550 §6.4.1), and where to.
    pub fn rtcp_packet(&mut self, now: Instant) -> Option<(SocketAddr, Bytes)> {
        let remote = self.rtcp_remote?;
        let mut out = Vec::with_capacity(28);
        out.extend([0x80, 200, 0, 6]);
        out.extend(self.ssrc.to_be_bytes());
        out.extend(now.as_nanos().to_be_bytes());
        out.extend(self.timestamp.to_be_bytes());
        out.extend((self.sent as u32).to_be_bytes());
        out.extend((self.sent as u32).wrapping_mul(SAMPLES).to_be_bytes());
        self.rtcp.0 += 1;
        Some((remote, Bytes::from(out)))
    }

    /// Takes an RTP packet; answers how long it travelled.
    pub fn take(&mut self, now: Instant, packet: &[u8]) -> Option<Duration> {
        self.sink.take(now, packet, &[EVENT_PAYLOAD_TYPE, self.event.unwrap_or(EVENT_PAYLOAD_TYPE)])
    }

    /// Takes an RTCP packet.
    pub fn take_rtcp(&mut self, packet: &[u8]) {
        let looks_right = packet.len() >= 8 && packet[0] >> 6 == 2 && (200..=207).contains(&packet[1]);
        self.rtcp.1 += u64::from(looks_right);
        self.sink.corrupt += u64::from(!looks_right);
    }

    /// What has come of it so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let sum = |pick: fn(&sink::Source) -> u64| self.sink.sources.iter().map(pick).sum();
        Report {
            sent: self.sent,
            received: self.sink.received(),
            lost: sum(|source| source.lost),
            duplicated: sum(|source| source.duplicated),
            reordered: sum(|source| source.reordered),
            corrupt: self.sink.corrupt,
            ssrc: self.ssrc,
            heard: self.sink.sources.iter().map(|source| source.ssrc).collect(),
            digits: String::from_utf8_lossy(&self.sink.digits).into_owned(),
            rtcp: self.rtcp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::offer::Description;
    use super::*;

    #[test]
    fn digits_arrive_once_each_among_audio() {
        let body = super::super::offer::write(
            super::super::offer::Own {
                name: "b",
                id: 1,
                version: 1,
                rtp: "127.0.0.1:4000".parse().unwrap(),
                direction: Default::default(),
            },
            &[0],
            None,
        );
        let description = Description::parse(&body).unwrap();
        let (mut a, mut b) = (Audio::new(2000, 7, 65_530, 0), Audio::new(4000, 8, 0, 0));
        a.set_remote(description.audio().unwrap(), &[0]);
        a.dial("1 1#");
        for tick in 0..60u64 {
            let now = Instant::from_millis(20 * tick);
            let (to, packet) = a.packet(now).unwrap();
            assert_eq!(to.port(), 4000);
            b.take(now, &packet);
        }
        let report = b.report();
        assert_eq!((report.digits.as_str(), report.received, report.lost, report.corrupt), ("11#", 60, 0, 0));
        assert!(!a.is_dialling());
    }
}
