//! What the generator is made of without its sockets: agents, schedule, media and figures as plain state machines. A
//! `station` drives them, or a scenario (`scenario/`) in their place.
//!
//! Time, randomness and input are arguments; what should be sent is polled. Same verbs as the appliance: `handle_*`,
//! `poll_*`, `next_deadline`.
#![forbid(unsafe_code)]

pub mod arena;
pub mod audio;
pub mod branch;
pub mod check;
pub mod digest;
pub mod distribution;
pub mod flow;
pub mod latency;
pub mod media;
pub mod message;
pub mod news;
pub mod octets;
pub mod outbox;
pub mod pattern;
pub mod quality;
pub mod recording;
pub mod registrar;
pub mod retransmit;
pub mod rtp;
pub mod scan;
pub mod schedule;
pub mod sdp;
pub mod search;
pub mod stats;
pub mod steps;
pub mod stream;
pub mod streams;
pub mod template;
pub mod tick;
pub mod uac;
pub mod uas;
pub mod via;

use std::net::SocketAddr;

use bytes::Bytes;
use strowger::base::time::Duration;
use strowger::base::{Instant, Random, Slot, SocketKey, StreamKey, TimerKey, Transport, Wheel};

use digest::Secret;
use distribution::Distribution;
use flow::Flow;
use media::Media;
use outbox::Outbox;
use pattern::Pattern;
use retransmit::Timers;
use schedule::Load;
use stats::Stats;
use template::Templates;

/// Calls of each side whose memory is taken before the first one: of a tenth of a second at 160,000 a second.
pub const PREPARED_MAX: usize = 1 << 14;
/// Octets of messages kept for a call that waits for its peer.
pub const PREPARED_BYTES: usize = 2048;

/// Which end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The calling side, and registrations for load.
    Uac,
    /// The answering side.
    Uas,
}

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Calls, with either or both sides here.
    Calls {
        /// The calling side is here.
        uac: bool,
        /// The answering side is here.
        uas: bool,
    },
    /// Registrations.
    Register,
    /// Media alone, through a relay.
    Streams,
}

/// What all cores share.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What to do.
    pub job: Job,
    /// Where requests go.
    pub target: SocketAddr,
    /// UDP or TCP.
    pub transport: Transport,
    /// Host part of From, To and the registrar's URI.
    pub domain: String,
    /// How much and how long.
    pub load: Load,
    /// Rates of a ramp, one after the other, each for so long; empty for one rate.
    pub steps: Vec<(f64, Duration)>,
    /// Calls begin and end at ticks of so long, and what comes is gathered until the next; zero for none (`tick.rs`).
    pub tick: Duration,
    /// Figures begin anew after so long; of media alone only those of media.
    pub settle: Duration,
    /// All media ends so long after the first arrival, whatever the calls do: they only carry it.
    pub media_end: Option<Duration>,
    /// From answer to hang-up.
    pub hold: Distribution,
    /// From 180 to 200.
    pub ring: Duration,
    /// Who hangs up.
    pub hangup: Role,
    /// What some calls do besides.
    pub flow: Flow,
    /// Calling users.
    pub from: Pattern,
    /// Called users.
    pub to: Pattern,
    /// How many users the patterns number.
    pub users: u64,
    /// Digest user and password.
    pub secret: Option<(Pattern, Pattern)>,
    /// Register the answering side as this user first.
    pub register_uas: Option<Secret>,
    /// Send and verify RTP.
    pub rtp: bool,
    /// T1, T2.
    pub timers: Timers,
    /// Longest wait for a final answer after a provisional one.
    pub setup_max: Duration,
    /// Calls of the calling side, or registrations, at once, per core.
    pub concurrent: usize,
    /// Calls of the answering side at once, per core; the kernel decides which core gets how many.
    pub concurrent_uas: usize,
    /// Expires of registrations.
    pub expires: u32,
    /// Use a nonce again instead of asking for a new challenge each time.
    pub reuse_nonce: bool,
    /// Read every message with rsip too.
    pub check: bool,
    /// Names the monotonic clock: the same on all processes of one boot.
    pub clock_domain: u32,
}

impl Plan {
    /// Calls, if there are any, only carry the media that is measured.
    pub fn is_media_alone(&self) -> bool {
        self.job == Job::Streams || self.media_end.is_some()
    }

    /// Whether this side of a call sends requests within it.
    pub fn asks(&self, role: Role) -> bool {
        self.hangup == role || self.flow.reinvite.is_some_and(|reinvite| reinvite.by == role)
    }

    /// What all streams have in common.
    pub fn media(&self) -> rtp::Common {
        rtp::Common {
            domain: self.clock_domain,
            payload_type: self.flow.codec.payload_type(),
            frames: self.flow.frames.clone(),
            both_ends: matches!(self.job, Job::Streams | Job::Calls { uac: true, uas: true }),
        }
    }
}

