//! Scanners, message by message: who gets no answer any more, who is not read at all, and who never meets either.

mod desk;

use desk::{ALICE, Desk, LEFT, response};
use std::net::SocketAddr;
use std::sync::Arc;
use strowger::base::time::Duration;
use strowger::base::{SocketKey, StreamKey};
use strowger::call::Directory;
use strowger::config;
use strowger::observe::{Counter, DropReason, Suspicion};
use strowger::shard::{Answer, Input, Mail, Query};
use strowger::sip::digest::{Challenge, Login, answer};
use strowger::sip::wire::HeaderName;

const SCANNER: &str = "203.0.113.66:5060";
const PHONE: &str = "203.0.113.77:5060";

fn desk() -> Desk {
    Desk::new(&desk::config("", "", ALICE))
}

/// A request from there; `number` makes it one of its own.
fn request(method: &str, from: &str, number: usize, more: &str) -> String {
    format!(
        "{method} sip:example.com SIP/2.0\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{method}{number};rport\nMax-Forwards: 70\n\
         From: <sip:alice@example.com>;tag={number}\nTo: <sip:alice@example.com>\nCall-ID: {method}{number}@{from}\n\
         CSeq: 1 {method}\nContact: <sip:alice@{from}>\n{more}Content-Length: 0\n\n"
    )
}

/// The statuses that a request is answered with.
fn ask(desk: &mut Desk, method: &str, from: &str, number: usize, more: &str) -> Vec<u16> {
    let sent = desk.receive(from, &request(method, from, number, more));
    let to: SocketAddr = from.parse().unwrap();
    sent.iter().filter(|(at, _)| *at == to).map(|(_, message)| message.view().status()).collect()
}

/// An Authorization line for a nonce that is fetched from there; none where nobody answers.
fn authorization(desk: &mut Desk, asked_from: &str, number: usize, password: &[u8]) -> Option<String> {
    let sent = desk.receive(asked_from, &request("REGISTER", asked_from, number, ""));
    let (_, challenge) = sent.first()?;
    let challenge = Challenge::parse(challenge.view().header(HeaderName::WwwAuthenticate)?).ok()?;
    let mut line = b"Authorization: ".to_vec();
    let login = Login::Password { username: b"alice", password };
    answer(&challenge, &login, b"REGISTER", b"sip:example.com", b"cafe", 1, &mut line);
    Some(String::from_utf8(line).ok()? + "\n")
}

/// `source state reason` of all whom something is done about.
fn standings(desk: &mut Desk) -> Vec<String> {
    let (reply, answers) = crossbeam::channel::bounded(1);
    desk.input(Input::Mail(Mail::Query { query: Query::Blocked { limit: 10 }, reply }));
    let Ok(Answer::Blocked(rows)) = answers.try_recv() else { panic!("no answer") };
    rows.iter().map(|row| format!("{} {} {}", row.source, row.state, row.reason)).collect()
}

/// Guesses from `from` with nonces that went to `nonces_of`, until nothing is answered; how many were.
fn guess(desk: &mut Desk, from: &str, nonces_of: &str) -> usize {
    (0..30)
        .take_while(|number| {
            let line = authorization(desk, nonces_of, 1_000 + number, b"guess");
            line.is_some_and(|line| !ask(desk, "REGISTER", from, 2_000 + number, &line).is_empty())
        })
        .count()
}

#[test]
fn a_sweep_is_not_answered_for_long() {
    let mut desk = desk();
    let answered = (0..300).filter(|&number| !ask(&mut desk, "OPTIONS", SCANNER, number, "").is_empty()).count();
    assert_eq!(answered, 100);
    assert_eq!(standings(&mut desk), ["203.0.113.66 muted options"]);
    assert_eq!(desk.counters.drops(DropReason::SourceMuted), 200);
    assert_eq!(desk.counters.suspicions(Suspicion::Options), 100);
    assert_eq!(ask(&mut desk, "OPTIONS", PHONE, 1, ""), [200], "others are");
    desk.wait(Duration::from_secs(601));
    assert_eq!(ask(&mut desk, "OPTIONS", SCANNER, 301, ""), [200], "and so is it in the end");
}

#[test]
fn who_names_itself_a_scanner_is_answered_once() {
    let mut desk = desk();
    let agent = "User-Agent: friendly-scanner\n";
    let answered = (0..9).filter(|&number| !ask(&mut desk, "OPTIONS", SCANNER, number, agent).is_empty()).count();
    assert_eq!(answered, 2);
}

#[test]
fn who_guesses_passwords_is_not_read_any_more() {
    let mut desk = desk();
    for number in 0..10 {
        let line = authorization(&mut desk, SCANNER, number, b"guess").expect("a challenge");
        assert_eq!(ask(&mut desk, "REGISTER", SCANNER, 100 + number, &line), [401], "{number}");
    }
    assert_eq!(standings(&mut desk), ["203.0.113.66 blocked wrong_digest"]);
    assert_eq!(desk.counters.get(Counter::SourcesBlocked), 1);
    for (number, method) in ["OPTIONS", "REGISTER", "INVITE", "ACK"].into_iter().enumerate() {
        assert_eq!(ask(&mut desk, method, SCANNER, number, ""), [0; 0], "{method}");
    }
    assert_eq!(desk.counters.drops(DropReason::SourceBlocked), 4);
    let remote = "203.0.113.66:41000".parse().unwrap();
    let stream = StreamKey(StreamKey::ACCEPTED | 1);
    desk.input(Input::StreamAccepted { listener: SocketKey(0), stream, remote });
    assert_eq!(desk.counters.drops(DropReason::SourceBlocked), 5, "nor by a connection");
    desk.wait(Duration::from_secs(601));
    assert_eq!(ask(&mut desk, "REGISTER", SCANNER, 500, ""), [401]);
}

