//! Datagrams.

use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use socket2::{MaybeUninitSlice, MsgHdrMut, SockRef};
use strowger::base::SocketKey;
use strowger::io::{Driver, Forward, GatherMax, Options, Refused, UdpOptions};

use crate::harness::{Make, Recorder, loopback, loopback_v6, options, phone, receive, settle, until};

crate::on_every_driver!(
    echoes_v4,
    echoes_v6,
    v6_sockets_leave_v4_ports_alone,
    forwards_in_place_by_another_socket,
    forwards_less_than_came_but_never_more,
    forwarding_to_a_closed_socket_is_counted,
    sends_keep_their_order,
    long_queues_leave_whole,
    empty_datagrams_are_datagrams,
    long_datagrams_by_traffic,
    bursts_beyond_all_buffers_recover,
    a_full_receive_buffer_is_counted,
    refusals_are_reported_and_harmless,
    media_sockets_ignore_refusals,
    shared_ports_share,
    ports_in_use_are_named,
    keys_are_checked,
    closing_frees_port_and_key,
    closing_sends_what_is_queued,
    dscp_marks_what_is_sent,
    many_sockets_at_once,
    interleaved_closing_under_traffic,
    gathering_loses_nothing,
);

const A: SocketKey = SocketKey(0);
const B: SocketKey = SocketKey(7);

fn open(driver: &mut dyn Driver, key: SocketKey, bind: SocketAddr) -> SocketAddr {
    driver.open_udp(key, &UdpOptions::media(bind)).expect("open")
}

fn echo(make: Make, bind: SocketAddr) {
    let mut driver = make(options());
    let local = open(&mut *driver, A, bind);
    assert_ne!(local.port(), 0);
    let (phone, from) = phone(bind);
    let mut seen = Recorder::forwarding(|socket, from, bytes| {
        bytes.reverse();
        Some(Forward { socket, to: from, len: bytes.len() })
    });
    for round in 0..50u8 {
        phone.send_to(&[round, 1, 2], local).expect("send");
        until(&mut *driver, &mut seen, |seen| seen.datagrams.len() == usize::from(round) + 1);
        driver.wait(Some(Duration::ZERO), &mut seen).expect("wait");
        assert_eq!(receive(&phone), (vec![2, 1, round], local));
    }
    assert!(seen.datagrams.iter().all(|(key, address, _)| (*key, *address) == (A, from)));
    let counters = driver.counters();
    assert_eq!((counters.received, counters.received_bytes, counters.sent, counters.sent_bytes), (50, 150, 50, 150));
    assert!(seen.batches >= 50 && counters.batches >= 50);
}

fn echoes_v4(make: Make) {
    echo(make, loopback());
}

fn echoes_v6(make: Make) {
    echo(make, loopback_v6());
}

fn v6_sockets_leave_v4_ports_alone(make: Make) {
    let mut driver = make(options());
    let v6 = open(&mut *driver, A, "[::]:0".parse().expect("literal"));
    let v4 = SocketAddr::new("0.0.0.0".parse().expect("literal"), v6.port());
    assert_eq!(open(&mut *driver, B, v4).port(), v6.port());
}

fn forwards_in_place_by_another_socket(make: Make) {
    let mut driver = make(options());
    let (a, b) = (open(&mut *driver, A, loopback()), open(&mut *driver, B, loopback()));
    let ((caller, caller_at), (callee, callee_at)) = (phone(a), phone(b));
    let mut seen = Recorder::forwarding(move |socket, _, bytes| {
        bytes[0] += 1;
        let (socket, to) = if socket == A { (B, callee_at) } else { (A, caller_at) };
        Some(Forward { socket, to, len: bytes.len() })
    });
    for round in 0..20u8 {
        caller.send_to(&[round; 172], a).expect("send");
        callee.send_to(&[round + 100; 172], b).expect("send");
    }
    until(&mut *driver, &mut seen, |seen| seen.datagrams.len() == 40);
    driver.wait(Some(Duration::ZERO), &mut seen).expect("wait");
    for round in 0..20u8 {
        let (bytes, from) = receive(&callee);
        assert_eq!((bytes[0], &bytes[1..], from), (round + 1, &[round; 171][..], b));
        let (bytes, from) = receive(&caller);
        assert_eq!((bytes[0], &bytes[1..], from), (round + 101, &[round + 100; 171][..], a));
    }
}

