//! One reader of a message against another: rounds in A/B/B/A order, the first discarded, the median ratio with its least and
//! largest.

use std::hint::black_box;
use std::time::Instant;

const ROUNDS: usize = 12;
const PER_ROUND: u32 = 40_000;

/// Nanoseconds per call over one round.
fn round(work: &mut impl FnMut() -> u64) -> f64 {
    let start = Instant::now();
    for _ in 0..PER_ROUND {
        black_box(work());
    }
    start.elapsed().as_nanos() as f64 / f64::from(PER_ROUND)
}

/// Prints `ratio NAME FIGURE MIN MAX`, above 1 where ours is faster if it is a `speedup`.
pub fn ratio(name: &str, mut ours: impl FnMut() -> u64, mut theirs: impl FnMut() -> u64, speedup: bool) {
    let mut ratios = Vec::new();
    for at in 0..ROUNDS {
        let (a, b) = (round(&mut ours), round(&mut theirs));
        let (b, a) = (b + round(&mut theirs), a + round(&mut ours));
        if at > 0 {
            ratios.push(if speedup { b / a } else { a / b });
        }
        eprintln!("{name} round {at}: ours {:.1} ns, theirs {:.1} ns", a / 2.0, b / 2.0);
    }
    ratios.sort_by(f64::total_cmp);
    println!("ratio {name} {:.3} {:.3} {:.3}", ratios[ratios.len() / 2], ratios[0], ratios[ratios.len() - 1]);
}
