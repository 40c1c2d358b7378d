//! What a phone that has not said who it is gets: a challenge for each algorithm, the best first (RFC 8760 §2.4), except
//! for phones that give up when they see one they do not know (Debian's baresip 1.0.0 says "Function not implemented").

use std::sync::Arc;
use strowger::base::{Instant, Random, SocketKey};
use strowger::call::Directory;
use strowger::config;
use strowger::observe::{Counters, MediaPath};
use strowger::shard::{Input, Output, Shard, ShardOptions, Steering};
use strowger::sip::wire::{Framing, HeaderName, OwnedMessage};

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

/// The challenges to a REGISTER with this line.
fn challenges(line: &str) -> Vec<String> {
    let config = config::read(CONFIG, "test.toml").config.expect("the configuration is right");
    let directory = Arc::new(Directory::new(&config, None));
    let steering = Steering::new(1, [1, 2, 3, 4]);
    let options = ShardOptions::new(&config, directory, Arc::new(Counters::new()), 0, steering, MediaPath::Epoll);
    let now = Instant::from_millis(1000);
    let mut shard = Shard::new(options, Random::from_u64(7), now);
    let text = format!(
        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.5:5060;branch=z9hG4bK1;rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\nCall-ID: 1\r\n\
         CSeq: 1 REGISTER\r\nContact: <sip:alice@198.51.100.5>\r\n{line}Content-Length: 0\r\n\r\n"
    );
    let from = "198.51.100.5:5060".parse().unwrap();
    shard.handle(now, Input::Datagram { socket: SocketKey(0), from, bytes: &mut text.into_bytes() });
    while let Some(output) = shard.poll_output() {
        let Output::Send { bytes, .. } = output else { continue };
        let message = OwnedMessage::parse(bytes, Framing::Datagram).unwrap();
        let view = message.view();
        assert_eq!(view.status(), 401);
        let lines = view.headers().filter(|header| header.name == HeaderName::WwwAuthenticate);
        return lines.map(|header| String::from_utf8_lossy(header.value).into_owned()).collect();
    }
    panic!("a REGISTER without credentials is challenged");
}

#[test]
fn every_algorithm_is_offered_the_best_first() {
    for line in ["", "User-Agent: Linphonec/5.1.65\r\n", "User-Agent: baresip v4.0.0 (x86_64/linux)\r\n"] {
        let offered = challenges(line);
        assert_eq!(offered.len(), 2, "{line}");
        assert!(offered[0].contains("algorithm=SHA-256") && offered[1].contains("algorithm=MD5"), "{offered:?}");
    }
}

#[test]
fn a_phone_that_stumbles_over_sha_256_is_offered_md5_alone() {
    let offered = challenges("User-Agent: baresip v1.0.0 (x86_64/linux)\r\n");
    assert_eq!(offered.len(), 1);
    assert!(offered[0].contains("algorithm=MD5"), "{offered:?}");
}
