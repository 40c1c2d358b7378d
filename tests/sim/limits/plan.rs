//! What a seed decides before anything happens: how many sites and accounts, how bad the network is, how long it lasts.

use strowger::base::Random;
use strowger::base::time::Duration;
use strowger::tally::rights::{Fault, Policy, Settings};

/// Nanoseconds in a second and in a millisecond.
pub const SECOND: u64 = 1_000_000_000;
pub const MILLI: u64 = 1_000_000;

/// Bugs of the rooms around the machine, which the simulator plants in its own copies of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Around {
    /// Shards trust the cells although the keeper stands still.
    StaleKeeper,
    /// An operator founds a home's new ledger while rights of the old one are in use.
    FoundedUnfenced,
    /// A lost disk comes back as the identity that it was, with nothing on it.
    RebuiltFromNothing,
    /// A new process has its keeper's first turn before its calls hold their rights again.
    TurnBeforeCalls,
    /// Calls of an account that the new process's configuration lacks hold no cell that anybody counts.
    CellsOfNobody,
}

/// What is wrong in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    None,
    Machine(Fault),
    Around(Around),
}

impl Mutant {
    /// All of them, by name.
    pub fn all() -> Vec<(&'static str, Self)> {
        let mut all: Vec<_> = Fault::ALL.iter().map(|(name, fault)| (*name, Self::Machine(*fault))).collect();
        all.push(("stale_keeper", Self::Around(Around::StaleKeeper)));
        all.push(("founded_unfenced", Self::Around(Around::FoundedUnfenced)));
        all.push(("disk_loss_reissues", Self::Around(Around::RebuiltFromNothing)));
        all.push(("turn_before_calls", Self::Around(Around::TurnBeforeCalls)));
        all.push(("cells_of_nobody", Self::Around(Around::CellsOfNobody)));
        all
    }

    pub fn is(self, around: Around) -> bool {
        self == Self::Around(around)
    }

    /// It is seen where sites change their process.
    pub fn is_of_take_overs(self) -> bool {
        match self {
            Self::None => false,
            Self::Machine(fault) => fault.is_of_thaw(),
            Self::Around(around) => matches!(around, Around::TurnBeforeCalls | Around::CellsOfNobody),
        }
    }
}

/// One seed's world.
#[derive(Clone, Debug)]
pub struct Plan {
    pub settings: Settings,
    pub drift_ppm: u64,
    pub sites: usize,
    /// Limit of each account.
    pub limits: Vec<u32>,
    /// Home of each account.
    pub homes: Vec<usize>,
    pub allowances: Vec<u32>,
    /// Faults happen until then.
    pub chaos_until: u64,
    /// Between two faults, on average.
    pub calm: u64,
    /// Parts of a thousand.
    pub loss: u64,
    pub doubled: u64,
    /// Between two calls at all sites together, on average.
    pub between_calls: u64,
    /// A call's time, on average.
    pub call: u64,
    /// How often the site that most calls are at is chosen, in parts of a hundred.
    pub skew: u64,
    /// Nothing is lost, doubled or late.
    pub good: bool,
    /// Under *drop*, nothing goes wrong and limits change: no call may be hung up.
    pub quiet: bool,
    /// The first call comes then.
    pub calls_from: u64,
    /// Sites change their process.
    pub take_overs: bool,
}

impl Plan {
    pub fn new(random: &mut Random, mutant: Mutant, take_overs: bool) -> Self {
        let mut pick = |from: &[u64]| from[random.below(from.len() as u64) as usize];
        let sites = pick(&[3, 3, 3, 4, 4, 5, 6, 7]) as usize;
        let crowd = 1 + if pick(&[0, 0, 0, 0, 0, 0, 0, 1]) == 1 { pick(&[2, 5, 10]) } else { 0 };
        let accounts = if random.below(200) == 0 { [100, 300, 1_000][random.below(3) as usize] } else { crowd };
        let mut pick = |from: &[u64]| from[random.below(from.len() as u64) as usize];
        let lease = Duration::from_secs(pick(&[4, 4, 6, 10, 30]));
        let max_call = Duration::from_secs(pick(&[5, 10, 20, 60]));
        let drift_ppm = pick(&[1_000, 100_000, 100_000]);
        let fault = if let Mutant::Machine(fault) = mutant { Some(fault) } else { None };
        let settings = Settings {
            lease,
            max_call,
            dead_man: Duration::from_millis(pick(&[0, 1_000, 2_000])),
            drift_ppm: drift_ppm as u32,
            slop: Duration::from_millis(pick(&[500, 1_000, 2_000])),
            policy: if pick(&[0, 1]) == 0 { Policy::Keep } else { Policy::Drop },
            allowance: pick(&[0, 0, 0, 1]) == 1,
            fault,
            ..Settings::default()
        };
        let limits: Vec<u32> = (0..accounts).map(|_| pick(&[1, 2, 5, 10, 10, 30]) as u32).collect();
        let homes = (0..accounts).map(|account| if account == 0 { 0 } else { pick(&[0, 1, 2]) as usize }).collect();
        let allowances = (0..accounts).map(|_| if settings.allowance { pick(&[0, 1, 2]) as u32 } else { 0 }).collect();
        let all: u64 = limits.iter().map(|limit| u64::from(*limit)).sum();
        let call = pick(&[2, 5, 10]) * SECOND;
        let load = pick(&[1, 2, 3, 6]);
        let quiet = settings.policy == Policy::Drop && pick(&[0, 0, 0, 1]) == 1;
        Self {
            between_calls: (call / (all * load)).max(if accounts > 20 { 20 * MILLI } else { 30 * MILLI }),
            drift_ppm,
            sites,
            limits,
            homes,
            allowances,
            chaos_until: pick(&[60, 60, 120, 240]) * SECOND / if accounts > 20 { 3 } else { 1 },
            calm: pick(&[3, 6, 15]) * SECOND,
            loss: if quiet { 0 } else { pick(&[0, 20, 50, 300]) },
            doubled: if quiet { 0 } else { pick(&[0, 100, 200]) },
            call,
            skew: pick(&[0, 50, 90]),
            good: quiet,
            quiet,
            calls_from: 2 * SECOND,
            take_overs,
            settings,
        }
    }

    pub fn name(account: usize) -> String {
        format!("account-{account}")
    }
}
