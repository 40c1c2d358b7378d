//! What a phone is told and what it tells: values only.

use super::audio::Report;
use super::digest::Login;
use super::offer::Direction;
use crate::base::time::Duration;
use crate::base::{Slot, StreamKey, Transport};
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};

/// RFC 3261 §17.1.1.1.
#[derive(Clone, Copy, Debug)]
pub struct Timers {
    /// Estimated round trip.
    pub t1: Duration,
    /// Longest gap between retransmissions.
    pub t2: Duration,
    /// How long a message may live in the network.
    pub t4: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}

/// Who a phone is and where it stands.
#[derive(Clone, Debug)]
pub struct Options {
    /// User part of its address.
    pub name: String,
    /// Domain of its address.
    pub domain: String,
    /// Digest user; without one every challenge is a failure.
    pub login: Option<Login>,
    /// Where it hears SIP: stands in Via and Contact.
    pub local: SocketAddr,
    /// The address it believes to have and writes everywhere, behind a NAT that it knows nothing of.
    pub inside: Option<IpAddr>,
    /// Where requests outside a dialog go.
    pub server: SocketAddr,
    /// UDP or TCP.
    pub transport: Transport,
    /// Where it hears media.
    pub media_address: IpAddr,
    /// First RTP port; even.
    pub media_port_min: u16,
    /// Pairs of RTP and RTCP ports it may use, more than `calls_max`.
    pub media_pairs: u16,
    /// RFC 3261 timers.
    pub timers: Timers,
    /// Calls at once.
    pub calls_max: usize,
    /// RTP payload types it speaks, in order.
    pub formats: Vec<u8>,
    /// Expiry asked for when registering, seconds.
    pub expires: u32,
    /// After a failed registration, how long until the next try.
    pub register_retry: Duration,
    /// What it does with incoming calls.
    pub answering: Answering,
    /// Callers must show this login, as a carrier demands it (407); none: anybody may call.
    pub challenge: Option<Login>,
}

impl Options {
    /// A phone that accepts calls at once; everything can be changed.
    #[must_use]
    pub fn new(name: &str, domain: &str, local: SocketAddr, server: SocketAddr) -> Self {
        Self {
            name: name.to_owned(),
            domain: domain.to_owned(),
            login: None,
            local,
            inside: None,
            server,
            transport: Transport::Udp,
            media_address: local.ip(),
            media_port_min: 20_000,
            media_pairs: 64,
            timers: Timers::default(),
            calls_max: 16,
            formats: vec![0],
            expires: 3600,
            register_retry: Duration::from_secs(5),
            answering: Answering::default(),
            challenge: None,
        }
    }
}

/// What a phone does with an incoming call.
#[derive(Clone, Debug)]
pub struct Answering {
    /// Answers nothing at all: a phone that is switched off.
    pub deaf: bool,
    /// Provisional answer sent at once: 180, 183.
    pub provisional: Option<u16>,
    /// Whether that one carries an answer and audio begins.
    pub early_media: bool,
    /// From the INVITE to the final answer.
    pub after: Duration,
    /// The final answer.
    pub then: Then,
    /// Hangs up so long after it accepted.
    pub hang_up_after: Option<Duration>,
}

impl Default for Answering {
    fn default() -> Self {
        Self {
            deaf: false,
            provisional: Some(180),
            early_media: false,
            after: Duration::ZERO,
            then: Then::Accept,
            hang_up_after: None,
        }
    }
}

/// The final answer to an incoming call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// 200.
    Accept,
    /// 4xx, 5xx, 6xx.
    Reject(u16),
    /// 302 to this URI.
    Redirect(String),
    /// None: wait for [`Phone::accept`](super::Phone::accept) or the caller's CANCEL.
    Wait,
}

/// How a call is placed.
#[derive(Clone, Debug, Default)]
pub struct Placing {
    /// INVITE without a description; the answer goes into the ACK (RFC 3261 §13.2.1).
    pub late_offer: bool,
    /// Gives up (CANCEL) so long after the INVITE; 180 s when not said.
    pub patience: Option<Duration>,
    /// Hangs up so long after the answer.
    pub hang_up_after: Option<Duration>,
    /// Further header lines.
    pub headers: Vec<(String, String)>,
}

