//! One shard at which alice calls and is called, and what her rights come to.

use crate::desk::{self, ALICE, Desk, LEFT, Sent, response};
use std::net::SocketAddr;
use std::sync::Arc;
use strowger::base::time::Duration;
use strowger::base::{Instant, Slot};
use strowger::shard::{Input, Mail};
use strowger::sip::digest::{Challenge, Login, answer};
use strowger::sip::wire::{HeaderName, OwnedMessage};
use strowger::tally::{Cell, Note, Permit, Pulse};

pub fn config() -> String {
    desk::config("max_calls = 2", "max_calls = 1\nprefixes = [\"\"]", ALICE)
}

pub struct Place {
    pub desk: Desk,
    pub cell: Arc<Cell>,
    pub pulse: Arc<Pulse>,
}

/// Alice has no right here; another site may lend one.
pub fn place() -> Place {
    place_with(&config())
}

pub fn place_with(config: &str) -> Place {
    let pulse = Arc::new(Pulse::waiting());
    pulse.beat(Instant::ZERO, Duration::from_secs(1 << 20));
    let desk = Desk::kept(config, &pulse);
    let cell = Arc::clone(&desk.directory.accounts[0].cell);
    cell.set_may_borrow(true);
    Place { desk, cell, pulse }
}

impl Place {
    pub fn call(&mut self, branch: &str, user: &str) -> Vec<Sent> {
        self.desk.receive(LEFT, &with_offer(&head("INVITE", branch, user)))
    }

    pub fn cancel(&mut self, branch: &str) -> Vec<Sent> {
        let text = head("CANCEL", branch, "+15550100");
        self.desk.receive(LEFT, &format!("{text}Content-Length: 0\n\n"))
    }

    /// The worker has read all letters that were there at that beat.
    pub fn read_mail(&mut self, beat: Instant) {
        self.desk.shard.has_read_mail(self.desk.now, beat);
    }

    /// The call that asks for a right.
    pub fn asker(&self) -> Slot {
        let asked = self.desk.notes.iter().find_map(|note| match note {
            Note::Borrow { account, call, deadline, .. } => Some((account, *call, *deadline)),
            _ => None,
        });
        let (account, call, deadline) = asked.expect("a call asks");
        assert_eq!((&**account, deadline), ("alice", Instant::from_millis(1_400)));
        call
    }

    pub fn letter(&mut self, call: Slot, permit: Option<Permit>) -> Vec<Sent> {
        let sent = self.desk.input(Input::Mail(Mail::Right { call, permit }));
        sent.into_iter().map(|(to, bytes)| (to, desk::read(bytes))).collect()
    }

    pub fn grant(&self) -> Option<Permit> {
        self.cell.set_usable(self.cell.read().1 + 1);
        self.cell.admit()
    }

    /// Every right that began has ended, and none is in use.
    pub fn assert_balanced(&mut self, begun: usize) {
        self.desk.assert_empty_in_the_end();
        let count = |wanted: fn(&Note) -> bool| self.desk.notes.iter().filter(|note| wanted(note)).count();
        let began = count(|note| matches!(note, Note::Began { .. }));
        let ended = count(|note| matches!(note, Note::Ended { .. }));
        assert_eq!((began, ended, self.cell.read().0), (begun, begun, 0), "{:?}", self.desk.notes);
    }
}

pub fn head(method: &str, branch: &str, user: &str) -> String {
    head_of(method, branch, &format!("sip:{user}@192.0.2.1"))
}

pub fn head_of(method: &str, branch: &str, uri: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\nVia: SIP/2.0/UDP 198.51.100.5:5060;branch=z9hG4bK{branch}\n\
         Max-Forwards: 70\nFrom: <sip:+442071838750@left.example>;tag=l{branch}\nTo: <{uri}>\n\
         Call-ID: {branch}@left.example\nCSeq: 5 {method}\nContact: <sip:l@198.51.100.5:5060>\n"
    )
}

pub fn with_offer(head: &str) -> String {
    desk::with_body(
        head,
        "v=0\no=x 1 1 IN IP4 198.51.100.7\ns=-\nc=IN IP4 198.51.100.7\nt=0 0\nm=audio 4000 RTP/AVP 0\n",
    )
}

pub fn assert_over_limit(sent: &[Sent]) {
    let refusal = response(sent, LEFT, 403).view();
    assert_eq!(refusal.reason(), b"Simultaneous Call Limit Reached");
    assert_eq!(refusal.header(HeaderName::Reason), Some(&b"SIP;cause=403;text=\"limit 5\""[..]));
}

/// Alice's phone, where calls to her ring on and on.
pub const PHONE: &str = "198.51.100.20:5060";

pub fn register(place: &mut Place) {
    let head = |sequence| {
        format!(
            "REGISTER sip:example.com SIP/2.0\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bKr{sequence};rport\nMax-Forwards: 70\n\
             From: <sip:alice@example.com>;tag=1\nTo: <sip:alice@example.com>\nCall-ID: r\nCSeq: {sequence} REGISTER\n\
             Contact: <sip:alice@{PHONE}>\n"
        )
    };
    let sent = place.desk.receive(PHONE, &format!("{}Content-Length: 0\n\n", head(1)));
    let challenge =
        response(&sent, PHONE, 401).view().header(HeaderName::WwwAuthenticate).expect("a challenge").to_vec();
    let challenge = Challenge::parse(&challenge).expect("ours");
    let login = Login::Password { username: b"alice", password: b"secret" };
    let mut answered = Vec::new();
    answer(&challenge, &login, b"REGISTER", b"sip:example.com", b"0a4f", 1, &mut answered);
    let answered = String::from_utf8(answered).expect("text");
    let sent = place.desk.receive(PHONE, &format!("{}Authorization: {answered}\nContent-Length: 0\n\n", head(2)));
    response(&sent, PHONE, 200);
}

/// The phone answers the call; the port at which the caller's audio is awaited.
pub fn answer_call(place: &mut Place, invite: &OwnedMessage) -> SocketAddr {
    let view = invite.view();
    let lines: String = view
        .headers()
        .filter(|header| ["Via", "From", "To", "Call-ID", "CSeq"].contains(&header.name.as_str()))
        .map(|header| {
            let tag = if header.name == HeaderName::To { ";tag=p" } else { "" };
            format!("{}: {}{tag}\n", header.name.as_str(), String::from_utf8_lossy(header.value))
        })
        .collect();
    let body = "v=0\no=y 1 1 IN IP4 198.51.100.20\ns=-\nc=IN IP4 198.51.100.20\nt=0 0\nm=audio 5000 RTP/AVP 0\n";
    let text = format!(
        "SIP/2.0 200 OK\n{lines}Contact: <sip:alice@{PHONE}>\nContent-Type: application/sdp\nContent-Length: {}\n\n{body}",
        body.replace('\n', "\r\n").len()
    );
    let sent = place.desk.receive(PHONE, &text);
    let body = String::from_utf8_lossy(response(&sent, LEFT, 200).view().body()).into_owned();
    let port = body.lines().find_map(|line| line.strip_prefix("m=audio ")?.split(' ').next()).expect("a port");
    format!("192.0.2.1:{port}").parse().expect("an address")
}
