//! The driver on io_uring: what a batch says to the kernel and what the kernel has to say cost one system call.
//!
//! Multishot receives keep every socket armed and pick their buffers from a provided ring; a forwarded datagram is sent
//! from the buffer it came in. Completions are made only while the owner waits (`IORING_SETUP_DEFER_TASKRUN`), so that
//! nothing interrupts it and batches are whole. Needs Linux 6.1.
//!
//! When a ring ends, the kernel interrupts (`EINTR`) a blocking call of the threads that made or used it.

mod datagrams;
mod failures;
mod pool;
mod ring;
mod sends;
mod streams;
mod tag;

use std::io::{ErrorKind, Result};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use io_uring::squeue::Flags;
use io_uring::types::Fd;
use io_uring::{cqueue, opcode};

use super::gather::Gather;
use super::{
    Counters, Driver, Handler, MESSAGE_BYTES_MAX, Options, PACKET_BYTES_MAX, Refused, Released, ReleasedSocket,
    Traffic, UdpOptions, Waker, socket,
};
use crate::base::{SocketKey, StreamKey};
use datagrams::{Datagrams, Role};
use pool::Pool;
use ring::{Completion, Ring};
use streams::Streams;
use tag::{Kind, tag, untag};

/// How long the kernel has to end all requests; it takes microseconds.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Hears of nothing: all that had come was handed over before.
struct Deaf;

impl Handler for Deaf {
    fn on_datagram(&mut self, _: SocketKey, _: std::net::SocketAddr, _: &mut [u8]) -> Option<super::Forward> {
        None
    }
}

/// Completions handled in one batch.
const BATCH: usize = 1024;
const PACKETS: u16 = 0;
const MESSAGES: u16 = 1;

/// See the [module](self).
pub struct Uring {
    // First, so that the kernel lets go of everything below before it is freed.
    ring: Ring,
    datagrams: Datagrams,
    streams: Streams,
    waker: Waker,
    watching_waker: bool,
    /// Whom this batch sends a message.
    messaged: Vec<Waker>,
    gather: Gather,
    counters: Counters,
    options: Options,
}

impl Uring {
    /// A driver without sockets. It stays with the thread that first waits.
    ///
    /// # Errors
    /// The kernel forbids io_uring or is too old for it; [`probe`](fn@super::probe) explains.
    pub fn new(options: Options) -> Result<Self> {
        let ring = Ring::new()?;
        let submitter = ring.submitter();
        let files = u32::try_from(options.sockets_max).unwrap_or(u32::MAX).min(descriptors_max());
        submitter.register_files_sparse(files)?;
        let packets = Pool::new(&submitter, PACKETS, options.packet_buffers, PACKET_BYTES_MAX)?;
        let messages = Pool::new(&submitter, MESSAGES, options.message_buffers, MESSAGE_BYTES_MAX)?;
        let waker = Waker::new()?;
        waker.set_ring(ring.raw_fd());
        Ok(Self {
            datagrams: Datagrams::new(files, packets, messages),
            streams: Streams::new(options.streams_max, options.stream_queue_bytes),
            waker,
            watching_waker: false,
            messaged: Vec::new(),
            gather: Gather::new(options.gather),
            counters: Counters::default(),
            options,
            ring,
        })
    }

    fn check_key(&self, key: SocketKey) -> Result<()> {
        if key.0 as usize >= self.options.sockets_max {
            return Err(ErrorKind::InvalidInput.into());
        }
        if self.datagrams.get(key).is_some() { Err(ErrorKind::AlreadyExists.into()) } else { Ok(()) }
    }

    /// Pushes what was asked for since the last wait.
    fn prepare(&mut self) -> Result<()> {
        if self.datagrams.has_unarmed() && !self.ring.all_taken() {
            // Forwarded buffers come back before receives that had none are tried again.
            self.ring.submit()?;
            self.reclaim();
        }
        if !self.watching_waker {
            let event = Fd(self.waker.raw_fd());
            let request = opcode::PollAdd::new(event, libc::POLLIN as u32).multi(true).build();
            // SAFETY: a poll points to nothing.
            self.watching_waker = unsafe { self.ring.push(&request.user_data(tag(Kind::Wake, 0, 0))) };
        }
        self.datagrams.arm(&mut self.ring);
        self.streams.push(&mut self.ring, self.datagrams.messages());
        Ok(())
    }

