//! Sockets. A [`Driver`] moves datagrams and stream bytes between the kernel and a [`Handler`]; everything above is
//! free of system calls. Two drivers face the kernel: [`uring`] (io_uring: one system call moves a whole batch) and
//! [`epoll`] (mio, for hosts that forbid io_uring). [`probe()`] says whether the first can be used and why not. All
//! drivers pass the suite in `tests/conformance`. This room (with `xdp`) is the only one that may be unsafe.
//!
//! A driver belongs to one thread, the one that first calls [`Driver::wait`]; only its [`Waker`] goes elsewhere.
//! Nothing is sent before the next `wait`, so that everything said in answer to one batch leaves together.
//!
//! An echo server, whole:
//!
//! ```
//! use std::net::SocketAddr;
//! use std::time::Duration;
//! use strowger::base::SocketKey;
//! use strowger::io::{self, Driver, Forward, Handler, UdpOptions};
//!
//! struct Echo {
//!     answered: usize,
//! }
//!
//! impl Handler for Echo {
//!     fn on_datagram(&mut self, socket: SocketKey, from: SocketAddr, bytes: &mut [u8]) -> Option<Forward> {
//!         bytes.reverse();
//!         self.answered += 1;
//!         Some(Forward { socket, to: from, len: bytes.len() })
//!     }
//! }
//!
//! let mut driver = io::epoll::Epoll::new(io::Options::default())?;
//! let address = driver.open_udp(SocketKey(0), &UdpOptions::media("127.0.0.1:0".parse().unwrap()))?;
//! let phone = std::net::UdpSocket::bind("127.0.0.1:0")?;
//! phone.send_to(b"hello", address)?;
//!
//! let mut echo = Echo { answered: 0 };
//! while echo.answered == 0 {
//!     driver.wait(Some(Duration::from_secs(1)), &mut echo)?;
//! }
//! let mut answer = [0; 16];
//! let len = phone.recv(&mut answer)?;
//! assert_eq!(&answer[..len], b"olleh");
//! # Ok::<(), std::io::Error>(())
//! ```

pub mod address;
mod arrival;
mod control;
pub mod epoll;
mod failed;
mod gather;
pub mod limits;
mod outbox;
mod probe;
mod released;
mod run;
mod socket;
mod stamp;
mod types;
pub mod uring;
mod waker;

use std::io::{ErrorKind, Result};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

pub use crate::base::Forward;
use crate::base::{Instant, SocketKey, StreamKey};
pub use probe::{Backend, Choice, probe};
pub use released::{Released, ReleasedSocket, ReleasedStream, Role, StreamState};
pub use types::{
    CloseReason, Counters, GatherMax, MESSAGE_BYTES_MAX, Options, PACKET_BYTES_MAX, Refused, StreamEvent, Traffic,
    UdpOptions,
};
pub use waker::Waker;

/// What a driver tells its owner during [`Driver::wait`].
pub trait Handler {
    /// The kernel returned and at least one of the other calls, or a wake-up, follows: the moment to read the clock,
    /// once for all of them.
    fn on_batch(&mut self) {}

    /// One whole datagram. It may be changed in place, and forwarded from where it lies.
    fn on_datagram(&mut self, socket: SocketKey, from: SocketAddr, bytes: &mut [u8]) -> Option<Forward>;

    /// The same of a socket opened with [`UdpOptions::stamped`], with the time at which the kernel took it from the network
    /// (CLOCK_MONOTONIC, never after now), however long it waited since. If the wall clock is set in between, what waits
    /// just then is stamped wrongly by as much; in the first moments after the first such socket of a host was opened, the
    /// time is that of looking.
    fn on_stamped(
        &mut self,
        arrived: Instant,
        socket: SocketKey,
        from: SocketAddr,
        bytes: &mut [u8],
    ) -> Option<Forward> {
        let _ = arrived;
        self.on_datagram(socket, from, bytes)
    }

    /// Something happened on a connection.
    fn on_stream(&mut self, event: StreamEvent<'_>) {
        let _ = event;
    }

    /// A datagram given to [`Driver::send`] did not reach `to`: an ICMP error, no route. Only for
    /// [`Signalling`](Traffic::Signalling) sockets; with `reuse_port` the kernel may report it to a sibling socket.
    /// Failures of forwards are only counted.
    fn on_send_error(&mut self, socket: SocketKey, to: SocketAddr, kind: ErrorKind) {
        let _ = (socket, to, kind);
    }
}

/// A way to the kernel (or to a pretended network).
pub trait Driver: Send {
    /// `"io_uring"`, `"epoll"`: as it stands in settings and metric labels.
    fn name(&self) -> &'static str;

