//! What is told when nothing comes: from one side, from both, and when that is as it should be.

use super::*;
use crate::base::Direction;

#[test]
fn one_way_audio_is_told_within_two_seconds_and_its_end_too() {
    let mut bench = Bench::call();
    bench.pass(1000, &[(Side::A, A), (Side::B, B)]);
    bench.pass(1600, &[(Side::A, A)]);
    assert_eq!(bench.events(), []);
    bench.pass(380, &[(Side::A, A)]);
    let events = bench.events();
    assert!(matches!(events[..], [MediaEvent::OneWay { silent_side: Side::B, .. }]), "{events:?}");
    bench.pass(5000, &[(Side::A, A)]);
    assert_eq!(bench.events(), [], "told once");
    bench.pass(20, &[(Side::B, B)]);
    assert!(matches!(bench.events()[..], [MediaEvent::Recovered { side: Side::B, .. }]));
    assert_eq!((bench.side(Side::A).one_way, bench.side(Side::B).one_way), (false, true));
}

#[test]
fn a_side_that_never_sends_is_told_too_but_not_while_it_rings() {
    let mut bench = Bench::new(StreamOptions::default());
    bench.remote(Side::A, &public(A));
    bench.remote(Side::B, &public(B));
    bench.pass(10_000, &[(Side::B, B)]);
    assert_eq!(bench.events(), [], "ringing tone is one-way by nature");
    bench.relay.set_answered(bench.now, bench.slot);
    bench.pass(1980, &[(Side::B, B)]);
    assert!(matches!(bench.events()[..], [MediaEvent::OneWay { silent_side: Side::A, .. }]));
}

#[test]
fn comfort_noise_is_no_silence_and_hold_no_one_way() {
    let mut bench = Bench::call();
    bench.pass(1000, &[(Side::A, A), (Side::B, B)]);
    bench.typed(Side::B, B, 13).unwrap();
    bench.pass(10_000, &[(Side::A, A)]);
    assert_eq!(bench.events(), []);
    let mut held = Bench::call();
    held.remote(Side::A, &RemoteOptions { direction: Direction::SendOnly, ..public(A) });
    held.remote(Side::B, &RemoteOptions { direction: Direction::ReceiveOnly, ..public(B) });
    held.pass(10_000, &[(Side::A, A)]);
    assert_eq!(held.events(), []);
}

#[test]
fn silence_of_both_is_told_once_after_the_timeout() {
    let mut bench = Bench::call();
    bench.pass(1000, &[(Side::A, A), (Side::B, B)]);
    bench.pass(59_900, &[]);
    assert_eq!(bench.events(), []);
    bench.pass(5000, &[]);
    assert!(matches!(bench.events()[..], [MediaEvent::Silent { .. }]));
    assert!(!bench.relay.is_alive(bench.now, bench.slot));
    bench.pass(3000, &[(Side::A, A), (Side::B, B)]);
    assert!(bench.relay.is_alive(bench.now, bench.slot));
    bench.pass(65_000, &[]);
    assert!(matches!(bench.events()[..], [MediaEvent::Silent { .. }]), "silent again, told again");
}