    /// Hands over a share of what has completed, and tells how much. `sends` were with the kernel when it was entered.
    fn finish_batch(&mut self, sends: u32, handler: &mut dyn Handler) -> usize {
        let taken = self.ring.all_taken();
        self.reclaim();
        if self.ring.has_completions() {
            self.counters.batches += 1;
            handler.on_batch();
            self.datagrams.begin_batch();
        }
        let enough = self.counters.received + u64::from(self.options.share.max(1));
        let mut count = 0;
        while count < BATCH && self.counters.received < enough {
            let Some(completion) = self.ring.take() else { break };
            count += 1;
            self.hand_over(completion, handler);
        }
        // What is left may tell of a send that failed.
        if taken && !self.ring.has_completions() {
            self.datagrams.settle(sends);
            self.messaged.clear();
        }
        for (stream, reason) in self.streams.gone.drain(..) {
            handler.on_stream(super::StreamEvent::Closed { stream, reason });
        }
        self.datagrams.failed.hand_over(handler);
        count
    }

    /// Has the kernel end whatever it still has.
    fn cancel_all(&mut self) {
        self.datagrams.cancel_all(&mut self.ring);
        self.streams.cancel_all(&mut self.ring);
        if self.watching_waker {
            self.ring.cancel(tag(Kind::Wake, 0, 0));
        }
    }

    /// Pushes what waits for more to join it; the number of the next send.
    fn flush(&mut self) -> u32 {
        self.datagrams.flush(&mut self.ring, &mut self.counters)
    }

    fn reclaim(&mut self) {
        if self.ring.all_taken() {
            self.datagrams.reclaim();
        }
    }

    fn hand_over(&mut self, completion: Completion, handler: &mut dyn Handler) {
        let (kind, generation, index) = untag(completion.tag);
        let (ring, counters) = (&mut self.ring, &mut self.counters);
        match kind {
            Kind::Packet => {
                let about = (Traffic::Media, index, generation);
                self.datagrams.on_receive(about, completion, ring, handler, counters);
            }
            Kind::Signal => {
                let about = (Traffic::Signalling, index, generation);
                self.datagrams.on_receive(about, completion, ring, handler, counters);
            }
            Kind::Forward => Datagrams::on_forward_failed(generation, completion.result, counters),
            Kind::Run => self.datagrams.on_run_failed((index, generation), completion.result, ring, counters),
            Kind::Send => self.datagrams.on_send_failed(index, completion.result, ring, counters),
            Kind::Accept => {
                let listener = self.datagrams.accepting(index, generation, completion.flags);
                self.streams.on_accept(SocketKey(index), listener, completion.result, handler, counters);
            }
            Kind::Connect => self.streams.on_connect(index, completion.result, handler),
            Kind::Read => self.streams.on_read(index, completion, self.datagrams.messages(), handler, counters),
            Kind::Write => self.streams.on_write(index, completion.result),
            Kind::Wake => {
                self.watching_waker = cqueue::more(completion.flags);
                self.waker.take();
            }
            Kind::Message => self.waker.take_message(),
            Kind::Messaged => {
                if let Some(waker) = self.messaged.get(index as usize) {
                    waker.write();
                }
            }
            Kind::Ignored => {}
        }
    }
}

/// The most descriptors this process may have, and so the most files a ring may know.
fn descriptors_max() -> u32 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer describes a live, writable local.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if result == 0 { u32::try_from(limit.rlim_cur).unwrap_or(u32::MAX).min(1 << 20) } else { 1024 }
}

impl Drop for Uring {
    fn drop(&mut self) {
        self.waker.set_ring(-1);
        self.ring.shut_down();
    }
}

