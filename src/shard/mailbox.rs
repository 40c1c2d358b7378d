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
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

/// One letter. What is skipped is of its process: whoever asked asks again.
#[derive(Debug, Serialize, Deserialize)]
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
        #[serde(with = "serde_bytes")]
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
    #[serde(skip)]
    Directory(Arc<Directory>),
    /// A question from the control plane.
    #[serde(skip)]
    Query {
        /// What is asked.
        query: Query,
        /// Where the answer goes; the asker waits with a bound.
        reply: Sender<Answer>,
    },
    /// End this call.
    #[serde(skip)]
    Hangup {
        /// Which.
        call: CallId,
        /// Says whether there was such a call.
        reply: Sender<Answer>,
    },
    /// The answer to a [`Note::Borrow`](crate::tally::Note::Borrow). Its slot names one tenant of one place: a letter
    /// that finds the call gone, or waiting for nothing, is dropped, and with it the right goes back.
    #[serde(skip)]
    Right {
        /// Which call waits.
        call: Slot,
        /// A right of the account it waits for; none: refused.
        permit: Option<Permit>,
    },
    /// There are more calls of this account than rights, and the policy is to end the newest.
    #[serde(skip)]
    HangUpSome {
        /// Which account.
        account: Arc<str>,
        /// How many are to end; all shards take from it.
        budget: Arc<AtomicU32>,
    },
    /// Say all calls that hold rights, as one [`Note::Calls`](crate::tally::Note::Calls).
    #[serde(skip)]
    TellCalls,
    /// What a shard saw of a source, or what its home says is done about it.
    Guard {
        /// Where it is.
        source: Source,
        /// What is said.
        word: Word,
    },
    /// Do no more about this source.
    #[serde(skip)]
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
    #[serde(skip)]
    Stop,
}

impl Mail {
    /// True where it means the same in another process, and goes along when this one is taken over.
    #[must_use]
    pub const fn goes_along(&self) -> bool {
        match self {
            Self::Message { .. }
            | Self::Transmit(_)
            | Self::Unreachable { .. }
            | Self::Locate { .. }
            | Self::Contacts { .. }
            | Self::Guard { .. }
            | Self::Drain
            | Self::Undrain => true,
            Self::Directory(_)
            | Self::Query { .. }
            | Self::Hangup { .. }
            | Self::Right { .. }
            | Self::HangUpSome { .. }
            | Self::TellCalls
            | Self::Unblock { .. }
            | Self::Stop => false,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Transport;

    #[test]
    fn a_letter_that_goes_along_arrives_as_it_was_and_no_other_can_be_written() {
        let at: SocketAddr = "192.0.2.1:5060".parse().unwrap();
        let flow =
            Flow { transport: Transport::Tcp, shard: ShardId(1), socket: SocketKey(2), stream: None, remote: at };
        let call = Slot { index: 3, generation: 4 };
        let (reply, _answers) = crossbeam::channel::bounded(1);
        for mail in [
            Mail::Message { flow, bytes: Bytes::from_static(b"BYE") },
            Mail::Transmit(Transmit { flow, bytes: Bytes::from_static(b"ACK") }),
            Mail::Unreachable { socket: SocketKey(5), to: at },
            Mail::Locate { account: b"alice".to_vec().into(), asker: ShardId(6), call },
            Mail::Contacts { call, contacts: Vec::new() },
            Mail::Guard { source: Source::of(at.ip()), word: Word::Forgive },
            Mail::Drain,
            Mail::Undrain,
            Mail::Query { query: Query::Shard, reply },
            Mail::TellCalls,
            Mail::Stop,
        ] {
            let written = rmp_serde::to_vec_named(&mail);
            assert_eq!(written.is_ok(), mail.goes_along(), "{mail:?}");
            let Ok(written) = written else { continue };
            let read: Mail = rmp_serde::from_slice(&written).unwrap();
            assert_eq!(format!("{read:?}"), format!("{mail:?}"));
        }
    }
}
