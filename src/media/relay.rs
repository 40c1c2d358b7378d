//! What happens to one packet of a settled stream. This is the specification: the fast path in the kernel does the same,
//! byte for byte, and sends what it does not know up here as a [`Miss`].

use super::rtp;
use crate::base::SocketKey;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Where the packets of one settled source go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The only source that matches.
    pub source: SocketAddr,
    /// The socket towards the far party.
    pub socket: SocketKey,
    /// The far party.
    pub to: SocketAddr,
    /// The only voice that matches.
    pub expect: Expect,
    /// Packets that matched.
    pub packets: u64,
    /// Their octets, headers of RTP included.
    pub bytes: u64,
}

impl Rule {
    /// True where both say the same of every packet, whatever they have counted.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let of = |rule: &Self| (rule.source, rule.socket, rule.to, rule.expect);
        of(self) == of(other)
    }
}

/// What the packets of a settled source look like. Telephone events, comfort noise and another codec are something else,
/// and worth a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expect {
    payload_type: u8,
    ssrc: u32,
}

impl Expect {
    /// None for payload types that RTCP's would be taken for (RFC 5761 §4).
    #[must_use]
    pub fn new(payload_type: u8, ssrc: u32) -> Option<Self> {
        (payload_type < 128 && !matches!(payload_type, 64..=95)).then_some(Self { payload_type, ssrc })
    }

    /// 0–127.
    #[must_use]
    pub const fn payload_type(self) -> u8 {
        self.payload_type
    }

    /// The source identifier.
    #[must_use]
    pub const fn ssrc(self) -> u32 {
        self.ssrc
    }
}

/// What a rule says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Send it, unchanged and whole.
    Forward {
        /// Out of this socket.
        socket: SocketKey,
        /// To this address.
        to: SocketAddr,
        /// So many octets.
        len: usize,
    },
    /// The rule does not cover it.
    Miss(Miss),
}

/// Why a packet needs thought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// From somewhere else.
    Source,
    /// Not RTP: RTCP on a shared port, DTLS, or rubbish.
    NotRtp,
    /// Another payload type or source identifier: a telephone event, comfort noise, a change.
    Unexpected,
}

/// Applies a rule to a packet: matched packets are counted and go on as they are.
#[inline]
pub fn apply(rule: &mut Rule, from: SocketAddr, packet: &[u8]) -> Applied {
    if from != rule.source {
        return Applied::Miss(Miss::Source);
    }
    let Some(head) = packet.first_chunk::<{ rtp::HEADER_LEN }>().filter(|head| head[0] >> 6 == 2) else {
        return Applied::Miss(Miss::NotRtp);
    };
    let ssrc = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
    if head[1] & 0x7f != rule.expect.payload_type || ssrc != rule.expect.ssrc {
        return Applied::Miss(if rtp::is_rtcp(packet) { Miss::NotRtp } else { Miss::Unexpected });
    }
    rule.packets += 1;
    rule.bytes += packet.len() as u64;
    Applied::Forward { socket: rule.socket, to: rule.to, len: packet.len() }
}

/// What the table says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send `packet[..len]` on.
    Forward {
        /// Out of this socket.
        socket: SocketKey,
        /// To this address.
        to: SocketAddr,
        /// So many octets.
        len: usize,
    },
    /// Forget it; it has been counted.
    Drop(DropReason),
}

/// Why a packet was not sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The socket is none of the relay's.
    UnknownSocket,
    /// No stream has this port (any more).
    NoStream,
    /// A stray: not from the party that this port is for.
    WrongSource,
    /// From a source that is still being verified.
    Unverified,
    /// Neither RTP, RTCP nor DTLS.
    Malformed,
    /// Nobody knows yet where the far party listens.
    NoDestination,
    /// The far party does not listen: hold.
    Held,
}

impl DropReason {
    /// All of them, for counters.
    pub const ALL: [Self; 7] = [
        Self::UnknownSocket,
        Self::NoStream,
        Self::WrongSource,
        Self::Unverified,
        Self::Malformed,
        Self::NoDestination,
        Self::Held,
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
            Self::UnknownSocket => "unknown_socket",
            Self::NoStream => "no_stream",
            Self::WrongSource => "wrong_source",
            Self::Unverified => "unverified_source",
            Self::Malformed => "malformed_media",
            Self::NoDestination => "no_destination",
            Self::Held => "held",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Rule {
        Rule {
            source: "192.0.2.1:4000".parse().unwrap(),
            socket: SocketKey(7),
            to: "[2001:db8::1]:5000".parse().unwrap(),
            expect: Expect::new(0, 7).unwrap(),
            packets: 0,
            bytes: 0,
        }
    }

    #[test]
    fn a_match_is_counted_and_the_rest_misses() {
        let mut rule = rule();
        let (from, to) = (rule.source, rule.to);
        let packet = |first: u8, second: u8, ssrc: u8| {
            [&[first, second, 0, 0, 0, 0, 0, 0, 0, 0, 0, ssrc][..], &[0; 160]].concat()
        };
        assert_eq!(
            apply(&mut rule, from, &packet(0x80, 0, 7)),
            Applied::Forward { socket: SocketKey(7), to, len: 172 }
        );
        assert_eq!(
            apply(&mut rule, from, &packet(0x80, 0x80, 7)[..12]),
            Applied::Forward { socket: SocketKey(7), to, len: 12 }
        );
        let mut misses = |from, packet: &[u8], miss| assert_eq!(apply(&mut rule, from, packet), Applied::Miss(miss));
        misses(to, &packet(0x80, 0, 7), Miss::Source);
        misses(from, &packet(0x80, 200, 7), Miss::NotRtp);
        misses(from, &packet(0x16, 0, 7), Miss::NotRtp);
        misses(from, &packet(0x80, 0, 7)[..11], Miss::NotRtp);
        for (payload_type, ssrc) in [(101, 7), (101 | 0x80, 7), (8, 7), (13, 7), (0, 8)] {
            misses(from, &packet(0x80, payload_type, ssrc), Miss::Unexpected);
        }
        assert_eq!((rule.packets, rule.bytes), (2, 184));
    }

    #[test]
    fn what_could_be_rtcp_is_never_expected() {
        let refused: Vec<_> = (0..=255).filter(|payload_type| Expect::new(*payload_type, 1).is_none()).collect();
        assert_eq!(refused, (64..=95).chain(128..=255).collect::<Vec<_>>());
    }

    #[test]
    fn every_reason_has_its_place() {
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }
}
