//! Dialogs of both ends: their routes, targets and tags, and requests out of order (RFC 3261 §12).

use super::*;
use crate::sip::wire::{Framing, Index, OwnedMessage, parse};
use bytes::Bytes;

fn message(start: &str, from: &str, to: &str, cseq: &str, more: &str) -> OwnedMessage {
    let text = format!(
        "{start}\r\nVia: SIP/2.0/UDP a.example;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\n\
         Call-ID: abc\r\nCSeq: {cseq}\r\n{more}Content-Length: 0\r\n\r\n"
    );
    OwnedMessage::parse(Bytes::from(text), Framing::Datagram).unwrap()
}

fn invite(more: &str) -> OwnedMessage {
    message("INVITE sip:bob@b.example SIP/2.0", "\"A\" <sip:a@x>;tag=aa", "<sip:bob@b.example>", "7 INVITE", more)
}

fn response(status: u16, more: &str) -> OwnedMessage {
    let start = format!("SIP/2.0 {status} X");
    message(&start, "\"A\" <sip:a@x>;tag=aa", "<sip:bob@b.example>;x=y;tag=bb;z", "7 INVITE", more)
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    let mut index = Index::new();
    parse(&out, &mut index, Framing::Datagram).unwrap();
    String::from_utf8(out).unwrap()
}

const ROUTES: &str = "Record-Route: <sip:p1;lr>, <sip:p2;lr>\r\nRecord-Route: <sip:p3;lr>\r\n";

#[test]
fn the_caller_reverses_the_routes() {
    let answer = response(200, &format!("{ROUTES}Contact: <sip:bob@10.0.0.2:5070>\r\n"));
    let mut dialog = Dialog::uac(&invite("").view(), &answer.view());
    assert_eq!(dialog.id(), (&b"abc"[..], &b"aa"[..], &b"bb"[..]));
    assert_eq!((dialog.state(), dialog.next_hop()), (State::Confirmed, &b"sip:p3;lr"[..]));
    let bye = written(|out| dialog.request(Method::Bye, b"SIP/2.0/UDP me;branch=z9hG4bK2", None, out).finish());
    assert_eq!(
        bye,
        "BYE sip:bob@10.0.0.2:5070 SIP/2.0\r\nVia: SIP/2.0/UDP me;branch=z9hG4bK2\r\nMax-Forwards: 70\r\n\
         Route: <sip:p3;lr>, <sip:p2;lr>, <sip:p1;lr>\r\nFrom: \"A\" <sip:a@x>;tag=aa\r\n\
         To: <sip:bob@b.example>;x=y;tag=bb;z\r\nCall-ID: abc\r\nCSeq: 8 BYE\r\nContent-Length: 0\r\n\r\n"
    );
    let ack = written(|out| dialog.ack(7, b"SIP/2.0/UDP me;branch=z9hG4bK3", out).finish());
    assert!(ack.starts_with("ACK sip:bob@10.0.0.2:5070 SIP/2.0\r\n") && ack.contains("CSeq: 7 ACK\r\n"));
    assert_eq!(dialog.local_cseq(), 8);
}

#[test]
fn the_callee_keeps_their_order_and_writes_its_tag() {
    let request = invite(&format!("{ROUTES}Contact: <sip:a@10.0.0.1>;q=1\r\n"));
    let mut dialog = Dialog::uas(&request.view(), b"mine");
    assert_eq!(dialog.id(), (&b"abc"[..], &b"mine"[..], &b"aa"[..]));
    assert!(dialog.matches(b"abc", b"mine", b"aa") && !dialog.matches(b"abc", b"aa", b"mine"));
    let bye = written(|out| dialog.request(Method::Bye, b"SIP/2.0/UDP me;branch=z9hG4bK2", None, out).finish());
    assert!(bye.starts_with("BYE sip:a@10.0.0.1 SIP/2.0\r\n"), "{bye}");
    assert!(bye.contains("Route: <sip:p1;lr>, <sip:p2;lr>, <sip:p3;lr>\r\n"));
    assert!(bye.contains("From: <sip:bob@b.example>;tag=mine\r\nTo: \"A\" <sip:a@x>;tag=aa\r\n"));
    dialog.confirmed();
    assert_eq!((dialog.state(), dialog.remote_cseq()), (State::Confirmed, Some(7)));
}

