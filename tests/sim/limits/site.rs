//! A host: a clock, a disk, perhaps a process on it, and the media of the one before.

use super::clock::Clock;
use super::disk::Disk;
use super::world::Taking;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use strowger::base::{Instant, Random};
use strowger::tally::rights::{Home, Rights, Settings, Terms};
use strowger::tally::{Cell, Identity, Permit, Pulse, SiteId};

/// A process.
pub struct Process {
    /// Unique in the whole run: events of another life miss this one.
    pub life: u64,
    /// Likewise, and another one after a take-over: letters that stayed behind miss it.
    pub post: u64,
    pub identity: Identity,
    pub rights: Rights,
    pub cells: Vec<Arc<Cell>>,
    /// Cells of before a reload that calls still hold, by account.
    pub former: Vec<Vec<Arc<Cell>>>,
    pub pulse: Pulse,
    /// Calls up.
    pub calls: BTreeMap<u64, (usize, Permit)>,
    /// How many of them each account has.
    pub counts: Vec<u32>,
    /// Calls that wait for a right.
    pub waiting: HashMap<u32, usize>,
    /// By peer: its number here, and who it was.
    pub links: Vec<Option<(SiteId, Identity)>>,
    pub numbers: HashMap<SiteId, usize>,
    /// When the keeper is woken, in truth; the number tells which of the events counts.
    pub wake: (u64, u64),
    pub ledger_works: bool,
}

/// A host.
pub struct Host {
    pub name: Arc<str>,
    pub clock: Clock,
    pub disk: Disk,
    pub process: Option<Process>,
    /// Calls by account whose process has died, and whose media flows yet.
    pub dead: Vec<u32>,
    /// Stands still since and until, in truth.
    pub paused: Option<(u64, u64)>,
    /// It does so because another process takes over.
    pub taking: Option<Taking>,
    /// What its configuration says of limits.
    pub limits: Vec<u32>,
    /// Which accounts it names.
    pub configured: Vec<bool>,
    /// What it was last, for the operator.
    pub last: Option<Identity>,
}

impl Host {
    pub fn new(number: usize, limits: Vec<u32>, random: &mut Random) -> Self {
        let disk = Disk::new(new_disk(random));
        let dead = vec![0; limits.len()];
        let clock = Clock::new(1_000_000, 0);
        let (process, paused, taking, last) = (None, None, None, None);
        let configured = vec![true; limits.len()];
        Self { name: name(number), clock, disk, process, dead, paused, taking, limits, configured, last }
    }

    /// Its local time.
    pub fn clock(&self, truth: u64) -> Instant {
        self.clock.read(truth)
    }
}

/// What boots need to know.
pub struct Boot<'a> {
    pub settings: &'a Settings,
    pub homes: &'a [usize],
    pub allowances: &'a [u32],
    pub accounts: &'a [Arc<str>],
    pub sites: usize,
    pub life: u64,
}

pub fn name(number: usize) -> Arc<str> {
    format!("site-{number}").into()
}

pub fn new_disk(random: &mut Random) -> u128 {
    u128::from(random.next_u64()) << 64 | u128::from(random.next_u64())
}

/// What a site's configuration says of an account.
pub fn terms(host: &Host, me: usize, account: usize, boot: &Boot<'_>) -> Terms {
    let home = boot.homes[account];
    let home = if home == me { Home::Here } else { Home::At(name(home)) };
    Terms { limit: host.limits[account], home, allowance: boot.allowances[account] }
}

/// Starts a process on a host.
pub fn boot(host: &mut Host, me: usize, boot: &Boot<'_>, random: &mut Random, truth: u64) {
    let (records, incarnation) = host.disk.boot(&host.name);
    let identity = Identity { name: Arc::clone(&host.name), disk: host.disk.identity, incarnation };
    let peers = (0..boot.sites).filter(|site| *site != me).map(name).collect();
    let now = host.clock(truth);
    let mut rights = Rights::open(boot.settings.clone(), identity.clone(), peers, &records, random.fork(), now);
    let cells: Vec<Arc<Cell>> = boot.accounts.iter().map(|_| Cell::new(0)).collect();
    for (account, cell) in cells.iter().enumerate().filter(|(account, _)| host.configured[*account]) {
        let terms = terms(host, me, account, boot);
        rights.set_account(now, Arc::clone(&boot.accounts[account]), terms, Arc::clone(cell));
    }
    host.last = Some(identity.clone());
    (host.paused, host.taking) = (None, None);
    host.process = Some(Process {
        life: boot.life,
        post: boot.life,
        identity,
        rights,
        counts: vec![0; cells.len()],
        former: vec![Vec::new(); cells.len()],
        cells,
        pulse: Pulse::waiting(),
        calls: BTreeMap::new(),
        waiting: HashMap::new(),
        links: vec![None; boot.sites],
        numbers: HashMap::new(),
        wake: (0, u64::MAX),
        ledger_works: true,
    });
}
