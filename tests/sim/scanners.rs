//! A town that is scanned: one sweeps with OPTIONS, one asks for accounts, one guesses passwords, and one does all of it
//! in the names of honest phones, with nonces that were sent to the guesser. The phones must not notice: they register,
//! also for the first time in the middle of it, and call each other. The scanners must notice soon.

use crate::network::Faults;
use crate::town;
use crate::world::World;
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};
use strowger::base::time::Duration;
use strowger::base::{Random, Source, Transport};
use strowger::phone::{Event, Placing};
use strowger::sip::digest::{Challenge, Login, answer};
use strowger::sip::wire::{Framing, HeaderName, OwnedMessage};

/// The phone that registers when its address has long been abused.
const LATE: usize = 2;
/// Everybody who scans says something this often.
const PACE: Duration = Duration::from_millis(200);
/// `guard.block_time`, and a little.
const BLOCK_TIME: Duration = Duration::from_secs(610);
/// Answers that a sweep gets, by one point each; some wear off in the meantime.
const SWEEP_ANSWERS_MAX: usize = 110;
/// Answers that somebody gets who guesses: two for each guess.
const GUESS_ANSWERS_MAX: usize = 24;

const SWEEPER: [u8; 4] = [10, 0, 3, 1];
const ASKER: [u8; 4] = [10, 0, 3, 2];
const GUESSER: [u8; 4] = [10, 0, 3, 3];

fn at(ip: [u8; 4]) -> SocketAddr {
    SocketAddr::from((ip, 5060))
}

struct Life {
    world: World,
    random: Random,
    sent: usize,
    /// Requests that went to be challenged and were, or not, while muted.
    asked: usize,
}

/// Lives a seed; the hash of everything that happened.
pub fn live(seed: u64, verbose: bool, take_overs: bool) -> Result<u64, String> {
    let mut random = Random::from_u64(seed ^ 0x5343_414e);
    let faults = match random.below(2) {
        0 => Faults::NONE,
        _ => Faults { loss: 30, delay_max: Duration::from_millis(30), ..Faults::NONE },
    };
    let mut world = World::new(seed, faults, verbose);
    if take_overs {
        world.take_over_by(Random::from_u64(seed ^ 0x5441_4b45));
    }
    world.listen_at([SWEEPER, ASKER, GUESSER].map(IpAddr::from));
    let mut life = Life { world, random, sent: 0, asked: 0 };
    life.settle()?;
    let result = life.live();
    let (now, tail) = (life.world.now.as_nanos() as f64 / 1e9, life.world.trace.tail());
    result.map_err(|why| format!("{why}\nat {now:.3} s, after:\n{tail}"))?;
    Ok(life.world.trace.hash())
}

impl Life {
    fn settle(&mut self) -> Result<(), String> {
        let mut text = town::head("", town::PORTS);
        for number in 0..=LATE {
            let name = format!("a{number}");
            town::account(&mut text, &name, 1, "");
            self.world.add(&name, town::phone(&name, 0, number, Transport::Udp));
        }
        let config = town::config(&text)?;
        let shards = 1 + self.random.below(4) as usize;
        town::build(&mut self.world, &config, shards);
        Ok(())
    }

    fn live(&mut self) -> Result<(), String> {
        self.register(0)?;
        self.register(1)?;
        self.scan(Duration::from_secs(30))?;
        self.register(LATE)?;
        for (caller, callee) in [(0, 1), (LATE, 0), (1, LATE)] {
            self.call(caller, callee)?;
        }
        self.scan(Duration::from_secs(30))?;
        let blocked = self.standing(GUESSER.into()).filter(|state| state.starts_with("blocked"));
        if blocked.is_none() {
            return Err("who guesses passwords is not blocked".to_owned());
        }
        self.count_answers()?;
        self.world.forget_heard();
        self.world.run(BLOCK_TIME, &mut |_| Ok(()))?;
        self.guess();
        self.world.run(Duration::from_secs(3), &mut |_| Ok(()))?;
        if self.world.network.faults.loss == 0 && self.world.heard(GUESSER.into()).is_empty() {
            return Err("a block has no end".to_owned());
        }
        Ok(())
    }

    fn count_answers(&self) -> Result<(), String> {
        let heard = |ip: [u8; 4]| self.world.heard(ip.into()).len();
        // Those asked before the mute: two points each; then one in eight, here at most one in four.
        let asker_max = 60 + self.asked / 4;
        for (who, ip, most) in [
            ("the sweeper", SWEEPER, SWEEP_ANSWERS_MAX),
            ("the guesser", GUESSER, GUESS_ANSWERS_MAX),
            ("the asker", ASKER, asker_max),
        ] {
            if heard(ip) > most || heard(ip) == 0 {
                return Err(format!("{who} got {} answers, of at most {most}", heard(ip)));
            }
        }
        Ok(())
    }

