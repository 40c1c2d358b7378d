//! The driver for hosts that forbid io_uring: `epoll` through `mio`, `recvmmsg` and `sendmmsg`. It is slower, never
//! different: the conformance suite holds all drivers to the same behaviour.
//!
//! `mio` reports edges, so each socket is read until it is known to be empty; one that is not after its share of a
//! batch is looked at again in the next, before new edges.

mod batch;
mod streams;

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use bytes::Bytes;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::Socket;

use super::arrival::{Arrival, Arrivals};
use super::gather::Gather;
use super::socket::Extras;
use super::{
    Counters, Driver, Forward, Handler, MESSAGE_BYTES_MAX, Options, PACKET_BYTES_MAX, Refused, Released,
    ReleasedSocket, Traffic, UdpOptions, Waker, released, run, socket,
};
use crate::base::{SocketKey, StreamKey};
use batch::{Batch, Row, send_one};
use streams::Streams;

/// Edges taken from the kernel at once.
const EVENTS: usize = 512;
/// Datagrams taken from one media socket before the next one has its turn.
const PACKETS: usize = 32;
/// The same for a signalling socket.
const MESSAGES: usize = 16;
/// Shares of what was gathered that are taken before the owner has its turn.
const SHARES: usize = 32;
/// Datagrams queued before they are sent without waiting for the end of the batch.
const QUEUE: usize = 1024;
/// Failures remembered until they can be reported; further ones are only counted.
const REPORTS: usize = 256;

const TOKEN_WAKER: Token = Token(usize::MAX);
/// Set in tokens of sockets; what is below is the key. Tokens of streams are their names.
const TOKEN_SOCKET: u64 = 1 << 62;

struct Open {
    socket: Socket,
    v6: bool,
    role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Udp(Traffic, Extras, u32),
    Listener,
}

struct Queued {
    socket: SocketKey,
    to: SocketAddr,
    bytes: Bytes,
}

