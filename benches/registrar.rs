//! The location store with 1,000,000 contacts: look-up, refresh, and the bytes that one contact costs.
//!
//! `cargo bench --bench registrar`; the last line, `bytes_per_contact N`, is the growth of what the allocator handed out
//! divided by the contacts, one contact an AOR, allocator overhead not included.

mod held;

use criterion::{Criterion, criterion_group, criterion_main};
use held::held;
use std::hint::black_box;
use strowger::base::{Flow, Instant, Random, ShardId, SocketKey, Transport};
use strowger::call::contacts::{Binding, Store};

const CONTACTS: u32 = 1_000_000;

fn aor(number: u32) -> [u8; 12] {
    let mut name = *b"user00000000";
    let digits = format!("{number:08}");
    name[4..].copy_from_slice(digits.as_bytes());
    name
}

fn binding(number: u32) -> Binding {
    let [_, a, b, c] = number.to_be_bytes();
    let remote = ([10, a, b, c], 5060).into();
    let flow = Flow { transport: Transport::Udp, shard: ShardId(0), socket: SocketKey(0), stream: None, remote };
    Binding {
        uri: format!("sip:user{number:08}@10.{a}.{b}.{c}:5060;ob").into_bytes().into(),
        params: Box::default(),
        flow,
        expires: Instant::MAX,
        call_id: u64::from(number),
        cseq: 1,
        q: 1000,
    }
}

fn registrar(criterion: &mut Criterion) {
    let before = held();
    let mut store = Store::new(CONTACTS as usize + 1, &mut Random::from_u64(1));
    for number in 0..CONTACTS {
        store.put(&aor(number), binding(number), |_| true).expect("there is room");
    }
    let bytes = (held() - before) / CONTACTS as usize;
    let mut random = Random::from_u64(2);
    let mut next = || aor(random.below(u64::from(CONTACTS)) as u32);
    criterion.bench_function("registrar/lookup_1000000", |bencher| {
        bencher.iter(|| black_box(store.bindings(&next(), Instant::ZERO).count()));
    });
    let mut random = Random::from_u64(3);
    criterion.bench_function("registrar/refresh_1000000", |bencher| {
        bencher.iter_batched(
            || random.below(u64::from(CONTACTS)) as u32,
            |number| store.put(&aor(number), binding(number), |_| true),
            criterion::BatchSize::SmallInput,
        );
    });
    println!("bytes_per_contact {bytes}");
}

criterion_group!(benches, registrar);
criterion_main!(benches);
