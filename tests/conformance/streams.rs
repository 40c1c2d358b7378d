//! Connections.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use socket2::SockRef;
use strowger::base::{SocketKey, StreamKey};
use strowger::io::{CloseReason, Driver, Options, Refused};

use crate::harness::{Make, PATIENCE, Recorder, Seen, loopback, loopback_v6, options, settle, until};

crate::on_every_driver!(
    accepts_and_answers_v4,
    accepts_and_answers_v6,
    connects_and_talks,
    connects_from_a_chosen_address,
    refusals_are_closings,
    data_queued_before_the_connection_is_up_leaves,
    a_slow_peer_gets_everything_in_order,
    a_full_queue_refuses_whole_messages,
    a_half_closed_peer_still_listens,
    closing_flushes_first,
    closing_is_final,
    closing_before_the_connection_is_up,
    a_reset_is_said,
    too_many_connections_are_turned_away,
    names_are_checked,
    two_of_our_own_talk,
    long_streams_arrive_whole,
    connections_come_and_go,
    a_closed_listener_keeps_its_connections,
    dropping_the_driver_closes_everything,
);

const LISTENER: SocketKey = SocketKey(3);
const S: StreamKey = StreamKey(42);

fn dial(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    stream
}

fn hear(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("bytes");
    bytes
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().expect("accept");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    stream
}

/// A driver's accepted connection and its peer.
fn pair(driver: &mut dyn Driver, seen: &mut Recorder) -> (StreamKey, TcpStream) {
    let local = driver.listen(LISTENER, loopback(), false).expect("listen");
    let peer = dial(local);
    until(driver, seen, |seen| seen.accepted().is_some());
    (seen.accepted().expect("accepted"), peer)
}

fn accepts(make: Make, bind: SocketAddr) {
    let (mut driver, mut seen) = (make(options()), Recorder::default());
    let local = driver.listen(LISTENER, bind, false).expect("listen");
    let mut peer = dial(local);
    let remote = peer.local_addr().expect("address");
    peer.write_all(b"REGISTER").expect("write");
    until(&mut *driver, &mut seen, |seen| !seen.data.is_empty());
    let stream = seen.accepted().expect("accepted");
    assert_eq!(seen.streams, [Seen::Accepted { listener: LISTENER, stream, local, remote }]);
    assert_ne!(stream.0 & StreamKey::ACCEPTED, 0);
    assert_eq!(seen.bytes(stream), b"REGISTER");
    driver.send_stream(stream, Bytes::from_static(b"200 ")).expect("send");
    driver.send_stream(stream, Bytes::from_static(b"OK")).expect("send");
    settle(&mut *driver, &mut seen);
    assert_eq!(hear(&mut peer, 6), b"200 OK");
    assert_eq!(driver.counters().accepted, 1);
}

fn accepts_and_answers_v4(make: Make) {
    accepts(make, loopback());
}

fn accepts_and_answers_v6(make: Make) {
    accepts(make, loopback_v6());
}

fn connects_and_talks(make: Make) {
    let (mut driver, mut seen) = (make(options()), Recorder::default());
    let listener = TcpListener::bind(loopback()).expect("bind");
    driver.connect(S, listener.local_addr().expect("address"), None).expect("connect");
    until(&mut *driver, &mut seen, |seen| !seen.streams.is_empty());
    let (mut peer, remote) = listener.accept().expect("accept");
    assert_eq!(seen.streams, [Seen::Connected { stream: S, local: remote }]);
    driver.send_stream(S, Bytes::from_static(b"INVITE")).expect("send");
    settle(&mut *driver, &mut seen);
    assert_eq!(hear(&mut peer, 6), b"INVITE");
    peer.write_all(b"100 Trying").expect("write");
    until(&mut *driver, &mut seen, |seen| seen.bytes(S) == b"100 Trying");
}

fn connects_from_a_chosen_address(make: Make) {
    let (mut driver, mut seen) = (make(options()), Recorder::default());
    let listener = TcpListener::bind(loopback()).expect("bind");
    let from = "127.0.0.9".parse().expect("literal");
    driver.connect(S, listener.local_addr().expect("address"), Some(from)).expect("connect");
    until(&mut *driver, &mut seen, |seen| !seen.streams.is_empty());
    assert_eq!(listener.accept().expect("accept").1.ip(), from);
}

