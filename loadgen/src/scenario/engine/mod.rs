//! Runs a scenario: one call after the other as the schedule says, or one for each that comes.
//!
//! ```text
//!              due, or a request with a new Call-ID
//!                            ▼
//!     ┌──────────▶ the command at hand ─── send, nop ──▶ its timers and actions ─┐
//!     │                      │ recv, pause                                       │ next, or where `next=` leads
//!     │                   waiting ◀── a message that fits, a timer               │
//!     └──────────────────────┴───────────────────────────────────────────────────┘
//!        over: after the last command, by `timewait`, by a message that does not fit, by a timer that ran out
//! ```

mod act;
mod begin;
pub mod call;
mod environment;
mod give_up;
mod header;
mod late;
pub mod player;
mod receive;
mod repeat;
mod run;
mod sdp;
mod seen;
mod shared;
mod value;
mod verify;
mod write;

pub use environment::Environment;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use strowger::base::time::Duration;
use strowger::base::{Instant, Slab, Slot, SocketKey, StreamKey};

use self::call::{Beginning, Call, Failure, Flow};
use self::late::Late;
use self::player::Player;
use self::receive::{Incoming, begins};
use self::seen::hash;
use self::shared::Shared;
use super::program::Stop;
use crate::core::latency::Latency;
use crate::core::message::answer_stranger;
use crate::core::scan::{Fields, Start};
use crate::core::schedule::Schedule;
use crate::core::stats::Stats;
use crate::core::uac::Line;
use crate::core::{Context, Path, Role, Timer};

/// How long the answers of a call that is over are repeated: 64*T1, as long as a peer may try (RFC 3261 §17.2.2).
const REMEMBERED: Duration = Duration::from_secs(32);

/// What an engine is given.
pub struct Options {
    /// The same on all cores.
    pub env: Arc<Environment>,
    /// This core's number, and how many there are.
    pub core: (u64, u64),
    /// Of the calling side.
    pub schedule: Schedule,
    /// Of the calling side.
    pub lines: Vec<Line>,
    /// Where the answering side listens.
    pub local: Option<SocketAddr>,
    /// Calls at once.
    pub bound: usize,
    /// First media socket.
    pub media_base: u32,
    /// What they are bound to.
    pub media_ports: Vec<SocketAddr>,
    /// Of Call-IDs, which the peer chooses.
    pub hasher: ahash::RandomState,
}

/// A scenario on one core.
pub struct Engine {
    /// When calls are due.
    pub schedule: Schedule,
    shared: Shared,
    calls: Slab<Call>,
    by_id: HashMap<Vec<u8>, Slot, ahash::RandomState>,
    late: Late,
    lines: Vec<Line>,
    local: Option<SocketAddr>,
    core: (u64, u64),
    answered: u64,
    draining: bool,
}

impl Engine {
    /// Ready to start.
    pub fn new(now: Instant, options: Options) -> Self {
        let env = options.env;
        let player = Player::new(env.program.role, options.media_base, options.media_ports);
        Self {
            schedule: options.schedule,
            shared: Shared::new(now, env, player),
            calls: Slab::new(options.bound),
            by_id: HashMap::with_hasher(options.hasher),
            late: Late::default(),
            lines: options.lines,
            local: options.local,
            core: options.core,
            answered: 0,
            draining: false,
        }
    }

    /// Histograms of the timers, counters, and `<init>`.
    pub fn prepare(&mut self, cx: &mut Context<'_>) {
        let env = self.shared.env.clone();
        cx.stats.timers = env.program.timers.iter().map(|name| (format!("rtd_{name}"), Latency::default())).collect();
        cx.stats.counted = env.program.counters.iter().map(|name| (name.clone(), 0)).collect();
        let nowhere = SocketAddr::new(env.media_ip, 0);
        let from = Beginning {
            slot: Slot::default(),
            number: 1,
            user: 0,
            call_id: b"init".to_vec(),
            local: nowhere,
            remote: nowhere,
            path: Path::Stream(StreamKey(u64::MAX)),
            due: cx.now,
            media: None,
        };
        let mut call = Call::new(cx, &self.shared, from);
        for _ in 0..env.program.init.len().saturating_mul(1000) {
            let (index, shared) = (call.at, &mut self.shared);
            let Some(command) = env.program.init.get(index) else { break };
            if !call.applies(shared, command) {
                call.at += 1;
            } else if call.complete(cx, shared, command, index).is_err() {
                cx.stats.sample(|| format!("{}:{}: <init> failed here", env.program.file, command.at.line));
                break;
            }
        }
    }

    /// Which side it is.
    pub fn role(&self) -> Role {
        self.shared.env.program.role
    }

    /// Calls up, those in their `timewait` included.
    pub fn len(&self) -> usize {
        self.calls.len() + self.late.lingering()
    }

    /// No more calls, and none is up.
    pub fn is_over(&self) -> bool {
        let no_more = self.role() == Role::Uas || self.schedule.is_over();
        no_more && self.len() == 0
    }

    /// No more calls; those that are up go on to their end.
    pub fn drain(&mut self) {
        self.schedule.stop();
        self.draining = true;
    }

