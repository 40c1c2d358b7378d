//! rtnetlink, as much of it as finding next hops needs: asking, listening, and reading messages field by field.

use rustix::net::netlink::{GENERIC, SocketAddrNetlink};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, bind, socket_with};
use socket2::Socket;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// Kinds of messages, as in `linux/rtnetlink.h`.
#[allow(missing_docs, reason = "the kernel's own names")]
pub mod kind {
    pub const ERROR: u16 = 2;
    pub const DONE: u16 = 3;
    pub const NEW_LINK: u16 = 16;
    pub const DEL_LINK: u16 = 17;
    pub const GET_LINK: u16 = 18;
    pub const NEW_ADDRESS: u16 = 20;
    pub const DEL_ADDRESS: u16 = 21;
    pub const GET_ADDRESS: u16 = 22;
    pub const NEW_ROUTE: u16 = 24;
    pub const DEL_ROUTE: u16 = 25;
    pub const GET_ROUTE: u16 = 26;
    pub const NEW_NEIGHBOUR: u16 = 28;
    pub const DEL_NEIGHBOUR: u16 = 29;
    pub const GET_NEIGHBOUR: u16 = 30;
    pub const NEW_RULE: u16 = 32;
    pub const DEL_RULE: u16 = 33;
}

const REQUEST: u16 = 1;
const DUMP: u16 = 0x300;
const HEADER: usize = 16;
/// Links, neighbours, addresses, routes and rules of both families.
const GROUPS: u32 = 1 | 4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 1 << 18;
/// The kernel's dumps come in pieces of at most 32 KiB.
const BUFFER_BYTES: usize = 64 * 1024;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// One message: its kind and what follows its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// See [`kind`].
    pub kind: u16,
    /// A fixed part, then attributes.
    pub body: &'a [u8],
}

/// The messages of one read. What is cut off or says a false length ends it.
pub fn messages(mut octets: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(word(octets, 0)?).ok()?;
        let body = octets.get(HEADER..length)?;
        let message = Message { kind: half(octets, 4)?, body };
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes of a message or of an attribute: kind and value.
pub fn attributes(mut octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(half(octets, 0)?);
        let value = octets.get(4..length)?;
        let kind = half(octets, 2)? & 0x3fff;
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A number in the host's order.
#[must_use]
pub fn word(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*octets.get(at..)?.first_chunk()?))
}

/// The same, 16 bits wide.
#[must_use]
pub fn half(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*octets.get(at..)?.first_chunk()?))
}

/// An address by its length.
#[must_use]
pub fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => Some(IpAddr::from(*octets.first_chunk::<4>()?)),
        16 => Some(IpAddr::from(*octets.first_chunk::<16>()?)),
        _ => None,
    }
}

/// `AF_INET` or `AF_INET6`.
#[must_use]
pub const fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { 2 } else { 10 }
}

/// Appends an attribute.
pub fn push_attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// Appends an address.
pub fn push_address(body: &mut Vec<u8>, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(address) => push_attribute(body, kind, &address.octets()),
        IpAddr::V6(address) => push_attribute(body, kind, &address.octets()),
    }
}

