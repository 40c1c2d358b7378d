//! The demo's calls: register two phones, place the calls at a steady rate, let them talk, hang up, count.

use super::desk::Desk;
use crate::base::Instant;
use crate::phone::{Event, Placing, Report};
use hdrhistogram::Histogram;
use std::collections::HashMap;
use std::io::{Error, Result};
use std::time::Duration;

/// Longest wait for registrations, for answers and for goodbyes, each.
const PATIENCE: Duration = Duration::from_secs(35);
/// Gap between two calls, so that setting up is measured and not the queue of our own making.
const CALL_INTERVAL: Duration = Duration::from_millis(10);
/// After the last packet was sent, the time for it to arrive.
const SETTLE: Duration = Duration::from_millis(500);
/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// Failures kept for telling.
const FAILURES_MAX: usize = 8;

/// How it goes at the moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Phones registered.
    pub registered: usize,
    /// Calls placed.
    pub placed: usize,
    /// Calls answered.
    pub answered: usize,
    /// Calls that failed.
    pub failed: usize,
    /// Calls over.
    pub ended: usize,
    /// Time talked since the last call was answered.
    pub talked: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Calls asked for.
    pub calls: usize,
    /// Calls that were not answered, or ended otherwise than by the caller's goodbye, or whose packets went astray.
    pub calls_failed: usize,
    /// Why, the first few.
    pub failures: Vec<String>,
    /// RTP packets sent by both sides.
    pub packets_sent: u64,
    /// RTP packets received by both sides, each counted once.
    pub packets_received: u64,
    /// Received with a payload their sender did not write.
    pub packets_corrupt: u64,
    /// Received twice.
    pub packets_duplicated: u64,
    /// SIP messages the phones had to send again.
    pub retransmissions: u64,
    /// How late the phones were at worst with a packet or message of their own.
    pub late_max: Duration,
    /// INVITE to 200, microseconds.
    pub setup: Histogram<u64>,
    /// RTP, from when it was due to be sent to its arrival, nanoseconds.
    pub latency: Histogram<u64>,
}

impl Outcome {
    /// Packets sent that nobody received.
    #[must_use]
    pub fn packets_lost(&self) -> u64 {
        self.packets_sent.saturating_sub(self.packets_received)
    }

    /// Every call and every packet arrived.
    #[must_use]
    pub fn is_perfect(&self) -> bool {
        self.calls_failed == 0
            && self.packets_lost() == 0
            && self.packets_corrupt == 0
            && self.packets_sent > 0
            && self.calls > 0
    }
}

/// The caller's and the callee's phone on the desk, and what they are to do.
pub struct Talk<'a> {
    desk: &'a mut Desk,
    target: String,
    calls: usize,
    time: Duration,
    progress: Progress,
    told: Instant,
    tell: &'a mut dyn FnMut(Progress),
    setup: Histogram<u64>,
    reports: [Vec<Report>; 2],
    failures: Vec<String>,
}

/// The caller's place on the desk; the callee's is the next.
const CALLER: usize = 0;

impl<'a> Talk<'a> {
    /// `calls` calls of `time` each from phone 0 to phone 1, which answers to `target`.
    pub fn new(
        desk: &'a mut Desk,
        target: &str,
        calls: usize,
        time: Duration,
        tell: &'a mut dyn FnMut(Progress),
    ) -> Self {
        Self {
            told: desk.now(),
            desk,
            target: target.to_owned(),
            calls,
            time,
            progress: Progress::default(),
            tell,
            setup: Histogram::new_with_max(60_000_000, 3).expect("the bounds of a histogram of one minute"),
            reports: [Vec::new(), Vec::new()],
            failures: Vec::new(),
        }
    }

    /// From registering to the last goodbye.
    ///
    /// # Errors
    /// When a phone cannot register, or the driver is broken.
    pub fn run(mut self) -> Result<Outcome> {
        let registers = [0, 1].map(|phone| self.desk.phone(phone).options().login.is_some());
        if registers == [true, true] {
            self.register()?;
        }
        self.place()?;
        let talked_from = self.desk.now();
        let end = talked_from + self.time;
        while self.desk.now() < end {
            self.progress.talked = self.desk.now().since(talked_from);
            self.step(end)?;
        }
        self.progress.talked = self.time;
        self.hang_up()?;
        if registers == [true, true] {
            let now = self.desk.now();
            (0..2).for_each(|phone| self.desk.phone(phone).unregister(now));
            self.wait(SETTLE, |talk| talk.progress.registered == 0)?;
        }
        self.tell_now();
        Ok(self.outcome())
    }

    fn register(&mut self) -> Result<()> {
        let now = self.desk.now();
        (0..2).for_each(|phone| self.desk.phone(phone).register(now));
        self.wait(PATIENCE, |talk| talk.progress.registered == 2 || !talk.failures.is_empty())?;
        if self.progress.registered < 2 {
            let why = self.failures.first().map_or("no answer", String::as_str);
            return Err(Error::other(format!("the phones could not register: {why}")));
        }
        Ok(())
    }

