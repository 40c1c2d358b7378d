//! Plays the conversations of `tests/flows` in the simulator, without loss and with.

mod act;
mod look;

use crate::balance;
use crate::network::Faults;
use crate::pattern::{self, Names};
use crate::script::{Script, Step};
use crate::town;
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use strowger::base::Transport;
use strowger::base::time::Duration;
use strowger::phone::{Answering, Login, Text, Then};

/// Longest that a step may take: a transaction's whole life and some more.
const STEP: Duration = Duration::from_secs(80);
/// After the last step, for what still has to run out.
const REST: Duration = Duration::from_secs(80);

/// All flow files, by name.
pub fn files() -> Result<Vec<(String, String)>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flows");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.extension().is_some_and(|extension| extension == "flow") {
            let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            files.push((name, std::fs::read_to_string(&path).map_err(|error| error.to_string())?));
        }
    }
    files.sort();
    Ok(files)
}

/// Plays one file; `loss` in parts of a thousand.
pub fn play(text: &str, seed: u64, loss: u64, verbose: bool) -> Result<(), String> {
    let script = Script::parse(text)?;
    let millis = Duration::from_millis;
    let faults =
        Faults { loss, delay_min: millis(4), delay_max: millis(if loss > 0 { 30 } else { 4 }), ..Faults::NONE };
    let mut play = Play::new(&script, World::new(seed, faults, verbose), loss > 0)?;
    let result = script.steps.iter().try_for_each(|step| play.step(step)).and_then(|()| play.end());
    result.map_err(|why| format!("{why}\nwhat the phones saw:\n{}", play.ladder()))
}

struct Play {
    world: World,
    lossy: bool,
    cast: BTreeMap<String, usize>,
    names: Names,
    /// Parsed messages as seen, aligned with the world's list.
    texts: Vec<Text>,
    repeated: Vec<bool>,
    consumed: BTreeSet<usize>,
    known: BTreeSet<(usize, bool, Vec<u8>)>,
    optional: Vec<(String, Vec<String>)>,
}

impl Play {
    fn new(script: &Script, mut world: World, lossy: bool) -> Result<Self, String> {
        world.seen = Some(Vec::new());
        let mut text = town::head("", town::PORTS);
        let accounts: BTreeSet<&String> = script.cast.iter().filter_map(|member| member.account.as_ref()).collect();
        for setting in script.settings.iter().filter(|setting| setting.0.is_none()) {
            let _ = writeln!(text, "{}", setting.1);
        }
        for account in accounts {
            let devices = script.cast.iter().filter(|member| member.account.as_ref() == Some(account)).count();
            let own = script.settings.iter().filter(|setting| setting.0.as_ref() == Some(account));
            let more = own.fold(String::new(), |more, setting| more + &setting.1 + "\n");
            town::account(&mut text, account, devices, &more);
        }
        let (mut cast, mut names, mut trunks) = (BTreeMap::new(), Names::new(), 0);
        let mut devices = BTreeMap::new();
        for member in &script.cast {
            let transport = if member.tcp { Transport::Tcp } else { Transport::Udp };
            let mut options = match &member.account {
                Some(account) => {
                    let device = devices.entry(account.as_str()).or_insert(0);
                    *device += 1;
                    town::phone(account, *device - 1, cast.len(), transport)
                }
                None => {
                    let more = format!("transport = \"{}\"\n{}", transport.uri_token(), member.more);
                    town::trunk(&mut text, &member.name, trunks, &more);
                    trunks += 1;
                    town::carrier(&member.name, trunks - 1, transport)
                }
            };
            if let (Some(login), Some(password)) = (&mut options.login, &member.password) {
                login.password.clone_from(password);
            }
            options.challenge = member.challenge.clone().map(|(username, password)| Login { username, password });
            options.answering = Answering { then: Then::Wait, ..Answering::default() };
            if member.v6 {
                town::to_v6(&mut options);
            }
            if member.nat {
                town::behind_nat(&mut options);
            }
            names.insert(member.name.clone(), options.local.to_string());
            cast.insert(member.name.clone(), world.add(&member.name, options));
        }
        names.insert("server".to_owned(), town::SERVER.to_owned());
        let config = town::config(&text)?;
        town::build(&mut world, &config, 2);
        Ok(Self {
            world,
            lossy,
            cast,
            names,
            texts: Vec::new(),
            repeated: Vec::new(),
            consumed: BTreeSet::new(),
            known: BTreeSet::new(),
            optional: Vec::new(),
        })
    }

    fn who(&self, name: &str) -> Result<usize, String> {
        self.cast.get(name).copied().ok_or_else(|| format!("nobody is called {name:?}"))
    }

    fn run(&mut self, time: Duration) -> Result<(), String> {
        self.world.run(time, &mut |world| balance::every_step(world))
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let place = |why: String| format!("line {}: {}: {why}", step.line, step.words.join(" "));
        self.world.trace.say(format!("--- {}", step.words.join(" ")));
        let words: Vec<String> = step.words.iter().map(|word| pattern::fill(word, &self.names)).collect();
        self.act(&words).map_err(place)?;
        self.world.drain();
        if step.wanted.is_empty() {
            if let [name, "registers"] = step.words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                self.wait_for_registration(self.who(name)?).map_err(place)?;
            }
            self.look();
            self.consumed.extend(0..self.texts.len());
            return Ok(());
        }
        let end = self.world.now + STEP;
        loop {
            self.look();
            let missing = match self.assign(&step.wanted) {
                Ok(()) => return Ok(()),
                Err(missing) => missing,
            };
            if !self.world.step(end) {
                return Err(place(format!("not seen within {} s: {missing}", STEP.as_secs())));
            }
            balance::every_step(&self.world).map_err(place)?;
        }
    }

    fn end(&mut self) -> Result<(), String> {
        self.run(REST)?;
        self.look();
        self.unexpected()?;
        self.world.network.heal();
        let now = self.world.now;
        for station in self.world.stations.iter_mut().filter(|station| station.phone.options().login.is_some()) {
            station.phone.unregister_all(now);
        }
        self.world.drain();
        self.run(REST)?;
        balance::at_the_end(&self.world)
    }
}
