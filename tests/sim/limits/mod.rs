//! Limits across sites: the production machine under everything that can go wrong, in virtual time.
//!
//! `cargo test --release --test sim -- limits --seeds 10000 --first-seed 1` lives ten thousand lives of three to seven
//! sites: first chaos with the invariants looked at after every step, then peace, at the end of which every right must be
//! home. One life in so many is lived again where sites change their process; with `--take-overs` all are.
//! `--mutant NAME` plants a bug and expects to see it; `--mutants` does so with all of them.

mod check;
mod clock;
mod counter;
mod disk;
mod faults;
mod moved;
mod plan;
mod site;
mod skew;
mod world;

pub use plan::Mutant;
use plan::{Plan, SECOND};
use strowger::base::Random;
use world::{Calls, TakeOvers, World};

/// One life in so many is lived again with take-overs.
const TAKE_OVER_SEEDS: u64 = 3;

/// What the command line says.
pub struct Wanted {
    pub seeds: u64,
    pub first_seed: u64,
    pub verbose: bool,
    pub hashes: bool,
    pub mutant: Option<String>,
    pub mutants: bool,
    pub take_overs: bool,
}

/// How a life ended.
pub struct Outcome {
    pub calls: Calls,
    pub take_overs: TakeOvers,
    pub hash: u64,
    pub steps: u64,
    pub seconds: u64,
}

/// Lives one seed.
pub fn live(seed: u64, mutant: Mutant, verbose: bool, take_overs: bool) -> Result<Outcome, String> {
    let mut random = Random::from_u64(seed);
    let plan = Plan::new(&mut random, mutant, take_overs);
    if verbose {
        println!("{plan:?}");
    }
    let (settings, chaos_until) = (plan.settings.clone(), plan.chaos_until);
    let mut world = World::new(plan, mutant, random, verbose);
    world.run(chaos_until)?;
    world.make_peace();
    // All that may take its whole time: calls, loans, the wait for a retired site, and the same for loans made then.
    let whole = settings.lease + settings.max_call + settings.dead_man + settings.slop;
    let mut until = chaos_until + 4 * whole.as_nanos() as u64 + 60 * SECOND;
    world.run(until)?;
    let mut home = world.all_home();
    for _ in 0..3 {
        if home.is_ok() {
            break;
        }
        until += 20 * SECOND;
        world.run(until)?;
        home = world.all_home();
    }
    home?;
    let (calls, take_overs) = (world.calls, world.take_overs);
    Ok(Outcome { calls, take_overs, hash: world.hash, steps: world.order, seconds: until / SECOND })
}

fn try_to_live(seed: u64, mutant: Mutant, verbose: bool, take_overs: bool) -> Result<Outcome, String> {
    let life = std::panic::catch_unwind(|| live(seed, mutant, verbose, take_overs));
    life.unwrap_or_else(|_| Err("it panicked".to_owned()))
}

/// Does what the command line says; passed and failed.
pub fn run(wanted: &Wanted) -> (u64, u64) {
    let seeds = wanted.first_seed..wanted.first_seed + wanted.seeds;
    if let Some(name) = &wanted.mutant {
        let Some((_, mutant)) = Mutant::all().into_iter().find(|(other, _)| other == name) else {
            let names: Vec<&str> = Mutant::all().iter().map(|(name, _)| *name).collect();
            println!("there is no mutant {name:?}, but {}", names.join(", "));
            return (0, 1);
        };
        return catch(name, mutant, seeds, wanted.verbose);
    }
    if wanted.mutants {
        return Mutant::all().into_iter().fold((0, 0), |(passed, failed), (name, mutant)| {
            let (good, bad) = catch(name, mutant, seeds.clone(), false);
            (passed + good, failed + bad)
        });
    }
    live_all(seeds, wanted)
}

/// A bug must be seen by some seed.
fn catch(name: &str, mutant: Mutant, seeds: std::ops::Range<u64>, verbose: bool) -> (u64, u64) {
    for seed in seeds.clone() {
        if let Err(why) = try_to_live(seed, mutant, verbose, mutant.is_of_take_overs()) {
            println!("mutant {name:28} caught by seed {seed}: {why}");
            return (1, 0);
        }
    }
    println!("mutant {name:28} NOT CAUGHT by {} seeds", seeds.count());
    (0, 1)
}

/// Lives of one kind, all together.
#[derive(Default)]
struct Lives {
    passed: u64,
    failed: u64,
    calls: Calls,
    take_overs: TakeOvers,
    steps: u64,
    seconds: u64,
}

