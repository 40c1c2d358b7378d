//! The configuration as the rest of the house reads it: checked, units resolved, defaults filled in.
//!
//! Every field stands for one row of [`super::rows`]; the row has its default, range and documentation.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::net::Net;
use crate::base::Transport;
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
    /// What was read or defaulted, by key: what [`super::diff`] compares.
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
    /// How long a busy shard may collect messages.
    pub gather: Duration,
}

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
