//! What the actors of a flow do, word by word.

use super::{Play, STEP};
use crate::script::duration;
use crate::town;
use strowger::base::Slot;
use strowger::base::time::Duration;
use strowger::phone::{Answering, Direction, Event, Placing, Then};

/// Of 50 packets a second, at least so many percent arrive where 5 % get lost each way.
const HEARD_PERCENT: u64 = 60;
/// Audio under way when it is stopped.
const SETTLE: Duration = Duration::from_millis(300);

impl Play {
    fn call_of(&self, station: usize) -> Result<Slot, String> {
        self.world.stations[station].phone.lines().last().copied().ok_or_else(|| "there is no call".to_owned())
    }

    pub(super) fn act(&mut self, words: &[String]) -> Result<(), String> {
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
    pub(super) fn wait_for_registration(&mut self, station: usize) -> Result<(), String> {
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
