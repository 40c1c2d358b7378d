//! Connections of the epoll driver.

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, IoSlice, Read, Result};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use bytes::Bytes;
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};
use socket2::Socket;

use crate::base::{SocketKey, StreamKey};
use crate::io::outbox::{Outbox, WRITE_BUFFERS};
use crate::io::socket::{self, Spare};
use crate::io::{CloseReason, Counters, Handler, Refused, Released, ReleasedStream, StreamEvent, StreamState};

/// Reads from one connection before the next has its turn.
const READS: usize = 16;
const READ_BYTES: usize = 16 * 1024;
/// Connections accepted from one listener before other work has its turn.
const ACCEPTS: usize = 64;

struct Stream {
    socket: Socket,
    connecting: bool,
    /// The owner has let go; what is queued still leaves.
    closing: bool,
    finished_reading: bool,
    writable: bool,
    /// Stands in [`Streams::dirty`].
    dirty: bool,
    outbox: Outbox,
}

pub(super) struct Streams {
    table: HashMap<StreamKey, Stream, ahash::RandomState>,
    accepted: u64,
    streams_max: usize,
    queue_bytes: usize,
    /// Those with something new to write.
    dirty: Vec<StreamKey>,
    /// Those that may hold more than was read.
    unread: VecDeque<StreamKey>,
    /// Gone, and not yet reported.
    gone: Vec<(StreamKey, CloseReason)>,
    buffer: Box<[u8]>,
    spare: Spare,
}

