//! What a driver and its owner say to each other: options, verdicts, stream events, refusals, counters.

use std::io;
use std::net::SocketAddr;

use crate::base::{SocketKey, StreamKey};

/// Bounds of one driver. Everything is allocated at the start or as the tables fill up to these; nothing per packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Keys of UDP sockets and listeners are below this; larger ones are refused.
    pub sockets_max: usize,
    /// Connections alive at once, accepted and opened. Further ones are closed at once and counted.
    pub streams_max: usize,
    /// Bytes that may wait in one connection's send queue.
    pub stream_queue_bytes: usize,
    /// Buffers for media datagrams, [`PACKET_BYTES_MAX`] each; a power of two, at most 32,768.
    pub packet_buffers: u16,
    /// Buffers for signalling datagrams and stream data, [`MESSAGE_BYTES_MAX`] each; a power of two.
    pub message_buffers: u16,
    /// Datagrams after which a wait ends although there are more, give or take those that came as one, so that their owner
    /// can answer them. With io_uring; epoll reads no more of a socket at once than it has room for.
    pub share: u16,
    /// How long a busy driver may gather what comes before it hands over the first of it, and how much later it may come
    /// back from a wait: with less work for each. io_uring needs Linux 6.12 for it.
    pub gather: GatherMax,
}

/// The longest that anything waits to be handed over with what comes after it; zero hands over at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GatherMax {
    /// While no media comes by the driver's sockets.
    pub signalling: std::time::Duration,
    /// While media does, for whatever comes.
    pub media: std::time::Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sockets_max: 1 << 17,
            streams_max: 16_384,
            stream_queue_bytes: 256 * 1024,
            packet_buffers: 1024,
            message_buffers: 64,
            share: 1024,
            gather: GatherMax::default(),
        }
    }
}

/// The longest datagram a media socket takes; longer ones are dropped and counted as truncated.
pub const PACKET_BYTES_MAX: usize = 2048;

/// The longest datagram a signalling socket takes: all that UDP can carry (RFC 3261 §18.1.1).
pub const MESSAGE_BYTES_MAX: usize = 65_535;

/// What a UDP socket is for, which decides its buffers and whether it hears of ICMP errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// RTP and RTCP: datagrams up to [`PACKET_BYTES_MAX`]; ICMP errors are not asked for.
    Media,
    /// SIP: datagrams up to [`MESSAGE_BYTES_MAX`]; ICMP errors reach [`Handler::on_send_error`](super::Handler).
    Signalling,
}

/// How to open a UDP socket. An IPv6 address binds IPv6 only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpOptions {
    /// Local address; port 0 lets the kernel choose.
    pub bind: SocketAddr,
    /// `SO_REUSEPORT`: one socket per shard on the same port.
    pub reuse_port: bool,
    /// Differentiated services code point of what is sent, 0–63 (RFC 2474).
    pub dscp: u8,
    /// `SO_RCVBUF`; 0 keeps the kernel's default. Beyond `net.core.rmem_max` only with CAP_NET_ADMIN.
    pub receive_buffer_bytes: usize,
    /// What it carries.
    pub traffic: Traffic,
    /// Signalling only: datagrams queued one after the other to one destination, equally long but for a shorter last one,
    /// cross the network as one (`UDP_SEGMENT`) and come apart where they arrive; and such runs of others are taken as one
    /// (`UDP_GRO`) and handed over one by one. Where the kernel refuses, each goes by itself.
    pub batched: bool,
    /// Arrivals come with the kernel's own time, to [`Handler::on_stamped`](super::Handler::on_stamped).
    pub stamped: bool,
}

impl UdpOptions {
    /// A socket for RTP or RTCP.
    #[must_use]
    pub const fn media(bind: SocketAddr) -> Self {
        Self::plain(bind, Traffic::Media)
    }

    /// A socket for SIP.
    #[must_use]
    pub const fn signalling(bind: SocketAddr) -> Self {
        Self::plain(bind, Traffic::Signalling)
    }

    const fn plain(bind: SocketAddr, traffic: Traffic) -> Self {
        Self { bind, reuse_port: false, dscp: 0, receive_buffer_bytes: 0, traffic, batched: false, stamped: false }
    }
}

/// What happens on connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEvent<'a> {
    /// A peer connected. The driver named the connection.
    Accepted {
        /// By which listener.
        listener: SocketKey,
        /// Its name from now on.
        stream: StreamKey,
        /// Our address.
        local: SocketAddr,
        /// The peer's.
        remote: SocketAddr,
    },
    /// What [`connect`](super::Driver::connect) asked for is up.
    Connected {
        /// The name given to `connect`.
        stream: StreamKey,
        /// Our address.
        local: SocketAddr,
    },
    /// Bytes arrived.
    Data {
        /// On which connection.
        stream: StreamKey,
        /// In order; where they are cut means nothing.
        bytes: &'a [u8],
    },
    /// The peer will send no more but may still listen. Answer what is open, then `close_stream`; it stays until then.
    HalfClosed {
        /// Which connection.
        stream: StreamKey,
    },
    /// The connection is gone, or never came up. Its name is dead.
    Closed {
        /// Which connection.
        stream: StreamKey,
        /// Why.
        reason: CloseReason,
    },
}

/// Why a connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Nobody listens there.
    Refused,
    /// The peer tore it down.
    Reset,
    /// The peer did not answer in time.
    TimedOut,
    /// Something else.
    Failed(io::ErrorKind),
}

impl CloseReason {
    /// The reason behind an error of the kernel.
    #[must_use]
    pub fn from_error(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
                Self::Reset
            }
            io::ErrorKind::TimedOut => Self::TimedOut,
            kind => Self::Failed(kind),
        }
    }
}

/// Why something was not taken for sending. Nothing of it was or will be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The queue is at its bound.
    Full,
    /// No such socket or connection (any more).
    Gone,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Full => "the send queue is full",
            Self::Gone => "no such socket or connection",
        })
    }
}

impl std::error::Error for Refused {}

/// What one driver has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Returns from the kernel with something to do.
    pub batches: u64,
    /// Datagrams handed over.
    pub received: u64,
    /// Of them, those that came to [`Media`](Traffic::Media) sockets.
    pub received_media: u64,
    /// Their bytes, all of them.
    pub received_bytes: u64,
    /// Datagrams the kernel took, forwarded ones included.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Datagrams dropped because the kernel's send buffer was full.
    pub send_dropped: u64,
    /// Datagrams that failed otherwise, such as by an ICMP error or a missing route.
    pub send_failed: u64,
    /// Datagrams to a socket that is not (or no longer) open.
    pub send_gone: u64,
    /// Times that several of them crossed the network as one.
    pub sent_runs: u64,
    /// Times that the kernel would not have it so; they then left one by one.
    pub runs_refused: u64,
    /// Times that several datagrams came as one.
    pub received_runs: u64,
    /// Datagrams dropped because they were longer than the socket's traffic allows.
    pub truncated: u64,
    /// Times that all receive buffers were in use and datagrams had to wait in the kernel.
    pub starved: u64,
    /// Datagrams the kernel dropped because a socket's receive buffer was full, as far as known:
    /// see [`sample_drops`](super::Driver::sample_drops).
    pub kernel_dropped: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections closed at once because there were too many, or that could not be accepted.
    pub accept_refused: u64,
    /// Writes to connections refused because their queue was full.
    pub stream_full: u64,
}
