//! Registrations: one REGISTER per arrival, user after user, answered challenges included. RFC 3261 §10.2, §22; RRD of
//! RFC 6076 runs from the scheduled REGISTER to the 200, through the challenge.

use std::net::SocketAddr;

use strowger::base::id::Token;
use strowger::base::{Instant, Random, ShardId, Slab, Slot};

use super::branch::{Branch, Owner};
use super::digest::{Asked, Challenge, Secret};
use super::message::contact;
use super::octets::decimal;
use super::pattern::word;
use super::retransmit::{Due, Kind};
use super::scan::{self, Fields};
use super::schedule::Schedule;
use super::stats::record;
use super::template::Values;
use super::uac::Line;
use super::{Context, Path, Pending, Timer};

/// Challenges answered for one registration: the first, and one that says stale.
const CHALLENGES_MAX: u8 = 2;

#[derive(Default)]
struct User {
    cseq: u32,
    busy: bool,
    challenge: Option<Challenge>,
}

struct Attempt {
    user: usize,
    line: Line,
    scheduled: Instant,
    token: Token,
    serial: u32,
    challenges: u8,
    expires: u32,
    lengthened: bool,
    pending: Option<Pending>,
}

/// What came of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 200, with the seconds granted.
    Done(u32),
    /// Refused or not answered.
    Failed,
}

/// Where users come from.
pub enum Users {
    /// The plan's patterns.
    Numbered,
    /// One, of the answering side: who, and the address that is registered.
    One(Secret, SocketAddr),
}

/// The registering side of one core.
pub struct Registrar {
    /// When registrations are due.
    pub schedule: Option<Schedule>,
    users: Vec<User>,
    source: Users,
    attempts: Slab<Attempt>,
    lines: Vec<Line>,
    shard: ShardId,
    run: [u8; 16],
}

impl Registrar {
    /// With at most `bound` registrations open.
    pub fn new(
        shard: ShardId,
        source: Users,
        count: usize,
        lines: Vec<Line>,
        bound: usize,
        random: &mut Random,
    ) -> Self {
        let users = (0..count).map(|_| User::default()).collect();
        Self { schedule: None, users, source, attempts: Slab::new(bound), lines, shard, run: word(random) }
    }

    /// Registrations open.
    pub fn len(&self) -> usize {
        self.attempts.len()
    }

    /// Begins every registration that is due.
    pub fn handle_schedule(&mut self, cx: &mut Context<'_>) {
        while let Some((number, scheduled)) = self.schedule.as_mut().and_then(|schedule| schedule.take(cx.now)) {
            record(&mut cx.stats.latencies.late_start, cx.now.since(scheduled));
            let user = (number % self.users.len().max(1) as u64) as usize;
            if !self.begin(cx, user, scheduled, cx.plan.expires) {
                cx.stats.counters.registrations_skipped += 1;
            }
        }
    }

    /// Registers one user; false while that user's previous one is open (RFC 3261 §10.2), or too many are.
    pub fn begin(&mut self, cx: &mut Context<'_>, user: usize, scheduled: Instant, expires: u32) -> bool {
        let Some(slot) = self.attempts.next_slot() else { return false };
        let Some(&line) = self.lines.get(user % self.lines.len().max(1)) else { return false };
        match self.users.get_mut(user) {
            Some(state) if !state.busy => state.busy = true,
            _ => return false,
        }
        let token = Token { shard: self.shard, slot, salt: cx.random.next_u32() };
        let attempt = Attempt {
            user,
            line,
            scheduled,
            token,
            serial: 0,
            challenges: 0,
            expires,
            lengthened: false,
            pending: None,
        };
        cx.stats.counters.registrations_attempted += 1;
        if self.attempts.insert(attempt).is_err() {
            return false;
        }
        self.send(cx, slot);
        true
    }

    fn identity(&self, cx: &Context<'_>, user: usize) -> (String, Option<Secret>, Option<SocketAddr>) {
        match &self.source {
            Users::One(secret, contact) => (secret.user.clone(), Some(secret.clone()), Some(*contact)),
            Users::Numbered => (cx.plan.from.fill(user as u64), super::message::secret(cx.plan, user as u64), None),
        }
    }

    fn send(&mut self, cx: &mut Context<'_>, slot: Slot) {
        let Some(user) = self.attempts.get(slot).map(|attempt| attempt.user) else { return };
        let (name, secret, registered) = self.identity(cx, user);
        let (Some(attempt), Some(state)) = (self.attempts.get_mut(slot), self.users.get_mut(user)) else { return };
        attempt.serial += 1;
        state.cseq += 1;
        let uri = format!("sip:{}", cx.plan.domain);
        let mut lines = b"Expires: ".to_vec();
        decimal(&mut lines, attempt.expires);
        lines.extend_from_slice(b"\r\n");
        if let (Some(challenge), Some(secret)) = (&mut state.challenge, &secret) {
            let cnonce = word(cx.random);
            let asked = Asked { method: b"REGISTER", uri: uri.as_bytes(), cnonce: &cnonce };
            challenge.answer(secret, asked, &mut lines);
        }
        let address = format!("<sip:{name}@{}>", cx.plan.domain);
        let run = std::str::from_utf8(&self.run).unwrap_or_default();
        let from = format!("{address};tag={:08x}", attempt.token.salt);
        // RFC 3261 §10.2: the same Call-ID for all registrations of one user to one registrar
        let call_id = format!("{run}-{}-{user}", self.shard.0);
        let contact = contact(&name, registered.unwrap_or(attempt.line.local), cx.plan);
        let values = Values {
            uri: uri.as_bytes(),
            sent_by: Some(attempt.line.local),
            branch: Some(Branch::new(attempt.token.encode(), Owner::Register, attempt.serial)),
            from: from.as_bytes(),
            to: address.as_bytes(),
            call_id: call_id.as_bytes(),
            cseq: state.cseq,
            contact: &contact,
            lines: &lines,
            ..Values::default()
        };
        let bytes = cx.templates.write(&cx.templates.register, &values);
        if let Some(mut old) = attempt.pending.take() {
            cx.cancel(&mut old.timer);
        }
        let (path, serial) = (attempt.line.path, attempt.serial);
        attempt.pending = Some(Pending::start(cx, path, bytes, serial, Kind::Request, Timer::Register(slot)));
    }

