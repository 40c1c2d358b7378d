//! The way down into the kernel and up again, as values: the relay asks, the worker passes on, whoever owns the fast path
//! (`xdp`, or a model of it in tests) does it. What a rule does to a packet is [`apply`](super::relay::apply)'s business:
//! a fast path does the same to what it takes and leaves everything else to the sockets.

use crate::base::time::Duration;
use crate::base::{Instant, SocketKey};
use std::net::SocketAddr;

/// What the relay asks of the fast path. Every key is that of a pair's RTP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathRequest {
    /// The pair is in use: its packets go up to the sockets.
    Opened {
        /// The pair.
        key: SocketKey,
    },
    /// Nobody has the pair: what comes to it is dropped in the kernel.
    Closed {
        /// The pair.
        key: SocketKey,
    },
    /// The pair's stream is settled: relay it in the kernel.
    Down {
        /// The pair.
        key: SocketKey,
        /// What to relay, and how.
        rule: FastRule,
    },
    /// Back to the sockets, at once.
    Up {
        /// The pair.
        key: SocketKey,
    },
}

/// What the fast path needs to know of one side of a settled stream. All three addresses are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FastRule {
    /// The only source that matches.
    pub source: SocketAddr,
    /// The far party.
    pub to: SocketAddr,
    /// Our address and port that packets leave by: those of the far side's RTP socket.
    pub from: SocketAddr,
    /// The only synchronisation source that matches.
    pub ssrc: u32,
    /// The only payload type that matches.
    pub payload_type: u8,
    /// Of the payload type, in hertz; zero leaves jitter alone.
    pub clock_rate: u32,
    /// Of what we send, 0–63.
    pub dscp: u8,
}

/// What went by the fast path since the last reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FastCounts {
    /// Packets relayed.
    pub packets: u64,
    /// Their octets, headers of RTP included and nothing below them.
    pub bytes: u64,
    /// When the last one came.
    pub last: Option<Instant>,
    /// The highest sequence number. Absolute.
    pub highest: u16,
    /// Packets whose number is the highest seen.
    pub duplicates: u32,
    /// Packets from behind the highest: late, or repeated later than the next.
    pub late: u32,
    /// Runs of missing numbers.
    pub gaps: u32,
    /// Numbers leapt over that were not lost: the sum of jumps too wide to be loss (RFC 3550 A.1).
    pub skipped: u32,
    /// Interarrival jitter now. Absolute.
    pub jitter: Duration,
    /// Its highest value. Absolute.
    pub jitter_max: Duration,
}

/// What a sweep has to say of one pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swept {
    /// Packets went by since the last sweep.
    Counts(FastCounts),
    /// The stream is not in the kernel: no known neighbour, no room. It stays on the sockets until asked for again.
    Refused,
}

/// The fast path of one shard.
pub trait FastPath: Send {
    /// Does what the relay asks. An [`Up`](PathRequest::Up) or [`Closed`](PathRequest::Closed) that follows a
    /// [`Down`](PathRequest::Down) leaves its last counts to the next sweep.
    fn apply(&mut self, now: Instant, request: PathRequest);

    /// Keeps installed rules alive for another while, and reports what has gone by.
    fn sweep(&mut self, now: Instant, report: &mut dyn FnMut(SocketKey, Swept));

    /// `"xdp"` or `"xdp-generic"`, as in metric labels.
    fn name(&self) -> &'static str;
}