    fn place(&mut self) -> Result<()> {
        let interval = CALL_INTERVAL.min(Duration::from_secs(4) / u32::try_from(self.calls.max(1)).unwrap_or(u32::MAX));
        let mut next = self.desk.now();
        while self.progress.placed < self.calls {
            let now = self.desk.now();
            if now < next {
                self.step(next)?;
                continue;
            }
            next += interval;
            self.progress.placed += 1;
            if self.desk.phone(CALLER).place(now, &self.target, &Placing::default()).is_none() {
                self.fail("the phone has no free line".to_owned());
            }
        }
        self.wait(PATIENCE, |talk| talk.progress.answered + talk.progress.failed >= talk.calls)
    }

    fn hang_up(&mut self) -> Result<()> {
        for phone in 0..2 {
            for call in self.desk.phone(phone).lines() {
                self.desk.phone(phone).mute(call);
            }
        }
        self.wait(SETTLE, |_| false)?;
        let now = self.desk.now();
        for call in self.desk.phone(CALLER).lines() {
            self.desk.phone(CALLER).hang_up(now, call);
        }
        self.wait(PATIENCE, |talk| (0..2).all(|phone| talk.desk.phone(phone).calls() == 0))
    }

    fn wait(&mut self, time: Duration, done: impl Fn(&mut Self) -> bool) -> Result<()> {
        let end = self.desk.now() + time;
        while self.desk.now() < end && !done(self) {
            self.step(end)?;
        }
        Ok(())
    }

    fn step(&mut self, end: Instant) -> Result<()> {
        self.desk.step(end.min(self.told + PROGRESS_INTERVAL))?;
        while let Some((phone, event)) = self.desk.poll_event() {
            self.notice(phone, event);
        }
        if self.desk.now() >= self.told + PROGRESS_INTERVAL {
            self.tell_now();
        }
        Ok(())
    }

    fn tell_now(&mut self) {
        self.told = self.desk.now();
        (self.tell)(self.progress);
    }

    fn notice(&mut self, phone: usize, event: Event) {
        match event {
            Event::Registered { .. } => self.progress.registered += 1,
            Event::Unregistered { .. } => self.progress.registered = self.progress.registered.saturating_sub(1),
            Event::RegistrationFailed { status } => {
                self.failures.push(format!("registration of phone {phone} answered {status}"));
            }
            Event::Established { setup, .. } if phone == CALLER => {
                self.progress.answered += 1;
                self.setup.saturating_record(u64::try_from(setup.as_micros()).unwrap_or(u64::MAX));
            }
            Event::Failed { status, reason, .. } => self.fail(format!("a call was answered {status} {reason}")),
            Event::Ended { report, .. } => {
                self.progress.ended += usize::from(phone == CALLER);
                self.reports[phone].push(report);
            }
            _ => {}
        }
    }

    fn fail(&mut self, why: String) {
        self.progress.failed += 1;
        if self.failures.len() < FAILURES_MAX {
            self.failures.push(why);
        }
    }

    fn outcome(mut self) -> Outcome {
        let good = self.matched();
        if good < self.progress.answered {
            let astray = self.progress.answered - good;
            self.failures.push(format!("{astray} answered calls did not hear exactly their own peer to the end"));
        }
        let mut latency = self.desk.phone(CALLER).latency().clone();
        // Both histograms were made with the same bounds.
        let _ = latency.add(self.desk.phone(CALLER + 1).latency());
        let sum = |pick: fn(&Report) -> u64| self.reports.iter().flatten().map(pick).sum();
        Outcome {
            calls: self.calls,
            calls_failed: self.calls - good.min(self.calls),
            packets_sent: sum(|report| report.sent),
            packets_received: sum(|report| report.received),
            packets_corrupt: sum(|report| report.corrupt),
            packets_duplicated: sum(|report| report.duplicated),
            retransmissions: (0..2).map(|phone| self.desk.phone(phone).counters().retransmitted).sum(),
            late_max: self.desk.late_max(),
            failures: self.failures,
            setup: self.setup,
            latency,
        }
    }

    /// Calls whose two ends heard each other and nobody else.
    fn matched(&self) -> usize {
        let callees: HashMap<u32, &Report> = self.reports[1].iter().map(|report| (report.ssrc, report)).collect();
        let hears = |report: &Report, ssrc: u32| report.heard == [ssrc];
        self.reports[CALLER]
            .iter()
            .filter(|caller| {
                let callee = caller.heard.first().and_then(|ssrc| callees.get(ssrc));
                callee.is_some_and(|callee| hears(callee, caller.ssrc) && hears(caller, callee.ssrc))
            })
            .count()
    }
}