fn refusals_are_closings(make: Make) {
    let (mut driver, mut seen) = (make(options()), Recorder::default());
    let nobody = TcpListener::bind(loopback()).expect("bind").local_addr().expect("address");
    driver.connect(S, nobody, None).expect("connect");
    driver.send_stream(S, Bytes::from_static(b"hello?")).expect("queued");
    until(&mut *driver, &mut seen, |seen| !seen.streams.is_empty());
    assert_eq!(seen.streams, [Seen::Closed { stream: S, reason: CloseReason::Refused }]);
    assert_eq!(driver.send_stream(S, Bytes::from_static(b"x")), Err(Refused::Gone));
    settle(&mut *driver, &mut seen);
    assert_eq!(seen.streams.len(), 1);
}

fn data_queued_before_the_connection_is_up_leaves(make: Make) {
    let (mut driver, mut seen) = (make(options()), Recorder::default());
    let listener = TcpListener::bind(loopback()).expect("bind");
    driver.connect(S, listener.local_addr().expect("address"), None).expect("connect");
    driver.send_stream(S, Bytes::from_static(b"early ")).expect("send");
    driver.send_stream(S, Bytes::from_static(b"bird")).expect("send");
    until(&mut *driver, &mut seen, |seen| !seen.streams.is_empty());
    settle(&mut *driver, &mut seen);
    assert_eq!(hear(&mut accept(&listener), 10), b"early bird");
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect()
}

fn a_slow_peer_gets_everything_in_order(make: Make) {
    let (mut driver, mut seen) = (make(Options { stream_queue_bytes: 16 << 20, ..options() }), Recorder::default());
    let (stream, mut peer) = pair(&mut *driver, &mut seen);
    SockRef::from(&peer).set_recv_buffer_size(64 * 1024).expect("buffer");
    let all = pattern(8 << 20);
    for piece in all.chunks(100_000) {
        driver.send_stream(stream, Bytes::copy_from_slice(piece)).expect("send");
    }
    settle(&mut *driver, &mut seen);
    let reader = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        hear(&mut peer, 8 << 20)
    });
    until(&mut *driver, &mut seen, |_| reader.is_finished());
    assert!(reader.join().expect("reader") == all);
}

fn a_full_queue_refuses_whole_messages(make: Make) {
    let (mut driver, mut seen) = (make(Options { stream_queue_bytes: 50_000, ..options() }), Recorder::default());
    let (stream, mut peer) = pair(&mut *driver, &mut seen);
    assert_eq!(driver.send_stream(stream, Bytes::from(vec![0; 50_001])), Err(Refused::Full));
    let mut taken = 0u32;
    let mut message = vec![0; 10_000];
    loop {
        message[..4].copy_from_slice(&taken.to_be_bytes());
        match driver.send_stream(stream, Bytes::copy_from_slice(&message)) {
            Ok(()) => taken += 1,
            Err(refused) => {
                assert_eq!(refused, Refused::Full);
                // Full is only final once the kernel takes no more either.
                settle(&mut *driver, &mut seen);
                if driver.send_stream(stream, Bytes::copy_from_slice(&message)).is_err() {
                    break;
                }
                taken += 1;
            }
        }
        assert!(taken < 100_000, "the queue never filled");
    }
    assert!(taken >= 5 && driver.counters().stream_full >= 2);
    let reader = std::thread::spawn(move || {
        for number in 0..taken {
            assert_eq!(hear(&mut peer, 10_000)[..4], number.to_be_bytes());
        }
        peer
    });
    until(&mut *driver, &mut seen, |_| reader.is_finished());
    let mut peer = reader.join().expect("in order, none cut");
    driver.send_stream(stream, Bytes::from_static(b"room again")).expect("send");
    settle(&mut *driver, &mut seen);
    assert_eq!(hear(&mut peer, 10), b"room again");
}

fn a_half_closed_peer_still_listens(make: Make) {
    let (mut driver, mut seen) = (make(options()), Recorder::default());
    let (stream, mut peer) = pair(&mut *driver, &mut seen);
    peer.write_all(b"BYE").expect("write");
    peer.shutdown(Shutdown::Write).expect("shutdown");
    until(&mut *driver, &mut seen, |seen| seen.half_closed(stream));
    assert_eq!(seen.bytes(stream), b"BYE");
    settle(&mut *driver, &mut seen);
    driver.send_stream(stream, Bytes::from_static(b"200 OK")).expect("send");
    settle(&mut *driver, &mut seen);
    assert_eq!(hear(&mut peer, 6), b"200 OK");
    driver.close_stream(stream);
    settle(&mut *driver, &mut seen);
    assert_eq!(peer.read(&mut [0; 8]).expect("the end"), 0);
    assert_eq!(seen.closed(stream), None);
    assert_eq!(seen.streams.iter().filter(|seen| matches!(seen, Seen::HalfClosed { .. })).count(), 1);
}

