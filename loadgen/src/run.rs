//! Runs the threads: start when all are ready, a line per second, the end, and what came of it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use strowger::base::Instant;
use strowger::io::{Counters as DriverCounters, Waker};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Common;
use crate::core::news::News;
use crate::core::station::Status;
use crate::core::stats::Stats;
use crate::core::{Job, Plan};
use crate::machine::{cpu_seconds, now};
use crate::pace::{Pace, RateChange};
use crate::preflight::Trouble;
use crate::series::Series;
use crate::setup::Setup;
use crate::watch::{View, Watch, Wish};
use crate::worker::{Command, Report, Worker};

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

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All there was to do is done, or the user stopped it.
    Done,
    /// Nothing more could come of it.
    Broken,
    /// The overall time-out came first.
    TimedOut,
}

/// What came of a run.
pub struct Outcome {
    /// All cores' figures.
    pub stats: Stats,
    /// All drivers' counters.
    pub driver: DriverCounters,
    /// How it ended.
    pub end: End,
    /// From the first arrival to the end.
    pub elapsed: Duration,
    /// Processor time spent in that time.
    pub cpu_s: f64,
    /// Sentences about what went wrong as a whole.
    pub sentences: Vec<String>,
    /// The course of it.
    pub series: Series,
    /// Other rates than the one asked for at first.
    pub changes: Vec<RateChange>,
    /// The user has had enough.
    pub interrupted: bool,
}

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
    let interrupts = watch_interrupts();
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

/// Counts Ctrl-C, the same for all runs of this process.
fn watch_interrupts() -> Arc<AtomicU32> {
    static COUNT: OnceLock<Arc<AtomicU32>> = OnceLock::new();
    COUNT.get_or_init(count_interrupts).clone()
}

/// Counts from a thread of its own. SIGTERM and the loss of the terminal count as a second Ctrl-C: end now, and report.
fn count_interrupts() -> Arc<AtomicU32> {
    let count = Arc::new(AtomicU32::new(0));
    let counter = count.clone();
    let watch = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        let kinds = [(SignalKind::interrupt(), 1), (SignalKind::terminate(), 2), (SignalKind::hangup(), 2)];
        for (kind, weight) in
            kinds.into_iter().filter(|(kind, _)| *kind != SignalKind::hangup() || !hangup_is_ignored())
        {
            let counter = counter.clone();
            runtime.spawn(async move {
                let Ok(mut signals) = signal(kind) else { return };
                while signals.recv().await.is_some() {
                    counter.fetch_add(weight, Ordering::Relaxed);
                }
            });
        }
        runtime.block_on(std::future::pending::<()>());
    };
    // Without the thread, a signal ends the process at once, as it does by default.
    let _ = std::thread::Builder::new().name("interrupts".into()).spawn(watch);
    count
}

/// What `nohup` ignores stays ignored: signal 1, the lowest bit of a mask in hexadecimal.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
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
        self.finish();
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

    /// Why nothing more can come of this run.
    fn trouble(&self, elapsed: Duration, alive: bool) -> Option<String> {
        let gone = || "all threads of the generator have ended; this is a defect of it".to_string();
        self.fatal().or_else(|| (!alive).then(gone)).or_else(|| self.silence(elapsed))
    }

    /// Puts what all cores have told together: one point more, as of when they told it.
    fn point(&mut self) {
        let mut sum = News::default();
        self.handles.iter_mut().filter_map(|handle| handle.news.take()).for_each(|news| sum.merge(*news));
        self.series.push(sum.at.since(self.start), self.pace.rate(), sum);
    }

    /// Does what the onlooker wants; the end, if that is it.
    fn heed(&mut self, time: Instant) -> Option<End> {
        let wish = self.watch.poll()?;
        self.notice = None;
        match wish {
            Wish::Quit => return Some(End::Done),
            Wish::Drain => drop(self.interrupts.fetch_add(1, Ordering::Relaxed)),
            Wish::Redraw => {}
            Wish::Faster(_) | Wish::Pause if !matches!(self.plan.job, Job::Calls { uac: true, .. } | Job::Register) => {
                self.notice = Some("nothing is begun at a rate here: there is none to change".into());
            }
            Wish::Faster(_) | Wish::Pause if self.draining => {
                self.notice = Some("nothing new is begun any more: this run ends".into());
            }
            Wish::Faster(by) => {
                self.pace.add(by);
                let needed = self.pace.wanted() * (self.plan.hold.mean() + self.plan.ring).as_secs_f64();
                if matches!(self.plan.job, Job::Calls { .. }) && needed > f64::from(self.concurrent) {
                    let most = self.concurrent;
                    self.notice = Some(format!(
                        "{needed:.0} calls would be up, but {most} may be: some will be skipped (see --concurrent)"
                    ));
                }
            }
            Wish::Pause => self.pace.pause(),
        }
        // A little ahead, so that all cores hear of it before it is so.
        let at = time + LEAD;
        if self.pace.note(at.since(self.start)) {
            self.tell(Command::Rate(at, self.pace.rate()));
        }
        self.show(time);
        None
    }

    fn show(&mut self, time: Instant) {
        let driver = self.driver();
        let view = View {
            command: self.command,
            job: self.plan.job,
            target: crate::report::target(self.common, &self.plan),
            transport: self.plan.transport.uri_token(),
            rtp: self.plan.rtp,
            series: &self.series,
            elapsed: time.since(self.start),
            rate: self.pace.wanted(),
            paused: self.pace.is_paused(),
            draining: self.draining || self.interrupts.load(Ordering::Relaxed) > 0,
            concurrent: self.concurrent,
            engine: (self.backend, self.common.threads),
            dropped: (driver.kernel_dropped, driver.send_dropped),
            notice: self.notice.clone(),
        };
        self.watch.show(&view);
    }

    fn up(&self) -> (usize, usize) {
        let sum = |of: fn(&Status) -> usize| self.handles.iter().map(|handle| of(&handle.status)).sum();
        (sum(|status| status.calls_uac), sum(|status| status.calls_uas))
    }

    fn answering_done(&self, elapsed: Duration) -> bool {
        let c = &self.series.total.events;
        let ended = c.uas_completed + c.uas_declined + c.uas_failed + c.uas_cancelled;
        let counted = self.plan.load.count.is_some_and(|calls| ended >= calls);
        counted || self.plan.load.duration.is_some_and(|duration| elapsed >= duration)
    }

    fn silence(&self, elapsed: Duration) -> Option<String> {
        let c = &self.series.total.events;
        if elapsed < self.common.silence_max || c.messages_received > 0 {
            return None;
        }
        let (sent, errors) = (c.messages_sent, c.send_errors);
        (sent > 0).then(|| {
            let hint = if errors > 0 {
                "the network says it cannot be reached; start the server, or check --target"
            } else {
                "it may listen without answering, drop us by a filter, or answer to another address; check its log, \
                 and --bind and --transport here"
            };
            format!("{sent} messages were sent to {} and not one came back in {elapsed:.0?}: {hint}", self.plan.target)
        })
    }

    fn finish(&mut self) {
        self.tell(Command::Finish);
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
