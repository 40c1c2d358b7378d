//! What a receiver would say of a stream: loss, duplicates, reordering, jitter (RFC 3550 §6.4.1, A.1, A.3, A.8) and the
//! opinion score that follows from them (ITU-T G.107, G.113 appendix I).

use super::path::FastCounts;
use super::rtp::Header;
use crate::base::Instant;
use crate::base::time::Duration;
use serde::{Deserialize, Serialize};

// RFC 3550 A.1.
const DROPOUT_MAX: u16 = 3000;
const MISORDER_MAX: u16 = 100;
const WINDOW: u16 = 64;

/// Counts of one stream so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Packets seen, duplicates included.
    pub packets: u64,
    /// Packets that the sequence numbers say were sent.
    pub expected: u64,
    /// Expected and never seen.
    pub lost: u64,
    /// Seen more than once.
    pub duplicates: u64,
    /// Seen after a later one.
    pub reordered: u64,
    /// Runs of lost packets.
    pub bursts: u64,
    /// Interarrival jitter now.
    pub jitter: Duration,
    /// Its highest value.
    pub jitter_max: Duration,
}

impl Figures {
    /// Lost share, 0.0–1.0.
    #[must_use]
    pub fn loss(&self) -> f64 {
        if self.expected == 0 { 0.0 } else { self.lost as f64 / self.expected as f64 }
    }

    /// G.107 BurstR: how much longer the runs of losses are than chance would make them; 1 for random loss.
    #[must_use]
    pub fn burst_ratio(&self) -> f64 {
        if self.bursts == 0 {
            return 1.0;
        }
        let mean = self.lost as f64 / self.bursts as f64;
        (mean * (1.0 - self.loss())).max(1.0)
    }
}

/// The measurements of one stream; a new source or a jump in the numbers starts a new series within the same figures.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Quality {
    ssrc: u32,
    started: bool,
    highest: u16,
    restart_at: Option<u16>,
    /// Bit `n` says that `highest - n` has been seen.
    seen: u64,
    packets: u64,
    received: u64,
    expected: u64,
    duplicates: u64,
    reordered: u64,
    bursts: u64,
    last_arrival: Instant,
    last_timestamp: u32,
    last_clock_rate: u32,
    jitter_ns: u64,
    jitter_ns_max: u64,
    /// What is left of the jitter that was measured here before a fast path began to measure anew.
    jitter_ns_kept: u64,
}

impl Quality {
    /// Takes one packet. `clock_rate` zero leaves jitter alone: unknown codec, or an event whose timestamp stands still.
    pub fn handle_packet(&mut self, now: Instant, header: &Header, clock_rate: u32) {
        self.packets += 1;
        if !self.started || header.ssrc != self.ssrc {
            self.restart(header);
            self.set_reference(now, header, clock_rate);
            return;
        }
        let ahead = header.sequence.wrapping_sub(self.highest);
        if ahead == 0 {
            self.duplicates += 1;
        } else if ahead < DROPOUT_MAX {
            self.advance(ahead);
            self.highest = header.sequence;
            self.restart_at = None;
            self.time(now, header, clock_rate);
        } else if ahead > u16::MAX - MISORDER_MAX {
            self.fill(ahead.wrapping_neg());
        } else if self.restart_at == Some(header.sequence) {
            // Two in a row from elsewhere: the sender has restarted (RFC 3550 A.1).
            self.restart(header);
            self.received += 1;
            self.expected += 1;
            self.set_reference(now, header, clock_rate);
        } else {
            self.restart_at = Some(header.sequence.wrapping_add(1));
        }
    }

    fn restart(&mut self, header: &Header) {
        self.started = true;
        self.ssrc = header.ssrc;
        self.highest = header.sequence;
        self.restart_at = None;
        self.seen = 1;
        self.received += 1;
        self.expected += 1;
    }

    fn advance(&mut self, ahead: u16) {
        self.seen = if ahead < WINDOW { self.seen << ahead | 1 } else { 1 };
        self.received += 1;
        self.expected += u64::from(ahead);
        self.bursts += u64::from(ahead > 1);
    }

    /// A packet from behind: late, or seen before.
    fn fill(&mut self, behind: u16) {
        if behind >= WINDOW {
            // Too old to tell from a duplicate; it counts as lost, as it would for a listener.
            self.reordered += 1;
            return;
        }
        let bit = 1u64 << behind;
        if self.seen & bit != 0 {
            self.duplicates += 1;
            return;
        }
        self.seen |= bit;
        self.reordered += 1;
        // One from before the first packet seen was never missed.
        if self.received < self.expected {
            self.received += 1;
        }
        let neighbours = bit << 1 | bit >> 1;
        if self.seen & neighbours == neighbours {
            self.bursts = self.bursts.saturating_sub(1);
        }
    }

    /// From now on a fast path measures too, with a jitter of its own that begins at zero.
    pub fn begin_series(&mut self) {
        self.jitter_ns_kept = self.jitter_ns;
    }

