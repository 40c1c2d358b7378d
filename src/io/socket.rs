//! Making sockets the way both drivers want them, and what they ask of a socket off the packet path.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::address::{ADDRESS_BYTES, decode};
use super::types::{Traffic, UdpOptions};

/// Connections not yet accepted. The kernel caps it by `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// A peer that takes none of our bytes for so long is given up, also while closing.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// The error with what was being done in its text.
pub(super) fn explain(error: &Error, what: std::fmt::Arguments<'_>) -> Error {
    Error::new(error.kind(), format!("{what}: {error}"))
}

/// A bound UDP socket and its address.
pub(super) fn udp(options: &UdpOptions) -> Result<(Socket, SocketAddr)> {
    let make = || {
        let socket = Socket::new(Domain::for_address(options.bind), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        if options.bind.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if options.reuse_port {
            socket.set_reuse_port(true)?;
        }
        if options.receive_buffer_bytes > 0 {
            set_receive_buffer(&socket, options.receive_buffer_bytes)?;
        }
        if options.dscp > 0 {
            set_dscp(&socket, options.bind.is_ipv6(), options.dscp)?;
        }
        if options.stamped {
            // SAFETY: the option takes one int.
            unsafe { set_int(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)? };
        }
        if options.batched && options.traffic == Traffic::Signalling {
            // Before Linux 5.0 there is no such thing, and each goes by itself.
            // SAFETY: the option takes one int.
            let _ = unsafe { set_int(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_GRO, 1) };
        }
        if options.traffic == Traffic::Signalling {
            set_flag(&socket, options.bind.is_ipv6(), (libc::IP_RECVERR, libc::IPV6_RECVERR), 1)?;
        }
        socket.bind(&options.bind.into())?;
        local_address(&socket).map(|local| (socket, local))
    };
    make().map_err(|error: Error| explain(&error, format_args!("UDP {}", options.bind)))
}

/// What the kernel says and takes beside the datagrams of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extras {
    /// Control messages come with what is received.
    pub(super) control: bool,
    /// The longest datagram that may be sent in a run; 0 for no runs.
    pub(super) segment_max: u16,
}

/// As the socket itself says, which may come from another driver or process.
pub(super) fn extras(socket: &Socket) -> Extras {
    let fd = socket.as_raw_fd();
    let batched = int(fd, libc::SOL_UDP, libc::UDP_GRO);
    let control = batched || int(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS);
    Extras { control, segment_max: if batched { u16::MAX } else { 0 } }
}

/// A TCP listener and its address.
pub(super) fn listener(bind: SocketAddr, reuse_port: bool) -> Result<(Socket, SocketAddr)> {
    let make = || {
        let socket = Socket::new(Domain::for_address(bind), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        if bind.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // A restart must not wait for old connections' TIME_WAIT.
        socket.set_reuse_address(true)?;
        if reuse_port {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&bind.into())?;
        socket.listen(BACKLOG)?;
        local_address(&socket).map(|local| (socket, local))
    };
    make().map_err(|error: Error| explain(&error, format_args!("TCP {bind}")))
}

/// A TCP socket that may connect to `to`.
pub(super) fn outgoing(to: SocketAddr, from: Option<IpAddr>) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if let Some(ip) = from {
        // SAFETY: the option takes one int, which is passed with its size.
        let _ = unsafe { set_int(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1) };
        socket.bind(&SocketAddr::new(ip, 0).into())?;
    }
    prepare_stream(&socket)?;
    Ok(socket)
}

/// What every connection gets, opened or accepted.
pub(super) fn prepare_stream(socket: &Socket) -> Result<()> {
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))
}

/// A descriptor held back, so that a connection can be turned away cleanly when all others are used up.
pub(super) struct Spare(Option<File>);

impl Spare {
    pub(super) fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    /// Accepts one connection only to close it, if `error` says that descriptors ran out. False when there was none.
    pub(super) fn turn_away(&mut self, error: &Error, listener: &Socket) -> bool {
        if !matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
            return false;
        }
        self.0 = None;
        let turned_away = listener.accept().is_ok();
        *self = Self::new();
        turned_away
    }
}

/// Our address.
pub(super) fn local_address(socket: &Socket) -> Result<SocketAddr> {
    internet(socket.local_addr()?)
}

