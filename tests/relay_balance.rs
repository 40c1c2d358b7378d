//! Whatever is opened, told, sent, failed and closed, in whatever order: every packet is forwarded or dropped for one
//! reason, every port is free, in use or failed, and an empty relay holds nothing.

use proptest::prelude::*;
use std::net::SocketAddr;
use strowger::base::time::Duration;
use strowger::base::{Direction, Instant, Random, Side, SocketKey};
use strowger::media::rtp::Header;
use strowger::media::{Relay, RelayConfig, RemoteOptions, SideOptions, StreamKind, StreamOptions, StreamSlot, Verdict};

#[derive(Clone, Debug)]
enum Step {
    Open { kind: u8, v6: bool },
    Remote { stream: usize, b: bool, host: Option<u8>, nat: bool, direction: u8, mux: bool },
    Answer { stream: usize },
    Send { socket: u32, host: u8, port: u16, shape: u8, sequence: u16 },
    Wait { millis: u64 },
    Fail { socket: u32 },
    Close { stream: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0u8..3, any::<bool>()).prop_map(|(kind, v6)| Step::Open { kind, v6 }),
        4 => (0usize..6, any::<bool>(), prop::option::of(1u8..4), any::<bool>(), 0u8..4, any::<bool>()).prop_map(
            |(stream, b, host, nat, direction, mux)| Step::Remote { stream, b, host, nat, direction, mux }
        ),
        1 => (0usize..6).prop_map(|stream| Step::Answer { stream }),
        20 => (0u32..40, 1u8..4, 0u16..4, 0u8..5, 0u16..40).prop_map(
            |(socket, host, port, shape, sequence)| Step::Send { socket, host, port, shape, sequence }
        ),
        3 => (0u64..3000).prop_map(|millis| Step::Wait { millis }),
        1 => (0u32..40).prop_map(|socket| Step::Fail { socket }),
        1 => (0usize..6).prop_map(|stream| Step::Close { stream }),
    ];
    prop::collection::vec(step, 0..250)
}

fn party(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 4000 + port))
}

fn remote(host: Option<u8>, nat: bool, direction: u8, mux: bool) -> RemoteOptions {
    let directions = [Direction::SendReceive, Direction::SendOnly, Direction::ReceiveOnly, Direction::Inactive];
    RemoteOptions {
        rtp: host.map(|host| party(host, 0)),
        behind_nat: nat,
        signalled_from: Some(party(1, 0).ip()),
        direction: directions[usize::from(direction)],
        telephone_event: Some(101),
        mux,
        ..RemoteOptions::default()
    }
}

fn packet(shape: u8, sequence: u16) -> Vec<u8> {
    let header = Header { payload_type: if shape == 1 { 101 } else { 0 }, sequence, ..Header::default() };
    match shape {
        0 | 1 => [&header.encode()[..], &[5, 0x8a, 0, 160]].concat(),
        2 => vec![0x80, 201, 0, 1, 0, 0, 0, 1],
        3 => vec![22; 40],
        _ => vec![0xff; usize::from(sequence)],
    }
}

struct Model {
    relay: Relay,
    open: Vec<StreamSlot>,
    now: Instant,
    sent: u64,
    forwarded: u64,
}

impl Model {
    fn new() -> Self {
        let mut config = RelayConfig::new("203.0.113.1".parse().unwrap(), 30_000, 30_019);
        config.set_address("2001:db8::1".parse::<std::net::IpAddr>().unwrap().into());
        config.streams_max = 6;
        let relay = Relay::new(config, Instant::ZERO, Random::from_u64(11));
        Self { relay, open: Vec::new(), now: Instant::ZERO, sent: 0, forwarded: 0 }
    }

    fn stream(&self, index: usize) -> Option<StreamSlot> {
        self.open.get(index).copied()
    }

    fn take(&mut self, step: &Step) {
        let now = self.now;
        match *step {
            Step::Open { kind, v6 } => {
                let kind = [StreamKind::Audio, StreamKind::Video, StreamKind::Raw][usize::from(kind)];
                let options = StreamOptions { kind, b: SideOptions { v6, dscp: 46 }, ..StreamOptions::default() };
                self.open.extend(self.relay.open(now, options));
            }
            Step::Remote { stream, b, host, nat, direction, mux } => {
                let side = if b { Side::B } else { Side::A };
                if let Some(slot) = self.stream(stream) {
                    self.relay.set_remote(now, slot, side, &remote(host, nat, direction, mux));
                }
            }
            Step::Answer { stream } => {
                if let Some(slot) = self.stream(stream) {
                    self.relay.set_answered(now, slot);
                }
            }
            Step::Send { socket, host, port, shape, sequence } => {
                let mut packet = packet(shape, sequence);
                let verdict = self.relay.handle_packet(now, SocketKey(socket), party(host, port), &mut packet);
                self.sent += 1;
                self.forwarded += u64::from(matches!(verdict, Verdict::Forward { .. }));
            }
            Step::Wait { millis } => {
                self.now += Duration::from_millis(millis);
                self.relay.handle_timeout(self.now);
            }
            Step::Fail { socket } => self.relay.socket_failed(now, SocketKey(socket)),
            Step::Close { stream } if stream < self.open.len() => {
                let slot = self.open.swap_remove(stream);
                assert!(self.relay.close(now, slot).is_some());
                assert!(self.relay.close(now, slot).is_none(), "a stream ends once");
            }
            Step::Close { .. } => {}
        }
    }

    fn check(&self) {
        let counts = self.relay.counts();
        assert!(counts.is_balanced(), "{counts:?}");
        assert_eq!((counts.received, counts.forwarded), (self.sent, self.forwarded));
        let ports = self.relay.port_counts();
        assert_eq!(ports.free + ports.used + ports.failed, ports.total);
        assert_eq!((ports.used, self.relay.len()), (2 * self.open.len(), self.open.len()));
        assert!(self.relay.is_empty() || self.relay.next_deadline().is_some_and(|next| next > self.now));
    }
}

proptest! {
    #[test]
    fn the_relay_balances_at_every_step(steps in steps()) {
        let mut model = Model::new();
        for step in &steps {
            model.take(step);
            model.check();
            while model.relay.poll_event().is_some() {}
            while model.relay.poll_socket().is_some() {}
        }
        for slot in std::mem::take(&mut model.open) {
            let report = model.relay.close(model.now, slot).unwrap();
            for side in report.sides {
                prop_assert!(side.forwarded <= side.packets || report.kind == StreamKind::Raw);
                prop_assert!(side.lost <= side.expected);
            }
        }
        prop_assert!(model.relay.is_empty() && model.relay.next_deadline().is_none());
        prop_assert_eq!(model.relay.port_counts().used, 0);
    }
}
