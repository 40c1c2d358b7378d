//! Datagrams on their way out by the epoll driver: queued, sent in rows, and what becomes of those that fail.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::os::fd::RawFd;

use bytes::Bytes;

use super::batch::{self, Row, send_one};
use super::sockets::Sockets;
use crate::base::SocketKey;
use crate::io::failed::Failed;
use crate::io::{Counters, Traffic, run};

/// Datagrams queued before they are sent without waiting for the end of the batch.
const QUEUE: usize = 1024;

struct Queued {
    socket: SocketKey,
    to: SocketAddr,
    bytes: Bytes,
}

/// The socket that a row leaves by.
#[derive(Clone, Copy)]
struct Exit {
    fd: RawFd,
    traffic: Traffic,
    segment_max: u16,
}

pub(super) struct Sending {
    queue: Vec<Queued>,
    row: Row,
    pub(super) failed: Failed,
}

impl Sending {
    pub(super) fn new() -> Self {
        Self { queue: Vec::with_capacity(QUEUE), row: Row::new(), failed: Failed::new() }
    }

    /// Queues a datagram; true when it is time to send.
    #[inline]
    pub(super) fn push(&mut self, socket: SocketKey, to: SocketAddr, bytes: Bytes) -> bool {
        self.queue.push(Queued { socket, to, bytes });
        self.queue.len() >= QUEUE
    }

    /// Whether something is to leave by this socket.
    pub(super) fn has(&self, socket: SocketKey) -> bool {
        self.queue.iter().any(|queued| queued.socket == socket)
    }

    /// Sends what is queued, what leaves by one socket together.
    pub(super) fn flush(&mut self, sockets: &mut Sockets, counters: &mut Counters) {
        let mut queue = std::mem::take(&mut self.queue);
        let mut rest = &queue[..];
        while let Some(first) = rest.first() {
            let socket = first.socket;
            let len = rest.iter().take_while(|queued| queued.socket == socket).count();
            let Some((fd, traffic, extras)) = sockets.udp(socket) else {
                counters.send_gone += 1;
                rest = &rest[1..];
                continue;
            };
            let exit = Exit { fd, traffic, segment_max: extras.segment_max };
            rest = &rest[self.send_row(&rest[..len], exit, sockets, counters)..];
        }
        queue.clear();
        self.queue = queue;
    }

    /// Sends the start of a row that leaves by one socket; how far it is dealt with.
    fn send_row(&mut self, row: &[Queued], exit: Exit, sockets: &mut Sockets, counters: &mut Counters) -> usize {
        let sent = match row {
            [one] => match send_one(exit.fd, one.to, &one.bytes) {
                Ok(()) => Ok(batch::Sent { datagrams: 1, runs: 0 }),
                Err(error) => Err((error, 1)),
            },
            _ => {
                let each = row.iter().map(|queued| (queued.to, &queued.bytes[..]));
                self.row.send(exit.fd, each, exit.segment_max)
            }
        };
        match sent {
            Ok(sent) => {
                counters.sent_runs += sent.runs as u64;
                for queued in &row[..sent.datagrams] {
                    settle(counters, queued.bytes.len(), Ok(()));
                }
                sent.datagrams
            }
            Err((error, 1)) => {
                self.one_failed(&row[0], exit, error, counters);
                1
            }
            Err((error, count)) => self.run_failed(&row[..count], exit, &error, sockets, counters),
        }
    }

    /// A run failed; how far it is dealt with. If it failed for being a run, its socket tries none as long again.
    fn run_failed(
        &mut self,
        row: &[Queued],
        exit: Exit,
        error: &Error,
        sockets: &mut Sockets,
        counters: &mut Counters,
    ) -> usize {
        let segment = row.first().map_or(0, |first| first.bytes.len() as u16);
        if let Some(bound) = run::refused(error, segment) {
            counters.runs_refused += 1;
            if let Some(first) = row.first() {
                sockets.bound_runs(first.socket, bound);
            }
            return 0;
        }
        let earlier = exit.traffic == Traffic::Signalling
            && error.kind() != ErrorKind::WouldBlock
            && row.first().is_some_and(|first| self.failed.take_errors(first.socket, exit.fd, counters));
        for queued in row {
            let sent = if earlier { send_one(exit.fd, queued.to, &queued.bytes) } else { Err(again(error)) };
            self.conclude(queued, exit, sent, counters);
        }
        row.len()
    }

    /// One datagram failed. On a socket that hears of ICMP errors that may be an earlier one's failure: once those are
    /// taken it is tried again.
    fn one_failed(&mut self, queued: &Queued, exit: Exit, error: Error, counters: &mut Counters) {
        let earlier = exit.traffic == Traffic::Signalling
            && error.kind() != ErrorKind::WouldBlock
            && self.failed.take_errors(queued.socket, exit.fd, counters);
        let sent = if earlier { send_one(exit.fd, queued.to, &queued.bytes) } else { Err(error) };
        self.conclude(queued, exit, sent, counters);
    }

    /// Counts a send, and reports a failure where the socket hears of ICMP errors.
    fn conclude(&mut self, queued: &Queued, exit: Exit, sent: Result<()>, counters: &mut Counters) {
        if let Some(kind) = settle(counters, queued.bytes.len(), sent)
            && exit.traffic == Traffic::Signalling
        {
            self.failed.push(queued.socket, queued.to, kind);
        }
    }
}

/// The same error once more.
fn again(error: &Error) -> Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), Error::from_raw_os_error)
}

/// Counts a send; returns why it failed, if it did for good.
#[inline]
pub(super) fn settle(counters: &mut Counters, len: usize, sent: Result<()>) -> Option<ErrorKind> {
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
