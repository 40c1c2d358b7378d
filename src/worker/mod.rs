//! The pinned-thread loop: one [`Worker`] drives one shard on one driver, and is the only place that tells it the time.
//!
//! A turn of the loop is: wait for the kernel, stamp `now` once, hand the whole batch to the shard, read the mail, fire
//! what is due, drain the outputs into the driver, the other shards' mailboxes ([`Post`]), the log and the record
//! writer. Nothing here blocks but the wait, and every queue that leaves the thread is bounded.

mod clock;
mod core;
mod gate;
mod hands;
mod post;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Sender, TrySendError};

use crate::base::{Instant, ShardId, SocketKey, StreamKey};
use crate::io::{Counters as DriverCounters, Driver, Refused, Released, UdpOptions};
use crate::observe::{CallRecord, Counter, Counters, DropReason, Event, Level, Verbosity};
use crate::shard::{Input, Mail, Output};
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
/// Records kept while the writer's queue is full. The shard refuses calls long before.
const RECORDS: usize = 1 << 16;

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

    fn apply(&mut self, output: Output) {
        match output {
            Output::Send { socket, to, bytes } => {
                // The driver counts; for the shard a socket that is gone and one that fails are the same.
                if self.driver.send(socket, to, bytes).is_err() {
                    self.core.handle(self.now, Input::SendFailed { socket, to });
                }
            }
            Output::StreamSend { stream, bytes } => match self.driver.send_stream(stream, bytes) {
                Ok(()) => {}
                Err(refused) => {
                    // A peer that does not read is as good as gone: what was cut out of a stream cannot be sent later.
                    if refused == Refused::Full {
                        self.driver.close_stream(stream);
                    }
                    self.core.handle(self.now, Input::StreamClosed { stream });
                }
            },
            Output::Connect { stream, to } => {
                if let Err(error) = self.driver.connect(stream, to, None) {
                    let event = self.event(Level::Warn, "cannot connect").address("peer", to);
                    self.emit(event.text("error", error.to_string()));
                    self.core.handle(self.now, Input::StreamClosed { stream });
                }
            }
            Output::CloseStream { stream } => self.driver.close_stream(stream),
            Output::OpenUdp { socket, bind, dscp } => self.open_media(socket, bind, dscp),
            Output::SetDscp { socket, dscp } => {
                if let Err(error) = self.driver.set_dscp(socket, dscp) {
                    let event = self.event(Level::Warn, "cannot set DSCP").number("dscp", u64::from(dscp));
                    self.emit(event.text("error", error.to_string()));
                }
            }
            Output::Mail { to, mail } if to == self.options.shard => {
                self.core.handle(self.now, Input::Mail(mail));
            }
            Output::Mail { to, mail } => {
                let driver = &mut self.driver;
                let sent = self.options.post.post_by(to, mail, |waker| driver.wake(waker));
                self.options.counters.count(Counter::MailSent);
                if !sent {
                    self.options.counters.count_drop(DropReason::MailFull);
                }
            }
            Output::Record(record) => {
                if self.records.len() < RECORDS {
                    self.records.push_back(record);
                } else {
                    self.options.counters.count_drop(DropReason::RecordsFull);
                }
            }
            Output::Event(event) => self.emit(*event),
            Output::Note(note) => self.pass_on(note),
            Output::Stopped => self.stopped = true,
        }
    }

    fn open_media(&mut self, socket: SocketKey, bind: SocketAddr, dscp: u8) {
        let receive_buffer_bytes = self.options.media_receive_buffer_bytes;
        let options = UdpOptions { dscp, receive_buffer_bytes, ..UdpOptions::media(bind) };
        if let Err(error) = self.driver.open_udp(socket, &options) {
            let event = self.event(Level::Warn, "cannot open a media port").address("address", bind);
            self.emit(event.text("error", error.to_string()));
            self.core.handle(self.now, Input::SocketFailed { socket });
        }
    }

    fn event(&self, level: Level, what: &'static str) -> Event {
        Event::new(self.now, self.options.shard, level, what)
    }

    fn emit(&self, event: Event) {
        let outlets = &self.options.outlets;
        if outlets.verbosity.takes(event.level as u8) && outlets.events.try_send(event).is_err() {
            self.options.counters.count_drop(DropReason::EventsFull);
        }
    }

    fn pass_on(&mut self, note: Note) {
        let Some(notes) = &self.options.outlets.notes else { return };
        match notes.try_send(note) {
            Ok(()) => {}
            // Nothing hangs on a wish, and a call that asked hears no answer in time.
            Err(TrySendError::Full(note)) => {
                self.options.counters.count_drop(DropReason::NotesFull);
                self.notes_lost |= !matches!(note, Note::Wanted { .. } | Note::Borrow { .. } | Note::Phones { .. });
            }
            Err(TrySendError::Disconnected(_)) => self.options.counters.count_drop(DropReason::NotesFull),
        }
    }

    /// Once there is room again, the keeper hears of all calls anew, in the same queue: nothing that was lost stays lost.
    fn make_up_for_notes(&mut self) {
        let Some(notes) = self.options.outlets.notes.as_ref().filter(|_| self.notes_lost) else { return };
        if notes.len() * 2 <= notes.capacity().unwrap_or(usize::MAX) {
            self.notes_lost = false;
            self.core.handle(self.now, Input::Mail(Mail::TellCalls));
            while let Some(output) = self.core.poll_output() {
                self.apply(output);
            }
        }
    }

    /// Records wait here while the writer's queue is full, and the shard is told how many wait in all.
    fn pass_on_records(&mut self) {
        while let Some(record) = self.records.pop_front() {
            match self.options.outlets.records.try_send(record) {
                Ok(()) => {}
                Err(TrySendError::Full(record)) => {
                    self.records.push_front(record);
                    break;
                }
                Err(TrySendError::Disconnected(_)) => self.options.counters.count_drop(DropReason::RecordsFull),
            }
        }
        self.core.set_records_waiting(self.records.len() + self.options.outlets.records.len());
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
