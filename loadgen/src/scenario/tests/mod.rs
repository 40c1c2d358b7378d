//! Whole scenarios in simulated time: one station calls, another answers, over a pretended network that delays, loses and
//! doubles what the test says.

mod conversations;
mod errors;
mod words;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use strowger::base::time::Duration;
use strowger::base::{Instant, Random, SocketKey, Transport};

use super::engine::Environment;
use super::inject::Injection;
use super::problem::Problem;
use super::program::Program;
use super::read::{Given, read};
use super::variable::VarId;
use crate::core::distribution::Distribution;
use crate::core::pattern::Pattern;
use crate::core::retransmit::Timers;
use crate::core::schedule::{Arrivals, Load};
use crate::core::stats::Stats;
use crate::core::{Job, Output, Plan, Role};
use crate::station::{Options, Station};

/// Socket 0 carries SIP, the others are media ports.
const MEDIA: u32 = 1;
const PORTS: u32 = 40;

fn address(side: usize, key: u32) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1 + side as u8], 5060 + u16::try_from(key).unwrap()))
}

/// Reads a scenario; files it names hold what the test says.
fn parse_with(text: &str, keys: &[(&str, &str)], files: &[(&str, &[u8])]) -> Result<Program, Vec<Problem>> {
    let keys: Vec<(String, String)> = keys.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let load = |name: &str| {
        let found = files.iter().find(|(known, _)| *known == name);
        found.map(|(_, bytes)| bytes.to_vec()).ok_or_else(|| format!("{name}: there is no such file"))
    };
    let names: Vec<String> = files.iter().map(|(name, _)| (*name).to_string()).collect();
    read("s.xml", &super::xml::decode(text.as_bytes()), Given { keys: &keys, files: &names, load: &load })
}

fn parse(text: &str) -> Program {
    let problems = |problems: Vec<Problem>| panic!("{}", problems.iter().map(ToString::to_string).collect::<String>());
    parse_with(text, &[], &[]).unwrap_or_else(problems)
}

/// What the options say when nothing is said.
fn environment(program: Program) -> Environment {
    let side = if program.role == Role::Uac { 0 } else { 1 };
    Environment {
        program,
        injections: Vec::new(),
        set: Vec::new(),
        service: "service".into(),
        remote_host: None,
        pid: 77 + side as u32,
        media_ip: address(side, 0).ip(),
        media_port: 6000,
        pause: Duration::from_millis(700),
        base_cseq: 1,
        receive_timeout: None,
        retransmit: true,
        t2: Duration::from_secs(4),
        retransmissions_max: [5, 7],
        auto_answer: false,
        ignore_in_pauses: false,
        give_up_politely: true,
        echo: false,
        wall_nanos_at_zero: 1_600_000_000_000_000_000,
    }
}

fn plan(env: &Environment, calls: u64) -> Plan {
    let calls_out = env.program.role == Role::Uac;
    let pattern = |text: &str| Pattern::parse(text).unwrap();
    Plan {
        job: Job::Calls { uac: calls_out, uas: !calls_out },
        target: address(usize::from(calls_out), 0),
        transport: Transport::Udp,
        domain: "example.com".into(),
        load: Load { rate: 20.0, duration: None, count: Some(calls), arrivals: Arrivals::Uniform },
        steps: Vec::new(),
        settle: Duration::ZERO,
        media_end: None,
        tick: Duration::ZERO,
        hold: Distribution::Fixed(Duration::ZERO),
        ring: Duration::ZERO,
        hangup: Role::Uac,
        flow: crate::core::flow::Flow::default(),
        from: pattern("a"),
        to: pattern("b"),
        users: 3,
        secret: Some((pattern("strowger"), pattern("trunk secret"))),
        register_uas: None,
        rtp: env.needs_media(),
        timers: Timers { t1: Duration::from_millis(500), t2: Duration::from_secs(4), unreliable: true },
        setup_max: Duration::from_secs(60),
        concurrent: PORTS as usize,
        concurrent_uas: PORTS as usize,
        expires: 3600,
        reuse_nonce: false,
        check: true,
        clock_domain: 1,
    }
}

/// What the network does with one datagram: when its copies arrive; nowhere = lost.
type Fate<'a> = Box<dyn FnMut(&mut Random, &[u8]) -> Vec<Duration> + 'a>;

/// Two sides and the network between them.
struct World<'a> {
    sides: [Station; 2],
    now: Instant,
    wire: BTreeMap<(Instant, u64), (usize, SocketKey, SocketAddr, Bytes)>,
    count: u64,
    fate: Fate<'a>,
    random: Random,
    /// All messages that were sent, by which side and when.
    sent: Vec<(usize, u64, String)>,
    logs: Vec<String>,
}

