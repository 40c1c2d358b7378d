//! Streams that go down and up beside the model of the kernel, and beside a relay that has none.

mod bench;
mod twins;

use crate::base::time::Duration;
use crate::base::{Direction, Side, SocketKey};
use crate::media::model::Fate;
use crate::media::path::{SETTLE, SWEEP, Waiting};
use crate::media::rtp::Header;
use crate::media::{MediaEvent, RemoteOptions, Way};
use bench::{A, B, Bench, DEAD_MAN, at, remote};
use std::net::SocketAddr;

#[test]
fn a_settled_stream_goes_down_once_its_rule_has_stood() {
    let (mut bench, kernel) = Bench::with_kernel();
    assert_eq!((kernel.open(), kernel.below()), (2, 0));
    let mut sequence = 0;
    bench.talk(4, &mut sequence);
    assert_eq!(kernel.below(), 0, "not before {SETTLE:?}");
    bench.talk(2, &mut sequence);
    assert_eq!(kernel.below(), 2);
    bench.talk(100, &mut sequence);
    assert_eq!(bench.ways(), [Way::Below; 2]);
    let report = bench.relay.close(bench.now, bench.slot).unwrap();
    for side in report.sides {
        assert_eq!((side.packets, side.forwarded, side.lost, side.duplicates), (106, 106, 0, 0));
        assert_eq!((side.bytes, side.expected), (106 * 172, 106));
        assert!(side.packets_below >= 99, "{}", side.packets_below);
    }
    assert_eq!((kernel.open(), kernel.below()), (0, 0));
    let counts = bench.relay.counts();
    assert!(counts.is_balanced());
    assert_eq!((counts.moves_down, counts.moves_up, counts.forwarded), (2, 2, 212));
}

#[test]
fn where_something_is_down_streams_look_at_their_time_with_a_sweep() {
    let (mut bench, kernel) = Bench::with_kernel();
    let due = |bench: &Bench, millis| bench.now + Duration::from_millis(millis);
    assert_eq!(bench.relay.with_a_sweep(due(&bench, 1234)), due(&bench, 1234), "nothing is down");
    bench.talk(20, &mut 0);
    assert_eq!(kernel.below(), 2);
    let first = bench.relay.sweep_at;
    for millis in 0..2000 {
        let due = due(&bench, millis);
        let look = bench.relay.with_a_sweep(due);
        if due < first {
            assert_eq!(look, due, "no sweep comes before");
        } else {
            assert_eq!(look.since(first).as_nanos() % SWEEP.as_nanos(), 0, "{millis}");
            assert!(look >= first && look <= due && due.since(look) < SWEEP, "{millis}: {look:?}");
        }
    }
}

#[test]
fn hold_takes_effect_with_the_next_packet_and_resume_goes_down_again() {
    let (mut bench, kernel) = Bench::with_kernel();
    let mut sequence = 0;
    bench.talk(20, &mut sequence);
    let now = bench.now;
    let held = RemoteOptions { direction: Direction::SendOnly, ..remote(Side::A) };
    bench.relay.set_remote(now, bench.slot, Side::A, &held);
    assert_eq!(bench.send(Side::B, 0, 5, 21), None, "the held party hears nothing");
    assert_eq!(bench.send(Side::A, 0, 5, 21), Some(at(B)), "music on hold");
    assert_eq!(kernel.below(), 1, "what did not change stays down");
    bench.relay.set_remote(now, bench.slot, Side::A, &remote(Side::A));
    sequence = 21;
    bench.talk(20, &mut sequence);
    assert_eq!(kernel.below(), 2);
    assert_eq!((bench.side(Side::A).lost, bench.side(Side::B).lost), (0, 0));
}

#[test]
fn another_source_identifier_or_codec_comes_up_and_settles_anew() {
    let (mut bench, kernel) = Bench::with_kernel();
    let mut sequence = 0;
    bench.talk(20, &mut sequence);
    for (payload_type, ssrc) in [(8, 5), (8, 6)] {
        sequence += 1;
        assert!(bench.send(Side::A, payload_type, ssrc, sequence).is_some());
        assert_eq!(kernel.below(), 1);
        bench.wait(120);
        assert_eq!(kernel.below(), 2);
    }
    bench.wait(1000);
    let side = bench.side(Side::A);
    assert_eq!((side.packets, side.lost, side.payload_type, side.ssrc), (22, 0, Some(8), Some(6)));
}

#[test]
fn keys_and_comfort_noise_pass_by_and_nothing_is_lost_or_moved() {
    let (mut bench, kernel) = Bench::with_kernel();
    let mut sequence = 0;
    bench.talk(20, &mut sequence);
    for payload_type in [101, 13] {
        for _ in 0..7 {
            sequence += 1;
            for side in Side::BOTH {
                assert!(bench.send(side, payload_type, 5, sequence).is_some());
            }
            bench.wait(20);
        }
        bench.talk(30, &mut sequence);
    }
    assert_eq!((kernel.below(), bench.relay.counts().moves_up), (2, 0));
    bench.wait(600);
    let side = bench.side(Side::B);
    assert_eq!((side.packets, side.expected, side.lost, side.duplicates), (94, 94, 0, 0));
}

