//! A finished call. The sink adds wall-clock time and the node's name and writes one line of JSON.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::labels::{CallResult, LimitReason, MediaPath};
use crate::base::Instant;
use crate::base::id::Token;
use crate::base::time::Duration;
use serde::{Deserialize, Serialize};

/// A call as people name it: `call_` and the token that its tags carry.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallId(pub Token);

impl CallId {
    const PREFIX: &'static str = "call_";

    /// Reads what [`Display`](fmt::Display) writes; the prefix may be missing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let token = text.strip_prefix(Self::PREFIX).unwrap_or(text);
        if token.len() != crate::base::id::TOKEN_LEN {
            return None;
        }
        Token::decode(token.as_bytes()).map(Self)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(Self::PREFIX)?;
        out.write_str(std::str::from_utf8(&self.0.encode()).expect("a token is text"))
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// A side of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// The leg that called us.
    Caller,
    /// The leg that we called.
    Callee,
}

impl Leg {
    /// In records and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Callee => "callee",
        }
    }
}

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndCause {
    /// BYE.
    Hangup,
    /// CANCEL.
    Cancelled,
    /// A failure response of the far end.
    Refused,
    /// A limit of ours.
    Limited,
    /// Nobody answered in time.
    RingTimeout,
    /// No trunk or contact could be reached.
    Unreachable,
    /// No packet either way for `media.silent_timeout`.
    MediaSilent,
    /// A leg stopped answering (timers, ACK missing, connection gone).
    SignallingLost,
    /// An operator, by command or API.
    Operator,
    /// `limits.max_call_duration` was reached.
    MaxDuration,
    /// The node drained or stopped.
    Shutdown,
    /// The offer or answer could not be used.
    BadMedia,
    /// No ports, no slots, or our own fault.
    Internal,
}

impl EndCause {
    /// In records and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hangup => "hangup",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
            Self::Limited => "limited",
            Self::RingTimeout => "ring_timeout",
            Self::Unreachable => "unreachable",
            Self::MediaSilent => "media_silent",
            Self::SignallingLost => "signalling_lost",
            Self::Operator => "operator",
            Self::MaxDuration => "max_duration",
            Self::Shutdown => "shutdown",
            Self::BadMedia => "bad_media",
            Self::Internal => "internal",
        }
    }
}

/// What a stream carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    /// `m=audio`.
    Audio,
    /// `m=video`.
    Video,
    /// Any other.
    Other,
}

impl MediaKind {
    /// In records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Other => "other",
        }
    }
}

/// One direction of one stream: what came from this leg.
#[derive(Clone, Debug, PartialEq)]
pub struct MediaReport {
    /// What it carried.
    pub kind: MediaKind,
    /// Encoding name of the last packets, as in `a=rtpmap`; empty when unknown.
    pub codec: Arc<str>,
    /// Packets relayed.
    pub packets: u64,
    /// Bytes of them, RTP header and payload.
    pub bytes: u64,
    /// Missing by sequence number (RFC 3550 A.3).
    pub lost: u64,
    /// Came twice.
    pub duplicates: u64,
    /// Interarrival jitter (RFC 3550 A.8), milliseconds.
    pub jitter_ms: f32,
    /// Estimated by G.107; none without packets or for a codec without figures.
    pub mos: Option<f32>,
    /// This leg was silent while the other sent.
    pub one_way: bool,
    /// Telephone events (RFC 4733).
    pub dtmf_digits: u32,
    /// Packets from elsewhere, thrown away.
    pub strays: u64,
    /// DSCP of what we sent to this leg.
    pub dscp: u8,
    /// Where this leg's packets came from.
    pub remote: Option<SocketAddr>,
    /// What carried most of it.
    pub path: MediaPath,
    /// Packets of them that the fast path relayed.
    pub packets_xdp: u64,
}

/// One leg.
#[derive(Clone, Debug, PartialEq)]
pub struct LegReport {
    /// Where its signalling came from or went.
    pub remote: Option<SocketAddr>,
    /// Its SIP Call-ID: what the other side's logs know.
    pub sip_call_id: Arc<str>,
    /// Its streams.
    pub media: Vec<MediaReport>,
}

/// A finished call.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRecord {
    /// Our name for it.
    pub call: CallId,
    /// The account that called, or else was called.
    pub account: Option<Arc<str>>,
    /// The trunk it came by.
    pub trunk_in: Option<Arc<str>>,
    /// The trunk it left by.
    pub trunk_out: Option<Arc<str>>,
    /// Calling number or user.
    pub from: Arc<str>,
    /// Called number or user.
    pub to: Arc<str>,
    /// INVITE came.
    pub started: Instant,
    /// First 18x went.
    pub ringing: Option<Instant>,
    /// First 2xx went.
    pub answered: Option<Instant>,
    /// The end.
    pub ended: Instant,
    /// How it counts.
    pub result: CallResult,
    /// Why it ended.
    pub cause: EndCause,
    /// Which side ended it; none = we did.
    pub ended_by: Option<Leg>,
    /// Final status of the INVITE.
    pub status: u16,
    /// The limit that refused or ended it.
    pub limit: Option<LimitReason>,
    /// How long it waited for a right from another site; none: not at all.
    pub limit_wait: Option<Duration>,
    /// The leg that called us.
    pub caller: LegReport,
    /// The leg that we called last; none when there was none.
    pub callee: Option<LegReport>,
}

impl CallRecord {
    /// The leg that was silent while the other sent, on any stream.
    #[must_use]
    pub fn one_way(&self) -> Option<Leg> {
        let silent = |leg: &LegReport| leg.media.iter().any(|media| media.one_way);
        if silent(&self.caller) {
            return Some(Leg::Caller);
        }
        self.callee.as_ref().filter(|leg| silent(leg)).map(|_| Leg::Callee)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ShardId, Slot};

    #[test]
    fn a_call_id_reads_back_with_and_without_prefix() {
        let call = CallId(Token { shard: ShardId(3), slot: Slot { index: 7, generation: 2 }, salt: 0xdead_beef });
        let text = call.to_string();
        assert_eq!(text, "call_s030000000700000002deadbeef");
        assert_eq!(CallId::parse(&text), Some(call));
        assert_eq!(CallId::parse(&text[5..]), Some(call));
        assert_eq!(CallId::parse("call_s03"), None);
        assert_eq!(CallId::parse(&format!("{text}0")), None);
    }
}
