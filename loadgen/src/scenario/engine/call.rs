//! What a call knows and how far it has come. Its way through the commands: `run.rs`; what comes for it: `receive.rs`.

use std::net::SocketAddr;

use bytes::Bytes;
use strowger::base::time::Duration;
use strowger::base::{Instant, Slot, TimerKey};

use super::repeat::Repeat;
use super::seen::Seen;
use super::shared::Shared;
use super::value::Value;
use crate::core::digest::Challenge;
use crate::core::{Context, Path};
use crate::scenario::inject::Injection;
use crate::scenario::program::Command;

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A message came that the scenario does not expect.
    Unexpected,
    /// A final answer refused it, unexpectedly.
    Refused,
    /// Retransmitted as often as allowed.
    Unanswered,
    /// `timeout` without `ontimeout`.
    Timeout,
    /// `check_it`.
    Check,
    /// `stop_call`.
    Stopped,
    /// No command waits for anything.
    Endless,
    /// The connection is gone.
    PathLost,
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// For a message or a timer.
    Waiting,
    /// Through its scenario, or out of it.
    Over(Result<(), Failure>),
    /// Through it, but messages that come again are answered for so long.
    Lingering(Duration),
}

/// A request of ours, as latency sees it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub method: Vec<u8>,
    pub cseq: u32,
    pub since: Instant,
    pub rang: Option<Instant>,
}

/// One call.
pub struct Call {
    pub(super) slot: Slot,
    pub(super) number: u64,
    pub(super) user: u64,
    pub(super) call_id: Vec<u8>,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// Where requests go.
    pub(super) path: Path,
    /// Where answers go: back to where the last request came from.
    pub(super) answers: Option<Path>,
    pub(super) at: usize,
    pub(super) variables: Vec<Value>,
    pub(super) lines: Vec<u64>,
    /// The instant this step was due: scheduled, woken or received.
    pub(super) due: Instant,
    pub(super) timers: Vec<Option<Instant>>,
    pub(super) wake: Option<TimerKey>,
    pub(super) wake_at: Instant,
    pub(super) repeat: Option<Repeat>,
    pub(super) last: Option<Bytes>,
    pub(super) last_cseq: u32,
    pub(super) peer_tag: Vec<u8>,
    pub(super) routes: Vec<u8>,
    pub(super) next_url: Vec<u8>,
    /// The peer's Contact, whether or not the scenario asked for it.
    pub(super) contact: Vec<u8>,
    pub(super) cseq: u32,
    pub(super) cseq_sent: u32,
    pub(super) challenge: Option<Challenge>,
    /// Requests of ours without a final answer.
    pub(super) open: Vec<(u32, Vec<u8>)>,
    pub(super) asked: Option<Asked>,
    pub(super) branches: Vec<Vec<u8>>,
    pub(super) seen: Seen,
    pub(super) invite: Option<Bytes>,
    /// The 2xx that made the dialog: received, or sent by us.
    pub(super) answered: Option<Bytes>,
    /// A final answer to INVITE without our ACK.
    pub(super) owed: Option<Bytes>,
    pub(super) established: bool,
    pub(super) media: Option<usize>,
}

/// What a call begins with.
pub struct Beginning {
    pub slot: Slot,
    pub number: u64,
    pub user: u64,
    pub call_id: Vec<u8>,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub path: Path,
    pub due: Instant,
    pub media: Option<usize>,
}

impl Call {
    /// Before its first command.
    pub fn new(cx: &mut Context<'_>, shared: &Shared, from: Beginning) -> Self {
        let env = &shared.env;
        let line = |injection: &Injection| injection.line(from.number - 1, from.user, cx.random);
        Self {
            slot: from.slot,
            number: from.number,
            user: from.user,
            call_id: from.call_id,
            local: from.local,
            remote: from.remote,
            path: from.path,
            answers: None,
            at: 0,
            variables: vec![Value::Unset; shared.store.len()],
            lines: env.injections.iter().map(line).collect(),
            due: from.due,
            timers: vec![Some(from.due); env.program.timers.len()],
            wake: None,
            wake_at: from.due,
            repeat: None,
            last: None,
            last_cseq: 0,
            peer_tag: Vec::new(),
            routes: Vec::new(),
            next_url: Vec::new(),
            contact: Vec::new(),
            cseq: env.base_cseq.saturating_sub(1),
            cseq_sent: 0,
            challenge: None,
            open: Vec::new(),
            asked: None,
            branches: vec![Vec::new(); env.program.transactions],
            seen: Seen::default(),
            invite: None,
            answered: None,
            owed: None,
            established: false,
            media: from.media,
        }
    }

    /// Whether the condition on a whole command holds.
    pub(super) fn applies(&self, shared: &Shared, command: &Command) -> bool {
        command.only_if.is_none_or(|(variable, inverse)| {
            shared.store.get(&self.variables, self.user, variable).is_set() != inverse
        })
    }

    pub(super) fn stop_repeat(&mut self, cx: &mut Context<'_>) {
        if let Some(repeat) = self.repeat.take() {
            repeat.stop(cx);
        }
    }

    /// Timers and the media port are given back.
    pub fn end(&mut self, cx: &mut Context<'_>, shared: &mut Shared) {
        cx.cancel(&mut self.wake);
        self.stop_repeat(cx);
        if let Some(port) = self.media.take() {
            shared.player.release(port);
        }
    }
}
