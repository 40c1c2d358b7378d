//! How all workers are made to stand still, give up what they have to another process, and then leave or go on.
//!
//! Owned by the supervisor, which closes the gate; a worker that finds it closed stops reading, hands in a [`Parcel`] and
//! waits for the verdict. Packets wait in the sockets meanwhile.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};

use super::Post;
use crate::base::{self, ShardId, StreamKey};
use crate::io::Released;
use crate::shard::Waiting;

/// What one worker has.
#[derive(Debug)]
pub struct Parcel {
    /// Which one.
    pub shard: ShardId,
    /// Its shard, as octets.
    pub frozen: Vec<u8>,
    /// Connections whose peer sends no more, and until when they stay.
    pub lingering: Vec<(base::Instant, StreamKey)>,
    /// What its cells had counted.
    pub counts: BTreeMap<String, u64>,
    released: Arc<Mutex<Released>>,
}

impl Parcel {
    /// Its descriptors. They stay the worker's, which takes them back if it goes on.
    pub fn released(&self) -> MutexGuard<'_, Released> {
        self.released.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A shard that stands still.
pub(super) struct Still {
    pub(super) shard: ShardId,
    pub(super) frozen: Vec<u8>,
    pub(super) counts: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    GoOn,
    Leave,
}

/// A worker's side.
#[derive(Debug)]
pub struct Gate {
    closed: Arc<AtomicBool>,
    below: Arc<AtomicBool>,
    parcels: Sender<std::io::Result<Parcel>>,
    verdicts: Receiver<Verdict>,
}

impl Gate {
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Where settled streams wait while it is closed.
    pub(super) fn waiting(&self) -> Waiting {
        if self.below.load(Ordering::Acquire) { Waiting::Below } else { Waiting::OnSockets }
    }

    pub(super) fn broken(&self, error: std::io::Error) {
        let _ = self.parcels.send(Err(error));
    }

    /// Hands in what there is and waits. None: leave. Else what was released comes back.
    pub(super) fn wait(
        &self,
        still: Still,
        lingering: Vec<(base::Instant, StreamKey)>,
        released: Released,
    ) -> Option<Released> {
        let kept = Arc::new(Mutex::new(released));
        let Still { shard, frozen, counts } = still;
        let parcel = Parcel { shard, frozen, lingering, counts, released: Arc::clone(&kept) };
        if self.parcels.send(Ok(parcel)).is_err() || self.verdicts.recv() != Ok(Verdict::Leave) {
            return Some(std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner)));
        }
        None
    }
}

/// The supervisor's side.
#[derive(Debug)]
pub struct Barrier {
    post: Arc<Post>,
    closed: Arc<AtomicBool>,
    below: Arc<AtomicBool>,
    parcels: Receiver<std::io::Result<Parcel>>,
    verdicts: Vec<Sender<Verdict>>,
    old_verdicts: Vec<Receiver<Verdict>>,
}

impl Barrier {
    /// With a gate for each shard.
    #[must_use]
    pub fn new(post: &Arc<Post>) -> (Self, Vec<Gate>) {
        let (closed, below) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (sender, parcels) = unbounded();
        let (verdicts, receivers): (Vec<_>, Vec<Receiver<Verdict>>) = (0..post.shards()).map(|_| bounded(1)).unzip();
        let gate = |verdicts: &Receiver<Verdict>| Gate {
            closed: Arc::clone(&closed),
            below: Arc::clone(&below),
            parcels: sender.clone(),
            verdicts: verdicts.clone(),
        };
        let gates = receivers.iter().map(gate).collect();
        (Self { post: Arc::clone(post), closed, below, parcels, verdicts, old_verdicts: receivers }, gates)
    }

    /// Closes the gate and waits for everybody's parcel, in the order of shards. One of [`leave`](Self::leave) and
    /// [`go_on`](Self::go_on) must follow.
    ///
    /// # Errors
    /// Somebody does not come, or cannot stop: those who came go on already.
    pub fn stop_all(&self, wait: Duration, waiting: Waiting) -> Result<Vec<Parcel>, String> {
        // Left over from an earlier attempt.
        for verdicts in &self.old_verdicts {
            let _ = verdicts.try_recv();
        }
        while self.parcels.try_recv().is_ok() {}
        self.below.store(waiting == Waiting::Below, Ordering::Release);
        self.closed.store(true, Ordering::Release);
        (0..self.post.shards()).for_each(|shard| self.post.wake(ShardId(shard)));
        let deadline = Instant::now() + wait;
        let mut parcels = Vec::with_capacity(self.verdicts.len());
        while parcels.len() < self.verdicts.len() {
            match self.parcels.recv_deadline(deadline) {
                Ok(Ok(parcel)) => parcels.push(parcel),
                Ok(Err(error)) => {
                    self.go_on();
                    return Err(format!("a shard could not be stopped: {error}"));
                }
                Err(_) => {
                    self.go_on();
                    return Err(format!("not all shards stood still within {} s", wait.as_secs()));
                }
            }
        }
        parcels.sort_by_key(|parcel| parcel.shard);
        Ok(parcels)
    }

    /// Everybody takes back what it had.
    pub fn go_on(&self) {
        self.end(Verdict::GoOn);
    }

    /// Everybody ends without hanging anything up.
    pub fn leave(&self) {
        self.end(Verdict::Leave);
    }

    fn end(&self, verdict: Verdict) {
        self.closed.store(false, Ordering::Release);
        for sender in &self.verdicts {
            let _ = sender.try_send(verdict);
        }
    }
}
