//! One driver gives everything up, another goes on: of the same kind or not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use strowger::base::{SocketKey, StreamKey};
use strowger::io::{Driver, Forward, UdpOptions};

use crate::harness::{self, Make, PATIENCE, Recorder, Seen, loopback, options, phone, receive, settle, until};

crate::on_every_driver!(
    no_datagram_is_lost,
    what_is_queued_leaves,
    streams_go_on_at_their_octet,
    a_connection_being_made_is_made,
    listeners_go_on_and_names_stay_unique,
    a_driver_takes_back_what_it_gave,
    a_thousand_connections_go_on,
);

const A: SocketKey = SocketKey(0);
const B: SocketKey = SocketKey(9);
const LISTENER: SocketKey = SocketKey(3);
const S: StreamKey = StreamKey(42);

/// Everything of `from` goes to a new driver; `between` is done while nobody has it.
fn hand_over(from: &mut dyn Driver, to: Make, seen: &mut Recorder, between: impl FnOnce()) -> Box<dyn Driver> {
    from.pause(seen).expect("pause");
    let released = from.release().expect("release");
    between();
    let mut next = to(options());
    next.adopt(released).expect("adopt");
    next
}

/// To the same kind and to each other.
fn heirs(make: Make) -> Vec<Make> {
    let mut heirs = vec![make, harness::epoll];
    if harness::uring_usable() {
        heirs.push(harness::uring);
    }
    heirs
}

fn no_datagram_is_lost(make: Make) {
    for heir in heirs(make) {
        let mut driver = make(options());
        let local = driver.open_udp(A, &UdpOptions::signalling(loopback())).expect("open");
        let media = driver.open_udp(B, &UdpOptions::media(loopback())).expect("open");
        let (phone, from) = phone(local);
        let mut seen = Recorder::forwarding(move |_, _, bytes| Some(Forward { socket: A, to: from, len: bytes.len() }));
        let send = |numbers: std::ops::Range<u8>| {
            for number in numbers {
                phone.send_to(&[number, 0], local).expect("send");
                phone.send_to(&[number, 1], media).expect("send");
            }
        };
        send(0..20);
        until(&mut *driver, &mut seen, |seen| seen.datagrams.len() >= 10);
        send(20..30);
        let mut next = hand_over(&mut *driver, heir, &mut seen, || send(30..60));
        drop(driver);
        send(60..80);
        until(&mut *next, &mut seen, |seen| seen.datagrams.len() >= 160);
        settle(&mut *next, &mut seen);
        for (key, kind) in [(A, 0), (B, 1)] {
            let of = |(socket, _, bytes): &(SocketKey, _, Vec<u8>)| (*socket == key).then(|| bytes.clone());
            let came: Vec<Vec<u8>> = seen.datagrams.iter().filter_map(of).collect();
            assert_eq!(came, (0..80).map(|number| vec![number, kind]).collect::<Vec<_>>(), "each once, in order");
        }
        for _ in 0..160 {
            receive(&phone);
        }
    }
}

fn what_is_queued_leaves(make: Make) {
    let (mut driver, mut seen) = (make(options()), Recorder::default());
    driver.open_udp(A, &UdpOptions::signalling(loopback())).expect("open");
    let (phone, to) = phone(loopback());
    driver.send(A, to, Bytes::from_static(b"before")).expect("send");
    driver.pause(&mut seen).expect("pause");
    driver.send(A, to, Bytes::from_static(b"after")).expect("send");
    let released = driver.release().expect("release");
    assert_eq!((receive(&phone).0, receive(&phone).0), (b"before".to_vec(), b"after".to_vec()));
    assert!(driver.send(A, to, Bytes::from_static(b"gone")).is_err());
    assert_eq!((released.sockets.len(), released.streams.len()), (1, 0));
}

fn streams_go_on_at_their_octet(make: Make) {
    for heir in heirs(make) {
        let (mut driver, mut seen) = (make(options()), Recorder::default());
        let local = driver.listen(LISTENER, loopback(), false).expect("listen");
        let mut peer = TcpStream::connect(local).expect("connect");
        peer.set_read_timeout(Some(PATIENCE)).expect("timeout");
        peer.write_all(b"one ").expect("write");
        until(&mut *driver, &mut seen, |seen| !seen.data.is_empty());
        let stream = seen.accepted().expect("accepted");
        // More than the kernel takes at once, so that it is cut anywhere.
        let much: Vec<u8> = (0..200_000u32).flat_map(|word| word.to_be_bytes()).collect();
        for part in much.chunks(200_000) {
            driver.send_stream(stream, Bytes::copy_from_slice(part)).expect("send");
            driver.wait(Some(Duration::ZERO), &mut seen).expect("wait");
        }
        peer.write_all(b"two ").expect("write");
        let mut next = hand_over(&mut *driver, heir, &mut seen, || peer.write_all(b"three ").expect("write"));
        drop(driver);
        next.send_stream(stream, Bytes::from_static(b"end")).expect("send");
        peer.write_all(b"four").expect("write");
        let expected = [&much[..], b"end"].concat();
        let reader = std::thread::spawn(move || {
            let mut heard = vec![0; expected.len()];
            peer.read_exact(&mut heard).expect("bytes");
            (heard == expected, peer)
        });
        until(&mut *next, &mut seen, |seen| seen.bytes(stream) == b"one two three four");
        until(&mut *next, &mut seen, |_| reader.is_finished());
        let (same, peer) = reader.join().expect("reader");
        assert!(same, "every octet once, in order");
        drop(peer);
        until(&mut *next, &mut seen, |seen| seen.half_closed(stream) || seen.closed(stream).is_some());
    }
}

