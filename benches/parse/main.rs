//! Parsing and reading all T2 fields, against httparse on as many octets and headers, rsip and sipx-sip.
//!
//! `cargo bench --bench parse` runs criterion; with `-- --ratio` it prints `ratio NAME FIGURE MIN MAX` lines instead: rounds in
//! A/B/B/A order, the first discarded, the median ratio with its least and largest.

mod t2;

use std::hint::black_box;
use std::time::Instant;

use criterion::Criterion;
use strowger::sip::wire::Index;

const ROUNDS: usize = 12;
const PER_ROUND: u32 = 40_000;

fn main() {
    let (sip, http) = (t2::sip(), t2::http());
    let mut index = Index::new();
    let sum = t2::ours(&sip, &mut index);
    assert_ne!(t2::httparse(&http), 0);
    assert_eq!([t2::rsip(&sip), t2::sipx(&sip)], [sum, sum], "the peers read the same fields");
    if std::env::args().any(|argument| argument == "--ratio") {
        ratio("parse_vs_httparse", || t2::ours(&sip, &mut index), || t2::httparse(&http), false);
        let mut index = Index::new();
        ratio("parse_vs_rsip_speedup", || t2::ours(&sip, &mut index), || t2::rsip(&sip), true);
        ratio("parse_vs_sipx_speedup", || t2::ours(&sip, &mut index), || t2::sipx(&sip), true);
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("parse");
    group.throughput(criterion::Throughput::Bytes(sip.len() as u64));
    group.bench_function("ours_t2", |bench| bench.iter(|| t2::ours(black_box(&sip), &mut index)));
    group.bench_function("httparse", |bench| bench.iter(|| t2::httparse(black_box(&http))));
    group.bench_function("sipx_t2", |bench| bench.iter(|| t2::sipx(black_box(&sip))));
    group.bench_function("rsip_t2", |bench| bench.iter(|| t2::rsip(black_box(&sip))));
    group.finish();
    criterion.final_summary();
}

/// Nanoseconds per call over one round.
fn round(work: &mut impl FnMut() -> u64) -> f64 {
    let start = Instant::now();
    for _ in 0..PER_ROUND {
        black_box(work());
    }
    start.elapsed().as_nanos() as f64 / f64::from(PER_ROUND)
}

fn ratio(name: &str, mut ours: impl FnMut() -> u64, mut theirs: impl FnMut() -> u64, speedup: bool) {
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
