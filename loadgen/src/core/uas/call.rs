//! One call of the answering side: the machine drawn in the parent, one method per event. Re-INVITEs of ours are in
//! `reoffer.rs`.

use std::net::SocketAddr;

use bytes::Bytes;
use strowger::base::id::Token;
use strowger::base::{Instant, Slot, TimerKey};

use super::super::branch::{Branch, Owner};
use super::super::flow::{Act, Steps};
use super::super::message::{self, Answer, Remote, answer};
use super::super::retransmit::{Due, Kind};
use super::super::rtp::PERIOD;
use super::super::scan::{self, Fields};
use super::super::sdp::{self, Description, Direction};
use super::super::template::Template;
use super::super::template::Values;
use super::super::{Context, Path, Pending, Role, Timer};
use super::Own;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Ringing,
    Refusing,
    Answered,
    Up,
    Ending,
}

/// One call of the answering side.
pub(super) struct Call {
    pub(super) state: State,
    pub(super) key: u64,
    pub(super) token: Token,
    pub(super) tag: [u8; 16],
    pub(super) path: Path,
    /// As it came, while it rings.
    pub(super) invite: Vec<u8>,
    /// Where the caller wants RTP; nothing if it waits for our offer, or there is none.
    pub(super) offered: Option<sdp::Remote>,
    pub(super) last: Bytes,
    /// Of the INVITE that began it, and of the latest.
    pub(super) cseq_invite: u32,
    pub(super) cseq_remote: u32,
    pub(super) cseq: u32,
    pub(super) serial: u32,
    pub(super) bye_due: Instant,
    pub(super) steps: Steps,
    /// The final answer it gets instead of 200.
    pub(super) refusal: Option<u16>,
    pub(super) version: u32,
    /// What we answered to a re-INVITE, in force with its ACK.
    pub(super) agreed: Option<Direction>,
    /// Ended by a CANCEL, and its 487 not acknowledged yet.
    pub(super) cancelled: bool,
    pub(super) remote: Remote,
    pub(super) pending: Option<Pending>,
    pub(super) step: Option<TimerKey>,
    pub(super) media: Option<(Slot, SocketAddr)>,
}

impl Call {
    pub(super) fn accept(&mut self, cx: &mut Context<'_>, invite: &Fields<'_>, own: &Own) {
        self.state = State::Answered;
        self.last = self.write_answer(cx, &cx.templates.answer, invite, self.path, own);
        self.start_answer(cx, self.last.clone());
    }

    /// The 200 goes again until the ACK comes (RFC 3261 §13.3.1.4).
    fn start_answer(&mut self, cx: &mut Context<'_>, bytes: Bytes) {
        self.drop_pending(cx);
        let timer = Timer::UasPending(self.token.slot);
        self.pending = Some(Pending::start(cx, self.path, bytes, 0, Kind::Success, timer));
    }

    /// 180, or 183 with our description and RTP from the next period on.
    pub(super) fn ring(&mut self, cx: &mut Context<'_>, invite: &Fields<'_>, own: &Own, early: bool) {
        if early && self.media.is_some() && !invite.body.is_empty() {
            self.last = self.write_answer(cx, &cx.templates.progress, invite, self.path, own);
            self.follow(cx, self.offered, cx.now + PERIOD);
        } else {
            let reply = Answer { tag: &self.tag, contact: &own.contact, body: &[] };
            self.last = answer(cx.templates, &cx.templates.ringing, invite, self.path, reply);
        }
        cx.send(self.path, self.last.clone());
    }

    /// A final answer other than 200 goes again until the ACK comes (RFC 3261 §17.2.1).
    pub(super) fn refuse(&mut self, cx: &mut Context<'_>, invite: &Fields<'_>, template: &Template) {
        self.state = State::Refusing;
        self.drop_pending(cx);
        cx.cancel(&mut self.step);
        self.last = answer(cx.templates, template, invite, self.path, Answer { tag: &self.tag, ..Answer::default() });
        let timer = Timer::UasPending(self.token.slot);
        self.pending = Some(Pending::start(cx, self.path, self.last.clone(), 0, Kind::Refusal, timer));
    }