impl Streams {
    pub(super) fn new(streams_max: usize, queue_bytes: usize) -> Self {
        Self {
            // The names are our own, so nobody can choose colliding ones.
            table: HashMap::with_hasher(ahash::RandomState::with_seeds(1, 2, 3, 4)),
            accepted: 0,
            streams_max,
            queue_bytes,
            dirty: Vec::new(),
            unread: VecDeque::new(),
            gone: Vec::new(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            spare: Spare::new(),
        }
    }

    pub(super) fn has_work(&self) -> bool {
        !self.unread.is_empty() || !self.gone.is_empty()
    }

    fn insert(&mut self, key: StreamKey, socket: Socket, connecting: bool, poll: &Poll) -> Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), Token(key.0 as usize), interest)?;
        let stream = Stream {
            socket,
            connecting,
            closing: false,
            finished_reading: false,
            writable: !connecting,
            dirty: false,
            outbox: Outbox::default(),
        };
        self.table.insert(key, stream);
        Ok(())
    }

    pub(super) fn connect(&mut self, key: StreamKey, to: SocketAddr, from: Option<IpAddr>, poll: &Poll) -> Result<()> {
        if self.table.contains_key(&key) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        if self.table.len() >= self.streams_max {
            return Err(ErrorKind::QuotaExceeded.into());
        }
        let socket = socket::outgoing(to, from)?;
        match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => {
                self.gone.push((key, CloseReason::from_error(&error)));
                Ok(())
            }
            _ => self.insert(key, socket, true, poll),
        }
    }

    /// Takes waiting connections; true if there may be more.
    pub(super) fn accept(
        &mut self,
        listener: SocketKey,
        socket: &Socket,
        poll: &Poll,
        handler: &mut dyn Handler,
        counters: &mut Counters,
    ) -> bool {
        for _ in 0..ACCEPTS {
            let accepted = match socket.accept() {
                Ok((accepted, _)) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => {
                    counters.accept_refused += 1;
                    // A connection that ended while it waited is no reason to stop.
                    if error.kind() != ErrorKind::ConnectionAborted && !self.spare.turn_away(&error, socket) {
                        return false;
                    }
                    continue;
                }
            };
            match self.admit(accepted, poll) {
                Some((stream, local, remote)) => {
                    counters.accepted += 1;
                    handler.on_stream(StreamEvent::Accepted { listener, stream, local, remote });
                }
                None => counters.accept_refused += 1,
            }
        }
        true
    }

    fn admit(&mut self, socket: Socket, poll: &Poll) -> Option<(StreamKey, SocketAddr, SocketAddr)> {
        if self.table.len() >= self.streams_max {
            return None;
        }
        socket::prepare_stream(&socket).ok()?;
        let (local, remote) = (socket::local_address(&socket).ok()?, socket::peer_address(&socket).ok()?);
        let key = StreamKey(StreamKey::ACCEPTED | self.accepted);
        self.accepted += 1;
        self.insert(key, socket, false, poll).ok()?;
        Some((key, local, remote))
    }

    pub(super) fn on_event(&mut self, key: StreamKey, event: &Event, poll: &Poll, handler: &mut dyn Handler) {
        let Some(stream) = self.table.get_mut(&key) else { return };
        if stream.connecting {
            if let Ok(Some(error)) = stream.socket.take_error() {
                self.fail(key, CloseReason::from_error(&error), poll);
                return;
            }
            if !event.is_writable() || stream.socket.peer_addr().is_err() {
                return;
            }
            let Ok(local) = socket::local_address(&stream.socket) else {
                self.fail(key, CloseReason::Reset, poll);
                return;
            };
            stream.connecting = false;
            handler.on_stream(StreamEvent::Connected { stream: key, local });
        }
        if event.is_writable() {
            if let Some(stream) = self.table.get_mut(&key) {
                stream.writable = true;
            }
            self.write(key, poll);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(key, poll, handler);
        }
    }

    fn read(&mut self, key: StreamKey, poll: &Poll, handler: &mut dyn Handler) {
        let Some(stream) = self.table.get_mut(&key) else { return };
        if stream.finished_reading {
            return;
        }
        for _ in 0..READS {
            match (&stream.socket).read(&mut self.buffer) {
                Ok(0) => {
                    stream.finished_reading = true;
                    if !stream.closing {
                        handler.on_stream(StreamEvent::HalfClosed { stream: key });
                    }
                    return;
                }
                Ok(_) if stream.closing => {}
                Ok(count) => handler.on_stream(StreamEvent::Data { stream: key, bytes: &self.buffer[..count] }),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.fail(key, CloseReason::from_error(&error), poll);
                    return;
                }
            }
        }
        self.unread.push_back(key);
    }

    pub(super) fn send(&mut self, key: StreamKey, bytes: Bytes) -> std::result::Result<(), Refused> {
        let stream = self.table.get_mut(&key).filter(|stream| !stream.closing).ok_or(Refused::Gone)?;
        stream.outbox.push(bytes, self.queue_bytes)?;
        if !stream.dirty {
            stream.dirty = true;
            self.dirty.push(key);
        }
        Ok(())
    }

    /// Writes what was queued since the last time.
    pub(super) fn flush(&mut self, poll: &Poll) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for key in dirty.drain(..) {
            if let Some(stream) = self.table.get_mut(&key) {
                stream.dirty = false;
                self.write(key, poll);
            }
        }
        self.dirty = dirty;
    }

    fn write(&mut self, key: StreamKey, poll: &Poll) {
        let Some(stream) = self.table.get_mut(&key) else { return };
        while stream.writable && !stream.connecting && !stream.outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); WRITE_BUFFERS];
            let count = stream.outbox.slices(&mut slices);
            match stream.socket.send_vectored_with_flags(&slices[..count], libc::MSG_NOSIGNAL) {
                Ok(taken) => stream.outbox.advance(taken),
                Err(error) if error.kind() == ErrorKind::WouldBlock => stream.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.fail(key, CloseReason::from_error(&error), poll);
                    return;
                }
            }
        }
        if stream.closing && stream.outbox.is_empty() {
            self.remove(key, poll);
        }
    }

    pub(super) fn close(&mut self, key: StreamKey, poll: &Poll) {
        self.gone.retain(|(gone, _)| *gone != key);
        let Some(stream) = self.table.get_mut(&key) else { return };
        stream.closing = true;
        if stream.connecting {
            self.remove(key, poll);
        } else {
            self.write(key, poll);
        }
    }

    fn fail(&mut self, key: StreamKey, reason: CloseReason, poll: &Poll) {
        if let Some(stream) = self.remove(key, poll)
            && !stream.closing
        {
            self.gone.push((key, reason));
        }
    }

    fn remove(&mut self, key: StreamKey, poll: &Poll) -> Option<Stream> {
        let stream = self.table.remove(&key)?;
        let _ = poll.registry().deregister(&mut SourceFd(&stream.socket.as_raw_fd()));
        // Closing over unread bytes would reset the connection and with it what the peer has not read yet.
        if stream.closing && !stream.finished_reading {
            let _ = (&stream.socket).read(&mut self.buffer);
        }
        Some(stream)
    }

    /// Second turns at reading, then the reports of what is gone.
    pub(super) fn finish(&mut self, poll: &Poll, handler: &mut dyn Handler) {
        for _ in 0..self.unread.len() {
            if let Some(key) = self.unread.pop_front() {
                self.read(key, poll, handler);
            }
        }
        self.report(handler);
    }

    /// Says what is gone.
    pub(super) fn report(&mut self, handler: &mut dyn Handler) {
        for (stream, reason) in self.gone.drain(..) {
            handler.on_stream(StreamEvent::Closed { stream, reason });
        }
    }

    pub(super) fn release(&mut self, poll: &Poll) -> Released {
        (self.dirty, self.unread) = (Vec::new(), VecDeque::new());
        let give = |(key, stream): (StreamKey, Stream)| {
            let _ = poll.registry().deregister(&mut SourceFd(&stream.socket.as_raw_fd()));
            let Stream { connecting, closing, finished_reading, outbox, socket, .. } = stream;
            let state = StreamState { connecting, closing, finished_reading };
            ReleasedStream { key, state, unsent: outbox.into_unsent(), descriptor: socket.into() }
        };
        let streams = self.table.drain().map(give).collect();
        Released { streams, accepted: self.accepted, ..Released::default() }
    }

    pub(super) fn adopt(&mut self, streams: Vec<ReleasedStream>, accepted: u64, poll: &Poll) -> Result<()> {
        self.accepted = self.accepted.max(accepted);
        for ReleasedStream { key, state, unsent, descriptor } in streams {
            self.insert(key, Socket::from(descriptor), state.connecting, poll)?;
            let Some(stream) = self.table.get_mut(&key) else { continue };
            (stream.closing, stream.finished_reading) = (state.closing, state.finished_reading);
            (stream.outbox, stream.dirty) = (Outbox::from_unsent(unsent), true);
            self.dirty.push(key);
        }
        Ok(())
    }
}
