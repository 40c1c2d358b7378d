//! A shard on a desk: no network, no threads, time by hand. What it is given and what it sends are whole messages.
#![allow(dead_code, reason = "each test uses what it needs")]

use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use strowger::base::time::Duration;
use strowger::base::{Forward, Instant, Random, SocketKey, StreamKey};
use strowger::call::Directory;
use strowger::config::{self, Config};
use strowger::observe::{CallRecord, Counters, MediaPath};
use strowger::shard::{Input, Output, Shard, ShardOptions, Steering};
use strowger::sip::wire::{Framing, OwnedMessage};
use strowger::tally::{Note, Pulse};

/// Two trunks and where they are.
pub const LEFT: &str = "198.51.100.5:5060";
pub const RIGHT: &str = "203.0.113.9:5060";
pub const TRUNKS: [&str; 2] = [
    "[[trunk]]\nname = \"left\"\naddress = \"198.51.100.5:5060\"\n",
    "[[trunk]]\nname = \"right\"\naddress = \"203.0.113.9:5060\"\n",
];
/// An account and its phone's password.
pub const ALICE: &str = "[[account]]\nname = \"alice\"\nnumbers = [\"+15550100\"]\nmax_calls = 5\n\
    [[account.device]]\nusername = \"alice\"\npassword = \"secret\"\n";

/// A listener at 192.0.2.1 for UDP, its media ports, the two trunks with these lines of their own, and `more`.
pub fn config(left: &str, right: &str, more: &str) -> String {
    let [left_trunk, right_trunk] = TRUNKS;
    format!(
        "[sip]\ndomains = [\"example.com\"]\n[[sip.listen]]\naddress = \"192.0.2.1:5060\"\ntransport = \"udp\"\n\
         [media]\naddress = \"192.0.2.1\"\nport_min = 30000\nport_max = 30099\n\
         {left_trunk}{left}\n{right_trunk}{right}\n{more}"
    )
}

/// One shard and its clock.
pub struct Desk {
    pub shard: Shard,
    pub now: Instant,
    pub counters: Arc<Counters>,
    /// Finished calls.
    pub records: Vec<CallRecord>,
    /// What the keeper of rights was told.
    pub notes: Vec<Note>,
    pub directory: Arc<Directory>,
    /// Octets sent on connections.
    pub streamed: Vec<(StreamKey, Bytes)>,
    /// Media sockets asked for.
    pub sockets: Vec<(SocketAddr, SocketKey)>,
}

/// A message that was sent, and where to.
pub type Sent = (SocketAddr, OwnedMessage);

impl Desk {
    /// A desk with this configuration.
    pub fn new(text: &str) -> Self {
        Self::with(text, |config| Directory::new(config, None))
    }

    /// A desk where a keeper decides with other sites.
    pub fn kept(text: &str, pulse: &Arc<Pulse>) -> Self {
        Self::with(text, |config| Directory::kept(config, None, pulse))
    }

    fn with(text: &str, directory: impl FnOnce(&Config) -> Directory) -> Self {
        let outcome = config::read(text, "test.toml");
        let config = outcome.config.unwrap_or_else(|| panic!("{:?}", outcome.errors));
        let directory = Arc::new(directory(&config));
        let steering = Steering::new(1, [1, 2, 3, 4]);
        let counters = Arc::new(Counters::new());
        let options =
            ShardOptions::new(&config, Arc::clone(&directory), Arc::clone(&counters), 0, steering, MediaPath::Epoll);
        let now = Instant::from_millis(1000);
        let shard = Shard::new(options, Random::from_u64(7), now);
        Self {
            shard,
            now,
            counters,
            records: Vec::new(),
            notes: Vec::new(),
            directory,
            streamed: Vec::new(),
            sockets: Vec::new(),
        }
    }

    /// Octets as a datagram; what was sent, unread.
    pub fn datagram(&mut self, socket: u32, from: &str, bytes: &[u8]) -> (Option<Forward>, Vec<(SocketAddr, Bytes)>) {
        let from = from.parse().expect("an address");
        let mut bytes = bytes.to_vec();
        let forward =
            self.shard.handle(self.now, Input::Datagram { socket: SocketKey(socket), from, bytes: &mut bytes });
        (forward, self.drain())
    }

    /// Any other input; what was sent, unread.
    pub fn input(&mut self, input: Input<'_>) -> Vec<(SocketAddr, Bytes)> {
        self.shard.handle(self.now, input);
        self.drain()
    }

    /// A message with `\n` for CRLF; what was sent, read.
    pub fn receive(&mut self, from: &str, text: &str) -> Vec<Sent> {
        let (_, sent) = self.datagram(0, from, text.replace('\n', "\r\n").as_bytes());
        sent.into_iter().map(|(to, bytes)| (to, read(bytes))).collect()
    }

