//! UDP sockets and listeners of the io_uring driver: multishot receives into provided buffers, sends by registered file.
//! Forwards leave as `sends.rs` says, from the buffers they came in. Sends that fail: `failures.rs`.

use std::io::{Error, Result};
use std::mem::zeroed;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use bytes::Bytes;
use io_uring::squeue::Flags;
use io_uring::types::{Fd, Fixed};
use io_uring::{cqueue, opcode};
use socket2::Socket;

use super::pool::{Pool, Prefix, Received};
use super::ring::{Completion, Ring};
use super::sends::{Exit, Outgoing, Sends};
use super::tag::{GENERATION_MASK, Kind, tag};
use crate::base::SocketKey;
use crate::io::address::RawAddress;
use crate::io::arrival::{Arrival, Arrivals};
use crate::io::control::CONTROL_BYTES;
use crate::io::failed::Failed;
use crate::io::socket::Extras;
use crate::io::{Counters, Forward, Handler, Refused, ReleasedSocket, Traffic, released, socket};

pub(super) struct Open {
    pub(super) socket: Socket,
    pub(super) v6: bool,
    pub(super) role: Role,
    generation: u32,
    armed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Udp { traffic: Traffic, fixed: u32, drops_seen: u32, extras: Extras },
    Listener,
}

impl Role {
    fn kind(self) -> Kind {
        match self {
            Self::Udp { traffic: Traffic::Media, .. } => Kind::Packet,
            Self::Udp { traffic: Traffic::Signalling, .. } => Kind::Signal,
            Self::Listener => Kind::Accept,
        }
    }
}

impl Open {
    fn prefix(&self) -> Prefix {
        match self.role {
            Role::Udp { extras: Extras { control: true, .. }, .. } => Prefix::WithControl,
            _ => Prefix::Short,
        }
    }
}

pub(super) struct Datagrams {
    pub(super) sockets: Vec<Option<Open>>,
    generation: u32,
    files_max: u32,
    files: u32,
    files_free: Vec<u32>,
    /// Sockets to receive from that have no request in the kernel.
    unarmed: Vec<SocketKey>,
    packets: Pool,
    messages: Pool,
    /// What a multishot receive is to leave before the payload, without and with control messages: only the lengths in
    /// it count.
    shapes: Box<[libc::msghdr; 2]>,
    arrivals: Arrivals,
    pub(super) sends: Sends,
    pub(super) failed: Failed,
    sampled: usize,
}

// SAFETY: `shapes` hold null pointers; everything else is `Send` by itself.
unsafe impl Send for Datagrams {}

impl Datagrams {
    pub(super) fn new(files_max: u32, packets: Pool, messages: Pool) -> Self {
        // SAFETY: all-zero is a valid `msghdr`: null pointers and zero lengths.
        let mut shape: libc::msghdr = unsafe { zeroed() };
        shape.msg_namelen = size_of::<RawAddress>() as libc::socklen_t;
        let with_control = libc::msghdr { msg_controllen: CONTROL_BYTES as _, ..shape };
        Self {
            sockets: Vec::new(),
            generation: 0,
            files_max,
            files: 0,
            files_free: Vec::new(),
            unarmed: Vec::new(),
            packets,
            messages,
            shapes: Box::new([shape, with_control]),
            arrivals: Arrivals::default(),
            sends: Sends::new(),
            failed: Failed::new(),
            sampled: 0,
        }
    }

    pub(super) fn get(&self, key: SocketKey) -> Option<&Open> {
        self.sockets.get(key.0 as usize)?.as_ref()
    }

    pub(super) fn messages(&mut self) -> &mut Pool {
        &mut self.messages
    }

    /// Whether something must be pushed before the next wait.
    pub(super) fn has_unarmed(&self) -> bool {
        !self.unarmed.is_empty()
    }