    /// The ringing is over.
    pub(super) fn conclude(&mut self, cx: &mut Context<'_>, invite: &Fields<'_>, own: &Own) {
        match self.refusal {
            Some(status) => self.refuse(cx, invite, cx.templates.refusal(status)),
            None => self.accept(cx, invite, own),
        }
    }

    fn write_answer(&self, cx: &Context<'_>, template: &Template, invite: &Fields<'_>, path: Path, own: &Own) -> Bytes {
        let body = self.describe(cx, own, self.agreed.unwrap_or_default());
        answer(cx.templates, template, invite, path, Answer { tag: &self.tag, contact: &own.contact, body: &body })
    }

    pub(super) fn describe(&self, cx: &Context<'_>, own: &Own, direction: Direction) -> Vec<u8> {
        let address = self.media.map_or(SocketAddr::new(own.local.ip(), 9), |(_, address)| address);
        let (session, version) = (self.token.salt, self.version);
        let mut body = Vec::with_capacity(192);
        Description { session, version, local: address, codec: cx.plan.flow.codec, direction }.write(&mut body);
        body
    }

    /// A re-INVITE of the peer: RTP follows its address; what it does not want is not sent any more (RFC 3264 §8.4).
    pub(super) fn reoffer(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>, path: Path, own: &Own) {
        if self.state == State::Answered {
            self.on_ack(cx, fields, own); // who asks again has the 200, though its ACK was lost
        }
        if self.state != State::Up {
            return message::answer_stranger(cx, b"INVITE", fields, path);
        }
        if self.steps.asking().is_some() {
            return cx.send(path, answer(cx.templates, &cx.templates.pending, fields, path, Answer::default())); // RFC 3261 §14.2
        }
        self.cseq_remote = fields.cseq;
        self.version += 1;
        let remote = sdp::remote(fields.body, cx.plan.flow.codec);
        let direction = remote.map_or(Direction::Both, |remote| remote.direction);
        self.agreed = Some(direction);
        self.follow(cx, remote, cx.now);
        if let (Some((media, _)), false) = (self.media, direction.sends()) {
            cx.media.set_direction(cx.now, media, direction);
        }
        self.last = self.write_answer(cx, &cx.templates.answer, fields, path, own);
        let bytes = self.last.clone();
        self.start_answer(cx, bytes);
    }

    /// RTP goes where the peer's description says, once there is one.
    pub(super) fn follow(&mut self, cx: &mut Context<'_>, remote: Option<sdp::Remote>, at: Instant) {
        if let Some((media, _)) = self.media
            && let Some(remote) = remote
            && !remote.address.ip().is_unspecified()
        {
            cx.media.start(at, media, remote.address);
        }
    }

    pub(super) fn on_ack(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>, own: &Own) {
        match self.state {
            State::Answered => {}
            State::Up => return self.on_reoffer_ack(cx),
            State::Ringing | State::Refusing | State::Ending => return,
        }
        self.state = State::Up;
        self.drop_pending(cx);
        cx.stats.counters.uas_established += 1;
        if self.media.is_some() {
            // To a late offer the answer is in the ACK (RFC 3261 §13.2.1).
            let remote = self.offered.or_else(|| sdp::remote(fields.body, cx.plan.flow.codec));
            self.follow(cx, remote, cx.now);
        }
        let hang_up = (cx.plan.hangup == Role::Uas).then(|| cx.end_of_hold());
        if let (Some((media, _)), Some(hang_up)) = (self.media, hang_up) {
            cx.media.end_at(media, hang_up);
        }
        self.steps = Steps::new(&cx.plan.flow, Role::Uas, cx.random, cx.now, hang_up);
        self.on_step(cx, own);
    }

