//! A small telephone: registers, calls, answers, talks and verifies what it hears.
//!
//! It serves `strowger demo` and the simulator. To be an independent witness it uses neither `sip` nor `sdp` nor
//! `media`: it reads, writes, retransmits (RFC 3261 §17 in plain form), negotiates (RFC 3264) and answers challenges
//! (RFC 7616) by itself. It is sans-IO: time, randomness and input are arguments, outputs are drained with
//! [`Phone::poll_output`]. One thread owns a phone; it may hold many calls.
#![forbid(unsafe_code)]

mod agenda;
mod audio;
mod call;
mod callee;
mod caller;
mod change;
mod client;
mod dialog;
mod digest;
mod event;
mod offer;
mod registration;
mod server;
mod sink;
#[cfg(test)]
mod tests;
mod text;

pub use audio::Report;
pub use digest::{Algorithm, Login};
pub use event::{Answering, Cause, Counters, Event, Options, Output, Path, Placing, StreamInput, Then, Timers};
pub use offer::{Description, Direction, Media};
pub use text::{Text, param, uri_of};

use crate::base::time::Duration;
use crate::base::{Instant, Queue, Random, Slab, Slot, StreamKey};
use agenda::Agenda;
use bytes::Bytes;
use call::Call;
use client::Asked;
use hdrhistogram::Histogram;
use registration::Registration;
use server::Served;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use text::Reassembly;

/// Outputs waiting, per call and once.
const OUTPUTS_PER_CALL: usize = 16;
/// Things to do, per call and once.
const TASKS_PER_CALL: usize = 32;
/// Exchanges remembered, per call and once.
const EXCHANGES_PER_CALL: usize = 16;
/// Connections at once.
const STREAMS_MAX: usize = 64;
/// How often RTCP is sent.
const RTCP_INTERVAL: Duration = Duration::from_secs(5);
/// A connection attempt or exchange failed without an answer.
const NO_ANSWER: u16 = 408;
const NO_CONNECTION: u16 = 503;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Asked(client::Key),
    Served(u64),
    Register,
    Packet(Slot),
    Rtcp(Slot),
    Answer(Slot),
    GiveUp(Slot),
    HangUp(Slot),
    Retry(Slot),
}

#[derive(Debug, Default)]
struct Connection {
    remote: Option<SocketAddr>,
    reassembly: Reassembly,
}

/// One telephone.
pub struct Phone {
    options: Options,
    random: Random,
    instance: String,
    calls: Slab<Call>,
    dialogs: BTreeMap<(String, String), Slot>,
    asked: BTreeMap<client::Key, Asked>,
    served: BTreeMap<u64, Served>,
    served_keys: BTreeMap<String, u64>,
    streams: BTreeMap<StreamKey, Connection>,
    registration: Registration,
    challenge: Option<client::Known>,
    ports: BTreeMap<u16, Slot>,
    next_pair: u16,
    numbers: u64,
    agenda: Agenda<Task>,
    outputs: Queue<Output>,
    latency: Histogram<u64>,
    counters: Counters,
}

impl std::fmt::Debug for Phone {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Phone")
            .field("name", &self.options.name)
            .field("calls", &self.calls.len())
            .field("asked", &self.asked.len())
            .field("served", &self.served.len())
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

impl Phone {
    /// A phone that is on but not registered.
    #[must_use]
    pub fn new(options: Options, mut random: Random) -> Self {
        let calls = options.calls_max.clamp(1, usize::from(options.media_pairs.max(1)));
        let instance = String::from_utf8_lossy(&random.hex::<10>()).into_owned();
        Self {
            registration: Registration::new(&mut random),
            instance,
            random,
            calls: Slab::new(calls),
            dialogs: BTreeMap::new(),
            asked: BTreeMap::new(),
            served: BTreeMap::new(),
            served_keys: BTreeMap::new(),
            streams: BTreeMap::new(),
            challenge: None,
            ports: BTreeMap::new(),
            next_pair: 0,
            numbers: 0,
            agenda: Agenda::new(TASKS_PER_CALL * (calls + 8)),
            outputs: Queue::new(OUTPUTS_PER_CALL * (calls + 8)),
            latency: Histogram::new_with_max(60_000_000_000, 3).expect("the bounds of a histogram of one minute"),
            counters: Counters::default(),
            options,
        }
    }

    /// Who it is.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Changes what it does with the next incoming calls.
    pub fn set_answering(&mut self, answering: Answering) {
        self.options.answering = answering;
    }

    /// What it has seen besides events.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters { full: self.counters.full + self.outputs.refused(), ..self.counters }
    }

    /// Nanoseconds from when a packet was due at its sender to its arrival here. Means something only where both
    /// phones read one clock.
    #[must_use]
    pub fn latency(&self) -> &Histogram<u64> {
        &self.latency
    }

