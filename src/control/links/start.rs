//! From a configuration to a running keeper: ledger, then links, then admission.
//!
//! Owned by the appliance, which keeps [`Links`] until its shards have ended.

use std::fs::DirBuilder;
use std::net::UdpSocket;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::Receiver;
use quinn::{Endpoint, EndpointConfig, TokioRuntime, VarInt};
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::accounts::Accounts;
use super::dial::{answer, dial};
use super::inbox::{Ask, Input, Question};
use super::keeper::{Keeper, Parts};
use super::ledger::Ledger;
use super::ledger_file::{self, LedgerStatus};
use super::status::LinkStatus;
use super::talk::Site;
use super::{SLOP, tls};
use crate::base::Random;
use crate::base::time::Duration;
use crate::config::{LimitMode, LimitPolicy, Limits, Link};
use crate::control::{Clock, Post};
use crate::tally::rights::{Policy, Rights, Settings};
use crate::tally::sessions::{Bounds, Sessions};
use crate::tally::terms::Shared;
use crate::tally::{Identity, Note, Pulse};

/// Inputs that wait for the keeper; who finds it full waits.
const INPUTS_MAX: usize = 1_024;
/// Inputs of one turn.
const INPUTS_A_TURN: usize = 128;
/// Notes handed over at once.
const NOTES_MAX: usize = 512;
/// How long the keeper has to answer a person.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// How long last words may take.
const END_WAIT: Duration = Duration::from_millis(700);

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
    /// Bound to `link.listen`.
    pub socket: UdpSocket,
    /// `node.data_dir`.
    pub data_dir: PathBuf,
    /// The shards'.
    pub clock: Clock,
    /// Of the configuration; their cells have no rights yet.
    pub accounts: Arc<Accounts>,
    /// From the shards; the links end after the last sender is gone and [`Links::stop`].
    pub notes: Receiver<Note>,
    /// To the shards.
    pub post: Arc<dyn Post>,
    /// For the shards.
    pub pulse: Arc<Pulse>,
    /// For ids, jitter and keyed tables.
    pub random: Random,
}

/// The way to the keeper.
#[derive(Clone, Debug)]
pub struct Handle {
    inputs: mpsc::Sender<Input>,
    status: Arc<LinkStatus>,
    ledger: Arc<LedgerStatus>,
    me: Identity,
}

impl Handle {
    /// The links' state.
    #[must_use]
    pub fn status(&self) -> &LinkStatus {
        &self.status
    }

    /// The ledger's state.
    #[must_use]
    pub fn ledger(&self) -> &LedgerStatus {
        &self.ledger
    }

    /// This site.
    #[must_use]
    pub fn me(&self) -> &Identity {
        &self.me
    }

    /// True when there is no keeper any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inputs.is_closed()
    }

    /// Asks the keeper.
    ///
    /// # Errors
    /// A sentence: it says no, or does not answer in time.
    pub async fn ask(&self, question: Question) -> Result<Value, String> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.inputs.send(Input::Ask(Ask { question, reply })).await.map_err(|_| ())?;
            answer.await.map_err(|_| ())
        };
        match timeout(ANSWER_WAIT, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(())) => Err("the keeper of the rights has ended; see the log".to_owned()),
            Err(_) => Err("the keeper of the rights does not answer in time; see `readyz`".to_owned()),
        }
    }

    /// Publishes the accounts of a new configuration. Blocks while the keeper is busy.
    pub fn publish(&self, accounts: Arc<Accounts>) {
        let _ = self.inputs.blocking_send(Input::Accounts(accounts));
    }
}

/// Running links. Dropping them ends them without waiting.
#[derive(Debug)]
pub struct Links {
    handle: Handle,
    threads: Option<[JoinHandle<()>; 2]>,
}

impl Drop for Links {
    fn drop(&mut self) {
        if self.threads.is_some() {
            let _ = self.handle.inputs.try_send(Input::Stop);
        }
    }
}

impl Links {
    /// The way to the keeper.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// True when the keeper, or what brings it notes, has ended although nobody asked it to: no call will be admitted
    /// any more.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.threads.as_ref().is_some_and(|threads| threads.iter().any(JoinHandle::is_finished))
    }

    /// Says goodbye to the peers and ends. The shards must have ended: their notes are read to the last. True when all
    /// went well.
    #[must_use]
    pub fn stop(mut self) -> bool {
        let Some([notes, keeper]) = self.threads.take() else { return true };
        let read = notes.join().is_ok();
        let _ = self.handle.inputs.blocking_send(Input::Stop);
        keeper.join().is_ok() && read
    }
}

