//! Who is believed and who is only counted: each rule of source learning.

use super::*;
use proptest::prelude::*;

const ACCEPT: Judgement = Judgement::Accept { settled: false };
const SETTLE: Judgement = Judgement::Accept { settled: true };

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn rtp(sequence: u16) -> Evidence {
    Evidence::Rtp { ssrc: 1, sequence }
}

fn latch(address: &str, signalled_from: &str, behind_nat: bool) -> Latch {
    let mut latch = Latch::default();
    latch.signal(signal(address, signalled_from, behind_nat));
    latch
}

fn signal(address: &str, signalled_from: &str, behind_nat: bool) -> Signal {
    let (address, signalled_from) = (address.parse().ok(), signalled_from.parse().ok());
    Signal { address, signalled_from, behind_nat, symmetric: false }
}

#[test]
fn a_public_peer_is_where_it_says_at_once() {
    let mut latch = latch("192.0.2.1:4000", "192.0.2.9", false);
    assert_eq!(latch.judge(at("192.0.2.9:4000"), rtp(1)), Judgement::Stray, "signalling elsewhere is no reason");
    assert_eq!(latch.judge(at("192.0.2.1:4000"), rtp(1)), SETTLE);
    assert_eq!(latch.judge(at("192.0.2.1:4002"), rtp(2)), Judgement::Stray);
    assert_eq!(latch.destination(), Some(at("192.0.2.1:4000")));
}

#[test]
fn a_public_peer_may_send_from_another_port_and_still_gets_packets_where_it_listens() {
    let mut latch = latch("192.0.2.1:4000", "192.0.2.1", false);
    assert_eq!(latch.judge(at("192.0.2.1:7000"), rtp(1)), ACCEPT);
    assert_eq!(latch.judge(at("192.0.2.1:7000"), rtp(2)), SETTLE);
    assert_eq!(latch.destination(), Some(at("192.0.2.1:4000")));
    assert_eq!(latch.judge(at("192.0.2.1:4000"), rtp(9)), SETTLE, "the signalled address needs no learning");
    assert_eq!(latch.judge(at("192.0.2.1:7000"), rtp(3)), Judgement::Stray);
}

#[test]
fn a_symmetric_peer_listens_where_it_sends_from() {
    let mut latch = Latch::default();
    latch.signal(Signal { symmetric: true, ..signal("192.0.2.1:4000", "192.0.2.1", false) });
    assert_eq!(latch.destination(), Some(at("192.0.2.1:4000")));
    latch.judge(at("192.0.2.1:61000"), rtp(1));
    latch.judge(at("192.0.2.1:61000"), rtp(2));
    assert_eq!(latch.destination(), Some(at("192.0.2.1:61000")));
    assert_eq!(latch.judge(at("192.0.2.2:61000"), rtp(3)), Judgement::Stray);
}

#[test]
fn a_peer_behind_nat_is_found_where_its_signalling_comes_from() {
    let mut latch = latch("10.0.0.5:4000", "198.51.100.7", true);
    assert_eq!(latch.destination(), None, "a private address may be one of ours");
    assert_eq!(latch.judge(at("198.51.100.7:61000"), rtp(1)), ACCEPT);
    assert_eq!(latch.judge(at("203.0.113.66:9"), rtp(1)), Judgement::Stray, "the right one has shown itself");
    assert_eq!(latch.judge(at("198.51.100.7:61000"), rtp(2)), SETTLE);
    assert_eq!(latch.destination(), Some(at("198.51.100.7:61000")));
    assert_eq!(latch.judge(at("10.0.0.5:4000"), rtp(3)), Judgement::Stray);
}

#[test]
fn a_stranger_is_verified_before_it_is_heard() {
    let mut latch = latch("10.0.0.5:4000", "198.51.100.7", true);
    let stranger = at("203.0.113.66:5000");
    for sequence in [5, 6, 7] {
        assert_eq!(latch.judge(stranger, rtp(sequence)), Judgement::Wait);
        assert_eq!(latch.destination(), None);
    }
    assert_eq!(latch.judge(stranger, rtp(8)), SETTLE);
    assert_eq!(latch.destination(), Some(stranger));
}

#[test]
fn a_spray_of_packets_is_not_a_stream_and_ends_the_chance_of_strangers_only() {
    let mut latch = latch("10.0.0.5:4000", "198.51.100.7", true);
    let stranger = at("203.0.113.66:5000");
    for sequence in (0..u16::from(FAR_BUDGET)).map(|packet| packet.wrapping_mul(1000)) {
        assert_eq!(latch.judge(stranger, rtp(sequence)), Judgement::Wait);
    }
    assert_eq!(latch.judge(stranger, rtp(1)), Judgement::Stray);
    assert_eq!(latch.judge(stranger, Evidence::Other), Judgement::Stray);
    assert_eq!(latch.judge(at("198.51.100.7:61000"), rtp(1)), ACCEPT);
    assert_eq!(latch.judge(at("198.51.100.7:61000"), rtp(2)), SETTLE);
}

