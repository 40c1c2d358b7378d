//! What the relay tells: events while a stream runs, a report when it ends, requests for sockets, counts for metrics.

use super::options::StreamKind;
use super::path::FastCounts;
use super::relay::DropReason;
use crate::base::time::Duration;
use crate::base::{Side, Slot, SocketKey};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Names one open stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StreamSlot(pub Slot);

/// Something worth telling the call. `owner` is what [`StreamOptions`](super::StreamOptions) said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaEvent {
    /// Neither side has sent anything for the silent timeout. The call goes on while another of its streams
    /// [is alive](super::Relay::is_alive).
    Silent {
        /// The stream.
        slot: StreamSlot,
        /// Its call.
        owner: Slot,
    },
    /// One side should send and does not, while the other does.
    OneWay {
        /// The stream.
        slot: StreamSlot,
        /// Its call.
        owner: Slot,
        /// Who does not send.
        silent_side: Side,
    },
    /// The silent side of a [`OneWay`](Self::OneWay) sends again.
    Recovered {
        /// The stream.
        slot: StreamSlot,
        /// Its call.
        owner: Slot,
        /// Who sends again.
        side: Side,
    },
    /// A key was pressed.
    Dtmf {
        /// The stream.
        slot: StreamSlot,
        /// Its call.
        owner: Slot,
        /// Who pressed.
        side: Side,
        /// `0`–`9`, `*`, `#`, `A`–`D`. Not for logs.
        digit: char,
        /// How long.
        duration: Duration,
    },
    /// A side's source has been verified.
    Settled {
        /// The stream.
        slot: StreamSlot,
        /// Its call.
        owner: Slot,
        /// Whose.
        side: Side,
    },
    /// A port of this stream could not be opened.
    Failed {
        /// The stream.
        slot: StreamSlot,
        /// Its call.
        owner: Slot,
    },
}

impl MediaEvent {
    /// The stream and the call it belongs to.
    #[must_use]
    pub const fn subject(&self) -> (StreamSlot, Slot) {
        match *self {
            Self::Silent { slot, owner }
            | Self::OneWay { slot, owner, .. }
            | Self::Recovered { slot, owner, .. }
            | Self::Dtmf { slot, owner, .. }
            | Self::Settled { slot, owner, .. }
            | Self::Failed { slot, owner } => (slot, owner),
        }
    }
}

/// What the driver shall do. Sockets of released ports stay open: strays are counted, and the next call finds them ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocketRequest {
    /// Bind a UDP socket; asked once per port.
    Open {
        /// Its name.
        key: SocketKey,
        /// Where.
        bind: SocketAddr,
        /// Its DSCP, 0–63.
        dscp: u8,
    },
    /// Change the DSCP of an open one.
    SetDscp {
        /// Its name.
        key: SocketKey,
        /// 0–63.
        dscp: u8,
    },
}

/// By which way packets are relayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// Through our sockets.
    #[default]
    Socket,
    /// By the fast path.
    Below,
}

/// One side of a stream: what this side sent us, as its listener would judge it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SideReport {
    /// RTP packets from this side.
    pub packets: u64,
    /// Their octets.
    pub bytes: u64,
    /// RTP packets that went on to the far side.
    pub forwarded: u64,
    /// Those of them that a fast path relayed.
    pub packets_below: u64,
    /// By which way its voice goes now.
    pub way: Way,
    /// RTCP packets from this side.
    pub rtcp_packets: u64,
    /// Packets that its numbers say it sent.
    pub expected: u64,
    /// Lost on the way to us.
    pub lost: u64,
    /// Came twice.
    pub duplicates: u64,
    /// Came late.
    pub reordered: u64,
    /// Interarrival jitter at the end, milliseconds.
    pub jitter_ms: f64,
    /// Its highest value.
    pub jitter_ms_max: f64,
    /// Round trip to this side by RTCP, milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Estimated opinion score, 1.0–4.5; none without audio.
    pub mos: Option<f64>,
    /// DSCP of what we sent to this side.
    pub dscp: u8,
    /// Packets from elsewhere to this side's ports.
    pub strays: u64,
    /// It was silent when it should have sent, while the other did.
    pub one_way: bool,
    /// Keys pressed.
    pub digits: u32,
    /// The last payload type.
    pub payload_type: Option<u8>,
    /// The last source identifier.
    pub ssrc: Option<u32>,
    /// Where signalling said it is.
    pub signalled: Option<SocketAddr>,
    /// Where it was found.
    pub source: Option<SocketAddr>,
}

/// A stream, when it ends or while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamReport {
    /// What ran in it.
    pub kind: StreamKind,
    /// The call it belonged to.
    pub owner: Slot,
    /// Since it was opened.
    pub duration: Duration,
    /// The caller's side, the called side.
    pub sides: [SideReport; 2],
}

impl StreamReport {
    /// One side.
    #[must_use]
    pub fn side(&self, side: Side) -> &SideReport {
        &self.sides[side.index()]
    }
}

/// Packets since the start: `received` is always `forwarded` and all `dropped` together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayCounts {
    /// Handed in.
    pub received: u64,
    /// Sent on.
    pub forwarded: u64,
    /// Octets sent on.
    pub bytes_forwarded: u64,
    /// Dropped, by [`DropReason::index`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// Of those received and sent on: by a fast path.
    pub below: u64,
    /// Their octets.
    pub bytes_below: u64,
    /// Moves to the fast path.
    pub moves_down: u64,
    /// Moves from it, ends of calls included.
    pub moves_up: u64,
    /// Moves that it refused.
    pub moves_refused: u64,
    /// Events and requests refused by full queues.
    pub events_refused: u64,
}

impl RelayCounts {
    /// Adds what a fast path has relayed.
    pub(super) fn take(&mut self, counts: &FastCounts) {
        self.received += counts.packets;
        self.forwarded += counts.packets;
        self.bytes_forwarded += counts.bytes;
        self.below += counts.packets;
        self.bytes_below += counts.bytes;
    }

    /// True where the sum is right.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.received == self.forwarded + self.dropped.iter().sum::<u64>()
    }
}