fn closing_flushes_first(make: Make) {
    let (mut driver, mut seen) = (make(Options { stream_queue_bytes: 16 << 20, ..options() }), Recorder::default());
    let (stream, mut peer) = pair(&mut *driver, &mut seen);
    // Something unread must not turn the end into a reset.
    peer.write_all(b"unread").expect("write");
    let all = pattern(4 << 20);
    driver.send_stream(stream, Bytes::from(all.clone())).expect("send");
    driver.close_stream(stream);
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).map(|_| bytes)
    });
    until(&mut *driver, &mut seen, |_| reader.is_finished());
    assert!(reader.join().expect("reader").expect("an orderly end") == all);
    assert_eq!(seen.closed(stream), None);
}

fn closing_is_final(make: Make) {
    let (mut driver, mut seen) = (make(options()), Recorder::default());
    let (stream, mut peer) = pair(&mut *driver, &mut seen);
    driver.close_stream(stream);
    assert_eq!(driver.send_stream(stream, Bytes::from_static(b"x")), Err(Refused::Gone));
    let _ = peer.write_all(b"too late");
    settle(&mut *driver, &mut seen);
    assert_eq!(peer.read(&mut [0; 8]).unwrap_or(0), 0);
    assert!(seen.data.is_empty());
    assert_eq!(seen.streams.len(), 1, "{:?}", seen.streams);
    driver.close_stream(stream);
    driver.close_stream(S);
}

fn closing_before_the_connection_is_up(make: Make) {
    let (mut driver, mut seen) = (make(options()), Recorder::default());
    let listener = TcpListener::bind(loopback()).expect("bind");
    // Nobody answers there: the kernel keeps trying.
    let silent = "192.0.2.1:5060".parse().expect("literal");
    for round in 0..20u64 {
        driver.connect(StreamKey(round), listener.local_addr().expect("address"), None).expect("connect");
        driver.connect(StreamKey(round + 100), silent, None).expect("connect");
        if round % 2 == 0 {
            driver.wait(Some(Duration::ZERO), &mut seen).expect("wait");
        }
        driver.close_stream(StreamKey(round));
        driver.close_stream(StreamKey(round + 100));
    }
    let before = seen.streams.len();
    settle(&mut *driver, &mut seen);
    assert_eq!(seen.streams.len(), before, "no event after closing");
    // The name may be used again.
    driver.connect(StreamKey(1), listener.local_addr().expect("address"), None).expect("connect");
    let connected = |seen: &Recorder| {
        seen.streams[before..].iter().any(|seen| matches!(seen, Seen::Connected { stream: StreamKey(1), .. }))
    };
    until(&mut *driver, &mut seen, connected);
}

fn a_reset_is_said(make: Make) {
    let (mut driver, mut seen) = (make(options()), Recorder::default());
    let (stream, peer) = pair(&mut *driver, &mut seen);
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("linger");
    drop(peer);
    until(&mut *driver, &mut seen, |seen| seen.closed(stream).is_some());
    assert_eq!(seen.closed(stream), Some(CloseReason::Reset));
    assert_eq!(driver.send_stream(stream, Bytes::from_static(b"x")), Err(Refused::Gone));
    settle(&mut *driver, &mut seen);
    assert_eq!(seen.streams.len(), 2);
}

fn too_many_connections_are_turned_away(make: Make) {
    let (mut driver, mut seen) = (make(Options { streams_max: 3, ..options() }), Recorder::default());
    let local = driver.listen(LISTENER, loopback(), false).expect("listen");
    let mut peers: Vec<_> = (0..5).map(|_| dial(local)).collect();
    until(&mut *driver, &mut seen, |seen| seen.streams.len() == 3);
    settle(&mut *driver, &mut seen);
    assert_eq!((driver.counters().accepted, driver.counters().accept_refused), (3, 2));
    assert_eq!(peers[3].read(&mut [0; 8]).unwrap_or(0), 0);
    assert_eq!(driver.connect(S, local, None).expect_err("full").kind(), ErrorKind::QuotaExceeded);
    // One leaves, one may come.
    driver.close_stream(seen.accepted().expect("accepted"));
    settle(&mut *driver, &mut seen);
    peers.push(dial(local));
    until(&mut *driver, &mut seen, |seen| seen.streams.len() == 4);
}

fn names_are_checked(make: Make) {
    let (mut driver, mut seen) = (make(options()), Recorder::default());
    let listener = TcpListener::bind(loopback()).expect("bind");
    let to = listener.local_addr().expect("address");
    driver.connect(S, to, None).expect("connect");
    assert_eq!(driver.connect(S, to, None).expect_err("taken").kind(), ErrorKind::AlreadyExists);
    for bad in [StreamKey::ACCEPTED, StreamKey::ACCEPTED >> 1, u64::MAX] {
        assert_eq!(driver.connect(StreamKey(bad), to, None).expect_err("bad").kind(), ErrorKind::InvalidInput);
    }
    until(&mut *driver, &mut seen, |seen| seen.streams.len() == 1);
    assert_eq!(driver.send_stream(StreamKey(7), Bytes::from_static(b"x")), Err(Refused::Gone));
    let error = driver.listen(LISTENER, to, false).expect_err("in use");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&to.to_string()), "{error}");
}

