//! One call's way through the commands: sends, waits, goes on. What comes for it: `receive.rs`.

use std::net::SocketAddr;

use bytes::Bytes;
use strowger::base::time::Duration;
use strowger::base::{Instant, Slot, TimerKey};

use super::Shared;
use super::repeat::Repeat;
use super::value::Value;
use super::write::Pen;
use crate::core::digest::Challenge;
use crate::core::scan::{self, Fields, Start};
use crate::core::stats::record;
use crate::core::{Context, Path, Timer};
use crate::draw::unit;
use crate::scenario::program::{Command, Kind, Length, Optional, Send, millis};

/// Commands done without waiting for anything before a call is taken to go round and round.
const STEPS_MAX: usize = 10_000;
/// Requests without a final answer that a call remembers.
const OPEN_MAX: usize = 16;

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
    wake_at: Instant,
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

/// Messages received, by their hash, and what was sent at once in answer to each.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    messages: Vec<(u64, Option<(Path, Bytes)>)>,
    answering: bool,
}

impl Seen {
    /// Messages remembered.
    const MAX: usize = 64;

    /// The answer to a message that was received before; `Some(None)` if it had none.
    pub fn find(&self, hash: u64) -> Option<Option<&(Path, Bytes)>> {
        self.messages.iter().rev().find(|seen| seen.0 == hash).map(|seen| seen.1.as_ref())
    }

    pub(super) fn received(&mut self, hash: u64) {
        if self.messages.len() == Self::MAX {
            self.messages.remove(0);
        }
        self.messages.push((hash, None));
        self.answering = true;
    }

    fn sent(&mut self, path: Path, bytes: &Bytes) {
        if let Some(last) = self.messages.last_mut().filter(|_| self.answering) {
            last.1 = Some((path, bytes.clone()));
        }
    }
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
        let line =
            |injection: &crate::scenario::inject::Injection| injection.line(from.number - 1, from.user, cx.random);
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

    /// Goes on until there is something to wait for.
    pub fn run(&mut self, cx: &mut Context<'_>, shared: &mut Shared) -> Flow {
        let env = shared.env.clone();
        for _ in 0..STEPS_MAX {
            let index = self.at;
            let Some(command) = env.program.commands.get(index) else { return Flow::Over(Ok(())) };
            if !self.applies(shared, command) {
                self.at += 1;
                continue;
            }
            match &command.kind {
                Kind::Nothing => {}
                Kind::Send(send) => self.send(cx, shared, send, index),
                Kind::Pause(length) => {
                    let pause = self.length(cx, shared, *length);
                    self.seen.answering = false;
                    self.wake(cx, self.due + pause);
                    return Flow::Waiting;
                }
                Kind::Receive(receive) => {
                    self.seen.answering = false;
                    if let Some(timeout) = receive.timeout.or(env.receive_timeout) {
                        self.wake(cx, self.due + timeout);
                    }
                    return Flow::Waiting;
                }
                Kind::Linger(time) => return Flow::Lingering(*time),
            }
            if let Err(failure) = self.complete(cx, shared, command, index) {
                return Flow::Over(Err(failure));
            }
        }
        cx.stats.sample(|| format!("{}: the scenario goes round without waiting for anything", env.program.file));
        Flow::Over(Err(Failure::Endless))
    }

    pub(super) fn applies(&self, shared: &Shared, command: &Command) -> bool {
        command.only_if.is_none_or(|(variable, inverse)| {
            shared.store.get(&self.variables, self.user, variable).is_set() != inverse
        })
    }

    fn length(&self, cx: &mut Context<'_>, shared: &Shared, length: Length) -> Duration {
        match length {
            Length::Default => shared.env.pause,
            Length::Drawn(distribution) => millis(distribution.sample(cx.random)),
            Length::Variable(id) => millis(shared.store.get(&self.variables, self.user, id).number().unwrap_or(0.0)),
        }
    }

    fn wake(&mut self, cx: &mut Context<'_>, at: Instant) {
        cx.cancel(&mut self.wake);
        self.wake_at = at;
        self.wake = cx.schedule(at, Timer::ScenarioWake(self.slot));
    }

    /// The wake-up fired: a pause is over, or a message did not come.
    pub fn on_wake(&mut self, cx: &mut Context<'_>, shared: &mut Shared) -> Flow {
        self.wake = None;
        self.due = self.wake_at;
        let (env, index) = (shared.env.clone(), self.at);
        let Some(command) = env.program.commands.get(index) else { return Flow::Over(Ok(())) };
        match &command.kind {
            Kind::Receive(receive) => match receive.on_timeout {
                Some(label) => self.at = label,
                None => {
                    cx.stats.sample(|| {
                        let (file, line) = (&env.program.file, command.at.line);
                        format!("{file}:{line}: {} did not come in time", receive.expected)
                    });
                    return Flow::Over(Err(Failure::Timeout));
                }
            },
            _ => {
                if let Err(failure) = self.complete(cx, shared, command, index) {
                    return Flow::Over(Err(failure));
                }
            }
        }
        self.run(cx, shared)
    }

