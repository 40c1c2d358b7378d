//! Parsing and reading all T2 fields, against httparse on as many octets and headers, rsip and sipx-sip.
//!
//! `cargo bench --bench parse` runs criterion; with `-- --ratio` it prints `ratio NAME FIGURE MIN MAX` lines instead.
//! `benches/peers` has the parsers that bring more with them than a development dependency should.

mod message;
mod ratio;
mod t2;

use std::hint::black_box;

use criterion::Criterion;
use strowger::sip::wire::Index;

use ratio::ratio;

fn main() {
    let (sip, http) = (message::sip(), message::http());
    let mut index = Index::new();
    let sum = message::ours(&sip, &mut index);
    assert_ne!(t2::httparse(&http), 0);
    assert_eq!([t2::rsip(&sip), t2::sipx(&sip)], [sum, sum], "the peers read the same fields");
    if std::env::args().any(|argument| argument == "--ratio") {
        ratio("parse_vs_httparse", || message::ours(&sip, &mut index), || t2::httparse(&http), false);
        let mut index = Index::new();
        ratio("parse_vs_rsip_speedup", || message::ours(&sip, &mut index), || t2::rsip(&sip), true);
        ratio("parse_vs_sipx_speedup", || message::ours(&sip, &mut index), || t2::sipx(&sip), true);
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("parse");
    group.throughput(criterion::Throughput::Bytes(sip.len() as u64));
    group.bench_function("ours_t2", |bench| bench.iter(|| message::ours(black_box(&sip), &mut index)));
    group.bench_function("httparse", |bench| bench.iter(|| t2::httparse(black_box(&http))));
    group.bench_function("sipx_t2", |bench| bench.iter(|| t2::sipx(black_box(&sip))));
    group.bench_function("rsip_t2", |bench| bench.iter(|| t2::rsip(black_box(&sip))));
    group.finish();
    criterion.final_summary();
}