#[test]
fn the_signalled_party_interrupts_a_stranger_under_verification() {
    let mut latch = latch("198.51.100.7:4000", "198.51.100.7", true);
    assert_eq!(latch.destination(), Some(at("198.51.100.7:4000")), "signalling shows that it can be reached");
    let stranger = at("203.0.113.66:5000");
    latch.judge(stranger, rtp(1));
    latch.judge(stranger, rtp(2));
    assert_eq!(latch.judge(at("198.51.100.7:61000"), rtp(1)), ACCEPT);
    assert_eq!(latch.judge(stranger, rtp(3)), Judgement::Stray);
    assert_eq!(latch.judge(at("198.51.100.7:61000"), rtp(2)), SETTLE);
}

#[test]
fn a_moved_party_is_learnt_anew_and_not_cut_off_meanwhile() {
    let mut latch = latch("192.0.2.1:4000", "192.0.2.1", false);
    latch.judge(at("192.0.2.1:4000"), rtp(1));
    assert!(!latch.signal(signal("192.0.2.1:4000", "192.0.2.1", false)), "the same again changes nothing");
    assert!(latch.signal(signal("192.0.2.50:6000", "192.0.2.1", false)));
    assert_eq!(latch.destination(), Some(at("192.0.2.50:6000")));
    assert_eq!(latch.judge(at("192.0.2.1:4000"), rtp(2)), ACCEPT);
    assert_eq!(latch.judge(at("192.0.2.50:6000"), rtp(1)), SETTLE);
    assert_eq!(latch.judge(at("192.0.2.1:4000"), rtp(3)), Judgement::Stray);
}

#[test]
fn a_hold_by_address_forgets_nothing() {
    let mut latch = latch("10.0.0.5:4000", "198.51.100.7", true);
    let public = at("198.51.100.7:61000");
    latch.judge(public, rtp(1));
    latch.judge(public, rtp(2));
    assert!(!latch.signal(signal("none", "198.51.100.7", false)));
    assert!(!latch.signal(signal("10.0.0.5:4000", "198.51.100.7", true)));
    assert_eq!((latch.settled(), latch.destination()), (Some(public), Some(public)));
}

#[test]
fn a_party_that_names_a_new_port_behind_the_same_mapping_settles_again() {
    let mut latch = latch("10.0.0.5:4000", "198.51.100.7", true);
    let public = at("198.51.100.7:61000");
    latch.judge(public, rtp(1));
    latch.judge(public, rtp(2));
    assert!(latch.signal(signal("10.0.0.5:4002", "198.51.100.7", true)));
    assert_eq!(latch.destination(), Some(public), "until another is found");
    for sequence in 3..2 + u16::from(OLD_PACKETS) {
        assert_eq!(latch.judge(public, rtp(sequence)), ACCEPT);
    }
    assert_eq!(latch.judge(public, rtp(2 + u16::from(OLD_PACKETS))), SETTLE);
}

#[test]
fn rtcp_follows_to_where_rtp_was_found() {
    let mut latch = latch("10.0.0.5:4001", "198.51.100.7", true);
    latch.set_companion("203.0.113.66".parse().unwrap());
    assert_eq!(latch.judge(at("203.0.113.66:5001"), Evidence::Other), ACCEPT);
    assert_eq!(latch.judge(at("203.0.113.66:5001"), Evidence::Other), SETTLE);
}

#[test]
fn a_peer_given_by_name_is_heard_only_behind_nat() {
    let mut unknown = latch("host.example", "192.0.2.1", false);
    assert_eq!(unknown.judge(at("192.0.2.1:4000"), rtp(1)), Judgement::Stray);
    let mut known = latch("host.example", "192.0.2.1", true);
    known.judge(at("192.0.2.1:4000"), rtp(1));
    assert_eq!(known.judge(at("192.0.2.1:4000"), rtp(2)), SETTLE);
    assert_eq!(known.destination(), Some(at("192.0.2.1:4000")));
}

proptest! {
    /// Whatever strangers send to a public peer's port, and however long: nothing of it is taken, the peer always is.
    #[test]
    fn strangers_never_take_a_public_peers_stream(
        packets in prop::collection::vec((0u8..4, 4000u16..4004, any::<u16>()), 0..200),
    ) {
        let mut latch = latch("192.0.2.1:4000", "192.0.2.1", false);
        for (host, port, sequence) in packets {
            let from = SocketAddr::from(([192, 0, 2, 10 + host], port));
            prop_assert_eq!(latch.judge(from, rtp(sequence)), Judgement::Stray);
            prop_assert_eq!(latch.destination(), Some(at("192.0.2.1:4000")));
        }
        prop_assert_eq!(latch.judge(at("192.0.2.1:4000"), rtp(1)), SETTLE);
    }
}