    /// What a command does at its end: timers, actions, and where the call goes on.
    pub(super) fn complete(
        &mut self,
        cx: &mut Context<'_>,
        shared: &mut Shared,
        command: &Command,
        index: usize,
    ) -> Result<(), Failure> {
        let stay = self.at;
        self.time(cx, command);
        if let Some((_, count)) = command.counts.and_then(|counter| cx.stats.counted.get_mut(counter)) {
            *count += 1;
        }
        let jump = self.act(cx, shared, command, index)?;
        let passes = command.test.is_none_or(|test| shared.store.get(&self.variables, self.user, test).is_set())
            && (command.chance >= 1.0 || unit(cx.random) < command.chance);
        let optional = matches!(&command.kind, Kind::Receive(receive) if receive.optional != Optional::No);
        self.at = match (jump, command.next.filter(|_| passes)) {
            (Some(target), _) | (None, Some(target)) => target,
            (None, None) if optional => stay,
            (None, None) => index + 1,
        };
        Ok(())
    }

    fn time(&mut self, cx: &mut Context<'_>, command: &Command) {
        let at = if matches!(command.kind, Kind::Receive(_)) { cx.arrived } else { cx.now };
        for &timer in &command.stops {
            let Some(since) = self.timers[timer] else { continue };
            if let Some((_, histogram)) = cx.stats.timers.get_mut(timer) {
                record(histogram, at.since(since));
            }
            if !command.repeats {
                self.timers[timer] = None;
            }
        }
        for &timer in &command.starts {
            self.timers[timer] = Some(self.due);
        }
    }

    fn send(&mut self, cx: &mut Context<'_>, shared: &mut Shared, send: &Send, index: usize) {
        let head = send.text.head();
        let is_response = head.starts_with(b"SIP/2.0");
        if !is_response && !head.starts_with(b"ACK ") && !head.starts_with(b"CANCEL ") {
            self.cseq = self.cseq.wrapping_add(1);
        }
        let mut bytes = Pen::new(self, shared, cx, index).message(&send.text);
        if let Some(branch) = send.ack_transaction.and_then(|transaction| self.branches.get(transaction)) {
            replace_branch(&mut bytes, branch);
        }
        let bytes = Bytes::from(bytes);
        let path = if is_response { self.answers.unwrap_or(self.path) } else { self.path };
        let scanned = scan::scan(&bytes).ok();
        if scanned.is_none() {
            let file = &shared.env.program.file;
            cx.stats
                .sample(|| format!("{file}: message {index} has no Via, From, To, Call-ID or CSeq that can be read"));
        }
        let (cseq, method) = scanned.as_ref().map_or((0, &b""[..]), |fields| (fields.cseq, fields.cseq_method));
        if let Some(fields) = &scanned {
            if let (Some(transaction), Some(branch)) = (send.start_transaction, fields.branch()) {
                self.branches[transaction] = branch.to_vec();
            }
            self.remember(fields, &bytes, cx);
        }
        self.seen.sent(path, &bytes);
        if send.lost <= 0.0 || unit(cx.random) * 100.0 >= send.lost {
            cx.send(path, bytes.clone());
        }
        if let (Some(first), Path::Datagram(..), true) = (send.retransmit, path, shared.env.retransmit) {
            let repeat = Repeat::new(shared, first, is_response, method, cseq, path, bytes.clone());
            self.start_repeat(cx, repeat);
        }
    }

    /// What later messages need to know of one that is sent.
    fn remember(&mut self, fields: &Fields<'_>, bytes: &Bytes, cx: &mut Context<'_>) {
        let method = fields.cseq_method;
        match fields.start {
            Start::Response { status, .. } => {
                if method == b"INVITE" && (200..300).contains(&status) {
                    self.answered = Some(bytes.clone());
                }
            }
            Start::Request { method: b"ACK", .. } => self.owed = None,
            Start::Request { .. } => {
                self.cseq_sent = self.cseq_sent.max(fields.cseq);
                if self.open.len() == OPEN_MAX {
                    self.open.remove(0);
                }
                self.open.push((fields.cseq, method.to_vec()));
                if method == b"INVITE" {
                    self.invite = Some(bytes.clone());
                }
                let since = if cx.now < self.due { cx.now } else { self.due };
                self.asked = Some(Asked { method: method.to_vec(), cseq: fields.cseq, since, rang: None });
            }
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

/// Puts another branch into the top Via.
fn replace_branch(bytes: &mut Vec<u8>, branch: &[u8]) {
    let Some(at) = memchr::memmem::find(bytes, b"branch=").map(|at| at + 7) else { return };
    let end = bytes[at..].iter().position(|byte| b";,\r\n \t".contains(byte)).map_or(bytes.len(), |end| at + end);
    bytes.splice(at..end, branch.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_branch_of_a_transaction_replaces_the_one_written() {
        let mut bytes = b"ACK x SIP/2.0\r\nVia: a;branch=one;rport\r\n\r\n".to_vec();
        replace_branch(&mut bytes, b"two-longer");
        assert_eq!(bytes, b"ACK x SIP/2.0\r\nVia: a;branch=two-longer;rport\r\n\r\n");
    }
}
