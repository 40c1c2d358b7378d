//! What `Allow` says is so (RFC 3261 §20.5): a method that it names is never answered 405 or 501, any other is, and then
//! with `Allow`.

mod desk;

use desk::Desk;
use strowger::sip::wire::HeaderName;

const CONFIG: &str = r#"
[sip]
domains = ["example.com"]
[[sip.listen]]
address = "192.0.2.1:5060"
transport = "udp"
[[trunk]]
name = "left"
address = "198.51.100.5:5060"
"#;
const LEFT: &str = "198.51.100.5:5060";
/// Only mean something within a dialog or a subscription: 481 without one.
const WITHIN: [&str; 4] = ["PRACK", "UPDATE", "INFO", "NOTIFY"];

fn answer(desk: &mut Desk, method: &str) -> (u16, String) {
    let text = format!(
        "{method} sip:example.com SIP/2.0\nVia: SIP/2.0/UDP 198.51.100.5:5060;branch=z9hG4bK{method}\nMax-Forwards: 70\n\
         From: <sip:l@left.example>;tag=l\nTo: <sip:example.com>\nCall-ID: {method}\nCSeq: 5 {method}\n\
         Contact: <sip:l@198.51.100.5:5060>\nContent-Length: 0\n\n"
    );
    let sent = desk.receive(LEFT, &text);
    let view = sent.iter().map(|(_, message)| message.view()).find(|view| view.status() >= 200).expect("an answer");
    let allow = view.header(HeaderName::Allow).unwrap_or_default();
    (view.status(), String::from_utf8_lossy(allow).into_owned())
}

#[test]
fn what_is_allowed_is_served_and_nothing_else() {
    let mut desk = Desk::new(CONFIG);
    let (status, allow) = answer(&mut desk, "OPTIONS");
    assert_eq!(status, 200);
    let allowed: Vec<&str> = allow.split(", ").collect();
    assert!(["INVITE", "ACK", "CANCEL", "BYE", "OPTIONS"].iter().all(|method| allowed.contains(method)), "{allow}");
    for method in ["INVITE", "BYE", "REGISTER", "CANCEL"].into_iter().chain(WITHIN) {
        let (status, _) = answer(&mut desk, method);
        assert!(!matches!(status, 405 | 501), "{method} {status}");
        assert!(!WITHIN.contains(&method) || status == 481, "{method} {status}");
        assert!(allowed.contains(&method) || WITHIN.contains(&method), "{method} {status}");
    }
    for (method, expected) in [("REFER", 405), ("SUBSCRIBE", 405), ("MESSAGE", 405), ("PUBLISH", 405), ("FROB", 501)] {
        assert!(!allowed.contains(&method), "{method}");
        assert_eq!(answer(&mut desk, method), (expected, allow.clone()), "{method}");
    }
}
