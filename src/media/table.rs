//! The relay of one shard: from a socket to its stream without a search, from a stream to its ports and timer.

use super::half::Half;
use super::options::{Refused, RelayConfig, RemoteOptions, SideOptions, StreamOptions};
use super::path::{FastPath, PathRequest};
use super::ports::{PortCounts, PortPool};
use super::relay::{DropReason, Verdict};
use super::report::{MediaEvent, RelayCounts, SocketRequest, StreamReport, StreamSlot};
use super::stream::{Component, News, Patience, Stream};
use crate::base::{Instant, Queue, Random, Side, Slab, Slot, SocketKey, TimerKey, Wheel};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Most events waiting to be fetched.
const EVENTS_MAX: usize = 1024;
/// Most socket requests waiting to be fetched; a stream needs four.
const REQUESTS_MAX: usize = 1024;
const REQUESTS_PER_STREAM: usize = 4;
/// Pairs whose sockets are opened before a stream needs them, as many as one batch may take: a port that somebody else holds is then found out while no
/// call depends on it, and opening is no part of a set-up.
const AHEAD_PAIRS: usize = 64;

/// Which part of which stream a socket serves.
#[derive(Clone, Copy, Debug)]
struct Place {
    slot: Slot,
    side: Side,
    component: Component,
}

#[derive(Clone, Copy, Debug, Default)]
struct Socket {
    is_asked_for: bool,
    dscp: u8,
}

#[derive(Debug, Serialize, Deserialize)]
struct Tenant {
    stream: Stream,
    timer: Option<TimerKey>,
    due: Instant,
}

/// All streams of one shard.
#[derive(Debug)]
pub struct Relay {
    config: RelayConfig,
    pools: [Option<PortPool>; 2],
    places: Vec<Option<Place>>,
    sockets: Vec<Socket>,
    streams: Slab<Tenant>,
    timers: Wheel<Slot>,
    events: Queue<MediaEvent>,
    requests: Queue<SocketRequest>,
    counts: RelayCounts,
    fast: Option<Box<dyn FastPath>>,
    /// Sides that are down.
    below: usize,
    /// Those of the life before, until there is a fast path.
    left_below: Vec<frozen::LeftBelow>,
    sweep_at: Instant,
    /// Nothing goes down.
    held: bool,
}

impl Relay {
    /// An empty relay; `random` shuffles the ports.
    #[must_use]
    pub fn new(config: RelayConfig, now: Instant, mut random: Random) -> Self {
        let mut pool = |present: bool| {
            present.then(|| PortPool::new(config.port_min, config.port_max, config.port_rest, &mut random))
        };
        let pools = [pool(config.v4.is_some()), pool(config.v6.is_some())];
        let sockets = config.socket_count() as usize;
        let mut relay = Self {
            config,
            pools,
            places: vec![None; sockets],
            sockets: vec![Socket::default(); sockets],
            streams: Slab::new(config.streams_max),
            timers: Wheel::new(now, config.streams_max),
            events: Queue::new(EVENTS_MAX),
            requests: Queue::new(REQUESTS_MAX),
            counts: RelayCounts::default(),
            fast: None,
            below: 0,
            left_below: Vec::new(),
            sweep_at: now,
            held: false,
        };
        relay.open_ahead(SideOptions::default().dscp);
        relay
    }

