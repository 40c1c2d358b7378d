//! The thread that appends: whatever waits goes out as one batch with one fsync, and only then it is said to be durable.
//!
//! A disk that refuses loses nothing: the batch is cut off and written again, with a growing pause in between, and until
//! it is on disk nothing is acknowledged. After a failed fsync the kernel may forget what it could not write, so that
//! asking again is not enough: the octets are written again too.

use super::at_rest::{AtRest, Position};
use super::storage::Storage;
use crate::tally::Record;
use crate::tally::ledger;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Records that may wait for the disk; who finds it full keeps what it has and asks again.
pub const QUEUE_MAX: usize = 4_096;
/// Most records of one batch.
const BATCH_MAX: usize = 1_024;
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The file and where it stands.
#[derive(Debug)]
pub(super) struct Appender<S> {
    storage: S,
    /// Octets that are on disk for sure.
    bytes: u64,
    next_batch: u64,
    /// There may be octets behind them.
    dirty: bool,
    buffer: Vec<u8>,
}

impl<S: Storage> Appender<S> {
    pub(super) const fn new(storage: S, bytes: u64, next_batch: u64) -> Self {
        Self { storage, bytes, next_batch, dirty: false, buffer: Vec::new() }
    }

    /// One batch, on disk when this returns well; else as if it had never been tried.
    pub(super) fn commit(&mut self, records: &[Record]) -> io::Result<()> {
        if self.dirty {
            self.storage.truncate(self.bytes)?;
            self.dirty = false;
        }
        self.buffer.clear();
        ledger::put_batch(&mut self.buffer, self.next_batch, records).map_err(io::Error::other)?;
        self.dirty = true;
        self.storage.append(&self.buffer)?;
        self.storage.sync()?;
        self.dirty = false;
        self.bytes += self.buffer.len() as u64;
        self.next_batch += 1;
        Ok(())
    }

    /// These records in the place of everything so far.
    fn replace(&mut self, records: &[Record]) -> io::Result<()> {
        let octets = ledger::new_file(records).map_err(io::Error::other)?;
        self.storage.replace(&octets)?;
        self.bytes = octets.len() as u64;
        self.next_batch = ledger::BATCH_FIRST + 1;
        self.dirty = false;
        Ok(())
    }
}

/// What the keeper, metrics and readiness read.
#[derive(Debug)]
pub struct LedgerStatus {
    durable: AtomicU64,
    works: AtomicBool,
    bytes: AtomicU64,
    bytes_compact: AtomicU64,
    /// A compaction was offered and is not done.
    compacting: AtomicBool,
    records: AtomicU64,
    batches: AtomicU64,
    failures: AtomicU64,
    failing: Mutex<Option<String>>,
}

impl LedgerStatus {
    /// Every record up to this number is on disk.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.durable.load(Acquire)
    }

    /// False while the disk refuses: no right may be lent or placed.
    #[must_use]
    pub fn works(&self) -> bool {
        self.works.load(Acquire)
    }

    /// Why the disk refuses, while it does.
    #[must_use]
    pub fn failing(&self) -> Option<String> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Octets of the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// It has grown so much since it was compacted that doing it again pays.
    #[must_use]
    pub fn wants_compaction(&self) -> bool {
        const FREE_BYTES: u64 = 4 << 20;
        let grown = self.bytes() > FREE_BYTES + 4 * self.bytes_compact.load(Relaxed);
        grown && !self.compacting.load(Acquire)
    }

    /// Records, batches (one fsync each) and failed tries so far.
    #[must_use]
    pub fn counts(&self) -> [u64; 3] {
        [&self.records, &self.batches, &self.failures].map(|count| count.load(Relaxed))
    }

    fn set_failing(&self, why: Option<String>) {
        self.works.store(why.is_none(), Release);
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

enum Job {
    Append(u64, Record),
    Compact(Vec<Record>),
    Rest(Sender<io::Result<AtRest>>),
}

/// The queue is full, or the thread is gone: what was offered comes back.
#[derive(Debug, PartialEq, Eq)]
pub struct NotTaken<T>(pub T);

/// A running writer. Dropped, it writes what waits and ends.
#[derive(Debug)]
pub struct LedgerWriter {
    jobs: Option<Sender<Job>>,
    /// Dropped to end a pause of the thread.
    end: Option<Sender<()>>,
    status: Arc<LedgerStatus>,
    thread: Option<JoinHandle<()>>,
}

impl LedgerWriter {
    /// A record with its number; numbers only grow.
    ///
    /// # Errors
    /// It was not taken: offer it again after the next change.
    pub fn append(&self, seq: u64, record: Record) -> Result<(), NotTaken<Record>> {
        match self.offer(Job::Append(seq, record)) {
            Err(Job::Append(_, record)) => Err(NotTaken(record)),
            _ => Ok(()),
        }
    }

    /// Puts these records in the place of all that were offered before. They must say the same. If the disk refuses,
    /// the ledger only stays as long as it was, and the log says so.
    ///
    /// # Errors
    /// They were not taken.
    pub fn compact(&self, records: Vec<Record>) -> Result<(), NotTaken<Vec<Record>>> {
        self.status.compacting.store(true, Release);
        match self.offer(Job::Compact(records)) {
            Err(Job::Compact(records)) => {
                self.status.compacting.store(false, Release);
                Err(NotTaken(records))
            }
            _ => Ok(()),
        }
    }

    /// Asks where the file stands once everything that was offered before is on disk: for another process, which goes on from
    /// there if nothing is offered here any more. The answer comes before `changed` is called.
    ///
    /// # Errors
    /// It was not taken.
    pub fn rest(&self) -> Result<Receiver<io::Result<AtRest>>, NotTaken<()>> {
        let (reply, answer) = bounded(1);
        self.offer(Job::Rest(reply)).map_err(|_| NotTaken(()))?;
        Ok(answer)
    }

    fn offer(&self, job: Job) -> Result<(), Job> {
        let Some(jobs) = &self.jobs else { return Err(job) };
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(job) | TrySendError::Disconnected(job) => job,
        })
    }

    /// How many records would be taken now.
    #[must_use]
    pub fn room(&self) -> usize {
        self.jobs.as_ref().map_or(0, |jobs| QUEUE_MAX.saturating_sub(jobs.len()))
    }

    /// The thread has ended although nobody asked it to.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// How it stands.
    #[must_use]
    pub const fn status(&self) -> &Arc<LedgerStatus> {
        &self.status
    }
}

