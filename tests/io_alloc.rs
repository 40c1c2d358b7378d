//! Nothing allocates per RTP packet: counted on the thread that drives, after warm-up, with the relay behind the driver.

mod counting;

use counting::allocations;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use strowger::base::{Forward, Instant, Random, Side, SocketKey};
use strowger::io::{Backend, Choice, Driver, Handler, Options, UdpOptions};
use strowger::media::{Relay, RelayConfig, RemoteOptions, SocketRequest, StreamOptions, Verdict};

struct Relaying {
    relay: Relay,
    now: Instant,
    forwarded: usize,
}

impl Handler for Relaying {
    fn on_datagram(&mut self, socket: SocketKey, from: SocketAddr, bytes: &mut [u8]) -> Option<Forward> {
        match self.relay.handle_packet(self.now, socket, from, bytes) {
            Verdict::Forward { socket, to, len } => {
                self.forwarded += 1;
                Some(Forward { socket, to, len })
            }
            Verdict::Drop(reason) => panic!("{reason:?}"),
        }
    }
}

struct Phone {
    socket: UdpSocket,
    sequence: u16,
    to: SocketAddr,
}

impl Phone {
    fn talk(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = [0u8; 172];
        packet[0] = 0x80;
        packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&(u32::from(self.sequence) * 160).to_be_bytes());
        packet[8..12].copy_from_slice(&self.to.port().to_be_bytes().repeat(2));
        self.socket.send_to(&packet, self.to).expect("send");
    }

    fn hear(&self) -> usize {
        let mut bytes = [0u8; 2048];
        std::iter::from_fn(|| self.socket.recv(&mut bytes).ok()).inspect(|len| assert_eq!(*len, 172)).count()
    }
}

fn relaying(driver: &mut dyn Driver, port_min: u16) -> (Relaying, Vec<Phone>) {
    const CALLS: u16 = 50;
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let config = RelayConfig::new(address, port_min, port_min + CALLS * 4 + 3);
    let mut relay = Relay::new(config, Instant::ZERO, Random::from_u64(7));
    let mut phones = Vec::new();
    for _ in 0..CALLS {
        let stream = relay.open(Instant::ZERO, StreamOptions::default()).expect("room");
        for side in [Side::A, Side::B] {
            let socket = UdpSocket::bind((address, 0)).expect("bind");
            socket.set_nonblocking(true).expect("nonblocking");
            let remote = RemoteOptions { rtp: socket.local_addr().ok(), ..RemoteOptions::default() };
            relay.set_remote(Instant::ZERO, stream, side, &remote);
            let (to, _) = relay.local(stream, side).expect("open");
            phones.push(Phone { socket, sequence: 0, to });
        }
        relay.set_answered(Instant::ZERO, stream);
        while let Some(request) = relay.poll_socket() {
            if let SocketRequest::Open { key, bind, .. } = request {
                driver.open_udp(key, &UdpOptions::media(bind)).expect("open");
            }
        }
    }
    (Relaying { relay, now: Instant::ZERO, forwarded: 0 }, phones)
}

/// Twenty milliseconds of all calls; returns what the driving allocated meanwhile.
fn round(driver: &mut dyn Driver, handler: &mut Relaying, phones: &mut [Phone]) -> u64 {
    phones.iter_mut().for_each(Phone::talk);
    let expected = handler.forwarded + phones.len();
    handler.now += Duration::from_millis(20);
    let before = allocations();
    while handler.forwarded < expected {
        driver.wait(Some(Duration::from_millis(100)), handler).expect("wait");
    }
    driver.wait(Some(Duration::ZERO), handler).expect("wait");
    if handler.relay.next_deadline().is_some_and(|deadline| deadline <= handler.now) {
        handler.relay.handle_timeout(handler.now);
    }
    let allocated = allocations() - before;
    let heard: usize = phones.iter().map(Phone::hear).sum();
    assert_eq!(heard, phones.len());
    allocated
}

fn relays_without_allocating(backend: Backend, port_min: u16) {
    let choice = match Choice::new(backend) {
        Ok(choice) => choice,
        Err(why) => {
            assert!(std::env::var_os("STROWGER_NO_SKIP").is_none(), "{why}");
            eprintln!("skipped: {why}");
            return;
        }
    };
    let mut driver = choice.open(Options::default()).expect("driver");
    let (mut handler, mut phones) = relaying(&mut *driver, port_min);
    // Four seconds, in which every timer of the relay has fired.
    for _ in 0..200 {
        round(&mut *driver, &mut handler, &mut phones);
    }
    let allocated: u64 = (0..200).map(|_| round(&mut *driver, &mut handler, &mut phones)).sum();
    assert_eq!(allocated, 0, "allocations in 20,000 packets");
}

#[test]
fn epoll_relays_without_allocating() {
    relays_without_allocating(Backend::Epoll, 21_000);
}

#[test]
fn io_uring_relays_without_allocating() {
    relays_without_allocating(Backend::IoUring, 21_500);
}

#[test]
fn the_count_counts() {
    let before = allocations();
    drop(std::hint::black_box(vec![1u8; 100]));
    assert_eq!(allocations() - before, 1);
}
