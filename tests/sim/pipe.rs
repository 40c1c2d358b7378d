//! Pretended TCP: two ends, each with a queue of what comes to it, in order and without loss.

use bytes::Bytes;
use std::collections::VecDeque;
use std::net::SocketAddr;
use strowger::base::{Instant, SocketKey, StreamKey};

/// Who holds an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A phone, and which life of it.
    Station(usize, u32, StreamKey),
    /// A shard.
    Shard(usize, StreamKey),
    /// Nobody (any more).
    Nobody,
}

/// What comes to an end.
#[derive(Debug)]
pub enum Piece {
    /// The connection stands.
    Open {
        /// Set where it was accepted.
        listener: Option<SocketKey>,
    },
    /// Bytes.
    Data(Bytes),
    /// It is gone.
    Closed,
}

/// One connection; end 0 asked for it.
#[derive(Debug)]
pub struct Pipe {
    /// The holders.
    pub ends: [End; 2],
    /// Their addresses.
    pub addresses: [SocketAddr; 2],
    /// What is under way to each end.
    pub queues: [VecDeque<Piece>; 2],
    /// No piece arrives before the one ahead of it.
    pub last: [Instant; 2],
}

impl Pipe {
    pub fn new(ends: [End; 2], addresses: [SocketAddr; 2], now: Instant) -> Self {
        Self { ends, addresses, queues: [VecDeque::new(), VecDeque::new()], last: [now, now] }
    }
}
