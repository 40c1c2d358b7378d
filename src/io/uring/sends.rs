//! What is on its way out by io_uring: datagrams kept until the kernel has taken them, alone or in runs.
//!
//! A send carries `MSG_DONTWAIT` and asks for a completion only if it fails. UDP either takes a datagram at once or
//! refuses it, so when the kernel has taken the request it has copied the bytes, and a datagram that went well costs no
//! completion.

use std::mem::zeroed;
use std::net::SocketAddr;

use bytes::Bytes;
use io_uring::opcode;
use io_uring::squeue::Flags;
use io_uring::types::Fixed;

use super::ring::Ring;
use super::tag::{Kind, tag};
use crate::base::SocketKey;
use crate::io::address::{RawAddress, encode};
use crate::io::control::SegmentLen;
use crate::io::run::{RUN_MAX, Run};
use crate::io::{Counters, Refused};

/// Sends whose bytes are kept until it is known that they did not fail; no more can be on their way to the kernel.
const SENDS: u32 = 1024;
/// Runs that can be on their way to the kernel.
const RUNS: usize = 32;

/// A datagram as it was asked for.
pub(super) struct Outgoing {
    pub(super) socket: SocketKey,
    pub(super) to: SocketAddr,
    pub(super) bytes: Bytes,
    /// It failed once by an earlier one's error.
    pub(super) again: bool,
}

/// The way out of a socket.
#[derive(Clone, Copy)]
pub(super) struct Exit {
    pub(super) fixed: u32,
    pub(super) segment_max: u16,
}

struct Kept {
    number: u32,
    outgoing: Outgoing,
    name: RawAddress,
}

/// A run as the kernel reads it.
struct Request {
    header: libc::msghdr,
    vectors: [libc::iovec; RUN_MAX],
    control: SegmentLen,
    name: RawAddress,
}

/// See the [module](self).
pub(super) struct Sends {
    kept: Vec<Kept>,
    /// The next send's number; its place is that modulo [`SENDS`].
    next: u32,
    /// Sends from here on may be untaken by the kernel, or their failure unseen.
    settled: u32,
    /// The latest sends, not pushed yet since more may join them.
    run: Option<(Run, u32)>,
    requests: Box<[Request]>,
    /// Requests that the kernel may not have read yet.
    used: usize,
}

// SAFETY: the pointers inside `requests` are set anew for each use and point into this value and into bytes it owns.
unsafe impl Send for Sends {}

impl Sends {
    pub(super) fn new() -> Self {
        // SAFETY: all-zero is a valid `msghdr` and a valid `iovec`: null pointers and zero lengths.
        let (header, vector): (libc::msghdr, libc::iovec) = unsafe { (zeroed(), zeroed()) };
        let (control, name) = (SegmentLen::default(), RawAddress::default());
        let request = || Request { header, vectors: [vector; RUN_MAX], control, name };
        let requests = (0..RUNS).map(|_| request()).collect();
        Self { kept: Vec::with_capacity(SENDS as usize), next: 0, settled: 0, run: None, requests, used: 0 }
    }

    /// Sends one datagram, or lets it join the run that is open.
    pub(super) fn send(
        &mut self,
        outgoing: Outgoing,
        exit: Exit,
        ring: &mut Ring,
        counters: &mut Counters,
    ) -> Result<(), Refused> {
        // The place is taken by a send the kernel may not have read yet.
        if self.next.wrapping_sub(self.settled) >= SENDS {
            self.flush(ring, counters);
            if !self.submit(ring) {
                counters.send_dropped += 1;
                return Err(Refused::Full);
            }
            self.settle(self.next);
        }
        let (socket, to, len) = (outgoing.socket, outgoing.to, outgoing.bytes.len());
        if !self.run.as_mut().is_some_and(|(run, _)| run.join(socket, to, len)) {
            self.flush(ring, counters);
            self.run = Run::begin(socket, to, len, exit.segment_max).map(|run| (run, exit.fixed));
        }
        let number = self.keep(outgoing);
        if self.run.is_some() { Ok(()) } else { self.push_one(number, exit.fixed, ring, counters) }
    }

    fn keep(&mut self, outgoing: Outgoing) -> u32 {
        let kept = Kept { number: self.next, outgoing, name: RawAddress::default() };
        let place = (self.next % SENDS) as usize;
        if place < self.kept.len() {
            self.kept[place] = kept;
        } else {
            self.kept.push(kept);
        }
        self.next = self.next.wrapping_add(1);
        self.next.wrapping_sub(1)
    }

