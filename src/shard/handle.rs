//! The shard itself: takes inputs, steers, handles, and leaves outputs to be drained.

use super::boundary::{Input, Output};
use super::guard::{Guard, MuteLog};
use super::mailbox::{Answer, CONTACTS_MAX, Mail, Query, ShardInfo};
use super::steer::Steering;
use super::streams::{Streams, Way};
use super::trust::Trust;
use crate::base::time::Duration;
use crate::base::{Flow, Forward, Instant, Random, ShardId, SocketKey, Source, StreamKey, Transmit, Transport};
use crate::call::contacts::Lifetimes;
use crate::call::{Audit, Directory, Effect, Engine, EngineOptions, Settings};
use crate::config::{Config, LimitPolicy};
use crate::media::{FastPath, LocalAddress, RelayConfig, SocketRequest, Verdict};
use crate::observe::{Counter, Counters, DropReason, Event, Gauge, Level, MediaPath, Suspicion, Verbosity};
use crate::sip::transaction::Timers;
use crate::sip::wire::{ErrorKind, Frame, Framing, Index, Message, parse, reject_to};
use crate::tally::Note;
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// What a shard is made of.
#[derive(Debug)]
pub struct ShardOptions {
    /// Calls and media.
    pub engine: EngineOptions,
    /// Between which shards, by which key.
    pub steering: Steering,
    /// Sockets from this key on are media.
    pub media_base: SocketKey,
    /// Connections at once.
    pub connections_max: usize,
    /// An idle connection is closed after this.
    pub connection_idle_timeout: Duration,
    /// What carries this shard's packets.
    pub path: MediaPath,
    /// Nothing is relayed while the keeper of the rights stands still: calls may have lost theirs meanwhile.
    pub media_needs_keeper: bool,
}

impl ShardOptions {
    /// What the configuration says of the shard `id`.
    #[must_use]
    pub fn new(
        config: &Config,
        directory: Arc<Directory>,
        counters: Arc<Counters>,
        id: u8,
        steering: Steering,
        path: MediaPath,
    ) -> Self {
        let shards = steering.shards();
        let listeners = u32::try_from(config.sip.listen.len()).expect("listeners fit u32");
        let slice = port_slice(config.media.port_min, config.media.port_max, id, shards);
        let mut relay = RelayConfig::new(config.media.address, slice.0, slice.1);
        relay.set_address(LocalAddress {
            bind: config.media.address,
            advertise: config.media.advertise.unwrap_or(config.media.address),
        });
        if let Some(v6) = config.media.address_v6 {
            relay.set_address(LocalAddress { bind: v6, advertise: config.media.advertise_v6.unwrap_or(v6) });
        }
        relay.socket_base = listeners;
        relay.streams_max = config.shards.calls_max as usize * 2;
        relay.silent_timeout = config.media.silent_timeout;
        relay.one_way_after = config.media.one_way_after;
        relay.port_rest = config.media.port_rest;
        let settings = Settings {
            calls_max: config.shards.calls_max as usize,
            vouched_for: config.limits.max_call_duration,
            borrow_timeout: config.limits.borrow_timeout,
            max_call_duration: config.limits.max_call_duration,
            ring_timeout: config.sip.ring_timeout,
            fork_step_timeout: config.sip.fork_step_timeout,
            max_forwards: config.sip.max_forwards,
            user_agent: config.sip.user_agent.clone(),
            udp_message_bytes_max: config.sip.udp_message_bytes_max as usize,
            lifetimes: Lifetimes {
                min: config.sip.expires_min,
                max: config.sip.expires_max,
                default: config.sip.expires_default,
            },
            contacts_per_account_max: config.sip.contacts_per_account_max as usize,
            path,
            records_waiting_max: RECORDS_WAITING_MAX,
        };
        Self {
            engine: EngineOptions {
                shard: ShardId(id),
                directory,
                settings,
                timers: Timers { t1: config.sip.t1, t2: config.sip.t2, t4: config.sip.t4 },
                transactions_max: config.shards.transactions_max as usize,
                contacts_max: config.shards.contacts_max as usize,
                nonce_lifetime: config.sip.nonce_lifetime,
                relay,
                counters,
                verbosity: Verbosity::all(),
            },
            steering,
            media_base: SocketKey(listeners),
            connections_max: config.shards.connections_max as usize,
            connection_idle_timeout: config.sip.connection_idle_timeout,
            path,
            media_needs_keeper: config.limits.policy == LimitPolicy::Drop,
        }
    }
}

