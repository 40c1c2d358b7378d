//! One call of the calling side: the machine drawn in the parent, one method per event. What a call that is up negotiates
//! again is in `reoffer.rs`.

use std::borrow::Cow;
use std::net::SocketAddr;

use bytes::{BufMut, Bytes};
use strowger::base::id::{TOKEN_LEN, Token};
use strowger::base::time::Duration;
use strowger::base::{Instant, Slot, TimerKey};

use super::super::branch::{Branch, Owner};
use super::super::digest::{Asked, Challenge};
use super::super::flow::{Act, Steps};
use super::super::media::SILENT_AFTER;
use super::super::message::{self, Remote, contact};
use super::super::pattern::Pattern;
use super::super::retransmit::{Due, Kind};
use super::super::scan::{self, Fields};
use super::super::sdp::{self, Description, Direction};
use super::super::stats::record;
use super::super::template::Values;
use super::super::{Context, Pending, Role, Timer, pattern};
use super::{Line, acknowledge};
use crate::draw::chance;

/// How long the calling side waits for a BYE that the answering side owes.
const HANGUP_GRACE: Duration = Duration::from_secs(33);
/// Challenges answered for one request: the first, and one that says stale.
const CHALLENGES_MAX: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Calling,
    Proceeding,
    Cancelling,
    Up,
    Ending,
}

/// One call of the calling side.
pub(super) struct Call {
    pub(super) state: State,
    pub(super) user: u64,
    pub(super) scheduled: Instant,
    pub(super) line: Line,
    pub(super) token: Token,
    /// The token as it is written: Call-ID, tag and part of every branch.
    id: [u8; TOKEN_LEN],
    pub(super) cseq: u32,
    pub(super) serial: u32,
    pub(super) invite_serial: u32,
    pub(super) challenges: u8,
    pub(super) rang: Option<Instant>,
    pub(super) bye_due: Instant,
    pub(super) from: Bytes,
    pub(super) to: Bytes,
    pub(super) remote: Remote,
    pub(super) pending: Option<Pending>,
    pub(super) step: Option<TimerKey>,
    pub(super) steps: Steps,
    /// This call is to be cancelled while it rings.
    pub(super) cancels: bool,
    pub(super) early: Option<Instant>,
    pub(super) version: u32,
    /// What we answered to a re-INVITE, in force with its ACK.
    pub(super) agreed: Option<Direction>,
    pub(super) cseq_remote: u32,
    pub(super) media: Option<(Slot, SocketAddr)>,
    pub(super) failed: bool,
    pub(super) answered: bool,
    /// The step of a ramp it was scheduled in.
    pub(super) ramp_step: Option<usize>,
    /// Its media ends then, if that is before the hang-up.
    pub(super) media_end: Option<Instant>,
}

/// Why a call failed.
pub(super) enum Failure {
    Refused,
    TimedOut,
    Unanswered,
    Unauthorized,
    Hangup,
    Transport,
}

/// How a call ended.
pub(super) enum Outcome {
    /// Hung up.
    Completed,
    /// Cancelled, as asked.
    Cancelled,
    /// Refused, as asked.
    RefusedAsAsked,
    /// Otherwise.
    Failed(Failure),
}

/// Set when the call is over.
pub(super) type Over = Option<Outcome>;

fn failed(failure: Failure) -> Over {
    Some(Outcome::Failed(failure))
}

impl Call {
    pub(super) fn new(
        cx: &Context<'_>,
        token: Token,
        line: Line,
        user: u64,
        scheduled: Instant,
        media: Option<(Slot, SocketAddr)>,
    ) -> Self {
        let (id, domain) = (token.encode(), cx.plan.domain.as_bytes());
        let name = |pattern: &Pattern, rest: &[&[u8]]| {
            cx.templates.text(|out| {
                out.put_slice(b"<sip:");
                pattern.write(out, user);
                [b"@", domain, b">"].into_iter().chain(rest.iter().copied()).for_each(|part| out.put_slice(part));
            })
        };
        let (from, to) = (name(&cx.plan.from, &[b";tag=", &id]), name(&cx.plan.to, &[]));
        let target = to[1..to.len() - 1].to_vec();
        Self {
            state: State::Calling,
            user,
            scheduled,
            line,
            token,
            id,
            cseq: 0,
            serial: 0,
            invite_serial: 0,
            challenges: 0,
            rang: None,
            bye_due: Instant::MAX,
            from,
            to,
            remote: Remote { target, ..Remote::default() },
            pending: None,
            step: None,
            steps: Steps::default(),
            cancels: false,
            early: None,
            version: 1,
            agreed: None,
            cseq_remote: 0,
            media,
            failed: false,
            answered: false,
            ramp_step: None,
            media_end: None,
        }
    }