#[test]
fn an_operator_ends_a_block() {
    let mut desk = desk();
    guess(&mut desk, SCANNER, SCANNER);
    let mut unblock = |address: &str| {
        let (reply, answers) = crossbeam::channel::bounded(1);
        let source = strowger::base::Source::parse(address).unwrap();
        desk.input(Input::Mail(Mail::Unblock { source, reply }));
        matches!(answers.try_recv(), Ok(Answer::Unblock { found: true }))
    };
    assert!(!unblock("203.0.113.99"));
    assert!(unblock("203.0.113.66"));
    assert!(!unblock("203.0.113.66"), "once is enough");
    assert_eq!(ask(&mut desk, "REGISTER", SCANNER, 500, ""), [401]);
}

#[test]
fn a_forger_with_nonces_of_its_own_has_nobody_blocked() {
    let mut desk = desk();
    let trunk = LEFT;
    for number in 0..40 {
        // The trunk's address is spared, so that the forger may fetch as many nonces as it likes.
        let line = authorization(&mut desk, trunk, number, b"guess").expect("a challenge");
        ask(&mut desk, "REGISTER", PHONE, 100 + number, &line);
    }
    assert_eq!(standings(&mut desk), ["203.0.113.77 muted wrong_digest"], "muted, which costs a phone little");
    // The phone itself keeps trying; once it is challenged it shows its password, and nothing is left of it all.
    let challenged = (0..200).find(|&number| ask(&mut desk, "REGISTER", PHONE, 1_000 + number, "") == [401]);
    assert!(challenged.is_some_and(|number| number < 60), "{challenged:?}");
    let line =
        (2_000..2_200).find_map(|number| authorization(&mut desk, PHONE, number, b"secret")).expect("a challenge");
    assert_eq!(ask(&mut desk, "REGISTER", PHONE, 5_000, &line), [200], "its credentials are heard at once");
    assert_eq!(standings(&mut desk), [""; 0]);
    for number in 0..300 {
        ask(&mut desk, "OPTIONS", PHONE, 6_000 + number, "User-Agent: friendly-scanner\n");
    }
    assert_eq!(standings(&mut desk), [""; 0], "it is registered: nothing in its name counts");
}

#[test]
fn trunks_and_whom_the_configuration_allows_may_do_as_they_like() {
    let mut desk = Desk::new(&desk::config("", "", &format!("{ALICE}[guard]\nallow = [\"203.0.113.77/32\"]\n")));
    for from in [LEFT, PHONE] {
        guess(&mut desk, from, from);
        let answered = (0..300).filter(|&number| !ask(&mut desk, "OPTIONS", from, number, "").is_empty()).count();
        assert_eq!(answered, 300, "{from}");
    }
    assert_eq!(standings(&mut desk), [""; 0]);
    let mut off = Desk::new(&desk::config("", "", &format!("{ALICE}[guard]\nenabled = false\n")));
    guess(&mut off, SCANNER, SCANNER);
    assert_eq!(standings(&mut off), [""; 0]);
}

#[test]
fn a_reload_lifts_what_the_new_file_spares() {
    let mut desk = desk();
    guess(&mut desk, SCANNER, SCANNER);
    assert_eq!(standings(&mut desk), ["203.0.113.66 blocked wrong_digest"]);
    let text = desk::config("", "", &format!("{ALICE}[guard]\nallow = [\"203.0.113.64/26\"]\n"));
    let config = config::read(&text, "test.toml").config.expect("a configuration");
    let directory = Directory::new(&config, Some(&desk.directory));
    desk.input(Input::Mail(Mail::Directory(Arc::new(directory))));
    assert_eq!(standings(&mut desk), [""; 0]);
    assert_eq!(ask(&mut desk, "REGISTER", SCANNER, 900, ""), [401]);
}

#[test]
fn a_connection_is_proof_and_is_closed() {
    let mut desk = desk();
    let stream = StreamKey(StreamKey::ACCEPTED | 7);
    let remote = "203.0.113.66:41000".parse().unwrap();
    desk.input(Input::StreamAccepted { listener: SocketKey(0), stream, remote });
    let before = desk.streamed.len();
    for number in 0..200 {
        let text = request("OPTIONS", SCANNER, number, "").replace('\n', "\r\n");
        desk.input(Input::StreamData { stream, bytes: text.as_bytes() });
    }
    assert_eq!(desk.streamed.len() - before, 99, "the hundredth finds it closed");
    assert_eq!(standings(&mut desk), ["203.0.113.66 blocked options"]);
}

#[test]
fn a_muted_source_may_call_for_help() {
    let mut desk = desk();
    for number in 0..300 {
        ask(&mut desk, "OPTIONS", SCANNER, number, "");
    }
    let text = request("INVITE", SCANNER, 900, "").replace("INVITE sip:example.com", "INVITE sip:112@example.com");
    let sent = desk.receive(SCANNER, &text);
    response(&sent, SCANNER, 407);
}
