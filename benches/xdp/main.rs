//! `xdp_vs_tx`: nanoseconds a packet (BPF test run) of the relay in the kernel, against a program that swaps the hardware
//! addresses and transmits.
//!
//! *Hot*: one flow, its two directions installed, so that each run relays what the run before it left (the sequence number
//! stays, which the relay counts as a repeat; `--ordered` below pays for the jitter measured of packets in order).
//! *Ordered* and *cold*: before either contestant stands the same small program (`rotate`), which makes the packet the next
//! one of the next flow and goes on with a tail call. Its price is known by itself and counts for neither side:
//! `ratio = 1 + ((rotate + relay) - (rotate + swap)) / swap`. The order of the 100,000 flows is random, as ports are; one
//! address has 32,768 pairs of ports, so they lie on four. 3,200,000 packets are 32 of each flow, of which the relay measures
//! the jitter of one pair.
//!
//! The floor of *cold* is `touch`: swap, with a look whether the flow's row lives and one more on its counter, the least that
//! any program with a memory of flows does. The machine's memory decides that, not the program, so the relay is compared
//! with it, too (`_cold_vs_touch`).
//!
//! Rounds run A/B/B/A, the first is thrown away; the figure is the median of the rounds' ratios. The last lines are
//! `ratio NAME FIGURE MIN MAX`. How long one load that misses all caches takes here is printed beside them.
//!
//! `cargo bench --bench xdp -- [--rounds 7] [--packets 3200000] [--json FILE] [--object FILE]` (another build of the
//! relay), with CAP_BPF and CAP_NET_ADMIN; without, it
//! says so and exits with status 2.

mod stage;

use stage::{Behind, Stage};
use std::fmt::Write as _;
use std::time::Instant;

struct Plan {
    rounds: usize,
    packets: u32,
    json: Option<String>,
    object: Option<String>,
}

impl Plan {
    fn read() -> Self {
        let mut plan = Self { rounds: 7, packets: 3_200_000, json: None, object: None };
        let (mut words, mut measured) = (std::env::args().skip(1), false);
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word} needs a value"));
            match word.as_str() {
                "--rounds" => plan.rounds = value().parse().expect("a number"),
                "--packets" => plan.packets = value().parse().expect("a number"),
                "--json" => plan.json = Some(value()),
                "--object" => plan.object = Some(value()),
                "--bench" => measured = true,
                other => panic!("unknown option {other}"),
            }
        }
        if !measured {
            // Run as a test: only whether it works.
            (plan.rounds, plan.packets) = (2, 1000);
        }
        plan
    }
}

/// One round: nanoseconds of swap and relay alone, and of all three behind `rotate`.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    swap: f64,
    hot: f64,
    ordered: [f64; 3],
    cold: [f64; 3],
}

const NAMES: [&str; 4] = ["xdp_vs_tx_hot", "xdp_vs_tx_ordered", "xdp_vs_tx_cold", "xdp_cold_vs_touch"];

impl Round {
    /// In the order of [`NAMES`].
    fn ratios(&self) -> [f64; 4] {
        let beyond = |[swap, _, relay]: [f64; 3]| 1.0 + (relay - swap) / self.swap;
        let [_, touch, relay] = self.cold.map(|taken| self.swap + taken - self.cold[0]);
        [self.hot / self.swap, beyond(self.ordered), beyond(self.cold), relay / touch]
    }

    fn json(&self) -> String {
        let Self { swap, hot, ordered, cold } = self;
        format!("{{\"swap_ns\":{swap},\"relay_hot_ns\":{hot},\"ordered_ns\":{ordered:?},\"cold_ns\":{cold:?}}}")
    }
}

fn round(stage: &Stage, packets: u32) -> Round {
    // A/B/C/C/B/A: each contestant early and late, so that a drift of the machine favours none.
    let contest = |flows: u32| {
        let order = [Behind::Swap, Behind::Touch, Behind::Relay];
        let mut taken = [0.0; 3];
        for behind in order.into_iter().chain(order.into_iter().rev()) {
            taken[behind as usize] += stage.rotate(behind, flows, packets) / 2.0;
        }
        taken
    };
    let (ordered, cold) = (contest(1), contest(stage::FLOWS));
    let swap = stage.swap(packets);
    let hot = stage.relay(packets) + stage.relay(packets);
    Round { swap: (swap + stage.swap(packets)) / 2.0, hot: hot / 2.0, ordered, cold }
}

/// Nanoseconds of a load whose address depends on the load before it, over as many rows as there are flows.
fn miss_ns() -> f64 {
    const ROW_WORDS: usize = 32;
    let rows = stage::FLOWS as usize;
    let mut memory = vec![0u32; rows * ROW_WORDS];
    let order = stage::order();
    for (at, next) in order.iter().zip(order.iter().cycle().skip(1)) {
        memory[*at as usize * ROW_WORDS] = *next;
    }
    let mut at = order[0];
    let mut best = f64::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        for _ in 0..rows {
            at = memory[at as usize * ROW_WORDS];
        }
        best = best.min(start.elapsed().as_nanos() as f64 / rows as f64);
    }
    assert!(std::hint::black_box(at) < stage::FLOWS);
    best
}

fn main() {
    let plan = Plan::read();
    let object = plan.object.as_ref().map(|file| std::fs::read(file).expect("an object file"));
    let stage = match Stage::set(object.as_deref().unwrap_or(strowger::xdp::OBJECT)) {
        Ok(stage) => stage,
        Err(error) => {
            println!("missing: permission to load BPF programs ({error}); run as root");
            std::process::exit(if plan.packets < 10_000 { 0 } else { 2 });
        }
    };
    let mut rounds = Vec::new();
    for number in 0..plan.rounds {
        let round = round(&stage, plan.packets);
        println!(
            "round {number}: swap {:.1} ns, relay hot {:.1}; rotate and swap, touch, relay: ordered {:.1?}, cold {:.1?}; ratios {:.2?}",
            round.swap,
            round.hot,
            round.ordered,
            round.cold,
            round.ratios()
        );
        rounds.push(round);
    }
    rounds.remove(0);
    println!("a load that misses, over as many rows: {:.0} ns", miss_ns());
    if let Some(file) = &plan.json {
        let mut text = String::from("[");
        for round in &rounds {
            let _ = write!(text, "{}{}", if text.len() > 1 { "," } else { "" }, round.json());
        }
        std::fs::write(file, text + "]\n").expect("the file can be written");
    }
    for (index, name) in NAMES.into_iter().enumerate() {
        let mut ratios: Vec<f64> = rounds.iter().map(|round| round.ratios()[index]).collect();
        ratios.sort_by(f64::total_cmp);
        println!("ratio {name} {:.3} {:.3} {:.3}", ratios[ratios.len() / 2], ratios[0], ratios[ratios.len() - 1]);
    }
}
