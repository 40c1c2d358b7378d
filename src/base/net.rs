//! How the pure rooms name sockets, streams and paths without owning one.

use bytes::Bytes;
use std::net::SocketAddr;

use super::id::ShardId;
use serde::{Deserialize, Serialize};

/// What carries SIP. TLS and WebSocket have their names so that Via, Contact and routes can already speak of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Transport {
    /// RFC 3261 §18 over UDP.
    Udp,
    /// RFC 3261 §18 over TCP.
    Tcp,
    /// SIPS, RFC 3261 §26.2.
    Tls,
    /// RFC 7118.
    Ws,
    /// RFC 7118 over TLS.
    Wss,
}

impl Transport {
    /// The token in a Via header.
    #[must_use]
    pub const fn via_token(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// The value of a URI's `transport` parameter and of the configuration.
    #[must_use]
    pub const fn uri_token(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// True where the transport itself retransmits, so that timers A, E, G are off (RFC 3261 §17.1.1.2).
    #[must_use]
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// Reads a token in any case.
    #[must_use]
    pub fn from_token(token: &[u8]) -> Option<Self> {
        [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss]
            .into_iter()
            .find(|transport| token.eq_ignore_ascii_case(transport.uri_token().as_bytes()))
    }
}

/// A UDP socket or a stream listener of one shard. Small and dense: chosen by the shard, an index for the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SocketKey(pub u32);

/// One TCP (later TLS, WebSocket) connection of one shard. Never reused. The driver names accepted ones (top bit set),
/// the shard names those it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StreamKey(pub u64);

impl StreamKey {
    /// Set in the keys of accepted connections.
    pub const ACCEPTED: u64 = 1 << 63;
}

/// The path a message came by, and the way back (RFC 3261 §18.2.2, RFC 3581, RFC 5626).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Flow {
    /// What carries it.
    pub transport: Transport,
    /// The shard that owns the socket or stream.
    pub shard: ShardId,
    /// The listening socket it came by, or by which it leaves.
    pub socket: SocketKey,
    /// The connection, for stream transports.
    pub stream: Option<StreamKey>,
    /// The address the peer sees or sends from.
    pub remote: SocketAddr,
}

/// Bytes to be sent along a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transmit {
    /// Where to.
    pub flow: Flow,
    /// One whole SIP message.
    pub bytes: Bytes,
}

/// Asks the driver to send the buffer it is showing, cut to `len`, without copying it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The socket it leaves by.
    pub socket: SocketKey,
    /// Where to.
    pub to: SocketAddr,
    /// Octets of the buffer that go out.
    pub len: usize,
}
