//! What every call of a shard shares: the transaction layer, the relay, timers, randomness, the directory, the way out.
//!
//! Owned by the [`Engine`](super::Engine). A call borrows it for as long as it handles one event.

use super::contacts::Lifetimes;
use super::directory::{Directory, Listener, Peer};
use crate::base::id::{TOKEN_LEN, Token};
use crate::base::text::push_number;
use crate::base::time::Duration;
use crate::base::{Flow, Instant, Random, ShardId, Slot, Source, TimerKey, Transmit, Wheel};
use crate::media::Relay;
use crate::observe::{CallRecord, Counters, Direction, Event, Level, MediaPath, MethodLabel, Suspicion, Verbosity};
use crate::sip::digest;
use crate::sip::transaction::{ClientKey, Full, Layer, ServerKey};
use crate::sip::wire::Method;
use crate::tally::Note;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

/// Which call, and which leg of it, a transaction belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The call.
    pub call: Slot,
    /// The leg's number: 0 called us, others we called.
    pub leg: u8,
}

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Timer {
    /// No right came from another site.
    Borrow(Slot),
    /// The whole set-up took too long.
    Ring(Slot),
    /// The call took too long.
    Longest(Slot),
    /// This branch has said nothing, or has rung long enough for the next group to be tried.
    Branch(Slot, u8),
    /// An ended call's last answers did not come.
    Linger(Slot),
    /// Look at a few lapsed contacts.
    Sweep,
}

/// What the shard does for us.
#[derive(Debug)]
pub enum Effect {
    /// Send.
    Transmit(Transmit),
    /// A call ended.
    Record(Box<CallRecord>),
    /// For the log.
    Event(Box<Event>),
    /// For the keeper of the rights.
    Note(Note),
    /// Somebody behaved like a scanner.
    Suspect {
        /// Where the request came from.
        source: Source,
        /// What it did.
        reason: Suspicion,
        /// It can be reached there: nobody else has written this address into a datagram.
        proven: bool,
    },
    /// Somebody there has shown working credentials: it is no scanner's until then.
    Vouch {
        /// Where the request came from.
        source: Source,
        /// When that is worth nothing any more.
        until: Instant,
    },
    /// Ask the owner of this account's contacts; [`Engine::contacts`](super::Engine::contacts) takes the answer.
    Locate {
        /// The account's name.
        account: Box<[u8]>,
        /// For which call.
        call: Slot,
    },
}

/// Bounds and times that do not change while the shard runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Calls of this shard.
    pub calls_max: usize,
    /// How long a source is trusted that has shown working credentials: as long as a call may last.
    pub vouched_for: Duration,
    /// Longest wait for a right from another site.
    pub borrow_timeout: Duration,
    /// Longest call, from its first right on.
    pub max_call_duration: Duration,
    /// Longest set-up.
    pub ring_timeout: Duration,
    /// How long one q value rings before the next.
    pub fork_step_timeout: Duration,
    /// Max-Forwards of requests that had none.
    pub max_forwards: u8,
    /// Server header; empty = none.
    pub user_agent: String,
    /// A longer request goes by TCP where the peer allows.
    pub udp_message_bytes_max: usize,
    /// Bounds of a registration.
    pub lifetimes: Lifetimes,
    /// Contacts of one AOR.
    pub contacts_per_account_max: usize,
    /// What carries media packets here.
    pub path: MediaPath,
    /// Refuse instead of admitting more calls while so many records wait to be written.
    pub records_waiting_max: usize,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Core {
    /// The time of the event being handled.
    pub now: Instant,
    /// Which shard this is.
    pub shard: ShardId,
    /// Accounts, trunks, routes.
    pub directory: Arc<Directory>,
    /// Transactions.
    pub layer: Layer<Owner>,
    /// Media.
    pub relay: Relay,
    /// Timers of calls.
    pub timers: Wheel<Timer>,
    /// Randomness.
    pub random: Random,
    /// Digest, server side.
    pub digest: digest::Server,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Which events are wanted.
    pub verbosity: Verbosity,
    /// What the shard is to do.
    pub effects: VecDeque<Effect>,
    /// Bounds and times.
    pub settings: Settings,
    /// No new calls.
    pub draining: bool,
    /// Calls that have not ended. Others stay in the table until their transactions are over.
    pub calls_live: usize,
    /// Records that the other side has not taken yet.
    pub records_waiting: usize,
}

