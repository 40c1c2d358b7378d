//! A registration that is challenged: REGISTER, 401, REGISTER, 200, of a thousand users in turn.

use super::desk::{Desk, EMPTY, field};
use std::fmt::Write;
use std::time::Duration;
use strowger::sip::digest::{Challenge, Login, answer};
use strowger::sip::wire::HeaderName;

pub const STEPS: [&str; 2] = ["REGISTER", "REGISTER again"];
const USERS: u32 = 1_000;
const SPACING: Duration = Duration::from_millis(1);
const PHONE: &str = "198.51.100.5:5060";
const URI: &str = "sip:example.com";

/// A shard that knows the users.
pub fn desk() -> Desk {
    let mut config = "[shards]\ncount = 1\n[sip]\ndomains = [\"example.com\"]\n\
        [[sip.listen]]\naddress = \"192.0.2.1:5060\"\ntransport = \"udp\"\n[media]\naddress = \"192.0.2.1\"\n"
        .to_owned();
    for user in 0..USERS {
        let device = format!("[[account.device]]\nusername = \"user{user}\"\npassword = \"eleven\"\n");
        write!(config, "[[account]]\nname = \"user{user}\"\n{device}").expect("a string takes everything");
    }
    Desk::new(&config, &STEPS)
}

fn register(user: u32, number: u32, cseq: u32, authorization: &str) -> Vec<u8> {
    format!(
        "REGISTER {URI} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bK{cseq}{number:08x};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:user{user}@example.com>;tag=from{number:08x}\r\nTo: <sip:user{user}@example.com>\r\n\
         Call-ID: 8f3c2{user:08x}@phone.example\r\nCSeq: {} REGISTER\r\nContact: <sip:user{user}@{PHONE}>\r\n\
         Expires: 3600\r\nUser-Agent: bench/1.0\r\n{authorization}{EMPTY}",
        2 * number + cseq
    )
    .into_bytes()
}

/// One after the other, each of the next user.
pub fn registrations(desk: &mut Desk, numbers: std::ops::Range<u32>) {
    for number in numbers {
        desk.advance(SPACING);
        let user = number % USERS;
        let challenged = desk.exchange(0, PHONE, register(user, number, 0, ""), PHONE);
        let offered =
            field(&challenged, |message| message.header(HeaderName::WwwAuthenticate).expect("a challenge").to_vec());
        let challenge = Challenge::parse(offered.as_bytes()).expect("a challenge of ours");
        let name = format!("user{user}");
        let login = Login::Password { username: name.as_bytes(), password: b"eleven" };
        let mut credentials = b"Authorization: ".to_vec();
        answer(&challenge, &login, b"REGISTER", URI.as_bytes(), b"0a4f113b", 1, &mut credentials);
        let credentials = String::from_utf8(credentials).expect("text") + "\r\n";
        let accepted = desk.exchange(1, PHONE, register(user, number, 1, &credentials), PHONE);
        assert!(accepted.starts_with(b"SIP/2.0 200"), "{}", String::from_utf8_lossy(&accepted));
    }
}
