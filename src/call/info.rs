//! What `show` prints of calls, registrations and trunks: values for people and for JSON, made on request.

use crate::base::Instant;
use crate::observe::{CallId, MediaPath};
use serde::Serialize;
use std::net::SocketAddr;

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub struct CallInfo {
    /// Our name for it.
    pub call: CallId,
    /// `locating`, `ringing`, `up`, `ending`.
    pub state: &'static str,
    /// Calling user or number.
    pub from: String,
    /// Called user or number.
    pub to: String,
    /// Account or trunk that calls.
    pub caller: String,
    /// Account or trunk that is called.
    pub callee: String,
    /// INVITE came.
    pub started: Instant,
    /// First 2xx went.
    pub answered: Option<Instant>,
    /// Packets from the caller, from the callee.
    pub packets: (u64, u64),
    /// What carries them now, in the first stream.
    pub paths: (Option<MediaPath>, Option<MediaPath>),
}

/// One registered contact.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistrationInfo {
    /// The account.
    pub account: String,
    /// Contact URI.
    pub contact: String,
    /// Where it registered from.
    pub remote: SocketAddr,
    /// `udp`, `tcp`, …
    pub transport: &'static str,
    /// When it lapses.
    pub expires: Instant,
    /// Preference, 0..=1000.
    pub q: u16,
}

/// One limit of simultaneous calls and what is used of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitInfo {
    /// `account` or `trunk`.
    pub of: &'static str,
    /// Its name.
    pub name: String,
    /// Calls now, over all shards of the node.
    pub used: u32,
    /// How many there may be.
    pub max: u32,
}

/// One trunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrunkInfo {
    /// Its name.
    pub name: String,
    /// Where requests go.
    pub address: SocketAddr,
    /// `udp`, `tcp`, …
    pub transport: &'static str,
    /// Calls now, over all shards of the node; none without a cap.
    pub calls: Option<u32>,
    /// Cap of calls.
    pub calls_max: Option<u32>,
    /// It failed a short while ago and is asked last.
    pub resting: bool,
}
