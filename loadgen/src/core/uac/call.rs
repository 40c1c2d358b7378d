//! One call of the calling side: the machine drawn in the parent, one method per event.

use std::net::SocketAddr;

use bytes::Bytes;
use strowger::base::id::{TOKEN_LEN, Token};
use strowger::base::time::Duration;
use strowger::base::{Instant, Slot, TimerKey};

use super::super::digest::{Asked, Challenge};
use super::super::message::{self, Answer, Owner, Remote, answer, branch, contact, write};
use super::super::retransmit::{Due, Kind};
use super::super::scan::{self, Fields};
use super::super::stats::record;
use super::super::template::Values;
use super::super::{Context, Path, Pending, Role, Timer, pattern, sdp};
use super::{Line, acknowledge};

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
    pub(super) cseq: u32,
    pub(super) serial: u32,
    pub(super) invite_serial: u32,
    pub(super) challenges: u8,
    pub(super) rang: Option<Instant>,
    pub(super) bye_due: Instant,
    pub(super) to: Vec<u8>,
    pub(super) remote: Remote,
    pub(super) pending: Option<Pending>,
    pub(super) hold: Option<TimerKey>,
    pub(super) media: Option<(Slot, SocketAddr)>,
    pub(super) failed: bool,
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

/// Set when the call is over.
pub(super) type Over = Option<Result<(), Failure>>;

impl Call {
    pub(super) fn new(
        cx: &Context<'_>,
        token: Token,
        line: Line,
        user: u64,
        scheduled: Instant,
        media: Option<(Slot, SocketAddr)>,
    ) -> Self {
        let callee = callee(cx, user);
        Self {
            state: State::Calling,
            user,
            scheduled,
            line,
            token,
            cseq: 0,
            serial: 0,
            invite_serial: 0,
            challenges: 0,
            rang: None,
            bye_due: Instant::MAX,
            to: format!("<{callee}>").into_bytes(),
            remote: Remote { target: callee.into_bytes(), ..Remote::default() },
            pending: None,
            hold: None,
            media,
            failed: false,
        }
    }

    fn slot_timer(&self) -> Timer {
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
        let token = self.token.encode();
        let token_text = std::str::from_utf8(&token).unwrap_or_default();
        let user = cx.plan.from.fill(self.user);
        let lines = [self.remote.routes.as_slice(), lines].concat();
        let sent_by = self.line.local.to_string();
        let from = format!("<sip:{user}@{}>;tag={token_text}", cx.plan.domain);
        let contact = contact(&user, self.line.local, cx.plan);
        let values = Values {
            uri: &self.remote.target,
            sent_by: sent_by.as_bytes(),
            branch: &branch(self.token, Owner::Uac, serial),
            from: from.as_bytes(),
            to: &self.to,
            call_id: &token[..TOKEN_LEN],
            cseq: self.cseq,
            contact: contact.as_bytes(),
            lines: &lines,
            body,
            ..Values::default()
        };
        (write(template, &values), serial)
    }

    fn request(&mut self, cx: &mut Context<'_>, method: &str, lines: &[u8], body: &[u8], kind: Kind) {
        let (bytes, serial) = self.write(cx, method, lines, body);
        self.drop_pending(cx);
        let path = self.remote.path(self.line.path);
        self.pending = Some(Pending::start(cx, path, bytes, serial, kind, self.slot_timer()));
    }

    fn drop_pending(&mut self, cx: &mut Context<'_>) {
        if let Some(mut pending) = self.pending.take() {
            cx.cancel(&mut pending.timer);
        }
    }

    pub(super) fn invite(&mut self, cx: &mut Context<'_>, lines: &[u8]) {
        let mut body = Vec::with_capacity(192);
        sdp::write(&mut body, self.token.salt, self.media_address());
        self.request(cx, "INVITE", lines, &body, Kind::Invite);
        self.invite_serial = self.serial;
    }

    /// Without RTP the offer names the discard port: nothing will listen.
    fn media_address(&self) -> SocketAddr {
        self.media.map_or(SocketAddr::new(self.line.local.ip(), 9), |(_, address)| address)
    }

    fn ack(&mut self, cx: &mut Context<'_>) {
        let (bytes, _) = self.write(cx, "ACK", &[], &[]);
        let path = self.remote.path(self.line.path);
        cx.send(path, bytes);
    }

    pub(super) fn bye(&mut self, cx: &mut Context<'_>) {
        cx.cancel(&mut self.hold);
        self.state = State::Ending;
        self.bye_due = self.bye_due.min(cx.now);
        self.challenges = 0;
        self.request(cx, "BYE", &[], &[], Kind::Request);
    }

    pub(super) fn cancel(&mut self, cx: &mut Context<'_>, slot: Slot) {
        self.state = State::Cancelling;
        let (bytes, serial) = self.write(cx, "CANCEL", &[], &[]);
        self.drop_pending(cx);
        self.pending = Some(Pending::start(cx, self.line.path, bytes, serial, Kind::Request, Timer::UacPending(slot)));
    }

