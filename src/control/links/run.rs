//! The links' threads: one for the keeper and all connections, one that brings it the notes of the shards.

use std::net::UdpSocket;
use std::sync::Arc;

use crossbeam::channel::{Receiver, RecvError, bounded, never, select};
use quinn::VarInt;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::dial::{answer, dial};
use super::handle::{Handle, Links};
use super::inbox::{Freeze, Input};
use super::keeper::Keeper;
use super::pause::{attend, stand_still};
use super::talk::Site;
use crate::base::Random;
use crate::base::time::Duration;
use crate::tally::Note;

/// Inputs of one turn.
const INPUTS_A_TURN: usize = 128;
/// Notes handed over at once.
const NOTES_MAX: usize = 512;
/// Orders of the supervisor, which waits for each.
const ORDERS_MAX: usize = 4;
/// How long last words may take.
const END_WAIT: Duration = Duration::from_millis(700);

/// Everything that may fail has been done: what is left is to run.
pub struct Ready {
    pub(super) runtime: Runtime,
    pub(super) keeper: Keeper,
    pub(super) site: Arc<Site>,
    pub(super) inputs: mpsc::Receiver<Input>,
    /// The ledger has news.
    pub(super) written: Arc<Notify>,
    pub(super) notes: Receiver<Note>,
    /// What the endpoint has, twice: to take it back, and for another process.
    pub(super) sockets: [UdpSocket; 2],
    pub(super) handle: Handle,
    pub(super) random: Random,
}

impl Ready {
    /// The way to the keeper, which does not answer yet.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn run(self) -> Result<Links, String> {
        let Self { runtime, keeper, site, inputs, written, notes, sockets: [own, socket], handle, mut random } = self;
        let no_thread = |error: std::io::Error| format!("no thread could be started: {error}");
        let (orders, told) = mpsc::channel(ORDERS_MAX);
        let main = async move {
            let mut tasks = JoinSet::new();
            for peer in 0..site.status.peers.len() {
                tasks.spawn(dial(Arc::clone(&site), peer, random.fork()));
            }
            tasks.spawn(answer(Arc::clone(&site)));
            tasks.spawn(attend(Arc::clone(&site), own, told));
            #[cfg(debug_assertions)]
            tasks.spawn(planted());
            tokio::select! {
                () = keep(keeper, inputs, &written, &site) => {}
                end = first_panic(&mut tasks) => std::panic::resume_unwind(end),
            }
            site.endpoint.set_server_config(None);
            let _ = timeout(END_WAIT, site.endpoint.wait_idle()).await;
            site.endpoint.close(VarInt::from_u32(0), b"");
        };
        let keeper = std::thread::Builder::new().name("links".into()).spawn(move || runtime.block_on(main));
        let keeper = keeper.map_err(no_thread)?;
        let (inputs, (freezes, asked)) = (handle.inputs.clone(), bounded(1));
        let notes = std::thread::Builder::new().name("notes".into()).spawn(move || pass_on(&notes, asked, &inputs));
        Ok(Links { handle, freezes, orders, socket, threads: Some([notes.map_err(no_thread)?, keeper]) })
    }
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

/// Shards' notes, as many as there are at once, until the last shard is gone. When the keeper is to stand still the shards
/// do so already: whatever they have said goes before.
fn pass_on(notes: &Receiver<Note>, mut asked: Receiver<Freeze>, inputs: &mpsc::Sender<Input>) {
    let rest =
        |first: Option<Note>| -> Vec<Note> { first.into_iter().chain(notes.try_iter()).take(NOTES_MAX).collect() };
    loop {
        let said = select! {
            recv(notes) -> note => Said::Note(note),
            recv(asked) -> freeze => Said::Freeze(freeze),
        };
        let read = match said {
            Said::Note(Ok(first)) => inputs.blocking_send(Input::Notes(rest(Some(first)))),
            Said::Note(Err(_)) => return,
            Said::Freeze(Ok(freeze)) => {
                let batches = std::iter::from_fn(|| Some(rest(None)).filter(|batch| !batch.is_empty()));
                let mut all = batches.map(Input::Notes).chain([Input::Freeze(freeze)]);
                all.try_for_each(|input| inputs.blocking_send(input))
            }
            Said::Freeze(Err(_)) => {
                asked = never();
                Ok(())
            }
        };
        if read.is_err() {
            return;
        }
    }
}

/// What [`pass_on`] hears.
enum Said {
    Note(Result<Note, RecvError>),
    Freeze(Result<Freeze, RecvError>),
}

/// Turns until the keeper has stopped: whatever has come in, then what is due.
async fn keep(mut keeper: Keeper, mut inputs: mpsc::Receiver<Input>, written: &Notify, site: &Site) {
    let clock = site.clock;
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
        if let Some(freeze) = keeper.asked_to_freeze()
            && stand_still(&mut keeper, freeze, written, site).await
        {
            return;
        }
    }
}
