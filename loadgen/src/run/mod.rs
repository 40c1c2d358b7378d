//! Runs the threads: start when all are ready, a line per second, the end, and what came of it.

mod ending;
mod interrupts;
mod onlooker;
mod outcome;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use strowger::base::Instant;
use strowger::io::{Counters as DriverCounters, Waker};

use crate::cli::Common;
use crate::core::news::News;
use crate::core::stats::Stats;
use crate::core::tick::Gathering;
use crate::core::{Job, Plan};
use crate::machine::{cpu_seconds, now};
use crate::pace::Pace;
use crate::preflight::Trouble;
use crate::series::Series;
use crate::setup::Setup;
use crate::station::Status;
use crate::watch::Watch;
use crate::worker::{Command, Report, Worker};

pub use outcome::{End, Outcome};

/// Connections and the registration of the answering side must be up by then.
const READY_MAX: Duration = Duration::from_secs(35);
/// From readiness to the first arrival.
const LEAD: Duration = Duration::from_millis(50);
/// How long the answering side may have calls up after the calling side has none.
const UAS_GRACE: Duration = Duration::from_secs(5);
/// How long the end may take: the registration taken back, last figures.
const FINISH_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// One point of the course of the run.
const POINT_EVERY: Duration = Duration::from_secs(1);

struct Handle {
    commands: Sender<Command>,
    waker: Waker,
    thread: JoinHandle<()>,
    status: Status,
    finished: bool,
    news: Option<Box<News>>,
    stats: Stats,
    driver: DriverCounters,
}

struct Runner<'a> {
    command: &'static str,
    common: &'a Common,
    plan: Arc<Plan>,
    concurrent: u32,
    backend: &'static str,
    handles: Vec<Handle>,
    reports: Receiver<Report>,
    interrupts: Arc<AtomicU32>,
    watch: &'a mut dyn Watch,
    series: Series,
    start: Instant,
    draining: bool,
    pace: Pace,
    notice: Option<String>,
}

/// Runs to the end, while `watch` looks on.
pub fn run(command: &'static str, common: &Common, setup: Setup, watch: &mut dyn Watch) -> Result<Outcome, Trouble> {
    let interrupts = interrupts::watch();
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, reports) = unbounded();
    let spin =
        setup.backend == "epoll" && !common.no_spin && std::thread::available_parallelism().map_or(1, usize::from) > 1;
    let plan = setup.plan.clone();
    let mut handles = Vec::new();
    for (core, part) in setup.cores.into_iter().enumerate() {
        let (commands, receiver) = unbounded();
        let worker = Worker {
            core,
            pin: setup.pins.get(core).copied().flatten(),
            driver: part.driver,
            sockets: part.sockets,
            station: part.station,
            target: plan.target,
            local: setup.local,
            gathering: Gathering::new(setup.plan.tick),
            spin,
            commands: receiver,
            reports: sender.clone(),
            stop: stop.clone(),
        };
        let waker = worker.driver.waker();
        let thread = std::thread::Builder::new().name(format!("load-{core}")).spawn(move || worker.run());
        let thread = thread.map_err(|error| Trouble::outside(format!("no thread can be started: {error}")))?;
        let (status, stats, driver) = Default::default();
        handles.push(Handle { commands, waker, thread, status, finished: false, news: None, stats, driver });
    }
    let mut runner = Runner {
        command,
        common,
        pace: Pace::new(plan.load.rate),
        plan,
        concurrent: setup.concurrent,
        backend: setup.backend,
        handles,
        reports,
        interrupts,
        watch,
        series: Series::default(),
        start: now(),
        draining: false,
        notice: None,
    };
    let outcome = runner.drive(setup.timeout);
    stop.store(true, Ordering::Release);
    for handle in runner.handles {
        handle.waker.wake();
        let _ = handle.thread.join();
    }
    Ok(outcome)
}

