//! RTP whose every packet proves itself at the sink: a PCMU payload with stream, index, planned total, send time and a
//! checksum. RFC 3550 §5.1, §6.4.1 (jitter), RFC 3551 (PCMU = 0, 8 kHz, 160 octets each 20 ms).
//!
//! The payload, big endian: 0 magic, 4 clock domain, 8 stream, 16 index, 20 planned total (0 = unknown), 24 send time in
//! nanoseconds, 32 pattern, 156 checksum. It passes any relay that does not transcode.

use strowger::base::Instant;
use strowger::base::time::Duration;

/// Header and 20 ms of PCMU.
pub const PACKET_LEN: usize = 12 + PAYLOAD_LEN;
const PAYLOAD_LEN: usize = 160;
/// Units of the RTP clock in a second.
pub const CLOCK_HZ: f64 = 8000.0;
/// One packet each.
pub const PERIOD: Duration = Duration::from_millis(20);
const MAGIC: u32 = 0x5354_5257;
/// Recent packets remembered to tell late from twice.
const WINDOW: u64 = 128;

/// Makes the packets of one direction of one call.
#[derive(Clone, Debug)]
pub struct Source {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    stream: u64,
    domain: u32,
    /// Packets made.
    pub sent: u32,
    /// Packets that will be made; 0 while unknown.
    pub planned: u32,
}

impl Source {
    /// `seed` is random; `stream` tells one direction of one call from all others.
    pub fn new(stream: u64, domain: u32, seed: u64) -> Self {
        let (ssrc, sequence) = (seed as u32, (seed >> 32) as u16);
        Self { ssrc, sequence, timestamp: (seed >> 40) as u32, stream, domain, sent: 0, planned: 0 }
    }