fn a_connection_being_made_is_made(make: Make) {
    for heir in heirs(make) {
        let listener = std::net::TcpListener::bind(loopback()).expect("bind");
        let (mut driver, mut seen) = (make(options()), Recorder::default());
        driver.connect(S, listener.local_addr().expect("address"), None).expect("connect");
        driver.send_stream(S, Bytes::from_static(b"INVITE")).expect("send");
        let mut next = hand_over(&mut *driver, heir, &mut seen, || {});
        drop(driver);
        until(&mut *next, &mut seen, |seen| seen.streams.iter().any(|seen| matches!(seen, Seen::Connected { .. })));
        settle(&mut *next, &mut seen);
        let (mut peer, _) = listener.accept().expect("accept");
        peer.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let mut heard = [0; 6];
        peer.read_exact(&mut heard).expect("bytes");
        assert_eq!((&heard, seen.streams.len()), (b"INVITE", 1));
        peer.write_all(b"200").expect("write");
        until(&mut *next, &mut seen, |seen| seen.bytes(S) == b"200");
    }
}

fn listeners_go_on_and_names_stay_unique(make: Make) {
    for heir in heirs(make) {
        let (mut driver, mut seen) = (make(options()), Recorder::default());
        let local = driver.listen(LISTENER, loopback(), false).expect("listen");
        let first = TcpStream::connect(local).expect("connect");
        until(&mut *driver, &mut seen, |seen| seen.accepted().is_some());
        let mut second = None;
        let mut next = hand_over(&mut *driver, heir, &mut seen, || second = TcpStream::connect(local).ok());
        drop(driver);
        let count = |seen: &Recorder| seen.streams.iter().filter(|seen| matches!(seen, Seen::Accepted { .. })).count();
        until(&mut *next, &mut seen, |seen| count(seen) == 2);
        let names: std::collections::BTreeSet<StreamKey> = seen
            .streams
            .iter()
            .filter_map(|seen| match seen {
                Seen::Accepted { stream, listener, .. } if *listener == LISTENER => Some(*stream),
                _ => None,
            })
            .collect();
        assert_eq!(names.len(), 2);
        drop((first, second));
    }
}

fn a_driver_takes_back_what_it_gave(make: Make) {
    let (mut driver, mut seen) = (make(options()), Recorder::default());
    let local = driver.open_udp(A, &UdpOptions::media(loopback())).expect("open");
    let heard = driver.listen(LISTENER, loopback(), false).expect("listen");
    let mut peer = TcpStream::connect(heard).expect("connect");
    let (phone, _) = phone(local);
    for round in 1..=3 {
        phone.send_to(b"before", local).expect("send");
        until(&mut *driver, &mut seen, |seen| seen.datagrams.len() == 2 * round - 1);
        driver.pause(&mut seen).expect("pause");
        let released = driver.release().expect("release");
        phone.send_to(b"meanwhile", local).expect("send");
        peer.write_all(b"x").expect("write");
        driver.adopt(released).expect("adopt");
        until(&mut *driver, &mut seen, |seen| seen.datagrams.len() == 2 * round);
        let stream = seen.accepted().expect("accepted");
        until(&mut *driver, &mut seen, |seen| seen.bytes(stream).len() == round);
    }
}

/// Each has a receive in the kernel, which tells of twenty ends at a time: connections as many as sockets.
fn a_thousand_connections_go_on(make: Make) {
    const COUNT: usize = 1000;
    let (mut driver, mut seen) = (make(options()), Recorder::default());
    let local = driver.listen(LISTENER, loopback(), false).expect("listen");
    let mut peers = Vec::with_capacity(COUNT);
    while peers.len() < COUNT {
        peers.extend((0..50).map(|_| TcpStream::connect(local).expect("connect")));
        until(&mut *driver, &mut seen, |seen| seen.streams.len() >= peers.len());
    }
    let mut next = hand_over(&mut *driver, make, &mut seen, || {
        peers.iter_mut().for_each(|peer| peer.write_all(b"meanwhile").expect("write"));
    });
    drop(driver);
    until(&mut *next, &mut seen, |seen| seen.data.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() >= COUNT * 9);
    let names: std::collections::BTreeSet<_> = seen.data.iter().map(|(stream, _)| *stream).collect();
    assert_eq!(names.len(), COUNT, "each under its name");
    assert!(names.iter().all(|name| seen.bytes(*name) == b"meanwhile"));
}
