//! What goes into a shard and what comes out: the only things a worker or a simulator must understand.
//!
//! Inputs are given to [`Shard::handle`](super::Shard::handle) with the time; outputs are drained with `poll_output` until
//! there are none, before the next wait.

use super::mailbox::Mail;
use crate::base::{ShardId, SocketKey, StreamKey};
use crate::observe::{CallRecord, Event};
use crate::tally::Note;
use bytes::Bytes;
use std::net::SocketAddr;

/// Something happened outside.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram came in; a relayed packet is rewritten in place.
    Datagram {
        /// By which socket.
        socket: SocketKey,
        /// From where.
        from: SocketAddr,
        /// Its octets.
        bytes: &'a mut [u8],
    },
    /// A listener accepted a connection.
    StreamAccepted {
        /// Which listener.
        listener: SocketKey,
        /// The connection's name from now on.
        stream: StreamKey,
        /// The peer.
        remote: SocketAddr,
    },
    /// A connection that the shard asked for stands.
    StreamConnected {
        /// Which.
        stream: StreamKey,
    },
    /// Octets of a connection.
    StreamData {
        /// Which.
        stream: StreamKey,
        /// In order, of any length.
        bytes: &'a [u8],
    },
    /// A connection ended, was refused or could not be made.
    StreamClosed {
        /// Which.
        stream: StreamKey,
    },
    /// A datagram could not be delivered (ICMP) or sent.
    SendFailed {
        /// By which socket.
        socket: SocketKey,
        /// Where it should have gone.
        to: SocketAddr,
    },
    /// A media socket could not be opened.
    SocketFailed {
        /// Which.
        socket: SocketKey,
    },
    /// From another shard or from the control plane.
    Mail(Mail),
}

/// Something is to be done outside.
#[derive(Debug)]
pub enum Output {
    /// Send a datagram.
    Send {
        /// By which socket.
        socket: SocketKey,
        /// Where to.
        to: SocketAddr,
        /// Its octets.
        bytes: Bytes,
    },
    /// Send on a connection.
    StreamSend {
        /// Which.
        stream: StreamKey,
        /// Octets, after those sent before.
        bytes: Bytes,
    },
    /// Open a connection; [`Input::StreamConnected`] or [`Input::StreamClosed`] follows.
    Connect {
        /// Its name.
        stream: StreamKey,
        /// Where to.
        to: SocketAddr,
    },
    /// Close a connection.
    CloseStream {
        /// Which.
        stream: StreamKey,
    },
    /// Bind a media socket; [`Input::SocketFailed`] follows if that is not possible.
    OpenUdp {
        /// Its name.
        socket: SocketKey,
        /// Where.
        bind: SocketAddr,
        /// DSCP of what it sends.
        dscp: u8,
    },
    /// Change the DSCP of a media socket.
    SetDscp {
        /// Which.
        socket: SocketKey,
        /// The new value.
        dscp: u8,
    },
    /// For another shard.
    Mail {
        /// Which.
        to: ShardId,
        /// What.
        mail: Mail,
    },
    /// A finished call.
    Record(Box<CallRecord>),
    /// For the log.
    Event(Box<Event>),
    /// For the keeper of the rights.
    Note(Note),
    /// Drained and told to stop: the worker ends.
    Stopped,
}