#[test]
fn a_strict_router_gets_the_request_uri() {
    let answer = response(200, "Record-Route: <sip:p2;lr>, <sip:old@p1>\r\nContact: <sip:bob@c>\r\n");
    let mut dialog = Dialog::uac(&invite("").view(), &answer.view());
    let info = written(|out| dialog.request("INFO", b"SIP/2.0/UDP m;branch=z9hG4bK2", None, out).finish());
    assert!(info.starts_with("INFO sip:old@p1 SIP/2.0\r\n"));
    assert!(info.contains("Route: <sip:p2;lr>\r\nRoute: <sip:bob@c>\r\n"), "{info}");
}

#[test]
fn a_2xx_sets_target_and_routes_anew() {
    let mut dialog = Dialog::uac(&invite("").view(), &response(180, "Record-Route: <sip:p1;lr>\r\n").view());
    assert_eq!((dialog.state(), dialog.remote_target()), (State::Early, &b"sip:bob@b.example"[..]));
    dialog.confirm(&response(200, "Contact: <sip:bob@c>\r\n").view());
    assert_eq!((dialog.state(), dialog.next_hop()), (State::Confirmed, &b"sip:bob@c"[..]));
    assert_eq!(dialog.id(), (&b"abc"[..], &b"aa"[..], &b"bb"[..]));
    dialog.target_refresh(&response(200, "Contact: <sip:bob@longer.example.com>\r\n").view());
    assert_eq!(dialog.remote_target(), b"sip:bob@longer.example.com");
    dialog.target_refresh(&response(200, "").view());
    assert_eq!((dialog.remote_target(), dialog.remote_tag()), (&b"sip:bob@longer.example.com"[..], &b"bb"[..]));
}

/// A Contact of the right shape can still be no address. The BYE to one such could not be read (seed 7b6571a5 of `any_input`).
#[test]
fn an_address_that_nothing_can_be_sent_to_is_no_target() {
    let bad = response(200, "Contact: <sip:+155501.0.113.9>\r\n");
    let mut dialog = Dialog::uac(&invite("").view(), &bad.view());
    assert_eq!(dialog.remote_target(), b"sip:bob@b.example");
    dialog.confirm(&bad.view());
    dialog.target_refresh(&bad.view());
    assert_eq!(dialog.remote_target(), b"sip:bob@b.example");
    dialog.target_refresh(&response(200, "Contact: <sip:bob@c?Subject=x>\r\n").view());
    assert_eq!(dialog.remote_target(), b"sip:bob@c");
    let caller = Dialog::uas(&invite("Contact: <sip:@>\r\n").view(), b"mine");
    assert_eq!(caller.remote_target(), b"sip:a@x");
    let answer = response(200, "Record-Route: <sip:p2;lr>, <sip:+1>\r\nContact: <sip:bob@c>\r\n");
    let mut dialog = Dialog::uac(&invite("").view(), &answer.view());
    let bye = written(|out| dialog.request("BYE", b"SIP/2.0/UDP m;branch=z9hG4bK2", None, out).finish());
    assert!(bye.starts_with("BYE sip:bob@c SIP/2.0\r\n"), "{bye}");
}

#[test]
fn requests_out_of_order_are_noticed() {
    let mut dialog = Dialog::uas(&invite("").view(), b"mine");
    let request = |number: u32, method: &str| {
        let start = format!("{method} sip:x SIP/2.0");
        message(&start, "<sip:a@x>;tag=aa", "<sip:b>;tag=mine", &format!("{number} {method}"), "")
    };
    assert_eq!(dialog.check_request(&request(9, "INFO").view()), Ok(()));
    assert_eq!(dialog.check_request(&request(8, "BYE").view()), Err(OutOfOrder));
    assert_eq!(dialog.check_request(&request(7, "ACK").view()), Ok(()));
    assert_eq!((dialog.check_request(&request(10, "BYE").view()), dialog.remote_cseq()), (Ok(()), Some(10)));
}