impl Lives {
    fn live(&mut self, seed: u64, wanted: &Wanted, take_overs: bool) {
        match try_to_live(seed, Mutant::None, wanted.verbose, take_overs) {
            Ok(outcome) => {
                self.passed += 1;
                self.calls.add(&outcome.calls);
                self.take_overs.add(&outcome.take_overs);
                (self.steps, self.seconds) = (self.steps + outcome.steps, self.seconds + outcome.seconds);
                if wanted.hashes {
                    println!("seed {seed} trace {:016x}", outcome.hash);
                }
            }
            Err(why) => {
                let (with, more) = if take_overs { (" with take-overs", "--take-overs ") } else { ("", "") };
                self.failed += 1;
                println!("test limits, seed {seed}{with} ... FAILED\n{why}");
                println!("again: sim -- limits {more}--seeds 1 --first-seed {seed} --verbose\n");
            }
        }
    }

    fn tell(&self, with: &str) {
        let Self { calls, take_overs, .. } = self;
        println!(
            "limits{with}: {} seeds, {:.1} simulated hours, {} steps, {} calls offered, {} admitted, {} waited{}",
            self.passed + self.failed,
            self.seconds as f64 / 3600.0,
            self.steps,
            calls.offered,
            calls.admitted,
            calls.waited,
            match take_overs.done + take_overs.declined {
                0 => String::new(),
                _ => format!("; {} changes of process, {} given up", take_overs.done, take_overs.declined),
            }
        );
    }
}

fn live_all(seeds: std::ops::Range<u64>, wanted: &Wanted) -> (u64, u64) {
    let (mut lives, mut changed) = (Lives::default(), Lives::default());
    for seed in seeds.clone() {
        if !wanted.take_overs {
            lives.live(seed, wanted, false);
        }
        if wanted.take_overs || seed % TAKE_OVER_SEEDS == 1 {
            changed.live(seed, wanted, true);
        }
    }
    let (mut passed, mut failed) = (lives.passed + changed.passed, lives.failed + changed.failed);
    let figures = || vec![counters(seeds.clone()), rights_follow(seeds.start), rights_move(seeds.start)];
    for outcome in if wanted.take_overs { Vec::new() } else { figures() } {
        match outcome {
            Ok(()) => passed += 1,
            Err(why) => {
                failed += 1;
                println!("test {why} ... FAILED");
            }
        }
    }
    let again = || live(seeds.start, Mutant::None, false, wanted.take_overs).map(|outcome| outcome.hash);
    match [(); 2].map(|()| again()) {
        [Ok(once), Ok(again)] if once != again => {
            failed += 1;
            println!("test the same seed, the same trace ... FAILED: {once:016x} and {again:016x}");
        }
        _ => passed += 1,
    }
    [(&lives, ""), (&changed, " with take-overs")]
        .iter()
        .filter(|(lives, _)| lives.steps > 0)
        .for_each(|(lives, with)| lives.tell(with));
    (passed, failed)
}

/// The counter that others use must be seen to let too many in; otherwise we look at the wrong things.
fn counters(seeds: std::ops::Range<u64>) -> Result<(), String> {
    let tried = seeds.clone().take(100).count();
    let excess: Vec<u32> = seeds.take(100).map(counter::worst_excess).collect();
    let over = excess.iter().filter(|excess| **excess > 0).count();
    let worst = excess.iter().max().copied().unwrap_or(0);
    println!("naive counter: over-admits in {over} of {tried} seeds, by up to {worst} of 10");
    if over > 0 { Ok(()) } else { Err("a naive counter was not seen to over-admit".to_owned()) }
}

/// Rule 8: the rights of small accounts are where their phones are.
fn rights_move(seed: u64) -> Result<(), String> {
    let [before, after] = [moved::decided_at_once(seed, false)?, moved::decided_at_once(seed, true)?];
    println!(
        "users who moved to another site: {:.2} % of their calls decided at once; {:.2} % if nobody told of their phones",
        after * 100.0,
        before * 100.0
    );
    if after >= 0.95 { Ok(()) } else { Err("rights do not follow the phones of an account".to_owned()) }
}

/// Goals of rule 8: 99 % of the rights where the calls are after five seconds, 95 % of the calls decided at once.
fn rights_follow(seed: u64) -> Result<(), String> {
    for limit in skew::LIMITS {
        let figures = skew::measure(seed, *limit)?;
        println!(
            "skew, limit {:5}: usable where the calls are {:.2} % (least {:.2} %), in use {:.2} %, decided at once {:.2} %",
            figures.limit,
            figures.usable * 100.0,
            figures.usable_least * 100.0,
            figures.in_use * 100.0,
            figures.at_once * 100.0
        );
        let late = *limit >= skew::AT_ONCE_FROM && figures.at_once < 0.95;
        if late || (*limit >= skew::GOAL_FROM && figures.usable < 0.99) {
            return Err(format!("rights of an account of {limit} do not follow the calls"));
        }
    }
    Ok(())
}
