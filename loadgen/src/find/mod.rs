//! `find-max`: one run after the other, each fresh, until the highest load is known that stays within the bounds.
//!
//! `finding.rs` says what came of it, `document.rs` writes it for programs, `page.rs` for people who would rather look.

mod document;
mod finding;
mod page;

use std::io::Write as _;
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::cli::{By, Calls, FindMax};
use crate::core::search::Search;
use crate::files::{put, put_text};
use crate::preflight::Trouble;
use crate::report::{Report, Verdict};
use crate::run::{self, End, Outcome};
use crate::setup;
use crate::watch::Nobody;

use finding::{Finding, Kind, Trial};

/// Runs the search; the exit code. What was found before something went wrong is written, too.
pub fn find_max(options: &FindMax, command_line: String) -> Result<u8, Trouble> {
    examine(options)?;
    let (began, clock) = (OffsetDateTime::now_utc(), Instant::now());
    let mut search = Search::new(options.low, options.high, options.precision / 100.0, options.confirm);
    let (mut trials, mut interrupted, mut trouble) = (Vec::new(), false, None);
    while search.found().is_none() && !interrupted {
        let kind = match (search.is_confirming(), search.is_again()) {
            (true, false) => Kind::Confirming,
            (_, true) => Kind::Again,
            _ => Kind::First,
        };
        let at = clock.elapsed();
        let (trial, stopped) = match try_one(options, search.trying(), kind, at) {
            Ok(tried) => tried,
            Err(found) if trials.is_empty() => return Err(found),
            Err(found) => {
                trouble = Some(found);
                break;
            }
        };
        if !options.calls.common.quiet {
            let _ = writeln!(std::io::stderr(), "{}", trial.line(finding::unit(options)));
        }
        interrupted = stopped;
        search.took(trial.passed);
        trials.push(trial);
    }
    let found = search.found().filter(|_| !interrupted);
    let finding = Finding::new(options, command_line, began, clock.elapsed(), trials, found);
    let text = finding.text();
    if options.calls.common.json.as_ref().is_some_and(|path| path.as_os_str() == "-") {
        let _ = std::io::stderr().write_all(text.as_bytes());
    } else {
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
    write(&finding).map_err(Trouble::outside)?;
    trouble.map_or(Ok(finding.code), Err)
}

/// Writes what was asked for.
fn write(finding: &Finding<'_>) -> Result<(), String> {
    let common = &finding.options.calls.common;
    if let Some(path) = &common.json {
        put(path, &finding.json())?;
    }
    if let Some(path) = &common.html {
        put_text(path, &page::page(finding))?;
    }
    if let Some(path) = &common.junit {
        put_text(path, &finding.junit())?;
    }
    Ok(())
}

/// What does not go together.
fn examine(options: &FindMax) -> Result<(), Trouble> {
    let common = &options.calls.common;
    if common.rate.is_some() || common.duration.is_some() || options.calls.calls.is_some() || options.calls.uas {
        return Err(Trouble::usage(
            "find-max chooses load and length itself and must call: leave out --rate, --duration, --calls and --uas; give \
             --low, --high and --step",
        ));
    }
    if options.low >= options.high {
        return Err(Trouble::usage("--low must be below --high"));
    }
    if let Some(condition) = common.asserts.first() {
        let text = &condition.text;
        return Err(Trouble::usage(format!("find-max judges each trial by --within: write --within '{text}'")));
    }
    if common.hgrm.is_some() {
        return Err(Trouble::usage(
            "--hgrm is about one run and find-max makes many: run calls with the rate that is found",
        ));
    }
    Ok(())
}

fn try_one(options: &FindMax, value: f64, kind: Kind, at: Duration) -> Result<(Trial, bool), Trouble> {
    let mut calls: Calls = options.calls.clone();
    let common = &mut calls.common;
    common.quiet = true;
    common.asserts = options.within.clone();
    common.duration = Some(options.settle + options.step);
    match options.by {
        By::Rate => common.rate = Some(value),
        By::Concurrent => calls.concurrent = Some(value.round().max(1.0) as u32),
    }
    let setup = setup::calls_measured(&calls, options.settle)?;
    let (plan, backend, concurrent) = (setup.plan.clone(), setup.backend, setup.concurrent);
    let began = OffsetDateTime::now_utc();
    let outcome = run::run("find-max", &calls.common, setup, &mut Nobody)?;
    let report = Report {
        command: "find-max",
        command_line: String::new(),
        common: &calls.common,
        plan: &plan,
        outcome: &outcome,
        backend,
        concurrent,
        rtp_loss_max: calls.rtp_loss_max,
        began,
    };
    let verdict = report.verdict();
    let trial = Trial { value, kind, at, ..judge(options, &report, &outcome, &verdict) };
    Ok((trial, outcome.interrupted))
}

fn judge(options: &FindMax, report: &Report<'_>, outcome: &Outcome, verdict: &Verdict) -> Trial {
    let unheld: Vec<&str> = report.asserts().filter(|(_, _, holds)| !holds).map(|(text, ..)| text).collect();
    let saturated = !verdict.saturated.is_empty();
    let why = match outcome.end {
        End::Done if saturated => verdict.saturated[0].clone(),
        End::Done if options.within.is_empty() => verdict.sentences.first().cloned().unwrap_or_default(),
        End::Done => unheld.first().map(|text| format!("{text} does not hold")).unwrap_or_default(),
        _ => verdict.sentences.first().cloned().unwrap_or_else(|| "it did not end in time".into()),
    };
    let stats = &outcome.stats;
    let srd = &stats.latencies.srd;
    Trial {
        passed: why.is_empty(),
        saturated,
        why,
        established: stats.counters.calls_established,
        ser: stats.ratios().map(|ratios| ratios.ser),
        rtp_loss: stats.rtp_loss(),
        srd: (!srd.is_empty()).then(|| [0.5, 0.99].map(|quantile| srd.value_at_quantile(quantile))),
        ..Trial::default()
    }
}
