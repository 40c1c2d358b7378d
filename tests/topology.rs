//! One call between two trunks, message by message, through a shard without any network: what each side is shown, and that
//! nothing of the other side is in it (topology hiding), and that nothing is left when it is over.

mod desk;

use desk::{Desk, LEFT, RIGHT, request, response, with_body};
use strowger::base::Transport;
use strowger::base::time::Duration;
use strowger::observe::{Direction, Gauge, MethodLabel};
use strowger::shard::Input;
use strowger::shard::mailbox::Mail;
use strowger::sip::wire::{HeaderName, Method, OwnedMessage};

fn desk() -> Desk {
    Desk::new(&desk::config("prefixes = [\"+44\"]", "prefixes = [\"+1\"]", ""))
}

fn sdp(address: &str, port: u16) -> String {
    format!(
        "v=0\no=x 1 1 IN IP4 {address}\ns=-\nc=IN IP4 {address}\nt=0 0\nm=audio {port} RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000\n"
    )
}

fn invite() -> String {
    let head = "INVITE sip:+15550100@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 198.51.100.5:5060;branch=z9hG4bKleft1;rport\n\
        Max-Forwards: 70\nFrom: \"L\" <sip:+442071838750@left.example>;tag=ltag\nTo: <sip:+15550100@192.0.2.1>\n\
        Call-ID: left-call@left.example\nCSeq: 5 INVITE\nContact: <sip:l@198.51.100.5:5060>\nX-Odd:   kept  as is\n\
        Record-Route: <sip:198.51.100.5;lr>\nx-second: 2\n";
    with_body(head, &sdp("198.51.100.7", 4000))
}

/// A response of the right side to the INVITE that it got.
fn respond(to: &OwnedMessage, status: &str, tag: &str, body: Option<&str>) -> String {
    desk::respond(to, status, tag, "X-Right: yes\n", body)
}

fn assert_hides(message: &OwnedMessage, secrets: &[&str]) {
    let text = String::from_utf8_lossy(message.bytes()).into_owned();
    for secret in secrets {
        assert!(!text.contains(secret), "{secret} is shown in:\n{text}");
    }
}

/// A request of the left side within its dialog.
fn left_request(method: &str, cseq: u32, answer: &OwnedMessage) -> String {
    let to = String::from_utf8_lossy(answer.view().to().raw()).into_owned();
    let cseq_method = method;
    format!(
        "{method} sip:x@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 198.51.100.5:5060;branch=z9hG4bKleft{method}{cseq}\nMax-Forwards: 70\n\
         From: \"L\" <sip:+442071838750@left.example>;tag=ltag\nTo: {to}\nCall-ID: left-call@left.example\nCSeq: {cseq} {cseq_method}\n\
         Content-Length: 0\n\n"
    )
}

const LEFT_SECRETS: [&str; 5] = ["198.51.100", "left.example", "ltag", "left-call", "z9hG4bKleft"];
const RIGHT_SECRETS: [&str; 3] = ["203.0.113", "rtag", "x-right-secret"];

fn set_up(desk: &mut Desk) -> (OwnedMessage, OwnedMessage) {
    let sent = desk.receive(LEFT, &invite());
    response(&sent, LEFT, 100);
    let out = request(&sent, RIGHT, "INVITE").clone();
    assert_hides(&out, &LEFT_SECRETS);
    let sent = desk.receive(RIGHT, &respond(&out, "180 Ringing", "rtag", None));
    assert_hides(response(&sent, LEFT, 180), &RIGHT_SECRETS);
    let sent = desk.receive(RIGHT, &respond(&out, "200 OK", "rtag", Some(&sdp("203.0.113.10", 6000))));
    request(&sent, RIGHT, "ACK");
    let answer = response(&sent, LEFT, 200).clone();
    assert_hides(&answer, &RIGHT_SECRETS);
    desk.receive(LEFT, &left_request("ACK", 5, &answer));
    (out, answer)
}

