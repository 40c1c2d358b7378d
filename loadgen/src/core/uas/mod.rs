//! The answering side: 180, 200 until it is acknowledged, BYE from either end. RFC 3261 §13.3, §12.1.1, §15, §17.2.
//!
//! ```text
//!  INVITE: 180, 183 ──ring over: 200──▶ Answered ──ACK──▶ Up ──BYE: 200──▶ done
//!     │ CANCEL: 487, or refused: ──▶ Refusing ──ACK──▶ done  └─hold over (we hang up): BYE ──▶ Ending ──200──▶ done
//! ```
//! A call that is up may send a re-INVITE; while that is not answered the BYE waits (`flow.rs`).

mod call;
mod ended;
mod reoffer;

use std::collections::HashMap;
use std::net::SocketAddr;

use ahash::RandomState;
use bytes::Bytes;
use strowger::base::id::Token;
use strowger::base::{Instant, Random, ShardId, Slab, Slot};

use self::call::{Call, State};
use self::ended::Ended;
use super::flow::Steps;
use super::message::{self, Answer, Remote, answer, contact};
use super::scan::{self, Fields};
use super::stats::record;
use super::template::Template;
use super::{Context, PREPARED_MAX, Path, Plan, Role, Timer, sdp};
use crate::draw::chance;

/// What this side says of itself.
struct Own {
    local: SocketAddr,
    contact: Vec<u8>,
}

/// The answering side of one core.
pub struct Uas {
    calls: Slab<Call>,
    dialogs: HashMap<u64, Slot, RandomState>,
    ended: Ended,
    own: Own,
    shard: ShardId,
    keys: RandomState,
}

