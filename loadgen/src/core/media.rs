//! The RTP of one core: ports, who sends when, and the sinks.
//!
//! The side that will hang up knows when, and says in each packet how many it will send in all; the other side learns from
//! it when to stop. So nothing is in flight when the call ends, and every packet not received is lost and not merely late.
//! All streams have the same period, so a FIFO in the order of their due times is the pacer.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use bytes::{Bytes, BytesMut};
use strowger::base::time::Duration;
use strowger::base::{Instant, Random, Slab, Slot, SocketKey};

use super::Role;
use super::news::MediaNow;
use super::rtp::{Common, PACKET_LEN, PERIOD, Sink, Source, Verdict};
use super::sdp::Direction;
use super::stats::{Stats, record};

/// Media ends this long before the hang-up.
const GUARD: Duration = Duration::from_millis(100);
/// A call shorter than this may have had no packet for honest reasons.
pub const SILENT_AFTER: Duration = Duration::from_millis(500);
/// Packets share allocations of this size.
const ARENA_BYTES: usize = 64 * 1024;

struct Stream {
    port: usize,
    role: Role,
    source: Source,
    sink: Sink,
    remote: Option<SocketAddr>,
    started: Option<Instant>,
    /// Nothing is sent from then on.
    until: Option<Instant>,
    /// False while the peer has us on hold.
    sending: bool,
    /// It has its place in the pacer.
    paced: bool,
    last_sent: Option<Instant>,
}

impl Stream {
    /// How many packets there will have been, if the next is sent when it is due.
    fn planned(&self, due: Instant) -> u32 {
        let Some(until) = self.until else { return 0 };
        let left = until.since(due).as_nanos().div_ceil(PERIOD.as_nanos());
        self.source.sent.saturating_add(u32::try_from(left).unwrap_or(u32::MAX))
    }
}

/// All streams of one core.
pub struct Media {
    base: u32,
    ports: Vec<(Role, SocketAddr)>,
    /// By side and address: a call's media comes from where its signalling does.
    free: BTreeMap<(Role, IpAddr), VecDeque<usize>>,
    by_port: Vec<Option<Slot>>,
    streams: Slab<Stream>,
    pacer: VecDeque<(Instant, Slot)>,
    arena: BytesMut,
    common: Common,
    /// The sinks of calls that are up, taken together.
    pub sinks: MediaNow,
}

impl Media {
    /// Sockets `base`, `base + 1`, … are bound to `ports`, each for one role.
    pub fn new(base: u32, ports: Vec<(Role, SocketAddr)>, common: Common) -> Self {
        let mut free = BTreeMap::<_, VecDeque<usize>>::new();
        for (port, (role, address)) in ports.iter().enumerate() {
            free.entry((*role, address.ip())).or_default().push_back(port);
        }
        Self {
            base,
            free,
            by_port: vec![None; ports.len()],
            streams: Slab::new(ports.len()),
            pacer: VecDeque::with_capacity(ports.len()),
            arena: BytesMut::with_capacity(ARENA_BYTES),
            ports,
            common,
            sinks: MediaNow::default(),
        }
    }

    /// A port for one side of a call, at the address of its own where one is free.
    fn take_port(&mut self, role: Role, own: Option<IpAddr>) -> Option<usize> {
        let at_own = own.and_then(|own| self.free.get_mut(&(role, own))?.pop_front());
        let mut others = self.free.iter_mut().filter(|((of, _), _)| *of == role);
        at_own.or_else(|| others.find_map(|(_, ports)| ports.pop_front()))
    }

    fn give_back(&mut self, port: usize) {
        let (role, address) = self.ports[port];
        self.free.entry((role, address.ip())).or_default().push_back(port);
    }

    /// Takes a port for one side of a call, which signals from `own`; packets are awaited from now on.
    pub fn open(&mut self, role: Role, own: Option<IpAddr>, random: &mut Random) -> Option<(Slot, SocketAddr)> {
        let port = self.take_port(role, own)?;
        let source = Source::new(random.next_u64(), random.next_u64());
        let (sink, remote, started, until, last_sent) = Default::default();
        let stream =
            Stream { port, role, source, sink, remote, started, until, sending: true, paced: false, last_sent };
        let Ok(slot) = self.streams.insert(stream) else {
            self.give_back(port);
            return None;
        };
        self.by_port[port] = Some(slot);
        Some((slot, self.ports[port].1))
    }

    /// Begins to send to `remote` at `at`, or goes on there. `at` is at most one period away.
    pub fn start(&mut self, at: Instant, slot: Slot, remote: SocketAddr) {
        let Some(stream) = self.streams.get_mut(slot) else { return };
        stream.remote = Some(remote);
        if stream.started.is_none() {
            stream.started = Some(at);
            self.pace(at, slot);
        }
    }

