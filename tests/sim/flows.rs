//! Plays the conversations of `tests/flows` in the simulator, without loss and with.

use crate::balance;
use crate::network::Faults;
use crate::pattern::{self, Names};
use crate::script::{Script, Step, Wanted, duration};
use crate::town;
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use strowger::base::time::Duration;
use strowger::base::{Slot, Transport};
use strowger::phone::{Answering, Direction, Event, Login, Placing, Text, Then};

/// Longest that a step may take: a transaction's whole life and some more.
const STEP: Duration = Duration::from_secs(80);
/// After the last step, for what still has to run out.
const REST: Duration = Duration::from_secs(80);
/// Of 50 packets a second, at least so many percent arrive where 5 % get lost each way.
const HEARD_PERCENT: u64 = 60;
/// Audio under way when it is stopped.
const SETTLE: Duration = Duration::from_millis(300);

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

    /// Reads what the phones have seen since the last time.
    fn look(&mut self) {
        let seen = self.world.seen.as_ref().map_or(&[][..], Vec::as_slice);
        for seen in &seen[self.texts.len()..] {
            let text = Text::parse(&seen.bytes).unwrap_or_default();
            self.repeated.push(!self.known.insert((seen.station, seen.sent, seen.bytes.to_vec())));
            self.texts.push(text);
        }
    }

    /// Finds a message for each wanted one; keeps the findings only when nothing is missing.
    fn assign(&mut self, wanted: &[Wanted]) -> Result<(), String> {
        let (mut names, mut taken) = (self.names.clone(), self.consumed.clone());
        let mut optional = Vec::new();
        for one in wanted {
            let station = self.who(&one.who)?;
            match self.find(one, station, &mut names, &taken) {
                Some(found) => {
                    taken.insert(found);
                }
                None if one.may_be_missing || (one.may_be_lost && self.lossy) => {
                    optional.push((one.who.clone(), one.what.clone()))
                }
                None => {
                    return Err(format!(
                        "{} {} {}, line {}",
                        one.who,
                        if one.sent { "->" } else { "<-" },
                        one.what.join(" "),
                        one.line
                    ));
                }
            }
        }
        self.names = names;
        self.consumed = taken;
        self.optional.extend(optional);
        Ok(())
    }

    fn find(&self, one: &Wanted, station: usize, names: &mut Names, taken: &BTreeSet<usize>) -> Option<usize> {
        let seen = self.world.seen.as_ref()?;
        let candidates = (0..self.texts.len()).filter(|index| {
            let seen = &seen[*index];
            seen.station == station && seen.sent == one.sent && !self.repeated[*index] && !taken.contains(index)
        });
        for index in candidates {
            let text = &self.texts[index];
            let mut learnt = names.clone();
            if is_called(text, &one.what) && one.lines.iter().all(|line| line_holds(text, line, &mut learnt)) {
                *names = learnt;
                return Some(index);
            }
            // Without loss the order is part of the flow; 100 comes or not (RFC 3261 §17.2.1).
            if !self.lossy && !one.sent && text.status() != Some(100) {
                return None;
            }
        }
        None
    }

    fn call_of(&self, station: usize) -> Result<Slot, String> {
        self.world.stations[station].phone.lines().last().copied().ok_or_else(|| "there is no call".to_owned())
    }

    fn act(&mut self, words: &[String]) -> Result<(), String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["wait", time] => return self.run(duration(time)?),
            ["talk", a, b, time] => return self.talk(a, b, duration(time)?, true),
            ["hush", a, b, time] => return self.talk(a, b, duration(time)?, false),
            ["heard", who, digits] => {
                let station = self.who(who)?;
                let heard =
                    self.world.stations[station].phone.report(self.call_of(station)?).unwrap_or_default().digits;
                return if heard == digits { Ok(()) } else { Err(format!("{who} heard the digits {heard:?}")) };
            }
            ["lose", who, time] => {
                let (ip, until) = (self.world.stations[self.who(who)?].ip(), self.world.now + duration(time)?);
                self.world.network.cut(ip, town::server().ip(), until);
                self.world.network.cut(town::server().ip(), ip, until);
                return Ok(());
            }
            _ => {}
        }
        let station = self.who(words[0])?;
        let now = self.world.now;
        match words[1..] {
            ["registers"] => self.world.stations[station].phone.register(now),
            ["unregisters"] => self.world.stations[station].phone.unregister(now),
            ["unregisters-all"] => self.world.stations[station].phone.unregister_all(now),
            ["fetches"] => self.world.stations[station].phone.fetch_contacts(now),
            ["calls", target, ref rest @ ..] => {
                let placing = Placing { late_offer: rest.contains(&"late-offer"), ..Placing::default() };
                let target =
                    if target.contains(':') { target.to_owned() } else { format!("sip:{target}@{}", town::DOMAIN) };
                self.world.stations[station].phone.place(now, &target, &placing).ok_or("no free line")?;
            }
            ["will", ref rest @ ..] => {
                let answering = answering(rest)?;
                self.world.stations[station].phone.set_answering(answering);
            }
            ["moves"] => self.world.move_station(station),
            ref rest => {
                let call = self.call_of(station)?;
                let phone = &mut self.world.stations[station].phone;
                match rest[..] {
                    ["accepts"] => phone.accept(now, call),
                    ["rejects", status] => phone.reject(now, call, status.parse().map_err(|_| "which status?")?),
                    ["hangs-up"] => phone.hang_up(now, call),
                    ["cancels"] => phone.cancel(now, call),
                    ["holds"] => phone.change(now, call, Direction::SendOnly),
                    ["resumes"] => phone.change(now, call, Direction::SendRecv),
                    ["dials", digits] => phone.dial(call, digits),
                    _ => return Err("what is to be done?".to_owned()),
                }
            }
        }
        Ok(())
    }

    /// Without wanted messages a registration is part of the scenery: it is waited for and not looked at.
    fn wait_for_registration(&mut self, station: usize) -> Result<(), String> {
        let end = self.world.now + STEP;
        let registered =
            |play: &Self| matches!(play.world.stations[station].events.last(), Some((_, Event::Registered { .. })));
        while !registered(self) {
            if !self.world.step(end) {
                return Err("it was not registered".to_owned());
            }
        }
        Ok(())
    }

    /// Both hear each other for that long, or neither hears anything.
    fn talk(&mut self, a: &str, b: &str, time: Duration, heard: bool) -> Result<(), String> {
        let stations = [self.who(a)?, self.who(b)?];
        let count = |play: &Self| -> Result<[u64; 2], String> {
            let mut counts = [0; 2];
            for (count, station) in counts.iter_mut().zip(stations) {
                let call = play.call_of(station)?;
                *count = play.world.stations[station].phone.report(call).map_or(0, |report| report.received);
            }
            Ok(counts)
        };
        self.run(SETTLE)?;
        let before = count(self)?;
        self.run(time)?;
        let after = count(self)?;
        let whole = time.as_millis() as u64 / 20;
        let least = if self.lossy { whole * HEARD_PERCENT / 100 } else { whole - 1 };
        for side in 0..2 {
            let came = after[side] - before[side];
            if heard && came < least {
                return Err(format!("{} heard {came} packets of {whole}", [a, b][side]));
            }
            if !heard && came > 0 {
                return Err(format!("{} heard {came} packets and should hear none", [a, b][side]));
            }
        }
        Ok(())
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

    /// Whatever reached a phone must stand in the script.
    fn unexpected(&self) -> Result<(), String> {
        let seen = self.world.seen.as_ref().map_or(&[][..], Vec::as_slice);
        for (index, text) in self.texts.iter().enumerate() {
            let seen = &seen[index];
            let name = &self.world.stations[seen.station].name;
            let excused = text.status() == Some(100)
                || self.optional.iter().any(|(who, what)| who == name && is_called(text, what));
            if !seen.sent && !self.repeated[index] && !self.consumed.contains(&index) && !excused {
                return Err(format!("{name} was not to get: {}", text.start));
            }
        }
        Ok(())
    }

    fn ladder(&self) -> String {
        let seen = self.world.seen.as_ref().map_or(&[][..], Vec::as_slice);
        let mut out = String::new();
        for (index, seen) in seen.iter().enumerate() {
            let name = &self.world.stations[seen.station].name;
            let mark = if self.repeated.get(index) == Some(&true) { " (again)" } else { "" };
            let (start, cseq) =
                self.texts.get(index).map_or(("", ""), |text| (text.start.as_str(), text.get("CSeq").unwrap_or("")));
            let _ = writeln!(
                out,
                "  {:>10.3} s  {name:>8} {} {start}  [{cseq}]{mark}",
                seen.at.as_nanos() as f64 / 1e9,
                if seen.sent { "->" } else { "<-" }
            );
        }
        out
    }
}