    pub(super) fn slot_timer(&self) -> Timer {
        Timer::UacPending(self.token.slot)
    }

    fn write(&mut self, cx: &Context<'_>, method: &str, lines: &[u8], body: &[u8]) -> (Bytes, u32) {
        let templates = cx.templates;
        let template = match method {
            "INVITE" => &templates.invite,
            "ACK" => &templates.ack,
            "CANCEL" => &templates.cancel,
            _ => &templates.bye,
        };
        if method != "ACK" && method != "CANCEL" {
            self.cseq += 1;
        }
        if method != "CANCEL" {
            self.serial += 1; // RFC 3261 §9.1: CANCEL alone carries the branch of what it cancels
        }
        let serial = if method == "CANCEL" { self.invite_serial } else { self.serial };
        let routes = self.remote.routes.as_slice();
        let lines = if routes.is_empty() { Cow::Borrowed(lines) } else { Cow::Owned([routes, lines].concat()) };
        let contact = match method {
            "INVITE" => contact(&cx.plan.from.fill(self.user), self.line.local, cx.plan),
            _ => Vec::new(),
        };
        let values = Values {
            uri: &self.remote.target,
            sent_by: Some(self.line.local),
            branch: Some(Branch::new(self.id, Owner::Uac, serial)),
            from: &self.from,
            to: &self.to,
            call_id: &self.id,
            cseq: self.cseq,
            contact: &contact,
            lines: &lines,
            body,
            ..Values::default()
        };
        (templates.write(template, &values), serial)
    }

    fn request(&mut self, cx: &mut Context<'_>, method: &str, lines: &[u8], body: &[u8], kind: Kind) {
        let (bytes, serial) = self.write(cx, method, lines, body);
        self.drop_pending(cx);
        let path = self.remote.path(self.line.path);
        self.pending = Some(Pending::start(cx, path, bytes, serial, kind, self.slot_timer()));
    }

    pub(super) fn drop_pending(&mut self, cx: &mut Context<'_>) {
        if let Some(mut pending) = self.pending.take() {
            cx.cancel(&mut pending.timer);
        }
    }

    pub(super) fn invite(&mut self, cx: &mut Context<'_>, lines: &[u8]) {
        if self.cseq == 0 {
            self.cancels = cx.plan.flow.cancel.is_some_and(|(percent, _)| chance(cx.random, percent));
        }
        let body = self.describe(cx, self.steps.asking().unwrap_or_default());
        self.request(cx, "INVITE", lines, &body, Kind::Invite);
        self.invite_serial = self.serial;
    }

    pub(super) fn describe(&self, cx: &Context<'_>, direction: Direction) -> Vec<u8> {
        let (session, version, local) = (self.token.salt, self.version, self.media_address());
        let mut body = Vec::with_capacity(192);
        Description { session, version, local, codec: cx.plan.flow.codec, direction }.write(&mut body);
        body
    }

    /// Without RTP the offer names the discard port: nothing will listen.
    fn media_address(&self) -> SocketAddr {
        self.media.map_or(SocketAddr::new(self.line.local.ip(), 9), |(_, address)| address)
    }

    pub(super) fn ack(&mut self, cx: &mut Context<'_>) {
        let (bytes, _) = self.write(cx, "ACK", &[], &[]);
        let path = self.remote.path(self.line.path);
        cx.send(path, bytes);
    }

    pub(super) fn bye(&mut self, cx: &mut Context<'_>) {
        cx.cancel(&mut self.step);
        self.state = State::Ending;
        self.bye_due = self.bye_due.min(cx.now);
        self.challenges = 0;
        self.request(cx, "BYE", &[], &[], Kind::Request);
    }

    pub(super) fn cancel(&mut self, cx: &mut Context<'_>, slot: Slot) {
        self.state = State::Cancelling;
        cx.cancel(&mut self.step);
        let (bytes, serial) = self.write(cx, "CANCEL", &[], &[]);
        self.drop_pending(cx);
        self.pending = Some(Pending::start(cx, self.line.path, bytes, serial, Kind::Request, Timer::UacPending(slot)));
    }

    pub(super) fn on_invite_answer(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>) -> Over {
        let status = fields.status();
        match (self.state, status) {
            (State::Calling | State::Proceeding, 100..=199) => {
                if status > 100 {
                    self.on_ringing(cx, fields);
                }
                if self.state == State::Calling {
                    self.state = State::Proceeding;
                    let (give_up, timer) = (cx.now + cx.plan.setup_max, self.slot_timer());
                    if let Some(pending) = &mut self.pending {
                        pending.proceeding(cx, give_up, timer);
                    }
                }
                None
            }
            (State::Calling | State::Proceeding | State::Cancelling, 200..=299) => self.establish(cx, fields),
            (State::Calling | State::Proceeding | State::Cancelling, _) if status >= 300 => self.refuse(cx, fields),
            (State::Up, _) if self.steps.asking().is_some() => self.on_reoffer_answer(cx, fields),
            (_, 200..) => {
                acknowledge(cx, fields, self.token, self.invite_serial, Some(&self.line));
                None
            }
            _ => None,
        }
    }