impl Uas {
    /// Listening on `local`.
    pub fn new(shard: ShardId, local: SocketAddr, plan: &Plan, random: &mut Random) -> Self {
        let mut state = || {
            let [a, b, c, d] = [(); 4].map(|()| random.next_u64());
            RandomState::with_seeds(a, b, c, d)
        };
        let mut calls = Slab::new(plan.concurrent_uas);
        calls.prepare(PREPARED_MAX);
        Self {
            calls,
            dialogs: HashMap::with_hasher(state()),
            ended: Ended::new(),
            own: Own { local, contact: contact("uas", local, plan) },
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
            b"INVITE" if fields.cseq < call.cseq_remote && scan::tag(fields.to).is_none() => {
                cx.stats.counters.received_again += 1
            }
            b"INVITE" => call.reoffer(cx, fields, path, &self.own),
            b"ACK" if call.state == State::Refusing => self.finish(cx, slot, true),
            b"ACK" => call.on_ack(cx, fields, &self.own),
            b"BYE" => {
                cx.send(path, answer(cx.templates, &cx.templates.ok, fields, path, Answer::default()));
                self.finish(cx, slot, true);
            }
            b"CANCEL" => {
                let reply = Answer { tag: &call.tag, ..Answer::default() };
                cx.send(path, answer(cx.templates, &cx.templates.ok, fields, path, reply));
                if call.state == State::Ringing {
                    call.terminate(cx);
                    cx.stats.counters.uas_cancelled += 1;
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
            if self.ended.absorbs(cx.now, key, fields.cseq) {
                cx.stats.counters.received_again += 1;
                return;
            }
            return self.begin(cx, fields, path, bytes, key);
        }
        if self.ended.knows(cx.now, key) && matches!(method, b"BYE" | b"ACK" | b"CANCEL") {
            cx.stats.counters.received_again += u64::from(method == b"BYE");
            if method != b"ACK" {
                cx.send(path, answer(cx.templates, &cx.templates.ok, fields, path, Answer::default()));
            }
            return;
        }
        message::answer_stranger(cx, method, fields, path);
    }

    fn begin(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>, path: Path, bytes: &[u8], key: u64) {
        let tag = super::pattern::word(cx.random);
        cx.stats.counters.uas_calls += 1;
        let offered = if cx.plan.rtp { sdp::remote(fields.body, cx.plan.flow.codec) } else { None };
        if cx.plan.rtp && !fields.body.is_empty() && offered.is_none() {
            return self.refuse(cx, &cx.templates.not_acceptable, fields, path, key);
        }
        let refusal = cx.plan.flow.refusal(cx.random);
        let wants_media = cx.plan.rtp && refusal.is_none();
        let media = if wants_media { cx.media.open(Role::Uas, None, cx.random) } else { None };
        let slot = self.calls.next_slot().filter(|_| media.is_some() || !wants_media);
        let Some(slot) = slot else {
            if let Some((media, _)) = media {
                cx.media.close(cx.now, media, cx.stats);
            }
            return self.refuse(cx, &cx.templates.unavailable, fields, path, key);
        };
        let mut call = Call {
            state: State::Ringing,
            key,
            token: Token { shard: self.shard, slot, salt: cx.random.next_u32() },
            tag,
            path,
            invite: Vec::new(),
            offered,
            last: Bytes::new(),
            cseq_invite: fields.cseq,
            cseq_remote: fields.cseq,
            cseq: 0,
            serial: 0,
            bye_due: Instant::MAX,
            steps: Steps::default(),
            refusal,
            version: 1,
            agreed: None,
            cancelled: false,
            remote: if cx.plan.asks(Role::Uas) {
                Remote::learn(fields, false, scan::uri(fields.from))
            } else {
                Remote::default()
            },
            pending: None,
            step: None,
            media,
        };
        let busy = matches!(refusal, Some(486 | 600));
        if !busy {
            let early = chance(cx.random, cx.plan.flow.early_media);
            call.ring(cx, fields, &self.own, early);
        }
        if cx.plan.ring.is_zero() || busy {
            call.conclude(cx, fields, &self.own);
        } else {
            call.invite = bytes.to_vec();
            call.step = cx.schedule(cx.end_of(cx.plan.ring), Timer::UasStep(slot));
        }
        if self.calls.insert(call).is_ok() {
            self.dialogs.insert(key, slot);
        }
    }

    fn refuse(&mut self, cx: &mut Context<'_>, template: &Template, fields: &Fields<'_>, path: Path, key: u64) {
        let reply = Answer { tag: &super::pattern::word(cx.random), ..Answer::default() };
        let bytes = answer(cx.templates, template, fields, path, reply);
        cx.stats.counters.uas_refused += 1;
        cx.send(path, bytes);
        self.ended.remember(cx.now, key, None);
    }

    /// An answer whose top branch is ours: to a BYE.
    pub fn handle_response(&mut self, cx: &mut Context<'_>, token: Token, serial: u32, fields: &Fields<'_>) {
        let mut call = self.calls.get_mut(token.slot).filter(|call| call.token == token);
        let latest = |call: &&mut Call| call.pending.as_ref().is_some_and(|pending| pending.serial == serial);
        if let (Some(call), b"INVITE") = (&mut call, fields.cseq_method) {
            return call.on_offer_answer(cx, fields, &self.own);
        }
        let Some(call) = call.filter(latest) else {
            cx.stats.counters.strays += 1;
            return;
        };
        match fields.status() {
            ..200 => {}
            200..=299 => {
                record(&mut cx.stats.latencies.sdd, cx.arrived.since(call.bye_due));
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
                let Some(call) = self.calls.get_mut(slot) else { return };
                call.step = None;
                match call.state {
                    State::Ringing => {
                        let invite = std::mem::take(&mut call.invite);
                        if let Ok(fields) = scan::scan(&invite) {
                            call.conclude(cx, &fields, &self.own);
                        }
                        call.invite = invite;
                    }
                    State::Up => call.on_step(cx, &self.own),
                    State::Refusing | State::Answered | State::Ending => {}
                }
            }
            Timer::UasPending(slot) => {
                let Some(call) = self.calls.get_mut(slot) else { return };
                if call.on_pending_timer(cx, &self.own) {
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
        let Some(call) = self.calls.get(slot) else { return };
        let counters = &mut cx.stats.counters;
        match (call.cancelled, call.refusal, completed) {
            (true, ..) => {} // counted when it was cancelled
            (_, Some(_), true) => counters.uas_declined += 1,
            (_, _, true) => counters.uas_completed += 1,
            (_, _, false) => counters.uas_failed += 1,
        }
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
        self.ended.remember(cx.now, call.key, Some(call.cseq_invite));
    }
}