fn two_of_our_own_talk(make: Make) {
    let (mut one, mut two) = (make(options()), make(options()));
    let (mut first, mut second) = (Recorder::default(), Recorder::default());
    let local = one.listen(LISTENER, loopback(), false).expect("listen");
    two.connect(S, local, None).expect("connect");
    for number in 0..50u8 {
        two.send_stream(S, Bytes::copy_from_slice(&[number])).expect("send");
    }
    until(&mut *one, &mut first, |seen| {
        two.wait(Some(Duration::ZERO), &mut second).expect("wait");
        seen.accepted().is_some_and(|stream| seen.bytes(stream).len() == 50)
    });
    let stream = first.accepted().expect("accepted");
    assert_eq!(first.bytes(stream), (0..50).collect::<Vec<u8>>());
    one.close_stream(stream);
    until(&mut *two, &mut second, |seen| {
        one.wait(Some(Duration::ZERO), &mut first).expect("wait");
        seen.half_closed(S)
    });
}

fn long_streams_arrive_whole(make: Make) {
    let (mut driver, mut seen) = (make(options()), Recorder::default());
    let (stream, mut peer) = pair(&mut *driver, &mut seen);
    let all = pattern(4 << 20);
    let copy = all.clone();
    let writer = std::thread::spawn(move || peer.write_all(&copy).map(|()| peer));
    until(&mut *driver, &mut seen, |seen| seen.data.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() == 4 << 20);
    assert!(seen.bytes(stream) == all);
    drop(writer.join().expect("writer").expect("written"));
}

fn connections_come_and_go(make: Make) {
    let (mut driver, mut seen) = (make(Options { streams_max: 40, ..options() }), Recorder::default());
    let local = driver.listen(LISTENER, loopback(), false).expect("listen");
    let mut closed = 0;
    for round in 1..=100usize {
        let mut peer = dial(local);
        peer.write_all(&[round as u8]).expect("write");
        until(&mut *driver, &mut seen, |seen| seen.data.len() == round);
        let (stream, bytes) = seen.data[round - 1].clone();
        assert_eq!(bytes, [round as u8]);
        match round % 3 {
            0 => driver.close_stream(stream),
            1 => SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("linger"),
            _ => {
                peer.shutdown(Shutdown::Both).expect("shutdown");
                until(&mut *driver, &mut seen, |seen| seen.half_closed(stream));
                driver.close_stream(stream);
            }
        }
        drop(peer);
        closed += usize::from(round % 3 == 1);
        let so =
            |seen: &Recorder| seen.streams.iter().filter(|seen| matches!(seen, Seen::Closed { .. })).count() == closed;
        until(&mut *driver, &mut seen, so);
    }
    assert_eq!((driver.counters().accepted, driver.counters().accept_refused), (100, 0));
}

fn a_closed_listener_keeps_its_connections(make: Make) {
    let (mut driver, mut seen) = (make(options()), Recorder::default());
    let (stream, mut peer) = pair(&mut *driver, &mut seen);
    let at = peer.peer_addr().expect("address");
    driver.close_socket(LISTENER);
    settle(&mut *driver, &mut seen);
    assert!(TcpStream::connect(at).is_err());
    peer.write_all(b"still here").expect("write");
    until(&mut *driver, &mut seen, |seen| seen.bytes(stream) == b"still here");
    driver.listen(LISTENER, at, false).expect("the port is free");
}

fn dropping_the_driver_closes_everything(make: Make) {
    let (mut driver, mut seen) = (make(Options { stream_queue_bytes: 16 << 20, ..options() }), Recorder::default());
    let (stream, mut peer) = pair(&mut *driver, &mut seen);
    let at = peer.peer_addr().expect("address");
    driver.send_stream(stream, Bytes::from(vec![7; 12 << 20])).expect("send");
    settle(&mut *driver, &mut seen);
    drop(driver);
    let mut bytes = Vec::new();
    let _ = peer.read_to_end(&mut bytes);
    assert!(bytes.len() < 12 << 20 && bytes.iter().all(|byte| *byte == 7));
    drop(peer);
    let deadline = std::time::Instant::now() + PATIENCE;
    while TcpStream::connect(at).is_ok() {
        assert!(std::time::Instant::now() < deadline, "the listener lives on");
    }
}
