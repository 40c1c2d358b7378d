//! `[sip]`, `[[sip.listen]]` and `[guard]`: where and for whom we speak SIP, how patiently, and who is not heard.

use std::net::SocketAddr;

use crate::base::Transport;
use crate::base::time::Duration;
use crate::config::net::Net;

/// An address other than the bound one, told to peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertise {
    /// Host name or IP address; IPv6 without brackets.
    pub host: String,
    /// Port, where it differs from the bound one.
    pub port: Option<u16>,
}

/// `[[sip.listen]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where to bind.
    pub address: SocketAddr,
    /// Over what.
    pub transport: Transport,
    /// What Via and Contact say instead.
    pub advertise: Option<Advertise>,
}

/// `[sip]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sip {
    /// AORs served here; never empty (defaults to the listening hosts).
    pub domains: Vec<String>,
    /// Digest realm.
    pub realm: String,
    /// Where to listen; never empty.
    pub listen: Vec<Listen>,
    /// RFC 3261 T1.
    pub t1: Duration,
    /// RFC 3261 T2.
    pub t2: Duration,
    /// RFC 3261 T4.
    pub t4: Duration,
    /// How long a call may ring.
    pub ring_timeout: Duration,
    /// With `forking = "serial"`: how long one q value rings before the next.
    pub fork_step_timeout: Duration,
    /// Max-Forwards of requests we start.
    pub max_forwards: u8,
    /// Server and User-Agent header.
    pub user_agent: String,
    /// A request longer than this goes by TCP where the peer allows (RFC 3261 §18.1.1).
    pub udp_message_bytes_max: u32,
    /// An idle TCP connection is closed after this.
    pub connection_idle_timeout: Duration,
    /// Shortest registration; below it 423.
    pub expires_min: Duration,
    /// Registration without Expires.
    pub expires_default: Duration,
    /// Longest registration; more is cut to it.
    pub expires_max: Duration,
    /// Contacts of one AOR.
    pub contacts_per_account_max: u32,
    /// A nonce is stale after this.
    pub nonce_lifetime: Duration,
    /// DSCP of signalling.
    pub dscp: u8,
}

/// `[guard]`: who scans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Sources are muted and blocked at all.
    pub enabled: bool,
    /// At so many points.
    pub threshold: u32,
    /// So many points wear off within this time.
    pub forget_after: Duration,
    /// For how long.
    pub block_time: Duration,
    /// Never these.
    pub allow: Vec<Net>,
}
