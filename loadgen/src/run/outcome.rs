//! What came of a run, before anybody judges it.

use std::time::Duration;

use strowger::io::Counters as DriverCounters;

use crate::core::stats::Stats;
use crate::pace::RateChange;
use crate::series::Series;

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