    fn establish(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>) -> Over {
        self.drop_pending(cx);
        self.to = cx.templates.text(|out| out.put_slice(fields.to));
        self.remote = Remote::learn(fields, true, &self.remote.target);
        let cancelled = self.state == State::Cancelling;
        self.state = State::Up;
        self.ack(cx);
        cx.stats.counters.calls_established += 1;
        let srd = self.rang.unwrap_or(cx.arrived).since(self.scheduled);
        record(&mut cx.stats.latencies.srd, srd);
        self.answered = true;
        if let Some(step) = self.ramp_step {
            cx.stats.step(step).answer(srd);
        }
        record(&mut cx.stats.latencies.setup, cx.arrived.since(self.scheduled));
        self.count_early(cx);
        if cancelled {
            self.failed = !self.cancels;
            cx.stats.counters.calls_cancel_late += u64::from(self.cancels);
            self.bye(cx);
            return None;
        }
        let hang_up = match cx.plan.hangup {
            Role::Uac => cx.end_of_hold(),
            Role::Uas => cx.now + cx.plan.hold.longest() + HANGUP_GRACE,
        };
        self.follow(cx, fields);
        if let (Some((media, _)), Role::Uac) = (self.media, cx.plan.hangup) {
            cx.media.end_at(media, self.media_end.map_or(hang_up, |end| end.min(hang_up)));
        }
        self.steps = Steps::new(&cx.plan.flow, Role::Uac, cx.random, cx.now, Some(hang_up));
        self.on_step(cx);
        None
    }

    /// A provisional answer above 100: PDD, early media, and the time from which a CANCEL counts.
    fn on_ringing(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>) {
        if self.rang.is_none() {
            record(&mut cx.stats.latencies.pdd, cx.arrived.since(self.scheduled));
            self.rang = Some(cx.arrived);
            if let Some((_, after)) = cx.plan.flow.cancel.filter(|_| self.cancels) {
                cx.cancel(&mut self.step);
                self.step = cx.schedule(cx.now + after, Timer::UacStep(self.token.slot));
            }
        }
        if self.early.is_none() && !fields.body.is_empty() && self.follow(cx, fields) {
            self.early = Some(cx.now);
        }
    }

    /// What came of the call, for the step it belongs to; an answer is counted when it comes.
    pub(super) fn count_step(&self, cx: &mut Context<'_>, outcome: &Outcome) {
        let Some(step) = self.ramp_step.filter(|_| !self.answered) else { return };
        let refused =
            matches!(outcome, Outcome::Failed(Failure::Refused) | Outcome::RefusedAsAsked | Outcome::Cancelled);
        let figures = cx.stats.step(step);
        figures.refused += u64::from(refused);
        figures.failed += u64::from(!refused);
    }

    fn count_early(&self, cx: &mut Context<'_>) {
        let (Some(since), Some((media, _))) = (self.early, self.media) else { return };
        let received = cx.media.received(media);
        let silent = received == 0 && cx.now.since(since) >= SILENT_AFTER;
        let counters = &mut cx.stats.counters;
        counters.calls_early += 1;
        counters.rtp_early += received;
        counters.calls_early_silent += u64::from(silent);
    }

    /// RTP goes where the peer's description says; true if there is one.
    pub(super) fn follow(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>) -> bool {
        let Some((media, _)) = self.media else { return false };
        let Some(remote) = sdp::remote(fields.body, cx.plan.flow.codec) else { return false };
        if !remote.address.ip().is_unspecified() {
            cx.media.start(cx.now, media, remote.address);
        }
        true
    }

    /// Does what is due in a call that is up, and sets the timer for what comes next.
    pub(super) fn on_step(&mut self, cx: &mut Context<'_>) {
        cx.cancel(&mut self.step);
        match self.steps.take_due(cx.now) {
            Some(Act::HangUp(due)) => {
                if cx.plan.hangup == Role::Uac {
                    self.bye_due = due;
                }
                return self.bye(cx);
            }
            Some(Act::Offer(_)) => {
                cx.stats.counters.reinvites_sent += 1;
                self.version += 1;
                self.challenges = 0;
                self.invite(cx, &[]);
            }
            None => {}
        }
        self.step = self.steps.next_deadline().and_then(|at| cx.schedule(at, Timer::UacStep(self.token.slot)));
    }