fn forwards_less_than_came_but_never_more(make: Make) {
    let mut driver = make(options());
    let local = open(&mut *driver, A, loopback());
    let (phone, _) = phone(local);
    let mut lens = [3, 0, 1000].into_iter();
    let mut seen = Recorder::forwarding(move |socket, to, _| lens.next().map(|len| Forward { socket, to, len }));
    for _ in 0..3 {
        phone.send_to(b"hello", local).expect("send");
    }
    until(&mut *driver, &mut seen, |seen| seen.datagrams.len() == 3);
    driver.wait(Some(Duration::ZERO), &mut seen).expect("wait");
    let got: Vec<_> = (0..3).map(|_| receive(&phone).0).collect();
    assert_eq!(got, [&b"hel"[..], b"", b"hello"]);
}

fn forwarding_to_a_closed_socket_is_counted(make: Make) {
    let mut driver = make(options());
    let local = open(&mut *driver, A, loopback());
    let (phone, _) = phone(local);
    let mut seen = Recorder::forwarding(|_, to, bytes| Some(Forward { socket: B, to, len: bytes.len() }));
    phone.send_to(b"1", local).expect("send");
    until(&mut *driver, &mut seen, |seen| seen.datagrams.len() == 1);
    settle(&mut *driver, &mut seen);
    assert_eq!((driver.counters().send_gone, driver.counters().sent), (1, 0));
}

fn sends_keep_their_order(make: Make) {
    let mut driver = make(options());
    let local = open(&mut *driver, A, loopback());
    let (phone, at) = phone(local);
    for number in 0..100u8 {
        driver.send(A, at, Bytes::copy_from_slice(&[number])).expect("send");
    }
    settle(&mut *driver, &mut Recorder::default());
    for number in 0..100u8 {
        assert_eq!(receive(&phone), (vec![number], local));
    }
    assert_eq!(driver.counters().sent, 100);
}

fn long_queues_leave_whole(make: Make) {
    let mut driver = make(options());
    let local = open(&mut *driver, A, loopback());
    let (phone, at) = phone(local);
    SockRef::from(&phone).set_recv_buffer_size(4 << 20).expect("buffer");
    // More than any driver keeps in one batch.
    for number in 0..2500u32 {
        driver.send(A, at, Bytes::copy_from_slice(&number.to_be_bytes())).expect("send");
    }
    settle(&mut *driver, &mut Recorder::default());
    for number in 0..2500u32 {
        assert_eq!(receive(&phone).0, number.to_be_bytes());
    }
    assert_eq!((driver.counters().sent, driver.counters().sent_bytes), (2500, 10_000));
}

fn empty_datagrams_are_datagrams(make: Make) {
    let mut driver = make(options());
    let (a, b) = (open(&mut *driver, A, loopback()), {
        let options = UdpOptions::signalling(loopback());
        driver.open_udp(B, &options).expect("open")
    });
    let (phone, at) = phone(a);
    let mut seen = Recorder::default();
    phone.send_to(b"", a).expect("send");
    phone.send_to(b"", b).expect("send");
    until(&mut *driver, &mut seen, |seen| seen.datagrams.len() == 2);
    assert!(seen.datagrams.iter().all(|(_, from, bytes)| *from == at && bytes.is_empty()));
    driver.send(B, at, Bytes::new()).expect("send");
    settle(&mut *driver, &mut seen);
    assert_eq!(receive(&phone), (Vec::new(), b));
}

fn long_datagrams_by_traffic(make: Make) {
    let mut driver = make(options());
    let media = open(&mut *driver, A, loopback());
    let sip = driver.open_udp(B, &UdpOptions::signalling(loopback())).expect("open");
    let (phone, at) = phone(media);
    let mut seen = Recorder::default();
    let long: Vec<u8> = (0..65_507u32).map(|at| at as u8).collect();
    phone.send_to(&long[..3000], media).expect("send");
    phone.send_to(&long[..2048], media).expect("send");
    phone.send_to(&long, sip).expect("send");
    until(&mut *driver, &mut seen, |seen| seen.datagrams.len() == 2);
    assert_eq!(driver.counters().truncated, 1);
    seen.datagrams.sort();
    assert_eq!(seen.datagrams, [(A, at, long[..2048].to_vec()), (B, at, long.clone())]);
    driver.send(B, at, Bytes::from(long.clone())).expect("send");
    settle(&mut *driver, &mut seen);
    assert_eq!(receive(&phone).0, long);
}

