//! The way down into the kernel and up again, as values, and the trait of whoever does it (`xdp`, or a model of it in
//! tests).
//!
//! Owned by the [`Relay`](super::Relay), which alone decides who goes by which way: a stream's side is moved *down* once
//! its rule has stood for a while, and *up*, at once, before anything about it changes. What a rule does to a packet is
//! [`apply`](super::relay::apply)'s business: a fast path does the same to what it takes and leaves everything else of an
//! open port to the sockets.

use crate::base::time::Duration;
use crate::base::{Instant, SocketKey};
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};

/// How long a rule stands unchanged before it is moved down. Also the least time between two rules of one port, so that
/// no reader in the kernel can still be at the first while the second is written.
pub const SETTLE: Duration = Duration::from_millis(100);
/// How often what is down is read, and its deadlines put off.
pub const SWEEP: Duration = Duration::from_millis(500);
/// How long a side stays on its socket after the fast path has refused it.
pub const REFUSED_REST: Duration = Duration::from_millis(900);

/// What the relay asks of the fast path. Every key is that of a pair's RTP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathRequest {
    /// The pair is in use, or somebody else's: its packets go up to the sockets.
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
    /// The process before has put this pair's rule in, and left it: from now on it is kept alive, read and taken up here.
    Adopted {
        /// The pair.
        key: SocketKey,
        /// The far party.
        to: IpAddr,
        /// As far as the process before has read.
        mark: Mark,
    },
}

/// How far a pair's counters have been read. They count for ever, modulo their width.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Packets relayed.
    pub packets: u32,
    /// Their octets.
    pub octets: u32,
    /// As in [`FastCounts`].
    pub duplicates: u32,
    /// As in [`FastCounts`].
    pub late: u32,
    /// As in [`FastCounts`].
    pub gaps: u32,
    /// As in [`FastCounts`].
    pub skipped: u32,
}

/// Where settled streams wait while their process changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Waiting {
    /// Everything comes up: the next process has another fast path, or none.
    #[default]
    OnSockets,
    /// What is down stays down, and its packets are relayed meanwhile: the next process has the same fast path.
    Below,
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
    /// Packets went by since the last reading.
    Counts(FastCounts),
    /// The stream is not in the kernel any more: its device went away. It stays on the sockets until asked for again.
    Refused,
}

/// What a fast path did with packets that no rule of ours covered, since it was started, for the whole node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathTotals {
    /// Dropped: to a pair that nobody has.
    pub closed: u64,
    /// Dropped: from a blocked source.
    pub blocked: u64,
    /// Passed up, by [`PassReason::index`].
    pub passed: [u64; PassReason::ALL.len()],
}

/// Why a packet for one of our media ports was passed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassReason {
    /// The port is open and has no rule.
    Open,
    /// From elsewhere.
    Source,
    /// RTCP, DTLS, rubbish.
    NotRtp,
    /// Another source identifier or payload type: a telephone event, comfort noise.
    Unexpected,
    /// The rule's deadline had passed.
    Expired,
    /// The way to the far party is not known now.
    NoHop,
    /// Larger than what the way out carries.
    TooBig,
    /// A fragment, IP options, IPv6 extensions.
    Odd,
    /// The rule was being written.
    Torn,
}

impl PassReason {
    /// All of them, for counters.
    pub const ALL: [Self; 9] = [
        Self::Open,
        Self::Source,
        Self::NotRtp,
        Self::Unexpected,
        Self::Expired,
        Self::NoHop,
        Self::TooBig,
        Self::Odd,
        Self::Torn,
    ];

    /// The place in [`ALL`](Self::ALL).
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The label of a counter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Source => "source",
            Self::NotRtp => "not_rtp",
            Self::Unexpected => "unexpected",
            Self::Expired => "expired",
            Self::NoHop => "no_hop",
            Self::TooBig => "too_big",
            Self::Odd => "odd",
            Self::Torn => "torn",
        }
    }
}

/// The fast path of one shard. What is down stays down only while it is swept: each rule carries a deadline that
/// [`sweep`](Self::sweep) puts off, so that a process that has died relays nothing for long. Dropping it ends every rule.
pub trait FastPath: Send + Debug {
    /// `"xdp"` or `"xdp-generic"`, as in metric labels.
    fn name(&self) -> &'static str;

    /// Does what the relay asks. False refuses a [`Down`](PathRequest::Down): no known neighbour, no room; it is asked
    /// again later. Nothing else is ever refused.
    fn apply(&mut self, now: Instant, request: PathRequest) -> bool;

    /// What has gone by here since the last reading; after an [`Up`](PathRequest::Up) the rest, so that a call's record is
    /// whole when it ends.
    fn read(&mut self, now: Instant, key: SocketKey) -> FastCounts;

    /// How far this pair has been read, for a process that goes on with the same rules.
    fn mark(&self, key: SocketKey) -> Mark;

    /// Keeps installed rules alive for another while, and reports what has gone by.
    fn sweep(&mut self, now: Instant, report: &mut dyn FnMut(SocketKey, Swept));

    /// Drops UDP from this source until then, but what a rule covers.
    fn block(&mut self, now: Instant, source: IpAddr, until: Instant) {
        let _ = (now, source, until);
    }

    /// The node's totals. Only one of the shards' paths says them, so that they are counted once.
    fn totals(&mut self) -> Option<PathTotals> {
        None
    }
}