    fn refuse(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>) -> Over {
        let status = fields.status();
        acknowledge(cx, fields, self.token, self.invite_serial, Some(&self.line));
        if self.state == State::Cancelling {
            match (self.cancels, status) {
                (true, 487) => return Some(Outcome::Cancelled),
                (true, _) => {}
                (false, _) => return failed(Failure::Unanswered),
            }
        }
        if matches!(status, 401 | 407) && self.state != State::Cancelling {
            if let Some(line) = self.credentials(cx, "INVITE", fields) {
                cx.stats.counters.challenges_answered += 1;
                self.state = State::Calling;
                self.invite(cx, &line);
                return None;
            }
            count_refusal(cx, fields);
            return failed(Failure::Unauthorized);
        }
        count_refusal(cx, fields);
        let counters = &mut cx.stats.counters;
        counters.calls_declined += u64::from(matches!(status, 480 | 486 | 600 | 603));
        counters.calls_redirected += u64::from((300..400).contains(&status));
        if cx.plan.flow.is_wanted(status) {
            return Some(Outcome::RefusedAsAsked);
        }
        failed(Failure::Refused)
    }

    pub(super) fn credentials(&mut self, cx: &mut Context<'_>, method: &str, fields: &Fields<'_>) -> Option<Vec<u8>> {
        self.challenges += 1;
        let mut challenge = Challenge::choose(fields.challenges.iter().copied())?;
        let secret = message::secret(cx.plan, self.user)?;
        if self.challenges > CHALLENGES_MAX || (self.challenges > 1 && !challenge.stale) {
            return None;
        }
        let cnonce = pattern::word(cx.random);
        let asked = Asked { method: method.as_bytes(), uri: &self.remote.target, cnonce: &cnonce };
        let mut line = Vec::with_capacity(320);
        challenge.answer(&secret, asked, &mut line);
        Some(line)
    }

    pub(super) fn on_other_answer(&mut self, cx: &mut Context<'_>, serial: u32, fields: &Fields<'_>) -> Over {
        let status = fields.status();
        let pending = self.pending.as_mut().filter(|pending| pending.serial == serial && status >= 200)?;
        if self.state == State::Cancelling {
            // The 487 for the INVITE ends the call (RFC 3261 §9.1); 64*T1 for it to come.
            let (give_up, timer) = (cx.now + cx.plan.timers.t1 * 64, Timer::UacPending(self.token.slot));
            pending.proceeding(cx, give_up, timer);
            return None;
        }
        match status {
            200..=299 => {
                record(&mut cx.stats.latencies.sdd, cx.arrived.since(self.bye_due));
                Some(Outcome::Completed)
            }
            401 | 407 => match self.credentials(cx, "BYE", fields) {
                Some(line) => {
                    cx.stats.counters.challenges_answered += 1;
                    self.request(cx, "BYE", &line, &[], Kind::Request);
                    None
                }
                None => failed(Failure::Unauthorized),
            },
            _ => {
                count_refusal(cx, fields);
                failed(Failure::Hangup)
            }
        }
    }

    pub(super) fn on_pending_timer(&mut self, cx: &mut Context<'_>, slot: Slot) -> Over {
        let path = self.remote.path(self.line.path);
        let due = self.pending.as_mut()?.on_timer(cx, path, Timer::UacPending(slot));
        match (due, self.state) {
            (Due::No, _) => None,
            (Due::Again, _) if self.steps.asking().is_some() => {
                cx.stats.counters.retransmitted_invite += 1;
                None
            }
            (Due::GiveUp, State::Up) if self.steps.asking().is_some() => {
                cx.stats.sample(|| "a re-INVITE was not answered within 64*T1".into());
                self.on_reoffer_failed(cx);
                None
            }
            (Due::Again, State::Calling | State::Proceeding) => {
                cx.stats.counters.retransmitted_invite += 1;
                None
            }
            (Due::Again, _) => {
                cx.stats.counters.retransmitted_request += 1;
                None
            }
            (Due::GiveUp, State::Calling) => {
                cx.stats.sample(|| "an INVITE was not answered within 64*T1".into());
                failed(Failure::TimedOut)
            }
            (Due::GiveUp, State::Proceeding) => {
                self.cancel(cx, slot);
                None
            }
            (Due::GiveUp, State::Cancelling) => failed(Failure::Unanswered),
            (Due::GiveUp, State::Up | State::Ending) => {
                cx.stats.sample(|| "a BYE was not answered within 64*T1".into());
                failed(Failure::Hangup)
            }
        }
    }
}

pub(super) fn count_refusal(cx: &mut Context<'_>, fields: &Fields<'_>) {
    if let scan::Start::Response { status, reason } = fields.start {
        cx.stats.refused(status, reason);
    }
}