fn bursts_beyond_all_buffers_recover(make: Make) {
    let mut driver = make(Options { packet_buffers: 8, message_buffers: 2, ..options() });
    let buffered = |options: UdpOptions| UdpOptions { receive_buffer_bytes: 2 << 20, ..options };
    let media = driver.open_udp(A, &buffered(UdpOptions::media(loopback()))).expect("open");
    let sip = driver.open_udp(B, &buffered(UdpOptions::signalling(loopback()))).expect("open");
    let (phone, _) = phone(media);
    SockRef::from(&phone).set_recv_buffer_size(4 << 20).expect("buffer");
    let mut seen = Recorder::forwarding(|socket, to, bytes| Some(Forward { socket, to, len: bytes.len() }));
    for round in 1..=3usize {
        for number in 0..300u32 {
            phone.send_to(&number.to_be_bytes(), media).expect("send");
            phone.send_to(&number.to_be_bytes(), sip).expect("send");
        }
        until(&mut *driver, &mut seen, |seen| seen.datagrams.len() == 600 * round);
        driver.wait(Some(Duration::ZERO), &mut seen).expect("wait");
        let mut expected = [0u32; 2];
        for _ in 0..600 {
            let (bytes, from) = receive(&phone);
            let next = &mut expected[usize::from(from == sip)];
            assert_eq!(bytes, next.to_be_bytes(), "each socket's order is kept");
            *next += 1;
        }
    }
    assert_eq!(driver.counters().sent, 1800);
    assert!(driver.name() == "epoll" || driver.counters().starved > 0);
}

fn a_full_receive_buffer_is_counted(make: Make) {
    let mut driver = make(options());
    let small = UdpOptions { receive_buffer_bytes: 8192, ..UdpOptions::media(loopback()) };
    let local = driver.open_udp(A, &small).expect("open");
    let (phone, _) = phone(local);
    let mut seen = Recorder::default();
    driver.wait(Some(Duration::ZERO), &mut seen).expect("wait");
    for number in 0..500u32 {
        phone.send_to(&[number as u8; 1000], local).expect("send");
    }
    for _ in 0..20 {
        driver.wait(Some(Duration::ZERO), &mut seen).expect("wait");
    }
    driver.sample_drops(10);
    let counters = *driver.counters();
    assert_eq!(counters.received + counters.kernel_dropped, 500);
    assert!(counters.kernel_dropped > 0);
    phone.send_to(b"after", local).expect("send");
    until(&mut *driver, &mut seen, |seen| seen.datagrams.last().is_some_and(|last| last.2 == b"after"));
    driver.close_socket(A);
    assert_eq!(driver.counters().kernel_dropped, counters.kernel_dropped, "counted once");
}

fn refusals_are_reported_and_harmless(make: Make) {
    for bind in [loopback(), loopback_v6()] {
        let mut driver = make(options());
        let local = driver.open_udp(A, &UdpOptions::signalling(bind)).expect("open");
        let (gone, nobody) = phone(local);
        drop(gone);
        let (phone, at) = phone(local);
        let mut seen = Recorder::default();
        for round in 1..=3usize {
            driver.send(A, nobody, Bytes::from_static(b"anyone?")).expect("send");
            until(&mut *driver, &mut seen, |seen| seen.errors.len() >= round);
            // The refusal of one must not cost another its datagram.
            driver.send(A, nobody, Bytes::from_static(b"anyone?")).expect("send");
            driver.send(A, at, Bytes::from_static(b"hello")).expect("send");
            driver.send(A, at, Bytes::from_static(b"world")).expect("send");
            let before = seen.errors.len();
            until(&mut *driver, &mut seen, |seen| seen.errors.len() > before);
            settle(&mut *driver, &mut seen);
            // What had to be tried again may have been overtaken.
            let mut got = [receive(&phone), receive(&phone)];
            got.sort();
            assert_eq!(got, [(b"hello".to_vec(), local), (b"world".to_vec(), local)]);
        }
        assert!(seen.errors.iter().all(|error| *error == (A, nobody, ErrorKind::ConnectionRefused)));
        assert_eq!(seen.errors.len(), 6);
        phone.send_to(b"still there?", local).expect("send");
        until(&mut *driver, &mut seen, |seen| seen.datagrams.len() == 1);
        assert_eq!(driver.counters().send_failed, 6);
    }
}

fn media_sockets_ignore_refusals(make: Make) {
    let mut driver = make(options());
    let local = open(&mut *driver, A, loopback());
    let (gone, nobody) = phone(local);
    drop(gone);
    let (phone, at) = phone(local);
    let mut seen = Recorder::default();
    for _ in 0..10 {
        driver.send(A, nobody, Bytes::from_static(b"anyone?")).expect("send");
        driver.send(A, at, Bytes::from_static(b"hello")).expect("send");
        phone.send_to(b"in", local).expect("send");
        settle(&mut *driver, &mut seen);
        assert_eq!(receive(&phone).0, b"hello");
    }
    until(&mut *driver, &mut seen, |seen| seen.datagrams.len() == 10);
    assert_eq!((seen.errors.len(), driver.counters().sent), (0, 20));
}

