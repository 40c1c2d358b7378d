//! Keepers in this process, over loopback, with certificates made for the occasion.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant as StdInstant};

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use serde_json::Value;
use strowger::base::{Random, ShardId};
use strowger::config::{Config, Link, Peer, parse};
use strowger::control::links::keygen::{CA_FILE, keygen};
use strowger::control::links::{
    AccountTerms, Accounts, Handle, Links, Options, Packed, Prepared, Question, Ready, prepare,
};
use strowger::control::{Clock, Post};
use strowger::shard::Mail;
use strowger::tally::{Cell, Note, Permit, Pulse};

/// Nothing here takes longer, on a slow machine either.
pub const BOUND: Duration = Duration::from_secs(20);

/// One shard's mailbox; a planted panic strikes the keeper that writes to it.
struct Letters(Sender<Mail>, Arc<AtomicBool>);

impl Post for Letters {
    fn shards(&self) -> u8 {
        1
    }

    fn post(&self, _: ShardId, mail: Mail) -> bool {
        assert!(!self.1.load(Relaxed), "planted");
        self.0.send(mail).is_ok()
    }
}

/// How a site is made, and made again in another process.
#[derive(Clone)]
struct Plan {
    node: &'static str,
    data_dir: PathBuf,
    link: Link,
    accounts: Vec<(&'static str, u32)>,
    home: String,
    clock: Clock,
}

/// What the shards of one process have, as far as links go.
struct Shards {
    notes: Sender<Note>,
    letters: Receiver<Mail>,
    cells: HashMap<&'static str, Arc<Cell>>,
    pulse: Arc<Pulse>,
    panics: Arc<AtomicBool>,
}

impl Plan {
    fn prepare(&self) -> (Prepared, Shards) {
        let Config { mut limits, .. } = parse("", "defaults").unwrap();
        limits.lease = Duration::from_secs(2);
        let cells: HashMap<_, _> = self.accounts.iter().map(|(name, _)| (*name, Cell::new(0))).collect();
        let terms = self.accounts.iter().map(|(name, limit)| AccountTerms {
            name: (*name).into(),
            limit: *limit,
            home: Some(self.home.as_str().into()),
            cell: Arc::clone(&cells[name]),
        });
        let (note_in, notes) = bounded(1_024);
        let (letter_in, letters) = unbounded();
        let (panics, pulse) = (Arc::new(AtomicBool::new(false)), Arc::new(Pulse::waiting()));
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).unwrap();
        let options = Options {
            dead_man: Duration::ZERO,
            node: self.node.to_owned(),
            link: self.link.clone(),
            limits,
            data_dir: self.data_dir.clone(),
            clock: self.clock,
            accounts: Arc::new(Accounts::new(terms.collect(), 0)),
            notes,
            post: Arc::new(Letters(letter_in, Arc::clone(&panics))),
            pulse: Arc::clone(&pulse),
            random: Random::new(seed),
        };
        (prepare(options).unwrap(), Shards { notes: note_in, letters, cells, pulse, panics })
    }
}

/// A running site.
pub struct Site {
    pub links: Option<Links>,
    pub handle: Handle,
    pub notes: Sender<Note>,
    pub letters: Receiver<Mail>,
    pub clock: Clock,
    pub cells: HashMap<&'static str, Arc<Cell>>,
    pub pulse: Arc<Pulse>,
    panics: Arc<AtomicBool>,
    plan: Plan,
}

/// Where a site listens, and where the others find it.
pub struct Place {
    pub name: &'static str,
    pub socket: UdpSocket,
    pub address: SocketAddr,
}

/// Free places.
pub fn places<const N: usize>(names: [&'static str; N]) -> [Place; N] {
    names.map(|name| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        Place { name, socket, address }
    })
}

