//! From a configuration to links that can run: with a ledger that is opened, or with what another process goes on from.
//!
//! Owned by the appliance. Whatever may fail comes first, so that a change of process is refused before anything is touched.

use std::fs::DirBuilder;
use std::net::UdpSocket;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use crossbeam::channel::Receiver;
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use tokio::sync::{Notify, mpsc, watch};

use super::accounts::Accounts;
use super::handle::Handle;
use super::inbox::Input;
use super::keeper::{Keeper, Parts};
use super::ledger::Ledger;
use super::ledger_file::{self, AtRest, LedgerFile};
use super::packed::{Frozen, FrozenKeeper, Packed};
use super::run::Ready;
use super::status::{Counted, LinkStatus};
use super::talk::Site;
use super::tls::Credentials;
use super::{SLOP, tls};
use crate::base::time::Duration;
use crate::base::{Instant, Random};
use crate::config::{LimitMode, LimitPolicy, Limits, Link};
use crate::control::{Clock, Post};
use crate::tally::rights::{Policy, Rights, Settings};
use crate::tally::sessions::{Bounds, Sessions};
use crate::tally::terms::Shared;
use crate::tally::{Cell, Identity, Note, Pulse};

/// Inputs that wait for the keeper; who finds it full waits.
const INPUTS_MAX: usize = 1_024;

/// What the links are made of.
pub struct Options {
    /// `node.name`.
    pub node: String,
    /// `[link]`.
    pub link: Link,
    /// `[limits]`.
    pub limits: Limits,
    /// Media may go on for so long after this process has died or while it stands still: zero where it goes through its
    /// sockets alone.
    pub dead_man: Duration,
    /// `node.data_dir`.
    pub data_dir: PathBuf,
    /// The shards'.
    pub clock: Clock,
    /// Of the configuration; their cells have no rights yet.
    pub accounts: Arc<Accounts>,
    /// From the shards; the links end after the last sender is gone and [`Links::stop`](super::Links::stop).
    pub notes: Receiver<Note>,
    /// To the shards.
    pub post: Arc<dyn Post>,
    /// For the shards.
    pub pulse: Arc<Pulse>,
    /// For ids, jitter and keyed tables.
    pub random: Random,
}

/// Links whose certificates have been read.
pub struct Prepared {
    options: Options,
    credentials: Credentials,
}

/// What the keeper begins with, of whatever origin.
struct Origin {
    rights: Rights,
    sessions: Sessions,
    starts: Vec<(Identity, u64)>,
    start: u64,
    file: LedgerFile,
    counted: Counted,
    socket: UdpSocket,
}

/// Reads the certificates.
///
/// # Errors
/// A sentence that says what is in the way.
pub fn prepare(options: Options) -> Result<Prepared, String> {
    let credentials = tls::load(&options.link, &options.node)?;
    Ok(Prepared { options, credentials })
}

