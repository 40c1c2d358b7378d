//! What the relay is told: its addresses and bounds, and what signalling knows of each side of a stream.

use crate::base::time::Duration;
use crate::base::{Direction, Slot};
use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// Most clock rates kept per side.
pub const CLOCK_RATES_MAX: usize = 16;

/// One of our addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalAddress {
    /// Where sockets are bound.
    pub bind: IpAddr,
    /// What peers are told.
    pub advertise: IpAddr,
}

impl From<IpAddr> for LocalAddress {
    fn from(address: IpAddr) -> Self {
        Self { bind: address, advertise: address }
    }
}

/// The relay of one shard. Sockets are numbered by port: the key of a port on the IPv4 address is
/// `socket_base + (port - port_min)`, on the IPv6 address as many ports further as the range is wide.
#[derive(Clone, Copy, Debug)]
pub struct RelayConfig {
    /// The IPv4 address, where there is one.
    pub v4: Option<LocalAddress>,
    /// The IPv6 address, where there is one.
    pub v6: Option<LocalAddress>,
    /// The first port of this shard's slice.
    pub port_min: u16,
    /// The last.
    pub port_max: u16,
    /// The socket key of `port_min`.
    pub socket_base: u32,
    /// Most streams at a time.
    pub streams_max: usize,
    /// No packet from either side for so long in a call that is up and not held: [`Silent`](super::MediaEvent::Silent).
    pub silent_timeout: Duration,
    /// One side sends while the other should and does not: told within so long, that is after nine tenths of it, so
    /// that neither the timer's lateness nor the last packet's makes it longer.
    pub one_way_after: Duration,
    /// How long a released pair of ports rests.
    pub port_rest: Duration,
}

impl RelayConfig {
    /// One address, and the values that a configuration leaves alone.
    #[must_use]
    pub fn new(address: IpAddr, port_min: u16, port_max: u16) -> Self {
        let mut config = Self {
            v4: None,
            v6: None,
            port_min,
            port_max,
            socket_base: 0,
            streams_max: 10_000,
            silent_timeout: Duration::from_secs(60),
            one_way_after: Duration::from_secs(2),
            port_rest: Duration::from_secs(1),
        };
        config.set_address(address.into());
        config
    }

    /// Adds or replaces the address of that family.
    pub fn set_address(&mut self, address: LocalAddress) {
        match address.bind {
            IpAddr::V4(_) => self.v4 = Some(address),
            IpAddr::V6(_) => self.v6 = Some(address),
        }
    }

    /// Socket keys that this relay may use, from `socket_base` on.
    #[must_use]
    pub fn socket_count(&self) -> u32 {
        2 * self.port_range()
    }

    pub(super) fn one_way_patience(&self) -> Duration {
        self.one_way_after / 10 * 9
    }

    pub(super) fn port_range(&self) -> u32 {
        (u32::from(self.port_max) + 1).saturating_sub(u32::from(self.port_min))
    }
}

/// What runs in a stream; decides what is checked and watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamKind {
    /// RTP; one-way audio is noticed and an opinion score given.
    #[default]
    Audio,
    /// RTP; a camera may be off.
    Video,
    /// Any datagrams (T.38): sources are learnt, contents not looked at.
    Raw,
}

/// One side of a new stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideOptions {
    /// True for our IPv6 address towards this side.
    pub v6: bool,
    /// DSCP of what we send to this side, 0–63.
    pub dscp: u8,
}

/// A new stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// What runs in it.
    pub kind: StreamKind,
    /// The call it belongs to: comes back with each event.
    pub owner: Slot,
    /// The caller's side.
    pub a: SideOptions,
    /// The called side.
    pub b: SideOptions,
}

/// What signalling says about one side of a stream; set again with each offer or answer of that side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteOptions {
    /// Where it wants RTP; none while unknown, while held by address, or where a name was given.
    pub rtp: Option<SocketAddr>,
    /// Where it wants RTCP; without it the port above RTP's.
    pub rtcp: Option<SocketAddr>,
    /// RTCP shares the RTP port: both its offer and our answer (or the other way round) said so.
    pub mux: bool,
    /// Its description cannot be believed: learn from its packets.
    pub behind_nat: bool,
    /// It listens where it sends from (RFC 4961): phones do, carriers need not.
    pub symmetric: bool,
    /// Where its SIP messages come from.
    pub signalled_from: Option<IpAddr>,
    /// As it says it.
    pub direction: Direction,
    /// Payload type of telephone events that it accepts.
    pub telephone_event: Option<u8>,
    /// SRTP: payloads and reports cannot be read.
    pub encrypted: bool,
    /// Clock rates of the payload types that it accepts.
    pub clock_rates: ArrayVec<(u8, u32), CLOCK_RATES_MAX>,
}

/// Why a stream cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// [`RelayConfig::streams_max`] are open.
    Streams,
    /// No rested pair of ports is left.
    Ports,
    /// There is no address of the family asked for.
    Family,
    /// Requests for sockets wait to be fetched.
    Requests,
}

impl Refused {
    /// For a log line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Streams => "too many streams",
            Self::Ports => "no media port left",
            Self::Family => "no media address of this family",
            Self::Requests => "too many sockets asked for at once",
        }
    }
}
