//! Descriptions that do not fit the offer or the appliance, between two trunks through a shard without any network.

mod desk;

use desk::{Desk, LEFT, RIGHT, Sent, request, response, with_body};
use std::net::SocketAddr;
use strowger::sip::wire::{HeaderName, OwnedMessage};

const AUDIO: &str = "m=audio 4000 RTP/AVP 0\n";
const VIDEO: &str = "m=video 4002 RTP/AVP 99\na=rtpmap:99 H264/90000\na=mid:v\n";

fn config() -> String {
    desk::config("", "prefixes = [\"+1\"]", "")
}

fn sdp(connection: &str, media: &str) -> String {
    format!("v=0\no=x 1 1 IN IP4 10.0.0.1\ns=-\nc=IN {connection}\nt=0 0\n{media}")
}

fn invite(desk: &mut Desk, body: &str) -> Vec<Sent> {
    let head = "INVITE sip:+15550100@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 198.51.100.5:5060;branch=z9hG4bK1\n\
        Max-Forwards: 70\nFrom: <sip:l@left.example>;tag=l\nTo: <sip:+15550100@192.0.2.1>\n\
        Call-ID: left\nCSeq: 5 INVITE\nContact: <sip:l@198.51.100.5:5060>\n";
    desk.receive(LEFT, &with_body(head, body))
}

fn answer(desk: &mut Desk, invite: &OwnedMessage, body: &str) -> Vec<Sent> {
    desk.receive(RIGHT, &desk::respond(invite, "200 OK", "r", "", Some(body)))
}

fn body(message: &OwnedMessage) -> String {
    String::from_utf8_lossy(message.view().body()).into_owned()
}

fn lines<'a>(body: &'a str, start: &str) -> Vec<&'a str> {
    body.lines().filter(|line| line.starts_with(start)).collect()
}

/// RFC 3264 §6: as many streams as the offer has.
#[test]
fn an_answer_gets_the_streams_that_it_lacks() {
    let mut desk = Desk::new(&config());
    let sent = invite(&mut desk, &sdp("IP4 198.51.100.7", &format!("{AUDIO}{VIDEO}")));
    let out = request(&sent, RIGHT, "INVITE").clone();
    assert_eq!(desk.shard.audit().streams, 2);
    let sent = answer(&mut desk, &out, &sdp("IP4 203.0.113.10", AUDIO));
    let shown = body(response(&sent, LEFT, 200));
    let media = lines(&shown, "m=");
    assert_eq!(media.len(), 2, "{shown}");
    assert!(media[0].starts_with("m=audio 30"), "{shown}");
    assert_eq!((media[1], lines(&shown, "a=mid")), ("m=video 0 RTP/AVP 99", vec!["a=mid:v"]));
    assert_eq!(desk.shard.audit().streams, 1, "what was left out gives its ports back");
}

#[test]
fn an_answer_loses_the_streams_that_were_not_offered() {
    let mut desk = Desk::new(&config());
    let sent = invite(&mut desk, &sdp("IP4 198.51.100.7", AUDIO));
    let out = request(&sent, RIGHT, "INVITE").clone();
    let sent = answer(&mut desk, &out, &sdp("IP4 203.0.113.10", &format!("{AUDIO}{VIDEO}")));
    let shown = body(response(&sent, LEFT, 200));
    assert_eq!(lines(&shown, "m=").len(), 1, "{shown}");
}

#[test]
fn an_offer_of_a_family_that_is_not_here_is_refused_with_a_warning() {
    let mut desk = Desk::new(&config());
    let sent = invite(&mut desk, &sdp("IP6 2001:db8::7", AUDIO));
    let refusal = response(&sent, LEFT, 488);
    let warning = refusal.view().header(HeaderName::Warning).unwrap_or_default();
    assert!(warning.starts_with(b"301 "), "{}", String::from_utf8_lossy(warning));
    assert_eq!(desk.shard.audit().streams, 0);
}

