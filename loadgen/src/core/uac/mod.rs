//! The calling side: INVITE at its scheduled time, ACK, hold, BYE. RFC 3261 §13.2, §15, §17.1, §22.
//!
//! ```text
//!            INVITE            1xx                2xx: ACK          hold over: BYE
//!  schedule ───────▶ Calling ───────▶ Proceeding ────────▶ Up ─────────────────────▶ Ending ──200──▶ done
//!                       │ 3xx–6xx: ACK, again with credentials or failed  │ BYE from the peer: 200 ──▶ done
//!                       └─ too long, or asked: CANCEL ──▶ Cancelling      └ no BYE: ours, failed
//! ```
//! A call that is up may send a re-INVITE; while that is not answered the BYE waits (`flow.rs`).
//! Answers to INVITE that come when their call is gone are still acknowledged, from what stands in the answer itself.

mod call;
mod reoffer;

use std::net::SocketAddr;

use strowger::base::id::Token;
use strowger::base::{Instant, ShardId, Slab, Slot};

use self::call::{Call, Failure, Outcome, State};
use super::branch::{Branch, Owner};
use super::message::{self, Answer, Remote, answer};
use super::scan::{self, Fields};
use super::schedule::Schedule;
use super::stats::record;
use super::template::Values;
use super::{Context, PREPARED_MAX, Path, Role, Timer};

/// Calls begun between two looks at what has arrived: those of a tick at 256,000 a second.
const BEGUN_PER_TURN: usize = 256;

/// Local ends of the calling side: what stands in Via and Contact, and the path to the target.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Our address.
    pub local: SocketAddr,
    /// To the target.
    pub path: Path,
}

impl Line {
    fn is_on(&self, path: Path) -> bool {
        match (self.path, path) {
            (Path::Datagram(own, _), Path::Datagram(other, _)) => own == other,
            (own, other) => own == other,
        }
    }
}

/// The calling side of one core.
pub struct Uac {
    /// When calls are due.
    pub schedule: Schedule,
    calls: Slab<Call>,
    lines: Vec<Line>,
    shard: ShardId,
    draining: bool,
}

impl Uac {
    /// With at most `bound` calls up.
    pub fn new(shard: ShardId, schedule: Schedule, lines: Vec<Line>, bound: usize) -> Self {
        let mut calls = Slab::new(bound);
        calls.prepare(PREPARED_MAX);
        Self { schedule, calls, lines, shard, draining: false }
    }