    /// Pushes the run that is open: nothing joins it any more.
    pub(super) fn flush(&mut self, ring: &mut Ring, counters: &mut Counters) {
        let Some((run, fixed)) = self.run.take() else { return };
        let first = self.next.wrapping_sub(run.count as u32);
        if run.count == 1 {
            // A failure is counted.
            let _ = self.push_one(first, fixed, ring, counters);
        } else if self.push_run(&run, first, fixed, ring) {
            counters.sent += run.count as u64;
            counters.sent_bytes += run.bytes as u64;
            counters.sent_runs += 1;
        } else {
            counters.send_dropped += run.count as u64;
        }
    }

    fn push_one(&mut self, number: u32, fixed: u32, ring: &mut Ring, counters: &mut Counters) -> Result<(), Refused> {
        let Kept { outgoing, name, .. } = &mut self.kept[(number % SENDS) as usize];
        let to_len = encode(outgoing.to, &mut name.0);
        let len = outgoing.bytes.len();
        let request = opcode::Send::new(Fixed(fixed), outgoing.bytes.as_ptr(), len as u32)
            .flags(libc::MSG_DONTWAIT)
            .dest_addr(name.0.as_ptr().cast())
            .dest_addr_len(to_len)
            .build()
            .flags(Flags::SKIP_SUCCESS)
            .user_data(tag(Kind::Send, 0, number));
        // SAFETY: bytes and address lie in `kept`, which never moves its elements (its capacity is its bound), and the
        // place is not used again before the kernel has taken the request.
        if unsafe { ring.push(&request) } {
            counters.sent += 1;
            counters.sent_bytes += len as u64;
            Ok(())
        } else {
            counters.send_dropped += 1;
            Err(Refused::Full)
        }
    }

    fn push_run(&mut self, run: &Run, first: u32, fixed: u32, ring: &mut Ring) -> bool {
        if self.used == RUNS && !self.submit(ring) {
            return false;
        }
        let Request { header, vectors, control, name } = &mut self.requests[self.used];
        self.used += 1;
        for (vector, number) in vectors[..run.count].iter_mut().zip(0u32..) {
            let bytes = &self.kept[(first.wrapping_add(number) % SENDS) as usize].outgoing.bytes;
            *vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        }
        *control = SegmentLen::new(run.segment);
        header.msg_namelen = encode(run.to, &mut name.0);
        header.msg_name = name.0.as_mut_ptr().cast();
        header.msg_iov = vectors.as_mut_ptr();
        header.msg_iovlen = run.count as _;
        header.msg_controllen = control.bytes().len() as _;
        header.msg_control = control.bytes().as_mut_ptr().cast();
        let request = opcode::SendMsg::new(Fixed(fixed), &raw const *header)
            .flags(libc::MSG_DONTWAIT.cast_unsigned())
            .build()
            .flags(Flags::SKIP_SUCCESS)
            .user_data(tag(Kind::Run, run.count as u32, first));
        // SAFETY: the header, what it points to in `requests`, and the bytes in `kept` stay where they are and are not
        // used again before the kernel has taken the request.
        unsafe { ring.push(&request) }
    }

    fn submit(&mut self, ring: &mut Ring) -> bool {
        let taken = ring.submit().is_ok() && ring.all_taken();
        if taken {
            self.used = 0;
        }
        taken
    }

    /// The kernel has taken everything pushed: its requests may be written again.
    pub(super) fn reclaim(&mut self) {
        self.used = 0;
    }

    /// The number of the next send: all before it are with the kernel once [`Ring::all_taken`], if there is no open run.
    pub(super) fn next_number(&self) -> u32 {
        debug_assert!(self.run.is_none());
        self.next
    }

    /// Lets go of the bytes of sends before `number`.
    pub(super) fn settle(&mut self, number: u32) {
        // Not if a full table has settled beyond it meanwhile.
        for _ in 0..Some(number.wrapping_sub(self.settled)).filter(|count| *count <= SENDS).unwrap_or(0) {
            if let Some(kept) = self.kept.get_mut((self.settled % SENDS) as usize) {
                kept.outgoing.bytes = Bytes::new();
            }
            self.settled = self.settled.wrapping_add(1);
        }
    }

    /// The send of this number, if its place is still its own.
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Outgoing> {
        let kept = self.kept.get_mut((number % SENDS) as usize)?;
        (kept.number == number).then_some(&mut kept.outgoing)
    }
}