    pub(super) fn add_udp(
        &mut self,
        key: SocketKey,
        socket: Socket,
        v6: bool,
        traffic: Traffic,
        ring: &Ring,
    ) -> Result<()> {
        let fixed = match self.files_free.pop() {
            Some(fixed) => fixed,
            None if self.files < self.files_max => {
                self.files += 1;
                self.files - 1
            }
            None => return Err(Error::from_raw_os_error(libc::EMFILE)),
        };
        if let Err(error) = ring.submitter().register_files_update(fixed, &[socket.as_raw_fd()]) {
            self.files_free.push(fixed);
            return Err(error);
        }
        let extras = socket::extras(&socket);
        self.add(key, socket, v6, Role::Udp { traffic, fixed, drops_seen: 0, extras });
        Ok(())
    }

    pub(super) fn add(&mut self, key: SocketKey, socket: Socket, v6: bool, role: Role) {
        let index = key.0 as usize;
        if index >= self.sockets.len() {
            self.sockets.resize_with(index + 1, || None);
        }
        self.generation = (self.generation + 1) & GENERATION_MASK;
        self.sockets[index] = Some(Open { socket, v6, role, generation: self.generation, armed: false });
        self.unarmed.push(key);
    }

    pub(super) fn close(&mut self, key: SocketKey, ring: &mut Ring, counters: &mut Counters) {
        self.sends.flush(ring, counters);
        let Some(open) = self.sockets.get_mut(key.0 as usize).and_then(Option::take) else { return };
        if open.armed {
            ring.cancel(tag(open.role.kind(), open.generation, key.0));
        }
        // What was to leave by it does so now, while the kernel still knows the file, and the port is free afterwards.
        if !ring.all_taken() {
            let _ = ring.submit();
        }
        if let Role::Udp { fixed, drops_seen, .. } = open.role {
            let drops = socket::kernel_drops(open.socket.as_raw_fd());
            counters.kernel_dropped += u64::from(drops.wrapping_sub(drops_seen));
            if ring.submitter().register_files_update(fixed, &[-1]).is_ok() {
                self.files_free.push(fixed);
            }
        }
    }

    /// Whether the kernel may still hand something over.
    pub(super) fn is_armed(&self) -> bool {
        self.sockets.iter().flatten().any(|open| open.armed)
    }

    /// Has the kernel end every receive and accept.
    pub(super) fn cancel_all(&self, ring: &mut Ring) {
        for (key, open) in (0..).zip(&self.sockets) {
            if let Some(open) = open.as_ref().filter(|open| open.armed) {
                ring.cancel(tag(open.role.kind(), open.generation, key));
            }
        }
    }

    /// Gives up all sockets; nothing is armed.
    pub(super) fn release(&mut self, ring: &Ring, counters: &mut Counters) -> Result<Vec<ReleasedSocket>> {
        if self.files > 0 {
            ring.submitter().register_files_update(0, &vec![-1; self.files as usize])?;
        }
        (self.files, self.files_free, self.unarmed) = (0, Vec::new(), Vec::new());
        let mut released = Vec::new();
        for (key, place) in (0..).map(SocketKey).zip(&mut self.sockets) {
            let Some(Open { socket, v6, role, .. }) = place.take() else { continue };
            let role = match role {
                Role::Listener => released::Role::Listener { v6 },
                Role::Udp { traffic, drops_seen, .. } => {
                    let drops = socket::kernel_drops(socket.as_raw_fd());
                    counters.kernel_dropped += u64::from(drops.wrapping_sub(drops_seen));
                    released::Role::Udp { traffic, v6 }
                }
            };
            released.push(ReleasedSocket { key, role, descriptor: socket.into() });
        }
        Ok(released)
    }

