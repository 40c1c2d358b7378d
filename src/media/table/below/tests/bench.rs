//! One stream on a bench, beside the model of the kernel or without one: time, its two parties, their packets.

use crate::base::time::Duration;
use crate::base::{Instant, Random, Side, SocketKey};
use crate::media::model::{Fate, Kernel};
use crate::media::path::Waiting;
use crate::media::rtp::Header;
use crate::media::{Frozen, Relay, RelayConfig, RemoteOptions, SideReport, StreamOptions, StreamSlot, Verdict, Way};
use std::net::SocketAddr;

pub(super) const A: &str = "192.0.2.1:4000";
pub(super) const B: &str = "198.51.100.2:6000";
pub(super) const DEAD_MAN: Duration = Duration::from_secs(10);

pub(super) fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn party(side: Side) -> SocketAddr {
    at(if side == Side::A { A } else { B })
}

/// One stream, with a kernel or without.
pub(super) struct Bench {
    pub(super) relay: Relay,
    pub(super) kernel: Option<Kernel>,
    pub(super) slot: StreamSlot,
    pub(super) now: Instant,
    delivered: u64,
}

pub(super) fn config() -> RelayConfig {
    let mut config = RelayConfig::new("203.0.113.1".parse().unwrap(), 30_000, 30_019);
    config.socket_base = 100;
    config
}

pub(super) fn remote(side: Side) -> RemoteOptions {
    let rtp = party(side);
    RemoteOptions {
        rtp: Some(rtp),
        signalled_from: Some(rtp.ip()),
        telephone_event: Some(101),
        ..RemoteOptions::default()
    }
}

impl Bench {
    pub(super) fn new(kernel: Option<Kernel>) -> Self {
        let now = Instant::from_millis(1000);
        let mut relay = Relay::new(config(), now, Random::from_u64(7));
        if let Some(kernel) = &kernel {
            relay.set_fast_path(now, kernel.path());
        }
        let slot = relay.open(now, StreamOptions::default()).unwrap();
        for side in Side::BOTH {
            relay.set_remote(now, slot, side, &remote(side));
        }
        relay.set_answered(now, slot);
        Self { relay, kernel, slot, now, delivered: 0 }
    }

    pub(super) fn with_kernel() -> (Self, Kernel) {
        let kernel = Kernel::new(config(), DEAD_MAN);
        (Self::new(Some(kernel.clone())), kernel)
    }

    /// A datagram to the port of `side`: how many copies of it leave, and to where.
    pub(super) fn datagram(&mut self, side: Side, from: SocketAddr, packet: &[u8]) -> Option<SocketAddr> {
        let (to, _) = self.relay.local(self.slot, side).unwrap();
        match self.kernel.as_ref().map_or(Fate::Up, |kernel| kernel.packet(self.now, from, to, packet)) {
            Fate::Relayed { to, .. } => {
                self.delivered += 1;
                return Some(to);
            }
            Fate::Dropped => return None,
            Fate::Up => {}
        }
        let key = SocketKey(100 + u32::from(to.port() - 30_000));
        match self.relay.handle_packet(self.now, key, from, &mut packet.to_vec()) {
            Verdict::Forward { to, .. } => {
                self.delivered += 1;
                Some(to)
            }
            Verdict::Drop(_) => None,
        }
    }

    pub(super) fn send(&mut self, side: Side, payload_type: u8, ssrc: u32, sequence: u16) -> Option<SocketAddr> {
        let timestamp = u32::from(sequence) * 160;
        let header = Header { payload_type, sequence, ssrc, timestamp, marker: false };
        self.datagram(side, party(side), &[&header.encode()[..], &[0xff; 160]].concat())
    }

    pub(super) fn wait(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        while let Some(next) = self.relay.next_deadline().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.relay.handle_timeout(self.now);
        }
        self.now = until;
    }

    /// Voice of both sides for so long.
    pub(super) fn talk(&mut self, packets: u16, sequence: &mut u16) {
        for _ in 0..packets {
            *sequence = sequence.wrapping_add(1);
            for side in Side::BOTH {
                assert!(self.send(side, 0, 5, *sequence).is_some());
            }
            self.wait(20);
        }
    }

    /// Another process goes on with the relay, and with the same kernel.
    pub(super) fn take_over(&mut self, waiting: Waiting) {
        if waiting == Waiting::OnSockets {
            self.relay.raise_all(self.now);
        }
        let bytes = rmp_serde::to_vec_named(&self.relay.freeze()).unwrap();
        let frozen: Frozen = rmp_serde::from_slice(&bytes).unwrap();
        self.relay = Relay::new(config(), self.now, Random::from_u64(8));
        self.relay.thaw(frozen).unwrap();
        if let Some(kernel) = &self.kernel {
            self.relay.set_fast_path(self.now, kernel.path());
        }
    }

    pub(super) fn side(&self, side: Side) -> SideReport {
        self.relay.report(self.now, self.slot).unwrap().sides[side.index()]
    }

    pub(super) fn ways(&self) -> [Way; 2] {
        Side::BOTH.map(|side| self.side(side).way)
    }
}