    /// Lets time pass; what was sent, read.
    pub fn wait(&mut self, duration: Duration) -> Vec<Sent> {
        let until = self.now + duration;
        let mut sent = Vec::new();
        while let Some(deadline) = self.shard.next_deadline().filter(|deadline| *deadline <= until) {
            self.now = deadline.max(self.now);
            self.shard.handle_timeout(self.now);
            sent.extend(self.drain().into_iter().map(|(to, bytes)| (to, read(bytes))));
        }
        self.now = until;
        sent
    }

    fn drain(&mut self) -> Vec<(SocketAddr, Bytes)> {
        let mut sent = Vec::new();
        while let Some(output) = self.shard.poll_output() {
            match output {
                Output::Send { to, bytes, .. } => sent.push((to, bytes)),
                Output::StreamSend { stream, bytes } => self.streamed.push((stream, bytes)),
                Output::Note(note) => self.notes.push(note),
                Output::OpenUdp { socket, bind, .. } => self.sockets.push((bind, socket)),
                Output::Record(record) => self.records.push(*record),
                _ => {}
            }
        }
        sent
    }

    /// Waits until every timer has fired, and asserts that nothing is held any more.
    pub fn assert_empty_in_the_end(&mut self) {
        self.wait(Duration::from_secs(600));
        let audit = self.shard.audit();
        assert_eq!(
            (audit.calls, audit.transactions, audit.timers, audit.streams, audit.ports),
            (0, 0, 0, 0, 0),
            "{audit:?}"
        );
    }
}

/// Whatever we emit, we read.
pub fn read(bytes: Bytes) -> OwnedMessage {
    OwnedMessage::parse(bytes.clone(), Framing::Datagram)
        .unwrap_or_else(|error| panic!("{error}:\n{}", String::from_utf8_lossy(&bytes)))
}

/// The request that was sent there.
pub fn request<'a>(sent: &'a [Sent], to: &str, method: &str) -> &'a OwnedMessage {
    let to: SocketAddr = to.parse().expect("an address");
    let found = sent.iter().find(|(at, message)| {
        *at == to && message.view().is_request() && message.view().method_bytes() == method.as_bytes()
    });
    &found.unwrap_or_else(|| panic!("no {method} to {to} in {sent:#?}")).1
}

/// The response that was sent there.
pub fn response<'a>(sent: &'a [Sent], to: &str, status: u16) -> &'a OwnedMessage {
    let to: SocketAddr = to.parse().expect("an address");
    let found = sent
        .iter()
        .find(|(at, message)| *at == to && !message.view().is_request() && message.view().status() == status);
    &found.unwrap_or_else(|| panic!("no {status} to {to} in {sent:#?}")).1
}

/// A head with `\n` for CRLF, and a description behind it.
pub fn with_body(head: &str, body: &str) -> String {
    let length = body.replace('\n', "\r\n").len();
    format!("{head}Content-Type: application/sdp\nContent-Length: {length}\n\n{body}")
}

/// A response to a request that the shard has sent, with these further header lines and perhaps a description.
pub fn respond(to: &OwnedMessage, status: &str, tag: &str, more: &str, body: Option<&str>) -> String {
    let view = to.view();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let to_value = match view.to().tag() {
        Some(_) => text(view.to().raw()),
        None => format!("{};tag={tag}", text(view.to().raw())),
    };
    let cseq = view.cseq();
    let head = format!(
        "SIP/2.0 {status}\nVia: {}\nFrom: {}\nTo: {to_value}\nCall-ID: {}\nCSeq: {} {}\nContact: <sip:r@203.0.113.9:5060>\n{more}",
        text(view.via().raw()),
        text(view.from().raw()),
        text(view.call_id()),
        cseq.0,
        cseq.1.as_str()
    );
    match body {
        Some(body) => with_body(&head, body),
        None => format!("{head}Content-Length: 0\n\n"),
    }
}

/// The head of a response to a request, written without the shard's own writers; its body's lines are missing.
pub fn answer_head(request: &[u8], status: u16) -> String {
    let text = String::from_utf8_lossy(request);
    let mut out = format!("SIP/2.0 {status} Whatever\r\n");
    for line in text.lines().skip(1).take_while(|line| !line.is_empty()) {
        if ["Via:", "From:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)) {
            out += &format!("{line}\r\n");
        } else if line.starts_with("To:") {
            out += &format!("{line}{}\r\n", if line.contains("tag=") { "" } else { ";tag=r" });
        }
    }
    out + "Contact: <sip:+15550100@203.0.113.9>\r\n"
}
