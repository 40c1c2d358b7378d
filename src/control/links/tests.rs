//! Two keepers without a network between them, and a disk that refuses.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant as StdInstant};

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use quinn::Endpoint;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::accounts::{AccountTerms, Accounts};
use super::inbox::{Freeze, Input, Line, Newcomer};
use super::keeper::{Keeper, Parts};
use super::ledger::Ledger;
use super::ledger_file::{LedgerStatus, Storage, start_on};
use super::pause::stand_still;
use super::status::LinkStatus;
use super::talk;
use crate::base::{Instant, Random, ShardId, Slot};
use crate::control::{Clock, Post};
use crate::shard::mailbox::Mail;
use crate::tally::rights::{Rights, Settings};
use crate::tally::sessions::{Bounds, Sessions};
use crate::tally::terms::Shared;
use crate::tally::wire::{Hello, decode};
use crate::tally::{Cell, Identity, Note, Pulse};

/// A disk that takes everything, until it is told to refuse.
struct Disk(Arc<AtomicBool>);

impl Disk {
    fn answer(&self) -> io::Result<()> {
        if self.0.load(Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Storage for Disk {
    fn append(&mut self, _: &[u8]) -> io::Result<()> {
        self.answer()
    }

    fn sync(&mut self) -> io::Result<()> {
        self.answer()
    }

    fn truncate(&mut self, _: u64) -> io::Result<()> {
        self.answer()
    }

    fn replace(&mut self, _: &[u8]) -> io::Result<()> {
        self.answer()
    }
}

struct Letters(Sender<Mail>);

impl Post for Letters {
    fn shards(&self) -> u8 {
        1
    }

    fn post(&self, _: ShardId, mail: Mail) -> bool {
        self.0.send(mail).is_ok()
    }
}

struct Site {
    keeper: Keeper,
    cell: Arc<Cell>,
    letters: Receiver<Mail>,
    full: Arc<AtomicBool>,
    ledger: Arc<LedgerStatus>,
    identity: Identity,
    line: Option<Line>,
    octets: Vec<u8>,
}

fn site(name: &str, peer: &str, now: Instant) -> Site {
    let identity = Identity { name: name.into(), disk: u128::from(name.as_bytes()[0]), incarnation: 1 };
    let (letter_in, letters) = unbounded();
    let full = Arc::new(AtomicBool::new(false));
    let ledger = Ledger::new(start_on(Disk(Arc::clone(&full)), || {}).unwrap());
    let ledger_status = ledger.status();
    let mut random = Random::from_u64(7);
    let peers = vec![peer.into()];
    let rights = Rights::open(Settings::default(), identity.clone(), peers, &[], random.fork(), now);
    let shared = Shared {
        lease: Duration::from_secs(30),
        max_call: Duration::from_secs(60),
        drift_ppm: 0,
        drops: false,
        allowance: 0,
    };
    let parts = Parts {
        shared,
        me: identity.clone(),
        rights,
        sessions: Sessions::new(identity.clone(), Bounds::default(), &mut random),
        starts: Vec::new(),
        status: Arc::new(LinkStatus::new([(peer.into(), ([127, 0, 0, 1], 1).into())], now)),
        ledger,
        post: Arc::new(Letters(letter_in)),
        pulse: Arc::new(Pulse::waiting()),
    };
    let (mut keeper, _) = Keeper::new(parts, now);
    let cell = Cell::new(0);
    let account = AccountTerms { name: "alice".into(), limit: 3, home: Some("a".into()), cell: Arc::clone(&cell) };
    keeper.handle(now, Input::Accounts(Arc::new(Accounts::new(vec![account], 0))));
    Site { keeper, cell, letters, full, ledger: ledger_status, identity, line: None, octets: Vec::new() }
}

impl Site {
    fn greet(&mut self, now: Instant, other: &Identity, dialled: bool) {
        let (reply, mut answer) = oneshot::channel();
        let hello = Hello::new(other.clone(), now, 0);
        let newcomer = Newcomer { peer: 0, hello, version: 2, dialled, reply };
        self.keeper.handle(now, Input::Up(Box::new(newcomer)));
        self.line = Some(answer.try_recv().unwrap().unwrap());
    }

    /// What it has to say, said to the other one.
    fn tell(&mut self, now: Instant, other: &mut Self) {
        self.keeper.turn(now);
        let line = self.line.as_mut().unwrap();
        while let Ok(batch) = line.outbox.try_recv() {
            line.queued.fetch_sub(batch.len(), Relaxed);
            self.octets.extend_from_slice(&batch);
        }
        let mut frames = Vec::new();
        while let Some((frame, length)) = decode(&self.octets).unwrap() {
            frames.push(frame);
            self.octets.drain(..length);
        }
        let line = other.line.as_ref().unwrap().id;
        other.keeper.handle(now, Input::Frames { line, frames });
    }
}

#[test]
fn with_a_full_disk_nothing_is_lent_and_the_rest_goes_on() {
    let origin = StdInstant::now();
    let now = || Instant::ZERO + origin.elapsed();
    let (mut a, mut b) = (site("a", "b", now()), site("b", "a", now()));
    let (identity_a, identity_b) = (a.identity.clone(), b.identity.clone());
    a.greet(now(), &identity_b, true);
    b.greet(now(), &identity_a, false);
    let until = |a: &mut Site, b: &mut Site, what: &str, is_so: &mut dyn FnMut(&Site, &Site) -> bool| {
        while !is_so(a, b) {
            assert!(origin.elapsed() < Duration::from_secs(30), "never: {what}");
            a.tell(now(), b);
            b.tell(now(), a);
            std::thread::yield_now();
        }
    };
    until(&mut a, &mut b, "the home has its rights", &mut |a, _| a.cell.read().1 == 3);
    a.full.store(true, Relaxed);
    let call = a.cell.admit().unwrap();
    let borrow = |b: &mut Site, wait: Duration| {
        let (shard, call, deadline) = (ShardId(0), Slot { index: 1, generation: 1 }, now() + wait);
        b.keeper.handle(now(), Input::Notes(vec![Note::Borrow { account: "alice".into(), shard, call, deadline }]));
    };
    borrow(&mut b, Duration::from_millis(300));
    until(&mut a, &mut b, "the disk is seen to refuse", &mut |a, _| !a.ledger.works());
    let mut answer = None;
    until(&mut a, &mut b, "the caller is answered", &mut |_, b| {
        answer = b.letters.try_recv().ok();
        answer.is_some()
    });
    assert!(matches!(answer, Some(Mail::Right { permit: None, .. })), "no loan without the ledger: {answer:?}");
    assert_eq!((b.cell.read(), a.cell.read().0), ((0, 0), 1), "the call at the home goes on");
    a.full.store(false, Relaxed);
    until(&mut a, &mut b, "the disk is seen to work", &mut |a, _| a.ledger.works());
    borrow(&mut b, Duration::from_millis(300));
    let mut lent = None;
    while lent.is_none() {
        // What was written down late may still be on its way: then it is asked for again.
        until(&mut a, &mut b, "the caller is answered", &mut |_, b| match b.letters.try_recv() {
            Ok(Mail::Right { permit: Some(permit), .. }) => lent.replace(permit).is_none(),
            answer => answer.is_ok(),
        });
        if lent.is_none() {
            borrow(&mut b, Duration::from_millis(300));
        }
    }
    assert!(a.cell.read().1 + b.cell.read().1 <= 3);
    drop((call, lent));
}

/// A home whose disk refuses what it was asked to lend, and the site that asks.
fn with_a_full_disk(now: &dyn Fn() -> Instant) -> (Site, Site) {
    let (mut a, mut b) = (site("a", "b", now()), site("b", "a", now()));
    let (identity_a, identity_b) = (a.identity.clone(), b.identity.clone());
    a.greet(now(), &identity_b, true);
    b.greet(now(), &identity_a, false);
    let mut meet = |a: &mut Site, what: &str, is_so: fn(&Site) -> bool| {
        while !is_so(a) {
            assert!(now() < Instant::from_millis(30_000), "never: {what}");
            a.tell(now(), &mut b);
            b.tell(now(), a);
            std::thread::yield_now();
        }
    };
    meet(&mut a, "the home has its rights", |a| a.cell.read().1 == 3);
    a.full.store(true, Relaxed);
    let (shard, call, deadline) = (ShardId(0), Slot { index: 1, generation: 1 }, now() + Duration::from_secs(20));
    let borrow = Note::Borrow { account: "alice".into(), shard, call, deadline };
    b.keeper.handle(now(), Input::Notes(vec![borrow]));
    while a.ledger.works() {
        assert!(now() < Instant::from_millis(30_000), "nothing is ever written");
        b.tell(now(), &mut a);
        a.keeper.turn(now());
        std::thread::yield_now();
    }
    (a, b)
}

#[test]
fn with_a_full_disk_no_process_is_changed_and_everything_goes_on() {
    let clock = Clock::new(StdInstant::now());
    let now = || clock.now();
    let (mut a, b) = with_a_full_disk(&now);
    a.keeper.handle(now(), Input::Rest);
    let line = a.line.as_mut().unwrap();
    let bye = std::iter::from_fn(|| line.outbox.try_recv().ok()).any(|octets| octets.ends_with(&[0, 2, 7]));
    assert!(bye, "it says goodbye, and why");
    let (reply, mut answer) = oneshot::channel();
    let newcomer =
        |reply| Newcomer { peer: 0, hello: Hello::new(b.identity.clone(), now(), 0), version: 2, dialled: true, reply };
    a.keeper.handle(now(), Input::Up(Box::new(newcomer(reply))));
    assert!(answer.try_recv().unwrap().is_err(), "nobody is let in meanwhile");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (reply, answer) = bounded(1);
    let (_verdict, told) = oneshot::channel();
    let left = runtime.block_on(async {
        let (written, shared) = (Notify::new(), shared(&a, clock));
        stand_still(&mut a.keeper, Freeze { reply, verdict: told }, &written, &shared).await
    });
    let why = answer.try_recv().unwrap().unwrap_err();
    assert!(why.contains("ledger") && why.contains("no storage space") && why.contains("try again"), "{why}");
    assert!(!left && a.keeper.asked_to_freeze().is_none(), "the keeper goes on");

    a.full.store(false, Relaxed);
    while !matches!(a.keeper.settle_down(now()), Ok(true)) {
        assert!(now() < Instant::from_millis(30_000), "the disk is never tried again");
        std::thread::yield_now();
    }
    assert!(a.keeper.freeze().is_ok(), "now it could be given away");
    a.keeper.handle(now(), Input::GoOn);
    let (reply, mut answer) = oneshot::channel();
    a.keeper.handle(now(), Input::Up(Box::new(newcomer(reply))));
    assert!(answer.try_recv().unwrap().is_ok(), "links are welcome again");
}

/// What the connections of a site would share.
fn shared(site: &Site, clock: Clock) -> talk::Site {
    talk::Site {
        me: site.identity.clone(),
        start: 1,
        clock,
        inputs: mpsc::channel(1).0,
        status: Arc::new(LinkStatus::new([], Instant::ZERO)),
        endpoint: Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap(),
        linked: Vec::new(),
        talks: watch::Sender::new(0),
        resting: watch::Sender::new(false),
    }
}