    pub(super) fn adopt(&mut self, key: SocketKey, role: released::Role, socket: Socket, ring: &Ring) -> Result<()> {
        match role {
            released::Role::Listener { v6 } => self.add(key, socket, v6, Role::Listener),
            released::Role::Udp { traffic, v6 } => {
                let drops = socket::kernel_drops(socket.as_raw_fd());
                self.add_udp(key, socket, v6, traffic, ring)?;
                if let Some(Some(Open { role: Role::Udp { drops_seen, .. }, .. })) =
                    self.sockets.get_mut(key.0 as usize)
                {
                    *drops_seen = drops;
                }
            }
        }
        Ok(())
    }

    /// Pushes a receive or accept for every socket that has none.
    pub(super) fn arm(&mut self, ring: &mut Ring) {
        let mut unarmed = std::mem::take(&mut self.unarmed);
        for key in unarmed.drain(..) {
            let Some(Some(open)) = self.sockets.get_mut(key.0 as usize) else { continue };
            if open.armed {
                continue;
            }
            let request = match open.role {
                Role::Udp { traffic, fixed, extras, .. } => {
                    let pool = if traffic == Traffic::Media { &self.packets } else { &self.messages };
                    let shape = &raw const self.shapes[usize::from(extras.control)];
                    opcode::RecvMsgMulti::new(Fixed(fixed), shape, pool.group()).build()
                }
                Role::Listener => opcode::AcceptMulti::new(Fd(open.socket.as_raw_fd()))
                    .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
                    .build(),
            };
            let request = request.user_data(tag(open.role.kind(), open.generation, key.0));
            // SAFETY: `shapes` are boxed and outlive the ring; buffers come from pools that do as well.
            open.armed = unsafe { ring.push(&request) };
        }
        self.unarmed = unarmed;
    }

    /// The socket that a multishot completion is for, unless it was closed since. Notes when the request has ended.
    fn armed(&mut self, index: u32, generation: u32, flags: u32) -> Option<&Open> {
        let open = self.sockets.get_mut(index as usize)?.as_mut()?;
        if open.generation != generation {
            return None;
        }
        if !cqueue::more(flags) {
            open.armed = false;
            self.unarmed.push(SocketKey(index));
        }
        Some(open)
    }

    /// The listener that accepted, unless it was closed since.
    pub(super) fn accepting(&mut self, index: u32, generation: u32, flags: u32) -> Option<&Socket> {
        let open = self.armed(index, generation, flags)?;
        (open.role == Role::Listener).then_some(&open.socket)
    }

    pub(super) fn on_receive(
        &mut self,
        (traffic, index, generation): (Traffic, u32, u32),
        completion: Completion,
        ring: &mut Ring,
        handler: &mut dyn Handler,
        counters: &mut Counters,
    ) {
        let buffer = cqueue::buffer_select(completion.flags);
        let open = self.armed(index, generation, completion.flags).map(|open| (open.socket.as_raw_fd(), open.prefix()));
        let (Some(id), Ok(len)) = (buffer, usize::try_from(completion.result)) else {
            match (-completion.result, open) {
                (libc::ENOBUFS, _) => counters.starved += 1,
                (libc::ECANCELED, _) | (_, None) => {}
                (_, Some((fd, _))) => {
                    self.failed.take_errors(SocketKey(index), fd, counters);
                }
            }
            return;
        };
        let Some((_, prefix)) = open else { return self.pool(traffic).give_one(id) };
        let pool = if traffic == Traffic::Media { &mut self.packets } else { &mut self.messages };
        let verdict = match pool.datagram(id, len, prefix) {
            Some(Received::Datagram(from, control, bytes)) => {
                let arrival = Arrival { socket: SocketKey(index), traffic, from, control, bytes };
                self.arrivals.hand_over(arrival, handler, counters)
            }
            _ => {
                counters.truncated += 1;
                None
            }
        };
        match verdict {
            Some(forward) => self.forward((traffic, prefix), id, forward, ring, counters),
            None => self.pool(traffic).give_one(id),
        }
        if !self.arrivals.copies.is_empty() {
            self.forward_copies(ring, counters);
        }
    }

