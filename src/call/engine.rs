//! All calls of a shard: brings every message, timer and report to the call it belongs to, and buries the dead.
//!
//! Owned by the shard. The order of work is always the same: the transaction layer first, then the call, then what the
//! layer has to say, until nothing is left to say.

mod events;
mod requests;

use super::contacts::{Binding, Store};
use super::core::{Core, Effect, Settings, Timer};
use super::directory::Directory;
use super::state::Call;
use super::{admission, setup, teardown};
use crate::base::time::Duration;
use crate::base::{Flow, Instant, Random, ShardId, Slab, Slot, SocketKey, Source, Wheel};
use crate::media::{FastPath, Relay, RelayConfig, Verdict};
use crate::observe::{CallId, Counter, Counters, Direction, DropReason, EndCause, Gauge, MethodLabel, Verbosity};
use crate::sip::digest;
use crate::sip::transaction::{self, Layer};
use crate::sip::wire::Message;
use events::dispatch_response;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// What an engine is made of.
#[derive(Debug)]
pub struct EngineOptions {
    /// Which shard.
    pub shard: ShardId,
    /// Accounts, trunks, routes.
    pub directory: Arc<Directory>,
    /// Bounds and times.
    pub settings: Settings,
    /// Transactions.
    pub timers: transaction::Timers,
    /// Transactions at once, of each kind.
    pub transactions_max: usize,
    /// Registered contacts.
    pub contacts_max: usize,
    /// Lifetime of a nonce.
    pub nonce_lifetime: Duration,
    /// This shard's slice of the media ports.
    pub relay: RelayConfig,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Which events are wanted.
    pub verbosity: Verbosity,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Engine {
    pub(super) core: Core,
    pub(super) calls: Slab<Call>,
    pub(super) store: Store,
    pub(super) ended: Vec<Slot>,
    pub(super) figures: super::figures::Figures,
}

/// ITU-T Q.850: recovery on timer expiry.
const LONGEST: &str = "Q.850;cause=102;text=\"longest call\"";
/// Places beyond `calls_max` that only calls to emergency numbers may take, and transactions for them beyond
/// `transactions_max`: each takes two until its caller is known, and some towards its trunks.
const EMERGENCY_PLACES: usize = 16;
const EMERGENCY_TRANSACTIONS: usize = 4 * EMERGENCY_PLACES;
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

impl Engine {
    /// An engine without calls.
    #[must_use]
    pub fn new(options: EngineOptions, mut random: Random, now: Instant) -> Self {
        let calls_max = options.settings.calls_max.saturating_add(EMERGENCY_PLACES);
        let store = Store::new(options.contacts_max, &mut random);
        let server = digest::ServerOptions {
            realm: options.directory.realm.clone(),
            shard: options.shard,
            nonce_lifetime: options.nonce_lifetime,
            ..digest::ServerOptions::default()
        };
        let limits = transaction::Limits {
            servers_max: options.transactions_max,
            clients_max: options.transactions_max,
            reserve: EMERGENCY_TRANSACTIONS,
            ..transaction::Limits::default()
        };
        let mut timers = Wheel::new(now, calls_max.saturating_mul(8) + 1);
        let _ = timers.schedule(now + SWEEP_INTERVAL, Timer::Sweep);
        let mut figures = super::figures::Figures::default();
        let mut core = Core {
            now,
            shard: options.shard,
            directory: options.directory,
            layer: Layer::new(options.timers, limits, random.fork(), now),
            relay: Relay::new(options.relay, now, random.fork()),
            timers,
            digest: digest::Server::new(server, random.fork()),
            random,
            counters: options.counters,
            verbosity: options.verbosity,
            effects: VecDeque::new(),
            settings: options.settings,
            draining: false,
            calls_live: 0,
            records_waiting: 0,
        };
        figures.publish(&mut core);
        Self { core, calls: Slab::new(calls_max), store, ended: Vec::new(), figures }
    }

    /// One whole SIP message that belongs to this shard.
    pub fn handle_message(&mut self, now: Instant, flow: Flow, message: &Message<'_>) {
        self.core.now = now;
        if message.is_request() {
            let label = MethodLabel::from_name(message.method().as_str());
            self.core.counters.request(label, flow.transport, Direction::In);
            self.on_request(flow, message);
        } else if let Some((client, owner)) = self.core.layer.handle_response(now, message) {
            self.with_call(owner.call, |call, core| dispatch_response(call, core, client, Ok(message)));
        } else {
            self.core.counters.count_drop(DropReason::SipStrayResponse);
        }
        self.settle();
    }

    /// Contacts that were asked for by [`Effect::Locate`].
    pub fn contacts(&mut self, now: Instant, call: Slot, contacts: Vec<Binding>) {
        self.core.now = now;
        self.with_call(call, |call, core| setup::on_contacts(call, core, contacts));
        self.settle();
    }

    /// The contacts of an account that this shard owns.
    #[must_use]
    pub fn locate(&self, now: Instant, account: &[u8], limit: usize) -> Vec<Binding> {
        self.store.bindings(account, now).take(limit).cloned().collect()
    }

