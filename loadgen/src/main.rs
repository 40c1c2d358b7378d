//! `strowger-loadgen`: places and answers calls, registers users, and says honestly how long that took.
//!
//! A pure core (`core/`, `scenario/`, `station.rs`) with thin threads around it. `docs/loadgen.md` explains the measurements.

mod assertion;
mod causes;
mod cli;
mod command_line;
mod core;
mod draw;
mod files;
mod find;
mod flow;
mod hgrm;
mod html;
mod json;
mod junit;
mod limiter;
mod machine;
mod ng;
mod outputs;
mod pace;
mod preflight;
mod ramp;
mod report;
mod run;
mod scenario;
mod screen;
mod series;
mod setup;
mod sipp;
mod sipp_options;
mod sockets;
mod sound;
mod station;
mod text;
mod units;
mod watch;
mod worker;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use time::OffsetDateTime;

use preflight::Trouble;
use report::Report;
use screen::Onlooker;

fn main() -> ExitCode {
    let arguments = match sipp_options::translate(std::env::args().collect()) {
        Ok((arguments, notes)) => {
            notes.iter().for_each(|note| say(format_args!("strowger-loadgen: {note}")));
            arguments
        }
        Err(sentence) => {
            say(format_args!("strowger-loadgen: {sentence}"));
            return ExitCode::from(2);
        }
    };
    let cli = cli::Cli::parse_from(&arguments);
    match work(&cli, &arguments) {
        Ok(code) => ExitCode::from(code),
        Err(trouble) => {
            say(format_args!("strowger-loadgen: {}", trouble.sentence));
            ExitCode::from(trouble.code)
        }
    }
}

/// Says something beside the result. Whether somebody still listens is not the run's concern.
fn say(words: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{words}");
}

fn work(cli: &cli::Cli, arguments: &[String]) -> Result<u8, Trouble> {
    files::examine_files(cli.command.common())?;
    let onlooker = Onlooker::choose(cli.command.common())?;
    let (command, common, mut setup, rtp_loss_max) = match &cli.command {
        cli::Command::FindMax(options) => {
            return find::find_max(options, command_line::masked(arguments.iter().cloned()));
        }
        cli::Command::Ramp(ramp) => ("ramp", &ramp.calls.common, setup::ramp(ramp)?, ramp.calls.rtp_loss_max),
        cli::Command::Calls(calls) => ("calls", &calls.common, setup::calls(calls)?, calls.rtp_loss_max),
        cli::Command::Sipp(options) => match sipp::sipp(options)? {
            Some(setup) => ("sipp", &options.common, setup, 0.0),
            None => return Ok(0),
        },
        cli::Command::Rtp(rtp) => ("rtp", &rtp.common, setup::rtp(rtp)?, rtp.rtp_loss_max),
        cli::Command::Register(register) => ("register", &register.common, setup::register(register)?, 0.0),
    };
    for note in &setup.notes {
        say(format_args!("strowger-loadgen: {note}"));
    }
    if let (Some(uas), false) = (setup.uas, common.quiet) {
        say(format_args!("answering on {uas}"));
    }
    let (plan, backend, concurrent, local) = (setup.plan.clone(), setup.backend, setup.concurrent, setup.local);
    let began = OffsetDateTime::now_utc();
    let relay = setup.relay.take();
    let mut watch = onlooker.open(common)?;
    let outcome = run::run(command, common, setup, &mut *watch);
    // The terminal is given back before anything is written on it.
    drop(watch);
    let mut outcome = outcome?;
    if limiter::is_suspicious(&outcome.stats) && !outcome.interrupted {
        outcome.sentences.extend(limiter::ask(plan.target, plan.transport, local.ip(), plan.load.rate));
    }
    if let Some(Err(trouble)) = relay.map(|mut relay| relay.end()) {
        say(format_args!("strowger-loadgen: {}; its calls end by their own time-out", trouble.sentence));
    }
    let command_line = command_line::masked(arguments.iter().cloned());
    let report = Report {
        command,
        command_line,
        common,
        plan: &plan,
        outcome: &outcome,
        backend,
        concurrent,
        rtp_loss_max,
        began,
    };
    let verdict = report.verdict();
    let text = report.text(&verdict);
    // A reader that is gone, or a terminal that has hung up, takes nothing from the reports that are files.
    if common.json.as_ref().is_some_and(|path| path.as_os_str() == "-") {
        let _ = std::io::stderr().write_all(text.as_bytes());
    } else {
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
    report.write(&verdict).map_err(Trouble::outside)?;
    Ok(verdict.code)
}
