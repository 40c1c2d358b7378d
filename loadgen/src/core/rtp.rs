//! RTP and its verification at the sink. RFC 3550 §5.1, §6.4.1 (jitter), RFC 3551 (8 kHz, 160 octets each 20 ms).
//!
//! By default every packet proves itself: a payload with stream, index, planned total, send time and a checksum. Big endian:
//! 0 magic, 4 clock domain, 8 stream, 16 index, 20 planned total (0 = unknown), 24 send time in nanoseconds, 32 pattern,
//! 156 checksum. It passes any relay that does not transcode. Audio (`audio.rs`) is judged by its sequence numbers, and
//! damage by its frames being known.

use strowger::base::Instant;
use strowger::base::time::Duration;

use super::audio::Frames;
use super::quality::Heard;
use crate::sound::g711::FRAME_LEN;

/// Header and 20 ms of G.711.
pub const PACKET_LEN: usize = 12 + FRAME_LEN;
/// Units of the RTP clock in a second.
pub const CLOCK_HZ: f64 = 8000.0;
/// One packet each.
pub const PERIOD: Duration = Duration::from_millis(20);
const MAGIC: u32 = 0x5354_5257;
/// Recent packets remembered to tell late from twice.
const WINDOW: u64 = 128;
/// Packets on the way when the peer is put on hold may arrive for so long.
const HELD_GRACE: Duration = Duration::from_millis(500);

/// Makes the packets of one direction of one call.
#[derive(Clone, Debug)]
pub struct Source {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    stream: u64,
    /// The next packet begins a talk spurt.
    spurt: bool,
    /// Packets made.
    pub sent: u32,
    /// Packets that will be made; 0 while unknown.
    pub planned: u32,
}

/// What all streams of a run have in common.
#[derive(Clone, Debug, Default)]
pub struct Common {
    /// Names our clock.
    pub domain: u32,
    /// RFC 3551.
    pub payload_type: u8,
    /// Audio instead of the pattern.
    pub frames: Option<std::sync::Arc<Frames>>,
    /// Both ends are ours: nothing but our own packets is sound.
    pub both_ends: bool,
}

impl Source {
    /// `seed` is random; `stream` tells one direction of one call from all others.
    pub fn new(stream: u64, seed: u64) -> Self {
        let (ssrc, sequence) = (seed as u32, (seed >> 32) as u16);
        Self { ssrc, sequence, timestamp: (seed >> 40) as u32, stream, spurt: true, sent: 0, planned: 0 }
    }

    /// After a pause of `pause` since the last packet: a new talk spurt, on the same clock (RFC 3551 §4.1).
    pub fn resume(&mut self, pause: Duration) {
        let units = (pause.as_micros() / 125) as u32;
        self.timestamp = self.timestamp.wrapping_add(units.saturating_sub(FRAME_LEN as u32));
        self.spurt = true;
    }