    fn on_reoffer_ack(&mut self, cx: &mut Context<'_>) {
        if self.steps.asking().is_none() {
            self.drop_pending(cx);
        }
        if let (Some(direction), Some((media, _))) = (self.agreed.take(), self.media) {
            cx.media.set_direction(cx.now, media, direction);
        }
    }

    /// Does what is due in a call that is up, and sets the timer for what comes next.
    pub(super) fn on_step(&mut self, cx: &mut Context<'_>, own: &Own) {
        cx.cancel(&mut self.step);
        match self.steps.take_due(cx.now) {
            Some(Act::HangUp(due)) => {
                self.bye_due = due;
                return self.bye(cx, own);
            }
            Some(Act::Offer(direction)) => self.offer(cx, own, direction),
            None => {}
        }
        self.step = self.steps.next_deadline().and_then(|at| cx.schedule(at, Timer::UasStep(self.token.slot)));
    }

    pub(super) fn bye(&mut self, cx: &mut Context<'_>, own: &Own) {
        self.state = State::Ending;
        (self.cseq, self.serial) = (self.cseq + 1, self.serial + 1);
        let bytes = self.write(cx, &cx.templates.bye, own, self.cseq, &[]);
        self.drop_pending(cx);
        let timer = Timer::UasPending(self.token.slot);
        let path = self.remote.path(self.path);
        self.pending = Some(Pending::start(cx, path, bytes, self.serial, Kind::Request, timer));
    }

    /// A request of ours within the dialog.
    pub(super) fn write(&self, cx: &Context<'_>, template: &Template, own: &Own, cseq: u32, body: &[u8]) -> Bytes {
        let Ok(answered) = scan::scan(&self.last) else { return Bytes::new() };
        let values = Values {
            uri: &self.remote.target,
            sent_by: Some(own.local),
            branch: Some(Branch::new(self.token.encode(), Owner::Uas, self.serial)),
            from: answered.to, // RFC 3261 §12.2.1.1: seen from this side, the two are exchanged
            to: answered.from,
            call_id: answered.call_id,
            cseq,
            contact: &own.contact,
            body,
            lines: &self.remote.routes,
            ..Values::default()
        };
        cx.templates.write(template, &values)
    }

    pub(super) fn terminate(&mut self, cx: &mut Context<'_>) {
        self.cancelled = true;
        let invite = std::mem::take(&mut self.invite);
        if let Ok(fields) = scan::scan(&invite) {
            self.refuse(cx, &fields, &cx.templates.terminated);
        }
    }

    pub(super) fn drop_pending(&mut self, cx: &mut Context<'_>) {
        if let Some(mut pending) = self.pending.take() {
            cx.cancel(&mut pending.timer);
        }
    }

    /// True when the call is given up.
    pub(super) fn on_pending_timer(&mut self, cx: &mut Context<'_>, own: &Own) -> bool {
        let asking = self.steps.asking().is_some();
        let (timer, ending) = (Timer::UasPending(self.token.slot), self.state == State::Ending);
        let path = if ending || asking { self.remote.path(self.path) } else { self.path };
        let Some(pending) = &mut self.pending else { return false };
        match pending.on_timer(cx, path, timer) {
            Due::No => false,
            Due::Again if asking => {
                cx.stats.counters.retransmitted_invite += 1;
                false
            }
            Due::GiveUp if asking => {
                cx.stats.sample(|| "the answering side's re-INVITE was not answered within 64*T1".into());
                self.on_reoffer_failed(cx, own);
                false
            }
            Due::Again if ending => {
                cx.stats.counters.retransmitted_request += 1;
                false
            }
            Due::Again => {
                let success = self.state != State::Refusing;
                cx.stats.counters.retransmitted_success += u64::from(success);
                cx.stats.counters.retransmitted_refusal += u64::from(!success);
                false
            }
            Due::GiveUp => {
                let what = if ending { "BYE was not answered" } else { "final answer was not acknowledged" };
                cx.stats.sample(|| format!("the answering side's {what} within 64*T1"));
                true
            }
        }
    }
}
