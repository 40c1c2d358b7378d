//! The transaction layer of one shard (RFC 3261 §17): it owns the tables, the timers and what waits to be sent, and
//! carries out what the machines ask for. `client` and `server` hold its two halves.
//!
//! One call of a `handle_*`, `request`, `respond` or `cancel`, then drain [`Layer::poll_transmit`] and
//! [`Layer::poll_event`], then wait until [`Layer::next_deadline`].

mod client;
mod server;

use crate::base::id::Token;
use crate::base::{Instant, Keyed, Queue, Random, Slot, Transmit, Wheel};
use crate::sip::transaction::action::Timers;
use crate::sip::transaction::branch::{Branch, new_branch};
use crate::sip::transaction::client::Client;
use crate::sip::transaction::clock::Fire;
use crate::sip::transaction::paths::Paths;
use crate::sip::transaction::server::Server;
use crate::sip::transaction::table::{ClientKey, ServerKey, Table};
use hashbrown::HashTable;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// A table is full: refuse, and count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The bounds of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client transactions at a time.
    pub clients_max: usize,
    /// Server transactions at a time. At `n` calls/s over UDP some `n * 32 * 2` are alive.
    pub servers_max: usize,
    /// Transactions of each kind beyond these, for what must not be refused: [`Layer::handle_urgent_request`],
    /// [`Layer::request_urgent`].
    pub reserve: usize,
    /// Messages waiting for [`Layer::poll_transmit`]; a message beyond it is dropped and counted.
    pub transmits_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { clients_max: 200_000, servers_max: 200_000, reserve: 0, transmits_max: 1_024 }
    }
}

/// What became of a transaction, apart from messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event<U> {
    /// No response came: timers B and F, or 64*T1 after a CANCEL. Behaves like a 408 (RFC 3261 §8.1.3.1).
    Timeout {
        /// The transaction; it is over.
        client: ClientKey,
        /// Its user.
        user: U,
    },
    /// The request could not be sent. Behaves like a 503 (§8.1.3.1).
    TransportError {
        /// The transaction; it is over.
        client: ClientKey,
        /// Its user.
        user: U,
    },
    /// A client transaction is over, once for each but those of CANCELs; its key means nothing from now on.
    ClientDone {
        /// The transaction.
        client: ClientKey,
        /// Its user.
        user: U,
    },
    /// A non-INVITE request has waited for so long that a 100 is due now (RFC 4320 §4.1).
    TryingDue {
        /// The transaction.
        server: ServerKey,
        /// Its user.
        user: Option<U>,
    },
    /// A response could not be sent; the transaction goes on (RFC 6026 §7.1).
    ResponseLost {
        /// The transaction.
        server: ServerKey,
        /// Its user.
        user: Option<U>,
    },
    /// A server transaction is over, once for each; its key means nothing from now on.
    ServerDone {
        /// The transaction.
        server: ServerKey,
        /// Its user.
        user: Option<U>,
        /// No ACK came for the final response to an INVITE within 64*T1: after a 2xx, end the dialog with a BYE
        /// (§13.3.1.4).
        unanswered_ack: bool,
    },
}

/// What there is and what has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Client transactions alive.
    pub clients: usize,
    /// Server transactions alive.
    pub servers: usize,
    /// Timers running.
    pub timers: usize,
    /// Messages sent again because a timer fired or the request came again.
    pub retransmitted: u64,
    /// Requests that came again, ACKs among them, and final responses that came again.
    pub absorbed: u64,
    /// Responses that match no transaction (dropped, RFC 6026 §8.9).
    pub strays: u64,
    /// Transactions refused because a table was full.
    pub refused: u64,
    /// Responses that RFC 4320 forbids, or that came too late.
    pub withheld: u64,
    /// Messages dropped because too many waited to be sent.
    pub dropped: u64,
}

/// The transactions of one shard. `U` is what the user wants to be told with each: a handle to its call or leg.
#[derive(Debug, Serialize, Deserialize)]
pub struct Layer<U: Copy> {
    #[serde(skip)]
    pub(super) timers: Timers,
    #[serde(skip)]
    pub(super) limits: Limits,
    pub(super) clients: Table<Client<U>>,
    pub(super) servers: Table<Server<U>>,
    /// By From tag, Call-ID and CSeq: where a merged request or the ACK to a 2xx finds its INVITE.
    #[serde(skip)]
    pub(super) requests: HashTable<([u64; 2], Slot)>,
    pub(super) request_hashers: [Keyed; 2],
    pub(super) paths: Paths,
    pub(super) wheel: Wheel<Fire>,
    pub(super) transmits: Queue<Transmit>,
    /// Bounded by the tables: no transaction causes more than a few.
    pub(super) events: VecDeque<Event<U>>,
    pub(super) counts: Counts,
    pub(super) random: Random,
    #[serde(skip)]
    pub(super) scratch: Vec<u8>,
}

