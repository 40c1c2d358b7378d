//! The driver for hosts that forbid io_uring: `epoll` through `mio`, `recvmmsg` and `sendmmsg`. It is slower, never
//! different: the conformance suite holds all drivers to the same behaviour.
//!
//! `mio` reports edges, so each socket is read until it is known to be empty; one that is not after its share of a
//! batch is looked at again in the next, before new edges.

mod batch;
mod sending;
mod sockets;
mod streams;

use std::collections::VecDeque;
use std::io::{ErrorKind, Result};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::arrival::{Arrival, Arrivals};
use super::gather::Gather;
use super::{
    Counters, Driver, Forward, Handler, MESSAGE_BYTES_MAX, Options, PACKET_BYTES_MAX, Refused, Released, Traffic,
    UdpOptions, Waker, socket,
};
use crate::base::{SocketKey, StreamKey};
use batch::{Batch, send_one};
use sending::{Sending, settle};
use sockets::{Open, Role, Sockets, TOKEN_SOCKET};
use streams::Streams;

/// Edges taken from the kernel at once.
const EVENTS: usize = 512;
/// Datagrams taken from one media socket before the next one has its turn.
const PACKETS: usize = 32;
/// The same for a signalling socket.
const MESSAGES: usize = 16;
/// Shares of what was gathered that are taken before the owner has its turn.
const SHARES: usize = 32;

const TOKEN_WAKER: Token = Token(usize::MAX);

/// See the [module](self).
pub struct Epoll {
    poll: Poll,
    events: Option<Events>,
    waker: Waker,
    sockets: Sockets,
    streams: Streams,
    /// Sockets that may hold more than was taken.
    unfinished: VecDeque<SocketKey>,
    packets: Batch,
    messages: Batch,
    arrivals: Arrivals,
    /// Forwards of the batch in hand: its index and where to.
    forwards: Vec<(usize, Forward)>,
    sending: Sending,
    gather: Gather,
    counters: Counters,
}

