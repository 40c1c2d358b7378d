//! One core's share of the generator: finds the agent a message belongs to, keeps the timers, hands out what to send.
//!
//! No sockets and no clock, as in `core/`: so the tests run whole loads over a lossy pretended network in simulated time.
#![forbid(unsafe_code)]

mod connections;
mod options;
mod presence;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use strowger::base::{Instant, Random, ShardId, SocketKey, StreamKey, Transport, Wheel};

use crate::core::branch::{Branch, Owner};
use crate::core::check;
use crate::core::media::Media;
use crate::core::message::answer_stranger;
use crate::core::news::{News, Recent};
use crate::core::outbox::Outbox;
use crate::core::registrar::{Registrar, Users};
use crate::core::scan::{Start, scan};
use crate::core::schedule::Schedule;
use crate::core::stats::Stats;
use crate::core::stream::Frame;
use crate::core::streams::Streams;
use crate::core::template::Templates;
use crate::core::uac::{Line, Uac};
use crate::core::uas::Uas;
use crate::core::via::answer_address;
use crate::core::{Context, Job, Output, PREPARED_BYTES, PREPARED_MAX, Path, Plan, Role, Timer};
use crate::scenario::engine::Engine;
use connections::{Connections, Use};
pub use options::Options;
use presence::Presence;

/// With more calls than this, walking over them to count their states would hold packets up.
const STATES_MAX: usize = 4096;

/// What the edge watches.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Connections are up and the answering side is registered.
    pub ready: bool,
    /// No more arrivals, and none of this core's calls or registrations is open on the calling side.
    pub over: bool,
    /// Calls up on the calling side.
    pub calls_uac: usize,
    /// Calls up on the answering side.
    pub calls_uas: usize,
    /// Why nothing more can come of it.
    pub fatal: Option<String>,
}

/// One core's share of the generator.
pub struct Station {
    plan: Arc<Plan>,
    templates: Templates,
    random: Random,
    stats: Stats,
    wheel: Wheel<Timer>,
    outbox: Outbox,
    media: Media,
    media_base: u32,
    uac: Option<Uac>,
    uas: Option<Uas>,
    uas_socket: Option<SocketKey>,
    registrar: Option<Registrar>,
    presence: Option<Presence>,
    scenario: Option<Engine>,
    pairs: Option<Streams>,
    /// When the figures begin anew.
    settled: Option<Instant>,
    connections: Connections,
    /// The calling side's connections.
    lines: usize,
    fatal: Option<String>,
}

macro_rules! context {
    ($station:expr, $now:expr) => {
        context!($station, $now, $now)
    };
    ($station:expr, $now:expr, $arrived:expr) => {
        &mut Context {
            now: $now,
            arrived: $arrived,
            plan: &$station.plan,
            templates: &$station.templates,
            random: &mut $station.random,
            stats: &mut $station.stats,
            wheel: &mut $station.wheel,
            outbox: &mut $station.outbox,
            media: &mut $station.media,
        }
    };
}

