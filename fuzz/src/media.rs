//! Any bytes as packets to a relay, RTP, RTCP and events among them: read or refused, and every one accounted for.
//!
//! The input is a train of packets: socket, sender, milliseconds since the last, length, then that many octets.

use std::net::SocketAddr;
use strowger::base::time::Duration;
use strowger::base::{Instant, Random, Side, SocketKey};
use strowger::media::dtmf::Event;
use strowger::media::rtcp::{Compound, Item};
use strowger::media::rtp::Packet;
use strowger::media::{Relay, RelayConfig, RemoteOptions, StreamKind, StreamOptions, Verdict};

/// One input.
pub fn run(mut octets: &[u8]) {
    let mut now = Instant::from_millis(1);
    let mut relay = relay(now);
    let (mut sent, mut forwarded) = (0, 0);
    while let [socket, sender, millis, len, rest @ ..] = octets {
        let (packet, after) = rest.split_at((*len as usize).min(rest.len()));
        octets = after;
        read(packet);
        now += Duration::from_millis(u64::from(*millis) * 8);
        let from = SocketAddr::from(([192, 0, 2, 1 + sender % 4], 4000 + u16::from(sender / 4 % 4)));
        let verdict = relay.handle_packet(now, SocketKey(u32::from(socket % 18)), from, &mut packet.to_vec());
        sent += 1;
        forwarded += u64::from(matches!(verdict, Verdict::Forward { len, .. } if len == packet.len()));
        relay.handle_timeout(now);
        while relay.poll_event().is_some() {}
    }
    let counts = relay.counts();
    assert!(counts.is_balanced());
    assert_eq!((counts.received, counts.forwarded), (sent, forwarded));
}

fn read(packet: &[u8]) {
    if let Some(packet) = Packet::parse(packet) {
        let _ = Event::parse(packet.payload);
    }
    for item in Compound::parse(packet).into_iter().flatten() {
        if let Item::Sender { blocks, .. } | Item::Receiver { blocks, .. } = item {
            assert!(blocks.count() <= 31);
        }
    }
}

/// Four streams on sixteen ports: plain, behind NAT with mux, encrypted, raw.
fn relay(now: Instant) -> Relay {
    let mut config = RelayConfig::new("203.0.113.1".parse().expect("an address"), 30_000, 30_015);
    config.streams_max = 4;
    let mut relay = Relay::new(config, now, Random::from_u64(1));
    for index in 0..4 {
        let kind = if index == 3 { StreamKind::Raw } else { StreamKind::Audio };
        let slot = relay.open(now, StreamOptions { kind, ..StreamOptions::default() }).expect("there is room");
        for side in Side::BOTH {
            let rtp = SocketAddr::from(([192, 0, 2, 1 + side.index() as u8], 4000));
            let options = RemoteOptions {
                rtp: Some(rtp),
                signalled_from: Some(rtp.ip()),
                behind_nat: index == 1,
                mux: index == 1,
                encrypted: index == 2,
                telephone_event: Some(101),
                ..RemoteOptions::default()
            };
            relay.set_remote(now, slot, side, &options);
        }
        relay.set_answered(now, slot);
    }
    relay
}