    /// Adds what went by a fast path. Numbers are shared by both ways, so that what was expected follows from the highest
    /// of both: a telephone event that came by the socket is no loss below, and a voice packet below none here.
    pub fn take(&mut self, counts: &FastCounts) {
        if counts.packets == 0 {
            return;
        }
        let fresh = counts.packets.saturating_sub(counts.duplicates.into());
        self.packets += counts.packets;
        self.duplicates += u64::from(counts.duplicates);
        self.reordered += u64::from(counts.late);
        self.bursts += u64::from(counts.gaps);
        let jumped = self.highest.wrapping_add(counts.skipped as u16);
        let ahead = counts.highest.wrapping_sub(jumped).cast_signed();
        let (missing, behind) = (i64::from(ahead) - fresh as i64, i64::from(ahead) <= -i64::from(DROPOUT_MAX));
        if missing >= i64::from(DROPOUT_MAX) || behind {
            // The sender began anew where neither way could see it.
            self.expected += fresh;
            self.highest = counts.highest;
            self.seen = u64::MAX;
        } else {
            let ahead = ahead.max(0).cast_unsigned();
            self.expected += u64::from(ahead);
            self.highest = jumped.wrapping_add(ahead);
            self.seen = if ahead < WINDOW { !(u64::MAX << ahead) | self.seen << ahead } else { u64::MAX };
        }
        self.received += fresh;
        // More than were sent: the first below was the last here again, which below nobody could tell.
        let surplus = self.received.saturating_sub(self.expected);
        self.duplicates += surplus;
        self.received -= surplus;
        if self.received == self.expected {
            self.seen = u64::MAX;
        }
        self.restart_at = None;
        // Over a long pause here the sender's clock has drifted from ours.
        self.last_clock_rate = 0;
        self.take_jitter(counts);
    }

    /// A.8 is linear: what was measured before fades by a sixteenth a packet, and what is measured below adds to it.
    fn take_jitter(&mut self, counts: &FastCounts) {
        if counts.jitter_max == Duration::ZERO {
            return;
        }
        let of = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let faded = 0.9375_f64.powf(counts.packets as f64) * self.jitter_ns_kept as f64;
        self.jitter_ns_kept = faded as u64;
        self.jitter_ns = of(counts.jitter).saturating_add(self.jitter_ns_kept);
        self.jitter_ns_max = self.jitter_ns_max.max(of(counts.jitter_max)).max(self.jitter_ns);
    }

    /// RFC 3550 A.8, in nanoseconds, so that a change of codec keeps the figure.
    fn time(&mut self, now: Instant, header: &Header, clock_rate: u32) {
        if clock_rate == 0 {
            return;
        }
        if clock_rate == self.last_clock_rate {
            let arrival = i64::try_from(now.since(self.last_arrival).as_nanos()).unwrap_or(i64::MAX);
            let units = i64::from(header.timestamp.wrapping_sub(self.last_timestamp) as i32);
            let sent = units * 1_000_000_000 / i64::from(clock_rate);
            let difference = arrival.saturating_sub(sent).unsigned_abs();
            self.jitter_ns = self.jitter_ns - self.jitter_ns / 16 + difference / 16;
            self.jitter_ns_max = self.jitter_ns_max.max(self.jitter_ns);
        }
        self.set_reference(now, header, clock_rate);
    }

    fn set_reference(&mut self, now: Instant, header: &Header, clock_rate: u32) {
        self.last_arrival = now;
        self.last_timestamp = header.timestamp;
        self.last_clock_rate = clock_rate;
    }

    /// The source identifier in use.
    #[must_use]
    pub fn ssrc(&self) -> Option<u32> {
        self.started.then_some(self.ssrc)
    }

    /// The counts so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            packets: self.packets,
            expected: self.expected,
            lost: self.expected.saturating_sub(self.received),
            duplicates: self.duplicates,
            reordered: self.reordered,
            // Numbers that went by the other way look like a gap in either.
            bursts: self.bursts.min(self.expected.saturating_sub(self.received)),
            jitter: Duration::from_nanos(self.jitter_ns),
            jitter_max: Duration::from_nanos(self.jitter_ns_max),
        }
    }
}

/// How a codec suffers (ITU-T G.113 appendix I).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impairment {
    /// Ie: without any loss.
    pub equipment: f64,
    /// Bpl: robustness against loss, in percent.
    pub robustness: f64,
}

impl Impairment {
    /// G.711 with concealment; also stands for codecs without a published figure.
    pub const G711: Self = Self { equipment: 0.0, robustness: 25.1 };

    /// For a static payload type.
    #[must_use]
    pub fn of(payload_type: u8) -> Self {
        match payload_type {
            3 => Self { equipment: 20.0, robustness: 10.0 },
            4 => Self { equipment: 15.0, robustness: 16.1 },
            18 => Self { equipment: 11.0, robustness: 19.0 },
            _ => Self::G711,
        }
    }
}

/// The listener's opinion, 1.0–4.5, by the E-model with its default values (R0 − Is = 93.2).
#[must_use]
pub fn opinion_score(figures: &Figures, one_way_delay: Duration, codec: Impairment) -> f64 {
    let loss_percent = figures.loss() * 100.0;
    let effective = codec.equipment
        + (95.0 - codec.equipment) * loss_percent / (loss_percent / figures.burst_ratio() + codec.robustness);
    let rating = 93.2 - delay_impairment(one_way_delay) - effective;
    score_of(rating)
}

/// Delay to the ear: half the round trip, a playout buffer of twice the jitter, and one packet of 20 ms.
#[must_use]
pub fn mouth_to_ear(round_trip: Option<Duration>, jitter: Duration) -> Duration {
    round_trip.unwrap_or_default() / 2 + jitter * 2 + Duration::from_millis(20)
}

/// G.107 (3-27), (3-28): nothing up to 100 ms.
fn delay_impairment(delay: Duration) -> f64 {
    let millis = delay.as_secs_f64() * 1000.0;
    if millis <= 100.0 {
        return 0.0;
    }
    let x = (millis / 100.0).log2();
    let root = |x: f64| (1.0 + x.powi(6)).powf(1.0 / 6.0);
    25.0 * (root(x) - 3.0 * root(x / 3.0) + 2.0)
}

/// G.107 annex B.
fn score_of(rating: f64) -> f64 {
    match rating {
        r if r <= 0.0 => 1.0,
        r if r >= 100.0 => 4.5,
        r => (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0),
    }
}

#[cfg(test)]
mod tests;
