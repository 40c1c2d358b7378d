//! The users of small accounts move from one site to another: are their first calls there decided at once?
//!
//! Virtual time, a good network, no faults; all rights of so small accounts are at home, a third site. Once with shards
//! that tell the keeper which phones are registered, and once without, for comparison.

use super::plan::{MILLI, Mutant, Plan, SECOND};
use super::skew;
use super::world::{Event, Step, World};
use strowger::base::Random;

const ACCOUNTS: usize = 60;
/// Where the users are, and where they go.
const FROM: usize = 1;
const TO: usize = 2;
/// Users have registered; calls begin.
const CALLS_FROM: u64 = 15 * SECOND;
const MOVE_AT: u64 = 100 * SECOND;
/// The last one has registered at the new site, and calls come in there.
const MOVED_AT: u64 = MOVE_AT + 10 * SECOND;
const MEASURED: u64 = 300 * SECOND;
/// An account has a call so often.
const BETWEEN: u64 = 60 * SECOND;

/// Parts of the calls after the move that were decided at once.
pub fn decided_at_once(seed: u64, told: bool) -> Result<f64, String> {
    let limits: Vec<u32> = (0..ACCOUNTS).map(|account| [2, 3, 5, 8][account % 4]).collect();
    let plan = Plan {
        homes: vec![0; ACCOUNTS],
        allowances: vec![0; ACCOUNTS],
        between_calls: BETWEEN / ACCOUNTS as u64,
        call: 5 * SECOND,
        skew: 100,
        calls_from: CALLS_FROM,
        limits,
        ..skew::plan(1)
    };
    let mut world = World::new(plan, Mutant::None, Random::from_u64(seed), false);
    world.busiest = FROM;
    if told {
        phones(&mut world, 5 * SECOND, FROM, 5);
        phones(&mut world, MOVE_AT, FROM, 0);
        phones(&mut world, MOVE_AT, TO, 5);
    }
    world.run(MOVED_AT)?;
    world.busiest = TO;
    let before = world.calls;
    world.run(MOVED_AT + MEASURED)?;
    let (offered, waited) = (world.calls.offered - before.offered, world.calls.waited - before.waited);
    Ok(1.0 - waited as f64 / offered as f64)
}

fn phones(world: &mut World, at: u64, site: usize, phones: u32) {
    for account in 0..ACCOUNTS {
        let after = at - world.now + account as u64 * 100 * MILLI;
        world.after(after, Event::At(site, Step::Phones { account, phones }));
    }
}
