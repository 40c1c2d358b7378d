//! Requests that go out.

use super::super::{Cancelling, Full, Path};
use super::*;

const B: &str = "z9hG4bKone";

#[test]
fn an_invite_is_repeated_with_doubling_gaps_and_given_up() {
    let mut rig = Rig::new();
    let client = rig.send(UDP, Method::Invite, B, 5);
    assert_eq!(rig.sent(), ["INVITE"]);
    assert_eq!(rig.times(31_999), [500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    assert_eq!(rig.events(), []);
    assert!(rig.pass(32_000).is_empty());
    assert_eq!(rig.events(), [Event::Timeout { client, user: 5 }, Event::ClientDone { client, user: 5 }]);
    assert!(rig.layer.is_empty());
    assert_eq!(rig.layer.counts().retransmitted, 6);
}

#[test]
fn another_request_is_repeated_up_to_every_t2() {
    let mut rig = Rig::new();
    rig.send(UDP, Method::Register, B, 5);
    let times = [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
    assert_eq!(rig.times(100_000), times);
    assert!(matches!(rig.events()[..], [Event::Timeout { .. }, Event::ClientDone { .. }]));
}

#[test]
fn nothing_is_repeated_on_a_stream() {
    for method in [Method::Invite, Method::Options] {
        let mut rig = Rig::new();
        rig.send(TCP, method, B, 5);
        assert_eq!(rig.sent(), [method.as_str()]);
        assert!(rig.pass(31_999).is_empty() && rig.events().is_empty());
        rig.pass(32_000);
        assert!(matches!(rig.events()[..], [Event::Timeout { .. }, Event::ClientDone { .. }]));
    }
}

#[test]
fn a_refused_invite_is_acknowledged_from_here() {
    let mut rig = Rig::new();
    let client = rig.send(UDP, Method::Invite, B, 5);
    rig.sent();
    assert_eq!(rig.response(&response_text(100, "INVITE", B)), Some(5));
    assert_eq!(rig.response(&response_text(180, "INVITE", B)), Some(5));
    assert!(rig.pass(20_000).is_empty(), "a provisional response ends repetition");
    assert_eq!(rig.response(&response_text(486, "INVITE", B)), Some(5));
    assert_eq!(rig.sent(), ["ACK"]);
    assert_eq!(rig.response(&response_text(486, "INVITE", B)), None);
    assert_eq!(rig.sent(), ["ACK"], "the ACK was lost");
    assert_eq!(rig.response(&response_text(200, "INVITE", B)), None);
    assert!(rig.pass(51_999).is_empty() && rig.events().is_empty());
    rig.pass(52_000);
    assert_eq!(rig.events(), [Event::ClientDone { client, user: 5 }]);
    assert!(rig.layer.is_empty());
}

#[test]
fn every_2xx_of_a_fork_is_passed_on() {
    let mut rig = Rig::new();
    rig.send(UDP, Method::Invite, B, 5);
    rig.sent();
    for _ in 0..3 {
        assert_eq!(rig.response(&response_text(200, "INVITE", B)), Some(5));
    }
    assert_eq!(rig.response(&response_text(486, "INVITE", B)), None);
    assert!(rig.sent().is_empty(), "the ACK to a 2xx is the user's");
    rig.pass(32_000);
    assert_eq!(rig.response(&response_text(200, "INVITE", B)), None);
    assert_eq!(rig.layer.counts().strays, 1);
    assert!(rig.layer.is_empty());
}

#[test]
fn a_provisional_response_slows_repetition_down() {
    let mut rig = Rig::new();
    rig.send(UDP, Method::Message, B, 5);
    assert_eq!(rig.response(&response_text(100, "MESSAGE", B)), Some(5));
    assert_eq!(rig.times(9_000), [4_000, 8_000]);
    assert_eq!(rig.response(&response_text(202, "MESSAGE", B)), Some(5));
    assert_eq!(rig.response(&response_text(202, "MESSAGE", B)), None);
    assert!(rig.pass(13_999).is_empty() && rig.events().is_empty());
    rig.pass(14_000);
    assert!(matches!(rig.events()[..], [Event::ClientDone { user: 5, .. }]));
}

#[test]
fn on_a_stream_a_final_response_ends_it_at_once() {
    let mut rig = Rig::new();
    rig.send(TCP, Method::Bye, B, 5);
    rig.send(TCP, Method::Invite, B, 6);
    assert_eq!(rig.response(&response_text(200, "BYE", B)), Some(5));
    assert_eq!(rig.response(&response_text(404, "INVITE", B)), Some(6));
    assert!(matches!(rig.events()[..], [Event::ClientDone { user: 5, .. }, Event::ClientDone { user: 6, .. }]));
    assert_eq!(rig.sent(), ["BYE", "INVITE", "ACK"]);
    assert!(rig.layer.is_empty());
}

fn cancel_text(branch: &str) -> Bytes {
    Bytes::from(request_text("CANCEL", branch, ""))
}

#[test]
fn a_cancel_waits_for_a_provisional_response() {
    let mut rig = Rig::new();
    let client = rig.send(UDP, Method::Invite, B, 5);
    rig.sent();
    for _ in 0..2 {
        assert_eq!(rig.layer.cancel(rig.now, client, cancel_text(B)), Cancelling::Held);
    }
    assert!(rig.sent().is_empty());
    assert_eq!(rig.response(&response_text(180, "INVITE", B)), Some(5));
    assert_eq!(rig.sent(), ["CANCEL"]);
    assert_eq!(rig.layer.cancel(rig.now, client, cancel_text(B)), Cancelling::Sent);
    assert_eq!(rig.times(600), [500], "a CANCEL is repeated like any request");
    assert_eq!(rig.response(&response_text(200, "CANCEL", B)), None);
    assert_eq!(rig.response(&response_text(487, "INVITE", B)), Some(5));
    assert_eq!(rig.sent(), ["ACK"]);
    rig.pass(40_000);
    assert_eq!(rig.events(), [Event::ClientDone { client, user: 5 }]);
    assert!(rig.layer.is_empty());
}

#[test]
fn a_cancel_that_comes_too_late_is_not_sent() {
    let mut rig = Rig::new();
    let client = rig.send(UDP, Method::Invite, B, 5);
    rig.layer.cancel(rig.now, client, cancel_text(B));
    assert_eq!(rig.response(&response_text(200, "INVITE", B)), Some(5));
    assert_eq!(rig.sent(), ["INVITE"]);
    assert_eq!(rig.layer.cancel(rig.now, client, cancel_text(B)), Cancelling::TooLate);
    rig.pass(32_000);
    assert_eq!(rig.layer.cancel(rig.now, client, cancel_text(B)), Cancelling::TooLate);
    assert!(rig.sent().is_empty());
}

#[test]
fn a_cancelled_invite_without_final_response_is_given_up() {
    let mut rig = Rig::new();
    let client = rig.send(UDP, Method::Invite, B, 5);
    rig.response(&response_text(183, "INVITE", B));
    rig.pass(10_000);
    assert_eq!(rig.layer.cancel(rig.now, client, cancel_text(B)), Cancelling::Sent);
    rig.response(&response_text(180, "INVITE", B));
    rig.pass(41_999);
    assert_eq!(rig.events(), []);
    rig.pass(42_000);
    assert_eq!(rig.events(), [Event::Timeout { client, user: 5 }, Event::ClientDone { client, user: 5 }]);
    assert!(rig.layer.is_empty());
}

#[test]
fn a_broken_path_ends_what_waits_on_it() {
    let mut rig = Rig::new();
    let calling = rig.send(TCP, Method::Invite, "z9hG4bK1", 1);
    let _proceeding = rig.send(TCP, Method::Invite, "z9hG4bK2", 2);
    let trying = rig.send(TCP, Method::Options, "z9hG4bK3", 3);
    let _elsewhere = rig.send(UDP, Method::Options, "z9hG4bK4", 4);
    rig.response(&response_text(100, "INVITE", "z9hG4bK2"));
    rig.layer.handle_transport_error(rig.now, Path::from(&flow(TCP)));
    rig.layer.check().unwrap();
    let events = rig.events();
    for client in [calling, trying] {
        let user = if client == calling { 1 } else { 3 };
        assert!(events.contains(&Event::TransportError { client, user }));
        assert!(events.contains(&Event::ClientDone { client, user }));
    }
    assert_eq!((events.len(), rig.layer.counts().clients), (4, 2));
    rig.layer.handle_transport_error(rig.now, Path::from(&flow(UDP)));
    assert!(matches!(rig.events()[..], [Event::TransportError { user: 4, .. }, Event::ClientDone { user: 4, .. }]));
}

/// As it must not be: what the path's list names has gone, or leads back to itself.
#[test]
fn a_broken_path_is_done_with_even_if_its_list_is_wrong() {
    let mut rig = Rig::new();
    let (gone, ring) = (rig.send(TCP, Method::Options, "z9hG4bK1", 1), rig.send(UDP, Method::Options, "z9hG4bK2", 2));
    rig.layer.clients.remove(gone.0);
    let Layer { paths, clients, .. } = &mut rig.layer;
    paths.link(ring.0, clients);
    for transport in [TCP, UDP] {
        rig.layer.handle_transport_error(rig.now, Path::from(&flow(transport)));
    }
    assert_eq!(rig.layer.paths.len(), 0);
    assert!(matches!(rig.events()[..], [Event::TransportError { user: 2, .. }, Event::ClientDone { user: 2, .. }]));
}

#[test]
fn a_full_table_and_a_branch_in_use_are_refused() {
    let mut rig = Rig::with(Limits { clients_max: 2, ..Limits::default() });
    rig.send(UDP, Method::Invite, B, 5);
    let mut again =
        |branch: &str| rig.layer.request(rig.now, flow(UDP), Method::Invite, branch.as_bytes(), Bytes::new(), 6);
    assert_eq!(again(B), Err(Full));
    assert!(again("z9hG4bKtwo").is_ok());
    assert_eq!(again("z9hG4bKthree"), Err(Full));
    assert_eq!(rig.layer.counts().refused, 2);
}

#[test]
fn a_response_to_nothing_is_a_stray() {
    let mut rig = Rig::new();
    rig.send(UDP, Method::Invite, B, 5);
    assert_eq!(rig.response(&response_text(200, "INVITE", "z9hG4bKother")), None);
    assert_eq!(rig.response(&response_text(200, "BYE", B)), None, "another method");
    assert_eq!(rig.layer.counts().strays, 2);
}

#[test]
fn keys_miss_the_next_tenant() {
    let mut rig = Rig::new();
    let old = rig.send(TCP, Method::Bye, B, 5);
    rig.response(&response_text(200, "BYE", B));
    let new = rig.send(TCP, Method::Bye, B, 6);
    assert_ne!(old, new);
    rig.layer.handle_client_error(rig.now, old);
    assert_eq!((rig.layer.client_user(old), rig.layer.client_user(new)), (None, Some(6)));
    assert_eq!(rig.layer.client_flow(new), Some(flow(TCP)));
}
