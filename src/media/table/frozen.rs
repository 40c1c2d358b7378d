//! The relay at rest, to go on in another process that has been given the same sockets.
//!
//! What is down below may stay there: then the next life adopts it, with how far it has been read. Where the next life has
//! another fast path, or none, everything [comes up](Relay::raise_all) first.

use super::{Component, Place, Relay, Socket, Tenant};
use crate::base::{Instant, Queue, Side, Slab, Slot, SocketKey, Wheel};
use crate::media::path::Mark;
use crate::media::ports;
use crate::media::report::{MediaEvent, RelayCounts, SocketRequest};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Which ports of which addresses the relay's keys mean.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ground {
    v4: Option<IpAddr>,
    v6: Option<IpAddr>,
    port_min: u16,
    port_max: u16,
    socket_base: u32,
}

/// A side that waits below.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct LeftBelow {
    pub(super) slot: Slot,
    pub(super) side: Side,
    pub(super) payload_type: u8,
    pub(super) mark: Mark,
}

#[derive(Serialize)]
struct Out<'a> {
    ground: Ground,
    pools: [Option<ports::Frozen>; 2],
    sockets: Vec<(u32, u8)>,
    streams: &'a Slab<Tenant>,
    timers: &'a Wheel<Slot>,
    events: &'a Queue<MediaEvent>,
    requests: &'a Queue<SocketRequest>,
    counts: &'a RelayCounts,
    below: Vec<LeftBelow>,
}

/// A [`Relay`] at rest.
#[derive(Debug, Deserialize)]
pub struct Frozen {
    ground: Ground,
    pools: [Option<ports::Frozen>; 2],
    /// The sockets that were asked for, by place, and the DSCP of what they send.
    sockets: Vec<(u32, u8)>,
    streams: Slab<Tenant>,
    timers: Wheel<Slot>,
    events: Queue<MediaEvent>,
    requests: Queue<SocketRequest>,
    counts: RelayCounts,
    #[serde(default)]
    below: Vec<LeftBelow>,
}

impl Relay {
    /// Takes up all that is down, and into its figures what it did below.
    pub fn raise_all(&mut self, now: Instant) {
        let slots: Vec<Slot> = self.streams.iter().map(|(slot, _)| slot).collect();
        for (slot, side) in slots.into_iter().flat_map(|slot| Side::BOTH.map(|side| (slot, side))) {
            self.raise(now, slot, side);
        }
    }

    fn left_below(&self) -> Vec<LeftBelow> {
        let Some(fast) = &self.fast else { return Vec::new() };
        let mut left = Vec::with_capacity(self.below);
        for (slot, tenant) in self.streams.iter() {
            for (side, half) in Side::BOTH.into_iter().zip(&tenant.stream.halves) {
                if let Some(payload_type) = half.lane.down {
                    left.push(LeftBelow { slot, side, payload_type, mark: fast.mark(half.rtp_socket) });
                }
            }
        }
        left
    }

    /// Shows what is to be written. What is down now is expected there by whoever thaws it.
    pub fn freeze(&self) -> impl Serialize {
        let asked_for = |(index, socket): (usize, &Socket)| socket.is_asked_for.then_some((index as u32, socket.dscp));
        Out {
            ground: self.ground(),
            pools: self.pools.each_ref().map(|pool| pool.as_ref().map(ports::PortPool::freeze)),
            sockets: self.sockets.iter().enumerate().filter_map(asked_for).collect(),
            streams: &self.streams,
            timers: &self.timers,
            events: &self.events,
            requests: &self.requests,
            counts: &self.counts,
            below: self.left_below(),
        }
    }

    fn ground(&self) -> Ground {
        let Self { config, .. } = self;
        Ground {
            v4: config.v4.map(|address| address.bind),
            v6: config.v6.map(|address| address.bind),
            port_min: config.port_min,
            port_max: config.port_max,
            socket_base: config.socket_base,
        }
    }

    /// Goes on with the streams of another life. To be called before there is a fast path.
    ///
    /// # Errors
    /// The sockets would mean other ports, or places and streams do not fit together: nothing has changed.
    pub fn thaw(&mut self, frozen: Frozen) -> Result<(), &'static str> {
        if frozen.ground != self.ground() {
            return Err("its media addresses or ports are others");
        }
        let mut sockets = vec![Socket::default(); self.sockets.len()];
        for (index, dscp) in &frozen.sockets {
            *sockets.get_mut(*index as usize).ok_or("a media socket beyond its ports")? =
                Socket { is_asked_for: true, dscp: *dscp };
        }
        let mut places = vec![None; self.places.len()];
        for (slot, tenant) in frozen.streams.iter() {
            for (side, half) in Side::BOTH.iter().zip(&tenant.stream.halves) {
                let keys = [(half.rtp_socket, Component::Rtp), (half.rtcp_socket, Component::Rtcp)];
                for (key, component) in keys {
                    let place = self.index(key).and_then(|index| places.get_mut(index));
                    *place.ok_or("a stream beyond the ports")? = Some(Place { slot, side: *side, component });
                }
            }
        }
        let rest = self.config.port_rest;
        let thaw = |pool: Option<ports::Frozen>| pool.map(|pool| ports::PortPool::thaw(pool, rest));
        (self.pools, self.places, self.sockets) = (frozen.pools.map(thaw), places, sockets);
        (self.streams, self.timers, self.counts) = (frozen.streams, frozen.timers, frozen.counts);
        self.left_below = frozen.below;
        self.streams.set_bound(self.config.streams_max);
        self.timers.set_bound(self.config.streams_max.max(self.streams.len()));
        let (events_max, requests_max) = (self.events.bound(), self.requests.bound());
        (self.events, self.requests) = (frozen.events, frozen.requests);
        self.events.set_bound(events_max);
        self.requests.set_bound(requests_max);
        Ok(())
    }

    /// The sockets that are open, or will be.
    pub fn sockets(&self) -> impl Iterator<Item = SocketKey> {
        let base = self.config.socket_base;
        (base..).zip(&self.sockets).filter(|(_, socket)| socket.is_asked_for).map(|(key, _)| SocketKey(key))
    }
}