    fn forward_copies(&mut self, ring: &mut Ring, counters: &mut Counters) {
        let mut copies = std::mem::take(&mut self.arrivals.copies);
        for (forward, bytes) in copies.drain(..) {
            // What cannot be sent is counted.
            let _ = self.send(forward.socket, forward.to, bytes, ring, counters);
        }
        self.arrivals.copies = copies;
    }

    /// A batch of completions begins.
    pub(super) fn begin_batch(&mut self) {
        self.arrivals.begin();
    }

    fn pool(&mut self, traffic: Traffic) -> &mut Pool {
        if traffic == Traffic::Media { &mut self.packets } else { &mut self.messages }
    }

    fn forward(
        &mut self,
        (traffic, prefix): (Traffic, Prefix),
        id: u16,
        forward: Forward,
        ring: &mut Ring,
        counters: &mut Counters,
    ) {
        let Some(Open { role: Role::Udp { fixed, .. }, .. }) = self.get(forward.socket) else {
            counters.send_gone += 1;
            self.pool(traffic).give_one(id);
            return;
        };
        let fixed = Fixed(*fixed);
        let outgoing = self.pool(traffic).spend(id, forward.to, prefix);
        let request = opcode::Send::new(fixed, outgoing.bytes, forward.len as u32)
            .flags(libc::MSG_DONTWAIT)
            .dest_addr(outgoing.to)
            .dest_addr_len(outgoing.to_len)
            .build()
            .flags(Flags::SKIP_SUCCESS)
            .user_data(tag(Kind::Forward, forward.len as u32, forward.socket.0));
        // SAFETY: bytes and address lie in a pool buffer that stays spent until the kernel has taken the request.
        if unsafe { ring.push(&request) } {
            counters.sent += 1;
            counters.sent_bytes += forward.len as u64;
        } else {
            counters.send_dropped += 1;
        }
    }

    /// The kernel has taken everything pushed: forwarded buffers may be filled again.
    pub(super) fn reclaim(&mut self) {
        self.packets.reclaim();
        self.messages.reclaim();
        self.sends.reclaim();
    }

    pub(super) fn send(
        &mut self,
        socket: SocketKey,
        to: SocketAddr,
        bytes: Bytes,
        ring: &mut Ring,
        counters: &mut Counters,
    ) -> std::result::Result<(), Refused> {
        self.send_again(Outgoing { socket, to, bytes, again: false }, ring, counters)
    }

    pub(super) fn send_again(
        &mut self,
        outgoing: Outgoing,
        ring: &mut Ring,
        counters: &mut Counters,
    ) -> std::result::Result<(), Refused> {
        let Some(Open { role: Role::Udp { fixed, extras, .. }, .. }) = self.get(outgoing.socket) else {
            counters.send_gone += 1;
            return Err(Refused::Gone);
        };
        let exit = Exit { fixed: *fixed, segment_max: extras.segment_max };
        self.sends.send(outgoing, exit, ring, counters)
    }

    /// Pushes what waits for more to join it. The number of the next send: all before it are with the kernel once
    /// [`Ring::all_taken`].
    pub(super) fn flush(&mut self, ring: &mut Ring, counters: &mut Counters) -> u32 {
        self.sends.flush(ring, counters);
        self.sends.next_number()
    }

    /// Lets go of the bytes of sends before `number`.
    pub(super) fn settle(&mut self, number: u32) {
        self.sends.settle(number);
    }

    pub(super) fn sample_drops(&mut self, sockets: usize, counters: &mut Counters) {
        for _ in 0..sockets.min(self.sockets.len()) {
            self.sampled = (self.sampled + 1) % self.sockets.len();
            if let Some(Open { socket, role: Role::Udp { drops_seen, .. }, .. }) = &mut self.sockets[self.sampled] {
                let drops = socket::kernel_drops(socket.as_raw_fd());
                counters.kernel_dropped += u64::from(drops.wrapping_sub(*drops_seen));
                *drops_seen = drops;
            }
        }
    }
}