#[test]
fn a_call_shows_each_side_only_itself_and_us() {
    let mut desk = desk();
    let (out, answer) = set_up(&mut desk);
    let (out, answer) = (out.view(), answer.view());
    assert_eq!(out.header_named(b"X-Odd"), Some(&b"kept  as is"[..]));
    assert_eq!(out.header_named(b"x-second"), Some(&b"2"[..]));
    assert_eq!(out.max_forwards(), Some(69));
    assert!(String::from_utf8_lossy(out.body()).contains("192.0.2.1"), "our media address");
    assert_eq!(answer.header_named(b"X-Right"), Some(&b"yes"[..]));
    assert_eq!(answer.header(HeaderName::RecordRoute), Some(&b"<sip:198.51.100.5;lr>"[..]));
    assert_eq!(answer.via().rport(), Some(Some(5060)));
    assert_eq!(desk.shard.audit().calls_live, 1);

    let sent = desk.receive(LEFT, &left_request("BYE", 6, &read_bytes(&answer)));
    response(&sent, LEFT, 200);
    let bye = request(&sent, RIGHT, "BYE").clone();
    assert_eq!(bye.view().uri().raw(), b"sip:r@203.0.113.9:5060");
    desk.receive(RIGHT, &respond(&bye, "200 OK", "rtag", None));
    desk.wait(Duration::from_secs(70));
    let audit = desk.shard.audit();
    assert_eq!(
        (audit.calls, audit.transactions, audit.timers, audit.streams, audit.ports),
        (0, 0, 0, 0, 0),
        "{audit:?}"
    );
    assert_eq!(desk.records.len(), 1);
    let record = &desk.records[0];
    assert_eq!((record.trunk_in.as_deref(), record.trunk_out.as_deref()), (Some("left"), Some("right")));
    assert!(record.answered.is_some());
}

fn read_bytes(view: &strowger::sip::wire::Message<'_>) -> OwnedMessage {
    OwnedMessage::from(*view)
}

#[test]
fn a_hang_up_says_to_the_other_side_what_it_was_given() {
    let mut desk = desk();
    let (_, answer) = set_up(&mut desk);
    assert_eq!(desk.counters.level(Gauge::CallsActive), 1);
    let why = "X-Why: tea, milk\nReason: Q.850;cause=16\nAuthorization: none of your business\nContent-Length: 0";
    let bye = left_request("BYE", 6, &answer).replace("Content-Length: 0", why);
    let sent = desk.receive(LEFT, &bye);
    assert_eq!(desk.counters.level(Gauge::CallsActive), 0, "a call that lingers for its transactions is over");
    let carried = request(&sent, RIGHT, "BYE");
    assert_hides(carried, &LEFT_SECRETS);
    assert_eq!(carried.view().header(HeaderName::Reason), Some(&b"Q.850;cause=16"[..]));
    assert_eq!(carried.view().header_named(b"X-Why"), Some(&b"tea, milk"[..]));
    assert_eq!(carried.view().header(HeaderName::Authorization), None);
}

#[test]
fn a_second_answer_is_acknowledged_and_ended() {
    let mut desk = desk();
    let (out, _) = set_up(&mut desk);
    let sent = desk.receive(RIGHT, &respond(&out, "200 OK", "other-fork", Some(&sdp("203.0.113.10", 6000))));
    assert_eq!(request(&sent, RIGHT, "ACK").view().to().tag(), Some(&b"other-fork"[..]));
    assert_eq!(request(&sent, RIGHT, "BYE").view().to().tag(), Some(&b"other-fork"[..]));
    let methods: Vec<_> = sent.iter().map(|(_, message)| message.view().method()).collect();
    assert_eq!(methods, [Method::Ack, Method::Bye], "a BYE does not overtake its ACK");
    assert_eq!(desk.shard.audit().calls_live, 1, "the call goes on");
}

#[test]
fn a_repeated_answer_gets_the_same_acknowledgement() {
    let mut desk = desk();
    let (out, _) = set_up(&mut desk);
    let again = desk.receive(RIGHT, &respond(&out, "200 OK", "rtag", Some(&sdp("203.0.113.10", 6000))));
    assert_eq!(again.len(), 1);
    request(&again, RIGHT, "ACK");
}