impl Prepared {
    /// Opens the ledger and writes this start into it. `socket` is bound to `link.listen`.
    ///
    /// # Errors
    /// A sentence that says what is in the way.
    pub fn start(mut self, socket: UdpSocket) -> Result<Ready, String> {
        let (folder, now) = (self.folder(), self.options.clock.now());
        let no_folder = |error| format!("cannot make {}: {error}; `node.data_dir` names its place", folder.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(no_folder)?;
        let settings = self.settings();
        let Options { node, random, .. } = &mut self.options;
        let disk = u128::from(random.next_u64()) << 64 | u128::from(random.next_u64());
        let opened = ledger_file::open(&folder, node, disk).map_err(|error| error.to_string())?;
        let me = opened.identity;
        tracing::info!(
            site = %me.name, incarnation = me.incarnation, new = opened.created, cut_bytes = opened.cut_bytes, "the ledger is open"
        );
        let sessions = Sessions::new(me.clone(), Bounds::default(), random);
        let (start, fork) = (random.next_u64() | 1, random.fork());
        let rights = Rights::open(settings, me, self.peers(), &opened.records, fork, now);
        let (starts, counted, file) = (Vec::new(), Counted::default(), opened.file);
        self.make(Origin { rights, sessions, starts, start, file, counted, socket }, now)
    }

    /// Goes on where the links of another process rest, as the same incarnation. All calls that came along hold their rights
    /// already; those of an account that this configuration lacks, in the cell that `lapsed` gives for it.
    ///
    /// # Errors
    /// A sentence that says what is in the way; nothing was touched.
    pub fn thaw(mut self, packed: Packed, lapsed: &dyn Fn(&str) -> Arc<Cell>) -> Result<Ready, String> {
        let now = self.options.clock.now();
        let Packed { frozen: Frozen { keeper, start, ledger, counted }, descriptors: [file, lock, socket] } = packed;
        let FrozenKeeper { rights, sessions, starts } = keeper;
        let (was, node) = (&rights.me().name, &self.options.node);
        if **was != **node {
            return Err(format!("the running process is \"{was}\" and this one \"{node}\": set node.name back"));
        }
        let file = LedgerFile::take_on(&self.folder(), AtRest { position: ledger, file, lock })?;
        let (accounts, random) = (Arc::clone(&self.options.accounts), self.options.random.fork());
        let mut gone: Vec<Arc<str>> = Vec::new();
        let mut cells = |name: &str| {
            let known = accounts.find(name).map(|account| Arc::clone(&account.cell));
            known.or_else(|| {
                gone.push(name.into());
                Some(lapsed(name))
            })
        };
        let mut rights = Rights::thaw(self.settings(), self.peers(), rights, &mut cells, random, now)?;
        gone.iter().for_each(|name| rights.drop_account(now, name));
        let sessions = Sessions::thaw(Bounds::default(), sessions)?;
        let me = rights.me();
        tracing::info!(site = %me.name, incarnation = me.incarnation, gone = gone.len(), "the ledger goes on");
        self.make(Origin { rights, sessions, starts, start, file, counted, socket: socket.into() }, now)
    }

    fn make(self, origin: Origin, now: Instant) -> Result<Ready, String> {
        let no_thread = |error: std::io::Error| format!("no thread could be started: {error}");
        let Origin { rights, sessions, starts, start, file, counted, socket } = origin;
        let Self { options: Options { link, limits, clock, accounts, notes, post, pulse, random, .. }, credentials } =
            self;
        let me = rights.me().clone();
        let written = Arc::new(Notify::new());
        let told = Arc::clone(&written);
        let writer = ledger_file::start(file, move || told.notify_one()).map_err(no_thread)?;
        let peers = link.peers.iter().map(|peer| (Arc::from(peer.name.as_str()), peer.address));
        let status = Arc::new(LinkStatus::new(peers, now));
        status.take_on(counted);
        let ledger = Ledger::new(writer);
        let (inputs, receiver) = mpsc::channel(INPUTS_MAX);
        let handle =
            Handle { inputs: inputs.clone(), status: Arc::clone(&status), ledger: ledger.status(), me: me.clone() };
        let shared = shared_terms(&limits);
        let status_here = Arc::clone(&status);
        let parts =
            Parts { me: me.clone(), rights, shared, sessions, starts, status: status_here, ledger, post, pulse };
        let (mut keeper, linked) = Keeper::new(parts, now);
        keeper.handle(now, Input::Accounts(accounts));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
        let no_quic = |error| format!("cannot speak QUIC on {}: {error}", link.listen);
        let sockets = [socket.try_clone().map_err(no_quic)?, socket.try_clone().map_err(no_quic)?];
        let endpoint = {
            let _inside = runtime.enter();
            let (config, server) = (EndpointConfig::default(), Some(credentials.server));
            let mut endpoint = Endpoint::new(config, server, socket, Arc::new(TokioRuntime)).map_err(no_quic)?;
            endpoint.set_default_client_config(credentials.client);
            endpoint
        };
        let (talks, resting) = (watch::Sender::new(0), watch::Sender::new(false));
        let site = Arc::new(Site { me, start, clock, inputs, status, endpoint, linked, talks, resting });
        Ok(Ready { runtime, keeper, site, inputs: receiver, written, notes, sockets, handle, random })
    }

    fn folder(&self) -> PathBuf {
        self.options.data_dir.join("link")
    }

    fn peers(&self) -> Vec<Arc<str>> {
        self.options.link.peers.iter().map(|peer| Arc::from(peer.name.as_str())).collect()
    }

    fn settings(&self) -> Settings {
        settings(&self.options.limits, self.options.dead_man)
    }
}

fn settings(limits: &Limits, dead_man: Duration) -> Settings {
    Settings {
        lease: limits.lease,
        max_call: limits.max_call_duration,
        dead_man,
        drift_ppm: limits.clock_drift_ppm,
        slop: SLOP,
        policy: if limits.policy == LimitPolicy::Drop { Policy::Drop } else { Policy::Keep },
        allowance: limits.mode == LimitMode::Allowance,
        ..Settings::default()
    }
}

fn shared_terms(limits: &Limits) -> Shared {
    Shared {
        lease: limits.lease,
        max_call: limits.max_call_duration,
        drift_ppm: limits.clock_drift_ppm,
        drops: limits.policy == LimitPolicy::Drop,
        allowance: if limits.mode == LimitMode::Allowance { limits.allowance } else { 0 },
    }
}