    pub(super) fn on_invite_answer(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>) -> Over {
        let status = fields.status();
        match (self.state, status) {
            (State::Calling | State::Proceeding, 100..=199) => {
                if status > 100 {
                    self.rang.get_or_insert(cx.now);
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
            (_, 200..) => {
                acknowledge(cx, fields, self.token, self.invite_serial, Some(&self.line));
                None
            }
            _ => None,
        }
    }

    fn establish(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>) -> Over {
        self.drop_pending(cx);
        self.to = fields.to.to_vec();
        self.remote = Remote::learn(fields, true, &self.remote.target);
        let cancelled = self.state == State::Cancelling;
        self.state = State::Up;
        self.ack(cx);
        cx.stats.counters.calls_established += 1;
        record(&mut cx.stats.latencies.srd, self.rang.unwrap_or(cx.now).since(self.scheduled));
        record(&mut cx.stats.latencies.setup, cx.now.since(self.scheduled));
        if cancelled {
            self.failed = true;
            self.bye(cx);
            return None;
        }
        let hold = cx.plan.hold.sample(cx.random);
        let owed = match cx.plan.hangup {
            Role::Uac => hold,
            Role::Uas => cx.plan.hold.longest() + HANGUP_GRACE,
        };
        if let (Some((media, _)), Some(to)) = (self.media, sdp::remote(fields.body)) {
            let hold = (cx.plan.hangup == Role::Uac).then_some(hold);
            cx.media.start(cx.now, media, to, hold);
        }
        let due = cx.now + owed;
        if cx.plan.hangup == Role::Uac {
            self.bye_due = due;
        }
        if owed.is_zero() {
            self.bye(cx);
        } else {
            self.hold = cx.schedule(due, Timer::UacHold(self.token.slot));
        }
        None
    }

    fn refuse(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>) -> Over {
        let status = fields.status();
        acknowledge(cx, fields, self.token, self.invite_serial, Some(&self.line));
        if self.state == State::Cancelling {
            return Some(Err(Failure::Unanswered));
        }
        if matches!(status, 401 | 407) {
            if let Some(line) = self.credentials(cx, "INVITE", fields) {
                cx.stats.counters.challenges_answered += 1;
                self.state = State::Calling;
                self.invite(cx, &line);
                return None;
            }
            count_refusal(cx, fields);
            return Some(Err(Failure::Unauthorized));
        }
        count_refusal(cx, fields);
        let counters = &mut cx.stats.counters;
        counters.calls_declined += u64::from(matches!(status, 480 | 486 | 600 | 603));
        counters.calls_redirected += u64::from((300..400).contains(&status));
        Some(Err(Failure::Refused))
    }

    fn credentials(&mut self, cx: &mut Context<'_>, method: &str, fields: &Fields<'_>) -> Option<Vec<u8>> {
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
                record(&mut cx.stats.latencies.sdd, cx.now.since(self.bye_due));
                Some(Ok(()))
            }
            401 | 407 => match self.credentials(cx, "BYE", fields) {
                Some(line) => {
                    cx.stats.counters.challenges_answered += 1;
                    self.request(cx, "BYE", &line, &[], Kind::Request);
                    None
                }
                None => Some(Err(Failure::Unauthorized)),
            },
            _ => {
                count_refusal(cx, fields);
                Some(Err(Failure::Hangup))
            }
        }
    }

    pub(super) fn on_pending_timer(&mut self, cx: &mut Context<'_>, slot: Slot) -> Over {
        let path = self.remote.path(self.line.path);
        let due = self.pending.as_mut()?.on_timer(cx, path, Timer::UacPending(slot));
        match (due, self.state) {
            (Due::No, _) => None,
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
                Some(Err(Failure::TimedOut))
            }
            (Due::GiveUp, State::Proceeding) => {
                self.cancel(cx, slot);
                None
            }
            (Due::GiveUp, State::Cancelling) => Some(Err(Failure::Unanswered)),
            (Due::GiveUp, State::Up | State::Ending) => {
                cx.stats.sample(|| "a BYE was not answered within 64*T1".into());
                Some(Err(Failure::Hangup))
            }
        }
    }

    /// A re-INVITE from the peer: the same description again, RTP follows its new address (RFC 3264 §8).
    pub(super) fn answer_reoffer(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>, path: Path) -> Bytes {
        if let (Some((media, _)), Some(to)) = (self.media, sdp::remote(fields.body)) {
            cx.media.start(cx.now, media, to, None);
        }
        let mut body = Vec::with_capacity(192);
        sdp::write(&mut body, self.token.salt, self.media_address());
        let contact = contact(&cx.plan.from.fill(self.user), self.line.local, cx.plan);
        let reply = Answer { tag: b"", contact: contact.as_bytes(), body: &body };
        answer(&cx.templates.answer, fields, path, reply)
    }
}

fn callee(cx: &Context<'_>, user: u64) -> String {
    format!("sip:{}@{}", cx.plan.to.fill(user), cx.plan.domain)
}

fn count_refusal(cx: &mut Context<'_>, fields: &Fields<'_>) {
    if let scan::Start::Response { status, reason } = fields.start {
        cx.stats.refused(status, reason);
    }
}