impl Drop for LedgerWriter {
    fn drop(&mut self) {
        self.jobs = None;
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts the thread. `changed` is called after each batch, when the disk begins or ceases to refuse, and when it rests; it
/// must not block. The lock is held as long as the thread lives.
pub(super) fn start<S: Storage>(
    appender: Appender<S>,
    lock: Option<File>,
    from: Position,
    changed: impl Fn() + Send + 'static,
) -> io::Result<LedgerWriter> {
    let [records, batches, failures] = from.counts.map(AtomicU64::new);
    let status = Arc::new(LedgerStatus {
        durable: AtomicU64::new(from.durable),
        works: AtomicBool::new(true),
        bytes: AtomicU64::new(appender.bytes),
        bytes_compact: AtomicU64::new(0),
        compacting: AtomicBool::new(false),
        records,
        batches,
        failures,
        failing: Mutex::new(None),
    });
    let (sender, receiver) = bounded(QUEUE_MAX);
    let (end, ended) = bounded(0);
    let mut worker = Worker { appender, lock, status: Arc::clone(&status), jobs: receiver, ended, changed };
    let thread = std::thread::Builder::new().name("ledger".into()).spawn(move || worker.run())?;
    Ok(LedgerWriter { jobs: Some(sender), end: Some(end), status, thread: Some(thread) })
}

struct Worker<S, F> {
    appender: Appender<S>,
    lock: Option<File>,
    status: Arc<LedgerStatus>,
    jobs: Receiver<Job>,
    ended: Receiver<()>,
    changed: F,
}

impl<S: Storage, F: Fn()> Worker<S, F> {
    fn run(&mut self) {
        let mut batch = Vec::new();
        while let Ok(first) = self.jobs.recv() {
            let mut last = 0;
            let (mut compact, mut rest) = (None, None);
            for job in std::iter::once(first).chain(self.jobs.try_iter()) {
                match job {
                    Job::Append(seq, record) => {
                        last = seq;
                        batch.push(record);
                    }
                    Job::Compact(records) => compact = Some(records),
                    Job::Rest(reply) => rest = Some(reply),
                }
                if compact.is_some() || rest.is_some() || batch.len() >= BATCH_MAX {
                    break;
                }
            }
            if !batch.is_empty() && !self.commit(&batch, last) {
                tracing::error!(records = batch.len(), "the ledger could not be written before the end");
                return;
            }
            batch.clear();
            if let Some(records) = compact {
                self.compact(&records);
            }
            if let Some(reply) = rest {
                let _ = reply.send(self.at_rest());
                (self.changed)();
            }
        }
    }

    /// Where it stands; nothing is under way.
    fn at_rest(&self) -> io::Result<AtRest> {
        let lock = self.lock.as_ref().ok_or(io::ErrorKind::Unsupported)?.try_clone()?;
        let position = Position {
            bytes: self.appender.bytes,
            next_batch: self.appender.next_batch,
            durable: self.status.durable(),
            counts: self.status.counts(),
        };
        Ok(AtRest { position, file: self.appender.storage.descriptor()?, lock: lock.into() })
    }

    /// Tries until it is on disk. False: the end came first.
    fn commit(&mut self, batch: &[Record], last: u64) -> bool {
        let mut pause = PAUSE_MIN;
        while let Err(error) = self.appender.commit(batch) {
            self.failed(&error);
            if self.ended.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                return self.appender.commit(batch).is_ok();
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
        if !self.status.works() {
            self.status.set_failing(None);
            tracing::info!("the ledger can be written again");
        }
        self.status.records.fetch_add(batch.len() as u64, Relaxed);
        self.status.batches.fetch_add(1, Relaxed);
        self.status.bytes.store(self.appender.bytes, Relaxed);
        self.status.durable.store(last, Release);
        (self.changed)();
        true
    }

    fn failed(&self, error: &io::Error) {
        self.status.failures.fetch_add(1, Relaxed);
        if self.status.works() {
            self.status.set_failing(Some(error.to_string()));
            tracing::error!(%error, "the ledger cannot be written: no right is lent until it can");
            (self.changed)();
        }
    }

    fn compact(&mut self, records: &[Record]) {
        let replaced = self.appender.replace(records);
        // The folder's sync belongs to it; until that has been done, no batch is acknowledged.
        match replaced.and_then(|()| self.appender.storage.sync()) {
            Ok(()) => {
                self.status.bytes_compact.store(self.appender.bytes, Relaxed);
                self.status.bytes.store(self.appender.bytes, Relaxed);
            }
            Err(error) => {
                self.status.failures.fetch_add(1, Relaxed);
                // Not at once again: only when it has grown as much once more.
                self.status.bytes_compact.store(self.appender.bytes, Relaxed);
                tracing::warn!(%error, "the ledger could not be compacted");
            }
        }
        self.status.compacting.store(false, Release);
    }
}
