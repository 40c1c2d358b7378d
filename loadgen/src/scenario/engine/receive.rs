//! What a message means to the call it came for: again, expected, or not.
//!
//! Where it fits is looked for from the waiting command on, past optional ones up to the first that must come; then among
//! the optional ones before, and those that may come from their place on (`optional="global"`).

use bytes::Bytes;

use super::call::{Call, Failure, Flow};
use super::sdp;
use super::shared::Shared;
use super::value::Value;
use crate::core::digest::Challenge;
use crate::core::message::{Answer, answer};
use crate::core::pattern::word;
use crate::core::scan::{self, Fields, Start};
use crate::core::stats::record;
use crate::core::{Context, Path};
use crate::draw::unit;
use crate::scenario::program::{Command, Expected, Kind, Optional, Receive};

/// A message, as it came.
#[derive(Clone, Copy)]
pub struct Incoming<'a> {
    /// What was read of it.
    pub fields: &'a Fields<'a>,
    /// All of it.
    pub bytes: &'a [u8],
    /// Where an answer to it goes.
    pub path: Path,
    /// Stands for the bytes.
    pub hash: u64,
}

impl Call {
    /// A message with our Call-ID came.
    pub fn on_message(&mut self, cx: &mut Context<'_>, shared: &mut Shared, incoming: Incoming<'_>) -> Flow {
        if let Some(again) = self.seen.find(incoming.hash) {
            cx.stats.counters.received_again += 1;
            if let Some((path, bytes)) = again.cloned() {
                cx.send(path, bytes);
            }
            return Flow::Waiting;
        }
        self.due = cx.now;
        let env = shared.env.clone();
        let Some((index, receive)) = self.find(&env.program.commands, shared, incoming.fields) else {
            return self.on_unexpected(cx, shared, incoming);
        };
        if receive.lost > 0.0 && unit(cx.random) * 100.0 < receive.lost {
            return Flow::Waiting;
        }
        self.take(cx, shared, receive, incoming);
        let stays = self.at;
        if let Err(failure) = self.complete(cx, shared, &env.program.commands[index], index) {
            return Flow::Over(Err(failure));
        }
        if self.at == stays && receive.optional != Optional::No {
            return Flow::Waiting;
        }
        cx.cancel(&mut self.wake);
        self.run(cx, shared)
    }

