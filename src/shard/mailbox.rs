//! What shards and the control plane say to each other. Every queue that carries these is bounded.

use super::guard::Word;
use crate::base::{Flow, Instant, ShardId, Slot, SocketKey, Source, Transmit};
use crate::call::Directory;
use crate::call::contacts::Binding;
pub use crate::call::{CallInfo, LimitInfo, RegistrationInfo, TrunkInfo};
use crate::observe::CallId;
use crate::tally::Permit;
use bytes::Bytes;
use crossbeam::channel::Sender;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

/// One letter.
#[derive(Debug)]
pub enum Mail {
    /// A SIP message that belongs to a call, a dialog or an AOR of yours.
    Message {
        /// How it came.
        flow: Flow,
        /// One whole message.
        bytes: Bytes,
    },
    /// To be sent by a connection of yours.
    Transmit(Transmit),
    /// A datagram did not arrive. With one port for all shards the kernel reports it to any of them.
    Unreachable {
        /// By which socket it was sent.
        socket: SocketKey,
        /// Where it should have gone.
        to: SocketAddr,
    },
    /// Which contacts does this account have? Answer with [`Mail::Contacts`].
    Locate {
        /// The account's name.
        account: Box<[u8]>,
        /// Who asks.
        asker: ShardId,
        /// For which call of the asker.
        call: Slot,
    },
    /// The answer, at most [`CONTACTS_MAX`].
    Contacts {
        /// For which call.
        call: Slot,
        /// What is registered now.
        contacts: Vec<Binding>,
    },
    /// A new snapshot of accounts, trunks and routes.
    Directory(Arc<Directory>),
    /// A question from the control plane.
    Query {
        /// What is asked.
        query: Query,
        /// Where the answer goes; the asker waits with a bound.
        reply: Sender<Answer>,
    },
    /// End this call.
    Hangup {
        /// Which.
        call: CallId,
        /// Says whether there was such a call.
        reply: Sender<Answer>,
    },
    /// The answer to a [`Note::Borrow`](crate::tally::Note::Borrow). Its slot names one tenant of one place: a letter
    /// that finds the call gone, or waiting for nothing, is dropped, and with it the right goes back.
    Right {
        /// Which call waits.
        call: Slot,
        /// A right of the account it waits for; none: refused.
        permit: Option<Permit>,
    },
    /// There are more calls of this account than rights, and the policy is to end the newest.
    HangUpSome {
        /// Which account.
        account: Arc<str>,
        /// How many are to end; all shards take from it.
        budget: Arc<AtomicU32>,
    },
    /// Say all calls that hold rights, as one [`Note::Calls`](crate::tally::Note::Calls).
    TellCalls,
    /// What a shard saw of a source, or what its home says is done about it.
    Guard {
        /// Where it is.
        source: Source,
        /// What is said.
        word: Word,
    },
    /// Do no more about this source.
    Unblock {
        /// Where it is.
        source: Source,
        /// Says whether something was done about it.
        reply: Sender<Answer>,
    },
    /// Take no new calls.
    Drain,
    /// Take new calls again.
    Undrain,
    /// Hang up what is left and stop.
    Stop,
}

/// Most contacts that one account's call forks to.
pub const CONTACTS_MAX: usize = 16;

/// What the control plane may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// Calls that are up or being set up, at most so many.
    Calls {
        /// The bound.
        limit: usize,
    },
    /// Registered contacts, at most so many.
    Registrations {
        /// The bound.
        limit: usize,
    },
    /// The shard's own figures.
    Shard,
    /// Trunks; every shard knows the same.
    Trunks,
    /// Sources that are blocked or muted, at most so many; every shard knows the same.
    Blocked {
        /// The bound.
        limit: usize,
    },
    /// Limits and their use, at most so many; every shard knows the same.
    Limits {
        /// The bound.
        limit: usize,
    },
}

/// The answer.
#[derive(Debug)]
pub enum Answer {
    /// To [`Query::Calls`].
    Calls(Vec<CallInfo>),
    /// To [`Query::Registrations`].
    Registrations(Vec<RegistrationInfo>),
    /// To [`Query::Shard`].
    Shard(ShardInfo),
    /// To [`Query::Trunks`].
    Trunks(Vec<TrunkInfo>),
    /// To [`Query::Limits`].
    Limits(Vec<LimitInfo>),
    /// To [`Query::Blocked`].
    Blocked(Vec<BlockedInfo>),
    /// To [`Mail::Unblock`].
    Unblock {
        /// It was blocked or muted.
        found: bool,
    },
    /// To [`Mail::Hangup`].
    Hangup {
        /// There was such a call.
        found: bool,
    },
}

/// A source that something is done about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedInfo {
    /// An IPv4 address, or an IPv6 network.
    pub source: String,
    /// `blocked` or `muted`.
    pub state: &'static str,
    /// What it did last.
    pub reason: &'static str,
    /// From then on.
    pub since: Instant,
    /// Until then.
    pub until: Instant,
}

/// A shard's own figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ShardInfo {
    /// Its number.
    pub shard: u8,
    /// Calls being set up or up.
    pub calls: usize,
    /// Calls that are over, kept for what may still come late (RFC 3261 §17).
    pub ending: usize,
    /// Client and server transactions.
    pub transactions: usize,
    /// Registered contacts.
    pub contacts: usize,
    /// Connections.
    pub connections: usize,
    /// Media streams.
    pub streams: usize,
    /// Media ports in use.
    pub ports: usize,
    /// Taking no new calls.
    pub draining: bool,
}
