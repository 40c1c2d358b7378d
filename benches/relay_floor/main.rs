//! `relay_vs_floor`: CPU time per relayed RTP packet of each driver with the whole relay behind it, against a bare
//! `epoll_wait`, `recv`, `send` loop on as many connected sockets, which verifies, learns and counts nothing.
//!
//! The drivers gather packets as the configuration has it by itself; `at-once` is io_uring without that.
//!
//! With `--realtime` both sides go before all other processes of the machine.
//!
//! The generator paces calls of G.711 on one core, both ways, and checks every packet that comes back; the contestant
//! runs on the other core at a fixed load below saturation. Rounds run A/B/C/D/D/C/B/A; the first is thrown away. A round
//! in which a packet was lost, damaged or dropped by the kernel is void.
//!
//! `cargo bench --bench relay_floor -- [--calls 500] [--seconds 2] [--rounds 6] [--only epoll|uring|at-once] [--realtime]`

mod contestants;
mod generator;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use contestants::{Contestant, Driven, Floor};
use generator::Generator;

/// What a contestant is doing.
const WARMING: u8 = 0;
const MEASURED: u8 = 1;
const ENDING: u8 = 2;

#[derive(Clone)]
struct Plan {
    calls: usize,
    seconds: f64,
    rounds: usize,
    only: Option<String>,
    realtime: bool,
}

impl Plan {
    fn read() -> Self {
        let mut plan = Self { calls: 500, seconds: 2.0, rounds: 6, only: None, realtime: false };
        let (mut words, mut measured) = (std::env::args().skip(1), false);
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word} needs a value"));
            match word.as_str() {
                "--calls" => plan.calls = value().parse().expect("a number"),
                "--seconds" => plan.seconds = value().parse().expect("a number"),
                "--rounds" => plan.rounds = value().parse().expect("a number"),
                "--only" => plan.only = Some(value()),
                "--realtime" => plan.realtime = true,
                "--bench" => measured = true,
                other => panic!("unknown option {other}"),
            }
        }
        if !measured {
            // Run as a test: only whether it works.
            (plan.calls, plan.seconds, plan.rounds) = (20, 0.1, 1);
        }
        plan
    }
}

/// What one run of one contestant came to.
#[derive(Clone, Copy, Debug, Default)]
struct Figure {
    packets: u64,
    cpu: Duration,
    turns: u64,
    lost: u64,
    kernel_drops: u64,
}

impl Figure {
    fn nanos(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.packets.max(1) as f64
    }
}

fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer describes a live, writable local.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

fn pin(core: usize) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if let Some(core) = cores.get(core % cores.len().max(1)) {
        core_affinity::set_for_current(*core);
    }
}

/// Goes before all ordinary processes, so that a busy machine does not bunch up packets. Needs privilege.
fn hurry() {
    let parameters = libc::sched_param { sched_priority: 10 };
    // SAFETY: the pointer describes a live local; 0 means this thread.
    let set = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    assert_eq!(set, 0, "--realtime needs CAP_SYS_NICE");
}

/// Runs the contestant until told to end; what it measured of itself.
fn compete(mut contestant: Box<dyn Contestant>, realtime: bool, phase: &AtomicU8, ready: &AtomicU64) -> Figure {
    pin(0);
    if realtime {
        hurry();
    }
    ready.store(1, Ordering::Release);
    let (mut start, mut figure) = (None, Figure::default());
    loop {
        contestant.turn();
        match (phase.load(Ordering::Relaxed), start) {
            (MEASURED, None) => start = Some((thread_cpu(), contestant.forwarded(), contestant.turns())),
            (ENDING, Some((cpu, packets, turns))) => {
                figure.cpu = thread_cpu() - cpu;
                figure.packets = contestant.forwarded() - packets;
                figure.turns = contestant.turns() - turns;
                figure.kernel_drops = contestant.kernel_drops();
                return figure;
            }
            _ => {}
        }
    }
}

