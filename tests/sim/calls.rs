//! A seed's life: a town of phones and trunks, a network with moods, people who call, hold, dial and hang up, and
//! machines that stop, restart and lose sight of each other. At the end everybody goes home.

use crate::balance;
use crate::keeper::Keeper;
use crate::network::Faults;
use crate::town;
use crate::world::World;
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use strowger::base::time::Duration;
use strowger::base::{Instant, Random, ShardId, Transport};
use strowger::call::Directory;
use strowger::config::Config;
use strowger::media::model::Bug;
use strowger::phone::{Answering, Direction, Event, Placing, Then};
use strowger::shard::Mail;

/// Longest that a town may need to come to rest after everybody has hung up: a ring timeout and two transactions.
const REST: Duration = Duration::from_secs(300);
/// Longest time for the last registrations to be taken back.
const GOODBYE: Duration = Duration::from_secs(300);
/// A shard told to stop says goodbye to its calls and ends within this.
const STOP: Duration = Duration::from_secs(5);

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

    /// Ordinary tables, or such small ones that everything runs full.
    fn head(&mut self) -> String {
        self.small = self.chance(20);
        if !self.small {
            return town::head("calls_max = 200\ntransactions_max = 2000", town::PORTS);
        }
        let mut below = |least: u64, most: u64| least + self.random.below(most - least + 1);
        let tables = format!(
            "calls_max = {}\ntransactions_max = {}\ncontacts_max = {}\nconnections_max = {}",
            below(1, 4),
            below(16, 100),
            below(2, 10),
            below(1, 6)
        );
        town::head(&tables, 2 * below(16, 40) as u16)
    }

    fn settle(&mut self) -> Result<(), String> {
        let mut text = self.head();
        let mut number = 0;
        for index in 0..2 + self.random.below(3) {
            let name = format!("a{index}");
            let devices = 1 + self.random.below(3) as usize;
            let forking = if self.chance(30) { "serial" } else { "parallel" };
            let more = format!(
                "numbers = [\"+1555000{index}\"]\nmax_calls = {}\nforking = \"{forking}\"\n",
                1 + self.random.below(4)
            );
            town::account(&mut text, &name, devices, &more);
            for device in 0..devices {
                let transport = if self.chance(30) { Transport::Tcp } else { Transport::Udp };
                let mut options = town::phone(&name, device, number, transport);
                options.expires = 60 + self.random.below(120) as u32;
                options.answering = self.answering();
                match self.random.below(8) {
                    0 => town::to_v6(&mut options),
                    1 => town::behind_nat(&mut options),
                    _ => {}
                }
                self.world.add(&format!("{name}/{device}"), options);
                number += 1;
            }
            self.accounts.push(name);
        }
        for index in 0..self.random.below(3) as usize {
            let prefix = ["+1", "+44", ""][self.random.below(3) as usize];
            let more = format!(
                "prefixes = [\"{prefix}\"]\nmax_calls = 3\ntimeout = \"2s\"\nallow_from = [\"{}/32\"]\n",
                town::address(town::TRUNKS + index).ip()
            );
            town::trunk(&mut text, &format!("t{index}"), index, &more);
            let mut options = town::carrier(&format!("t{index}"), index, Transport::Udp);
            options.answering = self.answering();
            self.world.add(&format!("t{index}"), options);
        }
        let config = town::config(&text)?;
        self.config = config.clone();
        let shards = 1 + self.random.below(4) as usize;
        if self.chance(50) {
            self.world.keeper = Some(Keeper::new(self.random.fork()));
        }
        town::build(&mut self.world, &config, shards);
        if let (Some(appliance), true) = (&mut self.world.appliance, self.kernel.is_some()) {
            appliance.add_kernels(self.world.now, self.bug);
        }
        Ok(())
    }

    fn answering(&mut self) -> Answering {
        let early = self.chance(20);
        Answering {
            deaf: self.chance(5),
            provisional: match self.random.below(4) {
                0 => None,
                _ => Some(if early { 183 } else { 180 }),
            },
            early_media: early,
            after: if self.chance(50) { Duration::ZERO } else { self.seconds(0, 5) },
            then: match self.random.below(12) {
                0 => Then::Reject(486),
                1 => Then::Reject([480, 503, 603, 404][self.random.below(4) as usize]),
                2 => Then::Wait,
                3 => Then::Redirect(format!("sip:a0@{}", town::DOMAIN)),
                _ => Then::Accept,
            },
            hang_up_after: self.chance(50).then(|| self.seconds(0, 8)),
        }
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

    /// Somebody does something, or something breaks.
    fn act(&mut self) {
        self.keep();
        self.lose_neighbours();
        match self.random.below(25) {
            0..=8 => self.place(),
            9..=13 => self.use_a_call(),
            14 | 15 => {
                let answering = self.answering();
                let index = self.somebody();
                self.world.stations[index].phone.set_answering(answering);
            }
            19 => self.operate(),
            _ if self.mood == Mood::Good => self.place(),
            20 | 21 => self.intrude(),
            22 => {
                let (index, until) = (self.somebody(), self.world.now + self.seconds(0, 8));
                self.world.stations[index].off_until = until;
                self.world.trace.note(self.world.now, &format!("plug of {index}"), &[]);
            }
            16 => self.cut(),
            17 => self.pause(),
            18 => {
                let index = self.somebody();
                self.world.restart(index);
                let now = self.world.now;
                if self.world.stations[index].phone.options().login.is_some() {
                    self.world.stations[index].phone.register(now);
                }
            }
            _ => self.place(),
        }
        self.world.drain();
    }

    /// The kernel knows no next hop for a while.
    fn lose_neighbours(&mut self) {
        let (Some(random), Some(appliance)) = (&mut self.kernel, &self.world.appliance) else { return };
        for kernel in &appliance.kernels {
            kernel.refuse(random.below(100) < if kernel.is_refusing() { 50 } else { 10 });
        }
    }

    /// Other sites lend, call in and fall silent.
    fn keep(&mut self) {
        let (nap, until) = (self.chance(10), self.world.now);
        let World { keeper: Some(keeper), appliance: Some(appliance), .. } = &mut self.world else { return };
        keeper.sleep(nap.then_some(until));
        let letters = keeper.act(&appliance.directory, appliance.shards.len());
        for (to, mail) in letters {
            self.world.post(to, mail);
        }
    }

    fn somebody(&mut self) -> usize {
        self.random.below(self.world.stations.len() as u64) as usize
    }

    fn place(&mut self) {
        let caller = self.somebody();
        let account = self.random.below(self.accounts.len() as u64) as usize;
        let target = match self.random.below(10) {
            0..=5 => format!("sip:{}@{}", self.accounts[account], town::DOMAIN),
            6 => format!("sip:+1555000{account}@{}", town::DOMAIN),
            7 => format!("sip:+4420{}@{}", self.random.below(10_000), town::DOMAIN),
            8 => format!("sip:112@{}", town::DOMAIN),
            _ => format!("sip:nobody@{}", town::DOMAIN),
        };
        let placing = Placing {
            late_offer: self.chance(15),
            patience: Some(if self.chance(25) { self.seconds(0, 3) } else { self.seconds(5, 40) }),
            hang_up_after: self.chance(60).then(|| self.seconds(0, 8)),
            headers: Vec::new(),
        };
        let now = self.world.now;
        if self.world.stations[caller].phone.place(now, &target, &placing).is_some() {
            self.placed += 1;
        }
    }

    fn use_a_call(&mut self) {
        let now = self.world.now;
        let index = self.somebody();
        let action = self.random.below(6);
        let pick = self.random.below(1 << 20) as usize;
        let phone = &mut self.world.stations[index].phone;
        let lines = phone.lines();
        let Some(call) = lines.get(pick % lines.len().max(1)).copied() else { return };
        match action {
            0 | 1 => phone.hang_up(now, call),
            2 => phone.change(now, call, [Direction::SendOnly, Direction::Inactive][pick & 1]),
            3 => phone.change(now, call, Direction::SendRecv),
            4 => phone.dial(call, "12"),
            _ => phone.accept(now, call),
        }
    }

    /// An operator hangs up what there is in a shard, or publishes the same accounts with other limits.
    fn operate(&mut self) {
        let Some(appliance) = &mut self.world.appliance else { return };
        let shards = appliance.shards.len();
        if self.random.below(3) > 0 {
            let mut config = self.config.clone();
            for account in &mut config.accounts {
                account.max_calls = 1 + self.random.below(4) as u32;
            }
            let previous = Some(&*appliance.directory);
            let directory = Arc::new(match &self.world.keeper {
                Some(keeper) => Directory::kept(&config, previous, &keeper.pulse),
                None => Directory::new(&config, previous),
            });
            appliance.directory = Arc::clone(&directory);
            for shard in 0..shards {
                self.world.post(ShardId(shard as u8), Mail::Directory(Arc::clone(&directory)));
            }
        } else {
            appliance.hang_up_all(self.world.now);
        }
    }

    /// A stranger, or somebody in a phone's name, sends what nobody asked for.
    fn intrude(&mut self) {
        let stranger = SocketAddr::from(([10, 0, 3, self.random.below(5) as u8], 5060));
        for _ in 0..1 + self.random.below(20) {
            if self.chance(50) {
                let bytes = self.garbled();
                let index = self.somebody();
                let from = if self.chance(50) { stranger } else { self.world.stations[index].phone.options().local };
                self.world.intrude(from, town::server_of(from.ip()), bytes);
            } else {
                let mut packet = [0; 172];
                self.random.fill(&mut packet);
                packet[0] = 0x80;
                packet[1] &= 0x7f;
                let port = 30_000 + self.random.below(64) as u16;
                self.world.intrude(
                    stranger,
                    SocketAddr::new(town::server().ip(), port),
                    Bytes::copy_from_slice(&packet),
                );
            }
        }
    }

    /// The last message with a few octets changed, a line doubled, or its end cut off.
    fn garbled(&mut self) -> Bytes {
        let mut bytes = self.world.last_message.to_vec();
        for _ in 0..1 + self.random.below(4) {
            let at = self.random.below(bytes.len().max(1) as u64) as usize;
            let Some(byte) = bytes.get_mut(at) else { continue };
            match self.random.below(4) {
                0 => *byte = self.random.next_u32() as u8,
                1 => *byte = b"\r\n :;,<>\"@\0"[self.random.below(11) as usize],
                2 => bytes.truncate(at),
                _ => {
                    let line = bytes[at..].split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default().to_vec();
                    bytes.splice(at..at, line);
                }
            }
        }
        Bytes::from(bytes)
    }

    fn cut(&mut self) {
        let index = self.somebody();
        let until = self.world.now + self.seconds(0, 20);
        let here = self.world.stations[index].ip();
        let there = town::server_of(here).ip();
        let ways = self.random.below(3);
        if ways != 1 {
            self.world.network.cut(here, there, until);
        }
        if ways != 0 {
            self.world.network.cut(there, here, until);
        }
        let name = self.world.stations[index].name.clone();
        self.world.trace.note(self.world.now, &format!("cut of {name}, {ways}"), &[]);
    }

    fn pause(&mut self) {
        let index = self.somebody();
        let until = self.world.now + self.seconds(0, 5);
        let shard = self.chance(40);
        self.world.trace.note(self.world.now, &format!("pause {shard} {index}"), &[]);
        match &mut self.world.appliance {
            Some(appliance) if shard => {
                let count = appliance.paused_until.len();
                appliance.pause(index % count, self.world.now, until);
            }
            _ => self.world.stations[index].paused_until = until,
        }
    }

    /// Most lives end with everybody going home, some with the appliance being switched off in the middle of things.
    fn close(&mut self) -> Result<(), String> {
        if self.chance(80) {
            self.go_home()?;
        }
        let Some(appliance) = &mut self.world.appliance else { return Ok(()) };
        appliance.paused_until.fill(Instant::ZERO);
        let shards = appliance.shards.len();
        for shard in (0..shards).map(|shard| ShardId(shard as u8)) {
            self.world.post(shard, Mail::Drain);
            self.world.post(shard, Mail::Stop);
        }
        let end = self.world.now + STOP;
        while self.world.step(end) {}
        let stopped = self.world.appliance.as_ref().map_or(0, |appliance| appliance.stopped.len());
        if let Some(appliance) = &self.world.appliance {
            balance::below(appliance)?;
        }
        if stopped == shards { Ok(()) } else { Err(format!("{stopped} of {shards} shards stopped")) }
    }

    /// The network heals, everybody hangs up; then nothing may be left.
    fn go_home(&mut self) -> Result<(), String> {
        self.world.network.heal();
        let wait = self.world.stations.iter().map(|station| station.paused_until.max(station.off_until)).max();
        let pauses = self.world.appliance.as_ref().and_then(|appliance| appliance.paused_until.iter().max().copied());
        let until = wait.max(pauses).unwrap_or_default();
        self.run(until.since(self.world.now) + Duration::from_secs(1))?;
        let end = self.world.now + REST;
        while self.world.now < end && !balance::is_quiet(&self.world) {
            self.hang_up_all();
            self.run(Duration::from_secs(2))?;
        }
        if self.world.stations.iter().any(|station| station.life > 0) {
            self.hang_up_orphans()?;
        }
        if !balance::is_quiet(&self.world) {
            let audit = self.world.appliance.as_ref().map(|appliance| appliance.audit());
            return Err(format!("no rest {} s after everybody hung up: {audit:?}", REST.as_secs()));
        }
        let now = self.world.now;
        for station in &mut self.world.stations {
            if station.phone.options().login.is_some() {
                station.phone.unregister_all(now);
            }
        }
        self.world.drain();
        self.run(GOODBYE)?;
        balance::at_the_end(&self.world)?;
        if self.mood == Mood::Good && !self.small { balance::after_good_times(&self.world) } else { Ok(()) }
    }

    /// A call on hold whose two phones were both switched off and on is known to nobody but the appliance; silence
    /// is what hold is, so that only the operator can tell.
    fn hang_up_orphans(&mut self) -> Result<(), String> {
        if let Some(appliance) = &mut self.world.appliance {
            self.orphans = appliance.hang_up_all(self.world.now);
            self.world.drain();
            self.run(Duration::from_secs(70))?;
        }
        Ok(())
    }

    fn hang_up_all(&mut self) {
        let now = self.world.now;
        for station in &mut self.world.stations {
            station.phone.set_answering(Answering { then: Then::Reject(486), ..Answering::default() });
            for call in station.phone.lines() {
                station.phone.hang_up(now, call);
            }
        }
        self.world.drain();
    }
}