    /// What is done about a source, as an operator sees it.
    fn standing(&mut self, ip: IpAddr) -> Option<String> {
        let now = self.world.now;
        let wanted = Source::of(ip).to_string();
        let rows = self.world.appliance.as_mut().map(|appliance| appliance.standings(now)).unwrap_or_default();
        rows.into_iter().find(|(source, ..)| *source == wanted).map(|(_, state, reason)| format!("{state} {reason}"))
    }

    fn check(&mut self) -> Result<(), String> {
        for number in 0..=LATE {
            let registered = self.is_registered(number);
            match self.standing(town::address(number).ip()) {
                Some(state) if registered || state.starts_with("blocked") => {
                    return Err(format!("an honest phone, a{number}, is {state}; registered: {registered}"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn is_registered(&self, number: usize) -> bool {
        self.world.stations[number].events.iter().any(|(_, event)| matches!(event, Event::Registered { .. }))
    }

    /// Scans go on while the phone tries, as often as it takes people to try again.
    fn register(&mut self, number: usize) -> Result<(), String> {
        for _ in 0..4 {
            let now = self.world.now;
            self.world.stations[number].phone.register(now);
            self.world.drain();
            for _ in 0..33 {
                self.scan(Duration::from_secs(1))?;
                if self.is_registered(number) {
                    // The vouch has reached the shard that wants to know.
                    return self.world.run(Duration::from_millis(10), &mut |_| Ok(()));
                }
            }
        }
        Err(format!("a{number} cannot register"))
    }

    fn call(&mut self, caller: usize, callee: usize) -> Result<(), String> {
        let now = self.world.now;
        let placing = Placing { hang_up_after: Some(Duration::from_secs(2)), ..Placing::default() };
        let target = format!("sip:a{callee}@{}", town::DOMAIN);
        self.world.stations[caller].phone.place(now, &target, &placing);
        self.world.drain();
        self.scan(Duration::from_secs(8))?;
        let events = &self.world.stations[caller].events;
        let answered = events.iter().any(|(at, event)| *at >= now && matches!(event, Event::Established { .. }));
        if answered { Ok(()) } else { Err(format!("a{caller} cannot call a{callee}")) }
    }

    /// Everybody scans, for so long.
    fn scan(&mut self, time: Duration) -> Result<(), String> {
        let end = self.world.now + time;
        while self.world.now < end {
            if self.is_registered(0) && self.is_registered(1) {
                self.say(at(SWEEPER), "OPTIONS", "");
                self.asked += 1;
                self.say(at(ASKER), "REGISTER", "");
                self.guess();
                self.forge();
            }
            self.world.run(PACE, &mut |_| Ok(()))?;
            self.check()?;
        }
        Ok(())
    }

    /// Tries a password with the last nonce, or asks for one.
    fn guess(&mut self) {
        let line = self.nonce().unwrap_or_default();
        self.say(at(GUESSER), "REGISTER", &line);
    }

    /// What the guesser gets, used in the name of a phone; and what needs no nonce.
    fn forge(&mut self) {
        for number in 0..=LATE {
            let from = town::address(number);
            for _ in 0..3 {
                match self.random.below(5) {
                    0 => self.say(from, "OPTIONS", "User-Agent: friendly-scanner\r\n"),
                    1 => self.say(from, "REGISTER", ""),
                    2 => self.world.intrude(from, town::server(), Bytes::from_static(b"GET / HTTP/1.0\r\n\r\n")),
                    _ => {
                        let line = self.nonce().unwrap_or_default();
                        self.say(from, "REGISTER", &line);
                    }
                }
            }
        }
    }

    /// A wrong answer to the challenge that the guesser has got last.
    fn nonce(&mut self) -> Option<String> {
        let last = self.world.heard(GUESSER.into()).last()?.clone();
        let message = OwnedMessage::parse(last, Framing::Datagram).ok()?;
        let challenge = Challenge::parse(message.view().header(HeaderName::WwwAuthenticate)?).ok()?;
        let login = Login::Password { username: b"a0", password: b"guess" };
        let mut line = b"Authorization: ".to_vec();
        answer(&challenge, &login, b"REGISTER", b"sip:example.com", b"cafe", 1, &mut line);
        Some(String::from_utf8(line).ok()? + "\r\n")
    }

    fn say(&mut self, from: SocketAddr, method: &str, more: &str) {
        self.sent += 1;
        let number = self.sent;
        let text = format!(
            "{method} sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKscan{number};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:a0@example.com>;tag={number}\r\nTo: <sip:a0@example.com>\r\n\
             Call-ID: scan{number}\r\nCSeq: 1 {method}\r\n{more}Content-Length: 0\r\n\r\n"
        );
        self.world.intrude(from, town::server(), text.into());
    }
}
