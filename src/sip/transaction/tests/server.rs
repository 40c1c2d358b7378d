//! Requests that come in.

use super::*;

const B: &str = "z9hG4bKone";

fn invite() -> String {
    request_text("INVITE", B, "")
}

fn ack_with(branch: &str) -> String {
    request_text("ACK", branch, ";tag=to")
}

#[test]
fn an_invite_that_comes_again_gets_the_latest_response() {
    let mut rig = Rig::new();
    let server = rig.new_request(UDP, &invite());
    assert_eq!(rig.request(UDP, &invite()), Incoming::Retransmission);
    assert!(rig.sent().is_empty(), "nothing to say yet");
    for status in [100, 180] {
        assert!(rig.respond(server, status));
        assert_eq!(rig.request(UDP, &invite()), Incoming::Retransmission);
        assert_eq!(rig.sent(), [format!("{status}"), format!("{status}")]);
    }
    assert_eq!(rig.layer.counts().absorbed, 3);
}

#[test]
fn a_ringing_phone_says_so_every_minute() {
    let mut rig = Rig::new();
    let server = rig.new_request(TCP, &invite());
    rig.respond(server, 100);
    assert!(rig.pass(100_000).is_empty());
    rig.respond(server, 180);
    assert_eq!(rig.times(230_000), [160_000, 220_000]);
    rig.respond(server, 404);
    rig.sent();
    assert!(rig.times(250_000).is_empty(), "on a stream a refusal is not repeated");
}

#[test]
fn a_refusal_is_repeated_until_its_ack() {
    let mut rig = Rig::new();
    let server = rig.new_request(UDP, &invite());
    rig.respond(server, 486);
    rig.sent();
    assert_eq!(rig.times(8_000), [500, 1_500, 3_500, 7_500]);
    assert_eq!(rig.request(UDP, &invite()), Incoming::Retransmission);
    assert_eq!(rig.sent(), ["486"]);
    assert_eq!(rig.request(UDP, &ack_with(B)), Incoming::AckToFailure(server));
    assert_eq!(rig.request(UDP, &ack_with(B)), Incoming::Retransmission);
    assert_eq!(rig.request(UDP, &invite()), Incoming::Retransmission);
    assert!(rig.pass(12_999).is_empty() && rig.events().is_empty());
    rig.pass(13_000);
    assert_eq!(rig.events(), [Event::ServerDone { server, user: None, unanswered_ack: false }]);
    assert!(rig.layer.is_empty());
}

#[test]
fn a_refusal_without_ack_is_given_up() {
    let mut rig = Rig::new();
    let server = rig.new_request(UDP, &invite());
    rig.layer.set_server_user(server, 9);
    rig.respond(server, 503);
    rig.sent();
    assert_eq!(rig.times(32_000).len(), 10);
    assert_eq!(rig.events(), [Event::ServerDone { server, user: Some(9), unanswered_ack: true }]);
}

#[test]
fn a_2xx_is_repeated_on_every_transport_until_its_ack() {
    for transport in [UDP, TCP] {
        let mut rig = Rig::new();
        let server = rig.new_request(transport, &invite());
        assert!(rig.respond(server, 200));
        rig.sent();
        assert_eq!(rig.times(12_000), [500, 1_500, 3_500, 7_500, 11_500]);
        assert_eq!(rig.request(transport, &invite()), Incoming::Retransmission);
        assert!(rig.sent().is_empty(), "RFC 6026: absorbed without an answer");
        let ack = rig.request(transport, &ack_with("z9hG4bKack"));
        assert_eq!(ack, Incoming::AckToSuccess { server: Some(server) });
        rig.layer.ack_received(server);
        assert!(rig.pass(31_999).is_empty() && rig.events().is_empty());
        assert_eq!(rig.request(transport, &invite()), Incoming::Retransmission);
        assert_eq!(rig.request(transport, &ack_with(B)), Incoming::AckToSuccess { server: Some(server) });
        rig.pass(32_000);
        assert_eq!(rig.events(), [Event::ServerDone { server, user: None, unanswered_ack: false }]);
        assert_eq!(rig.request(transport, &ack_with("z9hG4bKack")), Incoming::AckToSuccess { server: None });
        assert!(rig.layer.is_empty());
    }
}

#[test]
fn a_2xx_without_ack_is_reported() {
    let mut rig = Rig::new();
    let server = rig.new_request(UDP, &invite());
    rig.respond(server, 200);
    assert!(!rig.respond(server, 486), "a call that is answered cannot be refused");
    rig.pass(32_000);
    assert_eq!(rig.events(), [Event::ServerDone { server, user: None, unanswered_ack: true }]);
    assert!(!rig.respond(server, 200));
    assert_eq!(rig.layer.counts().withheld, 2);
}