/// Certificates for these names in `dir`.
pub fn certify(dir: &Path, names: &[&str]) {
    keygen(dir, &names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
}

/// `[link]` of a site.
pub fn link(keys: &Path, name: &str, listen: SocketAddr, peers: &[(&str, SocketAddr)]) -> Link {
    Link {
        listen,
        certificate_file: keys.join(format!("{name}.pem")),
        key_file: keys.join(format!("{name}.key")),
        ca_file: keys.join(CA_FILE),
        peers: peers.iter().map(|(name, address)| Peer { name: (*name).to_owned(), address: *address }).collect(),
    }
}

/// Starts a site at `place` with accounts (name, limit) whose home is `home`.
pub fn run(
    root: &Path,
    keys: &Path,
    place: Place,
    peers: &[(&str, SocketAddr)],
    accounts: &[(&'static str, u32)],
    home: &str,
) -> Site {
    let data_dir = root.join(place.name);
    std::fs::create_dir_all(&data_dir).unwrap();
    let plan = Plan {
        node: place.name,
        data_dir,
        link: link(keys, place.name, place.address, peers),
        accounts: accounts.to_vec(),
        home: home.to_owned(),
        clock: Clock::new(StdInstant::now()),
    };
    let (prepared, shards) = plan.prepare();
    let links = prepared.start(place.socket).unwrap().run().unwrap();
    Site::new(plan, links, shards)
}

/// A call that stands on a right of an account.
pub type Call = (&'static str, Permit);

impl Site {
    fn new(plan: Plan, links: Links, shards: Shards) -> Self {
        let Shards { notes, letters, cells, pulse, panics } = shards;
        let handle = links.handle().clone();
        Self { links: Some(links), handle, notes, letters, clock: plan.clock, cells, pulse, panics, plan }
    }

    /// Everything goes to another process, as octets and descriptors, with the calls that are up. `seen` is told of its cells
    /// in the moment in which neither runs.
    pub fn take_over(mut self, calls: &mut [Call], seen: impl FnOnce(&HashMap<&'static str, Arc<Cell>>)) -> Self {
        let links = self.links.take().unwrap();
        let mut resting = links.rest().unwrap();
        let (prepared, shards) = thaw(&self.plan, resting.freeze().unwrap(), calls);
        seen(&shards.cells);
        resting.leave();
        let running = prepared.run().unwrap();
        let new = Self::new(self.plan.clone(), running, shards);
        drop(self);
        assert!(links.leave());
        new
    }

    /// The configuration that the next process reads has no such account.
    pub fn forget(&mut self, account: &str) {
        self.plan.accounts.retain(|(name, _)| *name != account);
    }

    /// Another process gets as far as to be ready, and dies.
    pub fn fail_to_take_over(&self) {
        let mut resting = self.links.as_ref().unwrap().rest().unwrap();
        let mut calls: Vec<Call> = Vec::new();
        for (name, cell) in &self.cells {
            calls.extend((0..cell.read().0).map(|_| (*name, Cell::new(0).hold())));
        }
        drop(thaw(&self.plan, resting.freeze().unwrap(), &mut calls));
    }

    /// Asks the keeper.
    pub fn ask(&self, question: Question) -> Result<Value, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.handle.ask(question))
    }

    /// What the keeper knows of an account.
    pub fn account(&self, name: &str) -> Value {
        self.ask(Question::Account { name: name.to_owned() }).unwrap()
    }

    /// Live calls and usable rights of an account.
    pub fn cell(&self, name: &str) -> (u32, u32) {
        self.cells[name].read()
    }

    /// True when links to all peers stand.
    pub fn is_linked(&self) -> bool {
        (0..self.handle.status().peers.len()).all(|peer| self.handle.status().is_up(peer))
    }

    /// From now on the keeper panics when it writes a letter.
    pub fn plant_panic(&self) {
        self.panics.store(true, Relaxed);
    }

    /// True when the keeper has ended by itself.
    pub fn is_dead(&self) -> bool {
        self.links.as_ref().is_some_and(Links::is_dead)
    }

    /// Ends it as a shut-down does.
    pub fn stop(mut self) {
        let links = self.links.take();
        drop(self);
        assert!(links.unwrap().stop());
    }
}

fn thaw(plan: &Plan, packed: Packed, calls: &mut [Call]) -> (Ready, Shards) {
    let octets = rmp_serde::to_vec_named(&packed.frozen).unwrap();
    let packed = Packed { frozen: rmp_serde::from_slice(&octets).unwrap(), descriptors: packed.descriptors };
    let (prepared, mut shards) = plan.prepare();
    for (account, permit) in calls {
        *permit = shards.cells.entry(*account).or_insert_with(|| Cell::new(0)).hold();
    }
    let lapsed = |name: &str| shards.cells.get(name).map_or_else(|| Cell::new(0), Arc::clone);
    (prepared.thaw(packed, &lapsed).unwrap(), shards)
}

/// Waits until it is so.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = StdInstant::now() + BOUND;
    while !is_so() {
        assert!(StdInstant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
