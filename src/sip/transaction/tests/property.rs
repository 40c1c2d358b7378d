//! Any order of events: the tables, lists and timers agree after each, everything ends, and what is acknowledged is not
//! sent again.

use super::*;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

#[derive(Clone, Debug)]
enum Step {
    Request { method: usize, branch: u8, cseq: u32, reliable: bool, dialog: bool },
    Respond { nth: usize, status: u16 },
    AckReceived { nth: usize },
    Send { method: usize, branch: u8, reliable: bool },
    Response { method: usize, branch: u8, status: u16 },
    Cancel { nth: usize },
    ServerError { nth: usize },
    PathError { reliable: bool },
    Pass { millis: u64 },
}

const METHODS: [&str; 6] = ["INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "FROB"];

fn status() -> impl Strategy<Value = u16> {
    prop_oneof![Just(100), Just(180), Just(200), Just(408), Just(486), 100u16..700]
}

fn step() -> impl Strategy<Value = Step> {
    let method = 0..METHODS.len();
    prop_oneof![
        4 => (method.clone(), 0u8..4, 1u32..3, any::<bool>(), any::<bool>()).prop_map(
            |(method, branch, cseq, reliable, dialog)| Step::Request { method, branch, cseq, reliable, dialog }
        ),
        4 => (any::<usize>(), status()).prop_map(|(nth, status)| Step::Respond { nth, status }),
        1 => any::<usize>().prop_map(|nth| Step::AckReceived { nth }),
        3 => (method.clone(), 0u8..4, any::<bool>())
            .prop_map(|(method, branch, reliable)| Step::Send { method, branch, reliable }),
        4 => (method, 0u8..4, status())
            .prop_map(|(method, branch, status)| Step::Response { method, branch, status }),
        1 => any::<usize>().prop_map(|nth| Step::Cancel { nth }),
        1 => any::<usize>().prop_map(|nth| Step::ServerError { nth }),
        1 => any::<bool>().prop_map(|reliable| Step::PathError { reliable }),
        4 => prop_oneof![0u64..600, 0u64..40_000].prop_map(|millis| Step::Pass { millis }),
    ]
}

/// The rig, and what must hold of it.
struct World {
    rig: Rig,
    servers: Vec<ServerKey>,
    clients: Vec<ClientKey>,
    alive_servers: HashSet<ServerKey>,
    alive_clients: HashSet<ClientKey>,
    /// Which server transaction a response's bytes belong to.
    written: HashMap<String, ServerKey>,
    acknowledged: HashSet<ServerKey>,
}

impl World {
    fn new() -> Self {
        Self {
            rig: Rig::with(Limits { clients_max: 6, servers_max: 6, reserve: 0, transmits_max: 64 }),
            servers: Vec::new(),
            clients: Vec::new(),
            alive_servers: HashSet::new(),
            alive_clients: HashSet::new(),
            written: HashMap::new(),
            acknowledged: HashSet::new(),
        }
    }

    fn server(&self, nth: usize) -> Option<ServerKey> {
        (!self.servers.is_empty()).then(|| self.servers[nth % self.servers.len()])
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Request { method, branch, cseq, reliable, dialog } => {
                let tag = if dialog { ";tag=to" } else { "" };
                let text = full_request(METHODS[method], &format!("z9hG4bK{branch}"), tag, cseq);
                self.came(if reliable { TCP } else { UDP }, &text);
            }
            Step::Respond { nth, status } => {
                if let Some(server) = self.server(nth) {
                    let text = format!("{status}#{}", self.written.len());
                    self.written.insert(text.clone(), server);
                    self.rig.layer.respond(self.rig.now, server, status, Bytes::from(text));
                }
            }
            Step::AckReceived { nth } => {
                if let Some(server) = self.server(nth) {
                    self.rig.layer.ack_received(server);
                }
            }
            Step::Send { method, branch, reliable } => {
                let (method, branch) = (Method::from_token(METHODS[method].as_bytes()), format!("z9hG4bK{branch}"));
                let bytes = Bytes::from(request_text("INVITE", &branch, ""));
                let flow = flow(if reliable { TCP } else { UDP });
                if let Ok(client) = self.rig.layer.request(self.rig.now, flow, method, branch.as_bytes(), bytes, 1) {
                    self.clients.push(client);
                    self.alive_clients.insert(client);
                }
            }
            Step::Response { method, branch, status } => {
                self.rig.response(&response_text(status, METHODS[method], &format!("z9hG4bK{branch}")));
            }
            Step::Cancel { nth } => {
                if !self.clients.is_empty() {
                    let client = self.clients[nth % self.clients.len()];
                    self.rig.layer.cancel(self.rig.now, client, Bytes::from_static(b"CANCEL"));
                }
            }
            Step::ServerError { nth } => {
                if let Some(server) = self.server(nth) {
                    self.rig.layer.handle_server_error(self.rig.now, server);
                }
            }
            Step::PathError { reliable } => {
                let path = super::super::Path::from(&flow(if reliable { TCP } else { UDP }));
                self.rig.layer.handle_transport_error(self.rig.now, path);
            }
            Step::Pass { millis } => {
                self.rig.now += Duration::from_millis(millis);
                self.rig.layer.handle_timeout(self.rig.now);
            }
        }
    }

    fn came(&mut self, transport: Transport, text: &str) {
        match self.rig.request(transport, text) {
            Incoming::New(server) | Incoming::Merged(server) | Incoming::Cancel { cancel: server, .. } => {
                self.servers.push(server);
                self.alive_servers.insert(server);
            }
            Incoming::AckToFailure(server) => drop(self.acknowledged.insert(server)),
            Incoming::AckToSuccess { server: Some(server) } => {
                self.rig.layer.ack_received(server);
                self.acknowledged.insert(server);
            }
            Incoming::AckToSuccess { server: None } | Incoming::Retransmission | Incoming::Full => {}
        }
    }

    /// Drains, and checks what may come out.
    fn drain(&mut self) -> Result<(), TestCaseError> {
        self.rig.layer.check().map_err(TestCaseError::fail)?;
        while let Some(transmit) = self.rig.layer.poll_transmit() {
            if let Some(server) = self.written.get(&String::from_utf8(transmit.bytes.to_vec()).unwrap()) {
                prop_assert!(!self.acknowledged.contains(server), "sent after its ACK");
            }
        }
        while let Some(event) = self.rig.layer.poll_event() {
            match event {
                Event::ClientDone { client, .. } => prop_assert!(self.alive_clients.remove(&client), "once each"),
                Event::Timeout { client, .. } | Event::TransportError { client, .. } => {
                    prop_assert!(self.alive_clients.contains(&client), "before it is over");
                }
                Event::ServerDone { server, unanswered_ack, .. } => {
                    prop_assert!(self.alive_servers.remove(&server), "once each");
                    prop_assert!(!(unanswered_ack && self.acknowledged.contains(&server)));
                }
                Event::TryingDue { server, .. } | Event::ResponseLost { server, .. } => {
                    prop_assert!(self.alive_servers.contains(&server), "before it is over");
                }
            }
        }
        let counts = self.rig.layer.counts();
        prop_assert_eq!(counts.servers, self.alive_servers.len());
        prop_assert!(counts.clients >= self.alive_clients.len(), "besides them only CANCELs");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn everything_ends_and_nothing_is_sent_after_its_ack(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
            world.drain()?;
        }
        for server in world.servers.clone() {
            world.rig.layer.respond(world.rig.now, server, 500, Bytes::from_static(b"500"));
        }
        for client in world.clients.clone() {
            world.rig.layer.cancel(world.rig.now, client, Bytes::from_static(b"CANCEL"));
        }
        world.drain()?;
        for _ in 0..40 {
            world.rig.now += Duration::from_secs(4);
            while world.rig.layer.next_deadline().is_some_and(|deadline| deadline <= world.rig.now) {
                world.rig.layer.handle_timeout(world.rig.now);
                world.drain()?;
            }
        }
        prop_assert!(world.rig.layer.is_empty(), "{:?}", world.rig.layer.counts());
        prop_assert!(world.alive_servers.is_empty() && world.alive_clients.is_empty());
        prop_assert_eq!(world.rig.layer.counts().timers, 0);
    }
}
