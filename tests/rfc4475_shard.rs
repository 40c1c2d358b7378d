//! The messages of RFC 4475 sent to a whole shard: what the appliance answers, message by message, and that it is left
//! with nothing held and still carries the next call.
//!
//! The parser's own verdicts are in `rfc4475.rs`; here stands what an element answers that is registrar, B2BUA and user
//! agent server at once, from a source that is a trunk.

mod desk;
mod torture;

use desk::Desk;
use strowger::sip::wire::{Framing, Index, parse};
use torture::rfc4475;

const CONFIG: &str = r#"
[sip]
domains = ["example.com"]
[[sip.listen]]
address = "192.0.2.1:5060"
[media]
address = "192.0.2.1"
port_min = 30000
port_max = 30999
[[trunk]]
name = "torture"
address = "198.51.100.5:5060"
prefixes = []
[[trunk]]
name = "elsewhere"
address = "203.0.113.9:5060"
prefixes = [""]
"#;

/// The final status that is sent back, 0 for none; and how many requests went on to the other trunk.
fn answers(bytes: &[u8]) -> (u16, usize) {
    let mut desk = Desk::new(CONFIG);
    let from = "198.51.100.5:5060";
    let (_, sent) = desk.datagram(0, from, bytes);
    let (mut status, mut onward) = (0, 0);
    for (to, bytes) in sent {
        if to == from.parse().expect("an address") {
            status = final_status(&bytes).max(status);
            continue;
        }
        assert_eq!(to, "203.0.113.9:5060".parse().expect("an address"));
        let mut index = Index::new();
        let message = parse(&bytes, &mut index, Framing::Datagram);
        assert!(message.is_ok_and(|message| message.is_request()), "{}", String::from_utf8_lossy(&bytes));
        onward += 1;
    }
    desk.assert_empty_in_the_end();
    (status, onward)
}

/// Read without our parser, since a 400 carries back the very header that it complains of.
fn final_status(bytes: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(bytes);
    let status: u16 =
        text.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse().ok()).expect("a status line");
    if status < 200 { 0 } else { status }
}

/// Name, final answer (0: none), INVITEs sent on. Where the RFC leaves a choice, ours is the stricter one.
const EXPECTED: &[(&str, u16, usize)] = &[
    ("wsinv", 481, 0), // in no dialog of ours
    ("intmeth", 501, 0),
    ("esc01", 0, 1),
    ("escnull", 401, 0),
    ("esc02", 501, 0),
    ("lwsdisp", 200, 0),
    ("longreq", 0, 1),
    ("dblreq", 401, 0),
    ("semiuri", 200, 0),
    ("transports", 200, 0),
    ("mpart01", 405, 0), // MESSAGE is not taken
    ("unreason", 0, 0),
    ("noreason", 0, 0),
    ("clerr", 400, 0),
    ("ncl", 400, 0),
    ("ltgtruri", 400, 0),
    ("lwsruri", 400, 0),
    ("lwsstart", 400, 0),
    ("trws", 400, 0),
    ("bigcode", 0, 0),
    ("badinv01", 400, 0),
    ("scalar02", 400, 0),
    ("scalarlg", 0, 0),
    ("quotbal", 400, 0),
    ("baddate", 0, 1),
    ("regbadct", 400, 0),
    ("badaspec", 400, 0),
    ("baddn", 400, 0),
    ("escruri", 400, 0),
    ("badvers", 505, 0),
    ("mismatch01", 400, 0),
    ("mismatch02", 501, 0),
    ("badbranch", 200, 0),
    ("insuf", 0, 0), // nothing to address an answer with
    ("unkscm", 416, 0),
    ("novelsc", 416, 0),
    ("unksm2", 400, 0), // a registrar binds SIP URIs only
    ("bext01", 420, 0),
    ("invut", 415, 0),
    ("regaut01", 401, 0),
    ("multi01", 400, 0),
    ("mcl01", 400, 0),
    ("bcast", 0, 0),    // a Via that is not ours
    ("zeromf", 200, 0), // OPTIONS to ourselves (RFC 3261 §11)
    ("cparam01", 401, 0),
    ("cparam02", 401, 0),
    ("regescrt", 401, 0),
    ("sdp01", 406, 0),
    ("inv2543", 0, 1),
    ("test", 0, 0), // no request of the RFC
];

#[test]
fn every_message_gets_its_answer() {
    let mut wrong = Vec::new();
    for case in rfc4475::CASES {
        let found = answers(case.bytes);
        let expected =
            EXPECTED.iter().find(|(name, ..)| *name == case.name).map(|(_, status, onward)| (*status, *onward));
        if expected != Some(found) {
            wrong.push(format!("(\"{}\", {}, {}), // expected {expected:?}", case.name, found.0, found.1));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
