//! Writing: a request patched as a proxy would, a response from scratch, an untouched message, beside a plain copy of the
//! same octets.

#[path = "parse/message.rs"]
#[allow(dead_code, reason = "this bench takes the message only")]
mod t2;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use strowger::sip::wire::{Builder, Framing, HeaderName, Index, Rewrite, parse};

fn rewrite(criterion: &mut Criterion) {
    let sip = t2::sip();
    let mut index = Index::new();
    let Ok(message) = parse(&sip, &mut index, Framing::Datagram) else { return };
    let mut out = Vec::with_capacity(4096);
    let mut group = criterion.benchmark_group("rewrite");
    group.throughput(criterion::Throughput::Bytes(sip.len() as u64));
    group.bench_function("copy", |bench| {
        bench.iter(|| {
            out.clear();
            out.extend_from_slice(black_box(&sip));
            out.len()
        });
    });
    group.bench_function("untouched", |bench| {
        bench.iter(|| {
            out.clear();
            Rewrite::new(black_box(message)).write(&mut out);
            out.len()
        });
    });
    group.bench_function("proxy_edits", |bench| {
        bench.iter(|| {
            out.clear();
            let mut rewrite = Rewrite::new(black_box(message));
            rewrite
                .request_line(&b"INVITE"[..], &b"sip:+16505552222@192.0.2.201:5060;user=phone"[..])
                .prepend(HeaderName::Via, &b"SIP/2.0/UDP ss2.biloxi.example.com:5060;branch=z9hG4bK721e4.1"[..])
                .set(HeaderName::MaxForwards, &b"68"[..])
                .pop(HeaderName::Route)
                .prepend(HeaderName::RecordRoute, &b"<sip:ss2.biloxi.example.com;lr>"[..]);
            rewrite.write(&mut out);
            out.len()
        });
    });
    group.bench_function("response", |bench| {
        bench.iter(|| {
            out.clear();
            Builder::response(&mut out, black_box(&message), 180, "Ringing", Some(b"314159"))
                .copy(HeaderName::RecordRoute, &message)
                .header(HeaderName::Contact, "<sip:192.0.2.201:5060>")
                .finish();
            out.len()
        });
    });
    group.finish();
}

criterion_group!(benches, rewrite);
criterion_main!(benches);
