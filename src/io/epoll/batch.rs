//! Arrays for `recvmmsg` and `sendmmsg`: one system call takes what a socket holds, one sends a run of datagrams.

use std::io::{Error, Result};
use std::mem::zeroed;
use std::net::SocketAddr;
use std::os::fd::RawFd;

use crate::io::address::{RawAddress, decode, encode};

/// Received datagrams and the arrays the kernel reads and writes them by.
pub(super) struct Batch {
    buffers: Box<[u8]>,
    bytes: usize,
    stride: usize,
    names: Box<[RawAddress]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

// SAFETY: the pointers inside `vectors` and `headers` are set anew before each call that uses them.
unsafe impl Send for Batch {}

impl Batch {
    /// Room for `count` datagrams of `bytes` each.
    pub(super) fn new(count: usize, bytes: usize) -> Self {
        // An odd number of cache lines keeps the first lines of all buffers from sharing a few cache sets.
        let stride = (bytes.div_ceil(64) | 1) * 64;
        // SAFETY: all-zero is a valid `iovec` and a valid `mmsghdr`.
        let (vector, header): (libc::iovec, libc::mmsghdr) = unsafe { (zeroed(), zeroed()) };
        Self {
            buffers: vec![0u8; count * stride].into_boxed_slice(),
            bytes,
            stride,
            names: vec![RawAddress::default(); count].into_boxed_slice(),
            vectors: vec![vector; count].into_boxed_slice(),
            headers: vec![header; count].into_boxed_slice(),
        }
    }

    /// Takes what the socket holds, as far as there is room. Fewer than [`len`](Self::len) means it held no more.
    pub(super) fn receive(&mut self, fd: RawFd) -> Result<usize> {
        let buffers = self.buffers.chunks_exact_mut(self.stride);
        let rows = self.headers.iter_mut().zip(&mut self.vectors).zip(self.names.iter_mut().zip(buffers));
        for ((header, vector), (name, buffer)) in rows {
            vector.iov_base = buffer.as_mut_ptr().cast();
            vector.iov_len = self.bytes;
            header.msg_hdr.msg_name = name.0.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = size_of::<RawAddress>() as libc::socklen_t;
            header.msg_hdr.msg_iov = &raw mut *vector;
            header.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: each header points to one name and one vector, each vector to its own stretch of `buffers`; all were
        // set just above, belong to this value and are not touched during the call.
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

    /// The `index`th received: where from and its bytes; `None` where it was longer than the room for it.
    pub(super) fn datagram(&mut self, index: usize) -> Option<(SocketAddr, &mut [u8])> {
        let header = &self.headers[index];
        if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            return None;
        }
        let from = decode(&self.names[index].0)?;
        let start = index * self.stride;
        Some((from, &mut self.buffers[start..start + header.msg_len as usize]))
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

/// Datagrams sent with one call.
pub(super) const RUN: usize = 32;

/// Sends a run of datagrams out of one socket, at most [`RUN`]; returns how many left before the first that failed.
pub(super) fn send_run<'a>(fd: RawFd, run: impl Iterator<Item = (SocketAddr, &'a [u8])>) -> Result<usize> {
    let mut names = [RawAddress::default(); RUN];
    // SAFETY: all-zero is a valid `iovec` and a valid `mmsghdr`.
    let (mut vectors, mut headers): ([libc::iovec; RUN], [libc::mmsghdr; RUN]) = unsafe { (zeroed(), zeroed()) };
    let mut count = 0;
    for (((to, bytes), name), (vector, header)) in run.zip(&mut names).zip(vectors.iter_mut().zip(&mut headers)) {
        header.msg_hdr.msg_namelen = encode(to, &mut name.0);
        header.msg_hdr.msg_name = (&raw mut *name).cast();
        vector.iov_base = bytes.as_ptr().cast_mut().cast();
        vector.iov_len = bytes.len();
        header.msg_hdr.msg_iov = &raw mut *vector;
        header.msg_hdr.msg_iovlen = 1;
        count += 1;
    }
    // SAFETY: the first `count` headers point to live names and vectors of this frame, and those to bytes borrowed
    // for `'a`, which the kernel only reads.
    let sent =
        unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), count, (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _) };
    usize::try_from(sent).map_err(|_| Error::last_os_error())
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
        let run = payloads.iter().map(|payload| (to, &payload[..]));
        assert_eq!(send_run(sender.as_raw_fd(), run).expect("send"), 3);
        let mut batch = Batch::new(4, 200);
        assert_eq!(batch.receive(socket.as_raw_fd()).expect("receive"), 3);
        let from = sender.local_addr().expect("address");
        assert_eq!(batch.datagram(0).map(|(from, bytes)| (from, bytes.to_vec())), Some((from, vec![1u8; 100])));
        assert_eq!(batch.datagram(1), None);
        assert_eq!(batch.datagram(2).map(|(_, bytes)| bytes.len()), Some(1));
        assert_eq!(batch.bytes(2, 1), [3]);
    }
}
