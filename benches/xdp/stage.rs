//! The contestants, loaded, with the flows' rules in place.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::io::Result;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering::Relaxed;
use strowger::xdp::layout::{Constants, Moment, Row, Totals, changes, ports, state, words};
use strowger::xdp::memory::Memory;
use strowger::xdp::object::{Object, Target};
use strowger::xdp::shared::{Plain, Shared};
use strowger::xdp::sys::{Map, MapOptions, Program, map_type};

const BENCH_OBJECT: &[u8] = include_bytes!("bench.bpf.o");
/// Flows in rotation.
pub const FLOWS: u32 = 100_000;
const ADDRESSES: u32 = 4;
const PAIRS: u32 = FLOWS / ADDRESSES;
const BASE: u32 = u32::from_be_bytes([10, 0, 0, 1]);
const PORT_MIN: u16 = 10_000;
const SSRC: u32 = 7;
const INGRESS: u32 = 1;
const SECOND_PARTY: (u32, u32) = (0, 1);

pub struct Stage {
    memory: Memory,
    rotation: Shared<Moment>,
    _flows: Shared<Totals>,
    swap: Program,
    relay: Program,
    /// Behind each stands one of [`Behind`].
    rotate: [Program; 3],
    _programs: [Map; 3],
}

/// What comes behind `rotate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    Swap,
    /// Swap, with a look into the flow's row.
    Touch,
    Relay,
}

fn value<T: Plain>(shared: &Shared<T>) -> Option<Target> {
    shared.map().map(|map| Target::Value(map.as_fd().as_raw_fd()))
}

fn party() -> SocketAddr {
    (Ipv4Addr::new(10, 9, 0, 1), 4000).into()
}

/// Our address and port of a flow.
fn own(flow: u32) -> SocketAddr {
    let port = PORT_MIN + 2 * u16::try_from(flow % PAIRS).expect("a port");
    (Ipv4Addr::from(BASE + flow / PAIRS), port).into()
}

/// The flows in the order in which their packets come: shuffled, the same each time.
pub fn order() -> Vec<u32> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut order: Vec<u32> = (0..FLOWS).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, (random.next_u64() % (at as u64 + 1)) as usize);
    }
    order
}

fn settle(row: &Row, source: SocketAddr, own: SocketAddr, from: SocketAddr, to: SocketAddr) {
    let last = |address: IpAddr| words(address)[3];
    let (ip_change, udp_change) = changes([source, own], [from, to]);
    row.ssrc.store(SSRC.to_be(), Relaxed);
    row.rtp.store(u16::from_ne_bytes([0x80, 0]), Relaxed);
    row.ports.store(ports(source.port(), own.port()), Relaxed);
    row.ports_out.store(ports(from.port(), to.port()), Relaxed);
    row.udp_change.store(udp_change, Relaxed);
    row.ip_change.store(ip_change, Relaxed);
    row.from.store(last(from.ip()), Relaxed);
    row.source[3].store(last(source.ip()), Relaxed);
    row.to[0].store(last(to.ip()), Relaxed);
    row.ns_per_unit_q8.store(125_000 * 256, Relaxed);
    row.state.store(state::SETTLED, Relaxed);
    row.deadline.store(u32::MAX, Relaxed);
}

/// G.711 of 20 ms from a party to one of our ports.
fn packet(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut out = vec![0; 214];
    out[12..15].copy_from_slice(&[8, 0, 0x45]);
    out[16..18].copy_from_slice(&200u16.to_be_bytes());
    (out[22], out[23]) = (64, 17);
    out[26..30].copy_from_slice(&words(from.ip())[3].to_ne_bytes());
    out[30..34].copy_from_slice(&words(to.ip())[3].to_ne_bytes());
    out[34..38].copy_from_slice(&ports(from.port(), to.port()).to_ne_bytes());
    out[38..40].copy_from_slice(&180u16.to_be_bytes());
    (out[40], out[42]) = (1, 0x80);
    out[50..54].copy_from_slice(&SSRC.to_be_bytes());
    out
}

fn load(object: &Object<'_>, name: &str, resolve: &dyn Fn(&str) -> Option<Target>) -> Program {
    let code = object.link(name, resolve).expect("all names are known");
    Program::load(name, &code, object.license()).unwrap_or_else(|no| panic!("{name}: {}\n{}", no.error, no.log))
}

/// A map of programs with one in it, for the tail call.
fn going_on_with(program: &Program) -> Result<Map> {
    let options = MapOptions {
        name: "programs",
        kind: map_type::PROG_ARRAY,
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        flags: 0,
    };
    let map = Map::create(&options)?;
    map.update(&0u32.to_ne_bytes(), &program.as_fd().as_raw_fd().to_ne_bytes())?;
    Ok(map)
}

