//! The shard itself: takes inputs, steers, handles, and leaves outputs to be drained. What it does with its mail is in
//! [`letters`](super::letters), what becomes of a call's effects in [`effects`](super::effects).

use super::boundary::{Input, Output};
use super::guard::{Guard, MuteLog};
use super::mailbox::Mail;
use super::options::ShardOptions;
use super::steer::Steering;
use super::streams::Streams;
use super::trust::Trust;
use crate::base::time::Duration;
use crate::base::{Flow, Forward, Instant, Random, ShardId, SocketKey, Source, StreamKey, Transport};
use crate::call::{Audit, Directory, Engine};
use crate::media::{FastPath, Verdict};
use crate::observe::{Counter, Counters, DropReason, Event, Gauge, Level, MediaPath, Suspicion};
use crate::sip::wire::{ErrorKind, Frame, Framing, Index, Message, parse, reject_to};
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// False for a message of a muted source that is not worth an answer.
pub(super) fn is_heard(guard: &Guard, engine: &mut Engine, now: Instant, flow: &Flow, message: &Message<'_>) -> bool {
    !guard.mutes(now, flow) || engine.hears_muted(now, flow, message)
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