    /// One packet on a media socket.
    pub fn handle_packet(&mut self, now: Instant, socket: SocketKey, from: SocketAddr, packet: &mut [u8]) -> Verdict {
        self.core.now = now;
        self.core.relay.handle_packet(now, socket, from, packet)
    }

    /// What is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.core.now = now;
        self.core.layer.handle_timeout(now);
        self.core.relay.handle_timeout(now);
        while let Some(timer) = self.core.timers.pop_expired(now) {
            match timer {
                Timer::Borrow(slot) => self.with_call(slot, admission::on_borrow_timer),
                Timer::Longest(slot) => self.with_call(slot, |call, core| {
                    call.timer = None;
                    call.facts.reason = Some(LONGEST.into());
                    teardown::end(call, core, EndCause::MaxDuration, None, 480);
                }),
                Timer::Ring(slot) => self.with_call(slot, |call, core| {
                    call.timer = None;
                    teardown::end(call, core, EndCause::RingTimeout, None, 480);
                }),
                Timer::Branch(slot, number) => {
                    self.with_call(slot, |call, core| setup::on_branch_timer(call, core, number));
                }
                Timer::Linger(slot) => {
                    if let Some(call) = self.calls.get_mut(slot) {
                        call.timer = None;
                    }
                    self.bury(slot);
                }
                Timer::Sweep => {
                    let core = &mut self.core;
                    let lapsed = self.store.sweep(now, |aor, left| admission::on_phones(core, aor, left));
                    self.core.counters.add(Counter::RegistrationsExpired, lapsed as u64);
                    self.figures.publish(&mut self.core);
                    self.core.counters.set(Gauge::RegistrationsActive, self.store.len() as u64);
                    let _ = self.core.schedule(SWEEP_INTERVAL, Timer::Sweep);
                }
            }
        }
        self.settle();
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        [self.core.layer.next_deadline(), self.core.relay.next_deadline(), self.core.timers.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// A path of ours does not work: its requests have failed (RFC 3261 §8.1.3.1).
    pub fn handle_flow_failure(&mut self, now: Instant, flow: &Flow) {
        self.core.now = now;
        self.core.layer.handle_transport_error(now, transaction::Path::from(flow));
        self.settle();
    }

    /// A media socket could not be opened.
    pub fn handle_socket_failure(&mut self, now: Instant, socket: SocketKey) {
        self.core.now = now;
        self.core.relay.socket_failed(now, socket);
    }

    /// From now on settled streams go by `fast`.
    pub fn set_fast_path(&mut self, now: Instant, fast: Box<dyn FastPath>) {
        self.core.relay.set_fast_path(now, fast);
    }

    /// Nothing of this source is to reach us until then, but what a rule of the fast path covers.
    pub fn block_below(&mut self, now: Instant, source: Source, until: Instant) {
        self.core.relay.block(now, source.address(), until);
    }

    /// While it is held, nothing is relayed but through us.
    pub fn hold_fast_path(&mut self, now: Instant, held: bool) {
        self.core.relay.hold_fast_path(now, held);
    }

    /// The next thing to do outside.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        let effect = self.core.effects.pop_front();
        let effect = effect.or_else(|| self.core.layer.poll_transmit().map(Effect::Transmit));
        if let Some(Effect::Transmit(transmit)) = &effect {
            self.core.count_sent(transmit);
        }
        effect
    }

    /// The next media socket to open or change.
    pub fn poll_socket(&mut self) -> Option<crate::media::SocketRequest> {
        self.core.relay.poll_socket()
    }

    /// Ends a call by an operator's word; false when there is none of that name.
    pub fn hangup(&mut self, now: Instant, call: CallId) -> bool {
        self.core.now = now;
        let slot = call.0.slot;
        let found = self.calls.get(slot).is_some_and(|held| held.token == call.0);
        if found {
            self.with_call(slot, |call, core| teardown::end(call, core, EndCause::Operator, None, 480));
            self.settle();
        }
        found
    }

    /// Ends every call.
    pub fn hangup_all(&mut self, now: Instant) {
        self.core.now = now;
        let slots: Vec<Slot> = self.calls.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.with_call(slot, |call, core| teardown::end(call, core, EndCause::Shutdown, None, 503));
        }
        self.settle();
    }

    /// Takes no new calls from now on, or takes them again.
    pub fn drain(&mut self, draining: bool) {
        self.core.draining = draining;
    }

    /// A new snapshot. Calls keep the names they were made with: peers are found again by name.
    pub fn set_directory(&mut self, directory: Arc<Directory>) {
        let old = std::mem::replace(&mut self.core.directory, directory);
        let slots: Vec<Slot> = self.calls.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            if let Some(call) = self.calls.get_mut(slot) {
                call.renumber(&old, &self.core.directory);
            }
        }
    }

    /// So many records wait to be taken by the sink.
    pub fn set_records_waiting(&mut self, count: usize) {
        self.core.records_waiting = count;
    }
}
