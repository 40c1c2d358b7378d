//! The configuration as the rest of the house reads it: checked, units resolved, defaults filled in.
//!
//! Every field stands for one row of [`super::rows`]; the row has its default, range and documentation.

mod media;
mod parties;
mod sip;
mod sites;

pub use media::{FastPath, Media, Qos};
pub use parties::{Account, Device, Forking, Secret, Trunk, TrunkLogin};
pub use sip::{Advertise, Guard, Listen, Sip};
pub use sites::{LimitMode, LimitPolicy, Limits, Link, Peer};

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::base::time::Duration;

/// The whole file.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[node]`.
    pub node: Node,
    /// `[shards]`.
    pub shards: Shards,
    /// `[sip]`.
    pub sip: Sip,
    /// `[media]`.
    pub media: Media,
    /// `[[trunk]]`, in file order.
    pub trunks: Vec<Trunk>,
    /// `[[account]]`, in file order.
    pub accounts: Vec<Account>,
    /// `[guard]`.
    pub guard: Guard,
    /// `[limits]`.
    pub limits: Limits,
    /// `[store]`.
    pub store: Store,
    /// `[control]`.
    pub control: Control,
    /// `[log]`.
    pub log: Log,
    /// `[records]`.
    pub records: Records,
    /// `[link]`; none when the node stands alone.
    pub link: Option<Link>,
    /// What was read or defaulted, by key: what [`diff`](fn@super::diff) compares.
    pub values: super::diff::Values,
}

/// `[node]`: who this is and where it keeps things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Unique among all nodes.
    pub name: String,
    /// Records, spool, socket, token.
    pub data_dir: PathBuf,
    /// How long SIGTERM lets calls finish by themselves.
    pub drain_timeout: Duration,
}

/// How many shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// One per core the process may use.
    Auto,
    /// Just so many.
    Exactly(u8),
}

/// Which driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// io_uring where the probe passes, else epoll.
    Auto,
    /// io_uring or refuse to start.
    IoUring,
    /// epoll.
    Epoll,
}

/// `[shards]`: threads and the bounds of each one's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shards {
    /// How many.
    pub count: Count,
    /// Pin each to its core.
    pub pin: bool,
    /// Which driver.
    pub backend: Backend,
    /// Calls in one shard.
    pub calls_max: u32,
    /// SIP transactions in one shard.
    pub transactions_max: u32,
    /// Registered contacts in one shard.
    pub contacts_max: u32,
    /// TCP connections in one shard.
    pub connections_max: u32,
    /// How long a shard busy with signalling may collect messages.
    pub gather: Duration,
}

/// `[store]`.
#[derive(Clone, PartialEq, Eq)]
pub enum Store {
    /// A file in `data_dir`.
    Sqlite,
    /// A PostgreSQL URL; may hold a password.
    Postgres(String),
}

impl fmt::Debug for Store {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Sqlite => "Sqlite",
            Self::Postgres(_) => "Postgres(…)",
        })
    }
}

/// `[control]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// HTTP.
    pub listen: SocketAddr,
    /// Created at first start, mode 0600.
    pub admin_token_file: PathBuf,
    /// Unix socket of `strowger show` and its sisters.
    pub socket: PathBuf,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `key=value`.
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// Least severe level that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something is broken.
    Error,
    /// Something is odd.
    Warn,
    /// What ops want to see in a day.
    Info,
    /// Each call's steps.
    Debug,
    /// More.
    Trace,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// Least severe level that is written.
    pub level: LogLevel,
    /// Telephone numbers and DTMF digits in the clear.
    pub show_digits: bool,
}

/// `[records]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// One NDJSON file a day.
    pub dir: PathBuf,
    /// Records kept in memory while the disk refuses.
    pub spool_max: u32,
    /// Longest a finished call waits to be on disk.
    pub flush_interval: Duration,
}
