//! A seed's life: a town of phones and trunks, a network with moods, people who call, hold, dial and hang up, and
//! machines that stop, restart and lose sight of each other. At the end everybody goes home.

mod act;
mod home;
mod settle;

use crate::balance;
use crate::network::Faults;
use crate::world::World;
use strowger::base::time::Duration;
use strowger::base::{Instant, Random};
use strowger::config::Config;
use strowger::media::model::Bug;
use strowger::phone::Event;

/// How the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Good,
    Mild,
    Rough,
}

/// What a seed came to.
#[derive(Debug)]
pub struct Outcome {
    /// Calls placed.
    pub calls: usize,
    /// Calls answered.
    pub answered: usize,
    /// Calls that nobody but the appliance knew at the end.
    pub orphans: usize,
    /// Calls that waited for a right, and those that got one.
    pub waits: (usize, usize),
    /// Packets that the kernel relayed.
    pub below: u64,
    /// Deliveries.
    pub steps: u64,
    /// Of everything that happened.
    pub hash: u64,
}

struct Life {
    world: World,
    random: Random,
    mood: Mood,
    accounts: Vec<String>,
    config: Config,
    placed: usize,
    orphans: usize,
    /// Tables are so small that everything runs full.
    small: bool,
    /// Of the kernel that relays, in every other life.
    kernel: Option<Random>,
    bug: Option<Bug>,
}

/// Lives a seed; a fault may be planted in its kernel. With `take_overs`, shards are frozen and thawed at random
/// instants, which must make no difference.
pub fn live(seed: u64, verbose: bool, bug: Option<Bug>, take_overs: bool) -> Result<Outcome, String> {
    let mut random = Random::from_u64(seed ^ 0x5357_4752);
    let mood = [Mood::Good, Mood::Mild, Mood::Mild, Mood::Rough][random.below(4) as usize];
    let mut world = World::new(seed, faults(mood, &mut random), verbose);
    if take_overs {
        world.take_over_by(Random::from_u64(seed ^ 0x5441_4b45));
    }
    let mut life = Life {
        world,
        random,
        mood,
        accounts: Vec::new(),
        config: Config::default(),
        placed: 0,
        orphans: 0,
        small: false,
        kernel: seed.is_multiple_of(2).then(|| Random::from_u64(seed ^ 0x5844_5021)),
        bug,
    };
    let result = life.settle().and_then(|()| life.live()).and_then(|()| life.close());
    if let Err(why) = result {
        return Err(format!(
            "{why}\nmood {mood:?}, at {:.3} s, after:\n{}",
            life.world.now.as_nanos() as f64 / 1e9,
            life.world.trace.tail()
        ));
    }
    let answered = |event: &&(Instant, Event)| matches!(event.1, Event::Established { .. });
    Ok(Outcome {
        calls: life.placed,
        answered: life.world.stations.iter().map(|station| station.events.iter().filter(answered).count()).sum(),
        orphans: life.orphans,
        below: life.world.appliance.as_ref().map_or(0, |appliance| appliance.relayed_below),
        waits: life.world.keeper.as_ref().map_or((0, 0), |keeper| (keeper.waited, keeper.granted)),
        steps: life.world.trace.count(),
        hash: life.world.trace.hash(),
    })
}

fn faults(mood: Mood, random: &mut Random) -> Faults {
    let millis = Duration::from_millis;
    match mood {
        Mood::Good => Faults { chop: random.below(2) == 0, ..Faults::NONE },
        Mood::Mild => Faults {
            loss: random.below(50),
            duplication: random.below(20),
            reordering: random.below(50),
            delay_min: millis(1),
            delay_max: millis(1 + random.below(50)),
            chop: true,
            sockets: random.below(10),
        },
        Mood::Rough => Faults {
            loss: random.below(250),
            duplication: random.below(100),
            reordering: random.below(200),
            delay_min: millis(1 + random.below(20)),
            delay_max: millis(30 + random.below(250)),
            chop: true,
            sockets: random.below(50),
        },
    }
}

impl Life {
    fn chance(&mut self, percent: u64) -> bool {
        self.random.below(100) < percent
    }

    fn seconds(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(1000 * least + self.random.below(1000 * (most - least) + 1))
    }

    fn live(&mut self) -> Result<(), String> {
        let now = self.world.now;
        for station in &mut self.world.stations {
            if station.phone.options().login.is_some() {
                station.phone.register(now);
            }
        }
        self.world.drain();
        self.run(Duration::from_secs(3))?;
        for _ in 0..8 + self.random.below(24) {
            self.act();
            let pause = Duration::from_millis(self.random.below(2_000));
            self.run(pause)?;
        }
        Ok(())
    }

    fn run(&mut self, time: Duration) -> Result<(), String> {
        self.world.run(time, &mut |world| balance::every_step(world))
    }
}
