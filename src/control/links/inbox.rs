//! What the keeper of the rights is told, and what those who tell it get back.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use crossbeam::channel::Sender;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::accounts::Accounts;
use super::end::End;
use super::ledger_file::AtRest;
use super::packed::Frozen;
use crate::tally::Note;
use crate::tally::wire::{Frame, Hello};

/// What the keeper hears.
#[derive(Debug)]
pub enum Input {
    /// A connection on which both sides have greeted.
    Up(Box<Newcomer>),
    /// Frames of a line, in their order.
    Frames {
        /// Which.
        line: u64,
        /// They.
        frames: Vec<Frame>,
    },
    /// The line has ended.
    Down {
        /// Which.
        line: u64,
        /// A sentence.
        why: String,
    },
    /// What shards had to say.
    Notes(Vec<Note>),
    /// The accounts of a new configuration.
    Accounts(Arc<Accounts>),
    /// Somebody asks.
    Ask(Ask),
    /// Another process may take over: goodbye to all, and nobody is let in.
    Rest,
    /// It has not: links are welcome again.
    GoOn,
    /// The shards stand still, and all that they have said came before.
    Freeze(Freeze),
    /// The process ends.
    Stop,
}

/// The keeper is to write everything down and to stand still.
#[derive(Debug)]
pub struct Freeze {
    /// For what was written, or why it goes on at once.
    pub reply: Sender<Result<(Frozen, AtRest), String>>,
    /// A word: another process has it all. None: it goes on.
    pub verdict: oneshot::Receiver<()>,
}

/// What the keeper gives to a connection that it takes.
#[derive(Debug)]
pub struct Line {
    /// Names the connection.
    pub id: u64,
    /// Encoded frames to send. Closed: this connection is not wanted any more.
    pub outbox: mpsc::Receiver<Bytes>,
    /// Octets in it.
    pub queued: Arc<AtomicUsize>,
}

/// A connection on which both sides have greeted.
#[derive(Debug)]
pub struct Newcomer {
    /// Which peer.
    pub peer: usize,
    /// Its greeting.
    pub hello: Hello,
    /// The version that was agreed.
    pub version: u8,
    /// We have dialled.
    pub dialled: bool,
    /// The keeper's word.
    pub reply: oneshot::Sender<Result<Line, End>>,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The links, and the sites that the ledger knows.
    Links,
    /// Limits and their use, at most so many.
    Limits {
        /// The bound.
        limit: usize,
    },
    /// One account's limit, and where its rights are.
    Account {
        /// Its name.
        name: String,
    },
    /// Calls of all sites, at most so many.
    Calls {
        /// The bound.
        limit: usize,
    },
    /// A site that is fenced will not come back.
    Retire {
        /// Its name.
        name: String,
        /// The last one that this site has seen of it.
        incarnation: u32,
    },
    /// Nothing of this home's old ledger is in use anywhere.
    Found,
}

/// A question and where its answer goes: an object, or a sentence that says why not.
#[derive(Debug)]
pub struct Ask {
    /// What is asked.
    pub question: Question,
    /// For the answer.
    pub reply: oneshot::Sender<Result<Value, String>>,
}