fn run(name: &str, plan: &Plan) -> Figure {
    let mut generator = Generator::new(plan.calls);
    let contestant: Box<dyn Contestant> = match name {
        "floor" => Box::new(Floor::new(&mut generator)),
        name => Box::new(Driven::new(name, &mut generator)),
    };
    let (phase, ready) = (Arc::new(AtomicU8::new(WARMING)), Arc::new(AtomicU64::new(0)));
    let realtime = plan.realtime;
    let (shared, flag) = (Arc::clone(&phase), Arc::clone(&ready));
    let thread = std::thread::Builder::new().name(format!("relay-{name}"));
    let thread = thread.spawn(move || compete(contestant, realtime, &shared, &flag)).expect("a thread");
    while ready.load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
    pin(1);
    // SAFETY: takes no pointers. Without it sleeps are rounded up by 50 microseconds.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
    if realtime {
        hurry();
    }
    generator.run(Duration::from_millis(400));
    phase.store(MEASURED, Ordering::Relaxed);
    generator.run(Duration::from_secs_f64(plan.seconds));
    phase.store(ENDING, Ordering::Relaxed);
    // The contestant notices at its next turn.
    generator.run(Duration::from_millis(50));
    let mut figure = thread.join().expect("the contestant");
    figure.lost = generator.damaged;
    figure
}

/// Nanoseconds of the cheapest system call, as a measure of the machine.
fn getppid_nanos() -> f64 {
    let start = Instant::now();
    for _ in 0..200_000 {
        // SAFETY: takes and touches nothing.
        unsafe { libc::syscall(libc::SYS_getppid) };
    }
    start.elapsed().as_nanos() as f64 / 200_000.0
}

fn median(values: &mut [f64]) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let (first, last) = (values.first().copied().unwrap_or(f64::NAN), values.last().copied().unwrap_or(f64::NAN));
    (values.get(values.len() / 2).copied().unwrap_or(f64::NAN), first, last)
}

fn main() {
    let plan = Plan::read();
    println!(
        "{} calls both ways, {} packets/s, getppid {:.0} ns",
        plan.calls,
        plan.calls * 2 * generator::PACKETS_PER_SECOND,
        getppid_nanos()
    );
    let names: Vec<&str> = ["floor", "epoll", "uring", "at-once"]
        .into_iter()
        .filter(|name| *name == "floor" || plan.only.as_deref().is_none_or(|only| only == *name))
        .collect();
    let mut ratios: Vec<Vec<f64>> = vec![Vec::new(); names.len()];
    for round in 0..plan.rounds {
        let mut sums = vec![Figure::default(); names.len()];
        let order = (0..names.len()).chain((0..names.len()).rev());
        let mut void = false;
        for index in order {
            let figure = run(names[index], &plan);
            void |= figure.lost > 0 || figure.kernel_drops > 0;
            sums[index].packets += figure.packets;
            sums[index].cpu += figure.cpu;
            sums[index].turns += figure.turns;
            sums[index].lost += figure.lost;
            sums[index].kernel_drops += figure.kernel_drops;
        }
        let verdict = if void {
            "void"
        } else if round == 0 {
            "warm-up"
        } else {
            ""
        };
        for (name, sum) in names.iter().zip(&sums) {
            let batch = sum.packets as f64 / sum.turns.max(1) as f64;
            println!(
                "round {round} {name:7} {:6.0} ns/packet, {batch:4.1} packets/turn, {} packets, {} lost, {} dropped {verdict}",
                sum.nanos(),
                sum.packets,
                sum.lost,
                sum.kernel_drops
            );
        }
        if verdict.is_empty() {
            for (ratio, sum) in ratios.iter_mut().zip(&sums) {
                ratio.push(sum.nanos() / sums[0].nanos());
            }
        }
    }
    for (name, mut ratio) in names.iter().zip(ratios).skip(1) {
        let (figure, min, max) = median(&mut ratio);
        let name = match *name {
            "uring" => "relay_vs_floor",
            "epoll" => "relay_epoll_vs_floor",
            _ => "relay_at_once_vs_floor",
        };
        println!("ratio {name} {figure:.3} {min:.3} {max:.3}");
    }
}
