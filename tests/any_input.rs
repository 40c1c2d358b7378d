//! Any octets, on any socket or connection, in any order and at any time: the shard does not panic, whatever it sends can
//! be read, and when the storm is over nothing is held and the next call goes through.
//!
//! Messages are real ones, damaged: pure noise never gets past the first line.

mod desk;
mod torture;

use desk::{ALICE, Desk, LEFT, RIGHT, request, response};
use proptest::prelude::*;
use strowger::base::time::Duration;
use strowger::base::{SocketKey, StreamKey};
use strowger::shard::Input;

fn config() -> String {
    let more = format!(
        "[shards]\ncalls_max = 8\ntransactions_max = 64\n{ALICE}[[sip.listen]]\naddress = \"192.0.2.1:5060\"\ntransport = \"tcp\"\n"
    );
    desk::config("prefixes = [\"+44\"]", "prefixes = [\"\"]", &more)
}

const SDP: &str =
    "v=0\r\no=x 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 101\r\n";

fn invite(serial: u8) -> Vec<u8> {
    format!(
        "INVITE sip:+1{serial}@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.5:5060;branch=z9hG4bK{serial}\r\nMax-Forwards: 9\r\n\
         From: <sip:+44@x.example>;tag=l{serial}\r\nTo: <sip:+1{serial}@192.0.2.1>\r\nCall-ID: {serial}@x\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:l@198.51.100.5>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    )
    .into_bytes()
}

/// What may happen next. Indices are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Torture(usize, usize, Damage),
    Invite(u8, Damage),
    /// Answers one of the requests that the shard has sent, with this status.
    Answer(usize, u16, Damage),
    /// Sends one of the shard's own messages back to it.
    Echo(usize, Damage),
    Media(u32, Vec<u8>),
    Stream(u64, Vec<u8>),
    Close(u64),
    Refused(usize),
    Wait(u64),
}

#[derive(Clone, Debug)]
struct Damage {
    at: usize,
    cut: usize,
    bytes: Vec<u8>,
}

impl Damage {
    fn apply(&self, message: &[u8]) -> Vec<u8> {
        let at = self.at % (message.len() + 1);
        let end = (at + self.cut).min(message.len());
        [&message[..at], &self.bytes, &message[end..]].concat()
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        3 => Just(Damage { at: 0, cut: 0, bytes: Vec::new() }),
        2 => (any::<usize>(), 0usize..40, prop::collection::vec(any::<u8>(), 0..12))
            .prop_map(|(at, cut, bytes)| Damage { at, cut, bytes }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (any::<usize>(), 0usize..3, damage()).prop_map(|(case, from, damage)| Step::Torture(case, from, damage)),
        4 => (0u8..12, damage()).prop_map(|(serial, damage)| Step::Invite(serial, damage)),
        6 => (any::<usize>(), prop::sample::select(vec![100u16, 180, 183, 200, 302, 401, 404, 486, 503, 603]), damage())
            .prop_map(|(at, status, damage)| Step::Answer(at, status, damage)),
        2 => (any::<usize>(), damage()).prop_map(|(at, damage)| Step::Echo(at, damage)),
        3 => (0u32..210, prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(socket, bytes)| Step::Media(socket, bytes)),
        2 => (0u64..4, prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(stream, bytes)| Step::Stream(stream, bytes)),
        1 => (0u64..4).prop_map(Step::Close),
        1 => any::<usize>().prop_map(Step::Refused),
        2 => (0u64..40_000).prop_map(Step::Wait),
    ]
}

/// A response to a request of the shard's, written without its writers.
fn answer(request: &[u8], status: u16) -> Vec<u8> {
    let mut out = desk::answer_head(request, status);
    let body = if matches!(status, 183 | 200) { SDP } else { "" };
    out += &format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    out.into_bytes()
}

fn play(desk: &mut Desk, sent: &mut Vec<(String, Vec<u8>)>, step: &Step) {
    let pick = |sent: &[(String, Vec<u8>)], at: usize| sent.get(at.checked_rem(sent.len())?).cloned();
    let out = match step {
        Step::Torture(case, from, damage) => {
            let cases = torture::rfc4475::CASES;
            let bytes = damage.apply(cases[case % cases.len()].bytes);
            desk.datagram(0, [LEFT, RIGHT, "192.0.2.77:9"][*from], &bytes).1
        }
        Step::Invite(serial, damage) => desk.datagram(0, LEFT, &damage.apply(&invite(*serial))).1,
        Step::Answer(at, status, damage) => {
            let Some((to, bytes)) = pick(sent, *at) else { return };
            desk.datagram(0, &to, &damage.apply(&answer(&bytes, *status))).1
        }
        Step::Echo(at, damage) => {
            let Some((to, bytes)) = pick(sent, *at) else { return };
            desk.datagram(0, &to, &damage.apply(&bytes)).1
        }
        Step::Media(socket, bytes) => desk.datagram(2 + socket, "198.51.100.7:4000", bytes).1,
        Step::Stream(stream, bytes) => {
            let stream = StreamKey(StreamKey::ACCEPTED | stream);
            let remote = "192.0.2.77:4000".parse().expect("an address");
            let mut out = desk.input(Input::StreamAccepted { listener: SocketKey(1), stream, remote });
            out.extend(desk.input(Input::StreamData { stream, bytes }));
            out
        }
        Step::Close(stream) => desk.input(Input::StreamClosed { stream: StreamKey(StreamKey::ACCEPTED | stream) }),
        Step::Refused(at) => {
            let Some((to, _)) = pick(sent, *at) else { return };
            desk.input(Input::SendFailed { socket: SocketKey(0), to: to.parse().expect("an address") })
        }
        Step::Wait(millis) => {
            let out = desk.wait(Duration::from_millis(*millis));
            out.into_iter().map(|(to, message)| (to, message.bytes().clone())).collect()
        }
    };
    sent.extend(out.into_iter().map(|(to, bytes)| (to.to_string(), bytes.to_vec())));
    let keep = sent.len().saturating_sub(64);
    sent.drain(..keep);
}

/// A call of a shard that has been through a storm.
fn assert_still_carries_calls(desk: &mut Desk) {
    let text = String::from_utf8(invite(99)).expect("text").replace("\r\n", "\n");
    let sent = desk.receive(LEFT, &text);
    response(&sent, LEFT, 100);
    request(&sent, RIGHT, "INVITE");
    desk.assert_empty_in_the_end();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_input_breaks_a_shard(steps in prop::collection::vec(step(), 1..60)) {
        let mut desk = Desk::new(&config());
        let mut sent = Vec::new();
        for step in &steps {
            play(&mut desk, &mut sent, step);
        }
        // Calls that both sides have answered stay up until their media has been silent for long.
        desk.assert_empty_in_the_end();
        assert_still_carries_calls(&mut desk);
    }
}