#[test]
fn an_answer_that_crosses_the_cancel_is_acknowledged_and_ended() {
    let mut desk = desk();
    let sent = desk.receive(LEFT, &invite());
    let out = request(&sent, RIGHT, "INVITE").clone();
    desk.receive(RIGHT, &respond(&out, "180 Ringing", "rtag", None));
    let cancel = invite().replace("INVITE sip:", "CANCEL sip:").replace("5 INVITE", "5 CANCEL");
    let sent = desk.receive(LEFT, &cancel);
    request(&sent, RIGHT, "CANCEL");
    response(&sent, LEFT, 487);
    let sent = desk.receive(RIGHT, &respond(&out, "200 OK", "rtag", Some(&sdp("203.0.113.10", 6000))));
    request(&sent, RIGHT, "ACK");
    let bye = request(&sent, RIGHT, "BYE").clone();
    desk.receive(RIGHT, &respond(&bye, "200 OK", "rtag", None));
    desk.wait(Duration::from_secs(70));
    let audit = desk.shard.audit();
    assert_eq!((audit.calls, audit.transactions, audit.timers, audit.ports), (0, 0, 0, 0), "{audit:?}");
}

#[test]
fn a_drain_can_be_called_off() {
    let mut desk = desk();
    desk.input(Input::Mail(Mail::Drain));
    response(&desk.receive(LEFT, &invite()), LEFT, 503);
    desk.input(Input::Mail(Mail::Undrain));
    let again = invite().replace("z9hG4bKleft1", "z9hG4bKleft2").replace("left-call", "left-again");
    request(&desk.receive(LEFT, &again), RIGHT, "INVITE");
    desk.input(Input::Mail(Mail::Stop));
    desk.input(Input::Mail(Mail::Undrain));
    let late = invite().replace("z9hG4bKleft1", "z9hG4bKleft3").replace("left-call", "left-late");
    response(&desk.receive(LEFT, &late), LEFT, 503);
}

#[test]
fn every_request_is_counted_whoever_made_it() {
    let mut desk = desk();
    let sent = desk.receive(LEFT, &invite());
    let out = request(&sent, RIGHT, "INVITE").clone();
    assert_eq!(desk.wait(Duration::from_millis(600)).len(), 1, "the INVITE again");
    desk.receive(RIGHT, &respond(&out, "180 Ringing", "rtag", None));
    let sent = desk.receive(LEFT, &invite().replace("INVITE sip:", "CANCEL sip:").replace("5 INVITE", "5 CANCEL"));
    let cancel = request(&sent, RIGHT, "CANCEL").clone();
    desk.receive(RIGHT, &respond(&cancel, "200 OK", "rtag", None));
    let sent = desk.receive(RIGHT, &respond(&out, "487 Request Terminated", "rtag", None));
    request(&sent, RIGHT, "ACK");
    let count = |method, direction| desk.counters.requests(method, Transport::Udp, direction);
    for (method, received, sent) in [(MethodLabel::Invite, 1, 2), (MethodLabel::Cancel, 1, 1), (MethodLabel::Ack, 0, 1)]
    {
        assert_eq!((count(method, Direction::In), count(method, Direction::Out)), (received, sent), "{method:?}");
    }
}

#[test]
fn the_caller_is_not_hung_up_on_before_it_has_acknowledged() {
    let mut desk = desk();
    let sent = desk.receive(LEFT, &invite());
    let out = request(&sent, RIGHT, "INVITE").clone();
    let sent = desk.receive(RIGHT, &respond(&out, "200 OK", "rtag", Some(&sdp("203.0.113.10", 6000))));
    let answer = response(&sent, LEFT, 200).clone();
    let view = out.view();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let bye = format!(
        "BYE {} SIP/2.0\nVia: SIP/2.0/UDP {RIGHT};branch=z9hG4bKright1\nMax-Forwards: 70\nFrom: {};tag=rtag\nTo: {}\n\
         Call-ID: {}\nCSeq: 1 BYE\nContent-Length: 0\n\n",
        text(view.contact().unwrap().uri_raw()),
        text(view.to().raw()),
        text(view.from().raw()),
        text(view.call_id())
    );
    let sent = desk.receive(RIGHT, &bye);
    response(&sent, RIGHT, 200);
    assert!(!sent.iter().any(|(to, _)| *to == LEFT.parse().unwrap()), "RFC 3261 §15: {sent:#?}");
    let sent = desk.receive(LEFT, &left_request("ACK", 5, &answer));
    let bye = request(&sent, LEFT, "BYE").clone();
    desk.receive(LEFT, &respond(&bye, "200 OK", "ltag", None));
    desk.wait(Duration::from_secs(70));
    assert_eq!(desk.shard.audit().calls, 0);
}
