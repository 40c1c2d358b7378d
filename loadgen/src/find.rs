//! `find-max`: one run after the other, each fresh, until the highest load is known that stays within the bounds.

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::cli::{By, Calls, FindMax};
use crate::core::search::{Found, Search};
use crate::machine::Machine;
use crate::preflight::Trouble;
use crate::report::{Report, Verdict};
use crate::run::{self, End, Outcome};
use crate::setup;
use crate::units::human;
use crate::watch::Nobody;

/// One step and what came of it.
struct Step {
    value: f64,
    passed: bool,
    saturated: bool,
    why: String,
    established: u64,
    ser: Option<f64>,
    srd: [u64; 2],
}

/// Runs the search; the exit code.
pub fn find_max(options: &FindMax) -> Result<u8, Trouble> {
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
    let mut search = Search::new(options.low, options.high, options.precision / 100.0, options.confirm);
    let (mut steps, mut interrupted) = (Vec::new(), false);
    while search.found().is_none() && !interrupted {
        let kind = match (search.is_confirming(), search.is_again()) {
            (true, false) => " (confirming)",
            (_, true) => " (again)",
            _ => "",
        };
        let (step, stopped) = try_one(options, search.trying())?;
        if !common.quiet {
            eprintln!("{}{kind}", line(options, &step));
        }
        interrupted = stopped;
        search.took(step.passed);
        steps.push(step);
    }
    Ok(conclude(options, &search, &steps, interrupted))
}

fn try_one(options: &FindMax, value: f64) -> Result<(Step, bool), Trouble> {
    let mut calls: Calls = options.calls.clone();
    let common = &mut calls.common;
    (common.quiet, common.json, common.hgrm) = (true, None, None);
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
    let step = judge(options, value, &report, &outcome, &verdict);
    Ok((step, outcome.interrupted))
}

fn judge(options: &FindMax, value: f64, report: &Report<'_>, outcome: &Outcome, verdict: &Verdict) -> Step {
    let unheld: Vec<&str> = report.asserts().filter(|(_, _, holds)| !holds).map(|(text, ..)| text).collect();
    let saturated = !verdict.saturated.is_empty();
    let why = match outcome.end {
        End::Done if saturated => verdict.saturated[0].clone(),
        End::Done if options.within.is_empty() => verdict.sentences.first().cloned().unwrap_or_default(),
        End::Done => unheld.first().map(|text| format!("{text} does not hold")).unwrap_or_default(),
        _ => verdict.sentences.first().cloned().unwrap_or_else(|| "it did not end in time".into()),
    };
    let stats = &outcome.stats;
    let srd = [0.5, 0.99].map(|quantile| stats.latencies.srd.value_at_quantile(quantile));
    let (established, ser) = (stats.counters.calls_established, stats.ratios().map(|ratios| ratios.ser));
    Step { value, passed: why.is_empty(), saturated, why, established, ser, srd }
}

fn unit(options: &FindMax) -> &'static str {
    match options.by {
        By::Rate => "calls/s",
        By::Concurrent => "calls at once",
    }
}

fn line(options: &FindMax, step: &Step) -> String {
    let result = if step.passed { "passed".into() } else { format!("failed: {}", step.why) };
    let [p50, p99] = step.srd.map(|nanos| human(nanos as f64));
    format!("{:>10.1} {}  srd p50 {p50} p99 {p99}  {result}", step.value, unit(options))
}

fn conclude(options: &FindMax, search: &Search, steps: &[Step], interrupted: bool) -> u8 {
    let unit = unit(options);
    let saturated = steps.iter().rfind(|step| !step.passed).is_some_and(|step| step.saturated);
    let (code, value, sentence) = match search.found() {
        _ if interrupted => (1, None, "interrupted before the end".to_string()),
        Some(Found::Highest(value)) if saturated => {
            let why =
                format!("{value:.1} {unit} passed; above that the generator itself was the limit: more --threads");
            (4, Some(value), why)
        }
        Some(Found::Highest(value)) => {
            (0, Some(value), format!("{value:.1} {unit}, confirmed {} times", options.confirm))
        }
        Some(Found::AtLeast(value)) => {
            (0, Some(value), format!("at least {value:.1} {unit}: nothing failed up to --high"))
        }
        _ => {
            let why = steps.last().map_or("", |step| &step.why);
            (if saturated { 4 } else { 1 }, None, format!("nothing passed, not even --low {}: {why}", options.low))
        }
    };
    let text = format!("find-max: {sentence} ({} steps)\n", steps.len());
    let json = options.calls.common.json.as_ref();
    if json.is_some_and(|path| path.as_os_str() == "-") {
        eprint!("{text}");
    } else {
        print!("{text}");
    }
    let found = value.filter(|_| code == 0);
    match json.map(|path| crate::report::put(path, &document(options, steps, found, code, &sentence))) {
        Some(Err(error)) => {
            eprintln!("strowger-loadgen: {error}");
            1
        }
        _ => code,
    }
}

fn document(options: &FindMax, steps: &[Step], found: Option<f64>, code: u8, sentence: &str) -> Value {
    let steps: Vec<Value> = steps
        .iter()
        .map(|step| {
            json!({
                "value": step.value, "passed": step.passed, "saturated": step.saturated, "why": step.why,
                "calls_established": step.established, "ser_percent": step.ser,
                "srd_p50_ms": step.srd[0] as f64 / 1e6, "srd_p99_ms": step.srd[1] as f64 / 1e6,
            })
        })
        .collect();
    json!({
        "schema": "strowger-loadgen/find-max/1",
        "version": env!("CARGO_PKG_VERSION"),
        "by": unit(options),
        "found": found,
        "sentence": sentence,
        "exit_code": code,
        "within": options.within.iter().map(|condition| condition.text.clone()).collect::<Vec<_>>(),
        "precision_percent": options.precision,
        "step_s": options.step.as_secs_f64(),
        "settle_s": options.settle.as_secs_f64(),
        "steps": steps,
        "machine": Machine::fingerprint(),
    })
}
