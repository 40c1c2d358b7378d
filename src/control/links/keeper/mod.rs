//! The keeper of the rights: the one task that owns the rights machine, the session database and the links' other ends.
//!
//! Owned by the links. [`Keeper::handle`] takes one input, [`Keeper::turn`] does what is due and sends what came of it;
//! neither waits for anything.

mod ask;
mod ends;
mod frozen;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tokio::sync::watch;

use super::SLOP;
use super::accounts::{Accounts, Change, Changes};
use super::agree;
use super::feed::Feed;
use super::inbox::{Freeze, Input};
use super::ledger::Ledger;
use super::status::{LinkStatus, Reason};
use crate::base::id::Token;
use crate::base::time::Duration;
use crate::base::{Instant, ShardId};
use crate::control::Post;
use crate::shard::mailbox::Mail;
use crate::tally::rights::{Event, Output, Rights};
use crate::tally::sessions::Sessions;
use crate::tally::terms::Shared;
use crate::tally::wire::{Bye, Frame};
use crate::tally::{Identity, Note, Pulse};
use ask::Pending;

/// Shards trust the cells for this long after a turn.
const TRUST: Duration = Duration::from_millis(900);
const _: () = assert!(TRUST.as_millis() * 2 <= SLOP.as_millis());
/// A turn comes at least this often.
const TICK: Duration = Duration::from_millis(250);
const PING_TICKS: u64 = 4;
const DIGEST_TICKS: u64 = 16;
/// Accounts of a new configuration that the machine is told of in one turn.
const ACCOUNTS_A_TURN: usize = 4_096;
/// News of sessions within this time go out together.
const BATCH: Duration = Duration::from_millis(1);

/// See the [module](self).
pub struct Keeper {
    me: Identity,
    rights: Rights,
    sessions: Sessions,
    status: Arc<LinkStatus>,
    /// By the place of the peer.
    feeds: Vec<Option<Feed>>,
    /// The last start that each peer has greeted with, and its identity.
    starts: Vec<Option<(Identity, u64)>>,
    accounts: Arc<Accounts>,
    shared: Shared,
    /// What the machine has not been told of them yet.
    changes: Option<Changes>,
    /// Answers that wait for the disk.
    pending: Vec<Pending>,
    linked: Vec<watch::Sender<bool>>,
    ledger: Ledger,
    post: Arc<dyn Post>,
    pulse: Arc<Pulse>,
    lines: u64,
    ticks: u64,
    tick_at: Instant,
    news_at: Instant,
    /// Another process may take over: no link is let in.
    resting: bool,
    freeze: Option<Freeze>,
    stopped: bool,
}

/// What a keeper is made of.
pub struct Parts {
    /// This site.
    pub me: Identity,
    /// Opened on the ledger's records.
    pub rights: Rights,
    /// What must be alike at every site.
    pub shared: Shared,
    /// Of this incarnation.
    pub sessions: Sessions,
    /// Who has greeted this incarnation, and with which start of his process.
    pub starts: Vec<(Identity, u64)>,
    /// For people.
    pub status: Arc<LinkStatus>,
    /// The ledger's writer.
    pub ledger: Ledger,
    /// To the shards.
    pub post: Arc<dyn Post>,
    /// For the shards.
    pub pulse: Arc<Pulse>,
}

impl Keeper {
    /// A keeper without links or accounts, and what the diallers of its peers watch.
    #[must_use]
    pub fn new(parts: Parts, now: Instant) -> (Self, Vec<watch::Receiver<bool>>) {
        let Parts { me, rights, shared, sessions, starts, status, ledger, post, pulse } = parts;
        let (linked, watchers) = status.peers.iter().map(|_| watch::channel(false)).unzip();
        let this = Self {
            me,
            rights,
            sessions,
            feeds: status.peers.iter().map(|_| None).collect(),
            starts: status.peers.iter().map(|peer| last_start(&starts, &peer.name)).collect(),
            status,
            accounts: Arc::default(),
            shared,
            changes: None,
            pending: Vec::new(),
            linked,
            ledger,
            post,
            pulse,
            lines: 0,
            ticks: 0,
            tick_at: now,
            news_at: now,
            resting: false,
            freeze: None,
            stopped: false,
        };
        (this, watchers)
    }

    /// Nothing more is to be done.
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Its ledger will never be written again: it cannot go on.
    #[must_use]
    pub fn is_without_ledger(&self) -> bool {
        self.ledger.is_dead()
    }