    /// Given by the side that will hang up: when it will.
    pub fn end_at(&mut self, slot: Slot, hang_up: Instant) {
        if let Some(stream) = self.streams.get_mut(slot) {
            stream.until = Some(Instant::ZERO + hang_up.since(Instant::ZERO).saturating_sub(GUARD));
        }
    }

    /// What is sent and what is expected from now on (RFC 3264 §8.4).
    pub fn set_direction(&mut self, now: Instant, slot: Slot, direction: Direction) {
        let Some(stream) = self.streams.get_mut(slot) else { return };
        if direction.receives() {
            stream.sink.resume(now);
        } else {
            stream.sink.hold(now);
        }
        let resumed = direction.sends() && !stream.sending;
        stream.sending = direction.sends();
        if resumed && stream.started.is_some() && !stream.paced {
            if let Some(last) = stream.last_sent {
                stream.source.resume(now.since(last));
            }
            self.pace(now, slot);
        }
    }

    fn pace(&mut self, due: Instant, slot: Slot) {
        if let Some(stream) = self.streams.get_mut(slot) {
            stream.paced = true;
        }
        let behind = self.pacer.partition_point(|&(other, _)| other <= due);
        self.pacer.insert(behind, (due, slot));
    }

    /// Packets that a stream has received so far.
    pub fn received(&self, slot: Slot) -> u64 {
        self.streams.get(slot).map_or(0, |stream| stream.sink.unique)
    }

