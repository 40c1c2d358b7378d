//! Whole calls and registrations through one shard, without sockets: what each costs our own code, message by message.
//!
//! `cargo bench --bench call`. INVITE, 180, 200, ACK, BYE, 200 between two trunks, 1,000 calls a second of the shard's time,
//! up for 300 ms, and REGISTER, 401, REGISTER, 200 as often, after a minute's worth of either, so that tables hold what they
//! hold under such a load. Prints for each message the nanoseconds and the allocations it takes until all that it causes has
//! been handed out, timers apart. The last line, `ratio call_vs_text FIGURE MIN MAX`, is a call over what no call can do
//! without: reading the six messages that come in, and copying the six that go out, in the same run.
//!
//! `-- --calls N` makes just N calls and no floor, `-- --registrations N` registrations, for callgrind:
//! `valgrind --tool=callgrind --collect-atstart=no --toggle-collect='*measured*' FILE --calls 2000`.

mod calls;
#[path = "../../tests/counting/mod.rs"]
mod counting;
mod desk;
mod registrations;

use calls::{calls, text_floor};
use desk::Desk;
use registrations::registrations;
use std::collections::VecDeque;

const WARM_UP: u32 = 60_000;
const MEASURED: u32 = 30_000;
const ROUNDS: u32 = 5;

fn after(arguments: &[String], word: &str) -> Option<u32> {
    let at = arguments.iter().position(|argument| argument == word)?;
    arguments.get(at + 1)?.parse().ok()
}

/// Rounds of the same work; what each costs, in nanoseconds.
fn rounds(desk: &mut Desk, what: &str, mut work: impl FnMut(&mut Desk, std::ops::Range<u32>)) -> Vec<f64> {
    work(desk, 0..WARM_UP);
    desk.reset();
    let mut spent = Vec::new();
    for round in 0..ROUNDS {
        let (before, first) = (desk.spent(), WARM_UP + round * MEASURED);
        work(desk, first..first + MEASURED);
        spent.push((desk.spent() - before) as f64 / f64::from(MEASURED));
    }
    desk.print(what, ROUNDS * MEASURED);
    spent
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let mut up = VecDeque::new();
    if let Some(count) = after(&arguments, "--calls") {
        return calls(&mut calls::desk(), 0..count, &mut up);
    }
    if let Some(count) = after(&arguments, "--registrations") {
        return registrations(&mut registrations::desk(), 0..count);
    }
    rounds(&mut registrations::desk(), "registration", registrations);
    println!();
    let spent = rounds(&mut calls::desk(), "call", |desk, numbers| calls(desk, numbers, &mut up));
    let mut ratios: Vec<f64> = spent.iter().map(|spent| spent / text_floor(MEASURED)).collect();
    ratios.sort_by(f64::total_cmp);
    println!("ratio call_vs_text {:.2} {:.2} {:.2}", ratios[ratios.len() / 2], ratios[0], ratios[ratios.len() - 1]);
}