    /// Opens and binds a UDP socket under `key`, and begins to receive. Returns the address with its real port.
    ///
    /// # Errors
    /// The kernel's, with the address in the text: `AddrInUse`, `PermissionDenied`, `AddrNotAvailable`, …;
    /// `AlreadyExists` when the key is taken, `InvalidInput` when it is beyond [`Options::sockets_max`].
    fn open_udp(&mut self, key: SocketKey, options: &UdpOptions) -> Result<SocketAddr>;

    /// Opens a TCP listener under `key`. Returns the address with its real port.
    ///
    /// # Errors
    /// As [`open_udp`](Self::open_udp).
    fn listen(&mut self, key: SocketKey, bind: SocketAddr, reuse_port: bool) -> Result<SocketAddr>;

    /// Begins a TCP connection, from `from` when given; `Connected` or `Closed` follows. Data may be queued at once.
    ///
    /// # Errors
    /// `AlreadyExists` for a name in use, `InvalidInput` for a name not the owner's to give ([`StreamKey::ACCEPTED`]
    /// or the bit below it), `QuotaExceeded` at [`Options::streams_max`], or that no socket can be made.
    fn connect(&mut self, stream: StreamKey, to: SocketAddr, from: Option<IpAddr>) -> Result<()>;

    /// Closes a UDP socket or a listener; accepted connections stay. What was queued for sending still leaves.
    fn close_socket(&mut self, key: SocketKey);

    /// Sends what is queued as far as the peer takes it, then closes. No event follows.
    fn close_stream(&mut self, stream: StreamKey);

    /// Changes the DSCP of a UDP socket.
    ///
    /// # Errors
    /// `NotFound`, or the kernel's.
    fn set_dscp(&mut self, key: SocketKey, dscp: u8) -> Result<()>;

    /// Queues one datagram; it leaves with the next [`wait`](Self::wait) or when the batch is full.
    ///
    /// # Errors
    /// [`Refused::Gone`], also counted.
    fn send(&mut self, socket: SocketKey, to: SocketAddr, bytes: Bytes) -> std::result::Result<(), Refused>;

    /// Queues bytes on a connection, also on one that is not up yet.
    ///
    /// # Errors
    /// [`Refused::Full`] beyond [`Options::stream_queue_bytes`], counted; nothing of `bytes` is sent then.
    fn send_stream(&mut self, stream: StreamKey, bytes: Bytes) -> std::result::Result<(), Refused>;

    /// Sends what is queued, waits until something happens, the waker is called or `timeout` has passed (never
    /// earlier), and hands over one bounded batch. `None` waits for ever; zero only looks.
    ///
    /// # Errors
    /// Only when the driver itself is broken. A peer's doings are events or counts.
    fn wait(&mut self, timeout: Option<Duration>, handler: &mut dyn Handler) -> Result<()>;

    /// As [`wait`](Self::wait), but what comes does not wake the owner: it lies until `span` is over, or there is much of
    /// it, and is then handed over in one batch. A waker is heard at the end.
    ///
    /// # Errors
    /// As `wait`.
    fn gather(&mut self, span: Duration, handler: &mut dyn Handler) -> Result<()>;

    /// Stops reading: nothing comes from the kernel any more, and what had come already is handed over now. Sending goes
    /// on, and [`release`](Self::release) follows.
    ///
    /// # Errors
    /// The driver itself is broken.
    fn pause(&mut self, handler: &mut dyn Handler) -> Result<()>;

    /// Sends what is queued and gives up every descriptor and every queue; to be called after [`pause`](Self::pause).
    ///
    /// # Errors
    /// The driver itself is broken.
    fn release(&mut self) -> Result<Released>;

    /// Takes on what another driver, or this one, has released, and goes on where that stopped.
    ///
    /// # Errors
    /// As [`open_udp`](Self::open_udp).
    fn adopt(&mut self, released: Released) -> Result<()>;

    /// A handle by which any thread ends a `wait`, the present one or else the next.
    fn waker(&self) -> Waker;

    /// Ends another driver's wait, together with the next batch where the kernel can: cheaper than
    /// [`Waker::wake`] from a thread that drives.
    fn wake(&mut self, other: &Waker) {
        other.wake();
    }

    /// What has been done so far.
    fn counters(&self) -> &Counters;

    /// Asks the kernel how many datagrams it dropped from up to `sockets` sockets' receive buffers, in rotation, and
    /// adds the news to [`Counters::kernel_dropped`]. One system call a socket.
    fn sample_drops(&mut self, sockets: usize);
}
