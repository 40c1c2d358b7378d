//! What happens to one packet of a settled stream. This is the specification: the fast path in the kernel does the same,
//! byte for byte, and sends what it does not know up here as a [`Miss`].

use super::rtp;
use crate::base::SocketKey;
use std::net::SocketAddr;

/// Where the packets of one settled source go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The only source that matches.
    pub source: SocketAddr,
    /// The socket towards the far party.
    pub socket: SocketKey,
    /// The far party.
    pub to: SocketAddr,
    /// The payload type of telephone events, which must be noticed and therefore miss.
    pub telephone_event: Option<u8>,
    /// Packets that matched.
    pub packets: u64,
    /// Their octets, headers of RTP included.
    pub bytes: u64,
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
    /// A telephone event.
    Event,
}

/// Applies a rule to a packet: matched packets are counted and go on as they are.
#[inline]
pub fn apply(rule: &mut Rule, from: SocketAddr, packet: &[u8]) -> Applied {
    if from != rule.source {
        return Applied::Miss(Miss::Source);
    }
    if packet.len() < rtp::HEADER_LEN || packet[0] >> 6 != 2 || rtp::is_rtcp(packet) {
        return Applied::Miss(Miss::NotRtp);
    }
    if rule.telephone_event == Some(packet[1] & 0x7f) {
        return Applied::Miss(Miss::Event);
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
            telephone_event: Some(101),
            packets: 0,
            bytes: 0,
        }
    }

    #[test]
    fn a_match_is_counted_and_the_rest_misses() {
        let mut rule = rule();
        let (from, to) = (rule.source, rule.to);
        let voice = [&[0x80, 0][..], &[0; 170]].concat();
        assert_eq!(apply(&mut rule, from, &voice), Applied::Forward { socket: SocketKey(7), to, len: 172 });
        assert_eq!(apply(&mut rule, to, &voice), Applied::Miss(Miss::Source));
        let with = |first, second| [&[first, second][..], &[0; 20]].concat();
        assert_eq!(apply(&mut rule, from, &with(0x80, 200)), Applied::Miss(Miss::NotRtp));
        assert_eq!(apply(&mut rule, from, &with(0x16, 0xfe)), Applied::Miss(Miss::NotRtp));
        assert_eq!(apply(&mut rule, from, &[0x80, 0]), Applied::Miss(Miss::NotRtp));
        assert_eq!(apply(&mut rule, from, &with(0x80, 101)), Applied::Miss(Miss::Event));
        assert_eq!(apply(&mut rule, from, &with(0x80, 101 | 0x80)), Applied::Miss(Miss::Event));
        assert_eq!((rule.packets, rule.bytes), (1, 172));
    }

    #[test]
    fn every_reason_has_its_place() {
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }
}
