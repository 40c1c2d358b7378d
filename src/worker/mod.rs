//! The pinned-thread loop: one [`Worker`] drives one shard on one driver, and is the only place that tells it the time.
//!
//! A turn of the loop is: wait for the kernel, stamp `now` once, hand the whole batch to the shard, read the mail, fire
//! what is due, drain the outputs into the driver, the other shards' mailboxes ([`Post`]), the log and the record
//! writer. Nothing here blocks but the wait, and every queue that leaves the thread is bounded.

mod clock;
mod core;
mod gate;
mod hands;
mod outputs;
mod post;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::Sender;

use crate::base::{Instant, ShardId, SocketKey, StreamKey};
use crate::io::{Counters as DriverCounters, Driver, Released, UdpOptions};
use crate::observe::{CallRecord, Counter, Counters, DropReason, Event, Level, Verbosity};
use crate::shard::Input;
use crate::tally::Note;
pub use clock::Clock;
pub use core::Core;
pub use core_affinity::CoreId;
use gate::Still;
pub use gate::{Barrier, Gate, Parcel};
use hands::Hands;
pub use post::Post;

/// Letters read before the sockets have their turn again.
const LETTERS: usize = 256;
/// The longest wait, and how often figures are copied and kernel drops sampled.
const TICK: Duration = Duration::from_secs(1);
/// Sockets asked each tick for what the kernel dropped.
const SAMPLED: usize = 64;
/// How long a connection lives after its peer has finished sending, for the answers that are still open.
const LINGER: Duration = Duration::from_secs(5);
/// Connections that may linger; beyond that the oldest is closed at once.
const LINGERING: usize = 1024;
/// Where a worker puts what leaves its thread.
#[derive(Clone, Debug)]
pub struct Outlets {
    /// To the record writer.
    pub records: Sender<Box<CallRecord>>,
    /// To the log.
    pub events: Sender<Event>,
    /// Which of them are written.
    pub verbosity: Verbosity,
    /// To the keeper of the rights, where there is one.
    pub notes: Option<Sender<Note>>,
}

/// What a worker is made of, besides its driver and its shard.
#[derive(Debug)]
pub struct Options {
    /// Which shard it drives.
    pub shard: ShardId,
    /// The process's clock: the same for all workers.
    pub clock: Clock,
    /// The way to the other shards.
    pub post: Arc<Post>,
    /// The way out.
    pub outlets: Outlets,
    /// The shard's cells; the worker writes those of the driver and the loop.
    pub counters: Arc<Counters>,
    /// `SO_RCVBUF` of media sockets; 0 keeps the kernel's default.
    pub media_receive_buffer_bytes: usize,
    /// Where it stands still when another process takes over.
    pub gate: Option<Gate>,
}

/// See the [module](self).
pub struct Worker<C> {
    options: Options,
    driver: Box<dyn Driver>,
    core: C,
    now: Instant,
    tick: Instant,
    /// Connections whose peer sends no more, and until when they stay; oldest first.
    lingering: VecDeque<(Instant, StreamKey)>,
    records: VecDeque<Box<CallRecord>>,
    published: DriverCounters,
    /// The keeper has missed a note.
    notes_lost: bool,
    /// A beat of the keeper's, and how many letters that were there before it wait yet.
    beat: Option<(Instant, usize)>,
    stopped: bool,
}

impl<C: Core> Worker<C> {
    /// A worker that does nothing yet. Letters posted from now on are kept.
    #[must_use]
    pub fn new(options: Options, driver: Box<dyn Driver>, core: C) -> Self {
        options.post.attach(options.shard, driver.waker());
        let now = options.clock.now();
        Self {
            driver,
            core,
            now,
            tick: now + TICK,
            lingering: VecDeque::new(),
            records: VecDeque::new(),
            published: DriverCounters::default(),
            notes_lost: false,
            beat: None,
            stopped: false,
            options,
        }
    }

    /// Opens a UDP socket for signalling, so that a port in use is known before the thread starts.
    ///
    /// # Errors
    /// See [`Driver::open_udp`].
    pub fn open_udp(&mut self, key: SocketKey, options: &UdpOptions) -> io::Result<SocketAddr> {
        self.driver.open_udp(key, options)
    }

    /// Opens a TCP listener.
    ///
    /// # Errors
    /// See [`Driver::listen`].
    pub fn listen(&mut self, key: SocketKey, bind: SocketAddr, reuse_port: bool) -> io::Result<SocketAddr> {
        self.driver.listen(key, bind, reuse_port)
    }

    /// Takes on the sockets of another life, and the connections that lingered in it.
    ///
    /// # Errors
    /// See [`Driver::adopt`].
    pub fn adopt(&mut self, released: Released, lingering: Vec<(Instant, StreamKey)>) -> io::Result<()> {
        self.lingering = lingering.into();
        self.driver.adopt(released)
    }

    /// Runs on a thread of its own, pinned to `pin` if given, until the shard says that it has stopped.
    ///
    /// # Errors
    /// No thread could be made. What the thread returns is the driver's failure, if it broke.
    pub fn spawn(self, pin: Option<CoreId>) -> io::Result<JoinHandle<io::Result<()>>>
    where
        C: 'static,
    {
        let name = format!("shard-{}", self.options.shard.0);
        std::thread::Builder::new().name(name).spawn(move || {
            if let Some(pin) = pin
                && !core_affinity::set_for_current(pin)
            {
                let event = self.event(Level::Warn, "cannot pin the shard").number("core", pin.id as u64);
                self.emit(event);
            }
            self.run()
        })
    }

