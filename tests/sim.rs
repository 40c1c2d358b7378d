//! The simulator: whole shards, phones and trunks in virtual time over a network that a seed makes up.
//!
//! `cargo test --release --test sim -- calls --seeds 1000 --first-seed 1` lives a thousand lives and checks at every
//! step that nothing leaks; `-- flows` plays the conversations of `tests/flows`. Without arguments a few of both.
//! A seed gives the same trace hash each time: what failed once can be looked at again with `--verbose`.

#[path = "sim/appliance.rs"]
mod appliance;
#[path = "sim/balance.rs"]
mod balance;
#[path = "sim/calls.rs"]
mod calls;
#[path = "sim/network.rs"]
mod network;
#[path = "sim/pipe.rs"]
mod pipe;
#[path = "sim/station.rs"]
mod station;
#[path = "sim/town.rs"]
mod town;
#[path = "sim/trace.rs"]
mod trace;
#[path = "sim/world.rs"]
mod world;

use std::process::ExitCode;

/// Lives that `cargo test` lives.
const SEEDS: u64 = 30;

/// What the command line says.
struct Wanted {
    calls: bool,
    flows: bool,
    seeds: u64,
    first_seed: u64,
    verbose: bool,
    hashes: bool,
}

fn main() -> ExitCode {
    let wanted = match wanted(std::env::args().skip(1)) {
        Ok(wanted) => wanted,
        Err(why) => {
            eprintln!("{why}\nusage: sim [calls [--seeds N] [--first-seed N] [--verbose] [--hashes]] [flows [NAME]]");
            return ExitCode::from(2);
        }
    };
    let (mut passed, mut failed) = (0, 0);
    let start = std::time::Instant::now();
    if wanted.calls {
        let (good, bad) = live_calls(&wanted);
        passed += good;
        failed += bad;
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out; finished in {:.2}s\n",
        start.elapsed().as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn wanted(arguments: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted { calls: false, flows: false, seeds: SEEDS, first_seed: 1, verbose: false, hashes: false };
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let text = arguments.next().unwrap_or_default();
            text.parse().map_err(|_| format!("{argument} wants a number, not {text:?}"))
        };
        match argument.as_str() {
            "calls" => wanted.calls = true,
            "flows" => wanted.flows = true,
            "--seeds" => wanted.seeds = number()?,
            "--first-seed" => wanted.first_seed = number()?,
            "--verbose" => wanted.verbose = true,
            "--hashes" => wanted.hashes = true,
            // What cargo and test runners add.
            "--quiet" | "-q" | "--nocapture" | "--show-output" | "--include-ignored" => {}
            other => return Err(format!("unknown argument {other:?}")),
        }
    }
    if !wanted.calls && !wanted.flows {
        (wanted.calls, wanted.flows) = (true, true);
    }
    Ok(wanted)
}

fn live_calls(wanted: &Wanted) -> (u64, u64) {
    let (mut passed, mut failed) = (0, 0);
    let (mut calls, mut answered, mut steps, mut orphans) = (0, 0, 0, 0);
    for seed in wanted.first_seed..wanted.first_seed + wanted.seeds {
        let life = std::panic::catch_unwind(|| calls::live(seed, wanted.verbose));
        let life = life.unwrap_or_else(|_| Err("it panicked".to_owned()));
        match life {
            Ok(outcome) => {
                passed += 1;
                (calls, answered) = (calls + outcome.calls, answered + outcome.answered);
                (steps, orphans) = (steps + outcome.steps, orphans + outcome.orphans);
                if wanted.hashes {
                    println!("seed {seed} trace {:016x}", outcome.hash);
                }
            }
            Err(why) => {
                failed += 1;
                println!(
                    "test seed {seed} ... FAILED\n{why}\nagain: sim -- calls --seeds 1 --first-seed {seed} --verbose\n"
                );
            }
        }
    }
    println!(
        "calls: {} seeds, {calls} calls placed, {answered} ends answered, {steps} deliveries, {orphans} held calls left",
        wanted.seeds
    );
    (passed, failed)
}