/// The peer's address.
pub(super) fn peer_address(socket: &Socket) -> Result<SocketAddr> {
    internet(socket.peer_addr()?)
}

fn internet(address: SockAddr) -> Result<SocketAddr> {
    address.as_socket().ok_or_else(|| ErrorKind::AddrNotAvailable.into())
}

/// RFC 2474: the six upper bits of the TOS or traffic class octet.
pub(super) fn set_dscp(socket: &Socket, v6: bool, dscp: u8) -> Result<()> {
    set_flag(socket, v6, (libc::IP_TOS, libc::IPV6_TCLASS), i32::from(dscp & 0x3f) << 2)
}

fn set_flag(socket: &Socket, v6: bool, (v4_name, v6_name): (i32, i32), value: i32) -> Result<()> {
    let (level, name) = if v6 { (libc::IPPROTO_IPV6, v6_name) } else { (libc::IPPROTO_IP, v4_name) };
    // SAFETY: each of the options used here takes one int.
    unsafe { set_int(socket.as_raw_fd(), level, name, value) }
}

fn set_receive_buffer(socket: &Socket, bytes: usize) -> Result<()> {
    let value = i32::try_from(bytes).unwrap_or(i32::MAX / 2);
    // SAFETY: the option takes one int. It goes beyond net.core.rmem_max, and is refused without CAP_NET_ADMIN.
    if unsafe { set_int(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, value) }.is_ok() {
        return Ok(());
    }
    socket.set_recv_buffer_size(bytes)
}

/// # Safety
/// The option must take an `int`.
unsafe fn set_int(fd: RawFd, level: i32, name: i32, value: i32) -> Result<()> {
    // SAFETY: the pointer and length describe `value`, which outlives the call.
    let result =
        unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size_of::<i32>() as libc::socklen_t) };
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

/// Whether an option that is an `int` is set.
fn int(fd: RawFd, level: i32, name: i32) -> bool {
    let mut value = 0i32;
    let mut len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the pointer and length describe `value`; the kernel writes at most `len` bytes.
    let result = unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut len) };
    result == 0 && value != 0
}

/// Datagrams the kernel dropped from this socket's receive buffer since it was opened (`SK_MEMINFO_DROPS`).
pub(super) fn kernel_drops(fd: RawFd) -> u32 {
    const SO_MEMINFO: i32 = 55;
    const DROPS: usize = 8;
    let mut info = [0u32; DROPS + 1];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the pointer and length describe `info`; the kernel writes at most `len` bytes.
    let result = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, SO_MEMINFO, info.as_mut_ptr().cast(), &raw mut len) };
    if result == 0 && len as usize == size_of_val(&info) { info[DROPS] } else { 0 }
}

/// Takes one report from the socket's error queue: the datagram to this address failed with this error. Clears the
/// socket's pending error as well, so that the next call on it works.
pub(super) fn take_error(fd: RawFd) -> Option<(SocketAddr, Error)> {
    let mut name = [0u8; ADDRESS_BYTES];
    let mut control = [0u64; 32];
    // SAFETY: all-zero is a valid `msghdr`: null pointers and zero lengths.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_name = name.as_mut_ptr().cast();
    message.msg_namelen = ADDRESS_BYTES as libc::socklen_t;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: every pointer in `message` is null with length zero or describes a live, writable local.
    let result = unsafe { libc::recvmsg(fd, &raw mut message, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) };
    if result < 0 {
        return None;
    }
    let to = decode(name.get(..message.msg_namelen as usize)?)?;
    // SAFETY: the kernel filled `message`; the CMSG macros stay inside `control`, whose address and filled length it
    // holds, and the payload is read only where the header says it is long enough.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while let Some(item) = header.as_ref() {
            let about_error = (item.cmsg_level == libc::IPPROTO_IP && item.cmsg_type == libc::IP_RECVERR)
                || (item.cmsg_level == libc::IPPROTO_IPV6 && item.cmsg_type == libc::IPV6_RECVERR);
            let len = libc::CMSG_LEN(size_of::<libc::sock_extended_err>() as u32) as usize;
            if about_error && item.cmsg_len >= len {
                let report = libc::CMSG_DATA(header).cast::<libc::sock_extended_err>().read_unaligned();
                return Some((to, Error::from_raw_os_error(report.ee_errno.cast_signed())));
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    Some((to, ErrorKind::Other.into()))
}
