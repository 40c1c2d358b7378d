//! Media ports, what is played out of them, and echo. Packets are counted; a capture's are not ours to verify.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use strowger::base::time::Duration;
use strowger::base::{Instant, Random, SocketKey};

use crate::core::Role;
use crate::core::stats::{Stats, record};
use crate::scenario::clip::Clip;
use crate::sound::g711::FRAME_LEN;

/// 20 ms of G.711.
const PERIOD: Duration = Duration::from_millis(20);
/// Echoes that wait to be sent.
const ECHOES_MAX: usize = 4096;

struct Play {
    clip: Arc<Clip>,
    start: Instant,
    next: usize,
    paused: Option<Instant>,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
}

#[derive(Default)]
struct Port {
    taken: bool,
    remote: Option<SocketAddr>,
    echo: bool,
    play: Option<Play>,
    /// Tells timers of an earlier play from this one's.
    generation: u32,
}

/// The media of one core.
pub struct Player {
    role: Role,
    base: u32,
    addresses: Vec<SocketAddr>,
    ports: Vec<Port>,
    free: VecDeque<usize>,
    due: BinaryHeap<Reverse<(Instant, usize, u32)>>,
    echoes: VecDeque<(SocketKey, SocketAddr, Bytes)>,
}

impl Player {
    /// Sockets `base`, `base + 1`, … are bound to `addresses`.
    pub fn new(role: Role, base: u32, addresses: Vec<SocketAddr>) -> Self {
        Self {
            role,
            base,
            ports: addresses.iter().map(|_| Port::default()).collect(),
            free: (0..addresses.len()).collect(),
            addresses,
            due: BinaryHeap::new(),
            echoes: VecDeque::new(),
        }
    }

    /// A port for a call.
    pub fn take(&mut self, echo: bool) -> Option<usize> {
        let port = self.free.pop_front()?;
        let generation = self.ports[port].generation.wrapping_add(1);
        self.ports[port] = Port { taken: true, echo, generation, ..Port::default() };
        Some(port)
    }

    /// The call is over.
    pub fn release(&mut self, port: usize) {
        self.stop(port);
        self.ports[port].taken = false;
        self.free.push_back(port);
    }

    /// Where a port is bound.
    pub fn address(&self, port: usize) -> Option<SocketAddr> {
        self.addresses.get(port).copied()
    }

    /// The peer wants its media there.
    pub fn set_remote(&mut self, port: usize, remote: SocketAddr) {
        self.ports[port].remote = Some(remote);
    }

    /// Send back what comes, or no longer.
    pub fn echo(&mut self, port: usize, echo: bool) {
        self.ports[port].echo = echo;
    }

    /// Begins to play at `now`; false where the peer has named no address yet.
    pub fn play(&mut self, now: Instant, port: usize, clip: &Arc<Clip>, random: &mut Random) -> bool {
        if self.ports[port].remote.is_none() {
            return false;
        }
        self.stop(port);
        let (ssrc, sequence, timestamp) = (random.next_u32(), random.next_u32() as u16, random.next_u32());
        let play = Play { clip: clip.clone(), start: now, next: 0, paused: None, ssrc, sequence, timestamp };
        self.ports[port].play = Some(play);
        self.arm(port);
        true
    }

    fn stop(&mut self, port: usize) {
        let port = &mut self.ports[port];
        port.play = None;
        port.generation = port.generation.wrapping_add(1);
    }

    /// Holds what is being played.
    pub fn pause(&mut self, now: Instant, port: usize) {
        let port = &mut self.ports[port];
        port.generation = port.generation.wrapping_add(1);
        if let Some(play) = &mut port.play {
            play.paused.get_or_insert(now);
        }
    }

    /// Goes on.
    pub fn resume(&mut self, now: Instant, port: usize) {
        if let Some(play) = &mut self.ports[port].play
            && let Some(since) = play.paused.take()
        {
            play.start += now.since(since);
            self.arm(port);
        }
    }

    fn arm(&mut self, port: usize) {
        let state = &self.ports[port];
        let Some(play) = state.play.as_ref().filter(|play| play.paused.is_none()) else { return };
        if let Some(after) = play.due() {
            self.due.push(Reverse((play.start + after, port, state.generation)));
        }
    }

    /// When the next packet is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.echoes.is_empty() { self.due.peek().map(|due| due.0.0) } else { Some(Instant::ZERO) }
    }

    /// The next packet that is due.
    pub fn poll_packet(&mut self, now: Instant, stats: &mut Stats) -> Option<(SocketKey, SocketAddr, Bytes)> {
        if let Some(echo) = self.echoes.pop_front() {
            self.count_sent(stats);
            return Some(echo);
        }
        while let Some(&Reverse((at, port, generation))) = self.due.peek().filter(|due| due.0.0 <= now) {
            self.due.pop();
            let state = &mut self.ports[port];
            let (Some(play), Some(remote)) = (&mut state.play, state.remote) else { continue };
            if state.generation != generation {
                continue;
            }
            record(&mut stats.latencies.late_rtp, now.since(at));
            let packet = play.packet();
            self.arm(port);
            self.count_sent(stats);
            return Some((SocketKey(self.base + port as u32), remote, packet));
        }
        None
    }

    fn count_sent(&self, stats: &mut Stats) {
        match self.role {
            Role::Uac => stats.counters.rtp_sent_uac += 1,
            Role::Uas => stats.counters.rtp_sent_uas += 1,
        }
    }

    /// A packet came to a media port.
    pub fn handle_packet(&mut self, socket: SocketKey, from: SocketAddr, bytes: &[u8], stats: &mut Stats) {
        let port = socket.0.wrapping_sub(self.base) as usize;
        let Some(state) = self.ports.get(port).filter(|state| state.taken) else {
            stats.counters.rtp_strays += 1;
            return;
        };
        match self.role {
            Role::Uac => stats.counters.rtp_received_uac += 1,
            Role::Uas => stats.counters.rtp_received_uas += 1,
        }
        if state.echo {
            if self.echoes.len() < ECHOES_MAX {
                self.echoes.push_back((socket, from, Bytes::copy_from_slice(bytes)));
            } else {
                stats.counters.send_refused += 1;
            }
        }
    }
}