impl Runner<'_> {
    fn drive(&mut self, timeout: Option<Duration>) -> Outcome {
        let mut sentences = Vec::new();
        let cpu_before = cpu_seconds();
        self.start = now();
        let mut end = self.get_ready(self.start, &mut sentences);
        if end == End::Done {
            self.start = now() + LEAD;
            self.tell(Command::Start(self.start));
            self.show(self.start);
            end = self.watch(timeout, &mut sentences);
        }
        let elapsed = now().since(self.start);
        let cut_off = self.interrupts.load(Ordering::Relaxed) > 1;
        self.finish(cut_off);
        let (up_uac, up_uas) = self.up();
        if cut_off && up_uac.max(up_uas) > 0 {
            sentences.push(format!(
                "{} calls were up when the run was cut off; they count as begun only",
                up_uac.max(up_uas)
            ));
        }
        let mut stats = Stats::default();
        self.handles.iter().for_each(|handle| stats.merge(&handle.stats));
        let (driver, series) = (self.driver(), std::mem::take(&mut self.series));
        let (cpu_s, changes) = (cpu_seconds() - cpu_before, self.pace.changes().to_vec());
        let interrupted = self.interrupts.load(Ordering::Relaxed) > 0;
        Outcome { stats, driver, end, elapsed, cpu_s, sentences, series, changes, interrupted }
    }

    fn driver(&self) -> DriverCounters {
        let mut sum = DriverCounters::default();
        self.handles.iter().for_each(|handle| add(&mut sum, &handle.driver));
        sum
    }

    fn tell(&self, command: Command) {
        for handle in &self.handles {
            // A thread that is gone has said why, or its join will.
            let _ = handle.commands.send(command);
            handle.waker.wake();
        }
    }

    /// Takes reports until `until`; false when all threads are gone.
    fn listen(&mut self, until: Instant) -> bool {
        loop {
            match self.reports.recv_timeout(until.since(now())) {
                Ok(report) => {
                    let handle = &mut self.handles[report.core];
                    handle.status = report.status;
                    handle.finished |= report.finished;
                    handle.driver = report.driver;
                    handle.news = report.news.or(handle.news.take());
                    if let Some(figures) = report.figures {
                        handle.stats = *figures;
                    }
                }
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    fn fatal(&self) -> Option<String> {
        self.handles.iter().find_map(|handle| handle.status.fatal.clone())
    }

    fn get_ready(&mut self, since: Instant, sentences: &mut Vec<String>) -> End {
        loop {
            let alive = self.listen(now() + LOOK_EVERY);
            if let Some(sentence) = self.fatal() {
                sentences.push(sentence);
                return End::Broken;
            }
            if self.handles.iter().all(|handle| handle.status.ready) {
                return End::Done;
            }
            if now().since(since) > READY_MAX || !alive || self.interrupts.load(Ordering::Relaxed) > 0 {
                sentences.push(format!(
                    "{} did not take our connections and registration within {READY_MAX:?}; is it the right server?",
                    self.plan.target
                ));
                return End::Broken;
            }
        }
    }

    fn watch(&mut self, timeout: Option<Duration>, sentences: &mut Vec<String>) -> End {
        let answering_only = matches!(self.plan.job, Job::Calls { uac: false, .. });
        let mut next_point = self.start + POINT_EVERY;
        let mut over_since = None;
        loop {
            let alive = self.listen(now() + LOOK_EVERY);
            let time = now();
            if time >= next_point {
                // Seconds that this thread has slept through are not told one by one afterwards.
                next_point = (next_point + POINT_EVERY).max(time + POINT_EVERY / 2);
                self.tell(Command::Tell);
            }
            if self.handles.iter().all(|handle| handle.news.is_some()) {
                self.point();
                self.show(time);
            }
            if let Some(end) = self.heed(time) {
                return end;
            }
            if let Some(trouble) = self.trouble(time.since(self.start), alive) {
                sentences.push(trouble);
                return End::Broken;
            }
            // How long a run takes at most cannot be said beforehand once its rate is in the user's hands.
            let timeout = timeout.filter(|_| self.pace.changes().is_empty()).or(self.common.timeout);
            if timeout.is_some_and(|timeout| time.since(self.start) >= timeout) {
                sentences.push("the overall --timeout came before the last call ended".into());
                return End::TimedOut;
            }
            let interrupts = self.interrupts.load(Ordering::Relaxed);
            let elapsed = answering_only && self.answering_done(time.since(self.start));
            if (interrupts > 0 || elapsed) && !self.draining {
                self.draining = true;
                self.tell(Command::Drain);
            }
            let (up_uac, up_uas) = self.up();
            let over = self.handles.iter().all(|handle| handle.status.over) && (!answering_only || self.draining);
            if interrupts > 1 || over && up_uac + up_uas == 0 {
                return End::Done;
            }
            if over && time.since(*over_since.get_or_insert(time)) >= UAS_GRACE {
                sentences
                    .push(format!("{up_uas} calls were still up on the answering side {UAS_GRACE:?} after the end"));
                return End::Done;
            }
        }
    }

    /// Puts what all cores have told together: one point more, as of when they told it.
    fn point(&mut self) {
        let mut sum = News::default();
        self.handles.iter_mut().filter_map(|handle| handle.news.take()).for_each(|news| sum.merge(*news));
        self.series.push(sum.at.since(self.start), self.pace.rate(), sum);
    }

    fn up(&self) -> (usize, usize) {
        let sum = |of: fn(&Status) -> usize| self.handles.iter().map(|handle| of(&handle.status)).sum();
        (sum(|status| status.calls_uac), sum(|status| status.calls_uas))
    }

    fn finish(&mut self, cut_off: bool) {
        self.tell(Command::Finish { cut_off });
        let until = now() + FINISH_MAX;
        while now() < until && !self.handles.iter().all(|handle| handle.finished) {
            if !self.listen(now() + LOOK_EVERY) {
                break;
            }
        }
        if self.handles.iter().any(|handle| handle.news.is_some()) {
            self.point();
        }
    }
}

fn add(sum: &mut DriverCounters, other: &DriverCounters) {
    sum.received += other.received;
    sum.received_bytes += other.received_bytes;
    sum.sent += other.sent;
    sum.sent_bytes += other.sent_bytes;
    sum.batches += other.batches;
    sum.send_dropped += other.send_dropped;
    sum.send_failed += other.send_failed;
    sum.kernel_dropped += other.kernel_dropped;
    sum.stream_full += other.stream_full;
}
