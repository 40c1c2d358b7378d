//! Sends of the io_uring driver that failed: tried again where the failure was not their own, counted and reported otherwise.

use std::io::Error;
use std::os::fd::AsRawFd;

use super::datagrams::{Datagrams, Open, Role};
use super::ring::Ring;
use super::sends::Outgoing;
use crate::base::SocketKey;
use crate::io::{Counters, Traffic, run};

/// Why a send failed that may be tried again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The kernel does not take such runs; by itself it may go.
    Run,
    /// An ICMP error that an earlier one brought.
    Earlier,
    /// Itself.
    Own,
}

impl Datagrams {
    pub(super) fn on_forward_failed(len: u32, result: i32, counters: &mut Counters) {
        counters.sent -= 1;
        counters.sent_bytes -= u64::from(len);
        *failure(counters, -result) += 1;
    }

    pub(super) fn on_send_failed(&mut self, number: u32, result: i32, ring: &mut Ring, counters: &mut Counters) {
        let earlier = self.clear_errors(number, result, counters);
        self.fail(number, result, if earlier { Cause::Earlier } else { Cause::Own }, ring, counters);
    }

    /// All of a run failed together.
    pub(super) fn on_run_failed(
        &mut self,
        (first, count): (u32, u32),
        result: i32,
        ring: &mut Ring,
        counters: &mut Counters,
    ) {
        counters.sent_runs -= 1;
        let cause = match self.refuse_run(first, result) {
            true => {
                counters.runs_refused += 1;
                Cause::Run
            }
            false if self.clear_errors(first, result, counters) => Cause::Earlier,
            false => Cause::Own,
        };
        for number in 0..count {
            self.fail(first.wrapping_add(number), result, cause, ring, counters);
        }
    }

    /// If a run failed for being one, its socket tries none as long again.
    fn refuse_run(&mut self, first: u32, result: i32) -> bool {
        let Some(outgoing) = self.sends.get_mut(first).filter(|outgoing| !outgoing.bytes.is_empty()) else {
            return false;
        };
        let (socket, segment) = (outgoing.socket, u16::try_from(outgoing.bytes.len()).unwrap_or(u16::MAX));
        let Some(bound) = run::refused(&Error::from_raw_os_error(-result), segment) else { return false };
        if let Some(Some(Open { role: Role::Udp { extras, .. }, .. })) = self.sockets.get_mut(socket.0 as usize) {
            extras.segment_max = extras.segment_max.min(bound);
        }
        true
    }

    /// The socket, if it hears of ICMP errors.
    fn hearing(&self, key: SocketKey) -> Option<i32> {
        match self.get(key) {
            Some(Open { socket, role: Role::Udp { traffic: Traffic::Signalling, .. }, .. }) => Some(socket.as_raw_fd()),
            _ => None,
        }
    }

    /// On a socket that hears of ICMP errors a failure may be an earlier one's: true if there was such an error.
    fn clear_errors(&mut self, number: u32, result: i32, counters: &mut Counters) -> bool {
        let Some(socket) = self.sends.get_mut(number).map(|outgoing| outgoing.socket) else { return false };
        let Some(fd) = self.hearing(socket).filter(|_| !is_full(-result)) else { return false };
        self.failed.take_errors(socket, fd, counters)
    }

    /// A send failed: it is tried again where the failure was not its own, counted and reported otherwise.
    fn fail(&mut self, number: u32, result: i32, cause: Cause, ring: &mut Ring, counters: &mut Counters) {
        counters.sent -= 1;
        let Some(outgoing) = self.sends.get_mut(number) else {
            *failure(counters, -result) += 1;
            return;
        };
        let bytes = std::mem::take(&mut outgoing.bytes);
        let Outgoing { socket, to, again, .. } = *outgoing;
        counters.sent_bytes -= bytes.len() as u64;
        if !bytes.is_empty() && (cause == Cause::Run || cause == Cause::Earlier && !again) {
            let outgoing = Outgoing { socket, to, bytes, again: again || cause == Cause::Earlier };
            let _ = self.send_again(outgoing, ring, counters);
            return;
        }
        *failure(counters, -result) += 1;
        if self.hearing(socket).is_some() && !is_full(-result) {
            self.failed.push(socket, to, Error::from_raw_os_error(-result).kind());
        }
    }
}

fn is_full(errno: i32) -> bool {
    matches!(errno, libc::EAGAIN | libc::ENOBUFS)
}

fn failure(counters: &mut Counters, errno: i32) -> &mut u64 {
    if is_full(errno) { &mut counters.send_dropped } else { &mut counters.send_failed }
}
