//! Handing over what has come: one datagram or a run that came as one, with its time. Both drivers do it here.

use std::net::SocketAddr;

use bytes::Bytes;

use super::control::Control;
use super::stamp::Clocks;
use super::{Counters, Forward, Handler, Traffic};
use crate::base::SocketKey;

/// What lies in one receive buffer.
pub(super) struct Arrival<'a> {
    pub(super) socket: SocketKey,
    pub(super) traffic: Traffic,
    pub(super) from: SocketAddr,
    pub(super) control: Control,
    pub(super) bytes: &'a mut [u8],
}

/// See the [module](self).
#[derive(Default)]
pub(super) struct Arrivals {
    clocks: Clocks,
    /// Of runs: what is to be forwarded, copied out of a buffer that can be spent only once.
    pub(super) copies: Vec<(Forward, Bytes)>,
}

impl Arrivals {
    /// A batch begins.
    pub(super) fn begin(&mut self) {
        self.clocks.begin();
    }

    /// Hands over; returns what is to be forwarded from where it lies.
    pub(super) fn hand_over(
        &mut self,
        arrival: Arrival<'_>,
        handler: &mut dyn Handler,
        counters: &mut Counters,
    ) -> Option<Forward> {
        let Arrival { socket, traffic, from, control, bytes } = arrival;
        let arrived = control.stamp.map(|stamp| self.clocks.instant(stamp));
        let mut one = |bytes: &mut [u8]| {
            counters.received += 1;
            counters.received_media += u64::from(traffic == Traffic::Media);
            counters.received_bytes += bytes.len() as u64;
            let len = bytes.len();
            let forward = match arrived {
                Some(arrived) => handler.on_stamped(arrived, socket, from, bytes),
                None => handler.on_datagram(socket, from, bytes),
            };
            forward.map(|forward| Forward { len: forward.len.min(len), ..forward })
        };
        match control.segment.filter(|&segment| segment < bytes.len()) {
            None => one(bytes),
            Some(segment) => {
                for bytes in bytes.chunks_mut(segment) {
                    if let Some(forward) = one(bytes) {
                        self.copies.push((forward, Bytes::copy_from_slice(&bytes[..forward.len])));
                    }
                }
                counters.received_runs += 1;
                None
            }
        }
    }
}