/// See the [module](self).
pub struct Epoll {
    poll: Poll,
    events: Option<Events>,
    waker: Waker,
    sockets: Vec<Option<Open>>,
    streams: Streams,
    /// Sockets that may hold more than was taken.
    unfinished: VecDeque<SocketKey>,
    packets: Batch,
    messages: Batch,
    row: Row,
    arrivals: Arrivals,
    /// Forwards of the batch in hand: its index and where to.
    forwards: Vec<(usize, Forward)>,
    queue: Vec<Queued>,
    reports: Vec<(SocketKey, SocketAddr, ErrorKind)>,
    sampled: usize,
    gather: Gather,
    counters: Counters,
    options: Options,
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
            sockets: Vec::new(),
            streams: Streams::new(options.streams_max, options.stream_queue_bytes),
            unfinished: VecDeque::with_capacity(EVENTS),
            packets: Batch::new(PACKETS, PACKET_BYTES_MAX),
            messages: Batch::new(MESSAGES, MESSAGE_BYTES_MAX),
            row: Row::new(),
            arrivals: Arrivals::default(),
            forwards: Vec::with_capacity(PACKETS.max(MESSAGES)),
            queue: Vec::with_capacity(QUEUE),
            reports: Vec::with_capacity(REPORTS),
            sampled: 0,
            gather: Gather::new(options.gather),
            counters: Counters::default(),
            options,
            poll,
        })
    }

    fn insert(&mut self, key: SocketKey, socket: Socket, v6: bool, role: Role) -> Result<()> {
        let token = Token((TOKEN_SOCKET | u64::from(key.0)) as usize);
        self.poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)?;
        let index = key.0 as usize;
        if index >= self.sockets.len() {
            self.sockets.resize_with(index + 1, || None);
        }
        self.sockets[index] = Some(Open { socket, v6, role });
        Ok(())
    }

    fn check_key(&self, key: SocketKey) -> Result<()> {
        match self.sockets.get(key.0 as usize) {
            _ if key.0 as usize >= self.options.sockets_max => Err(ErrorKind::InvalidInput.into()),
            Some(Some(_)) => Err(ErrorKind::AlreadyExists.into()),
            _ => Ok(()),
        }
    }

    fn open(&self, key: SocketKey) -> Option<&Open> {
        self.sockets.get(key.0 as usize)?.as_ref()
    }

    fn udp(&self, key: SocketKey) -> Option<(RawFd, Traffic, Extras)> {
        match self.open(key) {
            Some(Open { socket, role: Role::Udp(traffic, extras, _), .. }) => {
                Some((socket.as_raw_fd(), *traffic, *extras))
            }
            _ => None,
        }
    }

    /// Takes one share of what a UDP socket holds and forwards it.
    fn receive(&mut self, key: SocketKey, handler: &mut dyn Handler) {
        let Some((fd, traffic, extras)) = self.udp(key) else { return };
        let batch = if traffic == Traffic::Media { &mut self.packets } else { &mut self.messages };
        let count = match batch.receive(fd, extras.control) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => {
                self.take_errors(key, fd);
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
            let Some(Some(Open { socket, role: Role::Udp(..), .. })) = self.sockets.get(forward.socket.0 as usize)
            else {
                self.counters.send_gone += 1;
                continue;
            };
            let sent = send_one(socket.as_raw_fd(), forward.to, batch.bytes(*index, forward.len));
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

    /// Sends what is queued, what leaves by one socket together.
    fn flush(&mut self) {
        let mut queue = std::mem::take(&mut self.queue);
        let mut rest = &queue[..];
        while let Some(first) = rest.first() {
            let socket = first.socket;
            let len = rest.iter().take_while(|queued| queued.socket == socket).count();
            let Some((fd, traffic, extras)) = self.udp(socket) else {
                self.counters.send_gone += 1;
                rest = &rest[1..];
                continue;
            };
            rest = &rest[self.send_row(&rest[..len], fd, traffic, extras.segment_max)..];
        }
        queue.clear();
        self.queue = queue;
    }

    /// Sends the start of a row that leaves by one socket; how far it is dealt with.
    fn send_row(&mut self, row: &[Queued], fd: RawFd, traffic: Traffic, segment_max: u16) -> usize {
        let sent = match row {
            [one] => match send_one(fd, one.to, &one.bytes) {
                Ok(()) => Ok(batch::Sent { datagrams: 1, runs: 0 }),
                Err(error) => Err((error, 1)),
            },
            _ => self.row.send(fd, row.iter().map(|queued| (queued.to, &queued.bytes[..])), segment_max),
        };
        match sent {
            Ok(sent) => {
                self.counters.sent_runs += sent.runs as u64;
                for queued in &row[..sent.datagrams] {
                    settle(&mut self.counters, queued.bytes.len(), Ok(()));
                }
                sent.datagrams
            }
            Err((error, 1)) => {
                self.failed(&row[0], fd, traffic, error);
                1
            }
            Err((error, count)) => self.run_failed(&row[..count], fd, traffic, &error),
        }
    }

    /// A run failed; how far it is dealt with. If it failed for being a run, its socket tries none as long again.
    fn run_failed(&mut self, row: &[Queued], fd: RawFd, traffic: Traffic, error: &Error) -> usize {
        let segment = row.first().map_or(0, |first| first.bytes.len() as u16);
        if let Some(bound) = run::refused(error, segment) {
            self.counters.runs_refused += 1;
            let open = row.first().and_then(|first| self.sockets.get_mut(first.socket.0 as usize)?.as_mut());
            if let Some(Open { role: Role::Udp(_, extras, _), .. }) = open {
                extras.segment_max = bound;
            }
            return 0;
        }
        let earlier = traffic == Traffic::Signalling
            && error.kind() != ErrorKind::WouldBlock
            && row.first().is_some_and(|first| self.take_errors(first.socket, fd));
        for queued in row {
            let sent = if earlier { send_one(fd, queued.to, &queued.bytes) } else { Err(again(error)) };
            if let Some(kind) = settle(&mut self.counters, queued.bytes.len(), sent)
                && traffic == Traffic::Signalling
            {
                self.report(queued.socket, queued.to, kind);
            }
        }
        row.len()
    }

    /// One datagram failed. On a socket that hears of ICMP errors that may be an earlier one's failure: once those are
    /// taken it is tried again.
    fn failed(&mut self, queued: &Queued, fd: RawFd, traffic: Traffic, mut error: Error) {
        if traffic == Traffic::Signalling
            && error.kind() != ErrorKind::WouldBlock
            && self.take_errors(queued.socket, fd)
        {
            match send_one(fd, queued.to, &queued.bytes) {
                Ok(()) => {
                    settle(&mut self.counters, queued.bytes.len(), Ok(()));
                    return;
                }
                Err(second) => error = second,
            }
        }
        if let Some(kind) = settle(&mut self.counters, queued.bytes.len(), Err(error))
            && traffic == Traffic::Signalling
        {
            self.report(queued.socket, queued.to, kind);
        }
    }

    /// Empties the socket's error queue; true if there was something in it.
    fn take_errors(&mut self, key: SocketKey, fd: RawFd) -> bool {
        let mut any = false;
        while let Some((to, error)) = socket::take_error(fd) {
            any = true;
            self.counters.send_failed += 1;
            self.report(key, to, error.kind());
        }
        any
    }

    fn report(&mut self, key: SocketKey, to: SocketAddr, kind: ErrorKind) {
        if self.reports.len() < REPORTS {
            self.reports.push((key, to, kind));
        }
    }

    fn hand_over(&mut self, events: &Events, handler: &mut dyn Handler) {
        for event in events {
            let token = event.token().0 as u64;
            if event.token() == TOKEN_WAKER {
                self.waker.take();
            } else if token & StreamKey::ACCEPTED == 0 && token & TOKEN_SOCKET != 0 {
                let key = SocketKey((token & u64::from(u32::MAX)) as u32);
                match self.open(key).map(|open| open.role) {
                    Some(Role::Udp(..)) => {
                        if event.is_error()
                            && let Some((fd, ..)) = self.udp(key)
                        {
                            self.take_errors(key, fd);
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
        if let Some(Some(Open { socket, role: Role::Listener, .. })) = self.sockets.get(key.0 as usize)
            && self.streams.accept(key, socket, &self.poll, handler, &mut self.counters)
        {
            self.unfinished.push_back(key);
        }
    }

    fn finish_unfinished(&mut self, handler: &mut dyn Handler) {
        for _ in 0..self.unfinished.len() {
            let Some(key) = self.unfinished.pop_front() else { break };
            match self.open(key).map(|open| open.role) {
                Some(Role::Udp(..)) => self.receive(key, handler),
                Some(Role::Listener) => self.accept(key, handler),
                None => {}
            }
        }
    }
}

/// The same error once more.
fn again(error: &Error) -> Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), Error::from_raw_os_error)
}

/// Counts a send; returns why it failed, if it did for good.
fn settle(counters: &mut Counters, len: usize, sent: Result<()>) -> Option<ErrorKind> {
    match sent {
        Ok(()) => {
            counters.sent += 1;
            counters.sent_bytes += len as u64;
            None
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS) => {
            counters.send_dropped += 1;
            None
        }
        Err(error) => {
            counters.send_failed += 1;
            Some(error.kind())
        }
    }
}

impl Driver for Epoll {
    fn name(&self) -> &'static str {
        "epoll"
    }

    fn open_udp(&mut self, key: SocketKey, options: &UdpOptions) -> Result<SocketAddr> {
        self.check_key(key)?;
        let (socket, local) = socket::udp(options)?;
        let role = Role::Udp(options.traffic, socket::extras(&socket), 0);
        self.insert(key, socket, options.bind.is_ipv6(), role)?;
        Ok(local)
    }

    fn listen(&mut self, key: SocketKey, bind: SocketAddr, reuse_port: bool) -> Result<SocketAddr> {
        self.check_key(key)?;
        let (socket, local) = socket::listener(bind, reuse_port)?;
        self.insert(key, socket, bind.is_ipv6(), Role::Listener)?;
        Ok(local)
    }

    fn connect(&mut self, stream: StreamKey, to: SocketAddr, from: Option<IpAddr>) -> Result<()> {
        if stream.0 & (StreamKey::ACCEPTED | TOKEN_SOCKET) != 0 {
            return Err(ErrorKind::InvalidInput.into());
        }
        self.streams.connect(stream, to, from, &self.poll)
    }

    fn close_socket(&mut self, key: SocketKey) {
        if self.queue.iter().any(|queued| queued.socket == key) {
            self.flush();
        }
        if let Some(open) = self.sockets.get_mut(key.0 as usize).and_then(Option::take) {
            if let Role::Udp(_, _, seen) = open.role {
                let drops = socket::kernel_drops(open.socket.as_raw_fd());
                self.counters.kernel_dropped += u64::from(drops.wrapping_sub(seen));
            }
            let _ = self.poll.registry().deregister(&mut SourceFd(&open.socket.as_raw_fd()));
        }
    }

    fn close_stream(&mut self, stream: StreamKey) {
        self.streams.close(stream, &self.poll);
    }

    fn set_dscp(&mut self, key: SocketKey, dscp: u8) -> Result<()> {
        match self.open(key) {
            Some(open) if open.role != Role::Listener => socket::set_dscp(&open.socket, open.v6, dscp),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn send(&mut self, socket: SocketKey, to: SocketAddr, bytes: Bytes) -> std::result::Result<(), Refused> {
        if self.udp(socket).is_none() {
            self.counters.send_gone += 1;
            return Err(Refused::Gone);
        }
        self.queue.push(Queued { socket, to, bytes });
        if self.queue.len() >= QUEUE {
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
        let work_left = !self.unfinished.is_empty() || !self.reports.is_empty() || self.streams.has_work();
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
            for (key, to, kind) in self.reports.drain(..) {
                handler.on_send_error(key, to, kind);
            }
        }
        self.events = Some(events);
        Ok(())
    }

    fn gather(&mut self, span: Duration, handler: &mut dyn Handler) -> Result<()> {
        let left = !self.unfinished.is_empty() || !self.reports.is_empty() || self.streams.has_work();
        if !left && !span.is_zero() {
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
        for (key, to, kind) in self.reports.drain(..) {
            handler.on_send_error(key, to, kind);
        }
        Ok(())
    }

    fn release(&mut self) -> Result<Released> {
        self.flush();
        self.streams.flush(&self.poll);
        self.unfinished.clear();
        let mut released = self.streams.release(&self.poll);
        for (key, place) in (0..).map(SocketKey).zip(&mut self.sockets) {
            let Some(Open { socket, v6, role }) = place.take() else { continue };
            let role = match role {
                Role::Listener => released::Role::Listener { v6 },
                Role::Udp(traffic, _, seen) => {
                    let drops = socket::kernel_drops(socket.as_raw_fd());
                    self.counters.kernel_dropped += u64::from(drops.wrapping_sub(seen));
                    released::Role::Udp { traffic, v6 }
                }
            };
            self.poll.registry().deregister(&mut SourceFd(&socket.as_raw_fd()))?;
            released.sockets.push(ReleasedSocket { key, role, descriptor: socket.into() });
        }
        Ok(released)
    }

    /// An edge comes at once for whatever waits in a socket.
    fn adopt(&mut self, released: Released) -> Result<()> {
        for ReleasedSocket { key, role, descriptor } in released.sockets {
            self.check_key(key)?;
            let socket = Socket::from(descriptor);
            let (v6, role) = match role {
                released::Role::Listener { v6 } => (v6, Role::Listener),
                released::Role::Udp { traffic, v6 } => {
                    (v6, Role::Udp(traffic, socket::extras(&socket), socket::kernel_drops(socket.as_raw_fd())))
                }
            };
            self.insert(key, socket, v6, role)?;
        }
        self.streams.adopt(released.streams, released.accepted, &self.poll)
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn sample_drops(&mut self, sockets: usize) {
        for _ in 0..sockets.min(self.sockets.len()) {
            self.sampled = (self.sampled + 1) % self.sockets.len();
            if let Some(Open { socket, role: Role::Udp(_, _, seen), .. }) = &mut self.sockets[self.sampled] {
                let drops = socket::kernel_drops(socket.as_raw_fd());
                self.counters.kernel_dropped += u64::from(drops.wrapping_sub(*seen));
                *seen = drops;
            }
        }
    }
}