    /// Writes the next packet.
    pub fn write(&mut self, now: Instant, out: &mut [u8; PACKET_LEN]) {
        out[0] = 0x80;
        out[1] = if self.sent == 0 { 0x80 } else { 0 }; // RFC 3551 §4.1: marker on the first packet of a talk spurt
        out[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        out[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        out[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        let payload = &mut out[12..];
        payload[0..4].copy_from_slice(&MAGIC.to_be_bytes());
        payload[4..8].copy_from_slice(&self.domain.to_be_bytes());
        payload[8..16].copy_from_slice(&self.stream.to_be_bytes());
        payload[16..20].copy_from_slice(&self.sent.to_be_bytes());
        payload[20..24].copy_from_slice(&self.planned.to_be_bytes());
        payload[24..32].copy_from_slice(&now.as_nanos().to_be_bytes());
        let mut word = self.stream ^ u64::from(self.sent) << 32;
        for chunk in payload[32..156].chunks_mut(8) {
            word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            chunk.copy_from_slice(&word.to_be_bytes()[..chunk.len()]);
        }
        let sum = checksum(payload);
        payload[156..].copy_from_slice(&sum.to_be_bytes());
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(PAYLOAD_LEN as u32);
        self.sent += 1;
    }
}

fn checksum(payload: &[u8]) -> u32 {
    let mut sum = 0xcbf2_9ce4_8422_2325u64;
    for chunk in payload[..156].chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        sum = (sum ^ u64::from_be_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
    (sum ^ (sum >> 32)) as u32
}

/// What one packet turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// New and sound; the delay where sender and sink share a clock.
    Good(Option<Duration>),
    /// Seen before.
    Duplicate,
    /// Neither RTP of ours nor of a plain peer.
    Corrupted,
    /// Sound, but of another stream: a packet gone astray.
    Misdirected,
}

/// Verifies the packets of one direction of one call.
#[derive(Clone, Debug, Default)]
pub struct Sink {
    stream: Option<u64>,
    ours: bool,
    first: Option<(Instant, u64)>,
    highest: u64,
    window: u128,
    last_transit: Option<i64>,
    jitter: f64,
    /// Packets received for the first time.
    pub unique: u64,
    /// Received again.
    pub duplicates: u64,
    /// Received after a later one.
    pub reordered: u64,
    /// Failed verification.
    pub corrupted: u64,
    /// Of another stream.
    pub misdirected: u64,
    /// What the sender says it will send in all; 0 while unknown.
    pub planned: u32,
    /// Packets the sender still had to send, as of its first packet that said so.
    pub remaining: Option<u32>,
}

impl Sink {
    /// A packet arrived.
    pub fn handle_packet(&mut self, now: Instant, packet: &[u8], domain: u32) -> Verdict {
        // RFC 3550 §5.1: version 2; no padding, extension or contributing sources are expected of a call.
        if packet.len() < 12 || packet[0] >> 6 != 2 {
            self.corrupted += 1;
            return Verdict::Corrupted;
        }
        let word = |at: usize| u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]);
        let double = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
        let ours = packet.len() == PACKET_LEN && word(12) == MAGIC;
        let (stream, number, mut delay) = if ours {
            if word(PACKET_LEN - 4) != checksum(&packet[12..]) || packet[1] & 0x7f != 0 {
                self.corrupted += 1;
                return Verdict::Corrupted;
            }
            let delay = (word(16) == domain).then(|| now.since(Instant::from_nanos(double(36))));
            (double(20), u64::from(word(28)), delay)
        } else {
            (u64::from(word(8)), self.extend(u16::from_be_bytes([packet[2], packet[3]])), None)
        };
        if self.stream.is_none() {
            (self.stream, self.ours) = (Some(stream), ours);
        }
        if ours != self.ours {
            self.corrupted += 1;
            return Verdict::Corrupted;
        }
        if self.stream != Some(stream) {
            self.misdirected += 1;
            return Verdict::Misdirected;
        }
        if ours && word(32) != 0 {
            self.planned = word(32);
            self.remaining = self.remaining.or(Some(word(32).saturating_sub(word(28) + 1)));
        }
        if !self.is_new(number) {
            self.duplicates += 1;
            return Verdict::Duplicate;
        }
        self.unique += 1;
        self.first.get_or_insert((now, number));
        self.measure_jitter(now, word(4));
        Verdict::Good(delay.take())
    }

    /// RFC 3550 appendix A.1: the 16-bit number nearest to the highest so far.
    fn extend(&self, sequence: u16) -> u64 {
        if self.stream.is_none() {
            return 0x1_0000 + u64::from(sequence);
        }
        let step = i64::from(sequence.wrapping_sub(self.highest as u16) as i16);
        self.highest.saturating_add_signed(step)
    }

    fn is_new(&mut self, number: u64) -> bool {
        if self.first.is_none() {
            (self.highest, self.window) = (number, 1);
            return true;
        }
        if number > self.highest {
            let ahead = number - self.highest;
            self.window = if ahead >= WINDOW { 1 } else { self.window << ahead | 1 };
            self.highest = number;
            return true;
        }
        let behind = self.highest - number;
        let bit = 1u128.checked_shl(behind as u32).filter(|_| behind < WINDOW);
        if bit.is_some_and(|bit| self.window & bit != 0) {
            return false;
        }
        self.window |= bit.unwrap_or(0);
        self.reordered += 1;
        true
    }

    fn measure_jitter(&mut self, now: Instant, timestamp: u32) {
        let arrival = (now.as_nanos() / 125_000) as u32; // in units of 1/8000 s
        let transit = i64::from(arrival.wrapping_sub(timestamp) as i32);
        if let Some(last) = self.last_transit.replace(transit) {
            let step = (transit - last).unsigned_abs() as f64;
            self.jitter += (step - self.jitter) / 16.0;
        }
    }

    /// Interarrival jitter now.
    pub fn jitter(&self) -> Duration {
        Duration::from_secs_f64(self.jitter / CLOCK_HZ)
    }

    /// The same in units of the RTP clock.
    pub fn jitter_units(&self) -> f64 {
        self.jitter
    }

    /// Packets up to the highest that came.
    fn seen(&self) -> u64 {
        let Some((_, first)) = self.first else { return 0 };
        if self.ours { self.highest + 1 } else { self.highest.saturating_sub(first) + 1 }
    }

    /// Packets that a later one has overtaken and that have not come.
    pub fn missing(&self) -> u64 {
        self.seen().saturating_sub(self.unique)
    }

    /// Packets that should have come by `now`: the sender's plan where it has run its course, otherwise the highest seen.
    pub fn expected(&self, now: Instant) -> u64 {
        let Some((at, first)) = self.first else { return 0 };
        let seen = self.seen();
        let planned = u64::from(self.planned);
        let periods = u32::try_from(planned.saturating_sub(first)).unwrap_or(u32::MAX);
        if planned > 0 && now >= at + PERIOD * periods { planned.max(seen) } else { seen }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(count: u32, planned: u32) -> Vec<[u8; PACKET_LEN]> {
        let mut source = Source { planned, ..Source::new(77, 5, 0xffff_fffe_1234_5678) };
        (0..count)
            .map(|index| {
                let mut out = [0; PACKET_LEN];
                source.write(Instant::from_millis(u64::from(index) * 20), &mut out);
                out
            })
            .collect()
    }

    fn at(index: u64) -> Instant {
        Instant::from_millis(index * 20 + 3)
    }

    #[test]
    fn loss_at_the_end_is_seen_once_the_plan_has_run() {
        let mut sink = Sink::default();
        for (index, packet) in packets(10, 10).iter().enumerate().filter(|(index, _)| !matches!(index, 4 | 9)) {
            let verdict = sink.handle_packet(at(index as u64), packet, 5);
            assert_eq!(verdict, Verdict::Good(Some(Duration::from_millis(3))));
        }
        assert_eq!((sink.unique, sink.expected(at(8)), sink.expected(at(11))), (8, 9, 10));
        assert_eq!(sink.missing(), 1, "the last one may still come");
        assert!(sink.jitter() < Duration::from_micros(200));
    }

    #[test]
    fn duplicates_reordering_corruption_and_strays_are_told_apart() {
        let sent = packets(6, 0);
        let mut sink = Sink::default();
        for index in [0, 2, 1, 1, 5, 3] {
            sink.handle_packet(at(index), &sent[index as usize], 6);
        }
        assert_eq!((sink.unique, sink.duplicates, sink.reordered, sink.expected(at(9))), (5, 1, 2, 6));
        for byte in 12..PACKET_LEN {
            let mut broken = sent[4];
            broken[byte] ^= 1;
            assert_eq!(sink.handle_packet(at(4), &broken, 6), Verdict::Corrupted, "octet {byte}");
        }
        let mut stray = [0; PACKET_LEN];
        Source::new(78, 6, 1).write(at(0), &mut stray);
        assert_eq!(sink.handle_packet(at(4), &stray, 6), Verdict::Misdirected);
        assert_eq!(sink.handle_packet(at(4), &sent[4], 6), Verdict::Good(None));
        assert_eq!(sink.handle_packet(at(4), &[0x80], 6), Verdict::Corrupted);
    }

    #[test]
    fn a_plain_peer_is_counted_by_its_sequence_numbers() {
        let mut sink = Sink::default();
        for sequence in [65534u16, 65535, 1, 0, 2] {
            let mut packet = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0xff, 0xff];
            packet[2..4].copy_from_slice(&sequence.to_be_bytes());
            assert!(matches!(sink.handle_packet(at(0), &packet, 5), Verdict::Good(None)));
        }
        assert_eq!((sink.unique, sink.reordered, sink.expected(at(9))), (5, 1, 5));
    }
}