/// The way a message came and an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// By UDP.
    Datagram(SocketAddr),
    /// On a connection.
    Stream(StreamKey),
}

impl Path {
    /// True where nothing is retransmitted below RFC 3261 §13.
    #[must_use]
    pub const fn is_reliable(self) -> bool {
        matches!(self, Self::Stream(_))
    }
}

/// What happens on a connection.
#[derive(Clone, Copy, Debug)]
pub enum StreamInput<'a> {
    /// A peer connected to us, or the connection we asked for stands.
    Open(SocketAddr),
    /// Bytes in order.
    Data(&'a [u8]),
    /// It is gone.
    Closed,
}

/// What is to be done for a phone.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send from the signalling address.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// One message.
        bytes: Bytes,
    },
    /// Connect; what is sent on it before it stands is kept by the driver.
    Connect {
        /// Its name from now on.
        stream: StreamKey,
        /// Where to.
        to: SocketAddr,
    },
    /// Send on a connection.
    Stream {
        /// Which.
        stream: StreamKey,
        /// One message.
        bytes: Bytes,
    },
    /// Close a connection.
    CloseStream(StreamKey),
    /// Hear RTP on this port and RTCP on the next.
    OpenMedia(u16),
    /// No longer.
    CloseMedia(u16),
    /// Send from a media port.
    Media {
        /// Our port.
        port: u16,
        /// Where to.
        to: SocketAddr,
        /// RTP or RTCP.
        bytes: Bytes,
    },
    /// Tell the person.
    Event(Event),
}

/// Who ended an established call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// This phone.
    Local,
    /// The peer's BYE.
    Remote,
    /// The caller's CANCEL, before an answer.
    Cancelled,
    /// Our 200 was never acknowledged.
    Unacknowledged,
    /// This phone refused the call with that status.
    Refused(u16),
}

/// What a person at the phone would notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The registrar keeps our contact for so many seconds and so many contacts altogether.
    Registered {
        /// Seconds.
        expires: u32,
        /// Contacts of the address.
        contacts: usize,
    },
    /// The registrar keeps our contact no longer (it may keep others).
    Unregistered {
        /// Contacts of the address.
        contacts: usize,
    },
    /// No registration; 408 stands for silence, 503 for no connection.
    RegistrationFailed {
        /// Final status.
        status: u16,
    },
    /// It rings.
    Incoming {
        /// The new call.
        call: Slot,
        /// The From value.
        from: String,
        /// The Request-URI.
        uri: String,
    },
    /// The far end rings.
    Progress {
        /// Which call.
        call: Slot,
        /// 101 to 199.
        status: u16,
        /// It carried an answer.
        early_media: bool,
    },
    /// Answered: 200 received (caller) or ACK received (callee).
    Established {
        /// Which call.
        call: Slot,
        /// Since the INVITE was first sent or received.
        setup: Duration,
    },
    /// Not answered: final status, 408 for silence.
    Failed {
        /// Which call; it is over.
        call: Slot,
        /// Final status.
        status: u16,
        /// Its phrase.
        reason: String,
        /// Contacts of a redirection.
        contacts: Vec<String>,
    },
    /// A re-INVITE was answered: media now goes this way, seen from here.
    Changed {
        /// Which call.
        call: Slot,
        /// As agreed.
        direction: Direction,
        /// Who asked.
        by_us: bool,
    },
    /// Our re-INVITE was refused.
    ChangeFailed {
        /// Which call.
        call: Slot,
        /// Final status.
        status: u16,
    },
    /// An incoming or established call is over.
    Ended {
        /// Which call.
        call: Slot,
        /// Who ended it.
        cause: Cause,
        /// The Reason header of the message that ended it.
        reason: Option<String>,
        /// What became of its media.
        report: Report,
    },
}

/// What a phone has seen that needs no event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes that are not SIP.
    pub unreadable: u64,
    /// Responses to nothing we asked (late retransmissions).
    pub unmatched: u64,
    /// Requests and responses sent again.
    pub retransmitted: u64,
    /// Requests that came again.
    pub repeated: u64,
    /// Second 200s, acknowledged and hung up.
    pub forked: u64,
    /// Media on a port without a call.
    pub stray_media: u64,
    /// Refused because a table or queue was full.
    pub full: u64,
}