/// A socket to the kernel's routing tables.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// For questions.
    ///
    /// # Errors
    /// The kernel's.
    pub fn asking() -> Result<Self> {
        Self::open(None, 0, ANSWER_TIMEOUT)
    }

    /// For questions to what is not routing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn generic() -> Result<Self> {
        Self::open(Some(GENERIC), 0, ANSWER_TIMEOUT)
    }

    /// For news, which [`wait`](Self::wait) awaits and [`read`](Self::read) takes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn listening() -> Result<Self> {
        let netlink = Self::open(None, GROUPS, ANSWER_TIMEOUT)?;
        netlink.socket.set_recv_buffer_size(1 << 20)?;
        netlink.socket.set_nonblocking(true)?;
        Ok(netlink)
    }

    /// Waits for news, for a word on `calls`, or so long.
    ///
    /// # Errors
    /// The kernel's.
    pub fn wait(&self, calls: BorrowedFd<'_>, patience: Duration) -> Result<()> {
        let entry = |fd: RawFd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut entries = [entry(self.socket.as_raw_fd()), entry(calls.as_raw_fd())];
        let millis = i32::try_from(patience.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
        // SAFETY: the pointer and the count describe a live, writable array of two entries.
        match unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, millis) } {
            -1 => Err(Error::last_os_error()).or_else(|error| match error.kind() {
                ErrorKind::Interrupted => Ok(()),
                _ => Err(error),
            }),
            _ => Ok(()),
        }
    }

    /// No protocol is `NETLINK_ROUTE`.
    fn open(protocol: Option<Protocol>, groups: u32, patience: Duration) -> Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        let socket = Socket::from(socket);
        socket.set_read_timeout(Some(patience))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; BUFFER_BYTES] })
    }

    fn send(&mut self, kind: u16, flags: u16, body: &[u8]) -> Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = u32::try_from(HEADER + body.len()).map_err(Error::other)?;
        let mut message = Vec::with_capacity(HEADER + body.len());
        message.extend(length.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((REQUEST | flags).to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(body);
        self.socket.write_all(&message)
    }

    /// Asks for everything of a kind.
    ///
    /// # Errors
    /// The kernel's.
    pub fn dump(&mut self, kind: u16, body: &[u8], take: &mut dyn FnMut(Message<'_>)) -> Result<()> {
        self.send(kind, DUMP, body)?;
        loop {
            let length = self.socket.read(&mut self.buffer)?;
            for message in messages(&self.buffer[..length]) {
                match message.kind {
                    kind::DONE => return Ok(()),
                    kind::ERROR => return failure(message).map_or(Ok(()), Err),
                    _ => take(message),
                }
            }
        }
    }

    /// Asks for one thing.
    ///
    /// # Errors
    /// The kernel's: `ENETUNREACH`.
    pub fn ask(&mut self, kind: u16, body: &[u8], take: &mut dyn FnMut(Message<'_>)) -> Result<()> {
        self.send(kind, 0, body)?;
        let length = self.socket.read(&mut self.buffer)?;
        for message in messages(&self.buffer[..length]) {
            match message.kind {
                kind::ERROR => return failure(message).map_or(Ok(()), Err),
                _ => take(message),
            }
        }
        Ok(())
    }

    /// Says something that needs no answer; none comes but an error, which is left.
    ///
    /// # Errors
    /// The kernel's.
    pub fn tell(&mut self, kind: u16, body: &[u8]) -> Result<()> {
        const CREATE: u16 = 0x400;
        self.send(kind, CREATE, body)?;
        self.socket.set_nonblocking(true)?;
        let _ = self.socket.read(&mut self.buffer);
        self.socket.set_nonblocking(false)
    }

    /// Takes one batch of news, if there is any. False when some were lost, and everything must be asked anew.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read(&mut self, take: &mut dyn FnMut(Message<'_>)) -> Result<bool> {
        match self.socket.read(&mut self.buffer) {
            Ok(length) => messages(&self.buffer[..length]).for_each(take),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(false),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        Ok(true)
    }
}

/// What an error message says; nothing where it only acknowledges.
fn failure(message: Message<'_>) -> Option<Error> {
    let code = word(message.body, 0)?.cast_signed();
    (code != 0).then(|| Error::from_raw_os_error(-code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn attributes_read_back() {
        let mut body = Vec::new();
        push_attribute(&mut body, 3, b"eth0\0");
        push_address(&mut body, 1, "192.0.2.1".parse().unwrap());
        push_address(&mut body, 5, "fd00::1".parse().unwrap());
        let read: Vec<_> = attributes(&body).collect();
        assert_eq!(read[0], (3, &b"eth0\0"[..]));
        assert_eq!((read[1].0, address(read[1].1)), (1, "192.0.2.1".parse().ok()));
        assert_eq!((read[2].0, address(read[2].1)), (5, "fd00::1".parse().ok()));
        assert_eq!(address(&[1, 2, 3]), None);
    }

    #[test]
    fn the_kernel_lists_its_links() {
        let mut netlink = Netlink::asking().unwrap();
        let mut links = 0;
        let mut count = |message: Message<'_>| links += usize::from(message.kind == kind::NEW_LINK);
        netlink.dump(kind::GET_LINK, &[0; 16], &mut count).unwrap();
        assert!(links > 0);
        let mut body = vec![2, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        push_address(&mut body, 1, "127.0.0.1".parse().unwrap());
        let mut kinds = Vec::new();
        netlink.ask(kind::GET_ROUTE, &body, &mut |message| kinds.push(message.kind)).unwrap();
        assert_eq!(kinds, [kind::NEW_ROUTE]);
    }

    proptest! {
        #[test]
        fn any_octets_end(octets: Vec<u8>) {
            for message in messages(&octets) {
                prop_assert!(attributes(message.body).count() <= octets.len());
            }
        }
    }
}