impl Station {
    /// Ready to be prepared.
    pub fn new(now: Instant, mut options: Options) -> Self {
        let lines = options.lines();
        let scenario = options.play(now, &lines);
        let plan = options.plan;
        let shard = ShardId(options.core);
        let bound = plan.concurrent;
        let random = &mut options.random;
        let schedule = Schedule::new(plan.load, u64::from(options.core), u64::from(options.cores), random.fork())
            .with_tick(plan.tick)
            .with_steps(&plan.steps);
        let tcp = plan.transport == Transport::Tcp;
        let (uac, uas) = match plan.job {
            Job::Calls { uac, uas } if scenario.is_none() => (uac, uas),
            _ => (false, false),
        };
        let count = lines.len();
        let templates = Templates::new(plan.transport, plan.flow.answers.iter().map(|&(status, _)| status));
        let calls = [(uac, bound), (uas, plan.concurrent_uas)].map(|(here, most)| if here { most } else { 0 });
        templates.prepare(calls.map(|most| most.min(PREPARED_MAX)).iter().sum::<usize>() * PREPARED_BYTES);
        let registrar = (plan.job == Job::Register).then(|| {
            let users = usize::try_from(plan.users).unwrap_or(usize::MAX);
            let mut registrar = Registrar::new(shard, Users::Numbered, users, lines.clone(), bound, random);
            let schedule = Schedule::new(plan.load, u64::from(options.core), u64::from(options.cores), random.fork());
            registrar.schedule = Some(schedule.with_tick(plan.tick));
            registrar
        });
        let presence = match (&plan.register_uas, options.uas) {
            (Some(secret), Some((socket, local))) if options.core == 0 => {
                let path =
                    if tcp { Path::Stream(StreamKey(count as u64)) } else { Path::Datagram(socket, plan.target) };
                let users = Users::One(secret.clone(), local);
                Some(Presence::new(Registrar::new(shard, users, 1, vec![Line { local, path }], 1, random)))
            }
            _ => None,
        };
        Self {
            templates,
            stats: Stats::default(),
            wheel: Wheel::new(now, 2 * bound + 2 * plan.concurrent_uas + 64),
            outbox: Outbox::default(),
            media: Media::new(options.media_base, options.media_ports, plan.media()),
            media_base: options.media_base,
            uac: uac.then(|| Uac::new(shard, schedule, lines, bound)),
            uas: options.uas.filter(|_| uas).map(|(_, local)| Uas::new(shard, local, &plan, random)),
            uas_socket: options.uas.map(|(socket, _)| socket),
            settled: None,
            registrar,
            presence,
            scenario,
            pairs: (plan.job == Job::Streams).then(|| Streams::new(options.remotes)),
            connections: Connections::default(),
            lines: if tcp { count } else { 0 },
            fatal: None,
            random: options.random,
            plan,
        }
    }

    /// Opens connections and registers the answering side.
    pub fn prepare(&mut self, now: Instant) {
        for index in 0..self.lines {
            self.connections.open(Use::Line(index), &mut self.outbox);
        }
        if let Some(scenario) = &mut self.scenario {
            scenario.prepare(context!(self, now));
        }
        if let Some(presence) = &mut self.presence {
            if self.plan.transport == Transport::Tcp {
                self.connections.open(Use::Registration, &mut self.outbox);
            }
            presence.begin(context!(self, now));
        }
    }

    /// Arrivals begin at `at`.
    pub fn start(&mut self, at: Instant) {
        self.settled = Some(at + self.plan.settle).filter(|_| !self.plan.settle.is_zero());
        if let Some(uac) = &mut self.uac {
            uac.schedule.start(at);
        }
        if let Some(schedule) = self.registrar.as_mut().and_then(|registrar| registrar.schedule.as_mut()) {
            schedule.start(at);
        }
        if let Some(scenario) = &mut self.scenario {
            scenario.schedule.start(at);
        }
        if let Some(pairs) = &mut self.pairs {
            pairs.start(at, self.plan.hold.longest());
        }
    }

    /// From `at` on arrivals come at another rate; what was due before stays due when it was.
    pub fn set_rate(&mut self, at: Instant, rate: f64) {
        if let Some(uac) = &mut self.uac {
            uac.schedule.set_rate(at, rate);
        }
        if let Some(schedule) = self.registrar.as_mut().and_then(|registrar| registrar.schedule.as_mut()) {
            schedule.set_rate(at, rate);
        }
        if let Some(scenario) = &mut self.scenario {
            scenario.schedule.set_rate(at, rate);
        }
    }

    /// No more arrivals; the calling side hangs up.
    pub fn drain(&mut self, now: Instant) {
        if let Some(uac) = &mut self.uac {
            uac.drain(context!(self, now));
        }
        if let Some(schedule) = self.registrar.as_mut().and_then(|registrar| registrar.schedule.as_mut()) {
            schedule.stop();
        }
        if let Some(scenario) = &mut self.scenario {
            scenario.drain();
        }
        if let Some(pairs) = &mut self.pairs {
            pairs.drain(now);
        }
    }

