//! The simulator: whole shards, phones and trunks in virtual time over a network that a seed makes up.
//!
//! `cargo test --release --test sim -- calls --seeds 1000 --first-seed 1` lives a thousand lives and checks at every
//! step that nothing leaks; `-- limits` does so with sites that share the limits of accounts; `-- scanners` in a town
//! that is scanned; `-- flows` plays the conversations of `tests/flows`. Without arguments a few of both.
//! A seed gives the same trace hash each time: what failed once can be looked at again with `--verbose`.

#[path = "sim/appliance.rs"]
mod appliance;
#[path = "sim/balance.rs"]
mod balance;
#[path = "sim/calls/mod.rs"]
mod calls;
#[path = "sim/flows/mod.rs"]
mod flows;
#[path = "sim/keeper.rs"]
mod keeper;
#[path = "sim/limits/mod.rs"]
mod limits;
#[path = "sim/network.rs"]
mod network;
#[path = "sim/pattern.rs"]
mod pattern;
#[path = "sim/pipe.rs"]
mod pipe;
#[path = "sim/scanners.rs"]
mod scanners;
#[path = "sim/script.rs"]
mod script;
#[path = "sim/station.rs"]
mod station;
#[path = "sim/town.rs"]
mod town;
#[path = "sim/trace.rs"]
mod trace;
#[path = "sim/world/mod.rs"]
mod world;

use std::process::ExitCode;
use strowger::media::model::Bug;

/// Lives that `cargo test` lives.
const SEEDS: u64 = 30;

/// Lives after which a fault planted in the kernel must have been noticed.
const FAULTY_SEEDS: usize = 10;

/// One life in so many is lived again with take-overs.
const TAKE_OVER_SEEDS: u64 = 3;

/// Scanned towns that `cargo test` lives in.
const SCANNED_SEEDS: u64 = 3;

/// Lives of sites that `cargo test` lives.
const LIMIT_SEEDS: u64 = 5;

/// Seeds of each flow where datagrams get lost.
const FLOW_SEEDS: u64 = 10;
/// Lost, in parts of a thousand.
const LOSS: u64 = 50;

/// What the command line says.
struct Wanted {
    calls: bool,
    flows: bool,
    limits: bool,
    scanners: bool,
    mutant: Option<String>,
    mutants: bool,
    seeds: Option<u64>,
    first_seed: u64,
    take_overs: bool,
    verbose: bool,
    hashes: bool,
    names: Vec<String>,
}

