//! The layer as a whole: conversations with a clock in hand.

mod client;
mod property;
mod server;

use super::{ClientKey, Event, Incoming, Layer, Limits, ServerKey, Timers};
use crate::base::id::Token;
use crate::base::time::Duration;
use crate::base::{Flow, Instant, Random, ShardId, Slot, SocketKey, StreamKey, Transport};
use crate::sip::wire::{Framing, Index, Method, parse};
use bytes::Bytes;

/// One layer, its clock, and what has come out.
struct Rig {
    layer: Layer<u32>,
    now: Instant,
}

fn flow(transport: Transport) -> Flow {
    Flow {
        transport,
        shard: ShardId(0),
        socket: SocketKey(1),
        stream: transport.is_reliable().then_some(StreamKey(7)),
        remote: ([192, 0, 2, 1], 5060).into(),
    }
}

const UDP: Transport = Transport::Udp;
const TCP: Transport = Transport::Tcp;

impl Rig {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let now = Instant::from_millis(1_000);
        Self { layer: Layer::new(Timers::default(), limits, Random::from_u64(1), now), now }
    }

    /// Takes in a request.
    fn request(&mut self, transport: Transport, text: &str) -> Incoming {
        let mut index = Index::new();
        let message = parse(text.as_bytes(), &mut index, Framing::Datagram).unwrap();
        self.layer.handle_request(self.now, flow(transport), &message)
    }

    fn new_request(&mut self, transport: Transport, text: &str) -> ServerKey {
        match self.request(transport, text) {
            Incoming::New(server) => server,
            other => panic!("{other:?}"),
        }
    }

    /// Takes in a response; the user's handle if it is for the user.
    fn response(&mut self, text: &str) -> Option<u32> {
        let mut index = Index::new();
        let message = parse(text.as_bytes(), &mut index, Framing::Datagram).unwrap();
        self.layer.handle_response(self.now, &message).map(|(_, user)| user)
    }

    fn send(&mut self, transport: Transport, method: Method, branch: &str, user: u32) -> ClientKey {
        let bytes = Bytes::from(request_text(method.as_str(), branch, ""));
        self.layer.request(self.now, flow(transport), method, branch.as_bytes(), bytes, user).unwrap()
    }

    fn respond(&mut self, server: ServerKey, status: u16) -> bool {
        self.layer.respond(self.now, server, status, Bytes::from(format!("{status}")))
    }

    /// The first words of all messages sent since the last look, in order.
    fn sent(&mut self) -> Vec<String> {
        self.layer.check().unwrap();
        let mut out = Vec::new();
        while let Some(transmit) = self.layer.poll_transmit() {
            let text = String::from_utf8(transmit.bytes.to_vec()).unwrap();
            out.push(text.split(' ').next().unwrap().to_string());
        }
        out
    }

    fn events(&mut self) -> Vec<Event<u32>> {
        std::iter::from_fn(|| self.layer.poll_event()).collect()
    }

    /// Lets time pass until `until` milliseconds after the start; what timers sent, and how many milliseconds after the
    /// start.
    fn pass(&mut self, until: u64) -> Vec<(u64, String)> {
        let until = Instant::from_millis(1_000 + until);
        self.sent();
        let mut out = Vec::new();
        while let Some(deadline) = self.layer.next_deadline().filter(|deadline| *deadline <= until) {
            self.now = self.now.max(deadline);
            self.layer.handle_timeout(self.now);
            let at = self.now.since(Instant::from_millis(1_000)).as_millis() as u64;
            out.extend(self.sent().into_iter().map(|word| (at, word)));
        }
        self.now = until;
        out
    }

    /// As [`pass`](Self::pass), but only when.
    fn times(&mut self, until: u64) -> Vec<u64> {
        self.pass(until).into_iter().map(|(at, _)| at).collect()
    }
}

fn request_text(method: &str, branch: &str, to_tag: &str) -> String {
    full_request(method, branch, to_tag, 1)
}

fn full_request(method: &str, branch: &str, to_tag: &str, cseq: u32) -> String {
    format!(
        "{method} sip:bob@b.example SIP/2.0\r\nVia: SIP/2.0/UDP a.example:5060;branch={branch}\r\n\
         From: <sip:a@a.example>;tag=from\r\nTo: <sip:bob@b.example>{to_tag}\r\nCall-ID: call@a.example\r\n\
         CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContact: <sip:a@a.example>\r\nContent-Length: 0\r\n\r\n"
    )
}

fn response_text(status: u16, method: &str, branch: &str) -> String {
    format!(
        "SIP/2.0 {status} X\r\nVia: SIP/2.0/UDP a.example:5060;branch={branch}\r\nFrom: <sip:a@a.example>;tag=from\r\n\
         To: <sip:bob@b.example>;tag=to\r\nCall-ID: call@a.example\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    )
}

#[test]
fn transactions_take_little_memory() {
    let client = size_of::<super::client::Client<Slot>>();
    let server = size_of::<super::server::Server<Slot>>();
    assert!(client <= 216 && server <= 216, "{client} {server}");
}

#[test]
fn branches_are_our_own() {
    let mut rig = Rig::new();
    let token = Token { shard: ShardId(2), slot: Slot { index: 1, generation: 0 }, salt: 3 };
    let branch = rig.layer.new_branch(token);
    assert_eq!(super::owner_of_branch(&branch), Some(token));
    assert!(rig.layer.is_empty() && rig.layer.next_deadline().is_none());
    rig.now += Duration::from_secs(1);
    rig.layer.handle_timeout(rig.now);
}
