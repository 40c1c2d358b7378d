//! A handler that writes down what it is told, and loops that drive a driver until something is so.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use strowger::base::{Instant as Moment, SocketKey, StreamKey};
use strowger::io::epoll::Epoll;
use strowger::io::uring::Uring;
use strowger::io::{CloseReason, Driver, Forward, Handler, Options, StreamEvent};

/// How a test makes its drivers.
pub type Make = fn(Options) -> Box<dyn Driver>;

/// Long enough that only a broken driver gets there.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn epoll(options: Options) -> Box<dyn Driver> {
    Box::new(Epoll::new(options).expect("epoll"))
}

pub fn uring(options: Options) -> Box<dyn Driver> {
    Box::new(Uring::new(options).expect("io_uring"))
}

/// Where io_uring is forbidden its half is skipped by name, unless skipping is forbidden too.
pub fn uring_usable() -> bool {
    match strowger::io::probe() {
        Ok(()) => true,
        Err(why) => {
            assert!(std::env::var_os("STROWGER_NO_SKIP").is_none(), "io_uring cannot be tested: {why}");
            eprintln!("skipped: {why}");
            false
        }
    }
}

/// What happened on a connection, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Accepted { listener: SocketKey, stream: StreamKey, local: SocketAddr, remote: SocketAddr },
    Connected { stream: StreamKey, local: SocketAddr },
    HalfClosed { stream: StreamKey },
    Closed { stream: StreamKey, reason: CloseReason },
}

type Rule = Box<dyn FnMut(SocketKey, SocketAddr, &mut [u8]) -> Option<Forward>>;

#[derive(Default)]
pub struct Recorder {
    pub batches: usize,
    pub datagrams: Vec<(SocketKey, SocketAddr, Vec<u8>)>,
    /// When they came, where the kernel said so.
    pub arrivals: Vec<Moment>,
    pub streams: Vec<Seen>,
    pub data: Vec<(StreamKey, Vec<u8>)>,
    pub errors: Vec<(SocketKey, SocketAddr, ErrorKind)>,
    pub rule: Option<Rule>,
}

impl Recorder {
    pub fn forwarding(rule: impl FnMut(SocketKey, SocketAddr, &mut [u8]) -> Option<Forward> + 'static) -> Self {
        Self { rule: Some(Box::new(rule)), ..Self::default() }
    }

    /// All bytes of one connection so far.
    pub fn bytes(&self, stream: StreamKey) -> Vec<u8> {
        self.data.iter().filter(|(key, _)| *key == stream).flat_map(|(_, bytes)| bytes.clone()).collect()
    }

    pub fn accepted(&self) -> Option<StreamKey> {
        self.streams.iter().find_map(|seen| match seen {
            Seen::Accepted { stream, .. } => Some(*stream),
            _ => None,
        })
    }

    pub fn closed(&self, stream: StreamKey) -> Option<CloseReason> {
        self.streams.iter().find_map(|seen| match seen {
            Seen::Closed { stream: gone, reason } if *gone == stream => Some(*reason),
            _ => None,
        })
    }

    pub fn half_closed(&self, stream: StreamKey) -> bool {
        self.streams.contains(&Seen::HalfClosed { stream })
    }
}

impl Handler for Recorder {
    fn on_batch(&mut self) {
        self.batches += 1;
    }

    fn on_datagram(&mut self, socket: SocketKey, from: SocketAddr, bytes: &mut [u8]) -> Option<Forward> {
        self.datagrams.push((socket, from, bytes.to_vec()));
        self.rule.as_mut().and_then(|rule| rule(socket, from, bytes))
    }

    fn on_stamped(
        &mut self,
        arrived: Moment,
        socket: SocketKey,
        from: SocketAddr,
        bytes: &mut [u8],
    ) -> Option<Forward> {
        self.arrivals.push(arrived);
        self.on_datagram(socket, from, bytes)
    }

    fn on_stream(&mut self, event: StreamEvent<'_>) {
        self.streams.push(match event {
            StreamEvent::Accepted { listener, stream, local, remote } => {
                Seen::Accepted { listener, stream, local, remote }
            }
            StreamEvent::Connected { stream, local } => Seen::Connected { stream, local },
            StreamEvent::HalfClosed { stream } => Seen::HalfClosed { stream },
            StreamEvent::Closed { stream, reason } => Seen::Closed { stream, reason },
            StreamEvent::Data { stream, bytes } => {
                self.data.push((stream, bytes.to_vec()));
                return;
            }
        });
    }

    fn on_send_error(&mut self, socket: SocketKey, to: SocketAddr, kind: ErrorKind) {
        self.errors.push((socket, to, kind));
    }
}

/// Waits until `so`, or fails.
pub fn until(driver: &mut dyn Driver, seen: &mut Recorder, mut so: impl FnMut(&Recorder) -> bool) {
    let start = Instant::now();
    while !so(seen) {
        assert!(start.elapsed() < PATIENCE, "it did not come: {:?} {:?}", seen.streams, driver.counters());
        driver.wait(Some(Duration::from_millis(20)), seen).expect("wait");
    }
}

/// Waits some rounds for what must not come, or for what was queued to leave.
pub fn settle(driver: &mut dyn Driver, seen: &mut Recorder) {
    for _ in 0..5 {
        driver.wait(Some(Duration::from_millis(5)), seen).expect("wait");
    }
}

pub fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().expect("literal")
}

pub fn loopback_v6() -> SocketAddr {
    "[::1]:0".parse().expect("literal")
}

/// A peer on the kernel's own sockets.
pub fn phone(like: SocketAddr) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(SocketAddr::new(like.ip(), 0)).expect("bind");
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let address = socket.local_addr().expect("address");
    (socket, address)
}

pub fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut bytes = vec![0; 70_000];
    loop {
        match socket.recv_from(&mut bytes) {
            Ok((len, from)) => {
                bytes.truncate(len);
                return (bytes, from);
            }
            // The end of a ring interrupts the thread that used it.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("no datagram: {error}"),
        }
    }
}

/// Few enough keys to reach beyond.
pub fn options() -> Options {
    Options { sockets_max: 4096, ..Options::default() }
}
