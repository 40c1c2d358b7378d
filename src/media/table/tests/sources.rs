//! Who may send, and where a party is sent to: strays, hold, parties that move, phones behind NAT.

use super::*;
use crate::base::Direction;

#[test]
fn strays_are_dropped_and_counted_on_the_side_they_aim_at() {
    let mut bench = Bench::call();
    bench.voice(Side::A, A).unwrap();
    for _ in 0..3 {
        assert_eq!(bench.voice(Side::A, "192.0.2.1:4009"), Err(DropReason::WrongSource));
        assert_eq!(bench.voice(Side::B, A), Err(DropReason::WrongSource), "the caller is a stranger on the far port");
    }
    assert_eq!((bench.side(Side::A).strays, bench.side(Side::B).strays), (3, 3));
}

#[test]
fn a_held_party_hears_nothing_and_reports_still_pass() {
    let mut bench = Bench::call();
    bench.voice(Side::A, A).unwrap();
    bench.voice(Side::B, B).unwrap();
    bench.remote(Side::A, &RemoteOptions { direction: Direction::SendOnly, ..public(A) });
    bench.remote(Side::B, &RemoteOptions { direction: Direction::ReceiveOnly, ..public(B) });
    assert_eq!(bench.voice(Side::B, B), Err(DropReason::Held));
    assert!(bench.voice(Side::A, A).is_ok(), "music on hold");
    assert!(bench.send(Side::B, 1, "198.51.100.2:6001", &rtcp_packet()).is_ok());
    bench.pass(300_000, &[]);
    assert_eq!(bench.events(), [], "hold may last");
    bench.remote(Side::A, &public(A));
    bench.remote(Side::B, &public(B));
    assert!(bench.voice(Side::B, B).is_ok());
}

#[test]
fn a_hold_by_address_keeps_the_source_and_resumes() {
    let mut bench = Bench::call();
    bench.voice(Side::A, A).unwrap();
    bench.remote(Side::A, &RemoteOptions { rtp: None, direction: Direction::SendOnly, ..public(A) });
    assert_eq!(bench.voice(Side::B, B), Err(DropReason::Held));
    assert!(bench.voice(Side::A, A).is_ok());
    bench.remote(Side::A, &public(A));
    assert_eq!(bench.voice(Side::B, B).unwrap().1, A);
}

#[test]
fn a_party_that_moves_is_followed() {
    let mut bench = Bench::call();
    bench.voice(Side::A, A).unwrap();
    bench.voice(Side::B, B).unwrap();
    bench.remote(Side::B, &public("198.51.100.99:7000"));
    assert_eq!(bench.voice(Side::A, A).unwrap().1, "198.51.100.99:7000");
    assert!(bench.voice(Side::B, B).is_ok(), "still on its way");
    assert!(bench.voice(Side::B, "198.51.100.99:7000").is_ok());
    assert_eq!(bench.voice(Side::B, B), Err(DropReason::WrongSource));
    assert_eq!(bench.side(Side::B).source, Some(at("198.51.100.99:7000")));
}

#[test]
fn a_phone_behind_nat_gets_its_voice_where_it_sends_from() {
    let nat = RemoteOptions {
        rtp: Some(at("10.0.0.5:4000")),
        behind_nat: true,
        signalled_from: Some("192.0.2.1".parse().unwrap()),
        ..RemoteOptions::default()
    };
    let mut bench = Bench::between(&nat, &public(B));
    assert_eq!(bench.voice(Side::B, B), Err(DropReason::NoDestination));
    bench.voice(Side::A, "192.0.2.1:61000").unwrap();
    bench.voice(Side::A, "192.0.2.1:61000").unwrap();
    assert_eq!(bench.voice(Side::B, B).unwrap().1, "192.0.2.1:61000");
    let settled: Vec<_> = std::iter::from_fn(|| bench.relay.poll_event()).collect();
    assert!(settled.iter().any(|event| matches!(event, MediaEvent::Settled { side: Side::A, .. })), "{settled:?}");
}

#[test]
fn early_media_flows_before_the_caller_is_answered_but_not_to_nowhere() {
    let mut bench = Bench::new(StreamOptions::default());
    assert_eq!(bench.voice(Side::A, A), Err(DropReason::WrongSource), "nobody has said who may send");
    bench.remote(Side::A, &public(A));
    assert_eq!(bench.voice(Side::A, A), Err(DropReason::NoDestination));
    bench.remote(Side::B, &public(B));
    assert!(bench.voice(Side::B, B).is_ok());
    assert!(bench.voice(Side::A, A).is_ok());
}
