//! What stands between driver and shard during one wait: it stamps the time and turns events into inputs.

use std::io::ErrorKind;
use std::net::SocketAddr;

use super::clock::Clock;
use super::core::Core;
use crate::base::{Forward, Instant, SocketKey, StreamKey};
use crate::io::{Handler, StreamEvent};
use crate::shard::Input;

pub(super) struct Hands<'a, C> {
    clock: Clock,
    core: &'a mut C,
    stamped: Option<Instant>,
    /// Connections whose peer sends no more.
    pub(super) finished: Vec<StreamKey>,
}

impl<'a, C: Core> Hands<'a, C> {
    pub(super) fn new(clock: Clock, core: &'a mut C) -> Self {
        Self { clock, core, stamped: None, finished: Vec::new() }
    }

    /// The time of this batch, or of its absence.
    pub(super) fn now(&mut self) -> Instant {
        *self.stamped.get_or_insert_with(|| self.clock.now())
    }
}

impl<C: Core> Handler for Hands<'_, C> {
    fn on_batch(&mut self) {
        self.stamped = Some(self.clock.now());
    }

    fn on_datagram(&mut self, socket: SocketKey, from: SocketAddr, bytes: &mut [u8]) -> Option<Forward> {
        let now = self.now();
        self.core.handle(now, Input::Datagram { socket, from, bytes })
    }

    fn on_stream(&mut self, event: StreamEvent<'_>) {
        let now = self.now();
        let input = match event {
            StreamEvent::Accepted { listener, stream, remote, .. } => {
                Input::StreamAccepted { listener, stream, remote }
            }
            StreamEvent::Connected { stream, .. } => Input::StreamConnected { stream },
            StreamEvent::Data { stream, bytes } => Input::StreamData { stream, bytes },
            StreamEvent::Closed { stream, .. } => Input::StreamClosed { stream },
            StreamEvent::HalfClosed { stream } => {
                self.finished.push(stream);
                return;
            }
        };
        self.core.handle(now, input);
    }

    fn on_send_error(&mut self, socket: SocketKey, to: SocketAddr, _: ErrorKind) {
        let now = self.now();
        self.core.handle(now, Input::SendFailed { socket, to });
    }
}