    /// Calls in progress.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// The states that calls are in, one for each.
    pub fn states(&self) -> impl Iterator<Item = &'static str> {
        self.calls.iter().map(|(_, call)| match call.state {
            State::Calling => "calling",
            State::Proceeding => "proceeding",
            State::Cancelling => "cancelling",
            State::Up => "up",
            State::Ending => "ending",
        })
    }

    /// Begins calls that are due, one turn of them: answers to those before are read in between.
    pub fn handle_schedule(&mut self, cx: &mut Context<'_>) {
        for _ in 0..BEGUN_PER_TURN {
            let Some((number, scheduled)) = self.schedule.take(cx.now) else { return };
            record(&mut cx.stats.latencies.late_start, cx.now.since(scheduled));
            let step = if cx.plan.steps.is_empty() { None } else { Some(self.schedule.step_of(scheduled)) };
            let begun = self.begin(cx, number, scheduled, step);
            cx.stats.counters.calls_skipped += u64::from(!begun);
            if let Some(step) = step {
                let figures = cx.stats.step(step);
                figures.offered += 1;
                figures.failed += u64::from(!begun);
            }
        }
    }

    fn begin(&mut self, cx: &mut Context<'_>, number: u64, scheduled: Instant, step: Option<usize>) -> bool {
        let Some(slot) = self.calls.next_slot() else { return false };
        let Some(&line) = self.lines.get(number as usize % self.lines.len().max(1)) else { return false };
        let media = if cx.plan.rtp { cx.media.open(Role::Uac, Some(line.local.ip()), cx.random) } else { None };
        if cx.plan.rtp && media.is_none() {
            return false;
        }
        let token = Token { shard: self.shard, slot, salt: cx.random.next_u32() };
        let mut call = Call::new(cx, token, line, number % cx.plan.users, scheduled, media);
        call.ramp_step = step;
        call.media_end = cx.plan.media_end.and_then(|offset| self.schedule.at(offset));
        cx.stats.counters.calls_attempted += 1;
        call.invite(cx, &[]);
        self.calls.insert(call).is_ok()
    }

    /// An answer whose top branch is ours.
    pub fn handle_response(
        &mut self,
        cx: &mut Context<'_>,
        token: Token,
        serial: u32,
        fields: &Fields<'_>,
        path: Path,
    ) {
        let status = fields.status();
        let is_invite = fields.cseq_method == b"INVITE";
        let Some(call) = self.calls.get_mut(token.slot).filter(|call| call.token == token) else {
            if is_invite && status >= 200 {
                let line = self.lines.iter().find(|line| line.is_on(path)).or(self.lines.first());
                acknowledge(cx, fields, token, serial, line);
            } else {
                cx.stats.counters.strays += 1;
            }
            return;
        };
        let over = if is_invite && serial == call.invite_serial {
            call.on_invite_answer(cx, fields)
        } else if is_invite && status >= 200 {
            acknowledge(cx, fields, token, serial, Some(&call.line));
            None
        } else {
            call.on_other_answer(cx, serial, fields)
        };
        if let Some(result) = over {
            self.finish(cx, token.slot, result);
        }
    }

    /// A request on a dialog of ours.
    pub fn handle_request(&mut self, cx: &mut Context<'_>, method: &[u8], fields: &Fields<'_>, path: Path) {
        let token = Token::decode(fields.call_id);
        let call = token.and_then(|token| self.calls.get_mut(token.slot).filter(|call| call.token == token));
        let (Some(call), Some(token)) = (call, token) else {
            // RFC 3261 §15.1.2 asks for 481; but the BYE of a call just ended may be here again, its 200 lost.
            if method == b"BYE" && token.is_some() {
                cx.stats.counters.received_again += 1;
                cx.send(path, answer(cx.templates, &cx.templates.ok, fields, path, Answer::default()));
                return;
            }
            return message::answer_stranger(cx, method, fields, path);
        };
        match method {
            b"BYE" => {
                cx.send(path, answer(cx.templates, &cx.templates.ok, fields, path, Answer::default()));
                let early = call.state == State::Up && cx.plan.hangup == Role::Uac;
                self.finish(cx, token.slot, if early { Outcome::Failed(Failure::Hangup) } else { Outcome::Completed });
            }
            b"INVITE" if call.state == State::Up => {
                let bytes = call.answer_reoffer(cx, fields, path);
                cx.send(path, bytes);
            }
            b"ACK" => call.on_reoffer_ack(cx),
            _ => message::answer_stranger(cx, method, fields, path),
        }
    }

    /// A timer of the calling side fired.
    pub fn handle_timer(&mut self, cx: &mut Context<'_>, timer: Timer) {
        match timer {
            Timer::UacStep(slot) => {
                let Some(call) = self.calls.get_mut(slot) else { return };
                call.step = None;
                match call.state {
                    State::Up => {
                        call.on_step(cx);
                        call.failed |= call.state == State::Ending && cx.plan.hangup == Role::Uas && !self.draining;
                    }
                    State::Proceeding if call.cancels => call.cancel(cx, slot),
                    _ => {}
                }
            }
            Timer::UacPending(slot) => {
                let result = self.calls.get_mut(slot).and_then(|call| call.on_pending_timer(cx, slot));
                if let Some(result) = result {
                    self.finish(cx, slot, result);
                }
            }
            _ => {}
        }
    }

    /// The connection under a path is up, or is another one now.
    pub fn set_line(&mut self, index: usize, line: Line) {
        if let Some(place) = self.lines.get_mut(index) {
            *place = line;
        }
    }

    /// The path of some calls is gone.
    pub fn handle_path_lost(&mut self, cx: &mut Context<'_>, path: Path) {
        let lost: Vec<Slot> =
            self.calls.iter().filter(|(_, call)| call.line.path == path).map(|(slot, _)| slot).collect();
        for slot in lost {
            self.finish(cx, slot, Outcome::Failed(Failure::Transport));
        }
    }

    /// No more calls; those that are up hang up now.
    pub fn drain(&mut self, cx: &mut Context<'_>) {
        self.schedule.stop();
        self.draining = true;
        let slots: Vec<Slot> = self.calls.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            match self.calls.get_mut(slot) {
                Some(call) if call.state == State::Up => {
                    call.steps.end(cx.now);
                    call.on_step(cx);
                }
                Some(call) if call.state == State::Proceeding => call.cancel(cx, slot),
                _ => {}
            }
        }
    }

    fn finish(&mut self, cx: &mut Context<'_>, slot: Slot, outcome: Outcome) {
        let Some(mut call) = self.calls.remove(slot) else { return };
        if let Some(pending) = &mut call.pending {
            cx.cancel(&mut pending.timer);
        }
        cx.cancel(&mut call.step);
        if let Some((media, _)) = call.media {
            cx.media.close(cx.now, media, cx.stats);
        }
        call.count_step(cx, &outcome);
        let counters = &mut cx.stats.counters;
        let failure = match outcome {
            Outcome::Failed(failure) => failure,
            _ if call.failed => Failure::Hangup,
            Outcome::Completed => return counters.calls_completed += 1,
            Outcome::Cancelled => return counters.calls_cancelled += 1,
            Outcome::RefusedAsAsked => return counters.calls_refused_as_asked += 1,
        };
        counters.calls_failed += 1;
        *match failure {
            Failure::Refused => &mut counters.calls_refused,
            Failure::TimedOut => &mut counters.calls_timed_out,
            Failure::Unanswered => &mut counters.calls_unanswered,
            Failure::Unauthorized => &mut counters.calls_unauthorized,
            Failure::Hangup => &mut counters.calls_hangup_failed,
            Failure::Transport => &mut counters.calls_transport_failed,
        } += 1;
    }
}

/// Acknowledges a final answer to INVITE from what it says itself: a refusal within the transaction
/// (RFC 3261 §17.1.1.3), a 2xx end to end (§13.2.2.4).
fn acknowledge(cx: &mut Context<'_>, fields: &Fields<'_>, token: Token, serial: u32, line: Option<&Line>) {
    let success = fields.status() < 300;
    let otherwise = scan::uri(fields.to);
    let remote = if success { Remote::learn(fields, true, otherwise) } else { Remote::default() };
    let Some(line) = line else { return };
    let serial = if success { u32::MAX } else { serial };
    let values = Values {
        uri: if success { &remote.target } else { otherwise },
        sent_by: Some(line.local),
        branch: Some(Branch::new(token.encode(), Owner::Uac, serial)),
        from: fields.from,
        to: fields.to,
        call_id: fields.call_id,
        cseq: fields.cseq,
        lines: &remote.routes,
        ..Values::default()
    };
    let bytes = cx.templates.write(&cx.templates.ack, &values);
    cx.send(remote.path(line.path), bytes);
}
