//! Nine calls of ten come in at one site, three times as many as the limit allows: do the rights follow them?
//!
//! Virtual time, a good network of 10 to 40 ms, no faults. What counts is how many of the rights are in use, or usable
//! where the calls are, from five seconds after the first call on; and how many calls were decided without waiting.

use super::plan::{MILLI, Mutant, Plan, SECOND};
use super::world::World;
use strowger::base::Random;
use strowger::base::time::Duration;
use strowger::tally::rights::{Policy, Settings};

/// The limits tried.
pub const LIMITS: &[u32] = &[5, 8, 10, 15, 20, 30, 100, 1_000];
/// The goal of usable rights is asserted from this limit on: of 30 rights, one on its way is three parts of a hundred.
pub const GOAL_FROM: u32 = 100;
/// The goal of calls decided at once, from this one on.
pub const AT_ONCE_FROM: u32 = 8;
/// The site that the calls are at.
const BUSY: usize = 1;
const SITES: usize = 5;
const CALL: u64 = 10 * SECOND;
/// Calls begin once links stand and shares are placed.
const FROM: u64 = 12 * SECOND;
/// Long enough for some thousand calls.
fn measured(limit: u32) -> u64 {
    if limit < GOAL_FROM { 900 * SECOND } else { 30 * SECOND }
}

/// What was measured.
pub struct Figures {
    pub limit: u32,
    /// Parts of the limit in use or usable where the calls are, on average and at the least.
    pub usable: f64,
    pub usable_least: f64,
    /// Parts of the limit in use, on average.
    pub in_use: f64,
    /// Parts of the calls that were decided at once.
    pub at_once: f64,
}

pub fn plan(limit: u32) -> Plan {
    let settings = Settings { max_call: Duration::from_secs(600), policy: Policy::Keep, ..Settings::default() };
    Plan {
        settings,
        drift_ppm: 1_000,
        sites: SITES,
        limits: vec![limit],
        homes: vec![0],
        allowances: vec![0],
        chaos_until: u64::MAX,
        calm: u64::MAX / 1_000,
        loss: 0,
        doubled: 0,
        between_calls: CALL / u64::from(3 * limit),
        call: CALL,
        skew: 88,
        good: true,
        quiet: false,
        calls_from: FROM,
        take_overs: false,
    }
}

/// One life with that limit.
pub fn measure(seed: u64, limit: u32) -> Result<Figures, String> {
    let mut world = World::new(plan(limit), Mutant::None, Random::from_u64(seed), false);
    world.run(FROM + 5 * SECOND)?;
    let (mut usable, mut least, mut in_use, mut samples) = (0.0, f64::MAX, 0.0, 0.0);
    while world.now < FROM + 5 * SECOND + measured(limit) {
        let next = world.now + 100 * MILLI;
        world.run(next)?;
        let (mut there, mut live) = (0, 0);
        for (number, host) in world.hosts.iter().enumerate() {
            let Some(process) = &host.process else { continue };
            let (up, may) = process.cells[0].read();
            live += up;
            there += if number == BUSY { may.max(up) } else { up };
        }
        let part = f64::from(there) / f64::from(limit);
        (usable, least) = (usable + part, least.min(part));
        in_use += f64::from(live) / f64::from(limit);
        samples += 1.0;
    }
    let waited = world.calls.waited as f64 / world.calls.offered as f64;
    Ok(Figures {
        limit,
        usable: usable / samples,
        usable_least: least,
        in_use: in_use / samples,
        at_once: 1.0 - waited,
    })
}
