//! Arrays for `recvmmsg` and `sendmmsg`: one system call takes what a socket holds, one sends a row of datagrams, of which
//! those that follow each other alike go as one (`run.rs`).

use std::io::{Error, Result};
use std::mem::zeroed;
use std::net::SocketAddr;
use std::os::fd::RawFd;

use crate::base::SocketKey;
use crate::io::address::{RawAddress, decode, encode};
use crate::io::control::{CONTROL_BYTES, Control, SegmentLen};
use crate::io::run::{RUN_MAX, Run};

/// Received datagrams and the arrays the kernel reads and writes them by.
pub(super) struct Batch {
    buffers: Box<[u8]>,
    bytes: usize,
    stride: usize,
    names: Box<[RawAddress]>,
    controls: Box<[[u64; CONTROL_BYTES / 8]]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

// SAFETY: the pointers inside `vectors` and `headers` are set anew before each call that uses them.
unsafe impl Send for Batch {}

/// Makes arrays of these, empty.
fn blank() -> (libc::iovec, libc::mmsghdr) {
    // SAFETY: all-zero is a valid `iovec` and a valid `mmsghdr`: null pointers and zero lengths.
    unsafe { (zeroed(), zeroed()) }
}

impl Batch {
    /// Room for `count` datagrams of `bytes` each.
    pub(super) fn new(count: usize, bytes: usize) -> Self {
        // An odd number of cache lines keeps the first lines of all buffers from sharing a few cache sets.
        let stride = (bytes.div_ceil(64) | 1) * 64;
        let (vector, header) = blank();
        Self {
            buffers: vec![0u8; count * stride].into_boxed_slice(),
            bytes,
            stride,
            names: vec![RawAddress::default(); count].into_boxed_slice(),
            controls: vec![[0; CONTROL_BYTES / 8]; count].into_boxed_slice(),
            vectors: vec![vector; count].into_boxed_slice(),
            headers: vec![header; count].into_boxed_slice(),
        }
    }