    /// What is up counts as failed.
    pub fn abandon(&mut self, cx: &mut Context<'_>) {
        let slots: Vec<Slot> = self.calls.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.settle(cx, slot, Flow::Over(Err(Failure::Stopped)));
        }
    }

    /// A connection was replaced by another.
    pub fn set_line(&mut self, index: usize, line: Line) {
        if let Some(place) = self.lines.get_mut(index) {
            *place = line;
        }
    }

    /// Calls on a path that is gone fail.
    pub fn handle_path_lost(&mut self, cx: &mut Context<'_>, path: Path) {
        let slots: Vec<Slot> = self.calls.iter().filter(|(_, call)| call.path == path).map(|(slot, _)| slot).collect();
        for slot in slots {
            self.settle(cx, slot, Flow::Over(Err(Failure::PathLost)));
        }
    }

    /// A message came.
    pub fn handle_message(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>, path: Path, bytes: &[u8]) {
        let incoming = Incoming { fields, bytes, path, hash: hash(bytes) };
        let id = call_id(fields.call_id);
        if let Some(&slot) = self.by_id.get(id) {
            let flow = self.calls.get_mut(slot).map(|call| call.on_message(cx, &mut self.shared, incoming));
            return self.settle(cx, slot, flow.unwrap_or(Flow::Waiting));
        }
        if let Some(answer) = self.late.find(id, incoming.hash) {
            cx.stats.counters.received_again += 1;
            match (answer, fields.start) {
                (Some((path, bytes)), _) => cx.send(path, bytes),
                (None, Start::Request { method, .. }) => answer_stranger(cx, method, fields, path),
                _ => {}
            }
            return;
        }
        let Start::Request { method, .. } = fields.start else {
            cx.stats.counters.strays += 1;
            return;
        };
        let wanted = self.role() == Role::Uas && begins(&self.shared.env.program.commands, method);
        match (wanted, self.local) {
            (true, Some(local)) if !self.draining => self.answer(cx, id, local, incoming),
            (true, _) => self.refuse(cx, incoming),
            _ => answer_stranger(cx, method, fields, path),
        }
    }

    /// A timer of a call fired.
    pub fn handle_timer(&mut self, cx: &mut Context<'_>, timer: Timer) {
        let (slot, flow) = match timer {
            Timer::ScenarioWake(slot) => {
                (slot, self.calls.get_mut(slot).map(|call| call.on_wake(cx, &mut self.shared)))
            }
            Timer::ScenarioRepeat(slot) => (slot, self.calls.get_mut(slot).map(|call| call.on_repeat(cx))),
            _ => return,
        };
        self.settle(cx, slot, flow.unwrap_or(Flow::Waiting));
    }

    /// Counts a call that is over and forgets it but for its answers.
    fn settle(&mut self, cx: &mut Context<'_>, slot: Slot, flow: Flow) {
        let (result, lingers) = match flow {
            Flow::Waiting => return self.obey(cx),
            Flow::Over(result) => (result, None),
            Flow::Lingering(time) => (Ok(()), Some(time)),
        };
        let Some(mut call) = self.calls.remove(slot) else { return };
        self.by_id.remove(&call.call_id);
        if result.is_err() && self.shared.env.give_up_politely {
            call.give_up(cx);
        }
        call.end(cx, &mut self.shared);
        self.count(cx.stats, result);
        let until = cx.now + lingers.unwrap_or(REMEMBERED);
        self.late.insert(call.call_id, call.seen, until, lingers.is_some());
        self.obey(cx);
    }

    /// `int_cmd`, which is of the whole run.
    fn obey(&mut self, cx: &mut Context<'_>) {
        match self.shared.stop.take() {
            Some(Stop::Gracefully) => self.drain(),
            Some(Stop::Now) => {
                self.drain();
                self.abandon(cx);
            }
            _ => {}
        }
    }

    fn count(&self, stats: &mut Stats, result: Result<(), Failure>) {
        let c = &mut stats.counters;
        let answering = self.shared.is_answering();
        match (result, answering) {
            (Ok(()), true) => c.uas_completed += 1,
            (Ok(()), false) => {
                c.calls_completed += 1;
                c.calls_established += u64::from(!self.shared.env.program.has_invite);
            }
            (Err(_), true) => c.uas_failed += 1,
            (Err(_), false) => c.calls_failed += 1,
        }
        match result {
            Ok(()) | Err(Failure::Stopped | Failure::Endless) => {}
            Err(Failure::Unexpected) => c.scenario_unexpected += 1,
            Err(Failure::Refused) => c.calls_refused += 1,
            Err(Failure::Unanswered) => c.scenario_unanswered += 1,
            Err(Failure::Timeout) => c.scenario_receive_timeouts += 1,
            Err(Failure::Check) => c.scenario_checks_failed += 1,
            Err(Failure::PathLost) => c.calls_transport_failed += 1,
        }
    }

    /// A datagram came to a media socket.
    pub fn handle_packet(&mut self, socket: SocketKey, from: SocketAddr, bytes: &[u8], stats: &mut Stats) {
        self.shared.player.handle_packet(socket, from, bytes, stats);
    }

    /// The next RTP packet that is due.
    pub fn poll_packet(&mut self, now: Instant, stats: &mut Stats) -> Option<(SocketKey, SocketAddr, Bytes)> {
        self.shared.player.poll_packet(now, stats)
    }

    /// When there is a call or a packet to begin.
    pub fn next_deadline(&self) -> Option<Instant> {
        let arrivals = if self.role() == Role::Uac { self.schedule.next_deadline() } else { None };
        [arrivals, self.shared.player.next_deadline()].into_iter().flatten().min()
    }
}

/// What stands before `///` is the scenario's own.
fn call_id(value: &[u8]) -> &[u8] {
    memchr::memmem::find(value, b"///").map_or(value, |at| &value[at + 3..])
}