impl Epoll {
    /// A driver without sockets.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn new(options: Options) -> Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new()?;
        poll.registry().register(&mut SourceFd(&waker.raw_fd()), TOKEN_WAKER, Interest::READABLE)?;
        Ok(Self {
            events: Some(Events::with_capacity(EVENTS)),
            waker,
            sockets: Sockets::new(options.sockets_max),
            streams: Streams::new(options.streams_max, options.stream_queue_bytes),
            unfinished: VecDeque::with_capacity(EVENTS),
            packets: Batch::new(PACKETS, PACKET_BYTES_MAX),
            messages: Batch::new(MESSAGES, MESSAGE_BYTES_MAX),
            arrivals: Arrivals::default(),
            forwards: Vec::with_capacity(PACKETS.max(MESSAGES)),
            sending: Sending::new(),
            gather: Gather::new(options.gather),
            counters: Counters::default(),
            poll,
        })
    }

    /// Takes one share of what a UDP socket holds and forwards it.
    fn receive(&mut self, key: SocketKey, handler: &mut dyn Handler) {
        let Some((fd, traffic, extras)) = self.sockets.udp(key) else { return };
        let batch = if traffic == Traffic::Media { &mut self.packets } else { &mut self.messages };
        let count = match batch.receive(fd, extras.control) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => {
                self.sending.failed.take_errors(key, fd, &mut self.counters);
                self.unfinished.push_back(key);
                return;
            }
        };
        for index in 0..count {
            let Some((from, control, bytes)) = batch.datagram(index) else {
                self.counters.truncated += 1;
                continue;
            };
            let arrival = Arrival { socket: key, traffic, from, control, bytes };
            if let Some(forward) = self.arrivals.hand_over(arrival, handler, &mut self.counters) {
                self.forwards.push((index, forward));
            }
        }
        let full = count == batch.len();
        self.forward(traffic);
        // An error in between also ends a `recvmmsg`, so a signalling socket is empty only once it says so.
        if full || traffic == Traffic::Signalling {
            self.unfinished.push_back(key);
        }
    }

    fn forward(&mut self, traffic: Traffic) {
        let mut forwards = std::mem::take(&mut self.forwards);
        let batch = if traffic == Traffic::Media { &self.packets } else { &self.messages };
        for (index, forward) in &forwards {
            let Some((fd, ..)) = self.sockets.udp(forward.socket) else {
                self.counters.send_gone += 1;
                continue;
            };
            let sent = send_one(fd, forward.to, batch.bytes(*index, forward.len));
            settle(&mut self.counters, forward.len, sent);
        }
        forwards.clear();
        self.forwards = forwards;
        let mut copies = std::mem::take(&mut self.arrivals.copies);
        for (forward, bytes) in copies.drain(..) {
            // What cannot be sent is counted.
            let _ = self.send(forward.socket, forward.to, bytes);
        }
        self.arrivals.copies = copies;
    }

    /// Sends what is queued.
    fn flush(&mut self) {
        self.sending.flush(&mut self.sockets, &mut self.counters);
    }

    /// Whether something can be done without waiting.
    fn has_work(&self) -> bool {
        !self.unfinished.is_empty() || !self.sending.failed.is_empty() || self.streams.has_work()
    }

    fn hand_over(&mut self, events: &Events, handler: &mut dyn Handler) {
        for event in events {
            let token = event.token().0 as u64;
            if event.token() == TOKEN_WAKER {
                self.waker.take();
            } else if token & StreamKey::ACCEPTED == 0 && token & TOKEN_SOCKET != 0 {
                let key = SocketKey((token & u64::from(u32::MAX)) as u32);
                match self.sockets.get(key).map(|open| open.role) {
                    Some(Role::Udp(..)) => {
                        if event.is_error()
                            && let Some((fd, ..)) = self.sockets.udp(key)
                        {
                            self.sending.failed.take_errors(key, fd, &mut self.counters);
                        }
                        self.receive(key, handler);
                    }
                    Some(Role::Listener) => self.accept(key, handler),
                    None => {}
                }
            } else {
                self.streams.on_event(StreamKey(token), event, &self.poll, handler);
            }
        }
    }

    fn accept(&mut self, key: SocketKey, handler: &mut dyn Handler) {
        if let Some(Open { socket, role: Role::Listener, .. }) = self.sockets.get(key)
            && self.streams.accept(key, socket, &self.poll, handler, &mut self.counters)
        {
            self.unfinished.push_back(key);
        }
    }

    fn finish_unfinished(&mut self, handler: &mut dyn Handler) {
        for _ in 0..self.unfinished.len() {
            let Some(key) = self.unfinished.pop_front() else { break };
            match self.sockets.get(key).map(|open| open.role) {
                Some(Role::Udp(..)) => self.receive(key, handler),
                Some(Role::Listener) => self.accept(key, handler),
                None => {}
            }
        }
    }
}