impl<'a> World<'a> {
    fn new(envs: [Environment; 2], calls: u64, seed: u64) -> Self {
        let mut side = 0;
        let sides = envs.map(|env| {
            let calls_out = env.program.role == Role::Uac;
            let signalling = (SocketKey(0), address(side, 0));
            let role = if calls_out { Role::Uac } else { Role::Uas };
            let options = Options {
                plan: Arc::new(plan(&env, calls)),
                core: 0,
                cores: 1,
                uac: if calls_out { vec![signalling] } else { Vec::new() },
                uas: (!calls_out).then_some(signalling),
                media_base: MEDIA,
                media_ports: (0..PORTS).map(|port| (role, address(side, MEDIA + port))).collect(),
                remotes: Vec::new(),
                scenario: Some(Arc::new(env)),
                random: Random::from_u64(seed + side as u64),
            };
            side += 1;
            Station::new(Instant::ZERO, options)
        });
        Self {
            sides,
            now: Instant::ZERO,
            wire: BTreeMap::new(),
            count: 0,
            fate: Box::new(|_, _| vec![Duration::from_millis(2)]),
            random: Random::from_u64(seed ^ 0x5eed),
            sent: Vec::new(),
            logs: Vec::new(),
        }
    }

    /// Over this network.
    fn over(mut self, fate: impl FnMut(&mut Random, &[u8]) -> Vec<Duration> + 'a) -> Self {
        self.fate = Box::new(fate);
        self
    }

    fn drain_outputs(&mut self) {
        for side in 0..2 {
            while let Some(output) = self.sides[side].poll_message().or_else(|| self.sides[side].poll_packet(self.now))
            {
                match output {
                    Output::Datagram(socket, to, bytes) => self.datagram(side, socket, to, bytes),
                    Output::Log(line) => self.logs.push(line),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn datagram(&mut self, side: usize, socket: SocketKey, to: SocketAddr, bytes: Bytes) {
        let from = address(side, socket.0);
        if socket.0 < MEDIA {
            self.sent.push((side, self.now.as_millis(), String::from_utf8_lossy(&bytes).into_owned()));
        }
        let other = usize::from(to.ip() == address(1, 0).ip());
        for after in (self.fate)(&mut self.random, &bytes) {
            self.count += 1;
            let key = SocketKey(u32::from(to.port() - 5060));
            self.wire.insert((self.now + after, self.count), (other, key, from, bytes.clone()));
        }
    }

    fn step(&mut self) -> bool {
        let deadlines = self.sides.iter().filter_map(Station::next_deadline);
        let Some(next) = self.wire.keys().map(|key| key.0).take(1).chain(deadlines).min() else { return false };
        self.now = self.now.max(next);
        while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (side, key, from, bytes) = entry.remove();
            self.sides[side].handle_datagram(self.now, self.now, key, from, &bytes);
        }
        self.sides.iter_mut().for_each(|side| side.handle_timeout(self.now));
        self.drain_outputs();
        true
    }

    /// Until nothing is up on either side.
    fn run(mut self) -> Self {
        let now = self.now;
        self.sides.iter_mut().for_each(|side| side.prepare(now));
        self.sides.iter_mut().for_each(|side| side.start(now + Duration::from_millis(10)));
        for _ in 0..1_000_000 {
            if !self.step() {
                break;
            }
        }
        for side in &mut self.sides {
            assert!(
                side.stats().counters.unreadable == 0 && side.stats().counters.check_failed == 0,
                "{:?}",
                side.stats().samples
            );
        }
        self
    }

    fn stats(&self, side: usize) -> &Stats {
        self.sides[side].stats()
    }

    /// Nothing failed on either side, and so many calls went through.
    fn all_good(&self, calls: u64) {
        let (uac, uas) = (&self.stats(0).counters, &self.stats(1).counters);
        let said = (&self.stats(0).samples, &self.stats(1).samples);
        assert_eq!((uac.calls_attempted, uac.calls_completed, uac.calls_failed), (calls, calls, 0), "{said:?}");
        assert_eq!((uas.uas_calls, uas.uas_completed, uas.uas_failed), (calls, calls, 0), "{said:?}");
    }

    /// First lines of what was sent, in order.
    fn ladder(&self) -> Vec<String> {
        let arrow = |side: usize| if side == 0 { "→" } else { "←" };
        let line = |text: &str| text.lines().next().unwrap_or_default().replace(" SIP/2.0", "").replace("SIP/2.0 ", "");
        self.sent.iter().map(|(side, _, text)| format!("{} {}", arrow(*side), line(text))).collect()
    }
}

/// Both scenarios against each other over a good network.
fn talk(uac: &str, uas: &str, calls: u64) -> World<'static> {
    World::new([environment(parse(uac)), environment(parse(uas))], calls, 5).run()
}

/// A file of values.
fn injection(name: &str, text: &str) -> Injection {
    Injection::parse(name, text.as_bytes(), &[], &|_| Err(String::new())).unwrap()
}

fn global(program: &Program, name: &str) -> VarId {
    VarId(program.variables.list.iter().position(|variable| variable.name == name).unwrap())
}