fn shared_ports_share(make: Make) {
    let (mut one, mut two) = (make(options()), make(options()));
    let shared = UdpOptions { reuse_port: true, ..UdpOptions::signalling(loopback()) };
    let local = one.open_udp(A, &shared).expect("open");
    two.open_udp(A, &UdpOptions { bind: local, ..shared }).expect("open the same");
    let (mut first, mut second) = (Recorder::default(), Recorder::default());
    let phones: Vec<_> = (0..200).map(|_| phone(local)).collect();
    for (phone, _) in &phones {
        phone.send_to(b"x", local).expect("send");
    }
    until(&mut *one, &mut first, |seen| {
        two.wait(Some(Duration::ZERO), &mut second).expect("wait");
        seen.datagrams.len() + second.datagrams.len() == 200
    });
    assert!(first.datagrams.len() > 20 && second.datagrams.len() > 20);
}

fn ports_in_use_are_named(make: Make) {
    let mut driver = make(options());
    let local = open(&mut *driver, A, loopback());
    let error = driver.open_udp(B, &UdpOptions::media(local)).expect_err("in use");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&local.to_string()), "{error}");
    let elsewhere = "192.0.2.1:5060".parse().expect("literal");
    let error = driver.open_udp(B, &UdpOptions::media(elsewhere)).expect_err("not ours");
    assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    // The key was not used up by failing.
    open(&mut *driver, B, loopback());
}

fn keys_are_checked(make: Make) {
    let mut driver = make(options());
    open(&mut *driver, A, loopback());
    let media = UdpOptions::media(loopback());
    assert_eq!(driver.open_udp(A, &media).expect_err("taken").kind(), ErrorKind::AlreadyExists);
    assert_eq!(driver.listen(A, loopback(), false).expect_err("taken").kind(), ErrorKind::AlreadyExists);
    assert_eq!(driver.open_udp(SocketKey(4096), &media).expect_err("beyond").kind(), ErrorKind::InvalidInput);
    assert_eq!(driver.open_udp(SocketKey(u32::MAX), &media).expect_err("beyond").kind(), ErrorKind::InvalidInput);
    assert_eq!(driver.send(B, loopback(), Bytes::new()), Err(Refused::Gone));
    assert_eq!(driver.set_dscp(B, 46).expect_err("unknown").kind(), ErrorKind::NotFound);
    driver.close_socket(B);
    driver.close_socket(SocketKey(u32::MAX));
    assert_eq!(driver.counters().send_gone, 1);
}

fn closing_frees_port_and_key(make: Make) {
    let mut driver = make(options());
    let mut seen = Recorder::default();
    let mut local = open(&mut *driver, A, loopback());
    for round in 1..=20u8 {
        let (phone, _) = phone(local);
        phone.send_to(&[round], local).expect("send");
        until(&mut *driver, &mut seen, |seen| seen.datagrams.len() == usize::from(round));
        // One in the socket, unseen, when it closes.
        phone.send_to(&[0], local).expect("send");
        driver.close_socket(A);
        assert_eq!(driver.send(A, local, Bytes::new()), Err(Refused::Gone));
        local = open(&mut *driver, A, local);
    }
    settle(&mut *driver, &mut seen);
    assert!(seen.datagrams.iter().zip(1u8..).all(|((_, _, bytes), round)| *bytes == [round]));
    assert_eq!(seen.datagrams.len(), 20);
}

fn closing_sends_what_is_queued(make: Make) {
    let mut driver = make(options());
    let local = open(&mut *driver, A, loopback());
    let (phone, at) = phone(local);
    for round in 0..3u8 {
        for number in 0..100u8 {
            driver.send(A, at, Bytes::copy_from_slice(&[round, number])).expect("send");
        }
        driver.close_socket(A);
        for number in 0..100u8 {
            assert_eq!(receive(&phone).0, [round, number]);
        }
        open(&mut *driver, A, local);
    }
    drop(driver);
    // Nothing holds the port any more.
    std::net::UdpSocket::bind(local).expect("free");
}

