//! The pinned thread of one core: tells its station the time, carries its packets to the driver and back.

use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender};
use strowger::base::{Instant, SocketKey, StreamKey};
use strowger::io::{Counters, Driver, Forward, Handler, Refused, StreamEvent};

use crate::core::Output;
use crate::core::news::News;
use crate::core::stats::Stats;
use crate::core::tick::Gathering;
use crate::machine::now;
use crate::station::{Station, Status};

/// How often the main thread hears of a core's status.
const STATUS_EVERY: Duration = Duration::from_millis(50);
/// RTP packets sent between two looks at what has arrived.
const PACKETS_PER_TURN: usize = 256;
/// Sockets asked for kernel drops with each piece of news; the figures at the end ask all.
const DROPS_PER_NEWS: usize = 64;
/// epoll sleeps in whole milliseconds; the rest is waited for busily.
const EPOLL_STEP: Duration = Duration::from_millis(1);

/// What the main thread asks.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Arrivals begin at this instant.
    Start(Instant),
    /// Tell the news.
    Tell,
    /// From this instant on so many arrivals per second, of all cores together; 0 is a pause.
    Rate(Instant, f64),
    /// No more arrivals; hang up.
    Drain,
    /// Take the registration back; what is still open has failed, unless the user has cut it off.
    Finish {
        /// The user did.
        cut_off: bool,
    },
}

/// What a core says.
pub struct Report {
    /// Which core.
    pub core: usize,
    /// How far it is.
    pub status: Status,
    /// [`Command::Finish`] is done.
    pub finished: bool,
    /// When asked for, and at the end.
    pub news: Option<Box<News>>,
    /// Its driver's counters.
    pub driver: Counters,
    /// At the end: copying all histograms while packets wait would make them late.
    pub figures: Option<Box<Stats>>,
}

/// One core.
pub struct Worker {
    /// Its number.
    pub core: usize,
    /// Where to pin it.
    pub pin: Option<core_affinity::CoreId>,
    /// Its sockets.
    pub driver: Box<dyn Driver>,
    /// How many of them.
    pub sockets: usize,
    /// Its calls.
    pub station: Station,
    /// Where it connects to and from.
    pub target: SocketAddr,
    /// Our address.
    pub local: SocketAddr,
    /// Whether to wait for the next tick.
    pub gathering: Gathering,
    /// Busy-wait the last millisecond where the driver cannot sleep exactly.
    pub spin: bool,
    /// From the main thread.
    pub commands: Receiver<Command>,
    /// To the main thread.
    pub reports: Sender<Report>,
    /// Set by the main thread to end the thread.
    pub stop: Arc<AtomicBool>,
}

struct Adapter<'a> {
    /// When the batch began.
    now: Instant,
    station: &'a mut Station,
    closing: &'a mut Vec<StreamKey>,
}

impl Handler for Adapter<'_> {
    fn on_batch(&mut self) {
        self.now = now();
    }

    fn on_datagram(&mut self, socket: SocketKey, from: SocketAddr, bytes: &mut [u8]) -> Option<Forward> {
        // Without the kernel's time the clock is read for each: the delay of the last packet of a batch must not hold the
        // work on the others.
        self.now = now();
        self.station.handle_datagram(self.now, self.now, socket, from, bytes);
        None
    }

    fn on_stamped(
        &mut self,
        arrived: Instant,
        socket: SocketKey,
        from: SocketAddr,
        bytes: &mut [u8],
    ) -> Option<Forward> {
        self.station.handle_datagram(self.now, arrived.min(self.now), socket, from, bytes);
        None
    }

    fn on_stream(&mut self, event: StreamEvent<'_>) {
        match event {
            StreamEvent::Accepted { stream, .. } => self.station.handle_accepted(stream),
            StreamEvent::Connected { stream, local } => self.station.handle_connected(stream, local),
            StreamEvent::Data { stream, bytes } => self.station.handle_data(now(), stream, bytes),
            StreamEvent::HalfClosed { stream } => {
                self.closing.push(stream);
                self.station.handle_closed(now(), stream);
            }
            StreamEvent::Closed { stream, .. } => self.station.handle_closed(now(), stream),
        }
    }

    fn on_send_error(&mut self, _socket: SocketKey, to: SocketAddr, kind: ErrorKind) {
        self.station.on_send_error(to, kind);
    }
}

