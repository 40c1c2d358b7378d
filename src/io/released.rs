//! What one driver gives up and another takes on, of the same kind or not, of this process or another: descriptors by
//! key, and what a connection's queue still holds. Between the two, packets and octets wait in the sockets themselves.

use std::os::fd::OwnedFd;

use bytes::Bytes;

use super::Traffic;
use crate::base::{SocketKey, StreamKey};

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// UDP.
    Udp {
        /// What it carries.
        traffic: Traffic,
        /// IPv6.
        v6: bool,
    },
    /// TCP connections come by it.
    Listener {
        /// IPv6.
        v6: bool,
    },
}

/// A UDP socket or a listener.
#[derive(Debug)]
pub struct ReleasedSocket {
    /// Its name.
    pub key: SocketKey,
    /// What it is for.
    pub role: Role,
    /// It.
    pub descriptor: OwnedFd,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamState {
    /// Its `Connected` is still to come.
    pub connecting: bool,
    /// The owner has let go; what is queued still leaves.
    pub closing: bool,
    /// The peer will send no more, and the owner knows.
    pub finished_reading: bool,
}

/// A connection.
#[derive(Debug)]
pub struct ReleasedStream {
    /// Its name.
    pub key: StreamKey,
    /// How far it has come.
    pub state: StreamState,
    /// What the kernel has not taken yet, in order.
    pub unsent: Vec<Bytes>,
    /// It.
    pub descriptor: OwnedFd,
}

/// All that a driver had.
#[derive(Debug, Default)]
pub struct Released {
    /// UDP sockets and listeners.
    pub sockets: Vec<ReleasedSocket>,
    /// Connections.
    pub streams: Vec<ReleasedStream>,
    /// Connections accepted so far: their names are never used again.
    pub accepted: u64,
}
