//! Who looks on while a run goes: plain lines, the screen (`screen/`), or nobody. All read the same course of the run.

use std::io::Write as _;
use std::time::Duration;

use crate::core::Job;
use crate::series::Series;
use crate::units::human;

/// What there is to see.
pub struct View<'a> {
    /// What is done: `calls`, `register`, `rtp`.
    pub command: &'static str,
    /// The kind of work.
    pub job: Job,
    /// The server under test.
    pub target: String,
    /// UDP or TCP.
    pub transport: &'static str,
    /// Calls have RTP.
    pub rtp: bool,
    /// The course of it.
    pub series: &'a Series,
    /// From the first arrival until now.
    pub elapsed: Duration,
    /// Arrivals per second asked for now.
    pub rate: f64,
    /// Nothing new is begun until the user goes on.
    pub paused: bool,
    /// Nothing new is begun any more.
    pub draining: bool,
    /// Calls or registrations that may be open at once.
    pub concurrent: u32,
    /// Which driver, on how many threads.
    pub engine: (&'static str, u8),
    /// Datagrams dropped from our own receive and send buffers.
    pub dropped: (u64, u64),
    /// What the user should know about the last key.
    pub notice: Option<String>,
}

/// What an onlooker wants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wish {
    /// So many arrivals per second more, or fewer.
    Faster(f64),
    /// Begin nothing new, or go on.
    Pause,
    /// Begin nothing new, hang up, and end; a second time: end now.
    Drain,
    /// End now.
    Quit,
    /// Only show again.
    Redraw,
}

/// An onlooker.
pub trait Watch {
    /// There is something new to see.
    fn show(&mut self, view: &View<'_>);

    /// Asked often; what the onlooker wants.
    fn poll(&mut self) -> Option<Wish> {
        None
    }
}

/// Nobody looks on.
pub struct Nobody;

impl Watch for Nobody {
    fn show(&mut self, _: &View<'_>) {}
}

/// A line per second on standard error.
pub struct Lines;

impl Watch for Lines {
    fn show(&mut self, view: &View<'_>) {
        if let Some(line) = line(view) {
            // Whether somebody still reads it is not the run's concern.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
}

/// The counters that tell how the job goes: begun, done, failed of a point or of all; and its latency.
pub struct Gist {
    /// Begun.
    pub begun: u64,
    /// Ended well.
    pub done: u64,
    /// Ended badly, or due and not begun.
    pub failed: u64,
    /// The latency that says most.
    pub latency: &'static str,
}

/// What matters most of some counters.
pub fn gist(job: Job, c: &crate::core::stats::Counters) -> Gist {
    let (begun, done, failed, latency) = match job {
        Job::Register => {
            let failed = c.registrations_failed + c.registrations_skipped;
            (c.registrations_attempted, c.registrations_completed, failed, "rrd")
        }
        Job::Calls { uac: false, .. } => (c.uas_calls, c.uas_completed, c.uas_failed + c.uas_refused, "sdd"),
        Job::Streams => (c.streams_begun, 0, 0, "rtp_delay_uas"),
        Job::Calls { .. } => (c.calls_attempted, c.calls_completed, c.calls_failed + c.calls_skipped, "srd"),
    };
    Gist { begun, done, failed, latency }
}

/// The line of the latest second.
pub fn line(view: &View<'_>) -> Option<String> {
    let point = view.series.latest()?;
    let (total, job) = (&view.series.total, view.job);
    let (all, now) = (gist(job, &total.events), gist(job, &point.events));
    let c = &total.events;
    let mut line = format!(
        "{:>5}s  {:>6.0}/s  up {}  begun {}  done {}  failed {}  retransmitted {}",
        view.elapsed.as_secs(),
        now.begun as f64 / point.seconds(),
        point.up_uac.max(point.up_uas),
        all.begun,
        all.done,
        all.failed,
        c.retransmitted_invite + c.retransmitted_request + c.retransmitted_success
    );
    if let Some(p99) = total.recent.at(all.latency, 0.99) {
        line += &format!("  {} p99 {}", all.latency, human(p99 as f64));
    }
    let rtp = point.events.rtp_sent_uac + point.events.rtp_sent_uas;
    if c.rtp_sent_uac + c.rtp_sent_uas > 0 {
        let lost = c.rtp_lost + total.media.missing;
        line += &format!("  rtp {:.0}/s lost {lost}", rtp as f64 / point.seconds());
    }
    Some(line)
}