    /// Takes what the socket holds, as far as there is room, with its control messages if asked. Fewer than
    /// [`len`](Self::len) means it held no more.
    pub(super) fn receive(&mut self, fd: RawFd, with_control: bool) -> Result<usize> {
        let buffers = self.buffers.chunks_exact_mut(self.stride).zip(&mut self.controls);
        let rows = self.headers.iter_mut().zip(&mut self.vectors).zip(self.names.iter_mut().zip(buffers));
        for ((header, vector), (name, (buffer, control))) in rows {
            vector.iov_base = buffer.as_mut_ptr().cast();
            vector.iov_len = self.bytes;
            header.msg_hdr.msg_name = name.0.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = size_of::<RawAddress>() as libc::socklen_t;
            header.msg_hdr.msg_iov = &raw mut *vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = if with_control { control.as_mut_ptr().cast() } else { std::ptr::null_mut() };
            header.msg_hdr.msg_controllen = if with_control { CONTROL_BYTES as _ } else { 0 };
        }
        // SAFETY: each header points to one name, one vector and at most one control buffer of that length, each vector
        // to its own stretch of `buffers`; all were set just above, belong to this value and are not touched during the
        // call.
        let count = unsafe {
            libc::recvmmsg(
                fd,
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        usize::try_from(count).map_err(|_| Error::last_os_error())
    }

    /// Datagrams that fit.
    pub(super) fn len(&self) -> usize {
        self.headers.len()
    }

    /// The `index`th received: where from, what stood beside it, and its bytes; `None` where it was longer than the room
    /// for it.
    pub(super) fn datagram(&mut self, index: usize) -> Option<(SocketAddr, Control, &mut [u8])> {
        let header = &self.headers[index];
        if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            return None;
        }
        let from = decode(&self.names[index].0)?;
        let control = match header.msg_hdr.msg_controllen.min(CONTROL_BYTES) {
            0 => Control::default(),
            len => self.control(index, len),
        };
        let start = index * self.stride;
        Some((from, control, &mut self.buffers[start..start + header.msg_len as usize]))
    }

    fn control(&self, index: usize, len: usize) -> Control {
        let mut bytes = [0; CONTROL_BYTES];
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(&self.controls[index]) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        Control::read(&bytes[..len])
    }

    /// The first `len` bytes of the `index`th.
    pub(super) fn bytes(&self, index: usize, len: usize) -> &[u8] {
        debug_assert!(len <= self.bytes);
        &self.buffers[index * self.stride..][..len]
    }
}

/// Sends one datagram.
pub(super) fn send_one(fd: RawFd, to: SocketAddr, bytes: &[u8]) -> Result<()> {
    let mut name = RawAddress::default();
    let len = encode(to, &mut name.0);
    // SAFETY: pointers and lengths describe `bytes` and `name`, which outlive the call.
    let sent = unsafe {
        libc::sendto(
            fd,
            bytes.as_ptr().cast(),
            bytes.len(),
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            name.0.as_ptr().cast(),
            len,
        )
    };
    if sent < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// Messages sent with one call, each a datagram or a run of them.
const MESSAGES: usize = 32;
/// Datagrams sent with one call.
const DATAGRAMS: usize = 2 * RUN_MAX;

/// The arrays the kernel reads when it sends.
pub(super) struct Row {
    names: Box<[RawAddress]>,
    lens: Box<[SegmentLen]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    counts: Vec<usize>,
}

// SAFETY: the pointers inside `vectors` and `headers` are set anew before each call that uses them.
unsafe impl Send for Row {}

/// How far a row was sent.
pub(super) struct Sent {
    /// Datagrams that left.
    pub(super) datagrams: usize,
    /// Of them, runs of several.
    pub(super) runs: usize,
}

impl Row {
    pub(super) fn new() -> Self {
        let (vector, header) = blank();
        Self {
            names: vec![RawAddress::default(); MESSAGES].into_boxed_slice(),
            lens: vec![SegmentLen::default(); MESSAGES].into_boxed_slice(),
            vectors: vec![vector; DATAGRAMS].into_boxed_slice(),
            headers: vec![header; MESSAGES].into_boxed_slice(),
            counts: Vec::with_capacity(MESSAGES),
        }
    }

    /// Sends the start of a row of datagrams out of one socket, up to the first that fails. If that is the very first: its
    /// error, and with how many others it was to go as one.
    pub(super) fn send<'a>(
        &mut self,
        fd: RawFd,
        row: impl Iterator<Item = (SocketAddr, &'a [u8])>,
        segment_max: u16,
    ) -> std::result::Result<Sent, (Error, usize)> {
        self.fill(row, segment_max);
        // SAFETY: as many headers as there are counts point to names, lengths and vectors of this value, and those to
        // bytes borrowed for `'a`, which the kernel only reads.
        let sent = unsafe {
            libc::sendmmsg(
                fd,
                self.headers.as_mut_ptr(),
                self.counts.len() as libc::c_uint,
                (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
            )
        };
        match usize::try_from(sent) {
            Ok(messages) => {
                let counts = &self.counts[..messages];
                Ok(Sent { datagrams: counts.iter().sum(), runs: counts.iter().filter(|&&count| count > 1).count() })
            }
            Err(_) => Err((Error::last_os_error(), self.counts.first().copied().unwrap_or(1))),
        }
    }

    fn fill<'a>(&mut self, row: impl Iterator<Item = (SocketAddr, &'a [u8])>, segment_max: u16) {
        // All leave by one socket.
        let (socket, mut run) = (SocketKey(0), None::<Run>);
        self.counts.clear();
        for (index, (to, bytes)) in row.take(DATAGRAMS).enumerate() {
            let joins = run.as_mut().is_some_and(|run| run.join(socket, to, bytes.len()));
            if !joins && self.counts.len() == MESSAGES {
                break;
            }
            self.vectors[index] = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            if joins {
                let message = self.counts.len() - 1;
                self.counts[message] += 1;
                let len = self.lens[message].bytes();
                let header = &mut self.headers[message].msg_hdr;
                header.msg_iovlen = self.counts[message] as _;
                header.msg_controllen = len.len() as _;
                header.msg_control = len.as_mut_ptr().cast();
            } else {
                run = Run::begin(socket, to, bytes.len(), segment_max);
                self.begin_message(to, index, run.map_or(0, |run| run.segment));
            }
        }
    }

    fn begin_message(&mut self, to: SocketAddr, index: usize, segment: u16) {
        let message = self.counts.len();
        self.counts.push(1);
        self.lens[message] = SegmentLen::new(segment);
        let (name, header) = (&mut self.names[message], &mut self.headers[message].msg_hdr);
        header.msg_namelen = encode(to, &mut name.0);
        header.msg_name = name.0.as_mut_ptr().cast();
        header.msg_iov = self.vectors[index..].as_mut_ptr();
        header.msg_iovlen = 1;
        (header.msg_control, header.msg_controllen) = (std::ptr::null_mut(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    #[test]
    fn runs_arrive_whole_and_long_ones_are_told_apart() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let to = socket.local_addr().expect("address");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let payloads = [vec![1u8; 100], vec![2u8; 300], vec![3u8; 1]];
        let row = payloads.iter().map(|payload| (to, &payload[..]));
        let sent = Row::new().send(sender.as_raw_fd(), row, 0).map_err(|(error, _)| error).expect("send");
        assert_eq!((sent.datagrams, sent.runs), (3, 0));
        let mut batch = Batch::new(4, 200);
        assert_eq!(batch.receive(socket.as_raw_fd(), false).expect("receive"), 3);
        let from = sender.local_addr().expect("address");
        assert_eq!(batch.datagram(0).map(|(from, _, bytes)| (from, bytes.to_vec())), Some((from, vec![1u8; 100])));
        assert_eq!(batch.datagram(1), None);
        assert_eq!(batch.datagram(2).map(|(_, _, bytes)| bytes.len()), Some(1));
        assert_eq!(batch.bytes(2, 1), [3]);
    }

    #[test]
    fn a_row_goes_in_as_few_messages_as_it_has_runs() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let to = socket.local_addr().expect("address");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let payloads: Vec<Vec<u8>> = [300, 300, 300, 200, 200, 400].map(|len| vec![len as u8; len]).into();
        let row = payloads.iter().map(|payload| (to, &payload[..]));
        let sent = Row::new().send(sender.as_raw_fd(), row, 399).map_err(|(error, _)| error).expect("send");
        assert_eq!((sent.datagrams, sent.runs), (6, 1), "four, one, and one too long for a run");
        let mut bytes = [0; 500];
        let lens = payloads.iter().map(|_| socket.recv(&mut bytes).expect("receive"));
        assert_eq!(lens.collect::<Vec<_>>(), [300, 300, 300, 200, 200, 400]);
    }
}
