//! Program and model side by side: the same pairs, rules and neighbours on both.

use crate::model::{Model, Pair, Verdict, Way};
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use strowger::base::time::Duration;
use strowger::base::{Instant, SocketKey};
use strowger::media::path::PathTotals;
use strowger::media::{FastPath, FastRule, PathRequest};
use strowger::xdp::hops::Aim;
use strowger::xdp::layout::{Constants, Hop};
use strowger::xdp::memory::Memory;
use strowger::xdp::object::Object;
use strowger::xdp::sys::Program;
use strowger::xdp::table::{Commons, Ways};
use strowger::xdp::ticks::Ticks;
use strowger::xdp::{OBJECT, ShardTable, Slice, TableOptions};

pub const PORT_MIN: u16 = 20_000;
pub const PAIRS: u16 = 16;
/// The loopback device, which test runs say that frames come by.
const INGRESS: u32 = 1;
/// A device that exists for hops only.
const ELSEWHERE: u32 = 77;
const ELSEWHERE_INDEX: u16 = 3;
const FRAME_MAX: usize = 4096;

/// Answers with the hop that the test has set.
#[derive(Debug, Default)]
struct Next(std::sync::atomic::AtomicU32);

impl Ways for Next {
    fn resolve(&self, _: Aim) -> Option<u16> {
        Some(self.0.load(Relaxed) as u16)
    }

    fn keep(&self, _: Aim, _: u16) -> bool {
        true
    }

    fn adopt(&self, _: Aim, _: u16) {}
}

#[derive(Debug)]
struct Nothing;

impl Commons for Nothing {
    fn block(&self, _: IpAddr, _: u64) {}

    fn totals(&self) -> PathTotals {
        PathTotals::default()
    }

    fn is_ours(&self) -> bool {
        true
    }
}

pub struct Stage {
    pub memory: Arc<Memory>,
    program: Program,
    table: ShardTable,
    next: Arc<Next>,
    hops: u16,
    pub model: Model,
    out: Vec<u8>,
}

pub fn own(v6: bool, port: u16) -> SocketAddr {
    SocketAddr::new(if v6 { "fd00:1::10" } else { "192.0.2.10" }.parse().unwrap(), port)
}

impl Stage {
    /// None where this process may not load programs, which is said.
    pub fn set() -> Option<Self> {
        let (IpAddr::V4(v4), IpAddr::V6(v6)) = (own(false, 0).ip(), own(true, 0).ip()) else { panic!() };
        let constants = Constants {
            v4_base: v4.into(),
            v4_count: 1,
            v6_prefix: v6.octets()[..12].try_into().unwrap(),
            v6_base: u32::from_be_bytes(v6.octets()[12..].try_into().unwrap()),
            v6_count: 1,
            port_min: PORT_MIN,
            pairs: PAIRS.into(),
            cpus: std::fs::read_to_string("/proc/cpuinfo").unwrap().matches("processor").count() as u32 + 64,
        };
        let memory = match Memory::create(constants) {
            Ok(memory) => Arc::new(memory),
            Err(error) => {
                let why = format!("the program cannot be tested here: {error} (run as root, with CAP_BPF)");
                assert!(std::env::var_os("STROWGER_NEEDS_BPF").is_none(), "{why}");
                eprintln!("SKIP {why}");
                return None;
            }
        };
        let object = Object::parse(OBJECT).expect("the committed object");
        let load = |name| memory.load(&object, name).unwrap_or_else(|no| panic!("{name}: {}\n{}", no.error, no.log));
        let program = load("relay");
        load("clock").test_run(&[0; 64], None, 1, &mut []).expect("the clock runs");
        memory
            .devices
            .as_ref()
            .unwrap()
            .update(&u32::from(ELSEWHERE_INDEX).to_ne_bytes(), &1u32.to_ne_bytes())
            .unwrap();
        let next = Arc::new(Next::default());
        let slice =
            Slice { socket_base: 0, port_min: PORT_MIN, port_max: PORT_MIN + 2 * PAIRS - 1, tells_totals: true };
        let table = ShardTable::new(TableOptions {
            native: true,
            memory: memory.clone(),
            ways: next.clone(),
            commons: Arc::new(Nothing),
            ticks: Ticks::new(&memory.moment[0], Ticks::tick()),
            dead_man: Duration::from_secs(1000),
            slice,
        });
        let pairs = || vec![Pair::Closed; PAIRS.into()];
        let model =
            Model { v4, v6, port_min: PORT_MIN, pairs: [pairs(), pairs()], blocked: HashSet::new(), totals: [0; 16] };
        Some(Self { memory, program, table, next, hops: 0, model, out: vec![0; FRAME_MAX] })
    }