fn dscp_marks_what_is_sent(make: Make) {
    let mut driver = make(options());
    let marked = UdpOptions { dscp: 46, ..UdpOptions::media(loopback()) };
    let local = driver.open_udp(A, &marked).expect("open");
    let (phone, at) = phone(local);
    SockRef::from(&phone).set_recv_tos_v4(true).expect("option");
    let mut seen = Recorder::default();
    for dscp in [46, 26, 0] {
        driver.set_dscp(A, dscp).expect("set");
        driver.send(A, at, Bytes::from_static(b"x")).expect("send");
        settle(&mut *driver, &mut seen);
        let (mut bytes, mut control) = ([MaybeUninit::new(0u8); 8], [MaybeUninit::new(0u8); 64]);
        let mut slices = [MaybeUninitSlice::new(&mut bytes)];
        let mut header = MsgHdrMut::new().with_buffers(&mut slices).with_control(&mut control);
        SockRef::from(&phone).recvmsg(&mut header, 0).expect("a datagram");
        let len = header.control_len();
        assert!(len > 16, "no TOS came");
        // SAFETY: all of `control` was made initialised. The TOS octet follows a `cmsghdr` of 16 octets.
        let tos = unsafe { control[16].assume_init() };
        assert_eq!(tos >> 2, dscp);
    }
}

fn many_sockets_at_once(make: Make) {
    let mut driver = make(options());
    let locals: Vec<_> = (0..600).map(|key| open(&mut *driver, SocketKey(key), loopback())).collect();
    let (phone, _) = phone(loopback());
    SockRef::from(&phone).set_recv_buffer_size(4 << 20).expect("buffer");
    let mut seen = Recorder::forwarding(|socket, to, bytes| Some(Forward { socket, to, len: bytes.len() }));
    for round in 1..=3 {
        for local in &locals {
            phone.send_to(&[round], *local).expect("send");
        }
        until(&mut *driver, &mut seen, |seen| seen.datagrams.len() == 600 * usize::from(round));
        driver.wait(Some(Duration::ZERO), &mut seen).expect("wait");
        let mut got: Vec<_> = (0..600).map(|_| receive(&phone).1).collect();
        got.sort();
        let mut expected = locals.clone();
        expected.sort();
        assert_eq!(got, expected);
    }
}

fn interleaved_closing_under_traffic(make: Make) {
    let mut driver = make(Options { packet_buffers: 64, ..options() });
    let mut seen = Recorder::forwarding(|socket, to, bytes| Some(Forward { socket, to, len: bytes.len() }));
    let mut locals: Vec<_> = (0..20).map(|key| open(&mut *driver, SocketKey(key), loopback())).collect();
    let (phone, _) = phone(loopback());
    for round in 0..200u32 {
        for local in &locals {
            phone.send_to(&round.to_be_bytes(), *local).expect("send");
        }
        driver.wait(Some(Duration::ZERO), &mut seen).expect("wait");
        let key = SocketKey(round % 20);
        driver.close_socket(key);
        locals[key.0 as usize] = open(&mut *driver, key, loopback());
    }
    let before = seen.datagrams.len();
    settle(&mut *driver, &mut seen);
    let (phone, at) = crate::harness::phone(loopback());
    for local in &locals {
        phone.send_to(b"last", *local).expect("send");
    }
    until(&mut *driver, &mut seen, |seen| seen.datagrams.iter().filter(|(_, from, _)| *from == at).count() == 20);
    driver.wait(Some(Duration::ZERO), &mut seen).expect("wait");
    for _ in 0..20 {
        assert_eq!(receive(&phone).0, b"last");
    }
    assert!(before > 2000, "traffic flowed meanwhile: {before}");
}

fn gathering_loses_nothing(make: Make) {
    let gather = GatherMax { signalling: Duration::from_millis(1), media: Duration::from_micros(500) };
    for socket in [UdpOptions::signalling(loopback()), UdpOptions::media(loopback())] {
        gathering_loses_nothing_of(make(Options { gather, ..options() }), &socket);
    }
}

fn gathering_loses_nothing_of(mut driver: Box<dyn Driver>, socket: &UdpOptions) {
    let local = driver.open_udp(A, socket).expect("open");
    let (phone, _) = phone(local);
    let mut seen = Recorder::forwarding(|socket, to, bytes| Some(Forward { socket, to, len: bytes.len() }));
    for round in 0..40usize {
        for number in 0..100u8 {
            phone.send_to(&[number], local).expect("send");
        }
        until(&mut *driver, &mut seen, |seen| seen.datagrams.len() == 100 * (round + 1));
        driver.wait(Some(Duration::ZERO), &mut seen).expect("wait");
        for number in 0..100u8 {
            assert_eq!(receive(&phone).0, [number]);
        }
    }
}
