//! The calling side: INVITE at its scheduled time, ACK, hold, BYE. RFC 3261 §13.2, §15, §17.1, §22.
//!
//! ```text
//!            INVITE            1xx                2xx: ACK          hold over: BYE
//!  schedule ───────▶ Calling ───────▶ Proceeding ────────▶ Up ─────────────────────▶ Ending ──200──▶ done
//!                       │ 3xx–6xx: ACK, again with credentials or failed  │ BYE from the peer: 200 ──▶ done
//!                       └────────── too long: CANCEL ──▶ Cancelling       └ no BYE: ours, failed
//! ```
//! Answers to INVITE that come when their call is gone are still acknowledged, from what stands in the answer itself.

use std::net::SocketAddr;

use bytes::Bytes;
use strowger::base::id::{TOKEN_LEN, Token};
use strowger::base::time::Duration;
use strowger::base::{Instant, ShardId, Slab, Slot, TimerKey};

use super::digest::{Asked, Challenge};
use super::message::{self, Answer, Owner, Remote, answer, branch, contact, write};
use super::retransmit::{Due, Kind};
use super::scan::{self, Fields};
use super::schedule::Schedule;
use super::stats::record;
use super::template::Values;
use super::{Context, Path, Pending, Role, Timer, sdp};

/// How long the calling side waits for a BYE that the answering side owes.
const HANGUP_GRACE: Duration = Duration::from_secs(33);
/// Challenges answered for one request: the first, and one that says stale.
const CHALLENGES_MAX: u8 = 2;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Calling,
    Proceeding,
    Cancelling,
    Up,
    Ending,
}

struct Call {
    state: State,
    user: u64,
    scheduled: Instant,
    line: Line,
    token: Token,
    cseq: u32,
    serial: u32,
    invite_serial: u32,
    challenges: u8,
    rang: Option<Instant>,
    bye_due: Instant,
    to: Vec<u8>,
    remote: Remote,
    pending: Option<Pending>,
    hold: Option<TimerKey>,
    media: Option<(Slot, SocketAddr)>,
    failed: bool,
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

/// Why a call failed, as a counter's name and a sentence.
enum Failure {
    Refused,
    TimedOut,
    Unanswered,
    Unauthorized,
    Hangup,
    Transport,
}

impl Uac {
    /// With at most `bound` calls up.
    pub fn new(shard: ShardId, schedule: Schedule, lines: Vec<Line>, bound: usize) -> Self {
        Self { schedule, calls: Slab::new(bound), lines, shard, draining: false }
    }

    /// Calls in progress.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Begins every call that is due.
    pub fn handle_schedule(&mut self, cx: &mut Context<'_>) {
        while let Some((number, scheduled)) = self.schedule.take(cx.now) {
            record(&mut cx.stats.latencies.late_start, cx.now.since(scheduled));
            if !self.begin(cx, number, scheduled) {
                cx.stats.counters.calls_skipped += 1;
            }
        }
    }

