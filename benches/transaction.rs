//! The transaction layer with 100,000 transactions alive: finding one, and whole lives of them. Parsing is not in it.

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;
use strowger::base::id::Token;
use strowger::base::{Flow, Instant, Random, ShardId, Slot, SocketKey, StreamKey, Transport};
use strowger::sip::transaction::{Incoming, Layer, Limits, Timers};
use strowger::sip::wire::{Framing, Method, OwnedMessage};

const ALIVE: u32 = 100_000;

fn flow(transport: Transport) -> Flow {
    Flow {
        transport,
        shard: ShardId(0),
        socket: SocketKey(0),
        stream: transport.is_reliable().then_some(StreamKey(1)),
        remote: ([192, 0, 2, 1], 5060).into(),
    }
}

fn request(method: &str, number: u32) -> OwnedMessage {
    let text = format!(
        "{method} sip:bob@biloxi.example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP client.atlanta.example.com:5060;branch=z9hG4bK74b43{number:08x}\r\nMax-Forwards: 70\r\n\
         From: Alice <sip:alice@atlanta.example.com>;tag=9fxced76sl\r\nTo: Bob <sip:bob@biloxi.example.com>\r\n\
         Call-ID: 3848276298220188511{number:08x}@atlanta.example.com\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:alice@client.atlanta.example.com>\r\nContent-Length: 0\r\n\r\n"
    );
    OwnedMessage::parse(Bytes::from(text), Framing::Datagram).expect("a request")
}

fn response(branch: &[u8]) -> OwnedMessage {
    let branch = String::from_utf8_lossy(branch);
    let text = format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP client.atlanta.example.com:5060;branch={branch}\r\n\
         From: Alice <sip:alice@atlanta.example.com>;tag=9fxced76sl\r\nTo: Bob <sip:bob@biloxi.example.com>;tag=8321234356\r\n\
         Call-ID: 3848276298220188511@atlanta.example.com\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    OwnedMessage::parse(Bytes::from(text), Framing::Datagram).expect("a response")
}

fn drain(layer: &mut Layer<u32>) {
    while let Some(transmit) = layer.poll_transmit() {
        black_box(transmit);
    }
    while let Some(event) = layer.poll_event() {
        black_box(event);
    }
}

/// A layer with many INVITEs ringing.
fn busy() -> Layer<u32> {
    let mut layer = Layer::new(Timers::default(), Limits::default(), Random::from_u64(1), Instant::ZERO);
    let ringing = Bytes::from_static(b"SIP/2.0 180 Ringing\r\n\r\n");
    for number in 0..ALIVE {
        let message = request("INVITE", number);
        if let Incoming::New(server) = layer.handle_request(Instant::ZERO, flow(Transport::Udp), &message.view()) {
            layer.respond(Instant::ZERO, server, 180, ringing.clone());
        }
        drain(&mut layer);
    }
    layer
}

fn lookup(criterion: &mut Criterion) {
    let mut layer = busy();
    let again: Vec<OwnedMessage> =
        (0..4_096).map(|index: u32| request("INVITE", index.wrapping_mul(2_654_435_761) % ALIVE)).collect();
    let mut at = 0;
    criterion.bench_function("transaction/retransmission_of_100k", |bencher| {
        bencher.iter(|| {
            at = (at + 1) % again.len();
            let found = layer.handle_request(Instant::ZERO, flow(Transport::Udp), &again[at].view());
            assert_eq!(found, Incoming::Retransmission);
            black_box(layer.poll_transmit())
        });
    });
    let strange = request("ACK", ALIVE + 1);
    criterion.bench_function("transaction/ack_of_none_of_100k", |bencher| {
        bencher.iter(|| black_box(layer.handle_request(Instant::ZERO, flow(Transport::Udp), &strange.view())));
    });
}

fn lives(criterion: &mut Criterion) {
    let mut layer = busy();
    let ok = Bytes::from_static(b"SIP/2.0 200 OK\r\n\r\n");
    let options = request("OPTIONS", 7);
    criterion.bench_function("transaction/server_life_on_a_stream", |bencher| {
        bencher.iter(|| {
            let incoming = layer.handle_request(Instant::ZERO, flow(Transport::Tcp), &options.view());
            let Incoming::New(server) = incoming else { panic!("{incoming:?}") };
            layer.respond(Instant::ZERO, server, 200, ok.clone());
            drain(&mut layer);
        });
    });
    let token = Token { shard: ShardId(0), slot: Slot::default(), salt: 1 };
    let branch = layer.new_branch(token);
    let answer = response(&branch);
    criterion.bench_function("transaction/client_life_on_a_stream", |bencher| {
        bencher.iter(|| {
            black_box(layer.new_branch(token));
            let sent = layer.request(Instant::ZERO, flow(Transport::Tcp), Method::Options, &branch, ok.clone(), 1);
            assert!(sent.is_ok() && layer.handle_response(Instant::ZERO, &answer.view()).is_some());
            drain(&mut layer);
        });
    });
}

/// Over UDP, where each is kept for 32 s: 3,125 requests/s by the clock of the timers.
fn sustained(criterion: &mut Criterion) {
    let mut layer = Layer::new(Timers::default(), Limits::default(), Random::from_u64(1), Instant::ZERO);
    let ok = Bytes::from_static(b"SIP/2.0 200 OK\r\n\r\n");
    let messages: Vec<OwnedMessage> = (0..200_000).map(|number| request("OPTIONS", number)).collect();
    let (mut now, mut at) = (Instant::ZERO, 0);
    let mut step = move || {
        now += Duration::from_secs(32) / ALIVE;
        at = (at + 1) % messages.len();
        layer.handle_timeout(now);
        let incoming = layer.handle_request(now, flow(Transport::Udp), &messages[at].view());
        let Incoming::New(server) = incoming else { panic!("{incoming:?}") };
        layer.respond(now, server, 200, ok.clone());
        drain(&mut layer);
    };
    (0..2 * ALIVE).for_each(|_| step());
    criterion.bench_function("transaction/server_life_with_100k_kept", |bencher| bencher.iter(&mut step));
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = lookup, lives, sustained
}
criterion_main!(benches);