impl Core {
    /// Sends outside of any transaction: an ACK for a 2xx, a stateless answer. What was said before it leaves before it,
    /// what is said after it after it: a BYE never overtakes its ACK.
    pub fn transmit(&mut self, flow: Flow, bytes: Bytes) {
        while let Some(earlier) = self.layer.poll_transmit() {
            self.effects.push_back(Effect::Transmit(earlier));
        }
        self.effects.push_back(Effect::Transmit(Transmit { flow, bytes }));
    }

    /// Counts a request that goes out, whoever made it: the transaction layer has its own CANCELs, ACKs and repetitions.
    pub fn count_sent(&self, transmit: &Transmit) {
        let method = transmit.bytes.split(|&octet| octet == b' ').next().unwrap_or_default();
        if !method.eq_ignore_ascii_case(b"SIP/2.0") {
            let label = MethodLabel::from_name(Method::from_token(method).as_str());
            self.counters.request(label, transmit.flow.transport, Direction::Out);
        }
    }

    /// Answers a request.
    pub fn respond(&mut self, server: ServerKey, status: u16, bytes: Bytes) {
        self.counters.response(status);
        self.layer.respond(self.now, server, status, bytes);
    }

    /// Starts a client transaction.
    ///
    /// # Errors
    /// [`Full`] when the layer holds as many as it may.
    pub fn request(
        &mut self,
        flow: Flow,
        method: Method,
        branch: &[u8],
        bytes: Bytes,
        owner: Owner,
    ) -> Result<ClientKey, Full> {
        self.layer.request(self.now, flow, method, branch, bytes, owner)
    }

    /// The same for a call that must not be refused.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn request_urgent(
        &mut self,
        flow: Flow,
        method: Method,
        branch: &[u8],
        bytes: Bytes,
        owner: Owner,
    ) -> Result<ClientKey, Full> {
        self.layer.request_urgent(self.now, flow, method, branch, bytes, owner)
    }

    /// Schedules; a full wheel is our own fault, since it is made as large as everything that can use it.
    pub fn schedule(&mut self, after: Duration, timer: Timer) -> Option<TimerKey> {
        self.timers.schedule(self.now + after, timer).ok()
    }

    /// Cancels a timer, if there is one.
    pub fn cancel_timer(&mut self, key: &mut Option<TimerKey>) {
        if let Some(key) = key.take() {
            self.timers.cancel(key);
        }
    }

    /// Notes what speaks for a scanner. A connection shows by itself that its peer can be reached.
    pub fn suspect(&mut self, flow: &Flow, reason: Suspicion, reachable: bool) {
        let proven = reachable || flow.transport.is_reliable();
        self.effects.push_back(Effect::Suspect { source: Source::of(flow.remote.ip()), reason, proven });
    }

    /// Notes that working credentials were shown.
    pub fn vouch(&mut self, flow: &Flow, until: Instant) {
        self.effects.push_back(Effect::Vouch { source: Source::of(flow.remote.ip()), until });
    }

    /// Logs a step of a call, if somebody wants to see all of them.
    pub fn step(&mut self, what: &'static str, more: impl FnOnce(Event) -> Event) {
        if self.verbosity.takes(Level::Debug as u8) {
            self.event(more(Event::new(self.now, self.shard, Level::Debug, what)));
        }
    }

    /// Logs.
    pub fn event(&mut self, event: Event) {
        self.effects.push_back(Effect::Event(Box::new(event)));
    }

    /// The listener by which a flow leaves.
    #[must_use]
    pub fn listener(&self, flow: &Flow) -> Option<&Listener> {
        self.directory.listener(flow.socket)
    }

    /// A tag or Call-ID of ours: the call's token and a suffix that tells its legs apart.
    #[must_use]
    pub fn name_of_leg(&self, token: Token, leg: u8) -> Vec<u8> {
        let mut name = Vec::with_capacity(TOKEN_LEN + "-255".len());
        name.extend_from_slice(&token.encode());
        name.push(b'-');
        push_number(&mut name, leg);
        name
    }

    /// The name of a peer.
    #[must_use]
    pub fn peer_name(&self, peer: Peer) -> Box<str> {
        self.directory.peer_name(peer).into()
    }
}

/// Reads what [`Core::name_of_leg`] wrote.
#[must_use]
pub fn leg_of_name(name: &[u8]) -> Option<(Token, u8)> {
    let token = Token::decode(name)?;
    let digits = name.get(TOKEN_LEN..)?.strip_prefix(b"-")?;
    Some((token, std::str::from_utf8(digits).ok()?.parse().ok()?))
}