    /// When the next turn is due at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        if self.changes.is_some() {
            return Instant::ZERO;
        }
        let behind = self.feeds.iter().flatten().any(|feed| feed.is_behind(&self.sessions));
        let news = behind.then_some(self.news_at);
        [self.rights.next_deadline(), news].into_iter().flatten().fold(self.tick_at, Instant::min)
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Up(newcomer) => self.up(now, *newcomer),
            Input::Frames { line, frames } => self.frames(now, line, frames),
            Input::Down { line, why } => {
                if let Some(peer) = self.peer_of(line) {
                    self.cut(now, peer, Bye::Stopping, &why);
                }
            }
            Input::Notes(notes) => notes.into_iter().for_each(|note| self.note(now, note)),
            Input::Accounts(accounts) => {
                self.configure(now, usize::MAX);
                let old = std::mem::replace(&mut self.accounts, Arc::clone(&accounts));
                self.changes = Some(Changes::new(old, accounts));
                for feed in self.feeds.iter_mut().flatten() {
                    feed.push_terms(agree::digest(&self.accounts, &self.shared));
                }
            }
            Input::Ask(ask) => self.answer(now, ask),
            Input::Rest => {
                self.resting = true;
                self.cut_all(now, Bye::Pausing, "this site changes its process");
            }
            Input::GoOn => self.resting = false,
            Input::Freeze(freeze) => self.freeze = Some(freeze),
            Input::Stop => {
                self.stopped = true;
                self.cut_all(now, Bye::Stopping, "this site stops");
            }
        }
    }

    /// Does what is due and sends what came of it.
    pub fn turn(&mut self, now: Instant) {
        self.configure(now, ACCOUNTS_A_TURN);
        if self.rights.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.rights.handle_timeout(now);
        }
        if self.tick_at <= now {
            self.tick_at = now + TICK;
            self.tick(now);
        }
        self.drain();
        if self.ledger.turn(now, &mut self.rights) {
            self.drain();
        }
        self.settle(self.ledger.durable());
        if self.news_at <= now {
            let mut news = false;
            for feed in self.feeds.iter_mut().flatten().filter(|feed| feed.is_behind(&self.sessions)) {
                feed.push_news(&self.sessions);
                news = true;
            }
            self.news_at = if news { now + BATCH } else { self.news_at };
        }
        self.flush(now);
        self.pulse.beat(now, TRUST);
    }

    fn drain(&mut self) {
        while let Some(output) = self.rights.poll_output() {
            self.apply(output);
        }
    }

    fn flush(&mut self, now: Instant) {
        for peer in 0..self.feeds.len() {
            match self.feeds[peer].as_mut().map(Feed::flush) {
                None => {}
                Some(Ok(octets)) => _ = self.status.traffic.sent_bytes.fetch_add(octets as u64, Relaxed),
                Some(Err(_)) => {
                    let (address, what) = (self.status.peers[peer].address, "it does not read: its queue was full");
                    self.status.refuse(now, address, Some(peer), Reason::Overflow, what);
                    self.cut(now, peer, Bye::Garbage, what);
                }
            }
        }
    }

    fn tick(&mut self, now: Instant) {
        self.ticks += 1;
        self.status.set_totals(self.rights.totals());
        for (peer, feed) in self.feeds.iter_mut().enumerate() {
            let Some(feed) = feed else { continue };
            if self.ticks.is_multiple_of(PING_TICKS) {
                self.status.pinged(peer, now);
                feed.push(&Frame::Ping { stamp: now });
            }
            if self.ticks.is_multiple_of(DIGEST_TICKS) {
                feed.agreement.refill();
                feed.push_terms(agree::digest(&self.accounts, &self.shared));
                if !feed.is_behind(&self.sessions) {
                    feed.push(&Frame::Sessions(self.sessions.digest()));
                }
            }
        }
    }

    fn apply(&mut self, output: Output) {
        match output {
            Output::Persist { seq, record } => self.ledger.append(seq, record),
            Output::Send { to, message } => {
                if let Some(feed) = self.feed_of(to) {
                    feed.push(&Frame::Rights(message));
                }
            }
            // A letter that finds no room takes its right back; the call hears no answer in time.
            Output::Right { shard, call, permit } => _ = self.post.post(shard, Mail::Right { call, permit }),
            Output::HangUp { account, calls } => {
                let budget = Arc::new(AtomicU32::new(calls));
                for shard in (0..self.post.shards()).map(ShardId) {
                    let (account, budget) = (Arc::clone(&account), Arc::clone(&budget));
                    if !self.post.post(shard, Mail::HangUpSome { account, budget }) {
                        tracing::error!(shard = shard.0, "a shard is too busy to be told which calls to end");
                    }
                }
            }
            Output::Event(event @ Event::Founded) => tracing::info!("{event}"),
            Output::Event(event) => tracing::warn!("{event}"),
        }
    }

    fn note(&mut self, now: Instant, note: Note) {
        match note {
            Note::Began { account, call, started } => self.sessions.began(account, call, started),
            Note::Ended { account, call } => self.sessions.ended(&account, call),
            Note::Calls { shard, calls } => {
                let up: HashSet<(Token, &str)> = calls.iter().map(|one| (one.call, &*one.account)).collect();
                let known = self.sessions.own().rows().filter(|row| row.call.shard == shard);
                let gone = known.filter(|row| !up.contains(&(row.call, row.account.as_ref())));
                let gone: Vec<_> = gone.map(|row| (Arc::clone(row.account), row.call)).collect();
                gone.iter().for_each(|(account, call)| self.sessions.ended(account, *call));
                calls
                    .into_iter()
                    .for_each(|session| self.sessions.began(session.account, session.call, session.started));
            }
            note @ (Note::Wanted { .. } | Note::Borrow { .. } | Note::Phones { .. }) => self.rights.note(now, note),
        }
    }

    /// Tells the machine what is new, changed or gone, some of it at a time.
    fn configure(&mut self, now: Instant, steps: usize) {
        let Some(changes) = &mut self.changes else { return };
        for _ in 0..steps {
            match changes.next() {
                Some(Change::Set(account)) => {
                    let terms = self.accounts.terms(&account, &self.me.name);
                    self.rights.set_account(now, account.name, terms, account.cell);
                }
                Some(Change::Gone(name)) => self.rights.drop_account(now, &name),
                Some(Change::Same) => {}
                None => {
                    self.changes = None;
                    return;
                }
            }
        }
    }
}

fn last_start(starts: &[(Identity, u64)], name: &str) -> Option<(Identity, u64)> {
    starts.iter().find(|(identity, _)| *identity.name == *name).cloned()
}