    /// The connection under a path is up, or is another one now.
    pub fn set_line(&mut self, index: usize, line: Line) {
        if let Some(place) = self.lines.get_mut(index) {
            *place = line;
        }
    }

    /// The path of some registrations is gone.
    pub fn handle_path_lost(&mut self, cx: &mut Context<'_>, path: Path) {
        let lost: Vec<Slot> =
            self.attempts.iter().filter(|(_, attempt)| attempt.line.path == path).map(|(slot, _)| slot).collect();
        for slot in lost {
            self.finish(cx, slot, Outcome::Failed);
        }
    }

    /// An answer whose top branch is ours.
    pub fn handle_response(
        &mut self,
        cx: &mut Context<'_>,
        token: Token,
        serial: u32,
        fields: &Fields<'_>,
    ) -> Option<Outcome> {
        let attempt = self.attempts.get_mut(token.slot).filter(|attempt| attempt.token == token);
        let Some(attempt) = attempt.filter(|attempt| attempt.serial == serial) else {
            cx.stats.counters.strays += 1;
            return None;
        };
        match fields.status() {
            ..200 => None,
            200..=299 => {
                record(&mut cx.stats.latencies.rrd, cx.arrived.since(attempt.scheduled));
                let granted = fields
                    .contact
                    .and_then(|value| scan::param(scan::first_value(value), b"expires"))
                    .and_then(scan::number)
                    .or(fields.expires)
                    .unwrap_or(attempt.expires);
                self.finish(cx, token.slot, Outcome::Done(granted))
            }
            401 | 407 => self.handle_challenge(cx, token.slot, fields),
            423 if !attempt.lengthened && fields.min_expires.is_some() => {
                attempt.lengthened = true; // RFC 3261 §10.2.8
                attempt.expires = fields.min_expires.unwrap_or(attempt.expires);
                self.send(cx, token.slot);
                None
            }
            _ => {
                refused(cx, fields);
                self.finish(cx, token.slot, Outcome::Failed)
            }
        }
    }

    fn handle_challenge(&mut self, cx: &mut Context<'_>, slot: Slot, fields: &Fields<'_>) -> Option<Outcome> {
        let user = self.attempts.get(slot)?.user;
        let has_secret = self.identity(cx, user).1.is_some();
        let attempt = self.attempts.get_mut(slot)?;
        let state = self.users.get_mut(user)?;
        attempt.challenges += 1;
        let challenge = Challenge::choose(fields.challenges.iter().copied()).filter(|challenge| {
            has_secret && attempt.challenges <= CHALLENGES_MAX && (attempt.challenges == 1 || challenge.stale)
        });
        match challenge {
            Some(challenge) => {
                state.challenge = Some(challenge);
                cx.stats.counters.challenges_answered += 1;
                self.send(cx, slot);
                None
            }
            None => {
                state.challenge = None;
                refused(cx, fields);
                self.finish(cx, slot, Outcome::Failed)
            }
        }
    }

    /// A timer of a registration fired.
    pub fn handle_timer(&mut self, cx: &mut Context<'_>, slot: Slot) -> Option<Outcome> {
        let attempt = self.attempts.get_mut(slot)?;
        let path = attempt.line.path;
        match attempt.pending.as_mut()?.on_timer(cx, path, Timer::Register(slot)) {
            Due::No => None,
            Due::Again => {
                cx.stats.counters.retransmitted_request += 1;
                None
            }
            Due::GiveUp => {
                cx.stats.counters.registrations_timed_out += 1;
                cx.stats.sample(|| "a REGISTER was not answered within 64*T1".into());
                self.finish(cx, slot, Outcome::Failed)
            }
        }
    }

    fn finish(&mut self, cx: &mut Context<'_>, slot: Slot, outcome: Outcome) -> Option<Outcome> {
        let mut attempt = self.attempts.remove(slot)?;
        if let Some(pending) = &mut attempt.pending {
            cx.cancel(&mut pending.timer);
        }
        if let Some(user) = self.users.get_mut(attempt.user) {
            user.busy = false;
            if !cx.plan.reuse_nonce {
                user.challenge = None;
            }
        }
        match outcome {
            Outcome::Done(_) => cx.stats.counters.registrations_completed += 1,
            Outcome::Failed => cx.stats.counters.registrations_failed += 1,
        }
        Some(outcome)
    }
}

fn refused(cx: &mut Context<'_>, fields: &Fields<'_>) {
    if let scan::Start::Response { status, reason } = fields.start {
        cx.stats.refused(status, reason);
    }
}