fn is_called(text: &Text, what: &[String]) -> bool {
    let (_, method) = text.cseq().unwrap_or((0, ""));
    match text.status() {
        Some(status) => what[0] == status.to_string() && what.get(1).is_none_or(|wanted| wanted == method),
        None => text.method() == Some(what[0].as_str()),
    }
}

fn line_holds(text: &Text, line: &(String, String), names: &mut Names) -> bool {
    let (name, wanted) = line;
    let values: Vec<String> = match name.as_str() {
        "uri" => text.uri().map(str::to_owned).into_iter().collect(),
        "reason" => vec![text.reason().to_owned()],
        "body" => vec![String::from_utf8_lossy(&text.body).into_owned()],
        _ => text
            .headers
            .iter()
            .filter(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.clone())
            .collect(),
    };
    match wanted.as_str() {
        "-" => values.is_empty(),
        wanted if wanted.starts_with('!') => values.iter().all(|value| pattern::matches(wanted, value, names)),
        wanted => values.iter().any(|value| pattern::matches(wanted, value, names)),
    }
}

fn answering(words: &[&str]) -> Result<Answering, String> {
    let mut answering = Answering { then: Then::Wait, ..Answering::default() };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut next = || words.next().copied().ok_or_else(|| format!("{word} what?"));
        match *word {
            "wait" => answering.then = Then::Wait,
            "accept" => answering.then = Then::Accept,
            "reject" => answering.then = Then::Reject(next()?.parse().map_err(|_| "which status?")?),
            "redirect" => answering.then = Then::Redirect(next()?.to_owned()),
            "after" => answering.after = duration(next()?)?,
            "be-deaf" => answering.deaf = true,
            "silently" => answering.provisional = None,
            "early" => (answering.provisional, answering.early_media) = (Some(183), true),
            other => return Err(format!("what is {other:?}?")),
        }
    }
    Ok(answering)
}
