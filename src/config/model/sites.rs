//! `[limits]` and `[link]`: how limits hold over several sites, and the other sites.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::base::time::Duration;

/// What a limit does when a site is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitMode {
    /// Never exceeded.
    Strict,
    /// May be exceeded by `allowance` while cut off.
    Allowance,
}

/// What happens to calls on a borrowed right that lapses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitPolicy {
    /// They go on.
    Keep,
    /// They are ended.
    Drop,
}

/// `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What happens when cut off.
    pub mode: LimitMode,
    /// By how many calls; only with [`LimitMode::Allowance`].
    pub allowance: u32,
    /// `max_calls` of an account that names none.
    pub default_max_calls: u32,
    /// Where rights are made; given whenever there are peers.
    pub home: Option<String>,
    /// When a borrowed right lapses.
    pub policy: LimitPolicy,
    /// How long a borrowed right is good for without a renewal.
    pub lease: Duration,
    /// A call is ended after this long.
    pub max_call_duration: Duration,
    /// Most that a clock may run fast or slow.
    pub clock_drift_ppm: u32,
    /// How long a call waits for a right.
    pub borrow_timeout: Duration,
    /// The called account gives a right, too.
    pub count_called: bool,
    /// Never refused, as dialled.
    pub emergency_numbers: Vec<String>,
}

/// `[[link.peer]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its `node.name`.
    pub name: String,
    /// Its `link.listen`.
    pub address: SocketAddr,
}

/// `[link]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// QUIC.
    pub listen: SocketAddr,
    /// PEM chain.
    pub certificate_file: PathBuf,
    /// PEM key.
    pub key_file: PathBuf,
    /// PEM roots that peers must show.
    pub ca_file: PathBuf,
    /// The other sites.
    pub peers: Vec<Peer>,
}