#[test]
fn silence_is_seen_below_too_and_so_is_its_end() {
    let (mut bench, _) = Bench::with_kernel();
    let mut sequence = 0;
    bench.talk(100, &mut sequence);
    let one_way = |bench: &mut Bench, packets: u16, sequence: &mut u16| {
        for _ in 0..packets {
            *sequence += 1;
            bench.send(Side::A, 0, 5, *sequence);
            bench.wait(20);
        }
    };
    let events = |bench: &mut Bench| -> Vec<MediaEvent> {
        let settled = |event: &MediaEvent| matches!(event, MediaEvent::Settled { .. });
        std::iter::from_fn(|| bench.relay.poll_event()).filter(|event| !settled(event)).collect()
    };
    one_way(&mut bench, 85, &mut sequence);
    assert_eq!(events(&mut bench), []);
    one_way(&mut bench, 15, &mut sequence);
    assert!(matches!(events(&mut bench)[..], [MediaEvent::OneWay { silent_side: Side::B, .. }]));
    bench.talk(30, &mut sequence);
    assert!(matches!(events(&mut bench)[..], [MediaEvent::Recovered { side: Side::B, .. }]));
    bench.wait(59_000);
    assert_eq!(events(&mut bench), []);
    bench.wait(3000);
    assert!(matches!(events(&mut bench)[..], [MediaEvent::Silent { .. }]));
}

#[test]
fn a_refusal_leaves_the_stream_on_its_socket_and_is_asked_again() {
    let (mut bench, kernel) = Bench::with_kernel();
    kernel.refuse(true);
    let mut sequence = 0;
    bench.talk(100, &mut sequence);
    assert_eq!(kernel.below(), 0);
    assert!((2..=6).contains(&bench.relay.counts().moves_refused), "{:?}", bench.relay.counts());
    kernel.refuse(false);
    bench.talk(60, &mut sequence);
    assert_eq!(kernel.below(), 2);
    assert_eq!(bench.side(Side::A).lost, 0);
}

#[test]
fn strays_move_nothing_and_a_party_that_moves_is_followed() {
    let (mut bench, kernel) = Bench::with_kernel();
    let mut sequence = 0;
    bench.talk(20, &mut sequence);
    let voice = |sequence| {
        let header = Header { sequence, ssrc: 5, ..Header::default() };
        [&header.encode()[..], &[0xff; 160]].concat()
    };
    for port in 0..100 {
        assert_eq!(bench.datagram(Side::A, SocketAddr::from(([192, 0, 2, 1], 5000 + port)), &voice(21)), None);
    }
    assert_eq!((kernel.below(), bench.relay.counts().moves_up), (2, 0));
    let elsewhere = "198.51.100.2:7000";
    bench.relay.set_remote(
        bench.now,
        bench.slot,
        Side::B,
        &RemoteOptions { rtp: Some(at(elsewhere)), ..remote(Side::B) },
    );
    assert_eq!(bench.send(Side::A, 0, 5, 21), Some(at(elsewhere)), "from the answer on");
    bench.datagram(Side::B, at(elsewhere), &voice(21)).unwrap();
    bench.wait(150);
    assert_eq!(kernel.below(), 2);
    assert_eq!(bench.datagram(Side::B, at(elsewhere), &voice(22)), Some(at(A)));
    assert_eq!((bench.side(Side::A).strays, bench.side(Side::B).lost), (100, 0));
}

#[test]
fn a_process_that_stands_still_longer_than_its_deadline_relays_nothing() {
    let (mut bench, kernel) = Bench::with_kernel();
    let mut sequence = 0;
    bench.talk(20, &mut sequence);
    let to = bench.relay.local(bench.slot, Side::A).unwrap().0;
    let header = Header { sequence: 21, ssrc: 5, ..Header::default() };
    let fate = |after| kernel.packet(bench.now + after, at(A), to, &header.encode());
    assert!(matches!(fate(DEAD_MAN / 2), Fate::Relayed { .. }));
    assert_eq!(fate(DEAD_MAN + Duration::from_secs(1)), Fate::Up);
}

#[test]
fn a_port_that_somebody_else_has_is_left_to_him() {
    let (mut bench, kernel) = Bench::with_kernel();
    let own: Vec<_> = Side::BOTH.map(|side| bench.relay.local(bench.slot, side).unwrap().0.port()).into();
    let port = (30_000..).step_by(2).find(|port| !own.contains(port)).unwrap();
    let to = SocketAddr::from(([203, 0, 113, 1], port + 1));
    assert_eq!(kernel.packet(bench.now, at(A), to, b"DNS"), Fate::Dropped);
    bench.relay.socket_failed(bench.now, SocketKey(100 + u32::from(port + 1 - 30_000)));
    assert_eq!(kernel.packet(bench.now, at(A), to, b"DNS"), Fate::Up);
}

#[test]
fn what_is_down_stays_down_while_its_process_changes_and_is_counted_once() {
    let (mut bench, kernel) = Bench::with_kernel();
    let mut sequence = 0;
    bench.talk(20, &mut sequence);
    let header = |sequence| Header { sequence, ssrc: 5, timestamp: 0, ..Header::default() }.encode();
    bench.take_over(Waiting::Below);
    assert_eq!((kernel.below(), kernel.open(), bench.relay.sides_below()), (2, 2, 2));
    assert!(bench.datagram(Side::A, at(A), &header(21)).is_some());
    sequence = 21;
    bench.talk(30, &mut sequence);
    assert_eq!(bench.ways(), [Way::Below; 2]);
    assert_eq!(bench.relay.counts().moves_down, 2, "nothing was moved for it");
    bench.take_over(Waiting::OnSockets);
    assert_eq!((kernel.below(), bench.relay.sides_below()), (0, 0));
    bench.talk(150, &mut sequence);
    assert_eq!(kernel.below(), 2, "down again by itself");
    let report = bench.relay.close(bench.now, bench.slot).unwrap();
    for (side, packets) in report.sides.iter().zip([201, 200]) {
        assert_eq!((side.packets, side.duplicates), (packets, 0));
    }
    assert_eq!((report.sides[0].lost, kernel.open(), kernel.below()), (0, 0, 0));
    assert!(bench.relay.counts().is_balanced());
}
