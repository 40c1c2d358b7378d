//! The relay allocates nothing per packet: a counting allocator watches voice, reports, keys, strays and rubbish pass.

mod counting;

use counting::allocations;
use std::net::SocketAddr;
use strowger::base::time::Duration;
use strowger::base::{Instant, Random, Side, SocketKey};
use strowger::media::rtp::Header;
use strowger::media::{Relay, RelayConfig, RemoteOptions, StreamOptions, StreamSlot, Verdict, dtmf::Press, rtcp};

const STREAMS: u16 = 50;
const PORT_MIN: u16 = 30_000;

fn party(side: Side, stream: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1 + side.index() as u8], 10_000 + 2 * stream))
}

fn open(relay: &mut Relay, now: Instant) -> Vec<(StreamSlot, [SocketKey; 2])> {
    let mut open = Vec::new();
    for stream in 0..STREAMS {
        let slot = relay.open(now, StreamOptions::default()).expect("there is room");
        for side in Side::BOTH {
            let address = party(side, stream);
            let options = RemoteOptions {
                rtp: Some(address),
                signalled_from: Some(address.ip()),
                behind_nat: stream % 2 == 1,
                telephone_event: Some(101),
                ..RemoteOptions::default()
            };
            relay.set_remote(now, slot, side, &options);
        }
        relay.set_answered(now, slot);
        while relay.poll_socket().is_some() {}
        let key = |side| SocketKey(u32::from(relay.local(slot, side).expect("it is open").0.port() - PORT_MIN));
        open.push((slot, Side::BOTH.map(key)));
    }
    open
}

/// One packet of each kind that a port sees.
fn packets(sequence: u16) -> Vec<Vec<u8>> {
    let header = Header { sequence, timestamp: u32::from(sequence) * 160, ssrc: 9, ..Header::default() };
    let mut voice = Vec::new();
    header.write(&[0xff; 160], &mut voice);
    let mut report = Vec::new();
    rtcp::write_sender_report(9, &rtcp::SenderInfo::default(), &[rtcp::ReportBlock::default()], &mut report);
    let mut packets = vec![voice, report, b"rubbish".to_vec(), Vec::new()];
    let key = Header { payload_type: 101, sequence: sequence.wrapping_add(1), ..header };
    for (header, event) in Press::new(key, 5, 10, 160, 320) {
        let mut packet = Vec::new();
        header.write(&event.encode(), &mut packet);
        packets.push(packet);
    }
    packets
}

#[test]
fn nothing_is_allocated_per_packet() {
    let mut now = Instant::from_millis(1);
    let config = RelayConfig::new("203.0.113.1".parse().unwrap(), PORT_MIN, 30_999);
    let mut relay = Relay::new(config, now, Random::from_u64(3));
    let streams = open(&mut relay, now);
    let mut rounds: Vec<_> = (0..40).map(|round| packets(round * 10)).collect();

    let before = allocations();
    assert!(before > 0, "opening allocates, and the counter sees it");
    for round in &mut rounds {
        now += Duration::from_millis(20);
        for (stream, (_, keys)) in (0..).zip(&streams) {
            for side in Side::BOTH {
                for packet in round.iter_mut() {
                    for from in [party(side, stream), SocketAddr::from(([203, 0, 113, 66], 9))] {
                        let _: Verdict = relay.handle_packet(now, keys[side.index()], from, packet);
                        let other_port = SocketKey(keys[side.index()].0 + 1);
                        let _: Verdict = relay.handle_packet(now, other_port, from, packet);
                    }
                }
            }
        }
        while relay.poll_event().is_some() {}
    }
    assert_eq!(allocations() - before, 0);

    let counts = relay.counts();
    assert!(counts.is_balanced());
    assert!(counts.forwarded > 40 * 100 * 4, "{counts:?}");
    let report = relay.close(now, streams[0].0).unwrap();
    assert!(report.sides.iter().all(|side| side.digits > 0 && side.strays > 0 && side.rtcp_packets > 0));
}
