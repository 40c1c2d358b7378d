//! Connections of the io_uring driver: a multishot receive each, and one gathering send at a time.
//!
//! A connection's place is kept until its last request has ended, so that completions need no generation and the
//! memory that a send reads stays put.

use std::collections::HashMap;
use std::io::{Error, ErrorKind, IoSlice, Read, Result};
use std::mem::zeroed;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd};

use bytes::Bytes;
use io_uring::types::Fd;
use io_uring::{cqueue, opcode, squeue};
use socket2::Socket;

use super::pool::Pool;
use super::ring::{Completion, Ring};
use super::tag::{Kind, tag};
use crate::base::{SocketKey, StreamKey};
use crate::io::address::{RawAddress, decode, encode};
use crate::io::outbox::{Outbox, WRITE_BUFFERS};
use crate::io::socket::{self, Spare};
use crate::io::{CloseReason, Counters, Handler, Refused, Released, ReleasedStream, StreamEvent, StreamState};

struct Stream {
    key: StreamKey,
    socket: Socket,
    /// What is in the kernel, or to be pushed at the next wait.
    connecting: bool,
    /// A request that ends with the connection is in the kernel.
    asked: bool,
    reading: bool,
    writing: bool,
    /// Its name is dead; the place waits for the requests to end.
    over: bool,
    /// The owner has let go; what is queued still leaves.
    closing: bool,
    finished_reading: bool,
    outbox: Outbox,
    request: Box<WriteRequest>,
}

/// What a gathering send, or a connect, points to.
struct WriteRequest {
    header: libc::msghdr,
    vectors: [libc::iovec; WRITE_BUFFERS],
    name: RawAddress,
    name_len: u32,
}

// SAFETY: the pointers are set anew before each request and point to boxes and buffers owned by the same stream.
unsafe impl Send for WriteRequest {}

impl Stream {
    fn new(key: StreamKey, socket: Socket, connecting: bool) -> Self {
        // SAFETY: all-zero is a valid `msghdr` and a valid `iovec`: null pointers and zero lengths.
        let (header, vectors) = unsafe { (zeroed(), zeroed()) };
        Self {
            key,
            socket,
            connecting,
            asked: false,
            reading: false,
            writing: false,
            over: false,
            closing: false,
            finished_reading: false,
            outbox: Outbox::default(),
            request: Box::new(WriteRequest { header, vectors, name: RawAddress::default(), name_len: 0 }),
        }
    }

    fn fd(&self) -> Fd {
        Fd(self.socket.as_raw_fd())
    }

    /// What the kernel has of it.
    fn requests(&self) -> impl Iterator<Item = Kind> {
        let all = [(self.asked, Kind::Connect), (self.reading, Kind::Read), (self.writing, Kind::Write)];
        all.into_iter().filter_map(|(is_there, kind)| is_there.then_some(kind))
    }

    fn cancel(&self, place: u32, ring: &mut Ring) {
        self.requests().for_each(|kind| ring.cancel(tag(kind, 0, place)));
    }

    fn write_request(&mut self) -> squeue::Entry {
        let mut slices = [IoSlice::new(&[]); WRITE_BUFFERS];
        let count = self.outbox.slices(&mut slices);
        for (vector, slice) in self.request.vectors.iter_mut().zip(&slices[..count]) {
            vector.iov_base = slice.as_ptr().cast_mut().cast();
            vector.iov_len = slice.len();
        }
        self.request.header.msg_iov = self.request.vectors.as_mut_ptr();
        self.request.header.msg_iovlen = count as _;
        opcode::SendMsg::new(self.fd(), &raw const self.request.header).flags(libc::MSG_NOSIGNAL as u32).build()
    }
}

/// What is to be pushed at the next wait.
#[derive(Clone, Copy)]
enum Todo {
    Connect(u32),
    /// Another driver has begun to connect.
    Await(u32),
    Read(u32),
    Write(u32),
    Cancel(u32),
}

pub(super) struct Streams {
    places: Vec<Option<Stream>>,
    free: Vec<u32>,
    names: HashMap<StreamKey, u32, ahash::RandomState>,
    accepted: u64,
    streams_max: usize,
    queue_bytes: usize,
    todo: Vec<Todo>,
    /// Gone, and not yet reported.
    pub(super) gone: Vec<(StreamKey, CloseReason)>,
    spare: Spare,
}