impl Stage {
    /// Everything in place; `object` holds the relay.
    pub fn set(object: &[u8]) -> Result<Self> {
        let constants = Constants {
            v4_base: BASE,
            v4_count: ADDRESSES,
            port_min: PORT_MIN,
            pairs: PAIRS,
            cpus: 1024,
            ..Constants::default()
        };
        let memory = Memory::create(constants)?;
        memory.hops[0].ifindex.store(INGRESS, Relaxed);
        memory.hops[0].mtu.store(1500, Relaxed);
        let elsewhere = (Ipv4Addr::new(10, 9, 0, 2), 5000).into();
        for flow in 0..FLOWS {
            settle(&memory.rows4[flow as usize], party(), own(flow), own(flow ^ 1), elsewhere);
        }
        let flows: Shared<Totals> = Shared::create("flows", FLOWS as usize / 16)?;
        for (place, flow) in order().into_iter().enumerate() {
            let (to, both) = (own(flow), ports(party().port(), own(flow).port()));
            let word = u64::from(words(to.ip())[3]) | u64::from(both) << 32;
            flows[place / 16].count[place % 16].store(word, Relaxed);
        }
        let rotation: Shared<Moment> = Shared::create("rotation", 1)?;
        let bench = Object::parse(BENCH_OBJECT).expect("the committed object");
        let none = |_: &str| None;
        let swap = load(&bench, "swap", &none);
        let upon_memory = |object: &Object<'_>, name: &str| {
            memory.load(object, name).unwrap_or_else(|no| panic!("{name}: {}\n{}", no.error, no.log))
        };
        let touch = upon_memory(&bench, "touch");
        let relay = upon_memory(&Object::parse(object).expect("an object"), "relay");
        let programs = [going_on_with(&swap)?, going_on_with(&touch)?, going_on_with(&relay)?];
        let rotate = |programs: &Map| {
            let resolve = |name: &str| match name {
                "flows" => value(&flows),
                "rotation" => value(&rotation),
                "programs" => Some(Target::Map(programs.as_fd().as_raw_fd())),
                _ => None,
            };
            load(&bench, "rotate", &resolve)
        };
        let rotate = programs.each_ref().map(rotate);
        Ok(Self { memory, rotation, _flows: flows, swap, relay, rotate, _programs: programs })
    }

    fn run(program: &Program, frame: &[u8], packets: u32) -> f64 {
        let start = std::time::Instant::now();
        let ran = program.test_run(frame, None, packets, &mut []).expect("it runs");
        let whole = start.elapsed().as_nanos() as f64 / f64::from(packets);
        assert_eq!(ran.verdict, 3, "transmitted");
        // The kernel's figure is in whole nanoseconds; ours holds the call as well, which is nothing beside a million runs.
        if packets >= 1_000_000 { whole } else { f64::from(ran.duration).max(1.0) }
    }

    /// Swap alone.
    pub fn swap(&self, packets: u32) -> f64 {
        Self::run(&self.swap, &packet(party(), own(0)), packets)
    }

    /// The relay alone, back and forth between two rules: each one's party is the other's port.
    pub fn relay(&self, packets: u32) -> f64 {
        let (a, b) = SECOND_PARTY;
        let rows = [&self.memory.rows4[a as usize], &self.memory.rows4[b as usize]];
        settle(rows[0], own(b), own(a), own(a), own(b));
        settle(rows[1], own(a), own(b), own(b), own(a));
        let taken = self.packets(packets, |stage| Self::run(&stage.relay, &packet(own(b), own(a)), packets));
        let elsewhere = (Ipv4Addr::new(10, 9, 0, 2), 5000).into();
        settle(rows[0], party(), own(a), own(b), elsewhere);
        settle(rows[1], party(), own(b), own(a), elsewhere);
        taken
    }

    /// Runs, and makes sure that every packet was relayed.
    fn packets(&self, packets: u32, act: impl FnOnce(&Self) -> f64) -> f64 {
        let relayed =
            |stage: &Self| stage.memory.rows4.iter().fold(0u32, |sum, row| sum.wrapping_add(row.packets.load(Relaxed)));
        let before = relayed(self);
        let taken = act(self);
        assert_eq!(relayed(self).wrapping_sub(before), packets, "every packet was relayed");
        taken
    }

    /// Packets of so many flows in rotation.
    pub fn rotate(&self, behind: Behind, flows: u32, packets: u32) -> f64 {
        let [cell] = &self.rotation[..] else { panic!("one") };
        cell.jiffies.store(u64::from(flows) << 32, Relaxed);
        let sequence = 1 + self.memory.rows4[order_first()].highest.load(Relaxed) as u64;
        cell.ns.store(u64::from(words(party().ip())[3]) | sequence << 32, Relaxed);
        let run = |stage: &Self| Self::run(&stage.rotate[behind as usize], &packet(party(), own(0)), packets);
        if behind == Behind::Swap { run(self) } else { self.packets(packets, run) }
    }
}

fn order_first() -> usize {
    order()[0] as usize
}
