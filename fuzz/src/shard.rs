//! Any octets as inputs of a whole shard: datagrams, packets, connections, silence. Nothing panics, whatever is sent to a
//! trunk can be read, and in the end nothing is held.
//!
//! The input is a train: kind, argument, length (two octets), then that many octets. Kinds 7 and 8 answer the latest
//! request that the shard has sent, so that a fuzzer reaches calls that are up without guessing tokens.

#[path = "../../tests/desk/mod.rs"]
mod desk;

use desk::{ALICE, Desk, LEFT, RIGHT};
use strowger::base::time::Duration;
use strowger::base::{SocketKey, StreamKey};
use strowger::shard::Input;

fn config() -> String {
    let more = format!(
        "[shards]\ncalls_max = 4\ntransactions_max = 32\n{ALICE}[[sip.listen]]\naddress = \"192.0.2.1:5060\"\ntransport = \"tcp\"\n"
    );
    desk::config("prefixes = [\"+44\"]", "prefixes = [\"\"]", &more).replace("port_max = 30099", "port_max = 30063")
}

const SOURCES: [&str; 3] = [LEFT, RIGHT, "192.0.2.77:4000"];
const STATUSES: [u16; 8] = [100, 180, 183, 200, 302, 401, 486, 503];
/// Most steps of one input; a longer one says nothing new.
const STEPS_MAX: usize = 64;

/// One input.
pub fn run(mut octets: &[u8]) {
    let mut desk = Desk::new(&config());
    let mut latest: Option<(String, Vec<u8>)> = None;
    for _ in 0..STEPS_MAX {
        let [kind, argument, low, high, rest @ ..] = octets else { break };
        let (bytes, after) = rest.split_at((usize::from(*high) << 8 | usize::from(*low)).min(rest.len()));
        octets = after;
        let sent = step(&mut desk, latest.as_ref(), *kind, *argument, bytes);
        let requests = sent.into_iter().filter(|(_, bytes)| !bytes.starts_with(b"SIP/2.0 "));
        latest = requests.map(|(to, bytes)| (to.to_string(), bytes.to_vec())).last().or(latest);
    }
    desk.assert_empty_in_the_end();
}

type Sent = Vec<(std::net::SocketAddr, bytes::Bytes)>;

fn step(desk: &mut Desk, latest: Option<&(String, Vec<u8>)>, kind: u8, argument: u8, bytes: &[u8]) -> Sent {
    let stream = StreamKey(StreamKey::ACCEPTED | u64::from(argument % 4));
    match kind % 9 {
        kind @ 0..=2 => desk.datagram(0, SOURCES[usize::from(kind)], bytes).1,
        3 => desk.datagram(2 + u32::from(argument % 140), SOURCES[usize::from(argument % 3)], bytes).1,
        4 => {
            let remote = SOURCES[2].parse().expect("an address");
            let mut sent = desk.input(Input::StreamAccepted { listener: SocketKey(1), stream, remote });
            sent.extend(desk.input(Input::StreamData { stream, bytes }));
            sent
        }
        5 => desk.input(Input::StreamClosed { stream }),
        6 => {
            let sent = desk.wait(Duration::from_millis(u64::from(argument) * 200));
            sent.into_iter().map(|(to, message)| (to, message.bytes().clone())).collect()
        }
        _ => match latest {
            Some((from, request)) => {
                let status = STATUSES[usize::from(argument) % STATUSES.len()];
                desk.datagram(0, from, &answer(request, status, bytes)).1
            }
            None => Sent::new(),
        },
    }
}

/// A response to a request of the shard's, with these octets as its last header lines or body.
fn answer(request: &[u8], status: u16, rest: &[u8]) -> Vec<u8> {
    let mut out = desk::answer_head(request, status).into_bytes();
    match rest.is_empty() {
        true => out.extend_from_slice(b"Content-Length: 0\r\n\r\n"),
        false => out.extend_from_slice(rest),
    }
    out
}
