//! Where a request goes, as an error names it (RFC 3261 §17.1.4, §18.4).

use crate::base::{Flow, Slot, SocketKey, StreamKey, Transport};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Where a request goes, as an error names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Path {
    /// A connection.
    Stream(StreamKey),
    /// An address, seen from a datagram socket.
    Datagram(SocketKey, SocketAddr),
    /// An address to which a connection is being opened.
    Opening(Transport, SocketAddr),
}

impl From<&Flow> for Path {
    fn from(flow: &Flow) -> Self {
        match flow.stream {
            Some(stream) => Self::Stream(stream),
            None if flow.transport.is_reliable() => Self::Opening(flow.transport, flow.remote),
            None => Self::Datagram(flow.socket, flow.remote),
        }
    }
}

/// A transaction's place among those of its path.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Link {
    pub(super) previous: Option<Slot>,
    pub(super) next: Option<Slot>,
}