    /// Runs on this thread until the shard says that it has stopped.
    ///
    /// # Errors
    /// The driver broke.
    pub fn run(mut self) -> io::Result<()> {
        // A shard that panics must not look alive to those who write to it.
        let leaving = self.options.post.leaving(self.options.shard);
        while !self.stopped {
            self.turn()?;
        }
        drop(leaving);
        self.driver.wait(Some(Duration::ZERO), &mut Hands::new(self.options.clock, &mut self.core))
    }

    /// One turn of the loop.
    ///
    /// # Errors
    /// The driver broke.
    pub fn turn(&mut self) -> io::Result<()> {
        self.drain();
        if self.stopped {
            return Ok(());
        }
        if self.options.gate.as_ref().is_some_and(Gate::is_closed) {
            return self.stand_still();
        }
        let before = self.options.clock.now();
        self.options.counters.add(Counter::LoopBusyNanos, nanos(before.since(self.now)));
        let timeout = if self.options.post.is_empty(self.options.shard) {
            due(self.core.next_deadline(), self.tick).since(before)
        } else {
            Duration::ZERO
        };
        let mut hands = Hands::new(self.options.clock, &mut self.core);
        let waited = self.driver.wait(Some(timeout), &mut hands);
        self.now = hands.now();
        self.lingering.extend(hands.finished.drain(..).map(|stream| (self.now + LINGER, stream)));
        waited?;
        self.options.counters.count(Counter::LoopWakes);
        self.read_mail();
        if self.core.next_deadline().is_some_and(|deadline| deadline <= self.now) {
            self.core.handle_timeout(self.now);
        }
        self.end_lingering();
        if self.now >= self.tick {
            self.tick = self.now + TICK;
            self.driver.sample_drops(SAMPLED);
            self.publish();
        }
        Ok(())
    }

    /// Stops reading, gives up everything, and takes it back or leaves.
    fn stand_still(&mut self) -> io::Result<()> {
        let mut hands = Hands::new(self.options.clock, &mut self.core);
        let paused = self.driver.pause(&mut hands);
        self.now = hands.now();
        self.lingering.extend(hands.finished.drain(..).map(|stream| (self.now + LINGER, stream)));
        self.drain();
        let released = paused.and_then(|()| self.driver.release());
        self.publish();
        let Some(gate) = &self.options.gate else { return Ok(()) };
        let released = match released {
            Ok(released) => released,
            Err(error) => {
                gate.broken(io::Error::new(error.kind(), error.to_string()));
                return Err(error);
            }
        };
        let frozen = self.core.freeze(self.now, gate.waiting());
        let still = Still { shard: self.options.shard, frozen, counts: self.options.counters.counts() };
        let lingering = self.lingering.iter().copied().collect();
        match gate.wait(still, lingering, released) {
            Some(released) => self.driver.adopt(released),
            None => {
                self.stopped = true;
                // The writer is still there, and nothing else is to be done.
                self.records.drain(..).for_each(|record| drop(self.options.outlets.records.send(record)));
                Ok(())
            }
        }
    }

    fn read_mail(&mut self) {
        let shard = self.options.shard;
        let (beat, mut before) = match self.beat.take() {
            Some(beat) => beat,
            None => (self.core.last_beat(), self.options.post.len(shard)),
        };
        for _ in 0..LETTERS {
            let Some(mail) = self.options.post.take(shard) else { break };
            before = before.saturating_sub(1);
            self.core.handle(self.now, Input::Mail(mail));
        }
        if before == 0 {
            self.core.has_read_mail(self.now, beat);
        } else {
            self.beat = Some((beat, before));
        }
    }

    fn end_lingering(&mut self) {
        while let Some((until, stream)) = self.lingering.front().copied()
            && (until <= self.now || self.lingering.len() > LINGERING)
        {
            self.lingering.pop_front();
            self.driver.close_stream(stream);
            self.core.handle(self.now, Input::StreamClosed { stream });
        }
    }

    /// Does what the shard wants done, until it wants nothing more.
    fn drain(&mut self) {
        while let Some(output) = self.core.poll_output() {
            self.apply(output);
        }
        self.make_up_for_notes();
        self.pass_on_records();
    }

    /// Copies the driver's news into the shard's cells.
    fn publish(&mut self) {
        let (now, then) = (*self.driver.counters(), std::mem::replace(&mut self.published, *self.driver.counters()));
        let news = [
            (DropReason::SendFull, now.send_dropped - then.send_dropped),
            (DropReason::SendError, now.send_failed - then.send_failed),
            (DropReason::UnknownSocket, now.send_gone - then.send_gone),
            (DropReason::Truncated, now.truncated - then.truncated),
            (DropReason::BuffersEmpty, now.kernel_dropped - then.kernel_dropped),
            (DropReason::StreamFull, now.stream_full - then.stream_full),
            (DropReason::ConnectionsFull, now.accept_refused - then.accept_refused),
        ];
        for (reason, count) in news {
            if count > 0 {
                self.options.counters.count_drops(reason, count);
            }
        }
    }
}

/// When to wake: figures can wait for a deadline that comes soon after their time, which is a wake-up less.
fn due(deadline: Option<Instant>, tick: Instant) -> Instant {
    deadline.filter(|deadline| *deadline <= tick + TICK / 2).unwrap_or(tick)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The cores this process may use, one for each shard.
#[must_use]
pub fn cores() -> Vec<CoreId> {
    core_affinity::get_core_ids().unwrap_or_default()
}

#[cfg(test)]
mod tests;
