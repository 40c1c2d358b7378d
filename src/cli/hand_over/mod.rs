//! A running appliance changes its process: `strowger run --take-over` asks the one that runs for its sockets and for
//! everything its shards know, over the Unix socket, and goes on where that one stops. No call ends.
//!
//! The conversation, each line one JSON object:
//!
//! ```text
//! new: {"command":"take_over","format":1,"version":"0.1.0","ground":{…},     who may, and whether it fits
//!       "below":true}
//! old: {"ok":true,"origin_ns":…,"draining":false,"linked":false,             descriptors of the relay in the kernel, if any:
//!       "below":{…},"descriptors":…}, those descriptors                      the new one makes itself ready
//! new: {"freeze":true,"below":"adopt"}                                       links to other sites rest, then the pause begins
//! old: {"ok":true,"bytes":…,"descriptors":…}, the snapshot, the descriptors
//! new: {"ready":true,"pid":…,"tells":true}                                   all of it is thawed and adopted
//! old: {"go":true}                                                           it will not run again, unless the new one dies
//! new: {"runs":true}                                                         from here on the new one has it
//! ```
//!
//! Until the last line has come the old process can take everything back, and does so whatever goes wrong: a sentence, an
//! end of the connection, and before *go* silence. The new one touches nothing before it has written that line, so an end of the
//! connection without it means that nobody runs. After it, the old process ends without hanging anything up. A new process that
//! does not say `tells` is of a version that knew no such line, and has everything with *go*.

mod give;
mod ground;
mod take;
mod wire;

pub use give::{Giver, Standing};
pub use take::{Conversation, Taken, TakenShard};

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::base::{Instant, SocketKey, StreamKey};
use crate::control::Totals;
use crate::control::links;
use crate::io::{ReleasedSocket, ReleasedStream, Role, StreamState, Traffic};
use crate::xdp::hops::Neighbour;

/// Of the snapshot; another one is refused. New fields alone need no new number.
pub const FORMAT: u64 = 1;
/// How long either side waits for the other's next word.
const WORD_WAIT: Duration = Duration::from_secs(10);
/// How long the new process may make itself ready, which reads all accounts.
const READY_WAIT: Duration = Duration::from_secs(60);
/// How long all shards may take to stand still.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// Everything, as MessagePack with names; letters as `M`.
#[derive(Debug, Serialize, Deserialize)]
struct Snapshot<M> {
    shards: Vec<ShardSnapshot<M>>,
    /// When the pause began, in the shards' time.
    paused: Instant,
    /// Letters that are not for another process.
    letters_left: u64,
    /// Where the relay in the kernel goes along: whose its next hops are.
    #[serde(default)]
    neighbours: Vec<Neighbour>,
    /// What the control plane had counted.
    #[serde(default)]
    totals: Totals,
    /// Where this site decides with others: what it has of them. Three descriptors belong to it, after the doors.
    #[serde(default)]
    links: Option<links::Frozen>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ShardSnapshot<M> {
    frozen: Bytes,
    mail: Vec<M>,
    lingering: Vec<(Instant, StreamKey)>,
    /// In the order of their descriptors.
    sockets: Vec<Socket>,
    /// Likewise, after the sockets.
    streams: Vec<Stream>,
    accepted: u64,
    #[serde(default)]
    counts: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Socket {
    key: SocketKey,
    /// `listener`, `signalling`, `media`.
    kind: Kind,
    v6: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Listener,
    Signalling,
    Media,
}

#[derive(Debug, Serialize, Deserialize)]
struct Stream {
    key: StreamKey,
    connecting: bool,
    closing: bool,
    finished_reading: bool,
    unsent: Vec<Bytes>,
}

impl From<&ReleasedSocket> for Socket {
    fn from(socket: &ReleasedSocket) -> Self {
        let (kind, v6) = match socket.role {
            Role::Listener { v6 } => (Kind::Listener, v6),
            Role::Udp { traffic: Traffic::Signalling, v6 } => (Kind::Signalling, v6),
            Role::Udp { traffic: Traffic::Media, v6 } => (Kind::Media, v6),
        };
        Self { key: socket.key, kind, v6 }
    }
}

impl Socket {
    fn role(self) -> Role {
        match self.kind {
            Kind::Listener => Role::Listener { v6: self.v6 },
            Kind::Signalling => Role::Udp { traffic: Traffic::Signalling, v6: self.v6 },
            Kind::Media => Role::Udp { traffic: Traffic::Media, v6: self.v6 },
        }
    }
}

impl From<&ReleasedStream> for Stream {
    fn from(stream: &ReleasedStream) -> Self {
        let StreamState { connecting, closing, finished_reading } = stream.state;
        Self { key: stream.key, connecting, closing, finished_reading, unsent: stream.unsent.clone() }
    }
}
