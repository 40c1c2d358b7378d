//! What the relay costs per packet, and a rewritten description per message: no sockets, only our own work.
//!
//! `relay_apply` is the settled rule alone; `relay_packet` the whole table (steering, rule, measuring), on one stream that
//! stays in the cache and on many in turn that do not.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::net::SocketAddr;
use strowger::base::time::Duration;
use strowger::base::{Instant, Random, Side, SocketKey};
use strowger::media::relay::{Expect, Rule, apply};
use strowger::media::rtp::Header;
use strowger::media::{Relay, RelayConfig, RemoteOptions, StreamOptions, Verdict};
use strowger::sdp::{Author, CodecFilter, MediaPlan, Session};

const VOICE_BYTES: usize = 160;
const PORT_MIN: u16 = 1024;

fn party(side: Side, stream: usize) -> SocketAddr {
    let [high, low] = ((stream / 10_000) as u16).to_be_bytes();
    SocketAddr::from(([10, 1 + side.index() as u8, high, low], 10_000 + (stream % 10_000) as u16 * 2))
}

fn voice(sequence: u16) -> Vec<u8> {
    let header = Header { sequence, timestamp: u32::from(sequence) * 160, ssrc: 9, ..Header::default() };
    let mut packet = Vec::new();
    header.write(&[0xff; VOICE_BYTES], &mut packet);
    packet
}

/// Streams that are up and settled, with the keys of their RTP sockets towards A and B.
struct Table {
    relay: Relay,
    keys: Vec<[SocketKey; 2]>,
    now: Instant,
    sequence: u16,
}

impl Table {
    fn new(streams: usize) -> Self {
        let now = Instant::from_millis(1);
        let mut config = RelayConfig::new("203.0.113.1".parse().unwrap(), PORT_MIN, u16::MAX);
        config.streams_max = streams;
        let mut relay = Relay::new(config, now, Random::from_u64(5));
        let mut keys = Vec::new();
        for stream in 0..streams {
            let slot = relay.open(now, StreamOptions::default()).unwrap();
            for side in Side::BOTH {
                let rtp = party(side, stream);
                let options = RemoteOptions {
                    rtp: Some(rtp),
                    signalled_from: Some(rtp.ip()),
                    telephone_event: Some(101),
                    ..RemoteOptions::default()
                };
                relay.set_remote(now, slot, side, &options);
            }
            relay.set_answered(now, slot);
            while relay.poll_socket().is_some() {}
            let key = |side| relay.local(slot, side).map(|(rtp, _)| SocketKey(u32::from(rtp.port() - PORT_MIN)));
            keys.push(Side::BOTH.map(|side| key(side).unwrap()));
        }
        let mut table = Self { relay, keys, now, sequence: 0 };
        table.round(&mut voice(0));
        while table.relay.poll_event().is_some() {}
        table
    }

    /// One packet from each side of each stream, as every 20 ms brings.
    fn round(&mut self, packet: &mut [u8]) -> usize {
        self.sequence = self.sequence.wrapping_add(1);
        self.now += Duration::from_millis(20);
        packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&(u32::from(self.sequence) * 160).to_be_bytes());
        let mut forwarded = 0;
        for (stream, keys) in self.keys.iter().enumerate() {
            for side in Side::BOTH {
                let verdict =
                    self.relay.handle_packet(self.now, keys[side.index()], party(side, stream), black_box(packet));
                forwarded += usize::from(matches!(verdict, Verdict::Forward { .. }));
            }
        }
        forwarded
    }
}

fn relay_apply(criterion: &mut Criterion) {
    let from = party(Side::A, 0);
    let mut rule = Rule {
        source: from,
        socket: SocketKey(1),
        to: party(Side::B, 0),
        expect: Expect::new(0, 9).unwrap(),
        packets: 0,
        bytes: 0,
    };
    let packet = voice(1);
    let mut group = criterion.benchmark_group("relay_apply");
    group.throughput(Throughput::Elements(1));
    group.bench_function("hot", |bencher| bencher.iter(|| apply(black_box(&mut rule), black_box(from), &packet)));
    group.finish();
}

fn relay_packet(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("relay_packet");
    for streams in [1, 500, 10_000] {
        let mut table = Table::new(streams);
        let mut packet = voice(0);
        group.throughput(Throughput::Elements(2 * streams as u64));
        group.bench_function(BenchmarkId::new("streams", streams), |bencher| {
            bencher.iter(|| assert_eq!(table.round(&mut packet), 2 * streams));
        });
    }
    group.finish();
}

fn stray_packet(criterion: &mut Criterion) {
    let mut table = Table::new(1);
    let mut packet = voice(0);
    let (key, stranger) = (table.keys[0][0], party(Side::B, 77));
    criterion.bench_function("relay_stray", |bencher| {
        bencher.iter(|| table.relay.handle_packet(table.now, key, black_box(stranger), &mut packet));
    });
}

const OFFER: &[u8] = b"v=0\r\no=alice 2890844526 2890844526 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
    m=audio 49170 RTP/AVP 96 0 8 18 101\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n\
    a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=rtcp:49171 IN IP4 192.0.2.1\r\na=sendrecv\r\n";

fn descriptions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sdp");
    group.throughput(Throughput::Bytes(OFFER.len() as u64));
    group.bench_function("parse", |bencher| bencher.iter(|| Session::parse(black_box(OFFER)).unwrap().media.len()));
    let rtp: SocketAddr = "203.0.113.1:30000".parse().unwrap();
    let plain = MediaPlan::relayed(rtp, SocketAddr::new(rtp.ip(), 30_001));
    let codecs = CodecFilter::new(&["PCMA", "PCMU"]);
    for (name, plan) in [("rewrite", plain), ("rewrite_filtered", plain.with_codecs(&codecs))] {
        let mut author = Author::new(7, rtp.ip());
        let mut out = Vec::with_capacity(1024);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                let session = Session::parse(black_box(OFFER)).unwrap();
                author.write(&session, &[plan], &mut out).live
            });
        });
    }
    group.finish();
}

criterion_group!(benches, relay_apply, relay_packet, stray_packet, descriptions);
criterion_main!(benches);
