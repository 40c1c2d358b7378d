//! One call's way through the commands: sends, waits, goes on. What comes for it: `receive.rs`.

use bytes::Bytes;
use strowger::base::Instant;
use strowger::base::time::Duration;

use super::call::{Asked, Call, Failure, Flow};
use super::repeat::Repeat;
use super::shared::Shared;
use super::write::Pen;
use crate::core::scan::{self, Fields, Start};
use crate::core::stats::record;
use crate::core::{Context, Path, Timer};
use crate::draw::unit;
use crate::scenario::program::{Command, Kind, Length, Optional, Send, millis};

/// Commands done without waiting for anything before a call is taken to go round and round.
const STEPS_MAX: usize = 10_000;
/// Requests without a final answer that a call remembers.
const OPEN_MAX: usize = 16;

impl Call {
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
                    self.seen.end_turn();
                    self.wake(cx, self.due + pause);
                    return Flow::Waiting;
                }
                Kind::Receive(receive) => {
                    self.seen.end_turn();
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

    /// It is time to send again, or to give up.
    pub fn on_repeat(&mut self, cx: &mut Context<'_>) -> Flow {
        let slot = self.slot;
        let Some(repeat) = &mut self.repeat else { return Flow::Waiting };
        if repeat.again(cx, slot) {
            return Flow::Waiting;
        }
        self.repeat = None;
        Flow::Over(Err(Failure::Unanswered))
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
            self.stop_repeat(cx);
            self.repeat = Some(repeat.start(cx, self.slot));
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