/// Opens the ledger, writes this start into it, and starts everything.
///
/// # Errors
/// A sentence that says what is in the way.
pub fn start(options: Options) -> Result<Links, String> {
    let Options { node, link, limits, dead_man, socket, data_dir, clock, accounts, notes, post, pulse, mut random } =
        options;
    let credentials = tls::load(&link, &node)?;
    let folder = data_dir.join("link");
    let no_folder = |error| format!("cannot make {}: {error}; `node.data_dir` names its place", folder.display());
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(no_folder)?;
    let disk = u128::from(random.next_u64()) << 64 | u128::from(random.next_u64());
    let opened = ledger_file::open(&folder, &node, disk).map_err(|error| error.to_string())?;
    let me = opened.identity;
    tracing::info!(
        site = %me.name, incarnation = me.incarnation, new = opened.created, cut_bytes = opened.cut_bytes, "the ledger is open"
    );
    let no_thread = |error: std::io::Error| format!("no thread could be started: {error}");
    let written = Arc::new(Notify::new());
    let told = Arc::clone(&written);
    let writer = ledger_file::start(opened.file, move || told.notify_one()).map_err(no_thread)?;
    let now = clock.now();
    let names = link.peers.iter().map(|peer| Arc::from(peer.name.as_str()));
    let status = Arc::new(LinkStatus::new(names.clone().zip(link.peers.iter().map(|peer| peer.address)), now));
    let rights =
        Rights::open(settings(&limits, dead_man), me.clone(), names.collect(), &opened.records, random.fork(), now);
    let sessions = Sessions::new(me.clone(), Bounds::default(), &mut random);
    let ledger = Ledger::new(writer);
    let ledger_status = ledger.status();
    let shared = shared_terms(&limits);
    let parts = Parts { me: me.clone(), rights, shared, sessions, status: Arc::clone(&status), ledger, post, pulse };
    let (mut keeper, linked) = Keeper::new(parts, now);
    keeper.handle(now, Input::Accounts(accounts));
    let (inputs, receiver) = mpsc::channel(INPUTS_MAX);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
    let endpoint = {
        let _inside = runtime.enter();
        let config = EndpointConfig::default();
        let made = Endpoint::new(config, Some(credentials.server), socket, Arc::new(TokioRuntime));
        let mut endpoint = made.map_err(|error| format!("cannot speak QUIC on {}: {error}", link.listen))?;
        endpoint.set_default_client_config(credentials.client);
        endpoint
    };
    let handle = Handle { inputs: inputs.clone(), status: Arc::clone(&status), ledger: ledger_status, me: me.clone() };
    let start = random.next_u64() | 1;
    let site = Arc::new(Site { me, start, clock, inputs: inputs.clone(), status, endpoint, linked });
    let main = async move {
        let mut tasks = JoinSet::new();
        for peer in 0..site.status.peers.len() {
            tasks.spawn(dial(Arc::clone(&site), peer, random.fork()));
        }
        tasks.spawn(answer(Arc::clone(&site)));
        #[cfg(debug_assertions)]
        tasks.spawn(planted());
        tokio::select! {
            () = keep(keeper, receiver, &written, clock) => {}
            end = first_panic(&mut tasks) => std::panic::resume_unwind(end),
        }
        site.endpoint.set_server_config(None);
        let _ = timeout(END_WAIT, site.endpoint.wait_idle()).await;
        site.endpoint.close(VarInt::from_u32(0), b"");
    };
    let keeper = std::thread::Builder::new().name("links".into()).spawn(move || runtime.block_on(main));
    let keeper = keeper.map_err(no_thread)?;
    let notes = std::thread::Builder::new().name("notes".into()).spawn(move || pass_on(&notes, &inputs));
    Ok(Links { handle, threads: Some([notes.map_err(no_thread)?, keeper]) })
}

/// Waits until a task panics. Without it no peer would be dialled, or none answered, ever again.
async fn first_panic(tasks: &mut JoinSet<()>) -> Box<dyn std::any::Any + Send> {
    while let Some(end) = tasks.join_next().await {
        if let Err(error) = end
            && let Ok(panic) = error.try_into_panic()
        {
            return panic;
        }
    }
    std::future::pending().await
}

/// A build for tests panics here when a test wants to see what becomes of the process.
#[cfg(debug_assertions)]
async fn planted() {
    let wanted = std::env::var("STROWGER_PLANTED_PANIC_MS").ok().and_then(|text| text.parse().ok());
    if let Some(after) = wanted {
        sleep(std::time::Duration::from_millis(after)).await;
        panic!("planted");
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

/// Shards' notes, as many as there are at once, until the last shard is gone.
fn pass_on(notes: &Receiver<Note>, inputs: &mpsc::Sender<Input>) {
    while let Ok(first) = notes.recv() {
        let batch = std::iter::once(first).chain(notes.try_iter()).take(NOTES_MAX).collect();
        if inputs.blocking_send(Input::Notes(batch)).is_err() {
            return;
        }
    }
}

/// Turns until the keeper has stopped: whatever has come in, then what is due.
async fn keep(mut keeper: Keeper, mut inputs: mpsc::Receiver<Input>, written: &Notify, clock: Clock) {
    keeper.turn(clock.now());
    while !keeper.is_stopped() {
        if keeper.is_without_ledger() {
            tracing::error!("the thread that writes the ledger has ended: no right can be kept without it");
            return;
        }
        let wait = keeper.next_deadline().since(clock.now());
        let input = tokio::select! {
            input = inputs.recv() => input,
            () = written.notified() => None,
            () = sleep(wait) => None,
        };
        let now = clock.now();
        if let Some(input) = input {
            keeper.handle(now, input);
            for _ in 1..INPUTS_A_TURN {
                let Ok(input) = inputs.try_recv() else { break };
                keeper.handle(now, input);
            }
        }
        keeper.turn(clock.now());
    }
}
