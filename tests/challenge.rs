//! What a phone that has not said who it is gets: a challenge for each algorithm, the best first (RFC 8760 §2.4), except
//! for phones that give up when they see one they do not know (Debian's baresip 1.0.0 says "Function not implemented").

mod desk;

use desk::{Desk, response};
use strowger::sip::wire::HeaderName;

const CONFIG: &str = r#"
[sip]
domains = ["example.com"]
[[sip.listen]]
address = "192.0.2.1:5060"
transport = "udp"
[media]
address = "192.0.2.1"
[[account]]
name = "alice"
[[account.device]]
username = "alice"
password = "secret"
"#;

fn register(line: &str) -> String {
    format!(
        "REGISTER sip:example.com SIP/2.0\nVia: SIP/2.0/UDP 198.51.100.5:5060;branch=z9hG4bK1;rport\n\
         Max-Forwards: 70\nFrom: <sip:alice@example.com>;tag=1\nTo: <sip:alice@example.com>\nCall-ID: 1\n\
         CSeq: 1 REGISTER\nContact: <sip:alice@198.51.100.5>\n{line}Content-Length: 0\n\n"
    )
}

/// The challenges to a REGISTER with this line.
fn challenges(line: &str) -> Vec<String> {
    let sent = Desk::new(CONFIG).receive("198.51.100.5:5060", &register(line));
    let challenge = response(&sent, "198.51.100.5:5060", 401);
    let lines = challenge.view().headers().filter(|header| header.name == HeaderName::WwwAuthenticate);
    lines.map(|header| String::from_utf8_lossy(header.value).into_owned()).collect()
}

#[test]
fn every_algorithm_is_offered_the_best_first() {
    for line in ["", "User-Agent: Linphonec/5.1.65\n", "User-Agent: baresip v4.0.0 (x86_64/linux)\n"] {
        let offered = challenges(line);
        assert_eq!(offered.len(), 2, "{line}");
        assert!(offered[0].contains("algorithm=SHA-256") && offered[1].contains("algorithm=MD5"), "{offered:?}");
    }
}

#[test]
fn a_phone_that_stumbles_over_sha_256_is_offered_md5_alone() {
    let offered = challenges("User-Agent: baresip v1.0.0 (x86_64/linux)\n");
    assert_eq!(offered.len(), 1);
    assert!(offered[0].contains("algorithm=MD5"), "{offered:?}");
}

/// RFC 3261 §26.3.2.4, §8.2.7.
#[test]
fn who_sends_registers_without_credentials_fills_no_table_and_hears_the_same_tag() {
    let mut desk = Desk::new(CONFIG);
    let tag = |desk: &mut Desk| {
        let sent = desk.receive("198.51.100.5:5060", &register(""));
        let challenge = response(&sent, "198.51.100.5:5060", 401);
        challenge.view().to().tag().expect("a tag").to_vec()
    };
    assert_eq!(tag(&mut desk), tag(&mut desk));
    assert_eq!(desk.shard.audit().transactions, 0);
    let other = desk.receive("198.51.100.5:5060", &register("").replace("z9hG4bK1", "z9hG4bK2"));
    assert_ne!(response(&other, "198.51.100.5:5060", 401).view().to().tag(), Some(&*tag(&mut desk)));
    desk.receive("198.51.100.5:5060", &register("Require: nothing\n"));
    assert_eq!(desk.shard.audit().transactions, 1, "what is refused is refused for as long as it is repeated");
}
