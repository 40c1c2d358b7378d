//! The answering side: 180, 200 until it is acknowledged, BYE from either end. RFC 3261 §13.3, §12.1.1, §15, §17.2.
//!
//! ```text
//!  INVITE: 180 ──ring over: 200──▶ Answered ──ACK──▶ Up ──BYE: 200──▶ done
//!     │ CANCEL: 487 ──▶ done          │ no ACK          └─hold over (we hang up): BYE ──▶ Ending ──200──▶ done
//! ```

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;

use ahash::RandomState;
use bytes::Bytes;
use strowger::base::id::Token;
use strowger::base::time::Duration;
use strowger::base::{Instant, Random, ShardId, Slab, Slot, TimerKey};

use super::message::{self, Answer, Owner, Remote, answer, branch, contact, write};
use super::retransmit::{Due, Kind};
use super::scan::{self, Fields};
use super::stats::record;
use super::template::Values;
use super::{Context, Path, Pending, Role, Timer, sdp};

/// A BYE may come again for so long (timer J).
const LINGER: Duration = Duration::from_secs(32);
/// Ended dialogs remembered at most.
const LINGER_MAX: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ringing,
    Answered,
    Up,
    Ending,
}

struct Call {
    state: State,
    key: u64,
    token: Token,
    tag: [u8; 16],
    path: Path,
    invite: Vec<u8>,
    last: Bytes,
    cseq_remote: u32,
    cseq: u32,
    serial: u32,
    bye_due: Instant,
    remote: Remote,
    pending: Option<Pending>,
    step: Option<TimerKey>,
    media: Option<(Slot, SocketAddr)>,
}

/// The answering side of one core.
pub struct Uas {
    calls: Slab<Call>,
    dialogs: HashMap<u64, Slot, RandomState>,
    ended: HashSet<u64, RandomState>,
    ended_order: VecDeque<(Instant, u64)>,
    local: SocketAddr,
    shard: ShardId,
    keys: RandomState,
}

impl Uas {
    /// Listening on `local`, with at most `bound` calls up.
    pub fn new(shard: ShardId, local: SocketAddr, bound: usize, random: &mut Random) -> Self {
        let mut state = || {
            let [a, b, c, d] = [(); 4].map(|()| random.next_u64());
            RandomState::with_seeds(a, b, c, d)
        };
        Self {
            calls: Slab::new(bound),
            dialogs: HashMap::with_hasher(state()),
            ended: HashSet::with_hasher(state()),
            ended_order: VecDeque::new(),
            local,
            shard,
            keys: state(),
        }
    }

    /// Calls in progress.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Call-ID and the caller's tag, which stand in every request of the dialog (RFC 3261 §12).
    fn key(&self, fields: &Fields<'_>) -> u64 {
        self.keys.hash_one((fields.call_id, scan::tag(fields.from).unwrap_or_default()))
    }

    /// A request came.
    pub fn handle_request(
        &mut self,
        cx: &mut Context<'_>,
        method: &[u8],
        fields: &Fields<'_>,
        path: Path,
        bytes: &[u8],
    ) {
        let key = self.key(fields);
        let Some(&slot) = self.dialogs.get(&key) else {
            return self.handle_stranger(cx, method, fields, path, bytes, key);
        };
        let Some(call) = self.calls.get_mut(slot) else { return };
        match method {
            b"INVITE" if fields.cseq == call.cseq_remote => {
                cx.stats.counters.received_again += 1;
                let again = call.last.clone();
                cx.send(path, again);
            }
            b"INVITE" => call.reoffer(cx, fields, path, self.local),
            b"ACK" => call.on_ack(cx, fields),
            b"BYE" => {
                cx.send(path, answer(&cx.templates.ok, fields, path, Answer::default()));
                self.finish(cx, slot, true);
            }
            b"CANCEL" => {
                let reply = Answer { tag: &call.tag, ..Answer::default() };
                cx.send(path, answer(&cx.templates.ok, fields, path, reply));
                if call.state == State::Ringing {
                    call.terminate(cx);
                    cx.stats.counters.uas_cancelled += 1;
                    self.release(cx, slot);
                }
            }
            _ => message::answer_stranger(cx, method, fields, path),
        }
    }

    fn handle_stranger(
        &mut self,
        cx: &mut Context<'_>,
        method: &[u8],
        fields: &Fields<'_>,
        path: Path,
        bytes: &[u8],
        key: u64,
    ) {
        if method == b"INVITE" && scan::tag(fields.to).is_none() {
            return self.begin(cx, fields, path, bytes, key);
        }
        if self.ended.contains(&key) && matches!(method, b"BYE" | b"ACK" | b"CANCEL") {
            cx.stats.counters.received_again += u64::from(method == b"BYE");
            if method != b"ACK" {
                cx.send(path, answer(&cx.templates.ok, fields, path, Answer::default()));
            }
            return;
        }
        message::answer_stranger(cx, method, fields, path);
    }

