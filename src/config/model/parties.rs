//! `[[trunk]]` and `[[account]]`: who may call and be called, and how they prove themselves.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::base::Transport;
use crate::base::time::Duration;
use crate::config::model::Qos;
use crate::config::net::Net;
#[cfg(doc)]
use crate::config::{Config, Limits};

/// A secret as configured.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// In the file itself, or read from `password_file` by [`Config::load_secrets`].
    Password(String),
    /// Still to be read by the edge.
    File(PathBuf),
    /// Digest HA1 of user, realm and password (RFC 7616 §3.4.2).
    Ha1 {
        /// MD5.
        md5: [u8; 16],
        /// SHA-256.
        sha256: [u8; 32],
    },
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password(_) => out.write_str("Password(…)"),
            Self::File(path) => out.debug_tuple("File").field(path).finish(),
            Self::Ha1 { .. } => out.write_str("Ha1(…)"),
        }
    }
}

/// What we answer a trunk's challenge with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkLogin {
    /// Digest user.
    pub username: String,
    /// Password; never [`Secret::Ha1`], since the realm is theirs.
    pub secret: Secret,
}

/// `[[trunk]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trunk {
    /// Unique.
    pub name: String,
    /// Where requests go.
    pub address: SocketAddr,
    /// Over what.
    pub transport: Transport,
    /// Numbers it takes; the longest match wins; `""` catches the rest.
    pub prefixes: Vec<String>,
    /// Requests from here are this trunk's; `address` always belongs.
    pub allow_from: Vec<Net>,
    /// Calls at once, over all shards.
    pub max_calls: Option<u32>,
    /// New calls in a second, over all shards.
    pub max_cps: Option<u32>,
    /// No response at all for this long: the next trunk.
    pub timeout: Duration,
    /// After such a failure it is asked last for this long.
    pub retry_after: Duration,
    /// Its media is learnt from its packets.
    pub rtp_symmetric: bool,
    /// Answer to its challenges.
    pub login: Option<TrunkLogin>,
    /// Ordered; empty = as offered.
    pub codecs: Vec<String>,
    /// DSCP towards it.
    pub qos: Qos,
}

/// How a call reaches several devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forking {
    /// All at once.
    Parallel,
    /// By q, highest first; equal ones together.
    Serial,
}

/// `[[account.device]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Digest user; unique over all accounts.
    pub username: String,
    /// How it proves itself.
    pub secret: Secret,
}

/// `[[account]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// User part of its AOR in each served domain; unique.
    pub name: String,
    /// Numbers that reach it.
    pub numbers: Vec<String>,
    /// Calls at once, over all sites.
    pub max_calls: u32,
    /// Where its rights are made; else [`Limits::home`].
    pub home: Option<String>,
    /// Ordered; empty = as offered.
    pub codecs: Vec<String>,
    /// How a call reaches its devices.
    pub forking: Forking,
    /// DSCP towards it.
    pub qos: Qos,
    /// Its credentials.
    pub devices: Vec<Device>,
}
