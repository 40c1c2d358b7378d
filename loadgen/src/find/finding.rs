//! What came of a search: its trials, and the conclusion with its exit code.

use std::time::Duration;

use time::OffsetDateTime;

use crate::cli::{By, FindMax};
use crate::core::search::Found;
use crate::junit::{Case, Suite};
use crate::report::began_text;
use crate::units::human;

/// What a trial was for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The next load.
    #[default]
    First,
    /// A load that failed once.
    Again,
    /// The load that was found.
    Confirming,
}

impl Kind {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::First => "search",
            Self::Again => "again",
            Self::Confirming => "confirming",
        }
    }
}

/// One run and what came of it.
#[derive(Clone, Debug, Default)]
pub struct Trial {
    /// The load.
    pub value: f64,
    /// What it was for.
    pub kind: Kind,
    /// When it began, from the beginning of the search.
    pub at: Duration,
    /// Within the bounds.
    pub passed: bool,
    /// The generator was the limit.
    pub saturated: bool,
    /// Why it did not pass.
    pub why: String,
    /// Calls answered.
    pub established: u64,
    /// Session establishment ratio in percent.
    pub ser: Option<f64>,
    /// RTP lost in percent.
    pub rtp_loss: f64,
    /// Session request delay, median and 99 %, in nanoseconds.
    pub srd: Option<[u64; 2]>,
}

impl Trial {
    /// For people who look on.
    pub fn line(&self, unit: &str) -> String {
        let kind = if self.kind == Kind::First { String::new() } else { format!(" ({})", self.kind.word()) };
        let result = if self.passed { "passed".into() } else { format!("failed: {}", self.why) };
        let [p50, p99] = [0, 1].map(|at| self.srd.map_or("-".into(), |srd| human(srd[at] as f64)));
        format!("{:>10.1} {unit}  srd p50 {p50} p99 {p99}  {result}{kind}", self.value)
    }
}

/// What came of all of them.
pub struct Finding<'a> {
    /// What was asked for.
    pub options: &'a FindMax,
    /// As typed, without passwords.
    pub command_line: String,
    /// When it began.
    pub began: OffsetDateTime,
    /// How long it took.
    pub elapsed: Duration,
    /// In the order in which they were made.
    pub trials: Vec<Trial>,
    /// False when it was interrupted.
    pub ended: bool,
    /// The highest load that passes, where one is known.
    pub found: Option<f64>,
    /// Exit code.
    pub code: u8,
    /// In a sentence.
    pub sentence: String,
}

/// What is searched.
pub fn unit(options: &FindMax) -> &'static str {
    match options.by {
        By::Rate => "calls/s",
        By::Concurrent => "calls at once",
    }
}

/// Exit code, what was found, and a sentence.
fn conclude(options: &FindMax, trials: &[Trial], found: Option<Found>) -> (u8, Option<f64>, String) {
    let unit = unit(options);
    let saturated = trials.iter().rfind(|trial| !trial.passed).is_some_and(|trial| trial.saturated);
    match found {
        None => (1, None, "interrupted before the end".into()),
        Some(Found::Highest(value)) if saturated => (
            4,
            None,
            format!("{value:.1} {unit} passed; above that the generator itself was the limit: more --threads"),
        ),
        Some(Found::Highest(value)) => {
            (0, Some(value), format!("{value:.1} {unit}, confirmed {} times", options.confirm))
        }
        Some(Found::AtLeast(value)) => {
            (0, Some(value), format!("at least {value:.1} {unit}: nothing failed up to --high"))
        }
        Some(Found::Nothing) => {
            let why = trials.last().map_or("", |trial| &trial.why);
            (if saturated { 4 } else { 1 }, None, format!("nothing passed, not even --low {}: {why}", options.low))
        }
    }
}

impl<'a> Finding<'a> {
    /// The conclusion of these trials; `found` is missing where they were interrupted.
    pub fn new(
        options: &'a FindMax,
        command_line: String,
        began: OffsetDateTime,
        elapsed: Duration,
        trials: Vec<Trial>,
        found: Option<Found>,
    ) -> Self {
        let ended = found.is_some();
        let (code, found, sentence) = conclude(options, &trials, found);
        Self { options, command_line, began, elapsed, trials, ended, found, code, sentence }
    }

    /// For people.
    pub fn text(&self) -> String {
        format!("find-max: {} ({} steps)\n", self.sentence, self.trials.len())
    }

    /// For build servers.
    pub fn junit(&self) -> String {
        let lines: Vec<String> = self.trials.iter().map(|trial| trial.line(unit(self.options))).collect();
        let failed = |kind, yes: bool| yes.then(|| (kind, self.sentence.clone(), lines.join("\n")));
        let seconds = self.elapsed.as_secs_f64();
        let suite = Suite {
            command: "find-max",
            seconds,
            began: began_text(self.began),
            properties: vec![
                ("command_line", self.command_line.clone()),
                ("target", self.options.calls.common.target.clone().unwrap_or_default()),
                ("found", self.found.map_or("nothing".into(), |found| format!("{found}"))),
                ("exit_code", self.code.to_string()),
            ],
            cases: vec![
                Case { name: "the search".into(), seconds, failure: failed("search", self.code == 1) },
                Case {
                    name: "the generator kept its schedule".into(),
                    seconds: 0.0,
                    failure: failed("generator", self.code == 4),
                },
            ],
            out: lines.join("\n") + "\n" + &self.text(),
        };
        suite.xml()
    }
}