#[test]
fn another_request_is_answered_again_for_64_t1() {
    let mut rig = Rig::new();
    let text = request_text("OPTIONS", B, "");
    let server = rig.new_request(UDP, &text);
    assert_eq!(rig.request(UDP, &text), Incoming::Retransmission);
    assert!(rig.sent().is_empty());
    assert!(rig.respond(server, 200) && !rig.respond(server, 500));
    rig.pass(31_999);
    assert_eq!(rig.request(UDP, &text), Incoming::Retransmission);
    assert_eq!(rig.sent(), ["200"], "once when asked, of its own accord never");
    rig.pass(32_000);
    assert!(rig.layer.is_empty());
    let server = rig.new_request(TCP, &text);
    rig.respond(server, 200);
    assert!(rig.layer.is_empty(), "on a stream nothing can come again");
}

#[test]
fn rfc_4320_holds_provisional_responses_back() {
    let mut rig = Rig::new();
    let server = rig.new_request(UDP, &request_text("INFO", B, ";tag=to"));
    rig.layer.set_server_user(server, 3);
    assert!(!rig.respond(server, 100) && !rig.respond(server, 183));
    rig.pass(3_500);
    assert_eq!(rig.events(), [Event::TryingDue { server, user: Some(3) }]);
    assert!(!rig.respond(server, 183) && rig.respond(server, 100));
    assert_eq!(rig.request(UDP, &request_text("INFO", B, ";tag=to")), Incoming::Retransmission);
    assert_eq!(rig.sent(), ["100", "100"]);
    rig.pass(32_000);
    assert_eq!(rig.events(), [Event::ServerDone { server, user: Some(3), unanswered_ack: false }]);
    let server = rig.new_request(TCP, &request_text("INFO", B, ";tag=to"));
    assert!(rig.respond(server, 100), "a stream may carry it at any time");
    rig.pass(36_000);
    assert_eq!(rig.events(), [], "no second one is asked for");
}

#[test]
fn rfc_4320_never_sends_408() {
    let mut rig = Rig::new();
    let server = rig.new_request(UDP, &request_text("MESSAGE", B, ""));
    assert!(!rig.respond(server, 408));
    assert_eq!(rig.request(UDP, &request_text("MESSAGE", B, "")), Incoming::Retransmission);
    assert!(rig.sent().is_empty());
    rig.pass(32_000);
    assert!(rig.layer.is_empty());
    let server = rig.new_request(UDP, &request_text("INVITE", "z9hG4bKtwo", ""));
    assert!(rig.respond(server, 408), "to an INVITE it may be sent");
}

#[test]
fn a_cancel_finds_its_invite() {
    let mut rig = Rig::new();
    let invite = rig.new_request(UDP, &invite());
    let text = request_text("CANCEL", B, "");
    let Incoming::Cancel { cancel, invite: Some(found) } = rig.request(UDP, &text) else { panic!() };
    assert_eq!(found, invite);
    assert!(rig.layer.is_unanswered(invite));
    rig.respond(cancel, 200);
    rig.respond(invite, 487);
    assert_eq!((rig.sent(), rig.layer.is_unanswered(invite)), (vec!["200".to_string(), "487".to_string()], false));
    assert_eq!(rig.request(UDP, &text), Incoming::Retransmission);
    assert_eq!(rig.sent(), ["200"]);
    let other = request_text("CANCEL", "z9hG4bKother", "");
    assert!(matches!(rig.request(UDP, &other), Incoming::Cancel { invite: None, .. }));
}

#[test]
fn a_request_by_two_paths_is_merged() {
    let mut rig = Rig::new();
    let first = rig.new_request(UDP, &invite());
    let by_another_path = request_text("INVITE", "z9hG4bKtwo", "");
    let Incoming::Merged(second) = rig.request(UDP, &by_another_path) else { panic!() };
    assert_eq!(rig.request(UDP, &by_another_path), Incoming::Retransmission);
    rig.respond(second, 482);
    assert_eq!(rig.request(UDP, &ack_with("z9hG4bKtwo")), Incoming::AckToFailure(second));
    assert!(matches!(rig.request(UDP, &full_request("INVITE", "z9hG4bK3", "", 2)), Incoming::New(_)), "the next CSeq");
    assert!(matches!(rig.request(UDP, &request_text("OPTIONS", "z9hG4bK4", "")), Incoming::New(_)));
    let within = request_text("INVITE", "z9hG4bK5", ";tag=x");
    assert!(matches!(rig.request(UDP, &within), Incoming::New(_)), "only outside of dialogs");
    rig.respond(first, 200);
    let ack = rig.request(UDP, &ack_with("z9hG4bK6"));
    assert_eq!(ack, Incoming::AckToSuccess { server: Some(first) });
}