    /// Calls now.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// The calls there are now.
    #[must_use]
    pub fn lines(&self) -> Vec<Slot> {
        self.calls.iter().map(|(slot, _)| slot).collect()
    }

    /// A call's media so far.
    #[must_use]
    pub fn report(&self, call: Slot) -> Option<Report> {
        self.calls.get(call).map(|call| call.audio.report())
    }

    /// True when nothing is being asked, answered or spoken: only a registration may remain.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.asked.values().all(Asked::is_over)
    }

    /// Takes a datagram that came to the signalling address.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        // RFC 5626 §3.5.1: keep-alives.
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return;
        }
        self.dispatch(now, Path::Datagram(from), bytes);
    }

    /// Takes what happened on a connection.
    pub fn handle_stream(&mut self, now: Instant, stream: StreamKey, input: StreamInput<'_>) {
        match input {
            StreamInput::Open(remote) => {
                if self.streams.len() < STREAMS_MAX || self.streams.contains_key(&stream) {
                    self.streams.entry(stream).or_default().remote = Some(remote);
                } else {
                    self.counters.full += 1;
                    self.emit(Output::CloseStream(stream));
                }
            }
            StreamInput::Data(bytes) => {
                let Some(connection) = self.streams.get_mut(&stream) else { return };
                connection.reassembly.push(bytes);
                while let Some(message) =
                    self.streams.get_mut(&stream).and_then(|connection| connection.reassembly.next_message())
                {
                    self.dispatch(now, Path::Stream(stream), &message);
                }
            }
            StreamInput::Closed => {
                self.streams.remove(&stream);
                self.fail_stream(now, stream);
            }
        }
    }

    /// Takes a packet that came to a media port (RTP) or the one above it (RTCP).
    pub fn handle_media(&mut self, now: Instant, port: u16, packet: &[u8]) {
        let found = self.ports.get(&(port & !1)).and_then(|slot| self.calls.get_mut(*slot));
        let Some(call) = found else {
            self.counters.stray_media += 1;
            return;
        };
        if port & 1 == 1 || packet.get(1).is_some_and(|kind| (192..=223).contains(kind)) {
            call.audio.take_rtcp(packet);
        } else if let Some(travelled) = call.audio.take(now, packet) {
            self.latency.saturating_record(u64::try_from(travelled.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    fn dispatch(&mut self, now: Instant, path: Path, bytes: &[u8]) {
        let Some(message) = Text::parse(bytes) else {
            self.counters.unreadable += 1;
            return;
        };
        if message.status().is_some() {
            self.on_response(now, &message);
        } else {
            self.on_request(now, path, message);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((due, task)) = self.agenda.pop(now) {
            match task {
                Task::Asked(key) => self.on_asked_due(now, due, key),
                Task::Served(id) => self.on_served_due(now, due, id),
                Task::Register => self.on_register_due(now, due),
                Task::Packet(call) => self.on_packet_due(due, call),
                Task::Rtcp(call) => self.on_rtcp_due(now, call),
                Task::Answer(call) => self.on_answer_due(now, call),
                Task::GiveUp(call) => self.cancel(now, call),
                Task::HangUp(call) => self.hang_up(now, call),
                Task::Retry(call) => self.on_retry_due(now, call),
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.agenda.next()
    }

    /// The next thing to be done for it.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop()
    }

    fn emit(&mut self, output: Output) {
        // A full queue counts what it refuses; nothing else to do here.
        let _ = self.outputs.push(output);
    }

    fn event(&mut self, event: Event) {
        self.emit(Output::Event(event));
    }

    fn plan(&mut self, at: Instant, task: Task) {
        self.counters.full += u64::from(!self.agenda.add(at, task));
    }

    fn transmit(&mut self, path: Path, bytes: Bytes) {
        match path {
            Path::Datagram(to) => self.emit(Output::Datagram { to, bytes }),
            Path::Stream(stream) => self.emit(Output::Stream { stream, bytes }),
        }
    }

    fn exchanges_max(&self) -> usize {
        EXCHANGES_PER_CALL * (self.calls.bound() + 8)
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn token(&mut self) -> String {
        String::from_utf8_lossy(&self.random.hex::<12>()).into_owned()
    }

    fn address(&self) -> String {
        format!("<sip:{}@{}>", self.options.name, self.options.domain)
    }

    /// The address in Via and Contact.
    fn written(&self) -> SocketAddr {
        let local = self.options.local;
        SocketAddr::new(self.options.inside.unwrap_or(local.ip()), local.port())
    }

    fn contact(&self) -> String {
        let transport = self.options.transport;
        let suffix =
            if transport.is_reliable() { format!(";transport={}", transport.uri_token()) } else { String::new() };
        format!("<sip:{}@{}{suffix}>", self.options.name, self.written())
    }
}