    fn find<'p>(&self, commands: &'p [Command], shared: &Shared, fields: &Fields<'_>) -> Option<(usize, &'p Receive)> {
        let (before, ahead) = commands.split_at(self.at.min(commands.len()));
        let fits = |command: &'p Command| match &command.kind {
            Kind::Receive(receive) if self.fits(receive, fields) => Some(&**receive),
            _ => None,
        };
        let ahead = ahead.iter().enumerate().filter(|(_, command)| self.applies(shared, command));
        for (index, command) in ahead {
            if let Some(receive) = fits(command) {
                return Some((self.at + index, receive));
            }
            if optional(command) == Optional::No {
                break;
            }
        }
        let mut contiguous = true;
        before.iter().enumerate().rev().find_map(|(index, command)| {
            contiguous &= optional(command) != Optional::No;
            let may_come = contiguous || optional(command) == Optional::FromHere;
            fits(command).filter(|_| may_come).map(|receive| (index, receive))
        })
    }

    fn fits(&self, receive: &Receive, fields: &Fields<'_>) -> bool {
        let of_transaction = receive.transaction.is_none_or(|transaction| {
            self.branches.get(transaction).is_some_and(|branch| fields.branch() == Some(branch))
        });
        match (&receive.expected, fields.start) {
            (Expected::Status(wanted), Start::Response { status, .. }) => {
                *wanted == status && of_transaction && self.is_open(fields)
            }
            (Expected::Method(wanted), Start::Request { method, .. }) => wanted.as_bytes() == method,
            (Expected::Methods(regex), Start::Request { method, .. }) => regex.is_match(method),
            _ => false,
        }
    }

    /// An expected message came.
    fn answered(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>) {
        if self.repeat.as_ref().is_some_and(|repeat| repeat.is_answered(fields)) {
            self.stop_repeat(cx);
        }
    }

    /// Whether a request of ours still waits for this answer. What we cannot read of our own request rules nothing out.
    fn is_open(&self, fields: &Fields<'_>) -> bool {
        self.open.is_empty() && self.asked.is_none()
            || self.open.iter().any(|(cseq, method)| (*cseq, &method[..]) == (fields.cseq, fields.cseq_method))
    }

    /// Keeps what later commands need of an expected message.
    fn take(&mut self, cx: &mut Context<'_>, shared: &mut Shared, receive: &Receive, incoming: Incoming<'_>) {
        let fields = incoming.fields;
        self.answered(cx, fields);
        self.keep(incoming);
        if receive.keep_routes {
            let routes: Vec<&[u8]> = fields.record_route.iter().flat_map(|line| scan::values(line)).collect();
            let reverse = matches!(fields.start, Start::Response { .. });
            let ordered: Vec<&[u8]> = if reverse { routes.into_iter().rev().collect() } else { routes };
            self.routes = ordered.join(&b", "[..]);
            self.next_url = self.contact.clone();
        }
        if receive.keep_challenge {
            self.challenge = Challenge::choose(fields.challenges.iter().copied());
        }
        if let Some(port) = self.media.filter(|_| !receive.ignore_sdp)
            && let Some(remote) = sdp::audio(fields.body)
        {
            shared.player.set_remote(port, remote);
        }
        match fields.start {
            Start::Response { status, .. } => self.on_answer(cx, status, incoming),
            Start::Request { method, .. } => {
                self.answers = Some(incoming.path);
                self.cseq = fields.cseq;
                if shared.is_answering() {
                    self.path = incoming.path;
                    if method == b"ACK" && !self.established && self.answered.is_some() {
                        self.established = true;
                        cx.stats.counters.uas_established += 1;
                    }
                }
            }
        }
    }

    /// What the next message may quote, whether or not this one was expected.
    fn keep(&mut self, incoming: Incoming<'_>) {
        let fields = incoming.fields;
        self.seen.received(incoming.hash);
        self.last = Some(Bytes::copy_from_slice(incoming.bytes));
        self.last_cseq = fields.cseq;
        if let (Start::Response { .. }, Some(tag)) = (fields.start, scan::tag(fields.to)) {
            self.peer_tag = tag.to_vec();
        }
        if let Some(contact) = fields.contact {
            self.contact = scan::uri(contact).to_vec();
        }
        if fields.cseq_method == b"INVITE" && fields.status() >= 200 {
            self.owed.clone_from(&self.last);
        }
    }

    fn on_answer(&mut self, cx: &mut Context<'_>, status: u16, incoming: Incoming<'_>) {
        let fields = incoming.fields;
        if status >= 200 {
            self.open.retain(|(cseq, method)| (*cseq, &method[..]) != (fields.cseq, fields.cseq_method));
        }
        let is_invite = fields.cseq_method == b"INVITE";
        if is_invite && (200..300).contains(&status) {
            self.answered = Some(Bytes::copy_from_slice(incoming.bytes));
            if !self.established {
                self.established = true;
                cx.stats.counters.calls_established += 1;
            }
        }
        let Some(asked) = &mut self.asked else { return };
        if (asked.cseq, &asked.method[..]) != (fields.cseq, fields.cseq_method) {
            return;
        }
        if is_invite && status >= 180 {
            asked.rang.get_or_insert(cx.arrived);
        }
        if !(200..300).contains(&status) {
            return;
        }
        let latencies = &mut cx.stats.latencies;
        let took = cx.arrived.since(asked.since);
        match &asked.method[..] {
            b"INVITE" => {
                record(&mut latencies.setup, took);
                record(&mut latencies.srd, asked.rang.unwrap_or(cx.arrived).since(asked.since));
            }
            b"BYE" => record(&mut latencies.sdd, took),
            b"REGISTER" => record(&mut latencies.rrd, took),
            _ => {}
        }
    }

    /// A message that the scenario has no place for here.
    fn on_unexpected(&mut self, cx: &mut Context<'_>, shared: &mut Shared, incoming: Incoming<'_>) -> Flow {
        let fields = incoming.fields;
        let env = shared.env.clone();
        match fields.start {
            // A provisional answer that was overtaken by its final one.
            Start::Response { status, .. } if status < 200 && !self.is_open(fields) => {
                cx.stats.counters.strays += 1;
                return Flow::Waiting;
            }
            Start::Request { method: b"PING", .. } => {
                self.reply(cx, incoming);
                return Flow::Waiting;
            }
            Start::Request { method: b"INFO" | b"NOTIFY" | b"OPTIONS" | b"UPDATE", .. } if env.auto_answer => {
                self.reply(cx, incoming);
                return Flow::Waiting;
            }
            _ => {}
        }
        if env.ignore_in_pauses && matches!(env.program.commands.get(self.at).map(|c| &c.kind), Some(Kind::Pause(_))) {
            cx.stats.counters.strays += 1;
            return Flow::Waiting;
        }
        self.say_unexpected(cx, &env.program.file, &env.program.commands, fields);
        if let Some((label, variable)) = env.program.unexpected {
            self.keep(incoming);
            let back = Value::Number(self.at as f64);
            shared.store.set(&mut self.variables, self.user, variable, back);
            self.at = label;
            cx.cancel(&mut self.wake);
            return self.run(cx, shared);
        }
        self.keep(incoming);
        if let Start::Request { method: b"BYE" | b"CANCEL", .. } = fields.start {
            self.reply(cx, incoming);
            return Flow::Over(Err(Failure::Unexpected));
        }
        if let (Start::Response { status: 200..=299, .. }, b"INVITE") = (fields.start, fields.cseq_method) {
            self.answered = self.last.clone();
        }
        match fields.start {
            Start::Response { status, reason } if status >= 300 => {
                cx.stats.refused(status, reason);
                Flow::Over(Err(Failure::Refused))
            }
            _ => Flow::Over(Err(Failure::Unexpected)),
        }
    }

    /// 200, whatever it is.
    fn reply(&self, cx: &mut Context<'_>, incoming: Incoming<'_>) {
        let tag = word(cx.random);
        let ours = Answer { tag: &tag, ..Answer::default() };
        let bytes = answer(cx.templates, &cx.templates.ok, incoming.fields, incoming.path, ours);
        cx.send(incoming.path, bytes);
    }

    fn say_unexpected(&self, cx: &mut Context<'_>, file: &str, commands: &[Command], fields: &Fields<'_>) {
        cx.stats.sample(|| {
            let came = match fields.start {
                Start::Response { status, reason } => {
                    let method = String::from_utf8_lossy(fields.cseq_method);
                    format!("{status} {} for {method}", String::from_utf8_lossy(reason))
                }
                Start::Request { method, .. } => String::from_utf8_lossy(method).into_owned(),
            };
            // Of messages that may stay away, the one behind them is what is waited for.
            let ahead = commands[self.at.min(commands.len())..].iter();
            let waiting = ahead
                .map(|command| (&command.kind, command.at.line))
                .find(|(kind, _)| !matches!(kind, Kind::Receive(receive) if receive.optional != Optional::No));
            match waiting {
                Some((Kind::Receive(receive), line)) => {
                    format!("{file}:{line}: {came} came instead of {}", receive.expected)
                }
                Some((Kind::Pause(_), line)) => format!("{file}:{line}: {came} came in a pause"),
                _ => format!("{file}: {came} came at the end"),
            }
        });
    }
}

fn optional(command: &Command) -> Optional {
    match &command.kind {
        Kind::Receive(receive) => receive.optional,
        _ => Optional::No,
    }
}

/// Whether a request is what a scenario that answers begins with.
pub fn begins(commands: &[Command], method: &[u8]) -> bool {
    let first = commands.iter().find_map(|command| match &command.kind {
        Kind::Receive(receive) => Some(&receive.expected),
        _ => None,
    });
    match first {
        Some(Expected::Method(wanted)) => wanted.as_bytes() == method,
        Some(Expected::Methods(regex)) => regex.is_match(method),
        _ => false,
    }
}