    /// What the answering side still has up counts as failed, unless the user has cut it off; its registration is taken back.
    pub fn finish(&mut self, now: Instant, cut_off: bool) {
        if let (Some(uas), false) = (&mut self.uas, cut_off) {
            uas.abandon(context!(self, now));
        }
        if let (Some(scenario), false) = (&mut self.scenario, cut_off) {
            scenario.abandon(context!(self, now));
        }
        if let Some(presence) = &mut self.presence {
            presence.leave(context!(self, now));
        }
    }

    /// True once [`finish`](Self::finish) has nothing left to say to the target.
    pub fn is_finished(&self) -> bool {
        !self.presence.as_ref().is_some_and(Presence::is_leaving) && self.outbox.is_empty()
    }

    /// What the edge watches.
    pub fn status(&self) -> Status {
        let calls_uac = self.uac.as_ref().map_or(0, Uac::len);
        let calls_over = self.uac.as_ref().is_none_or(|uac| uac.schedule.is_over()) && calls_uac == 0;
        let registrations_over = self
            .registrar
            .as_ref()
            .is_none_or(|registrar| registrar.len() == 0 && registrar.schedule.as_ref().is_none_or(Schedule::is_over));
        let streams_over = self.pairs.as_ref().is_none_or(Streams::is_over);
        let scenario_over = self.scenario.as_ref().is_none_or(Engine::is_over);
        let played = |role| self.scenario.as_ref().filter(|engine| engine.role() == role).map_or(0, Engine::len);
        Status {
            ready: self.connections.are_up() && !self.presence.as_ref().is_some_and(Presence::is_wanted),
            over: calls_over && registrations_over && streams_over && scenario_over,
            calls_uac: calls_uac + self.pairs.as_ref().map_or(0, Streams::len) + played(Role::Uac),
            calls_uas: self.uas.as_ref().map_or(0, Uas::len) + played(Role::Uas),
            fatal: self.fatal.clone(),
        }
    }

    /// Figures so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// What there is to tell by now; latencies since the last time.
    pub fn take_news(&mut self, now: Instant) -> News {
        let mut states = BTreeMap::new();
        let calls = self.uac.iter().filter(|uac| uac.len() <= STATES_MAX).flat_map(Uac::states);
        calls.for_each(|state| *states.entry(state).or_default() += 1);
        if let Some(scenario) = &self.scenario {
            states.insert("in the scenario", scenario.len());
        }
        if let Some(registrar) = &self.registrar {
            states.insert("registering", registrar.len());
        }
        let status = self.status();
        News {
            at: now,
            events: self.stats.counters.clone(),
            recent: Recent(self.stats.latencies.take_recent().into_iter().collect()),
            states,
            up_uac: status.calls_uac,
            up_uas: status.calls_uas,
            media: self.media.sinks,
            refusals: self.stats.refusals.clone(),
            samples: self.stats.samples.clone(),
        }
    }

    /// Nothing more can come of this run.
    pub fn fail(&mut self, sentence: String) {
        self.fatal.get_or_insert(sentence);
    }

    /// A send was refused by our own driver.
    pub fn on_refused(&mut self) {
        self.stats.counters.send_refused += 1;
    }

    /// The network says that a datagram cannot be delivered.
    pub fn on_send_error(&mut self, to: SocketAddr, kind: std::io::ErrorKind) {
        self.stats.counters.send_errors += 1;
        self.stats.sample(|| format!("sending to {to}: {kind}"));
    }