/// New calls are refused while so many records wait for the sink.
const RECORDS_WAITING_MAX: usize = 10_000;

/// False for a message of a muted source that is not worth an answer.
fn is_heard(guard: &Guard, engine: &mut Engine, now: Instant, flow: &Flow, message: &Message<'_>) -> bool {
    !guard.mutes(now, flow) || engine.hears_muted(now, flow, message)
}

/// The even/odd pairs of the whole range that are this shard's.
fn port_slice(min: u16, max: u16, id: u8, shards: u8) -> (u16, u16) {
    let first = u32::from(min) + u32::from(min & 1);
    let pairs = (u32::from(max) + 1).saturating_sub(first) / 2;
    let share = pairs / u32::from(shards.max(1));
    let start = first + 2 * share * u32::from(id);
    let end = start + 2 * share.max(1) - 1;
    (u16::try_from(start).unwrap_or(max), u16::try_from(end).unwrap_or(max))
}

/// See the head of this file.
#[derive(Debug)]
pub struct Shard {
    pub(super) id: ShardId,
    pub(super) now: Instant,
    pub(super) engine: Engine,
    pub(super) steering: Steering,
    pub(super) directory: Arc<Directory>,
    pub(super) counters: Arc<Counters>,
    pub(super) index: Index,
    pub(super) streams: Streams,
    pub(super) outputs: VecDeque<Output>,
    pub(super) media_base: SocketKey,
    pub(super) trust: Trust,
    pub(super) guard: Guard,
    pub(super) guard_sweep: Instant,
    /// The configuration may be another than when the guard's standings were made.
    pub(super) spare_due: bool,
    pub(super) mute_log: MuteLog,
    pub(super) idle_timeout: Duration,
    pub(super) idle_check: Instant,
    pub(super) path: MediaPath,
    pub(super) random: Random,
    pub(super) draining: bool,
    pub(super) stopping: Option<Instant>,
    pub(super) unreachable_until: Instant,
    pub(super) unreachable_told: u16,
}

const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// ICMP errors told to the other shards in a second.
const UNREACHABLE_TOLD_MAX: u16 = 1000;
/// How long a stopping shard waits for the answers to its BYEs.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

impl Shard {
    /// A shard with empty tables.
    #[must_use]
    pub fn new(options: ShardOptions, mut random: Random, now: Instant) -> Self {
        let vouched_max = options.engine.contacts_max;
        let pulse = &options.engine.directory.pulse;
        let trust = if options.media_needs_keeper { Trust::in_pulse(Arc::clone(pulse)) } else { Trust::always() };
        Self {
            id: options.engine.shard,
            now,
            trust,
            guard_sweep: now,
            spare_due: false,
            mute_log: MuteLog::default(),
            steering: options.steering,
            directory: Arc::clone(&options.engine.directory),
            counters: Arc::clone(&options.engine.counters),
            index: Index::new(),
            streams: Streams::new(options.connections_max),
            outputs: VecDeque::new(),
            media_base: options.media_base,
            idle_timeout: options.connection_idle_timeout,
            idle_check: now + IDLE_CHECK_INTERVAL,
            path: options.path,
            draining: false,
            stopping: None,
            unreachable_until: now,
            unreachable_told: 0,
            engine: Engine::new(options.engine, random.fork(), now),
            guard: Guard::new(vouched_max, random.fork()),
            random,
        }
    }

    /// From now on settled streams go by `fast`.
    pub fn set_fast_path(&mut self, now: Instant, fast: Box<dyn FastPath>) {
        self.now = now;
        self.engine.set_fast_path(now, fast);
        self.block_all_below();
    }