    fn begin(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>, path: Path, bytes: &[u8], key: u64) {
        let tag = super::pattern::word(cx.random);
        let remote_media = sdp::remote(fields.body);
        let refuse = |cx: &mut Context<'_>, template| {
            let reply = Answer { tag: &tag, ..Answer::default() };
            let bytes = answer(template, fields, path, reply);
            cx.stats.counters.uas_refused += 1;
            cx.send(path, bytes);
        };
        cx.stats.counters.uas_calls += 1;
        if cx.plan.rtp && !fields.body.is_empty() && remote_media.is_none() {
            return refuse(cx, &cx.templates.not_acceptable);
        }
        let media = if cx.plan.rtp { cx.media.open(Role::Uas, cx.random) } else { None };
        let slot = self.calls.next_slot().filter(|_| media.is_some() || !cx.plan.rtp);
        let Some(slot) = slot else {
            if let Some((media, _)) = media {
                cx.media.close(cx.now, media, cx.stats);
            }
            return refuse(cx, &cx.templates.unavailable);
        };
        let mut call = Call {
            state: State::Ringing,
            key,
            token: Token { shard: self.shard, slot, salt: cx.random.next_u32() },
            tag,
            path,
            invite: bytes.to_vec(),
            last: Bytes::new(),
            cseq_remote: fields.cseq,
            cseq: 0,
            serial: 0,
            bye_due: Instant::MAX,
            remote: Remote::learn(fields, false, scan::uri(fields.from)),
            pending: None,
            step: None,
            media,
        };
        let contact = contact("uas", self.local, cx.plan);
        let reply = Answer { tag: &tag, contact: contact.as_bytes(), body: &[] };
        call.last = answer(&cx.templates.ringing, fields, path, reply);
        cx.send(path, call.last.clone());
        if cx.plan.ring.is_zero() {
            call.accept(cx, fields, self.local);
        } else {
            call.step = cx.schedule(cx.now + cx.plan.ring, Timer::UasStep(slot));
        }
        if self.calls.insert(call).is_ok() {
            self.dialogs.insert(key, slot);
        }
    }

    /// An answer whose top branch is ours: to a BYE.
    pub fn handle_response(&mut self, cx: &mut Context<'_>, token: Token, serial: u32, fields: &Fields<'_>) {
        let call = self.calls.get_mut(token.slot).filter(|call| call.token == token);
        let Some(call) = call.filter(|call| call.pending.as_ref().is_some_and(|pending| pending.serial == serial))
        else {
            cx.stats.counters.strays += 1;
            return;
        };
        match fields.status() {
            ..200 => {}
            200..=299 => {
                record(&mut cx.stats.latencies.sdd, cx.now.since(call.bye_due));
                self.finish(cx, token.slot, true);
            }
            status => {
                cx.stats.sample(|| format!("the answering side's BYE was answered {status}"));
                self.finish(cx, token.slot, false);
            }
        }
    }

    /// A timer of the answering side fired.
    pub fn handle_timer(&mut self, cx: &mut Context<'_>, timer: Timer) {
        match timer {
            Timer::UasStep(slot) => {
                let local = self.local;
                let Some(call) = self.calls.get_mut(slot) else { return };
                call.step = None;
                match call.state {
                    State::Ringing => {
                        let invite = std::mem::take(&mut call.invite);
                        if let Ok(fields) = scan::scan(&invite) {
                            call.accept(cx, &fields, local);
                        }
                    }
                    State::Up => call.bye(cx, local),
                    State::Answered | State::Ending => {}
                }
            }
            Timer::UasPending(slot) => {
                let Some(call) = self.calls.get_mut(slot) else { return };
                if call.on_pending_timer(cx) {
                    self.finish(cx, slot, false);
                }
            }
            _ => {}
        }
    }

    /// The path of some calls is gone.
    pub fn handle_path_lost(&mut self, cx: &mut Context<'_>, path: Path) {
        let lost: Vec<Slot> = self.calls.iter().filter(|(_, call)| call.path == path).map(|(slot, _)| slot).collect();
        for slot in lost {
            self.finish(cx, slot, false);
        }
    }

    /// The run is over: what is still up counts as failed.
    pub fn abandon(&mut self, cx: &mut Context<'_>) {
        let slots: Vec<Slot> = self.calls.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.finish(cx, slot, false);
        }
    }

    fn finish(&mut self, cx: &mut Context<'_>, slot: Slot, completed: bool) {
        let counters = &mut cx.stats.counters;
        counters.uas_completed += u64::from(completed);
        counters.uas_failed += u64::from(!completed);
        self.release(cx, slot);
    }

    fn release(&mut self, cx: &mut Context<'_>, slot: Slot) {
        let Some(mut call) = self.calls.remove(slot) else { return };
        if let Some(pending) = &mut call.pending {
            cx.cancel(&mut pending.timer);
        }
        cx.cancel(&mut call.step);
        if let Some((media, _)) = call.media {
            cx.media.close(cx.now, media, cx.stats);
        }
        self.dialogs.remove(&call.key);
        while self.ended_order.front().is_some_and(|&(at, _)| at <= cx.now) || self.ended_order.len() >= LINGER_MAX {
            let Some((_, key)) = self.ended_order.pop_front() else { break };
            self.ended.remove(&key);
        }
        self.ended.insert(call.key);
        self.ended_order.push_back((cx.now + LINGER, call.key));
    }
}

impl Call {
    fn accept(&mut self, cx: &mut Context<'_>, invite: &Fields<'_>, local: SocketAddr) {
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

    fn reoffer(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>, path: Path, local: SocketAddr) {
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
            let hold = (cx.plan.hangup == Role::Uas).then_some(cx.plan.hold);
            cx.media.start(cx.now, media, to, hold);
        }
    }

    fn on_ack(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>) {
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
            self.bye_due = cx.now + cx.plan.hold;
            self.step = cx.schedule(self.bye_due, Timer::UasStep(self.token.slot));
        }
    }

    fn bye(&mut self, cx: &mut Context<'_>, local: SocketAddr) {
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

    fn terminate(&mut self, cx: &mut Context<'_>) {
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
    fn on_pending_timer(&mut self, cx: &mut Context<'_>) -> bool {
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