impl Streams {
    pub(super) fn new(streams_max: usize, queue_bytes: usize) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            // The names are our own, so nobody can choose colliding ones.
            names: HashMap::with_hasher(ahash::RandomState::with_seeds(1, 2, 3, 4)),
            accepted: 0,
            streams_max,
            queue_bytes,
            todo: Vec::new(),
            gone: Vec::new(),
            spare: Spare::new(),
        }
    }

    fn get(&mut self, place: u32) -> Option<&mut Stream> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    fn insert(&mut self, stream: Stream) -> u32 {
        let key = stream.key;
        let place = match self.free.pop() {
            Some(place) => {
                self.places[place as usize] = Some(stream);
                place
            }
            None => {
                self.places.push(Some(stream));
                self.places.len() as u32 - 1
            }
        };
        self.names.insert(key, place);
        place
    }

    /// Connections that hold a descriptor, dead ones included.
    fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn connect(&mut self, key: StreamKey, to: SocketAddr, from: Option<IpAddr>) -> Result<()> {
        if self.names.contains_key(&key) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        if self.len() >= self.streams_max {
            return Err(ErrorKind::QuotaExceeded.into());
        }
        let mut stream = Stream::new(key, socket::outgoing(to, from)?, true);
        stream.request.name_len = encode(to, &mut stream.request.name.0);
        let place = self.insert(stream);
        self.todo.push(Todo::Connect(place));
        Ok(())
    }

    pub(super) fn on_accept(
        &mut self,
        listener: SocketKey,
        socket: Option<&Socket>,
        result: i32,
        handler: &mut dyn Handler,
        counters: &mut Counters,
    ) {
        if result < 0 {
            let error = Error::from_raw_os_error(-result);
            if let Some(socket) = socket
                && error.raw_os_error() != Some(libc::ECANCELED)
            {
                counters.accept_refused += 1;
                self.spare.turn_away(&error, socket);
            }
            return;
        }
        // SAFETY: the kernel has just made this descriptor for us.
        let accepted = unsafe { Socket::from_raw_fd(result) };
        match socket.and_then(|_| self.admit(accepted)) {
            Some((stream, local, remote)) => {
                counters.accepted += 1;
                handler.on_stream(StreamEvent::Accepted { listener, stream, local, remote });
            }
            None => counters.accept_refused += 1,
        }
    }

    fn admit(&mut self, socket: Socket) -> Option<(StreamKey, SocketAddr, SocketAddr)> {
        if self.len() >= self.streams_max {
            return None;
        }
        socket::prepare_stream(&socket).ok()?;
        let (local, remote) = (socket::local_address(&socket).ok()?, socket::peer_address(&socket).ok()?);
        let key = StreamKey(StreamKey::ACCEPTED | self.accepted);
        self.accepted += 1;
        let place = self.insert(Stream::new(key, socket, false));
        self.todo.push(Todo::Read(place));
        Some((key, local, remote))
    }

    pub(super) fn send(&mut self, key: StreamKey, bytes: Bytes) -> std::result::Result<(), Refused> {
        let queue_bytes = self.queue_bytes;
        let place = *self.names.get(&key).ok_or(Refused::Gone)?;
        let stream = self.get(place).filter(|stream| !stream.closing).ok_or(Refused::Gone)?;
        let idle = stream.outbox.is_empty() && !stream.connecting;
        stream.outbox.push(bytes, queue_bytes)?;
        if idle {
            self.todo.push(Todo::Write(place));
        }
        Ok(())
    }

    /// Pushes what has come up since the last wait.
    pub(super) fn push(&mut self, ring: &mut Ring, pool: &Pool) {
        let mut todo = std::mem::take(&mut self.todo);
        for step in todo.drain(..) {
            let (Todo::Connect(place)
            | Todo::Await(place)
            | Todo::Read(place)
            | Todo::Write(place)
            | Todo::Cancel(place)) = step;
            let Some(stream) = self.places.get_mut(place as usize).and_then(Option::as_mut) else { continue };
            let request = match step {
                Todo::Connect(_) if !stream.over => {
                    stream.asked = true;
                    let request = &stream.request;
                    opcode::Connect::new(stream.fd(), request.name.0.as_ptr().cast(), request.name_len)
                        .build()
                        .user_data(tag(Kind::Connect, 0, place))
                }
                Todo::Await(_) if !stream.over => {
                    stream.asked = true;
                    opcode::PollAdd::new(stream.fd(), libc::POLLOUT as u32).build().user_data(tag(
                        Kind::Connect,
                        0,
                        place,
                    ))
                }
                Todo::Connect(_) | Todo::Await(_) => {
                    // Closed before it began.
                    stream.connecting = false;
                    self.end(place);
                    continue;
                }
                Todo::Read(_) | Todo::Write(_) if stream.over || stream.connecting => continue,
                Todo::Read(_) if !stream.reading && !stream.finished_reading => {
                    stream.reading = true;
                    opcode::RecvMulti::new(stream.fd(), pool.group()).build().user_data(tag(Kind::Read, 0, place))
                }
                Todo::Write(_) if !stream.writing && !stream.outbox.is_empty() => {
                    stream.writing = true;
                    stream.write_request().user_data(tag(Kind::Write, 0, place))
                }
                Todo::Cancel(_) => {
                    stream.cancel(place, ring);
                    continue;
                }
                _ => continue,
            };
            // SAFETY: the boxed request and the queued buffers stay with the stream, which keeps its place until the
            // request has ended. Without room the ring itself is broken, which the next wait reports.
            unsafe { ring.push(&request) };
        }
        self.todo = todo;
    }

    /// Has the kernel end every request.
    pub(super) fn cancel_all(&self, ring: &mut Ring) {
        for (place, stream) in (0..).zip(&self.places) {
            stream.iter().for_each(|stream| stream.cancel(place, ring));
        }
    }

    /// Whether the kernel still has a request.
    pub(super) fn is_busy(&self) -> bool {
        self.places.iter().flatten().any(|stream| stream.requests().any(|_| true))
    }

    /// Gives up all connections; no request is in the kernel.
    pub(super) fn release(&mut self) -> Released {
        for step in self.todo.drain(..) {
            // Not begun yet: begun now, so that whoever adopts it need only wait.
            if let Todo::Connect(place) = step
                && let Some(Some(stream)) = self.places.get(place as usize)
                && let Some(to) = decode(&stream.request.name.0)
            {
                let _ = stream.socket.connect(&to.into());
            }
        }
        let places = &mut self.places;
        let give = |(key, place): (StreamKey, u32)| {
            let stream = places.get_mut(place as usize)?.take()?;
            let Stream { connecting, closing, finished_reading, outbox, socket, .. } = stream;
            let state = StreamState { connecting, closing, finished_reading };
            Some(ReleasedStream { key, state, unsent: outbox.into_unsent(), descriptor: socket.into() })
        };
        let streams = self.names.drain().filter_map(give).collect();
        (self.places, self.free) = (Vec::new(), Vec::new());
        Released { streams, accepted: self.accepted, ..Released::default() }
    }

    pub(super) fn adopt(&mut self, streams: Vec<ReleasedStream>, accepted: u64) {
        self.accepted = self.accepted.max(accepted);
        for ReleasedStream { key, state, unsent, descriptor } in streams {
            let mut stream = Stream::new(key, descriptor.into(), state.connecting);
            (stream.closing, stream.finished_reading) = (state.closing, state.finished_reading);
            stream.outbox = Outbox::from_unsent(unsent);
            let place = self.insert(stream);
            let steps = if state.connecting {
                [Some(Todo::Await(place)), None]
            } else {
                [Some(Todo::Read(place)), Some(Todo::Write(place))]
            };
            self.todo.extend(steps.into_iter().flatten());
        }
    }

    pub(super) fn on_connect(&mut self, place: u32, result: i32, handler: &mut dyn Handler) {
        let Some(stream) = self.get(place) else { return };
        stream.asked = false;
        if result == -libc::ECANCELED && !stream.over {
            // Paused: the kernel goes on connecting.
            return;
        }
        stream.connecting = false;
        if stream.over || result < 0 {
            self.fail(place, &Error::from_raw_os_error(-result));
            return;
        }
        if let Ok(Some(error)) = stream.socket.take_error() {
            self.fail(place, &error);
            return;
        }
        match socket::local_address(&stream.socket) {
            Ok(local) => {
                let (key, waiting) = (stream.key, !stream.outbox.is_empty());
                self.todo.push(Todo::Read(place));
                if waiting {
                    self.todo.push(Todo::Write(place));
                }
                handler.on_stream(StreamEvent::Connected { stream: key, local });
            }
            Err(error) => self.fail(place, &error),
        }
    }

    pub(super) fn on_read(
        &mut self,
        place: u32,
        completion: Completion,
        pool: &mut Pool,
        handler: &mut dyn Handler,
        counters: &mut Counters,
    ) {
        let buffer = cqueue::buffer_select(completion.flags);
        if let Some(stream) = self.get(place) {
            stream.reading = cqueue::more(completion.flags);
            let live = !stream.over && !stream.closing;
            let key = stream.key;
            match (completion.result, buffer) {
                (1.., Some(id)) if live => {
                    let bytes = &*pool.bytes(id, completion.result.cast_unsigned() as usize);
                    handler.on_stream(StreamEvent::Data { stream: key, bytes });
                }
                (0, _) if !stream.finished_reading => {
                    stream.finished_reading = true;
                    if live {
                        handler.on_stream(StreamEvent::HalfClosed { stream: key });
                    }
                }
                _ => {}
            }
            match -completion.result {
                libc::ENOBUFS => counters.starved += 1,
                error @ 1.. if error != libc::ECANCELED => self.fail(place, &Error::from_raw_os_error(error)),
                _ => {}
            }
            self.after(place);
        }
        if let Some(id) = buffer {
            pool.give_one(id);
        }
    }

    pub(super) fn on_write(&mut self, place: u32, result: i32) {
        let Some(stream) = self.get(place) else { return };
        stream.writing = false;
        match usize::try_from(result) {
            Ok(taken) => stream.outbox.advance(taken),
            Err(_) if matches!(-result, libc::EINTR | libc::EAGAIN | libc::ECANCELED) => {}
            Err(_) => {
                self.fail(place, &Error::from_raw_os_error(-result));
                return;
            }
        }
        self.after(place);
    }

    pub(super) fn close(&mut self, key: StreamKey) {
        self.gone.retain(|(gone, _)| *gone != key);
        let Some(place) = self.names.get(&key).copied() else { return };
        if let Some(stream) = self.get(place) {
            stream.closing = true;
            if stream.connecting {
                self.end(place);
            } else {
                self.after(place);
            }
        }
    }

    /// What a connection needs next, after a completion or a change of mind.
    fn after(&mut self, place: u32) {
        let Some(stream) = self.get(place) else { return };
        let (idle, empty) = (!stream.writing, stream.outbox.is_empty());
        if stream.over || (stream.closing && idle && empty) {
            self.end(place);
            return;
        }
        let read = !stream.reading && !stream.finished_reading && !stream.connecting;
        if idle && !empty {
            self.todo.push(Todo::Write(place));
        }
        if read {
            self.todo.push(Todo::Read(place));
        }
    }

    fn fail(&mut self, place: u32, error: &Error) {
        if let Some(stream) = self.get(place) {
            if !stream.closing && !stream.over {
                let key = stream.key;
                self.gone.push((key, CloseReason::from_error(error)));
            }
            self.end(place);
        }
    }

    /// The name dies now; the place when nothing is in the kernel any more.
    fn end(&mut self, place: u32) {
        let Some(stream) = self.get(place) else { return };
        let (key, first) = (stream.key, !stream.over);
        stream.over = true;
        if first && stream.closing && !stream.connecting {
            // What was sent reaches the peer before the end of the stream does.
            let _ = stream.socket.shutdown(Shutdown::Write);
        }
        let busy = stream.connecting || stream.reading || stream.writing;
        if first {
            self.names.remove(&key);
            if busy {
                self.todo.push(Todo::Cancel(place));
            }
        }
        if !busy && let Some(stream) = self.places[place as usize].take() {
            self.free.push(place);
            if stream.closing && !stream.finished_reading {
                // Closing over unread bytes would reset the connection and with it what the peer has not read yet.
                let _ = (&stream.socket).read(&mut [0; 4096]);
            }
        }
    }
}
