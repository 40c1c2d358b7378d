//! Any octets as a challenge and as credentials (RFC 7616): what can be read is answered readably, and nothing that the
//! server has not challenged is let in.

use strowger::base::{Instant, Random};
use strowger::sip::digest::{Challenge, Credentials, Ha1, Login, Server, ServerOptions, Verdict, answer};

/// Reads them as each, answers the challenge, judges the credentials.
pub fn run(octets: &[u8]) {
    if let Ok(challenge) = Challenge::parse(octets) {
        let login = Login::Password { username: octets, password: b"secret" };
        let mut header = Vec::new();
        answer(&challenge, &login, b"REGISTER", b"sip:example.com", b"cafe", 1, &mut header);
        let credentials = Credentials::parse(&header).expect("what is answered can be read");
        assert_eq!((credentials.realm, credentials.nonce), (challenge.realm, challenge.nonce));
        assert_eq!(credentials.auth.is_some(), challenge.auth);
        assert_eq!(*credentials.username_unescaped(), *octets);
    }
    let Ok(credentials) = Credentials::parse(octets) else { return };
    assert!(credentials.username_unescaped().len() <= credentials.username.len());
    let options = ServerOptions { realm: "example.com".into(), nonces_max: 4, ..ServerOptions::default() };
    let mut server = Server::new(options, Random::from_u64(1));
    let ha1 = Ha1::new(b"alice", b"example.com", b"secret");
    let verdict = server.verify(Instant::from_millis(1), &credentials, b"REGISTER", Some(&ha1));
    assert_ne!(verdict, Verdict::Ok);
    let unknown = server.verify(Instant::from_millis(1), &credentials, b"REGISTER", None);
    assert!(matches!(unknown, Verdict::Wrong | Verdict::Malformed));
    assert_eq!(server.nonces(), 0);
}