impl Worker {
    /// Runs until stopped.
    pub fn run(mut self) {
        if let Some(core) = self.pin {
            core_affinity::set_for_current(core);
        }
        self.station.prepare(now());
        let (mut closing, mut finishing) = (Vec::new(), false);
        let mut next_report = now() + STATUS_EVERY;
        while !self.stop.load(Ordering::Acquire) {
            while let Ok(command) = self.commands.try_recv() {
                match command {
                    Command::Start(at) => self.station.start(at),
                    Command::Tell => {
                        let news = self.news();
                        self.report(false, Some(news), false);
                    }
                    Command::Rate(at, rate) => self.station.set_rate(at, rate),
                    Command::Drain => self.station.drain(now()),
                    Command::Finish { cut_off } => {
                        finishing = true;
                        self.station.finish(now(), cut_off);
                        self.report(false, None, true);
                    }
                }
            }
            self.station.handle_timeout(now());
            let more = self.send_due();
            let time = now();
            if time >= next_report || finishing && self.station.is_finished() {
                next_report = time + STATUS_EVERY;
                let finished = finishing && self.station.is_finished();
                let news = finished.then(|| self.news());
                self.report(finished, news, finished);
                if finished {
                    return;
                }
            }
            let deadline = self.station.next_deadline().map_or(next_report, |next| next.min(next_report));
            let waited = self.wait(deadline, more, &mut closing);
            if let Err(error) = waited {
                self.station.fail(format!("the {} driver failed: {error}", self.driver.name()));
            }
            closing.drain(..).for_each(|stream| self.driver.close_stream(stream));
        }
    }

    /// Waits for a deadline, and for what comes unless it is gathered.
    fn wait(&mut self, deadline: Instant, more: bool, closing: &mut Vec<StreamKey>) -> std::io::Result<()> {
        let now = now();
        let tick = if more { None } else { self.gathering.until(now, self.driver.counters().received) };
        let timeout = if more { Duration::ZERO } else { self.patience(deadline.since(now)) };
        let mut adapter = Adapter { now, station: &mut self.station, closing };
        match tick {
            Some(tick) => self.driver.gather(tick.min(deadline).since(now), &mut adapter),
            None => self.driver.wait(Some(timeout), &mut adapter),
        }
    }

    /// How long to sleep towards a deadline.
    fn patience(&self, left: Duration) -> Duration {
        if !self.spin {
            return left;
        }
        if left < EPOLL_STEP { Duration::ZERO } else { Duration::from_millis(left.as_millis() as u64) }
    }

    /// Sends every message, and of RTP one turn of what is due; true if there may be more. Messages that waited while others
    /// were read would have more behind them each time, and find their calls no longer in the caches.
    fn send_due(&mut self) -> bool {
        while let Some(message) = self.station.poll_message() {
            self.send(message);
        }
        for _ in 0..PACKETS_PER_TURN {
            let Some(packet) = self.station.poll_packet(now()) else { return false };
            self.send(packet);
        }
        true
    }

    fn send(&mut self, output: Output) {
        let refused = match output {
            Output::Datagram(socket, to, bytes) => self.driver.send(socket, to, bytes).err(),
            Output::Stream(stream, bytes) => self.driver.send_stream(stream, bytes).err(),
            Output::Connect(stream) => {
                if let Err(error) = self.driver.connect(stream, self.target, Some(self.local.ip())) {
                    self.station.fail(format!("cannot connect to {}: {error}", self.target));
                }
                None
            }
            Output::Log(line) => {
                // Whether somebody still listens is not the run's concern.
                let _ = writeln!(std::io::stderr(), "{line}");
                None
            }
            Output::Close(stream) => {
                self.driver.close_stream(stream);
                None
            }
        };
        // A connection that is gone says so by an event; a full queue is ours to answer for.
        if refused == Some(Refused::Full) {
            self.station.on_refused();
        }
    }

    fn news(&mut self) -> Box<News> {
        self.driver.sample_drops(DROPS_PER_NEWS);
        Box::new(self.station.take_news(now()))
    }

    fn report(&mut self, finished: bool, news: Option<Box<News>>, with_figures: bool) {
        let figures = with_figures.then(|| {
            self.driver.sample_drops(self.sockets);
            Box::new(self.station.stats().clone())
        });
        let (status, driver) = (self.station.status(), *self.driver.counters());
        // The main thread is gone only when the process ends.
        let _ = self.reports.send(Report { core: self.core, status, finished, news, driver, figures });
    }
}