impl Play {
    /// When the next packet is due, from the start on.
    fn due(&self) -> Option<Duration> {
        match &*self.clip {
            Clip::Packets(packets) => packets.get(self.next).map(|packet| packet.0),
            Clip::Samples { samples, times, .. } => {
                let each = samples.len().div_ceil(FRAME_LEN);
                let more = times.is_none_or(|times| self.next / each < times as usize);
                more.then(|| PERIOD * u32::try_from(self.next).unwrap_or(u32::MAX))
            }
        }
    }

    fn packet(&mut self) -> Bytes {
        let number = self.next;
        self.next += 1;
        match &*self.clip {
            Clip::Packets(packets) => Bytes::copy_from_slice(&packets[number].1),
            Clip::Samples { samples, payload_type, .. } => {
                let each = samples.len().div_ceil(FRAME_LEN);
                let part = samples.chunks(FRAME_LEN).nth(number % each).unwrap_or_default();
                let mut out = Vec::with_capacity(12 + FRAME_LEN);
                // RFC 3550 §5.1; RFC 3551 §4.1: marker on the first packet of a talk spurt.
                out.extend_from_slice(&[0x80, payload_type | if number == 0 { 0x80 } else { 0 }]);
                out.extend_from_slice(&self.sequence.to_be_bytes());
                out.extend_from_slice(&self.timestamp.to_be_bytes());
                out.extend_from_slice(&self.ssrc.to_be_bytes());
                out.extend_from_slice(part);
                self.sequence = self.sequence.wrapping_add(1);
                self.timestamp = self.timestamp.wrapping_add(part.len() as u32);
                Bytes::from(out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn player() -> (Player, Stats, Random) {
        let address = SocketAddr::from(([127, 0, 0, 1], 4000));
        (Player::new(Role::Uac, 7, vec![address]), Stats::default(), Random::from_u64(1))
    }

    const PEER: ([u8; 4], u16) = ([127, 0, 0, 1], 9);

    fn sent(player: &mut Player, stats: &mut Stats, until_ms: u64) -> Vec<(u64, Vec<u8>)> {
        let mut out = Vec::new();
        while let Some(at) = player.next_deadline().filter(|at| at.as_millis() <= until_ms) {
            if let Some((socket, to, bytes)) = player.poll_packet(at, stats) {
                assert_eq!((socket, to), (SocketKey(7), SocketAddr::from(PEER)));
                out.push((at.as_millis(), bytes.to_vec()));
            }
        }
        out
    }

    #[test]
    fn a_capture_is_played_as_it_was() {
        let (mut player, mut stats, mut random) = player();
        let clip = Arc::new(Clip::Packets(vec![(Duration::ZERO, vec![1]), (Duration::from_millis(35), vec![2])]));
        let port = player.take(false).unwrap();
        assert_eq!(player.take(false), None);
        assert!(!player.play(Instant::ZERO, port, &clip, &mut random), "no address yet");
        player.set_remote(port, PEER.into());
        assert!(player.play(Instant::from_millis(100), port, &clip, &mut random));
        assert_eq!(sent(&mut player, &mut stats, 9999), [(100, vec![1]), (135, vec![2])]);
        assert_eq!(stats.counters.rtp_sent_uac, 2);
    }

    #[test]
    fn samples_repeat_pause_and_end_with_the_call() {
        let (mut player, mut stats, mut random) = player();
        let clip = Arc::new(Clip::Samples { samples: vec![9; 200], payload_type: 8, times: Some(2) });
        let port = player.take(false).unwrap();
        player.set_remote(port, PEER.into());
        player.play(Instant::ZERO, port, &clip, &mut random);
        let packets = sent(&mut player, &mut stats, 20);
        assert_eq!(
            packets.iter().map(|(at, bytes)| (*at, bytes.len(), bytes[1])).collect::<Vec<_>>(),
            [(0, 172, 0x88), (20, 52, 8)]
        );
        player.pause(Instant::from_millis(25), port);
        assert_eq!(sent(&mut player, &mut stats, 500), []);
        player.resume(Instant::from_millis(525), port);
        assert_eq!(sent(&mut player, &mut stats, 9999).iter().map(|sent| sent.0).collect::<Vec<_>>(), [540, 560]);
        player.play(Instant::from_millis(1000), port, &clip, &mut random);
        player.release(port);
        assert_eq!(sent(&mut player, &mut stats, 9999), []);
    }

    #[test]
    fn echo_goes_back_to_its_sender() {
        let (mut player, mut stats, _) = player();
        player.handle_packet(SocketKey(7), PEER.into(), b"early", &mut stats);
        let port = player.take(true).unwrap();
        player.handle_packet(SocketKey(7), PEER.into(), b"x", &mut stats);
        assert_eq!(sent(&mut player, &mut stats, 0), [(0, b"x".to_vec())]);
        player.echo(port, false);
        player.handle_packet(SocketKey(7), PEER.into(), b"y", &mut stats);
        assert_eq!(sent(&mut player, &mut stats, 0), []);
        assert_eq!((stats.counters.rtp_received_uac, stats.counters.rtp_strays), (2, 1));
    }
}