    /// Opens a stream: a pair of ports towards each side. Nothing passes before [`set_remote`](Self::set_remote).
    ///
    /// # Errors
    /// When a bound is reached or a family is missing; nothing is held then.
    pub fn open(&mut self, now: Instant, options: StreamOptions) -> Result<StreamSlot, Refused> {
        if self.requests.room() < REQUESTS_PER_STREAM {
            return Err(Refused::Requests);
        }
        let slot = self.streams.next_slot().ok_or(Refused::Streams)?;
        let a = self.allocate(now, options.a)?;
        let b = match self.allocate(now, options.b) {
            Ok(half) => half,
            Err(refused) => {
                self.release(now, &a);
                return Err(refused);
            }
        };
        let stream = Stream::new(now, options.kind, options.owner, StreamSlot(slot), [a, b]);
        for side in Side::BOTH {
            self.occupy(slot, side, &stream.halves[side.index()]);
        }
        let due = now + self.config.one_way_patience();
        let timer = self.timers.schedule(due, slot).ok();
        for half in &stream.halves {
            self.ask_below(now, PathRequest::Opened { key: half.rtp_socket });
        }
        let inserted = self.streams.insert(Tenant { stream, timer, due });
        debug_assert_eq!(inserted.ok(), Some(slot));
        self.open_ahead(options.a.dscp);
        Ok(StreamSlot(slot))
    }

    /// In the order in which they will be given: behind one that has been asked for, all before it have been, too.
    fn open_ahead(&mut self, dscp: u8) {
        for v6 in [false, true] {
            let Some(pool) = &self.pools[usize::from(v6)] else { continue };
            let mut new = [0; AHEAD_PAIRS];
            let is_new =
                |port: &u16| self.index(self.key(v6, port + 1)).is_some_and(|at| !self.sockets[at].is_asked_for);
            let upcoming = pool.upcoming(AHEAD_PAIRS).take_while(is_new);
            let found = new.iter_mut().zip(upcoming).map(|(place, port)| *place = port).count();
            for port in new[..found].iter().rev().flat_map(|port| [*port, port + 1]) {
                if self.requests.room() > REQUESTS_PER_STREAM {
                    self.ask_for(self.key(v6, port), v6, port, dscp);
                }
            }
        }
    }

    fn allocate(&mut self, now: Instant, options: SideOptions) -> Result<Half, Refused> {
        let pool = self.pools[usize::from(options.v6)].as_mut().ok_or(Refused::Family)?;
        let port = pool.allocate(now).ok_or(Refused::Ports)?;
        let sockets = (self.key(options.v6, port), self.key(options.v6, port + 1));
        Ok(Half::new(now, options, port, sockets))
    }

    fn key(&self, v6: bool, port: u16) -> SocketKey {
        let family = if v6 { self.config.port_range() } else { 0 };
        SocketKey(self.config.socket_base + family + u32::from(port - self.config.port_min))
    }

    fn index(&self, key: SocketKey) -> Option<usize> {
        let index = key.0.checked_sub(self.config.socket_base)? as usize;
        (index < self.places.len()).then_some(index)
    }

    fn occupy(&mut self, slot: Slot, side: Side, half: &Half) {
        let SideOptions { v6, dscp } = half.options;
        let sockets = [(half.rtp_socket, Component::Rtp, 0), (half.rtcp_socket, Component::Rtcp, 1)];
        for (key, component, offset) in sockets {
            let Some(index) = self.index(key) else { continue };
            self.places[index] = Some(Place { slot, side, component });
            self.ask_for(key, v6, half.port + offset, dscp);
            let socket = &mut self.sockets[index];
            if socket.dscp != dscp && self.requests.push(SocketRequest::SetDscp { key, dscp }).is_ok() {
                socket.dscp = dscp;
            }
        }
    }

    /// Asks for a socket, once.
    fn ask_for(&mut self, key: SocketKey, v6: bool, port: u16, dscp: u8) {
        let (Some(index), Some(address)) = (self.index(key), if v6 { self.config.v6 } else { self.config.v4 }) else {
            return;
        };
        let socket = &mut self.sockets[index];
        if !socket.is_asked_for {
            let bind = SocketAddr::new(address.bind, port);
            socket.is_asked_for = self.requests.push(SocketRequest::Open { key, bind, dscp }).is_ok();
            socket.dscp = dscp;
        }
    }

