//! A call between two trunks: INVITE, 180, 200, ACK, BYE, 200.

use super::desk::{Desk, EMPTY, field};
use std::hint::black_box;
use std::time::{Duration, Instant as Clock};
use strowger::sip::wire::{Framing, Index, Message, parse};

const CALLER: &str = "198.51.100.5:5060";
const CALLEE: &str = "203.0.113.9:5060";
const SPACING: Duration = Duration::from_millis(1);
/// Calls between the INVITE and the BYE of one.
const UP: u32 = 300;
pub const STEPS: [&str; 6] = ["INVITE", "180", "200", "ACK", "BYE", "200 BYE"];

const CONFIG: &str = "[shards]\ncount = 1\n[sip]\ndomains = [\"example.com\"]\n\
    [[sip.listen]]\naddress = \"192.0.2.1:5060\"\ntransport = \"udp\"\n\
    [media]\naddress = \"192.0.2.1\"\nport_min = 20000\nport_max = 59999\n\
    [[trunk]]\nname = \"in\"\naddress = \"198.51.100.5:5060\"\n\
    [[trunk]]\nname = \"out\"\naddress = \"203.0.113.9:5060\"\nprefixes = [\"\"]\n";

/// A shard between the two trunks.
pub fn desk() -> Desk {
    Desk::new(CONFIG, &STEPS)
}

fn with_offer(head: String, port: u32) -> Vec<u8> {
    let body = format!(
        "v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\n\
         a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
    );
    format!("{head}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A request of the caller's.
fn request(method: &str, number: u32, uri: &str, to: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK{method}{number:08x};rport\r\n\
         Max-Forwards: 70\r\nFrom: \"Caller\" <sip:+442071838750@left.example>;tag=from{number:08x}\r\nTo: {to}\r\n\
         Call-ID: 8f3c2{number:08x}@left.example\r\nCSeq: {} {}\r\nContact: <sip:caller@{CALLER}>\r\n\
         User-Agent: bench/1.0\r\n",
        if method == "BYE" { 2 } else { 1 },
        method
    )
}

/// The callee's answer to a request that the shard has sent.
fn response(to: &[u8], status: &str, number: u32) -> String {
    let line = |read: fn(&Message<'_>) -> Vec<u8>| field(to, read);
    format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <sip:callee@{CALLEE}>\r\n\
         Server: bench/1.0\r\n",
        line(|message| message.via().raw().to_vec()),
        line(|message| message.from().raw().to_vec()),
        match line(|message| message.to().raw().to_vec()) {
            tagged if tagged.contains("tag=") => tagged,
            bare => format!("{bare};tag=to{number:08x}"),
        },
        line(|message| message.call_id().to_vec()),
        line(|message| format!("{} {}", message.cseq().0, message.cseq().1.as_str()).into_bytes()),
    )
}

/// What the caller has to know to end its call.
pub struct UpCall {
    number: u32,
    uri: String,
    to: String,
}

fn set_up(desk: &mut Desk, number: u32) -> UpCall {
    let uri = format!("sip:+1555{:07}@192.0.2.1", number % 10_000_000);
    let invite = with_offer(request("INVITE", number, &uri, &format!("<{uri}>")), 4000 + number % 2000 * 2);
    let invited = desk.exchange(0, CALLER, invite, CALLEE);
    let ringing = response(&invited, "180 Ringing", number) + EMPTY;
    desk.exchange(1, CALLEE, ringing.into_bytes(), CALLER);
    let answer = with_offer(response(&invited, "200 OK", number), 6000 + number % 2000 * 2);
    let answered = desk.exchange(2, CALLEE, answer, CALLER);
    let to = field(&answered, |message| message.to().raw().to_vec());
    let uri = field(&answered, |message| message.contact().expect("a Contact").uri_raw().to_vec());
    let ack = request("ACK", number, &uri, &to) + EMPTY;
    desk.deliver(3, CALLER, ack.into_bytes());
    UpCall { number, uri, to }
}

fn end(desk: &mut Desk, call: &UpCall) {
    let bye = request("BYE", call.number, &call.uri, &call.to) + EMPTY;
    let carried = desk.exchange(4, CALLER, bye.into_bytes(), CALLEE);
    let done = response(&carried, "200 OK", call.number) + EMPTY;
    desk.deliver(5, CALLEE, done.into_bytes());
}

/// One after the other, each ended when enough others are up.
pub fn calls(desk: &mut Desk, numbers: std::ops::Range<u32>, up: &mut std::collections::VecDeque<UpCall>) {
    for number in numbers {
        desk.advance(SPACING);
        let call = set_up(desk, number);
        up.push_back(call);
        if up.len() > UP as usize {
            let over = up.pop_front().expect("just counted");
            end(desk, &over);
        }
    }
}

/// Reading the messages of a call and copying as many, in nanoseconds.
pub fn text_floor(count: u32) -> f64 {
    let mut desk = desk();
    let uri = "sip:+15550000001@192.0.2.1";
    let invite = with_offer(request("INVITE", 1, uri, &format!("<{uri}>")), 4000);
    let invited = desk.exchange(0, CALLER, invite.clone(), CALLEE);
    let plain = |text: String| (text + EMPTY).into_bytes();
    let messages = [
        invite,
        plain(response(&invited, "180 Ringing", 1)),
        with_offer(response(&invited, "200 OK", 1), 6000),
        plain(request("ACK", 1, uri, "<sip:x@192.0.2.1>;tag=1")),
        plain(request("BYE", 1, uri, "<sip:x@192.0.2.1>;tag=1")),
        plain(response(&invited, "200 OK", 1)),
    ];
    let (mut index, mut out) = (Index::new(), Vec::with_capacity(4096));
    let begin = Clock::now();
    for _ in 0..count {
        for message in &messages {
            let read = parse(black_box(message), &mut index, Framing::Datagram).expect("a message");
            out.clear();
            out.extend_from_slice(black_box(read).raw());
            black_box(&out);
        }
    }
    begin.elapsed().as_nanos() as f64 / f64::from(count)
}