    /// Writes the next packet.
    pub fn write(&mut self, now: Instant, common: &Common, out: &mut [u8; PACKET_LEN]) {
        out[0] = 0x80;
        out[1] = common.payload_type | if std::mem::take(&mut self.spurt) { 0x80 } else { 0 };
        out[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        out[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        out[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        match &common.frames {
            Some(frames) => out[12..].copy_from_slice(frames.get(self.sent)),
            None => self.write_pattern(now, common.domain, &mut out[12..]),
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(FRAME_LEN as u32);
        self.sent += 1;
    }

    fn write_pattern(&self, now: Instant, domain: u32, payload: &mut [u8]) {
        payload[0..4].copy_from_slice(&MAGIC.to_be_bytes());
        payload[4..8].copy_from_slice(&domain.to_be_bytes());
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
    /// Contents are verified, not only sequence numbers.
    verified: bool,
    /// Numbers are those of the pattern, from zero.
    indexed: bool,
    first: Option<u64>,
    highest: u64,
    window: u128,
    gaps: u64,
    last_transit: Option<i64>,
    jitter: f64,
    delays: (Duration, u32),
    /// The highest packet's arrival, and how many its sender still had to send.
    last: Option<(Instant, u32)>,
    held_since: Option<Instant>,
    resumed: Option<Instant>,
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
    /// Received though the peer was on hold.
    pub while_held: u64,
    /// What the sender says it will send in all; 0 while unknown.
    pub planned: u32,
    /// Packets the sender still had to send, as of its first packet that said so.
    pub remaining: Option<u32>,
}

/// What can be read from one packet.
struct Read {
    stream: u64,
    number: u64,
    planned: u32,
    delay: Option<Duration>,
}

impl Sink {
    /// A packet arrived.
    pub fn handle_packet(&mut self, now: Instant, packet: &[u8], common: &Common) -> Verdict {
        let Some(read) = self.read(now, packet, common) else {
            self.corrupted += 1;
            return Verdict::Corrupted;
        };
        if *self.stream.get_or_insert(read.stream) != read.stream {
            self.misdirected += 1;
            return Verdict::Misdirected;
        }
        let ahead = self.first.is_none() || read.number > self.highest;
        if !self.is_new(read.number) {
            self.duplicates += 1;
            return Verdict::Duplicate;
        }
        self.unique += 1;
        self.while_held += u64::from(self.held_since.is_some_and(|since| now > since + HELD_GRACE));
        if ahead {
            self.resumed = None;
            let remaining = read.planned.saturating_sub(u32::try_from(read.number + 1).unwrap_or(u32::MAX));
            self.planned = read.planned;
            self.last = Some((now, remaining));
            if read.planned != 0 {
                self.remaining.get_or_insert(remaining);
            }
        }
        if let Some(delay) = read.delay {
            self.delays = (self.delays.0 + delay, self.delays.1 + 1);
        }
        self.measure_jitter(now, u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]));
        Verdict::Good(read.delay)
    }

    /// `None` for damage. The first packet decides whether the peer is judged by contents or by sequence numbers only.
    fn read(&mut self, now: Instant, packet: &[u8], common: &Common) -> Option<Read> {
        // RFC 3550 §5.1: version 2; no padding, extension or contributing sources are expected of a call.
        if packet.len() < 12 || packet[0] >> 6 != 2 {
            return None;
        }
        let word = |at: usize| u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]);
        let double = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
        let (known, indexed) = match &common.frames {
            Some(frames) => (frames.contains(&packet[12..]), false),
            None => (packet.len() == PACKET_LEN && word(12) == MAGIC, true),
        };
        if self.stream.is_none() {
            self.verified = common.both_ends || known;
            self.indexed = self.verified && indexed;
        }
        if self.verified && (!known || packet[1] & 0x7f != common.payload_type) || !self.verified && indexed && known {
            return None;
        }
        if !self.indexed {
            let number = self.extend(u16::from_be_bytes([packet[2], packet[3]]));
            return Some(Read { stream: u64::from(word(8)), number, planned: 0, delay: None });
        }
        if word(PACKET_LEN - 4) != checksum(&packet[12..]) {
            return None;
        }
        let delay = (word(16) == common.domain).then(|| now.since(Instant::from_nanos(double(36))));
        Some(Read { stream: double(20), number: u64::from(word(28)), planned: word(32), delay })
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
            (self.first, self.highest, self.window) = (Some(number), number, 1);
            return true;
        }
        if number > self.highest {
            let ahead = number - self.highest;
            self.gaps += u64::from(ahead > 1);
            self.window = if ahead >= WINDOW { 1 } else { self.window << ahead | 1 };
            self.highest = number;
            return true;
        }
        let behind = self.highest - number;
        let bit = 1u128.checked_shl(behind as u32).filter(|_| behind < WINDOW);
        if bit.is_some_and(|bit| self.window & bit != 0) {
            return false;
        }
        if let Some(bit) = bit {
            self.window |= bit;
            let (before, after) = (self.window & bit << 1 != 0, self.window & bit >> 1 != 0);
            match (before, after) {
                (true, true) => self.gaps = self.gaps.saturating_sub(1),
                (false, false) => self.gaps += 1,
                _ => {}
            }
        }
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
        let Some(first) = self.first else { return 0 };
        if self.indexed { self.highest + 1 } else { self.highest.saturating_sub(first) + 1 }
    }

    /// Packets that a later one has overtaken and that have not come.
    pub fn missing(&self) -> u64 {
        self.seen().saturating_sub(self.unique)
    }

    /// The peer is asked to send nothing.
    pub fn hold(&mut self, now: Instant) {
        self.held_since.get_or_insert(now);
    }

    /// The peer is asked to send again.
    pub fn resume(&mut self, now: Instant) {
        if self.held_since.take().is_some() {
            self.resumed = Some(now);
            self.last = None;
        }
    }

    /// The peer was asked to send again at this instant, and nothing has come since.
    pub fn resumed_in_vain(&self) -> Option<Instant> {
        self.resumed
    }

    /// Packets that should have come by `now`: the sender's plan where it has run its course, otherwise the highest seen.
    pub fn expected(&self, now: Instant) -> u64 {
        let seen = self.seen();
        let has_run = self.last.is_some_and(|(at, remaining)| now >= at + PERIOD * remaining);
        if self.planned > 0 && has_run && self.held_since.is_none() { seen.max(self.planned.into()) } else { seen }
    }

    /// What a listener heard by `now`.
    pub fn heard(&self, now: Instant) -> Heard {
        let expected = self.expected(now);
        Heard {
            expected,
            lost: expected.saturating_sub(self.unique),
            gaps: self.gaps,
            delay: if self.delays.1 == 0 { Duration::ZERO } else { self.delays.0 / self.delays.1 },
            jitter: self.jitter(),
        }
    }
}

#[cfg(test)]
mod tests;