    fn release(&mut self, now: Instant, half: &Half) {
        for key in [half.rtp_socket, half.rtcp_socket] {
            if let Some(index) = self.index(key) {
                self.places[index] = None;
            }
        }
        if let Some(pool) = &mut self.pools[usize::from(half.options.v6)] {
            pool.release(now, half.port);
            if !pool.is_failed(half.port) {
                self.ask_below(now, PathRequest::Closed { key: half.rtp_socket });
            }
        }
    }

    /// Ends a stream: its ports rest, its sockets stay open.
    pub fn close(&mut self, now: Instant, slot: StreamSlot) -> Option<StreamReport> {
        for side in Side::BOTH {
            self.raise(now, slot.0, side);
        }
        let tenant = self.streams.remove(slot.0)?;
        if let Some(timer) = tenant.timer {
            self.timers.cancel(timer);
        }
        for half in &tenant.stream.halves {
            self.release(now, half);
        }
        Some(tenant.stream.report(now))
    }

    /// Our addresses towards one side, as that side shall be told: RTP and RTCP.
    #[must_use]
    pub fn local(&self, slot: StreamSlot, side: Side) -> Option<(SocketAddr, SocketAddr)> {
        let half = &self.streams.get(slot.0)?.stream.halves[side.index()];
        let address = if half.options.v6 { self.config.v6 } else { self.config.v4 }?.advertise;
        Some((SocketAddr::new(address, half.port), SocketAddr::new(address, half.port + 1)))
    }

    /// Takes what one side's description and signalling say; also mid-stream, for hold, resume and a moved party.
    pub fn set_remote(&mut self, now: Instant, slot: StreamSlot, side: Side, options: &RemoteOptions) {
        if let Some(tenant) = self.streams.get_mut(slot.0) {
            tenant.stream.set_remote(now, side, options);
            self.follow(now, slot.0);
        }
    }

    /// The call is up: from now on silence means something.
    pub fn set_answered(&mut self, now: Instant, slot: StreamSlot) {
        if let Some(tenant) = self.streams.get_mut(slot.0) {
            tenant.stream.set_answered(now);
            self.follow(now, slot.0);
        }
    }

    /// How a stream does so far.
    #[must_use]
    pub fn report(&self, now: Instant, slot: StreamSlot) -> Option<StreamReport> {
        self.streams.get(slot.0).map(|tenant| tenant.stream.report(now))
    }

    /// True while a stream has a reason to go on: somebody was heard within the silent timeout, or its audio is held. A
    /// call ends of silence when none of its streams is alive: a camera that is off silences video alone.
    #[must_use]
    pub fn is_alive(&self, now: Instant, slot: StreamSlot) -> bool {
        let patience = self.config.silent_timeout;
        self.streams.get(slot.0).is_some_and(|tenant| tenant.stream.is_alive(now, patience))
    }

    /// True where `socket` is one of the relay's.
    #[must_use]
    pub fn owns(&self, socket: SocketKey) -> bool {
        self.index(socket).is_some()
    }

    /// Takes a datagram that came to one of the relay's sockets. Allocates nothing.
    #[inline]
    pub fn handle_packet(&mut self, now: Instant, socket: SocketKey, from: SocketAddr, packet: &mut [u8]) -> Verdict {
        let verdict = self.steer(now, socket, from, packet);
        self.counts.received += 1;
        match verdict {
            Verdict::Forward { len, .. } => {
                self.counts.forwarded += 1;
                self.counts.bytes_forwarded += len as u64;
            }
            Verdict::Drop(reason) => self.counts.dropped[reason.index()] += 1,
        }
        verdict
    }

    #[inline]
    fn steer(&mut self, now: Instant, socket: SocketKey, from: SocketAddr, packet: &[u8]) -> Verdict {
        let Some(index) = self.index(socket) else { return Verdict::Drop(DropReason::UnknownSocket) };
        let tenant = self.places[index].and_then(|place| Some((place, self.streams.get_mut(place.slot)?)));
        let Some((place, tenant)) = tenant else { return Verdict::Drop(DropReason::NoStream) };
        if place.component == Component::Rtp
            && let Some(verdict) = tenant.stream.relay(now, place.side, from, packet, &mut self.events)
        {
            return verdict;
        }
        self.consider(now, place, from, packet)
    }