impl Driver for Epoll {
    fn name(&self) -> &'static str {
        "epoll"
    }

    fn open_udp(&mut self, key: SocketKey, options: &UdpOptions) -> Result<SocketAddr> {
        self.sockets.check(key)?;
        let (socket, local) = socket::udp(options)?;
        let role = Role::Udp(options.traffic, socket::extras(&socket), 0);
        self.sockets.insert(key, Open { socket, v6: options.bind.is_ipv6(), role }, &self.poll)?;
        Ok(local)
    }

    fn listen(&mut self, key: SocketKey, bind: SocketAddr, reuse_port: bool) -> Result<SocketAddr> {
        self.sockets.check(key)?;
        let (socket, local) = socket::listener(bind, reuse_port)?;
        self.sockets.insert(key, Open { socket, v6: bind.is_ipv6(), role: Role::Listener }, &self.poll)?;
        Ok(local)
    }

    fn connect(&mut self, stream: StreamKey, to: SocketAddr, from: Option<IpAddr>) -> Result<()> {
        if stream.0 & (StreamKey::ACCEPTED | TOKEN_SOCKET) != 0 {
            return Err(ErrorKind::InvalidInput.into());
        }
        self.streams.connect(stream, to, from, &self.poll)
    }

    fn close_socket(&mut self, key: SocketKey) {
        if self.sending.has(key) {
            self.flush();
        }
        self.sockets.close(key, &self.poll, &mut self.counters);
    }

    fn close_stream(&mut self, stream: StreamKey) {
        self.streams.close(stream, &self.poll);
    }

    fn set_dscp(&mut self, key: SocketKey, dscp: u8) -> Result<()> {
        match self.sockets.get(key) {
            Some(open) if open.role != Role::Listener => socket::set_dscp(&open.socket, open.v6, dscp),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn send(&mut self, socket: SocketKey, to: SocketAddr, bytes: Bytes) -> std::result::Result<(), Refused> {
        if self.sockets.udp(socket).is_none() {
            self.counters.send_gone += 1;
            return Err(Refused::Gone);
        }
        if self.sending.push(socket, to, bytes) {
            self.flush();
        }
        Ok(())
    }

    fn send_stream(&mut self, stream: StreamKey, bytes: Bytes) -> std::result::Result<(), Refused> {
        let queued = self.streams.send(stream, bytes);
        self.counters.stream_full += u64::from(queued == Err(Refused::Full));
        queued
    }

    fn wait(&mut self, timeout: Option<Duration>, handler: &mut dyn Handler) -> Result<()> {
        self.flush();
        self.streams.flush(&self.poll);
        let work_left = self.has_work();
        let timeout = if work_left { Some(Duration::ZERO) } else { timeout };
        let span = self.gather.span(&self.counters);
        if timeout != Some(Duration::ZERO) && !span.is_zero() {
            // `epoll_wait` itself cannot wait for several.
            std::thread::sleep(span);
        }
        let mut events = self.events.take().unwrap_or_else(|| Events::with_capacity(EVENTS));
        let polled = self.poll.poll(&mut events, timeout);
        if let Err(error) = polled
            && error.kind() != ErrorKind::Interrupted
        {
            self.events = Some(events);
            return Err(error);
        }
        if work_left || !events.is_empty() {
            self.counters.batches += 1;
            handler.on_batch();
            self.arrivals.begin();
            self.finish_unfinished(handler);
            self.hand_over(&events, handler);
            self.streams.finish(&self.poll, handler);
            self.sending.failed.hand_over(handler);
        }
        self.events = Some(events);
        Ok(())
    }

    fn gather(&mut self, span: Duration, handler: &mut dyn Handler) -> Result<()> {
        if !self.has_work() && !span.is_zero() {
            self.flush();
            self.streams.flush(&self.poll);
            std::thread::sleep(span);
        }
        for _ in 0..SHARES {
            self.wait(Some(Duration::ZERO), handler)?;
            if self.unfinished.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Nothing is read outside of `wait`.
    fn pause(&mut self, handler: &mut dyn Handler) -> Result<()> {
        handler.on_batch();
        self.streams.report(handler);
        self.sending.failed.hand_over(handler);
        Ok(())
    }

    fn release(&mut self) -> Result<Released> {
        self.flush();
        self.streams.flush(&self.poll);
        self.unfinished.clear();
        let mut released = self.streams.release(&self.poll);
        released.sockets = self.sockets.release(&self.poll, &mut self.counters)?;
        Ok(released)
    }

    fn adopt(&mut self, released: Released) -> Result<()> {
        self.sockets.adopt(released.sockets, &self.poll)?;
        self.streams.adopt(released.streams, released.accepted, &self.poll)
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn sample_drops(&mut self, sockets: usize) {
        self.sockets.sample_drops(sockets, &mut self.counters);
    }
}