/// The way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Out of a UDP socket.
    Datagram(SocketKey, SocketAddr),
    /// On a connection.
    Stream(StreamKey),
}

/// What the edge is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a datagram.
    Datagram(SocketKey, SocketAddr, Bytes),
    /// Send on a connection.
    Stream(StreamKey, Bytes),
    /// Connect to the target.
    Connect(StreamKey),
    /// Close a connection.
    Close(StreamKey),
    /// Say a line, as a scenario's `log` asks.
    Log(String),
}

/// What a timer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// A request of the calling side is not answered yet.
    UacPending(Slot),
    /// The next step of the calling side: hang up, offer again, cancel.
    UacStep(Slot),
    /// A 200 is not acknowledged, or a BYE not answered, on the answering side.
    UasPending(Slot),
    /// The next step of the answering side: answer, offer again, hang up.
    UasStep(Slot),
    /// A REGISTER is not answered yet.
    Register(Slot),
    /// The answering side's own registration is renewed.
    Renew,
    /// A pause of a scenario's call is over, or a message did not come.
    ScenarioWake(Slot),
    /// A message of a scenario's call is sent again.
    ScenarioRepeat(Slot),
}

/// What an agent works with during one call into it.
pub struct Context<'a> {
    /// The time.
    pub now: Instant,
    /// When the message in hand came, where latencies end; otherwise now.
    pub arrived: Instant,
    /// What all cores share.
    pub plan: &'a Plan,
    /// Messages.
    pub templates: &'a Templates,
    /// Randomness.
    pub random: &'a mut Random,
    /// Figures.
    pub stats: &'a mut Stats,
    /// Timers.
    pub wheel: &'a mut Wheel<Timer>,
    /// What to send.
    pub outbox: &'a mut Outbox,
    /// RTP.
    pub media: &'a mut Media,
}

impl Context<'_> {
    /// Sends one message.
    pub fn send(&mut self, path: Path, bytes: Bytes) {
        self.stats.counters.messages_sent += 1;
        self.outbox.push(match path {
            Path::Datagram(socket, to) => Output::Datagram(socket, to, bytes),
            Path::Stream(stream) => Output::Stream(stream, bytes),
        });
    }

    /// When something that lasts so long from now on is over: at a tick, unless it lasts no time at all.
    pub fn end_of(&self, lasting: Duration) -> Instant {
        if lasting.is_zero() { self.now } else { tick::at_or_after(self.now + lasting, self.plan.tick) }
    }

    /// When a call that is up from now on ends.
    pub fn end_of_hold(&mut self) -> Instant {
        let hold = self.plan.hold.sample(self.random);
        self.end_of(hold)
    }

    /// Sets a timer. No call or registration has more than two, and the wheel holds as many, so that it is never full.
    pub fn schedule(&mut self, at: Instant, timer: Timer) -> Option<TimerKey> {
        let key = self.wheel.schedule(at, timer).ok();
        debug_assert!(key.is_some(), "the wheel is as large as all tables need");
        key
    }

    /// Takes a timer back.
    pub fn cancel(&mut self, key: &mut Option<TimerKey>) {
        if let Some(key) = key.take() {
            self.wheel.cancel(key);
        }
    }
}

/// A message in flight and its clock.
#[derive(Debug)]
pub struct Pending {
    /// Repeated as it is.
    pub bytes: Bytes,
    /// The number at the end of its branch.
    pub serial: u32,
    /// When to repeat it.
    pub clock: retransmit::Retransmit,
    /// The timer set for that.
    pub timer: Option<TimerKey>,
}

impl Pending {
    /// Sends `bytes` and starts its clock.
    pub fn start(
        cx: &mut Context<'_>,
        path: Path,
        bytes: Bytes,
        serial: u32,
        kind: retransmit::Kind,
        timer: Timer,
    ) -> Self {
        cx.send(path, bytes.clone());
        let timers = retransmit::Timers { unreliable: matches!(path, Path::Datagram(..)), ..cx.plan.timers };
        let clock = retransmit::Retransmit::new(&timers, kind, cx.now);
        let timer = cx.schedule(clock.next_deadline(), timer);
        Self { bytes, serial, clock, timer }
    }

    /// Its timer fired: sends again if due, sets the timer anew unless it is time to give up.
    pub fn on_timer(&mut self, cx: &mut Context<'_>, path: Path, timer: Timer) -> retransmit::Due {
        let due = self.clock.on_timer(cx.now);
        if due == retransmit::Due::Again {
            cx.send(path, self.bytes.clone());
        }
        self.timer = match due {
            retransmit::Due::GiveUp => None,
            _ => cx.schedule(self.clock.next_deadline(), timer),
        };
        due
    }

    /// A provisional answer came: wait until `give_up` without repeating.
    pub fn proceeding(&mut self, cx: &mut Context<'_>, give_up: Instant, timer: Timer) {
        self.clock.proceeding(give_up);
        cx.cancel(&mut self.timer);
        self.timer = cx.schedule(give_up, timer);
    }
}