    #[inline(never)]
    fn consider(&mut self, now: Instant, place: Place, from: SocketAddr, packet: &[u8]) -> Verdict {
        let Place { slot, side, component } = place;
        let Some(tenant) = self.streams.get_mut(slot) else { return Verdict::Drop(DropReason::NoStream) };
        if self.below > 0 && component == Component::Rtp {
            match tenant.stream.news(side, from, packet) {
                News::None => {}
                News::Read => self.read(now, slot, side),
                News::Raise => self.raise(now, slot, side),
            }
        }
        let Some(tenant) = self.streams.get_mut(slot) else { return Verdict::Drop(DropReason::NoStream) };
        let verdict = tenant.stream.consider(now, side, component, from, packet, &mut self.events);
        self.follow(now, slot);
        verdict.unwrap_or_else(Verdict::Drop)
    }

    /// A socket could not be opened: its pair is never given again, and a stream that has it is told.
    pub fn socket_failed(&mut self, now: Instant, socket: SocketKey) {
        let Some(index) = self.index(socket) else { return };
        self.sockets[index].is_asked_for = false;
        let range = self.config.port_range() as usize;
        let port = self.config.port_min + (index % range) as u16;
        if let Some(pool) = &mut self.pools[index / range] {
            pool.fail(port);
            // Whoever has it is not to lose packets to us.
            let key = self.key(index >= range, port & !1);
            self.ask_below(now, PathRequest::Opened { key });
        }
        if let Some(place) = self.places[index]
            && let Some(tenant) = self.streams.get(place.slot)
        {
            let failed = MediaEvent::Failed { slot: StreamSlot(place.slot), owner: tenant.stream.owner };
            let _ = self.events.push(failed);
        }
    }

    /// Looks at the streams whose time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.sweep(now);
        let patience = Patience { silent: self.config.silent_timeout, one_way: self.config.one_way_patience() };
        while let Some(slot) = self.timers.pop_expired(now) {
            Side::BOTH.iter().for_each(|side| self.read(now, slot, *side));
            let Some(tenant) = self.streams.get_mut(slot) else { continue };
            let next = tenant.stream.handle_timeout(now, patience, &mut self.events);
            let next = self.lower_what_is_due(now, slot).map_or(next, |ready| next.min(ready));
            let next = self.with_a_sweep(next);
            if let Some(tenant) = self.streams.get_mut(slot) {
                (tenant.timer, tenant.due) = (self.timers.schedule(next, slot).ok(), next);
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let sweep = (self.below > 0).then_some(self.sweep_at);
        [self.timers.next_deadline(), sweep].into_iter().flatten().min()
    }

    /// The oldest event.
    pub fn poll_event(&mut self) -> Option<MediaEvent> {
        self.events.pop()
    }

    /// The oldest request for a socket.
    pub fn poll_socket(&mut self) -> Option<SocketRequest> {
        self.requests.pop()
    }

    /// Packets since the start.
    #[must_use]
    pub fn counts(&self) -> RelayCounts {
        RelayCounts { events_refused: self.events.refused() + self.requests.refused(), ..self.counts }
    }

    /// Pairs of ports of both families, added up.
    #[must_use]
    pub fn port_counts(&self) -> PortCounts {
        let mut sum = PortCounts::default();
        for counts in self.pools.iter().flatten().map(PortPool::counts) {
            sum.free += counts.free;
            sum.used += counts.used;
            sum.failed += counts.failed;
            sum.total += counts.total;
        }
        sum
    }

    /// Streams open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// True when none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }
}

mod below;
mod frozen;
pub use frozen::Frozen;
#[cfg(test)]
mod tests;