    fn key(v6: bool, pair: u16) -> SocketKey {
        SocketKey((u32::from(v6) * u32::from(PAIRS) + u32::from(pair)) * 2)
    }

    pub fn open(&mut self, v6: bool, pair: u16) {
        assert!(self.table.apply(Instant::ZERO, PathRequest::Opened { key: Self::key(v6, pair) }));
        self.model.pairs[usize::from(v6)][usize::from(pair)] = Pair::Open;
    }

    /// Settles a pair, with a hop of its own.
    pub fn settle(&mut self, v6: bool, pair: u16, rule: FastRule, way: Way) {
        self.open(v6, pair);
        let hop: &Hop = &self.memory.hops[usize::from(self.hops)];
        let hardware = |from: usize, len: usize| {
            let mut word = [0; 8];
            word[..len].copy_from_slice(&way.hardware[from..from + len]);
            u64::from_ne_bytes(word)
        };
        hop.hardware_low.store(hardware(0, 8), Relaxed);
        hop.hardware_high.store(hardware(8, 4) as u32, Relaxed);
        let device = if way.same_device { INGRESS } else { ELSEWHERE };
        hop.ifindex.store(if way.known { device } else { 0 }, Relaxed);
        let [high, low] = way.tag.unwrap_or(0).to_be_bytes();
        hop.tag.store(way.tag.map_or(0, |_| u32::from_ne_bytes([0x81, 0, high, low])), Relaxed);
        hop.mtu.store(way.mtu as u16, Relaxed);
        hop.device.store(ELSEWHERE_INDEX, Relaxed);
        self.next.0.store(self.hops.into(), Relaxed);
        self.hops += 1;
        assert!(self.table.apply(Instant::ZERO, PathRequest::Down { key: Self::key(v6, pair), rule }));
        self.model.pairs[usize::from(v6)][usize::from(pair)] = Pair::settled(rule, way);
    }

    /// The rule's process is dead.
    pub fn expire(&mut self, at_v6: bool, pair: u16) {
        self.memory.rows(at_v6)[usize::from(pair)].deadline.store(1, Relaxed);
        if let Pair::Settled { expired, .. } = &mut self.model.pairs[usize::from(at_v6)][usize::from(pair)] {
            *expired = true;
        }
    }

    /// The rule is being written.
    pub fn tear(&mut self, at_v6: bool, pair: u16) {
        self.memory.rows(at_v6)[usize::from(pair)].sequence.fetch_or(1, Relaxed);
        if let Pair::Settled { torn, .. } = &mut self.model.pairs[usize::from(at_v6)][usize::from(pair)] {
            *torn = true;
        }
    }

    pub fn block(&mut self, source: IpAddr) {
        let mut key = [0; 16];
        match source {
            IpAddr::V4(source) => key = source.to_ipv6_mapped().octets(),
            IpAddr::V6(source) => key[..8].copy_from_slice(&source.octets()[..8]),
        }
        self.memory.blocked.as_ref().unwrap().update(&key, &u64::MAX.to_ne_bytes()).unwrap();
        self.model.blocked.insert(source);
    }

    /// What the program makes of a frame.
    pub fn run(&mut self, frame: &[u8]) -> (u32, Vec<u8>) {
        let ran = self.program.test_run(frame, None, 1, &mut self.out).expect("the program runs");
        (ran.verdict, self.out[..ran.len].to_vec())
    }

    /// Asserts that program and model agree, and returns what both say.
    pub fn agree(&mut self, frame: &[u8]) -> (Verdict, Vec<u8>) {
        let (verdict, out) = self.run(frame);
        let (expected, wanted) = self.model.judge(frame);
        assert_eq!(verdict, expected as u32, "verdict of {frame:02x?}");
        assert_eq!(out, wanted, "octets of {frame:02x?}");
        (expected, out)
    }

    /// Both have counted the same: by reason, and packet for packet in each rule.
    pub fn counted_alike(&self) {
        let mut totals = [0; 16];
        for cpu in self.memory.totals.iter() {
            for (sum, count) in totals.iter_mut().zip(&cpu.count) {
                *sum += count.load(Relaxed);
            }
        }
        assert_eq!(totals, self.model.totals, "reasons");
        for (v6, pairs) in [false, true].into_iter().zip(&self.model.pairs) {
            for (row, pair) in self.memory.rows(v6).iter().zip(pairs) {
                let counted = (u64::from(row.packets.load(Relaxed)), u64::from(row.octets.load(Relaxed)));
                let expected = if let Pair::Settled { rule, .. } = pair { (rule.packets, rule.bytes) } else { (0, 0) };
                assert_eq!(counted, expected, "{pair:?}");
            }
        }
    }
}