impl<U: Copy> Layer<U> {
    /// An empty layer. The random numbers key its hash tables and make its branches.
    #[must_use]
    pub fn new(timers: Timers, limits: Limits, mut random: Random, now: Instant) -> Self {
        let mut hasher = || Keyed::from_random(&mut random);
        Self {
            timers,
            limits,
            clients: Table::new(limits.clients_max.saturating_add(limits.reserve), hasher()),
            servers: Table::new(limits.servers_max.saturating_add(limits.reserve), hasher()),
            requests: HashTable::new(),
            request_hashers: [hasher(), hasher()],
            paths: Paths::new(hasher()),
            wheel: Wheel::new(now, 2 * (limits.clients_max + limits.servers_max + 2 * limits.reserve)),
            transmits: Queue::new(limits.transmits_max),
            events: VecDeque::new(),
            counts: Counts::default(),
            random,
            scratch: Vec::new(),
        }
    }

    /// Goes on with the transactions of another life; timers' lengths and bounds stay ours.
    pub fn thaw(&mut self, mut frozen: Self) {
        (frozen.timers, frozen.limits) = (self.timers, self.limits);
        frozen.clients.set_bound(self.clients.bound());
        frozen.servers.set_bound(self.servers.bound());
        frozen.wheel.set_bound(2 * (self.clients.bound() + self.servers.bound()));
        frozen.transmits.set_bound(self.transmits.bound());
        frozen.requests = frozen.servers.slots().filter_map(|(slot, server)| Some((server.request_id?, slot))).fold(
            HashTable::new(),
            |mut requests, row| {
                requests.insert_unique(row.0[0], row, |(id, _)| id[0]);
                requests
            },
        );
        *self = frozen;
    }

    /// A branch for a request of the call that `token` names.
    #[must_use]
    pub fn new_branch(&mut self, token: Token) -> Branch {
        new_branch(&mut self.random, token)
    }

    /// Lets due timers fire. Stops early when much waits to be sent; [`next_deadline`](Self::next_deadline) then still
    /// lies in the past.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.transmits.room() > 1 {
            match self.wheel.pop_expired(now) {
                Some(Fire::Client(slot, timer)) => self.on_client_timer(now, slot, timer),
                Some(Fire::Server(slot, timer)) => self.on_server_timer(now, slot, timer),
                None => return,
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.wheel.next_deadline()
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop()
    }

    /// The next event for the user.
    pub fn poll_event(&mut self) -> Option<Event<U>> {
        self.events.pop_front()
    }

    /// What there is and what has happened.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            clients: self.clients.len(),
            servers: self.servers.len(),
            timers: self.wheel.len(),
            dropped: self.transmits.refused(),
            ..self.counts
        }
    }

    /// True when no transaction is alive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.len() == 0 && self.servers.len() == 0
    }

    /// Checks that tables, timers and lists agree, by looking at every transaction: for tests and the simulator.
    ///
    /// # Errors
    /// What does not agree.
    pub fn check(&self) -> Result<(), &'static str> {
        let clients = self.clients.iter().map(|client| client.clock.running()).sum::<usize>();
        let servers = self.servers.iter().map(|server| server.clock.running()).sum::<usize>();
        if clients + servers != self.wheel.len() {
            return Err("a timer without a transaction");
        }
        if self.servers.iter().filter(|server| server.request_id.is_some()).count() != self.requests.len() {
            return Err("a request identity without a transaction");
        }
        if self.clients.iter().any(|client| client.link.is_some() != client.machine.is_waiting()) {
            return Err("a client transaction on the wrong side of its path's list");
        }
        if self.clients.iter().filter(|client| client.link.is_some()).count() < self.paths.len() {
            return Err("a path without a client transaction");
        }
        if self.clients.iter().any(|client| client.clock.running() == 0 && !client.machine.is_proceeding_invite()) {
            return Err("a client transaction without a timer");
        }
        if self.servers.iter().any(|server| server.clock.running() == 0 && !server.machine.is_proceeding_invite()) {
            return Err("a server transaction without a timer");
        }
        Ok(())
    }
}