fn main() -> ExitCode {
    let wanted = match wanted(std::env::args().skip(1)) {
        Ok(wanted) => wanted,
        Err(why) => {
            eprintln!(
                "{why}\nusage: sim [calls|scanners|limits [--seeds N] [--first-seed N] [--verbose] [--hashes] [--take-overs]] [flows [NAME]]\n       sim limits --mutant NAME | --mutants"
            );
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
    if wanted.flows {
        let (good, bad) = play_flows(&wanted);
        passed += good;
        failed += bad;
    }
    if wanted.scanners {
        let (good, bad) = live_scanned(&wanted);
        passed += good;
        failed += bad;
    }
    if wanted.limits {
        let (good, bad) = limits::run(&limits::Wanted {
            seeds: wanted.seeds.unwrap_or(LIMIT_SEEDS),
            first_seed: wanted.first_seed,
            verbose: wanted.verbose,
            hashes: wanted.hashes,
            mutant: wanted.mutant.clone(),
            mutants: wanted.mutants,
            take_overs: wanted.take_overs,
        });
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
    let mut wanted = Wanted {
        calls: false,
        flows: false,
        limits: false,
        scanners: false,
        mutant: None,
        mutants: false,
        seeds: None,
        first_seed: 1,
        take_overs: false,
        verbose: false,
        hashes: false,
        names: Vec::new(),
    };
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let text = arguments.next().unwrap_or_default();
            text.parse().map_err(|_| format!("{argument} wants a number, not {text:?}"))
        };
        match argument.as_str() {
            "calls" => wanted.calls = true,
            "flows" => wanted.flows = true,
            "limits" => wanted.limits = true,
            "scanners" => wanted.scanners = true,
            "--mutants" => wanted.mutants = true,
            "--mutant" => wanted.mutant = Some(arguments.next().unwrap_or_default()),
            "--seeds" => wanted.seeds = Some(number()?),
            "--first-seed" => wanted.first_seed = number()?,
            "--take-overs" => wanted.take_overs = true,
            "--verbose" => wanted.verbose = true,
            "--hashes" => wanted.hashes = true,
            // What cargo and test runners add.
            "--quiet" | "-q" | "--nocapture" | "--show-output" | "--include-ignored" => {}
            name if wanted.flows && !name.starts_with('-') => wanted.names.push(name.to_owned()),
            other => return Err(format!("unknown argument {other:?}")),
        }
    }
    if !wanted.calls && !wanted.flows && !wanted.limits && !wanted.scanners {
        (wanted.calls, wanted.flows, wanted.limits, wanted.scanners) = (true, true, true, true);
    }
    Ok(wanted)
}

fn live_calls(wanted: &Wanted) -> (u64, u64) {
    let (mut passed, mut failed) = (0, 0);
    let (mut calls, mut answered, mut steps, mut orphans, mut below, mut waits) = (0, 0, 0, 0, 0, (0, 0));
    let seeds = wanted.seeds.unwrap_or(SEEDS);
    for seed in wanted.first_seed..wanted.first_seed + seeds {
        let life = std::panic::catch_unwind(|| calls::live(seed, wanted.verbose, None, wanted.take_overs));
        let life = life.unwrap_or_else(|_| Err("it panicked".to_owned()));
        match life {
            Ok(outcome) => {
                passed += 1;
                if !wanted.take_overs && seed % TAKE_OVER_SEEDS == 1 {
                    let (good, bad) = take_over(seed, outcome.hash);
                    (passed, failed) = (passed + good, failed + bad);
                }
                (calls, answered) = (calls + outcome.calls, answered + outcome.answered);
                (steps, orphans) = (steps + outcome.steps, orphans + outcome.orphans);
                below += outcome.below;
                waits = (waits.0 + outcome.waits.0, waits.1 + outcome.waits.1);
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
    match [(); 2].map(|()| calls::live(wanted.first_seed, false, None, false).map(|outcome| outcome.hash)) {
        [Ok(once), Ok(again)] if once != again => {
            failed += 1;
            println!("test the same seed, the same trace ... FAILED: {once:016x} and {again:016x}");
        }
        _ => passed += 1,
    }
    println!(
        "calls: {seeds} seeds, {calls} calls placed, {answered} ends answered, {steps} deliveries, {below} packets relayed \
         by the kernel, {orphans} held calls left, {} calls waited for a right and {} got one",
        waits.0, waits.1
    );
    match (wanted.first_seed..).take(FAULTY_SEEDS).find(|seed| finds(*seed, Bug::ForgetsRest)) {
        Some(seed) => println!("test a kernel that forgets packets ... found by seed {seed}"),
        None => {
            failed += 1;
            println!("test a kernel that forgets packets ... FAILED: {FAULTY_SEEDS} seeds did not find it");
        }
    }
    (passed, failed)
}

/// Each life where scanners are about, and some again with take-overs, which nobody may notice.
fn live_scanned(wanted: &Wanted) -> (u64, u64) {
    let (mut passed, mut failed) = (0, 0);
    let seeds = wanted.seeds.unwrap_or(SCANNED_SEEDS);
    for seed in wanted.first_seed..wanted.first_seed + seeds {
        let live = |take_overs| {
            let life = std::panic::catch_unwind(|| scanners::live(seed, wanted.verbose, take_overs));
            life.unwrap_or_else(|_| Err("it panicked".to_owned()))
        };
        let mut life = live(wanted.take_overs);
        if let (Ok(hash), false, true) = (&life, wanted.take_overs, seed % TAKE_OVER_SEEDS == 1) {
            let other = live(true).map_err(|why| format!("with take-overs: {why}"));
            life = match other {
                Ok(other) if other != *hash => {
                    Err(format!("trace {other:016x} with take-overs instead of {hash:016x}"))
                }
                other => other,
            };
        }
        match life {
            Ok(_) => passed += 1,
            Err(why) => {
                failed += 1;
                println!(
                    "test scanned seed {seed} ... FAILED\n{why}\nagain: sim -- scanners --seeds 1 --first-seed {seed} --verbose\n"
                );
            }
        }
    }
    println!("scanners: {seeds} seeds");
    (passed, failed)
}

fn finds(seed: u64, bug: Bug) -> bool {
    std::panic::catch_unwind(|| calls::live(seed, false, Some(bug), false)).is_ok_and(|life| life.is_err())
}

/// The same life where shards are taken over by other processes: nobody notices anything.
fn take_over(seed: u64, hash: u64) -> (u64, u64) {
    let life = std::panic::catch_unwind(|| calls::live(seed, false, None, true));
    match life.unwrap_or_else(|_| Err("it panicked".to_owned())) {
        // What is below comes up first: with a kernel it is another life, in which everything must balance.
        Ok(outcome) if outcome.hash == hash || outcome.below > 0 => (1, 0),
        Ok(outcome) => {
            let other = outcome.hash;
            println!("test seed {seed} with take-overs ... FAILED: trace {other:016x} instead of {hash:016x}\n");
            (0, 1)
        }
        Err(why) => {
            println!(
                "test seed {seed} with take-overs ... FAILED\n{why}\nagain: sim -- calls --take-overs --seeds 1 --first-seed {seed} --verbose\n"
            );
            (0, 1)
        }
    }
}

/// Each flow once over a good network, then where 5 % of all datagrams get lost, with several seeds.
fn play_flows(wanted: &Wanted) -> (u64, u64) {
    let (mut passed, mut failed) = (0, 0);
    let mut tell = |name: &str, result: Result<(), String>| match result {
        Ok(()) => {
            passed += 1;
            println!("test flow {name} ... ok");
        }
        Err(why) => {
            failed += 1;
            println!("test flow {name} ... FAILED\n{why}");
        }
    };
    tell("patterns", pattern::self_test());
    let files = flows::files().unwrap_or_else(|why| {
        tell("files", Err(why));
        Vec::new()
    });
    for (name, text) in files {
        if !wanted.names.is_empty() && !wanted.names.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let play = |seed: u64, loss: u64| {
            let played = std::panic::catch_unwind(|| flows::play(&text, seed, loss, wanted.verbose));
            played.unwrap_or_else(|_| Err("it panicked".to_owned())).map_err(|why| format!("seed {seed}: {why}"))
        };
        tell(&name, play(wanted.first_seed, 0));
        let lossy = (0..FLOW_SEEDS.min(wanted.seeds.unwrap_or(SEEDS)))
            .try_for_each(|seed| play(wanted.first_seed + seed, LOSS));
        tell(&format!("{name}, 5 % lost"), lossy);
    }
    (passed, failed)
}