    /// Takes one input. A packet to be relayed is rewritten in place; what is returned says where it goes.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) -> Option<Forward> {
        self.now = now;
        match input {
            Input::Datagram { socket, from, bytes } if socket >= self.media_base => {
                return self.handle_packet(socket, from, bytes);
            }
            Input::Datagram { from, .. } if self.is_blocked(from.ip()) => {
                self.counters.count_drop(DropReason::SourceBlocked);
            }
            Input::Datagram { socket, from, bytes } => {
                let flow = Flow { transport: Transport::Udp, shard: self.id, socket, stream: None, remote: from };
                self.handle_message(flow, bytes, Framing::Datagram);
            }
            Input::StreamAccepted { stream, remote, .. } if self.is_blocked(remote.ip()) => {
                self.counters.count_drop(DropReason::SourceBlocked);
                self.outputs.push_back(Output::CloseStream { stream });
            }
            Input::StreamAccepted { listener, stream, remote } => {
                if !self.streams.accept(now, stream, self.id, listener, remote) {
                    self.counters.count_drop(DropReason::ConnectionsFull);
                    self.outputs.push_back(Output::CloseStream { stream });
                }
            }
            Input::StreamConnected { stream } => {
                for bytes in self.streams.connected(stream) {
                    self.outputs.push_back(Output::StreamSend { stream, bytes });
                }
            }
            Input::StreamData { stream, bytes } => self.handle_stream_data(stream, bytes),
            Input::StreamClosed { stream } => self.stream_gone(stream),
            Input::SendFailed { socket, to } if socket < self.media_base => {
                self.unreachable(socket, to);
                self.tell_unreachable(socket, to);
            }
            Input::SendFailed { .. } => {}
            Input::SocketFailed { socket } => self.engine.handle_socket_failure(now, socket),
            Input::Mail(mail) => self.handle_mail(mail),
        }
        None
    }

    fn unreachable(&mut self, socket: SocketKey, to: SocketAddr) {
        let flow = Flow { transport: Transport::Udp, shard: self.id, socket, stream: None, remote: to };
        self.engine.handle_flow_failure(self.now, &flow);
    }

    /// The datagram may have been another shard's. Beyond the bound its transaction's own timer has to notice.
    fn tell_unreachable(&mut self, socket: SocketKey, to: SocketAddr) {
        if self.now >= self.unreachable_until {
            (self.unreachable_until, self.unreachable_told) = (self.now + Duration::from_secs(1), 0);
        }
        if self.unreachable_told >= UNREACHABLE_TOLD_MAX {
            return;
        }
        self.unreachable_told += 1;
        for other in (0..self.steering.shards()).map(ShardId).filter(|other| *other != self.id) {
            self.outputs.push_back(Output::Mail { to: other, mail: Mail::Unreachable { socket, to } });
        }
    }

    /// Until when the keeper's last beat holds; to be asked before mail is read.
    #[must_use]
    pub fn last_beat(&self) -> Instant {
        self.trust.last_beat()
    }

    /// All mail that was there when the keeper's last beat held until `beat` has been handed in.
    pub fn has_read_mail(&mut self, now: Instant, beat: Instant) {
        self.trust.has_read(now, beat);
    }

    fn handle_packet(&mut self, socket: SocketKey, from: SocketAddr, packet: &mut [u8]) -> Option<Forward> {
        if !self.trust.holds(self.now) {
            self.counters.count_drop(DropReason::MediaUntrusted);
            return None;
        }
        match self.engine.handle_packet(self.now, socket, from, packet) {
            Verdict::Forward { socket, to, len } => {
                self.counters.media(self.path, len as u64);
                Some(Forward { socket, to, len })
            }
            Verdict::Drop(reason) => {
                self.counters.count_drop(crate::call::drop_label(reason));
                None
            }
        }
    }

    fn handle_message(&mut self, flow: Flow, bytes: &[u8], framing: Framing) {
        match parse(bytes, &mut self.index, framing) {
            Ok(message) => {
                let owner = self.steering.owner(&self.directory, &message);
                if owner != self.id {
                    let mail = Mail::Message { flow, bytes: Bytes::copy_from_slice(message.raw()) };
                    self.outputs.push_back(Output::Mail { to: owner, mail });
                } else if is_heard(&self.guard, &mut self.engine, self.now, &flow, &message) {
                    self.engine.handle_message(self.now, flow, &message);
                } else {
                    self.counters.count_drop(DropReason::SourceMuted);
                }
            }
            Err(error) => {
                if error.kind == ErrorKind::Keepalive {
                    return;
                }
                self.counters.count_drop(DropReason::SipUnparsable);
                let proven = flow.transport.is_reliable();
                self.suspect(Source::of(flow.remote.ip()), Suspicion::Unparsable, proven);
                if self.guard.mutes(self.now, &flow) {
                    return self.counters.count_drop(DropReason::SourceMuted);
                }
                let mut out = Vec::new();
                let tag = self.random.hex::<16>();
                if reject_to(bytes, &error, flow.remote, &tag, &mut out) {
                    self.counters.count(Counter::SipBadRequests);
                    self.counters.response(error.status);
                    self.transmit(flow, out.into());
                }
            }
        }
    }

    fn handle_stream_data(&mut self, stream: StreamKey, bytes: &[u8]) {
        let Some(held) = self.streams.touch(self.now, stream) else { return };
        let flow = held.flow;
        held.framer.push(bytes);
        loop {
            let Some(held) = self.streams.touch(self.now, stream) else { return };
            match held.framer.next() {
                Ok(Some(Frame::Message(bytes))) => self.handle_message(flow, &bytes, Framing::Stream),
                // RFC 5626 §4.4.1.
                Ok(Some(Frame::Ping)) => {
                    self.outputs.push_back(Output::StreamSend { stream, bytes: Bytes::from_static(b"\r\n") });
                }
                Ok(Some(Frame::Pong)) => {}
                Ok(None) => return,
                Err(fault) => {
                    self.counters.count_drop(DropReason::SipFraming);
                    self.suspect(Source::of(flow.remote.ip()), Suspicion::Unparsable, true);
                    let event = Event::new(self.now, self.id, Level::Info, "connection closed: not SIP");
                    let event = event.address("peer", flow.remote).text("fault", format!("{fault:?}"));
                    self.outputs.push_back(Output::Event(Box::new(event)));
                    self.outputs.push_back(Output::CloseStream { stream });
                    return self.stream_gone(stream);
                }
            }
        }
    }

    /// The flow it was and the flow by which it was asked for are broken.
    pub(super) fn stream_gone(&mut self, stream: StreamKey) {
        let Some(flow) = self.streams.remove(stream) else { return };
        self.engine.handle_flow_failure(self.now, &flow);
        self.engine.handle_flow_failure(self.now, &Flow { stream: None, ..flow });
    }

    fn handle_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Message { flow, bytes } => {
                let framing = if flow.transport.is_reliable() { Framing::Stream } else { Framing::Datagram };
                if let Ok(message) = parse(&bytes, &mut self.index, framing) {
                    if !is_heard(&self.guard, &mut self.engine, self.now, &flow, &message) {
                        return self.counters.count_drop(DropReason::SourceMuted);
                    }
                    self.engine.handle_message(self.now, flow, &message);
                }
            }
            Mail::Transmit(transmit) => self.transmit(transmit.flow, transmit.bytes),
            Mail::Unreachable { socket, to } => self.unreachable(socket, to),
            Mail::Locate { account, asker, call } => {
                let contacts = self.engine.locate(self.now, &account, CONTACTS_MAX);
                self.outputs.push_back(Output::Mail { to: asker, mail: Mail::Contacts { call, contacts } });
            }
            Mail::Contacts { call, contacts } => self.engine.contacts(self.now, call, contacts),
            Mail::Directory(directory) => {
                self.directory = Arc::clone(&directory);
                self.engine.set_directory(directory);
                self.spare();
            }
            Mail::Query { query, reply } => {
                // The asker may have given up waiting; then nobody misses the answer.
                let _ = reply.try_send(self.answer(query));
            }
            Mail::Hangup { call, reply } => {
                let found = self.engine.hangup(self.now, call);
                let _ = reply.try_send(Answer::Hangup { found });
            }
            Mail::Guard { source, word } => self.hear(source, word),
            Mail::Unblock { source, reply } => {
                let found = self.unblock(source);
                let _ = reply.try_send(Answer::Unblock { found });
            }
            Mail::Right { call, permit } => self.engine.right(self.now, call, permit),
            Mail::HangUpSome { account, budget } => self.engine.hang_up_some(self.now, &account, &budget),
            Mail::TellCalls => {
                let calls = self.engine.sessions();
                self.outputs.push_back(Output::Note(Note::Calls { shard: self.id, calls }));
            }
            Mail::Drain => {
                self.draining = true;
                self.counters.set(Gauge::Draining, 1);
                self.engine.drain(true);
            }
            Mail::Undrain if self.stopping.is_some() => {}
            Mail::Undrain => {
                self.draining = false;
                self.counters.set(Gauge::Draining, 0);
                self.engine.drain(false);
            }
            Mail::Stop => {
                self.engine.drain(true);
                self.engine.hangup_all(self.now);
                self.stopping = Some(self.now + STOP_PATIENCE);
            }
        }
    }

    fn answer(&self, query: Query) -> Answer {
        match query {
            Query::Calls { limit } => Answer::Calls(self.engine.list_calls(limit)),
            Query::Registrations { limit } => Answer::Registrations(self.engine.list_registrations(self.now, limit)),
            Query::Blocked { limit } => Answer::Blocked(self.list_blocked(limit)),
            Query::Limits { limit } => Answer::Limits(self.engine.list_limits(limit)),
            Query::Trunks => Answer::Trunks(self.engine.list_trunks(self.now)),
            Query::Shard => {
                let audit = self.engine.audit();
                Answer::Shard(ShardInfo {
                    shard: self.id.0,
                    calls: audit.calls_live,
                    ending: audit.calls - audit.calls_live,
                    transactions: audit.transactions,
                    contacts: audit.contacts,
                    connections: self.streams.len(),
                    streams: audit.streams,
                    ports: audit.ports,
                    draining: self.draining,
                })
            }
        }
    }

    /// What is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.engine.hold_fast_path(now, !self.trust.holds(now));
        self.engine.handle_timeout(now);
        self.trust.handle_timeout(now);
        self.sweep_guard();
        self.counters.set(Gauge::ConnectionsActive, self.streams.len() as u64);
        self.counters.set(Gauge::Draining, u64::from(self.draining));
        if now >= self.idle_check {
            self.idle_check = now + IDLE_CHECK_INTERVAL;
            for stream in self.streams.idle(now, self.idle_timeout) {
                self.outputs.push_back(Output::CloseStream { stream });
                self.stream_gone(stream);
            }
        }
        if self.stopping.is_some_and(|until| now >= until || self.engine.owes_nothing()) {
            self.stopping = None;
            self.outputs.push_back(Output::Stopped);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let idle = (!self.streams.is_empty()).then_some(self.idle_check);
        let stop = self.stopping.map(|until| until.min(self.now + Duration::from_millis(10)));
        [self.engine.next_deadline(), idle, stop, self.trust.next_deadline()].into_iter().flatten().min()
    }

    /// The next thing to do outside; none when all is said.
    pub fn poll_output(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
            if let Some(request) = self.engine.poll_socket() {
                return Some(match request {
                    SocketRequest::Open { key, bind, dscp } => Output::OpenUdp { socket: key, bind, dscp },
                    SocketRequest::SetDscp { key, dscp } => Output::SetDscp { socket: key, dscp },
                });
            }
            let effect = self.engine.poll_effect()?;
            self.apply(effect);
        }
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Transmit(Transmit { flow, bytes }) => self.transmit(flow, bytes),
            Effect::Record(record) => {
                self.outputs.push_back(Output::Record(record));
            }
            Effect::Event(event) => self.outputs.push_back(Output::Event(event)),
            Effect::Suspect { source, reason, proven } => self.suspect(source, reason, proven),
            Effect::Vouch { source, until } => self.vouch(source, until),
            Effect::Note(note) => self.outputs.push_back(Output::Note(note)),
            Effect::Locate { account, call } => {
                let home = self.steering.home_of_account(&account);
                if home == self.id {
                    let contacts = self.engine.locate(self.now, &account, CONTACTS_MAX);
                    self.engine.contacts(self.now, call, contacts);
                } else {
                    let mail = Mail::Locate { account, asker: self.id, call };
                    self.outputs.push_back(Output::Mail { to: home, mail });
                }
            }
        }
    }

    fn transmit(&mut self, flow: Flow, bytes: Bytes) {
        if !flow.transport.is_reliable() {
            return self.outputs.push_back(Output::Send { socket: flow.socket, to: flow.remote, bytes });
        }
        if flow.shard != self.id && flow.stream.is_some() {
            let mail = Mail::Transmit(Transmit { flow, bytes });
            return self.outputs.push_back(Output::Mail { to: flow.shard, mail });
        }
        match self.streams.way(self.now, &flow, bytes) {
            Way::Send(stream, bytes) => self.outputs.push_back(Output::StreamSend { stream, bytes }),
            Way::Connect(stream, to) => self.outputs.push_back(Output::Connect { stream, to }),
            Way::Waits => {}
            Way::Nowhere => {
                self.counters.count_drop(DropReason::SendError);
                self.engine.handle_flow_failure(self.now, &flow);
            }
        }
    }

    /// So many records wait to be taken by the sink: at the bound, new calls are refused, so that none is lost.
    pub fn set_records_waiting(&mut self, count: usize) {
        self.engine.set_records_waiting(count);
    }

    /// What must balance.
    #[must_use]
    pub fn audit(&self) -> Audit {
        self.engine.audit()
    }

    /// Which shard this is.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.id
    }
}