impl Driver for Uring {
    fn name(&self) -> &'static str {
        "io_uring"
    }

    fn open_udp(&mut self, key: SocketKey, options: &UdpOptions) -> Result<SocketAddr> {
        self.check_key(key)?;
        let (socket, local) = socket::udp(options)?;
        self.datagrams.add_udp(key, socket, options.bind.is_ipv6(), options.traffic, &self.ring)?;
        Ok(local)
    }

    fn listen(&mut self, key: SocketKey, bind: SocketAddr, reuse_port: bool) -> Result<SocketAddr> {
        self.check_key(key)?;
        let (socket, local) = socket::listener(bind, reuse_port)?;
        self.datagrams.add(key, socket, bind.is_ipv6(), Role::Listener);
        Ok(local)
    }

    fn connect(&mut self, stream: StreamKey, to: SocketAddr, from: Option<IpAddr>) -> Result<()> {
        if stream.0 & (StreamKey::ACCEPTED | StreamKey::ACCEPTED >> 1) != 0 {
            return Err(ErrorKind::InvalidInput.into());
        }
        self.streams.connect(stream, to, from)
    }

    fn close_socket(&mut self, key: SocketKey) {
        self.datagrams.close(key, &mut self.ring, &mut self.counters);
    }

    fn close_stream(&mut self, stream: StreamKey) {
        self.streams.close(stream);
    }

    fn set_dscp(&mut self, key: SocketKey, dscp: u8) -> Result<()> {
        match self.datagrams.get(key) {
            Some(open) if open.role != Role::Listener => socket::set_dscp(&open.socket, open.v6, dscp),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn send(&mut self, socket: SocketKey, to: SocketAddr, bytes: Bytes) -> std::result::Result<(), Refused> {
        self.datagrams.send(socket, to, bytes, &mut self.ring, &mut self.counters)
    }

    fn send_stream(&mut self, stream: StreamKey, bytes: Bytes) -> std::result::Result<(), Refused> {
        let queued = self.streams.send(stream, bytes);
        self.counters.stream_full += u64::from(queued == Err(Refused::Full));
        queued
    }

    fn wait(&mut self, timeout: Option<Duration>, handler: &mut dyn Handler) -> Result<()> {
        self.prepare()?;
        let sends = self.flush();
        let gather = self.gather.span(&self.counters);
        self.ring.wait(timeout, gather)?;
        self.finish_batch(sends, handler);
        Ok(())
    }

    fn gather(&mut self, span: Duration, handler: &mut dyn Handler) -> Result<()> {
        self.prepare()?;
        let sends = self.flush();
        // Not so many that a socket waits for a buffer.
        let many = usize::from(self.options.message_buffers.min(self.options.packet_buffers) / 2).max(1);
        self.ring.rest(span, many)?;
        self.finish_batch(sends, handler);
        Ok(())
    }

    /// Every request is cancelled and its end awaited, so that nothing reads from a socket any more. The kernel tells of twenty
    /// ends each time it is asked; who is left is looked for only when it tells of none.
    fn pause(&mut self, handler: &mut dyn Handler) -> Result<()> {
        let deadline = std::time::Instant::now() + PAUSE_MAX;
        self.flush();
        self.ring.submit()?;
        self.cancel_all();
        loop {
            let sends = self.flush();
            self.ring.wait(Some(Duration::ZERO), Duration::ZERO)?;
            let told = self.finish_batch(sends, handler);
            if told == 0 && !self.datagrams.is_armed() && !self.streams.is_busy() && !self.watching_waker {
                return Ok(());
            }
            if std::time::Instant::now() >= deadline {
                return Err(std::io::Error::new(ErrorKind::TimedOut, "io_uring does not end its requests"));
            }
            if told == 0 {
                std::thread::yield_now();
                self.cancel_all();
            }
        }
    }

    fn release(&mut self) -> Result<Released> {
        // What is queued leaves, and what of it failed is counted.
        for _ in 0..2 {
            let sends = self.flush();
            self.ring.submit()?;
            self.finish_batch(sends, &mut Deaf);
        }
        let mut released = self.streams.release();
        released.sockets = self.datagrams.release(&self.ring, &mut self.counters)?;
        Ok(released)
    }

    fn adopt(&mut self, released: Released) -> Result<()> {
        for ReleasedSocket { key, role, descriptor } in released.sockets {
            self.check_key(key)?;
            self.datagrams.adopt(key, role, descriptor.into(), &self.ring)?;
        }
        self.streams.adopt(released.streams, released.accepted);
        Ok(())
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn wake(&mut self, other: &Waker) {
        let Some(ring) = other.ring() else { return other.wake() };
        if !other.call() {
            return;
        }
        let failed = tag(Kind::Messaged, 0, self.messaged.len() as u32);
        let message = opcode::MsgRingData::new(Fd(ring), 0, tag(Kind::Message, 0, 0), None).build();
        // SAFETY: a message points to nothing.
        if unsafe { self.ring.push(&message.flags(Flags::SKIP_SUCCESS).user_data(failed)) } {
            self.messaged.push(other.clone());
        } else {
            other.write();
        }
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn sample_drops(&mut self, sockets: usize) {
        self.datagrams.sample_drops(sockets, &mut self.counters);
    }
}