    /// When the next packet is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.pacer.front().map(|&(due, _)| due)
    }

    /// The next packet that is due.
    pub fn poll_packet(&mut self, now: Instant, stats: &mut Stats) -> Option<(SocketKey, SocketAddr, Bytes)> {
        loop {
            let &(due, slot) = self.pacer.front().filter(|&&(due, _)| due <= now)?;
            self.pacer.pop_front();
            let Some(stream) = self.streams.get_mut(slot) else { continue };
            stream.paced = false;
            let Some(remote) = stream.remote.filter(|_| stream.sending) else { continue };
            if stream.until.is_some_and(|until| due >= until) {
                continue;
            }
            stream.paced = true;
            stream.source.planned = stream.planned(due);
            let mut packet = [0; PACKET_LEN];
            stream.source.write(now, &self.common, &mut packet);
            stream.last_sent = Some(due);
            record(&mut stats.latencies.late_rtp, now.since(due));
            match stream.role {
                Role::Uac => stats.counters.rtp_sent_uac += 1,
                Role::Uas => stats.counters.rtp_sent_uas += 1,
            }
            let socket = SocketKey(self.base + stream.port as u32);
            self.pacer.push_back((due + PERIOD, slot));
            if self.arena.capacity() < PACKET_LEN {
                self.arena.reserve(ARENA_BYTES);
            }
            self.arena.extend_from_slice(&packet);
            return Some((socket, remote, self.arena.split().freeze()));
        }
    }

    /// A datagram came to one of our ports.
    pub fn handle_packet(&mut self, now: Instant, socket: SocketKey, packet: &[u8], stats: &mut Stats) {
        let port = socket.0.wrapping_sub(self.base) as usize;
        let slot = self.by_port.get(port).copied().flatten();
        let Some(stream) = slot.and_then(|slot| self.streams.get_mut(slot)) else {
            stats.counters.rtp_strays += 1;
            return;
        };
        self.sinks.leave(&stream.sink);
        let verdict = stream.sink.handle_packet(now, packet, &self.common);
        self.sinks.enter(&stream.sink);
        if let Verdict::Good(delay) = verdict {
            let latencies = &mut stats.latencies;
            let (received, histogram) = match stream.role {
                Role::Uac => (&mut stats.counters.rtp_received_uac, &mut latencies.rtp_delay_uac),
                Role::Uas => (&mut stats.counters.rtp_received_uas, &mut latencies.rtp_delay_uas),
            };
            *received += 1;
            if let Some(delay) = delay {
                record(histogram, delay);
            }
        }
        if let (None, Some(remaining)) = (stream.until, stream.sink.remaining) {
            stream.until = Some(now + PERIOD * remaining);
        }
    }

    /// The call is over: its sink is read and its port freed.
    pub fn close(&mut self, now: Instant, slot: Slot, stats: &mut Stats) {
        let Some(stream) = self.streams.remove(slot) else { return };
        self.sinks.leave(&stream.sink);
        self.by_port[stream.port] = None;
        self.give_back(stream.port);
        let (sink, counters) = (&stream.sink, &mut stats.counters);
        counters.rtp_duplicates += sink.duplicates;
        counters.rtp_reordered += sink.reordered;
        counters.rtp_corrupted += sink.corrupted;
        counters.rtp_misdirected += sink.misdirected;
        counters.rtp_while_held += sink.while_held;
        let heard = sink.heard(now);
        counters.rtp_lost += heard.lost;
        if sink.unique > 0 {
            record(&mut stats.latencies.rtp_jitter, heard.jitter);
            stats.scores.record(heard.score());
        } else if stream.started.is_some_and(|started| now.since(started) >= SILENT_AFTER) {
            counters.rtp_silent += 1;
            counters.rtp_lost += u64::from(stream.source.sent); // the peer was to send as many as we did
        }
        let dead = sink.resumed_in_vain().filter(|_| sink.unique > 0).map(|since| now.since(since));
        if let Some(dead) = dead.filter(|&dead| dead >= SILENT_AFTER) {
            counters.rtp_silent += 1;
            counters.rtp_lost += u64::try_from(dead.as_nanos() / PERIOD.as_nanos()).unwrap_or(u64::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports() -> Vec<(Role, SocketAddr)> {
        [(Role::Uac, 1000), (Role::Uas, 1002)].map(|(role, port)| (role, ([127, 0, 0, 1], port).into())).to_vec()
    }

    /// Two sides joined by a wire of 3 ms that drops what `lose` says; returns the merged stats.
    fn talk(hold: Duration, lose: impl Fn(SocketKey, u64) -> bool) -> Stats {
        let mut random = Random::from_u64(3);
        let mut media = Media::new(10, ports(), Common { domain: 9, ..Common::default() });
        let mut stats = Stats::default();
        let (uac, uac_address) = media.open(Role::Uac, None, &mut random).unwrap();
        let (uas, uas_address) = media.open(Role::Uas, None, &mut random).unwrap();
        assert!(media.open(Role::Uas, None, &mut random).is_none());
        let end = Instant::ZERO + hold;
        media.start(Instant::ZERO, uac, uas_address);
        media.end_at(uac, end);
        media.start(Instant::from_millis(7), uas, uac_address);
        let (mut wire, mut counts) = (VecDeque::new(), [0u64; 2]);
        for millis in 0..=hold.as_millis() as u64 {
            let now = Instant::from_millis(millis);
            while let Some((socket, to, bytes)) = media.poll_packet(now, &mut stats) {
                let count = &mut counts[(socket.0 - 10) as usize];
                if !lose(socket, *count) {
                    wire.push_back((
                        now + Duration::from_millis(3),
                        SocketKey(10 + u32::from(to.port() - 1000) / 2),
                        bytes,
                    ));
                }
                *count += 1;
            }
            while wire.front().is_some_and(|(at, ..)| *at <= now) {
                let (_, socket, bytes) = wire.pop_front().unwrap();
                media.handle_packet(now, socket, &bytes, &mut stats);
            }
        }
        assert!(wire.is_empty(), "nothing is in flight at the hang-up");
        media.close(end, uac, &mut stats);
        media.close(end, uas, &mut stats);
        assert_eq!((media.sinks.directions, media.sinks.missing), (0, 0));
        let free: Vec<usize> = media.free.values().map(VecDeque::len).collect();
        assert_eq!((media.streams.len(), free), (0, vec![1, 1]));
        stats
    }

    #[test]
    fn media_comes_from_the_address_of_its_call_while_it_has_ports() {
        let ports = [(1, 1000), (2, 1002), (1, 1004)].map(|(host, port)| (Role::Uac, ([127, 0, 0, host], port).into()));
        let mut media = Media::new(10, ports.to_vec(), Common::default());
        let mut random = Random::from_u64(3);
        let mut open =
            |host| media.open(Role::Uac, Some([127, 0, 0, host].into()), &mut random).map(|(_, at)| at.port());
        assert_eq!([open(2), open(1), open(2), open(2)], [Some(1002), Some(1000), Some(1004), None]);
    }

    #[test]
    fn both_sides_stop_together_and_nothing_is_lost() {
        let stats = talk(Duration::from_secs(2), |_, _| false);
        let c = &stats.counters;
        assert_eq!((c.rtp_sent_uac, c.rtp_received_uas, c.rtp_lost), (95, 95, 0));
        assert_eq!((c.rtp_sent_uas, c.rtp_received_uac), (94, 94));
        assert_eq!(stats.latencies.rtp_delay_uac.max() / 1_000_000, 3);
    }

    #[test]
    fn the_last_packets_lost_are_counted_in_both_directions() {
        let stats = talk(Duration::from_secs(2), |_, index| index >= 90);
        assert_eq!(stats.counters.rtp_lost, 5 + 4);
    }

    #[test]
    fn a_direction_without_any_packet_is_silent() {
        let stats = talk(Duration::from_secs(2), |socket, _| socket == SocketKey(10));
        let c = &stats.counters;
        assert_eq!((c.rtp_silent, c.rtp_received_uas), (1, 0));
        assert!(c.rtp_lost >= 95, "{}", c.rtp_lost);
    }
}