    fn begin(&mut self, cx: &mut Context<'_>, number: u64, scheduled: Instant) -> bool {
        let Some(slot) = self.calls.next_slot() else { return false };
        let media = if cx.plan.rtp { cx.media.open(Role::Uac, cx.random) } else { None };
        let Some(&line) = self.lines.get(number as usize % self.lines.len().max(1)) else { return false };
        if cx.plan.rtp && media.is_none() {
            return false;
        }
        let user = number % cx.plan.users;
        let mut call = Call {
            state: State::Calling,
            user,
            scheduled,
            line,
            token: Token { shard: self.shard, slot, salt: cx.random.next_u32() },
            cseq: 0,
            serial: 0,
            invite_serial: 0,
            challenges: 0,
            rang: None,
            bye_due: Instant::MAX,
            to: format!("<{}>", callee(cx, user)).into_bytes(),
            remote: Remote { target: callee(cx, user).into_bytes(), ..Remote::default() },
            pending: None,
            hold: None,
            media,
            failed: false,
        };
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
                cx.send(path, answer(&cx.templates.ok, fields, path, Answer::default()));
                return;
            }
            return message::answer_stranger(cx, method, fields, path);
        };
        match method {
            b"BYE" => {
                cx.send(path, answer(&cx.templates.ok, fields, path, Answer::default()));
                let early = call.state == State::Up && cx.plan.hangup == Role::Uac;
                self.finish(cx, token.slot, if early { Err(Failure::Hangup) } else { Ok(()) });
            }
            b"INVITE" => {
                let bytes = call.answer_reoffer(cx, fields, path);
                cx.send(path, bytes);
            }
            b"ACK" => {}
            _ => message::answer_stranger(cx, method, fields, path),
        }
    }

    /// A timer of the calling side fired.
    pub fn handle_timer(&mut self, cx: &mut Context<'_>, timer: Timer) {
        match timer {
            Timer::UacHold(slot) => {
                if let Some(call) = self.calls.get_mut(slot).filter(|call| call.state == State::Up) {
                    call.failed = cx.plan.hangup == Role::Uas && !self.draining;
                    call.bye(cx);
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
            self.finish(cx, slot, Err(Failure::Transport));
        }
    }

    /// No more calls; those that are up hang up now.
    pub fn drain(&mut self, cx: &mut Context<'_>) {
        self.schedule.stop();
        self.draining = true;
        let slots: Vec<Slot> = self.calls.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            match self.calls.get_mut(slot) {
                Some(call) if call.state == State::Up => call.bye(cx),
                Some(call) if call.state == State::Proceeding => call.cancel(cx, slot),
                _ => {}
            }
        }
    }

    fn finish(&mut self, cx: &mut Context<'_>, slot: Slot, result: Result<(), Failure>) {
        let Some(mut call) = self.calls.remove(slot) else { return };
        if let Some(pending) = &mut call.pending {
            cx.cancel(&mut pending.timer);
        }
        cx.cancel(&mut call.hold);
        if let Some((media, _)) = call.media {
            cx.media.close(cx.now, media, cx.stats);
        }
        let result = if call.failed { result.and(Err(Failure::Hangup)) } else { result };
        let counters = &mut cx.stats.counters;
        let Err(failure) = result else {
            counters.calls_completed += 1;
            return;
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

type Over = Option<Result<(), Failure>>;

impl Call {
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

    fn invite(&mut self, cx: &mut Context<'_>, lines: &[u8]) {
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

    fn bye(&mut self, cx: &mut Context<'_>) {
        cx.cancel(&mut self.hold);
        self.state = State::Ending;
        self.bye_due = self.bye_due.min(cx.now);
        self.challenges = 0;
        self.request(cx, "BYE", &[], &[], Kind::Request);
    }

    fn cancel(&mut self, cx: &mut Context<'_>, slot: Slot) {
        self.state = State::Cancelling;
        let (bytes, serial) = self.write(cx, "CANCEL", &[], &[]);
        self.drop_pending(cx);
        self.pending = Some(Pending::start(cx, self.line.path, bytes, serial, Kind::Request, Timer::UacPending(slot)));
    }

    fn on_invite_answer(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>) -> Over {
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
        let owed = match cx.plan.hangup {
            Role::Uac => cx.plan.hold,
            Role::Uas => cx.plan.hold + HANGUP_GRACE,
        };
        if let (Some((media, _)), Some(to)) = (self.media, sdp::remote(fields.body)) {
            let hold = (cx.plan.hangup == Role::Uac).then_some(cx.plan.hold);
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
        let cnonce = super::pattern::word(cx.random);
        let asked = Asked { method: method.as_bytes(), uri: &self.remote.target, cnonce: &cnonce };
        let mut line = Vec::with_capacity(320);
        challenge.answer(&secret, asked, &mut line);
        Some(line)
    }

    fn on_other_answer(&mut self, cx: &mut Context<'_>, serial: u32, fields: &Fields<'_>) -> Over {
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

    fn on_pending_timer(&mut self, cx: &mut Context<'_>, slot: Slot) -> Over {
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
    fn answer_reoffer(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>, path: Path) -> Bytes {
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

/// Acknowledges a final answer to INVITE from what it says itself: a refusal within the transaction
/// (RFC 3261 §17.1.1.3), a 2xx end to end (§13.2.2.4).
fn acknowledge(cx: &mut Context<'_>, fields: &Fields<'_>, token: Token, serial: u32, line: Option<&Line>) {
    let success = fields.status() < 300;
    let otherwise = scan::uri(fields.to);
    let remote = if success { Remote::learn(fields, true, otherwise) } else { Remote::default() };
    let Some(line) = line else { return };
    let own = if success { branch(token, Owner::Uac, u32::MAX) } else { branch(token, Owner::Uac, serial) };
    let sent_by = line.local.to_string();
    let values = Values {
        uri: if success { &remote.target } else { otherwise },
        sent_by: sent_by.as_bytes(),
        branch: &own,
        from: fields.from,
        to: fields.to,
        call_id: fields.call_id,
        cseq: fields.cseq,
        lines: &remote.routes,
        ..Values::default()
    };
    let bytes = write(&cx.templates.ack, &values);
    cx.send(remote.path(line.path), bytes);
}
