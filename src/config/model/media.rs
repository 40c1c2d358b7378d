//! `[media]`: addresses, ports and times of RTP, and DSCP.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::base::time::Duration;

/// Whether settled streams leave the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FastPath {
    /// XDP where the host allows.
    Auto,
    /// XDP or refuse to start.
    Xdp,
    /// Always through the shard.
    Off,
}

/// `[media]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Where RTP is bound (either family).
    pub address: IpAddr,
    /// A second address, of family IPv6, for legs that offer IPv6.
    pub address_v6: Option<IpAddr>,
    /// What SDP says instead of `address`.
    pub advertise: Option<IpAddr>,
    /// What SDP says instead of `address_v6`.
    pub advertise_v6: Option<IpAddr>,
    /// First port; even.
    pub port_min: u16,
    /// Last port; odd.
    pub port_max: u16,
    /// Whether settled streams leave the shard.
    pub fast_path: FastPath,
    /// The kernel relays for so long without being looked after.
    pub fast_path_dead_man: Duration,
    /// On these devices; empty: on those that have the media addresses.
    pub fast_path_devices: Vec<String>,
    /// Where the program stays attached over a restart.
    pub fast_path_pin: Option<PathBuf>,
    /// No packet either way for this long ends the call.
    pub silent_timeout: Duration,
    /// One side silent for this long while the other sends is one-way audio.
    pub one_way_after: Duration,
    /// A released port rests this long.
    pub port_rest: Duration,
    /// DSCP of audio, unless account or trunk says otherwise.
    pub dscp_audio: u8,
    /// DSCP of video, unless account or trunk says otherwise.
    pub dscp_video: u8,
    /// SO_RCVBUF of each UDP socket.
    pub receive_buffer_bytes: usize,
    /// How long a shard busy with media may collect packets.
    pub gather: Duration,
}

/// DSCP values of a leg, resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Qos {
    /// Audio.
    pub dscp_audio: u8,
    /// Video.
    pub dscp_video: u8,
    /// Signalling.
    pub dscp_signalling: u8,
}