#[test]
fn a_leg_gets_the_family_of_its_description() {
    let config = config().replace("port_min", "address_v6 = \"2001:db8::1\"\nport_min");
    let mut desk = Desk::new(&config);
    let sent = invite(&mut desk, &sdp("IP6 2001:db8::7", AUDIO));
    let out = request(&sent, RIGHT, "INVITE").clone();
    assert_eq!(lines(&body(&out), "c="), ["c=IN IP4 192.0.2.1"], "the other leg has the family of its signalling");
    let sent = answer(&mut desk, &out, &sdp("IP4 203.0.113.10", AUDIO));
    assert_eq!(lines(&body(response(&sent, LEFT, 200)), "c="), ["c=IN IP6 2001:db8::1"]);
    let to = relayed(&mut desk, "[2001:db8::7]:4000", 1);
    assert_eq!(to, "203.0.113.10:4000".parse().ok());
}

#[test]
fn an_answer_of_the_wrong_family_ends_the_call() {
    let mut desk = Desk::new(&config().replace("port_min", "address_v6 = \"2001:db8::1\"\nport_min"));
    let sent = invite(&mut desk, &sdp("IP4 198.51.100.7", AUDIO));
    let out = request(&sent, RIGHT, "INVITE").clone();
    let sent = answer(&mut desk, &out, &sdp("IP6 2001:db8::9", AUDIO));
    let refusal = response(&sent, LEFT, 502);
    assert!(refusal.view().header(HeaderName::Warning).is_some_and(|warning| warning.starts_with(b"301 ")));
    request(&sent, RIGHT, "ACK");
    request(&sent, RIGHT, "BYE");
}

/// Sends RTP packets in sequence from `from` to every media socket; where the last one went.
fn relayed(desk: &mut Desk, from: &str, packets: u8) -> Option<SocketAddr> {
    let sockets = desk.sockets.clone();
    let family = from.parse::<SocketAddr>().expect("an address").is_ipv6();
    let mut went = None;
    for sequence in 1..=packets {
        let packet = [0x80, 0, 0, sequence, 0, 0, 0, 160, 0, 0, 0, 9, 1, 2, 3, 4];
        let mine = sockets.iter().filter(|(bind, _)| bind.is_ipv6() == family && bind.port() % 2 == 0);
        went = mine.filter_map(|(_, key)| desk.datagram(key.0, from, &packet).0).map(|forward| forward.to).next();
    }
    went
}

fn call(desk: &mut Desk, connection: &str) {
    let sent = invite(desk, &sdp("IP4 198.51.100.7", AUDIO));
    let out = request(&sent, RIGHT, "INVITE").clone();
    response(&answer(desk, &out, &sdp(connection, AUDIO)), LEFT, 200);
}

/// A name is not resolved: its owner is learnt from its packets, like a phone behind NAT.
#[test]
fn a_name_instead_of_an_address_is_learnt() {
    let mut desk = Desk::new(&config());
    call(&mut desk, "IP4 media.right.example");
    assert_eq!(relayed(&mut desk, "203.0.113.77:7000", 3), None, "not before it is verified");
    assert_eq!(relayed(&mut desk, "203.0.113.77:7000", 6), "198.51.100.7:4000".parse().ok());
    assert_eq!(relayed(&mut desk, "198.51.100.7:4000", 1), "203.0.113.77:7000".parse().ok());
}

/// A carrier whose media comes from elsewhere: strays, unless the trunk says otherwise.
#[test]
fn a_symmetric_trunk_is_learnt_from_its_packets() {
    for (setting, heard) in [("", None), ("rtp_symmetric = true\n", "198.51.100.7:4000".parse().ok())] {
        let mut desk =
            Desk::new(&config().replace("prefixes = [\"+1\"]\n", &format!("prefixes = [\"+1\"]\n{setting}")));
        call(&mut desk, "IP4 203.0.113.10");
        assert_eq!(relayed(&mut desk, "203.0.113.77:7000", 6), heard, "{setting}");
    }
}