    /// A datagram came, at an instant before now.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        arrived: Instant,
        socket: SocketKey,
        from: SocketAddr,
        bytes: &[u8],
    ) {
        if let Some(scenario) = self.scenario.as_mut().filter(|_| socket.0 >= self.media_base) {
            return scenario.handle_packet(socket, from, bytes, &mut self.stats);
        }
        if socket.0 >= self.media_base {
            return self.media.handle_packet(arrived, socket, bytes, &mut self.stats);
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return; // RFC 5626 §4.4.1: a keep-alive
        }
        let role = if Some(socket) == self.uas_socket { Role::Uas } else { Role::Uac };
        self.handle_message((now, arrived), role, Path::Datagram(socket, from), bytes);
    }

    fn handle_message(&mut self, (now, arrived): (Instant, Instant), role: Role, path: Path, bytes: &[u8]) {
        self.stats.counters.messages_received += 1;
        let fields = match scan(bytes) {
            Ok(fields) => fields,
            Err(error) => {
                self.stats.counters.unreadable += 1;
                self.stats.sample(|| format!("a message cannot be read: {error:?}"));
                return;
            }
        };
        if self.plan.check {
            match check::compare(bytes, &fields) {
                Ok(()) => self.stats.counters.check_passed += 1,
                Err(difference) => {
                    self.stats.counters.check_failed += 1;
                    self.stats.sample(|| format!("check: {difference}"));
                }
            }
        }
        let cx = context!(self, now, arrived);
        if let Start::Request { method, .. } = fields.start {
            let path = match path {
                Path::Datagram(socket, from) => Path::Datagram(socket, answer_address(&fields, from)),
                stream => stream,
            };
            if let Some(scenario) = &mut self.scenario {
                return scenario.handle_message(cx, &fields, path, bytes);
            }
            return match (role, &mut self.uac, &mut self.uas) {
                (Role::Uas, _, Some(uas)) => uas.handle_request(cx, method, &fields, path, bytes),
                (Role::Uac, Some(uac), _) => uac.handle_request(cx, method, &fields, path),
                _ => answer_stranger(cx, method, &fields, path),
            };
        }
        if let Some(scenario) = &mut self.scenario {
            return scenario.handle_message(cx, &fields, path, bytes);
        }
        let Some((token, owner, serial)) = fields.branch().and_then(Branch::read) else {
            self.stats.counters.strays += 1;
            return;
        };
        match (owner, role) {
            (Owner::Uac, _) => {
                if let Some(uac) = &mut self.uac {
                    uac.handle_response(cx, token, serial, &fields, path);
                }
            }
            (Owner::Uas, _) => {
                if let Some(uas) = &mut self.uas {
                    uas.handle_response(cx, token, serial, &fields);
                }
            }
            (Owner::Register, Role::Uas) => {
                if let Some(presence) = &mut self.presence {
                    let failed = presence.handle_response(cx, token, serial, &fields);
                    self.fatal = failed.or(self.fatal.take());
                }
            }
            (Owner::Register, Role::Uac) => {
                if let Some(registrar) = &mut self.registrar {
                    registrar.handle_response(cx, token, serial, &fields);
                }
            }
        }
    }

    /// A peer connected to our listener.
    pub fn handle_accepted(&mut self, stream: StreamKey) {
        self.connections.accept(stream);
    }

    /// A connection of ours is up.
    pub fn handle_connected(&mut self, stream: StreamKey, local: SocketAddr) {
        if let Some(Use::Line(index)) = self.connections.set_up(stream) {
            self.set_line(index, Line { local, path: Path::Stream(stream) });
        }
    }

    fn set_line(&mut self, index: usize, line: Line) {
        if let Some(uac) = &mut self.uac {
            uac.set_line(index, line);
        }
        if let Some(registrar) = &mut self.registrar {
            registrar.set_line(index, line);
        }
        if let Some(scenario) = &mut self.scenario {
            scenario.set_line(index, line);
        }
    }

    /// Bytes came on a connection.
    pub fn handle_data(&mut self, now: Instant, stream: StreamKey, bytes: &[u8]) {
        let Some(used) = self.connections.push(stream, bytes) else { return };
        let role = if matches!(used, Use::Line(_)) { Role::Uac } else { Role::Uas };
        loop {
            match self.connections.next_frame(stream) {
                Ok(Some(Frame::Message(message))) => {
                    self.handle_message((now, now), role, Path::Stream(stream), &message)
                }
                Ok(Some(Frame::Ping)) => {
                    self.outbox.push(Output::Stream(stream, bytes::Bytes::from_static(b"\r\n")));
                }
                Ok(None) => break,
                Err(_) => {
                    self.stats.counters.unreadable += 1;
                    self.outbox.push(Output::Close(stream));
                    self.handle_closed(now, stream);
                }
            }
        }
    }

    /// A connection is gone, or never came up.
    pub fn handle_closed(&mut self, now: Instant, stream: StreamKey) {
        let Some(connection) = self.connections.remove(stream) else { return };
        let path = Path::Stream(stream);
        self.stats.counters.send_errors += 1;
        if let Some(uac) = &mut self.uac {
            uac.handle_path_lost(context!(self, now), path);
        }
        if let Some(uas) = &mut self.uas {
            uas.handle_path_lost(context!(self, now), path);
        }
        if let Some(registrar) = &mut self.registrar {
            registrar.handle_path_lost(context!(self, now), path);
        }
        if let Some(scenario) = &mut self.scenario {
            scenario.handle_path_lost(context!(self, now), path);
        }
        match connection.used {
            Use::Answering => {}
            _ if !connection.connected => {
                self.fatal = Some(format!("{} does not accept a TCP connection any more", self.plan.target));
            }
            Use::Registration => self.fatal = Some("the connection of --register-uas was closed by the target".into()),
            Use::Line(index) => {
                self.stats.sample(|| "the target closed a connection; another was opened".into());
                let stream = self.connections.open(Use::Line(index), &mut self.outbox);
                let local = SocketAddr::new(self.plan.target.ip(), 0);
                self.set_line(index, Line { local, path: Path::Stream(stream) });
            }
        }
    }

    /// Timers and arrivals up to `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.settled.take_if(|at| *at <= now).is_some() {
            self.stats.settle(self.plan.is_media_alone());
        }
        while let Some(timer) = self.wheel.pop_expired(now) {
            let cx = context!(self, now);
            match timer {
                Timer::UacPending(_) | Timer::UacStep(_) => {
                    if let Some(uac) = &mut self.uac {
                        uac.handle_timer(cx, timer);
                    }
                }
                Timer::UasPending(_) | Timer::UasStep(_) => {
                    if let Some(uas) = &mut self.uas {
                        uas.handle_timer(cx, timer);
                    }
                }
                Timer::Register(slot) if self.registrar.is_some() => {
                    if let Some(registrar) = &mut self.registrar {
                        registrar.handle_timer(cx, slot);
                    }
                }
                Timer::Register(slot) => {
                    if let Some(presence) = &mut self.presence {
                        let failed = presence.handle_timer(cx, slot);
                        self.fatal = failed.or(self.fatal.take());
                    }
                }
                Timer::ScenarioWake(_) | Timer::ScenarioRepeat(_) => {
                    if let Some(scenario) = &mut self.scenario {
                        scenario.handle_timer(cx, timer);
                    }
                }
                Timer::Renew => {
                    if let Some(presence) = &mut self.presence {
                        presence.renew(cx);
                    }
                }
            }
        }
        if let Some(uac) = &mut self.uac {
            uac.handle_schedule(context!(self, now));
        }
        if let Some(registrar) = &mut self.registrar {
            registrar.handle_schedule(context!(self, now));
        }
        if let Some(scenario) = &mut self.scenario {
            scenario.handle_schedule(context!(self, now));
        }
        if let Some(pairs) = &mut self.pairs {
            pairs.handle_timeout(context!(self, now));
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) or [`poll_packet`](Self::poll_packet) has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        let arrivals = self.uac.as_ref().and_then(|uac| uac.schedule.next_deadline());
        let registrations = self.registrar.as_ref().and_then(|registrar| registrar.schedule.as_ref()?.next_deadline());
        let pairs = self.pairs.as_ref().and_then(Streams::next_deadline);
        let scenario = self.scenario.as_ref().and_then(Engine::next_deadline);
        [self.wheel.next_deadline(), self.media.next_deadline(), arrivals, registrations, pairs, scenario]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next thing to do for signalling, whenever that is.
    pub fn poll_message(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    /// The next RTP packet that is due; it says when it was sent.
    pub fn poll_packet(&mut self, now: Instant) -> Option<Output> {
        let played = self.scenario.as_mut().and_then(|scenario| scenario.poll_packet(now, &mut self.stats));
        let (socket, to, bytes) = match played {
            Some(packet) => packet,
            None => self.media.poll_packet(now, &mut self.stats)?,
        };
        Some(Output::Datagram(socket, to, bytes))
    }
}
