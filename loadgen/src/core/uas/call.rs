//! One call of the answering side: the machine drawn in the parent, one method per event.

use std::net::SocketAddr;

use bytes::Bytes;
use strowger::base::id::Token;
use strowger::base::time::Duration;
use strowger::base::{Instant, Slot, TimerKey};

use super::super::message::{self, Answer, Owner, Remote, answer, branch, contact, write};
use super::super::retransmit::{Due, Kind};
use super::super::scan::{self, Fields};
use super::super::template::Values;
use super::super::{Context, Path, Pending, Role, Timer, sdp};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Ringing,
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
    pub(super) invite: Vec<u8>,
    pub(super) last: Bytes,
    pub(super) cseq_remote: u32,
    pub(super) cseq: u32,
    pub(super) serial: u32,
    pub(super) bye_due: Instant,
    pub(super) hold: Duration,
    pub(super) remote: Remote,
    pub(super) pending: Option<Pending>,
    pub(super) step: Option<TimerKey>,
    pub(super) media: Option<(Slot, SocketAddr)>,
}

impl Call {
    pub(super) fn accept(&mut self, cx: &mut Context<'_>, invite: &Fields<'_>, local: SocketAddr) {
        self.state = State::Answered;
        self.last = self.write_answer(cx, invite, self.path, local);
        self.start_answer(cx, self.last.clone());
    }

    /// The 200 goes again until the ACK comes (RFC 3261 §13.3.1.4).
    fn start_answer(&mut self, cx: &mut Context<'_>, bytes: Bytes) {
        self.drop_pending(cx);
        let timer = Timer::UasPending(self.token.slot);
        self.pending = Some(Pending::start(cx, self.path, bytes, 0, Kind::Success, timer));
    }

    fn write_answer(&self, cx: &Context<'_>, invite: &Fields<'_>, path: Path, local: SocketAddr) -> Bytes {
        let address = self.media.map_or(SocketAddr::new(local.ip(), 9), |(_, address)| address);
        let mut body = Vec::with_capacity(192);
        sdp::write(&mut body, self.token.salt, address);
        let contact = contact("uas", local, cx.plan);
        let reply = Answer { tag: &self.tag, contact: contact.as_bytes(), body: &body };
        answer(&cx.templates.answer, invite, path, reply)
    }

    pub(super) fn reoffer(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>, path: Path, local: SocketAddr) {
        if self.state != State::Up {
            return message::answer_stranger(cx, b"INVITE", fields, path);
        }
        self.cseq_remote = fields.cseq;
        self.follow(cx, fields);
        self.last = self.write_answer(cx, fields, path, local);
        let bytes = self.last.clone();
        self.start_answer(cx, bytes);
    }

    /// RTP goes where the peer's description says, once there is one.
    fn follow(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>) {
        if let (Some((media, _)), Some(to)) = (self.media, sdp::remote(fields.body)) {
            let hold = (cx.plan.hangup == Role::Uas).then_some(self.hold);
            cx.media.start(cx.now, media, to, hold);
        }
    }

    pub(super) fn on_ack(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>) {
        match self.state {
            State::Answered => {}
            State::Up => return self.drop_pending(cx),
            State::Ringing | State::Ending => return,
        }
        self.state = State::Up;
        self.drop_pending(cx);
        cx.stats.counters.uas_established += 1;
        let invite = std::mem::take(&mut self.invite);
        match scan::scan(&invite) {
            Ok(invite) if !invite.body.is_empty() => self.follow(cx, &invite),
            _ => self.follow(cx, fields), // a late offer: the answer is in the ACK (RFC 3261 §13.2.1)
        }
        if cx.plan.hangup == Role::Uas {
            self.bye_due = cx.now + self.hold;
            self.step = cx.schedule(self.bye_due, Timer::UasStep(self.token.slot));
        }
    }

    pub(super) fn bye(&mut self, cx: &mut Context<'_>, local: SocketAddr) {
        self.state = State::Ending;
        (self.cseq, self.serial) = (self.cseq + 1, self.serial + 1);
        let bytes = self.write_bye(cx, local);
        self.drop_pending(cx);
        let timer = Timer::UasPending(self.token.slot);
        let path = self.remote.path(self.path);
        self.pending = Some(Pending::start(cx, path, bytes, self.serial, Kind::Request, timer));
    }

    fn write_bye(&self, cx: &Context<'_>, local: SocketAddr) -> Bytes {
        let Ok(answered) = scan::scan(&self.last) else { return Bytes::new() };
        let sent_by = local.to_string();
        let values = Values {
            uri: &self.remote.target,
            sent_by: sent_by.as_bytes(),
            branch: &branch(self.token, Owner::Uas, self.serial),
            from: answered.to, // RFC 3261 §12.2.1.1: seen from this side, the two are exchanged
            to: answered.from,
            call_id: answered.call_id,
            cseq: self.cseq,
            lines: &self.remote.routes,
            ..Values::default()
        };
        write(&cx.templates.bye, &values)
    }

    pub(super) fn terminate(&mut self, cx: &mut Context<'_>) {
        let invite = std::mem::take(&mut self.invite);
        if let Ok(fields) = scan::scan(&invite) {
            let reply = Answer { tag: &self.tag, ..Answer::default() };
            cx.send(self.path, answer(&cx.templates.terminated, &fields, self.path, reply));
        }
    }

    fn drop_pending(&mut self, cx: &mut Context<'_>) {
        if let Some(mut pending) = self.pending.take() {
            cx.cancel(&mut pending.timer);
        }
    }

    /// True when the call is given up.
    pub(super) fn on_pending_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let (timer, ending) = (Timer::UasPending(self.token.slot), self.state == State::Ending);
        let path = if ending { self.remote.path(self.path) } else { self.path };
        let Some(pending) = &mut self.pending else { return false };
        match pending.on_timer(cx, path, timer) {
            Due::No => false,
            Due::Again if ending => {
                cx.stats.counters.retransmitted_request += 1;
                false
            }
            Due::Again => {
                cx.stats.counters.retransmitted_success += 1;
                false
            }
            Due::GiveUp => {
                let what = if ending { "BYE was not answered" } else { "200 was not acknowledged" };
                cx.stats.sample(|| format!("the answering side's {what} within 64*T1"));
                true
            }
        }
    }
}
