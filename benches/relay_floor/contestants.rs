//! The bare loop, and the drivers with the relay behind them.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use strowger::base::{Forward, Instant, Random, Side, SocketKey};
use strowger::io::{Backend, Choice, Driver, GatherMax, Handler, Options, UdpOptions};
use strowger::media::{Relay, RelayConfig, RemoteOptions, SocketRequest, StreamOptions, Verdict};

use super::generator::Generator;

const TURN: Duration = Duration::from_millis(10);
/// The default of `media.gather`.
const GATHER: Duration = Duration::from_micros(500);
/// Below the range from which the kernel chooses ports.
const PORT_MIN: u16 = 20_000;

pub trait Contestant: Send {
    /// Waits, at most some milliseconds, and relays what there is.
    fn turn(&mut self);
    fn forwarded(&self) -> u64;
    /// Turns in which there was something.
    fn turns(&self) -> u64;
    fn kernel_drops(&mut self) -> u64;
}

/// `epoll_wait`, and for each socket that is readable `recv` and `send`.
pub struct Floor {
    epoll: OwnedFd,
    sockets: Vec<UdpSocket>,
    events: Vec<libc::epoll_event>,
    forwarded: u64,
    turns: u64,
}

impl Floor {
    pub fn new(generator: &mut Generator) -> Self {
        // SAFETY: takes no pointers; the descriptor is checked and owned by nobody else.
        let epoll = unsafe {
            let raw = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            assert!(raw >= 0);
            OwnedFd::from_raw_fd(raw)
        };
        let sockets: Vec<_> = (0..generator.len())
            .map(|end| {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
                socket.connect(generator.address(end)).expect("connect");
                socket.set_nonblocking(true).expect("nonblocking");
                generator.aim(end, socket.local_addr().expect("address"));
                let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: end as u64 };
                // SAFETY: the pointer describes a live local.
                let added = unsafe {
                    libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event)
                };
                assert_eq!(added, 0);
                socket
            })
            .collect();
        let events = vec![libc::epoll_event { events: 0, u64: 0 }; 512];
        Self { epoll, sockets, events, forwarded: 0, turns: 0 }
    }
}

impl Contestant for Floor {
    fn turn(&mut self) {
        let mut buffer = [0u8; 2048];
        // SAFETY: pointer and length describe `events`.
        let count = unsafe {
            let timeout = TURN.as_millis() as i32;
            libc::epoll_wait(self.epoll.as_raw_fd(), self.events.as_mut_ptr(), self.events.len() as i32, timeout)
        };
        self.turns += u64::from(count > 0);
        for event in &self.events[..usize::try_from(count).unwrap_or(0)] {
            let end = event.u64 as usize;
            if let Ok(len) = self.sockets[end].recv(&mut buffer) {
                // The two ends of a call stand side by side.
                self.forwarded += u64::from(self.sockets[end ^ 1].send(&buffer[..len]).is_ok());
            }
        }
    }

    fn forwarded(&self) -> u64 {
        self.forwarded
    }

    fn turns(&self) -> u64 {
        self.turns
    }

    fn kernel_drops(&mut self) -> u64 {
        0
    }
}

struct Relaying {
    relay: Relay,
    origin: std::time::Instant,
    now: Instant,
    forwarded: u64,
}

impl Handler for Relaying {
    fn on_batch(&mut self) {
        self.now = Instant::ZERO + self.origin.elapsed();
    }

    fn on_datagram(&mut self, socket: SocketKey, from: SocketAddr, bytes: &mut [u8]) -> Option<Forward> {
        match self.relay.handle_packet(self.now, socket, from, bytes) {
            Verdict::Forward { socket, to, len } => {
                self.forwarded += 1;
                Some(Forward { socket, to, len })
            }
            Verdict::Drop(_) => None,
        }
    }
}

/// A driver with a relay of as many streams behind it, as a shard has it.
pub struct Driven {
    driver: Box<dyn Driver>,
    handler: Relaying,
}

impl Driven {
    pub fn new(name: &str, generator: &mut Generator) -> Self {
        let backend = if name == "epoll" { Backend::Epoll } else { Backend::IoUring };
        let choice = Choice::new(backend).unwrap_or_else(|why| panic!("{why}"));
        let media = if name == "at-once" { Duration::ZERO } else { GATHER };
        let options = Options { gather: GatherMax { signalling: Duration::ZERO, media }, ..Options::default() };
        let mut driver = choice.open(options).expect("driver");
        let calls = generator.len() / 2;
        let ports = u16::try_from(calls * 4 + 8).expect("few enough calls");
        let config = RelayConfig::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT_MIN, PORT_MIN + ports - 1);
        let origin = std::time::Instant::now();
        let mut relay = Relay::new(config, Instant::ZERO, Random::from_u64(1));
        for call in 0..calls {
            let stream = relay.open(Instant::ZERO, StreamOptions::default()).expect("room");
            for (side, end) in [(Side::A, call * 2), (Side::B, call * 2 + 1)] {
                let (rtp, _) = relay.local(stream, side).expect("open");
                let remote = RemoteOptions { rtp: Some(generator.address(end)), ..RemoteOptions::default() };
                relay.set_remote(Instant::ZERO, stream, side, &remote);
                generator.aim(end, rtp);
            }
            relay.set_answered(Instant::ZERO, stream);
            while let Some(request) = relay.poll_socket() {
                if let SocketRequest::Open { key, bind, dscp } = request {
                    let options = UdpOptions { dscp, ..UdpOptions::media(bind) };
                    driver.open_udp(key, &options).expect("open");
                }
            }
        }
        Self { driver, handler: Relaying { relay, origin, now: Instant::ZERO, forwarded: 0 } }
    }
}

impl Contestant for Driven {
    fn turn(&mut self) {
        match self.driver.wait(Some(TURN), &mut self.handler) {
            Err(error) if error.kind() != ErrorKind::Interrupted => panic!("{error}"),
            _ => {}
        }
        let now = self.handler.now;
        if self.handler.relay.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.handler.relay.handle_timeout(now);
            while self.handler.relay.poll_event().is_some() {}
        }
    }

    fn forwarded(&self) -> u64 {
        self.handler.forwarded
    }

    fn turns(&self) -> u64 {
        self.driver.counters().batches
    }

    fn kernel_drops(&mut self) -> u64 {
        self.driver.sample_drops(1 << 17);
        self.driver.counters().kernel_dropped
    }
}
