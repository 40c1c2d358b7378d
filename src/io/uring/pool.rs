//! Receive buffers lent to the kernel through a provided-buffer ring. It picks one for each datagram; the driver gives
//! it back when the handler is done with it, or, when it was forwarded from where it lies, once the kernel took it.

use std::io::{Error, Result};
use std::net::SocketAddr;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use crate::io::address::{ADDRESS_BYTES, decode, encode};
use crate::io::control::{CONTROL_BYTES, Control};

/// `struct io_uring_recvmsg_out`: four 32-bit words that a multishot `recvmsg` writes at the start of the buffer.
const HEAD_BYTES: usize = 16;
const CONTROL_LEN_AT: usize = 4;
const PAYLOAD_LEN_AT: usize = 8;
const FLAGS_AT: usize = 12;

/// The words above, then the sender's address.
const SHORT_BYTES: usize = HEAD_BYTES + ADDRESS_BYTES;

/// What stands before a datagram's payload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefix {
    /// The words above and the sender's address.
    Short,
    /// Then room for control messages.
    WithControl,
}

impl Prefix {
    const fn bytes(self) -> usize {
        match self {
            Self::Short => SHORT_BYTES,
            Self::WithControl => SHORT_BYTES + CONTROL_BYTES,
        }
    }
}

/// Pages straight from the kernel, zeroed and there from the start, given back on drop.
struct Pages {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the pages belong to this value alone, like a box.
unsafe impl Send for Pages {}

impl Pages {
    fn new(len: usize) -> Result<Self> {
        let (protection, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE);
        // SAFETY: a fresh anonymous mapping touches nothing that exists.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, kind, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        NonNull::new(start.cast()).map(|start| Self { start, len }).ok_or_else(Error::last_os_error)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and nothing borrows from it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// One datagram as it lies in its buffer.
pub(super) enum Received<'a> {
    Datagram(SocketAddr, Control, &'a mut [u8]),
    Truncated,
}

/// Where a forwarded datagram and its destination lie for the kernel to read.
pub(super) struct Outgoing {
    pub(super) bytes: *const u8,
    pub(super) to: *const libc::sockaddr,
    pub(super) to_len: u32,
}

/// See the [module](self).
pub(super) struct Pool {
    group: u16,
    entries: u16,
    stride: usize,
    buffer_bytes: usize,
    ring: Pages,
    memory: Pages,
    tail: u16,
    /// Forwarded, and perhaps not yet taken by the kernel.
    spent: Vec<u16>,
}

impl Pool {
    /// `entries` buffers (a power of two) with room for payloads of `bytes`, lent to `submitter`'s ring as `group`.
    pub(super) fn new(submitter: &Submitter<'_>, group: u16, entries: u16, bytes: usize) -> Result<Self> {
        let entries = entries.clamp(1, 1 << 15).next_power_of_two();
        let buffer_bytes = Prefix::WithControl.bytes() + bytes;
        // An odd number of cache lines keeps the first lines of all buffers from sharing a few cache sets.
        let stride = (buffer_bytes.div_ceil(64) | 1) * 64;
        let ring = Pages::new(usize::from(entries) * size_of::<BufRingEntry>())?;
        let memory = Pages::new(usize::from(entries) * stride)?;
        // SAFETY: the ring's pages are page-aligned, hold `entries` entries, and live in this value, which the driver
        // drops after its io_uring.
        unsafe { submitter.register_buf_ring_with_flags(ring.start.as_ptr() as u64, entries, group, 0)? };
        let spent = Vec::with_capacity(usize::from(entries));
        let mut pool = Self { group, entries, stride, buffer_bytes, ring, memory, tail: 0, spent };
        for id in 0..entries {
            pool.give(id);
        }
        pool.publish();
        Ok(pool)
    }

    pub(super) fn group(&self) -> u16 {
        self.group
    }

    fn start(&self, id: u16) -> *mut u8 {
        assert!(id < self.entries, "the kernel names only buffers it was lent");
        // SAFETY: `id` is below the number of buffers that `memory` was made for.
        unsafe { self.memory.start.as_ptr().add(usize::from(id) * self.stride) }
    }

    /// Puts a buffer back at the end of the ring. The kernel sees it after [`publish`](Self::publish).
    fn give(&mut self, id: u16) {
        let start = self.start(id);
        let slot = usize::from(self.tail & (self.entries - 1));
        // SAFETY: `slot` is masked to the number of entries; the kernel reads an entry only between head and tail, and
        // this one is beyond the tail. Entry 0 shares its last two bytes with the tail, which no setter touches.
        let entry = unsafe { &mut *self.ring.start.as_ptr().cast::<BufRingEntry>().add(slot) };
        entry.set_addr(start as u64);
        entry.set_len(self.buffer_bytes as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Puts a buffer back and shows it.
    pub(super) fn give_one(&mut self, id: u16) {
        self.give(id);
        self.publish();
    }

    /// Shows the kernel what was given.
    fn publish(&self) {
        // SAFETY: the ring's first entry is initialised (zeroed pages) and holds the tail, which is two-byte aligned
        // and is shared with the kernel by atomic stores only.
        let tail = unsafe { &*BufRingEntry::tail(self.ring.start.as_ptr().cast()).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }

    /// Reads what a multishot `recvmsg` left in a buffer.
    pub(super) fn datagram(&mut self, id: u16, len: usize, prefix: Prefix) -> Option<Received<'_>> {
        let (prefix, payload) = self.bytes(id, len).split_at_mut_checked(prefix.bytes())?;
        let word = |at: usize| u32::from_ne_bytes([prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]]);
        if word(FLAGS_AT) & libc::MSG_TRUNC.cast_unsigned() != 0 {
            return Some(Received::Truncated);
        }
        let len = (word(PAYLOAD_LEN_AT) as usize).min(payload.len());
        let (name, control) = prefix[HEAD_BYTES..].split_at(ADDRESS_BYTES);
        let control = Control::read(&control[..(word(CONTROL_LEN_AT) as usize).min(control.len())]);
        Some(Received::Datagram(decode(name)?, control, &mut payload[..len]))
    }

    /// The first `len` bytes of a buffer the kernel has handed over.
    pub(super) fn bytes(&mut self, id: u16, len: usize) -> &mut [u8] {
        let start = self.start(id);
        // SAFETY: the stretch lies inside the buffer, and the kernel does not touch a buffer between handing it over
        // and getting it back, which needs this value borrowed again.
        unsafe { std::slice::from_raw_parts_mut(start, len.min(self.buffer_bytes)) }
    }

    /// Writes the destination over the sender's address, and marks the buffer as spent: it stays out of the kernel's
    /// hands for receiving until [`reclaim`](Self::reclaim).
    pub(super) fn spend(&mut self, id: u16, to: SocketAddr, prefix: Prefix) -> Outgoing {
        let head = self.bytes(id, SHORT_BYTES);
        let name: &mut [u8; ADDRESS_BYTES] = head[HEAD_BYTES..].first_chunk_mut().expect("the head ends with it");
        let to_len = encode(to, name);
        let start = self.start(id);
        self.spent.push(id);
        // Both lie inside this buffer, of which the prefix is the smallest part.
        Outgoing { bytes: start.wrapping_add(prefix.bytes()), to: start.wrapping_add(HEAD_BYTES).cast(), to_len }
    }

    /// Gives back all spent buffers: the kernel has taken every request that reads them.
    pub(super) fn reclaim(&mut self) {
        if !self.spent.is_empty() {
            for index in 0..self.spent.len() {
                self.give(self.spent[index]);
            }
            self.spent.clear();
            self.publish();
        }
    }
}