#[test]
fn clients_of_rfc_2543_are_understood() {
    for branch in ["", ";branch=7.1.2"] {
        let of = |method: &str, to: &str| request_text(method, "X", to).replace(";branch=X", branch);
        let mut rig = Rig::new();
        let server = rig.new_request(UDP, &of("INVITE", ""));
        let answer = Bytes::from(response_text(486, "INVITE", "X").replace(";branch=X", branch));
        assert!(rig.layer.respond(rig.now, server, 486, answer));
        assert_eq!(rig.request(UDP, &of("INVITE", "")), Incoming::Retransmission);
        assert_eq!(rig.sent(), ["SIP/2.0", "SIP/2.0"]);
        assert_eq!(rig.request(UDP, &of("ACK", ";tag=else")), Incoming::AckToSuccess { server: None });
        assert_eq!(rig.request(UDP, &of("ACK", ";tag=to")), Incoming::AckToFailure(server));
        rig.pass(5_000);
        let server = rig.new_request(UDP, &of("INVITE", ""));
        let cancel = rig.request(UDP, &of("CANCEL", ""));
        assert!(matches!(cancel, Incoming::Cancel { invite: Some(found), .. } if found == server));
        assert!(matches!(rig.request(UDP, &of("OPTIONS", "")), Incoming::New(_)));
    }
}

#[test]
fn a_full_table_refuses_new_requests_only() {
    let mut rig = Rig::with(Limits { servers_max: 1, ..Limits::default() });
    let server = rig.new_request(UDP, &invite());
    assert_eq!(rig.request(UDP, &request_text("OPTIONS", "z9hG4bK2", "")), Incoming::Full);
    assert_eq!(rig.request(UDP, &request_text("CANCEL", B, "")), Incoming::Full);
    rig.respond(server, 480);
    assert_eq!(rig.request(UDP, &ack_with(B)), Incoming::AckToFailure(server));
    assert_eq!(rig.layer.counts().refused, 2);
}

#[test]
fn what_is_urgent_may_use_the_reserve() {
    let limits = Limits { servers_max: 1, clients_max: 1, reserve: 1, ..Limits::default() };
    let mut rig = Rig::with(limits);
    rig.new_request(UDP, &invite());
    let second = request_text("INVITE", "z9hG4bK2", "").replace("Call-ID: ", "Call-ID: 2");
    assert_eq!(rig.request(UDP, &second), Incoming::Full);
    let mut urgent = |text: &str| {
        let mut index = Index::new();
        let message = parse(text.as_bytes(), &mut index, Framing::Datagram).unwrap();
        rig.layer.handle_urgent_request(rig.now, flow(UDP), &message)
    };
    assert!(matches!(urgent(&second), Incoming::New(_)));
    assert_eq!(urgent(&second), Incoming::Retransmission);
    let third = request_text("INVITE", "z9hG4bK3", "").replace("Call-ID: ", "Call-ID: 3");
    assert_eq!(urgent(&third), Incoming::Full, "the reserve has its bound, too");
    let bytes = bytes::Bytes::from_static(b"x");
    let mut send = |branch: &[u8], urgent: bool| {
        let (layer, now, flow, bytes) = (&mut rig.layer, rig.now, flow(UDP), bytes.clone());
        match urgent {
            true => layer.request_urgent(now, flow, Method::Invite, branch, bytes, 1).is_ok(),
            false => layer.request(now, flow, Method::Invite, branch, bytes, 1).is_ok(),
        }
    };
    let sent = [(b"one", false), (b"two", false), (b"two", true), (b"thr", true)].map(|(branch, is)| send(branch, is));
    assert_eq!(sent, [true, false, true, false]);
}

#[test]
fn an_early_ack_means_nothing() {
    let mut rig = Rig::new();
    rig.new_request(UDP, &invite());
    assert_eq!(rig.request(UDP, &ack_with(B)), Incoming::Retransmission);
    assert_eq!(rig.request(UDP, &ack_with("z9hG4bKack")), Incoming::AckToSuccess { server: None });
}

#[test]
fn a_lost_response_is_reported_and_the_transaction_stays() {
    let mut rig = Rig::new();
    let server = rig.new_request(UDP, &invite());
    rig.respond(server, 180);
    rig.layer.handle_server_error(rig.now, server);
    assert_eq!(rig.events(), [Event::ResponseLost { server, user: None }]);
    assert_eq!(rig.request(UDP, &invite()), Incoming::Retransmission);
    assert_eq!(rig.layer.server_flow(server), Some(flow(UDP)));
}

#[test]
fn a_full_outbox_delays_timers_and_drops_what_is_new() {
    let mut rig = Rig::with(Limits { transmits_max: 4, ..Limits::default() });
    for number in 0..6 {
        rig.send(UDP, Method::Options, &format!("z9hG4bK{number}"), number);
    }
    assert_eq!((rig.sent().len(), rig.layer.counts().dropped), (4, 2));
    rig.now += Duration::from_millis(500);
    rig.layer.handle_timeout(rig.now);
    assert!(rig.layer.next_deadline().unwrap() <= rig.now, "some timers are still due");
    assert_eq!(rig.sent().len(), 3);
    rig.layer.handle_timeout(rig.now);
    assert_eq!((rig.sent().len(), rig.layer.counts().dropped), (3, 2));
}
