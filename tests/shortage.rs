//! When there is no media port left, or the kernel gives no socket for one, a call is told to come again a little later:
//! 503 with Retry-After, as from any node that is full.

mod desk;

use desk::{Desk, LEFT, RIGHT, Sent, request, response};
use strowger::base::SocketKey;
use strowger::base::time::Duration;
use strowger::observe::LimitReason;
use strowger::shard::Input;
use strowger::sip::wire::HeaderName;

/// Room for one audio call: a pair of ports for each side.
fn desk() -> Desk {
    let text = desk::config("", "prefixes = [\"\"]", "");
    Desk::new(&text.replace("port_max = 30099", "port_max = 30003"))
}

fn invite(desk: &mut Desk, number: usize) -> Vec<Sent> {
    let head = format!(
        "INVITE sip:+15550100@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 198.51.100.5:5060;branch=z9hG4bK{number};rport\n\
         Max-Forwards: 70\nFrom: <sip:l@left.example>;tag=l{number}\nTo: <sip:+15550100@192.0.2.1>\n\
         Call-ID: call{number}@left.example\nCSeq: 5 INVITE\nContact: <sip:l@198.51.100.5:5060>\n"
    );
    let body = "v=0\no=- 1 1 IN IP4 198.51.100.5\ns=-\nc=IN IP4 198.51.100.5\nt=0 0\nm=audio 40000 RTP/AVP 0\n";
    desk.receive(LEFT, &desk::with_body(&head, body))
}

fn seconds_to_wait(sent: &[Sent]) -> u32 {
    let refusal = response(sent, LEFT, 503).view();
    let after = refusal.header(HeaderName::RetryAfter).expect("a Retry-After");
    std::str::from_utf8(after).ok().and_then(|text| text.parse().ok()).expect("seconds")
}

#[test]
fn a_call_too_many_for_the_media_ports_comes_again_later() {
    let mut desk = desk();
    request(&invite(&mut desk, 1), RIGHT, "INVITE");
    let wait = seconds_to_wait(&invite(&mut desk, 2));
    assert!((2..10).contains(&wait), "{wait}");
    assert_eq!(desk.counters.limits(LimitReason::PortsFull), 1);
}

#[test]
fn a_call_whose_socket_the_kernel_refuses_comes_again_later() {
    let mut desk = desk();
    request(&invite(&mut desk, 1), RIGHT, "INVITE");
    let socket: SocketKey = desk.sockets.first().expect("a media socket is asked for").1;
    assert!(desk.input(Input::SocketFailed { socket }).is_empty());
    let wait = seconds_to_wait(&desk.wait(Duration::from_secs(1)));
    assert!((2..10).contains(&wait), "{wait}");
}
