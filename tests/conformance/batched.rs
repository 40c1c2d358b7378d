//! Datagrams that cross the network as one and come apart again, arrival times, and gathering.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use socket2::SockRef;
use strowger::base::{Instant, SocketKey};
use strowger::io::{Driver, Forward, Options, Released, ReleasedSocket, Role, Traffic, UdpOptions};

use crate::harness::{Make, Recorder, loopback, loopback_v6, options, phone, receive, settle, until};

crate::on_every_driver!(
    runs_reach_a_plain_socket_as_they_were,
    runs_come_apart_at_a_batched_socket,
    runs_of_a_plain_sender_are_no_runs,
    of_a_run_each_may_be_forwarded,
    what_the_kernel_refuses_as_a_run_goes_alone,
    a_refusal_by_the_peer_costs_no_other_run,
    batching_survives_a_hand_over,
    closing_sends_the_run_that_is_open,
    arrival_times_are_those_of_the_kernel,
    gathering_waits_and_takes_all,
    a_wait_hands_over_a_share_and_the_next_the_rest,
);

const A: SocketKey = SocketKey(0);
const B: SocketKey = SocketKey(7);

fn batched(bind: SocketAddr) -> UdpOptions {
    UdpOptions { batched: true, receive_buffer_bytes: 4 << 20, ..UdpOptions::signalling(bind) }
}

/// Lengths as a generator sends them: rows of equal ones, single ones, shorter ends, one that is empty, one longer than most
/// networks carry, and more than one run can hold.
fn messages() -> Vec<Bytes> {
    let lens = [
        [400; 130].as_slice(),
        &[300],
        &[300, 300, 300, 120, 120],
        &[0, 0],
        &[1, 2, 3],
        &[9000; 20],
        &[65_000, 40_000, 40_000],
        &[512; 64],
    ];
    let bytes = |(number, len): (usize, &usize)| (0..*len).map(|at| (number * 7 + at) as u8).collect();
    lens.concat().iter().enumerate().map(bytes).collect()
}

fn send_all(driver: &mut dyn Driver, to: SocketAddr, messages: &[Bytes]) {
    for message in messages {
        driver.send(A, to, message.clone()).expect("send");
    }
}

fn runs_reach_a_plain_socket_as_they_were(make: Make) {
    for bind in [loopback(), loopback_v6()] {
        let mut driver = make(options());
        let local = driver.open_udp(A, &batched(bind)).expect("open");
        let (phone, at) = phone(bind);
        SockRef::from(&phone).set_recv_buffer_size(4 << 20).expect("buffer");
        let messages = messages();
        send_all(&mut *driver, at, &messages);
        settle(&mut *driver, &mut Recorder::default());
        for (number, message) in messages.iter().enumerate() {
            let (bytes, from) = receive(&phone);
            assert!(bytes == *message && from == local, "number {number}: {} octets", bytes.len());
        }
        let counters = driver.counters();
        assert_eq!((counters.sent, counters.send_dropped, counters.runs_refused), (messages.len() as u64, 0, 0));
        assert_eq!(counters.sent_bytes, messages.iter().map(|message| message.len() as u64).sum::<u64>());
        assert!(counters.sent_runs >= 7, "{counters:?}");
    }
}

fn runs_come_apart_at_a_batched_socket(make: Make) {
    for bind in [loopback(), loopback_v6()] {
        let mut driver = make(options());
        let from = driver.open_udp(A, &batched(bind)).expect("open");
        let to = driver.open_udp(B, &batched(bind)).expect("open");
        let messages = messages();
        let mut seen = Recorder::default();
        send_all(&mut *driver, to, &messages);
        until(&mut *driver, &mut seen, |seen| seen.datagrams.len() == messages.len());
        for (number, (message, came)) in messages.iter().zip(&seen.datagrams).enumerate() {
            assert!(came.0 == B && came.1 == from && came.2 == *message, "number {number}: {} octets", came.2.len());
        }
        let counters = driver.counters();
        assert_eq!((counters.received, counters.truncated), (messages.len() as u64, 0));
        assert_eq!(counters.received_runs, counters.sent_runs);
        assert_eq!(counters.received_bytes, counters.sent_bytes);
    }
}

fn runs_of_a_plain_sender_are_no_runs(make: Make) {
    let mut driver = make(options());
    driver.open_udp(A, &UdpOptions::signalling(loopback())).expect("open");
    let to = driver.open_udp(B, &batched(loopback())).expect("open");
    let mut seen = Recorder::default();
    send_all(&mut *driver, to, &messages());
    until(&mut *driver, &mut seen, |seen| seen.datagrams.len() == messages().len());
    assert_eq!((driver.counters().sent_runs, driver.counters().received_runs), (0, 0));
}

fn of_a_run_each_may_be_forwarded(make: Make) {
    let mut driver = make(options());
    driver.open_udp(A, &batched(loopback())).expect("open");
    let to = driver.open_udp(B, &batched(loopback())).expect("open");
    let (phone, at) = phone(loopback());
    let mut seen = Recorder::forwarding(move |socket, _, bytes| {
        bytes.reverse();
        (bytes[0] % 2 == 0).then_some(Forward { socket, to: at, len: bytes.len() - 1 })
    });
    let messages: Vec<Bytes> = (0..20u8).map(|number| Bytes::from(vec![7, 8, number])).collect();
    send_all(&mut *driver, to, &messages);
    until(&mut *driver, &mut seen, |seen| seen.datagrams.len() == 20);
    settle(&mut *driver, &mut seen);
    for number in (0..20u8).step_by(2) {
        assert_eq!(receive(&phone), (vec![number, 8], to));
    }
    assert_eq!(driver.counters().received_runs, 1);
}

/// A socket without checksums: the kernel sends no runs by it.
fn without_checksums() -> ReleasedSocket {
    let socket = std::net::UdpSocket::bind(loopback()).expect("bind");
    for (level, name) in [(libc::SOL_UDP, libc::UDP_GRO), (libc::SOL_SOCKET, libc::SO_NO_CHECK)] {
        let on = 1i32;
        let len = size_of::<i32>() as libc::socklen_t;
        // SAFETY: the pointer and length describe `on`, which is only read.
        assert_eq!(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const on).cast(), len) }, 0);
    }
    let role = Role::Udp { traffic: Traffic::Signalling, v6: false };
    ReleasedSocket { key: A, role, descriptor: socket.into() }
}

fn what_the_kernel_refuses_as_a_run_goes_alone(make: Make) {
    let mut driver = make(options());
    driver.adopt(Released { sockets: vec![without_checksums()], ..Released::default() }).expect("adopt");
    let (phone, at) = phone(loopback());
    for round in 0..3u8 {
        let messages: Vec<Bytes> = (0..40u8).map(|number| Bytes::from(vec![round, number])).collect();
        send_all(&mut *driver, at, &messages);
        settle(&mut *driver, &mut Recorder::default());
        for message in messages {
            assert_eq!(receive(&phone).0, message);
        }
    }
    let counters = driver.counters();
    assert_eq!((counters.sent, counters.sent_bytes, counters.send_failed), (120, 240, 0));
    assert!((1..=2).contains(&counters.runs_refused) && counters.sent_runs == 0, "{counters:?}");
}

fn a_refusal_by_the_peer_costs_no_other_run(make: Make) {
    let mut driver = make(options());
    let local = driver.open_udp(A, &batched(loopback())).expect("open");
    let (gone, nobody) = phone(local);
    drop(gone);
    let (phone, at) = phone(local);
    let mut seen = Recorder::default();
    for round in 1..=3u8 {
        let messages: Vec<Bytes> = (0..10u8).map(|number| Bytes::from(vec![round, number])).collect();
        send_all(&mut *driver, nobody, &messages);
        send_all(&mut *driver, at, &messages);
        settle(&mut *driver, &mut seen);
        let mut got: Vec<_> = messages.iter().map(|_| receive(&phone).0).collect();
        got.sort();
        assert_eq!(got, messages);
    }
    assert!(!seen.errors.is_empty());
    assert!(seen.errors.iter().all(|error| *error == (A, nobody, ErrorKind::ConnectionRefused)));
}

fn batching_survives_a_hand_over(make: Make) {
    let (mut old, mut new) = (make(options()), make(options()));
    let stamped = UdpOptions { stamped: true, ..batched(loopback()) };
    old.open_udp(A, &stamped).expect("open");
    let to = old.open_udp(B, &stamped).expect("open");
    let mut seen = Recorder::default();
    old.wait(Some(Duration::ZERO), &mut seen).expect("wait");
    old.pause(&mut seen).expect("pause");
    // One run waits in the socket while it changes hands.
    let messages: Vec<Bytes> = (0..10u8).map(|number| Bytes::from(vec![number; 9])).collect();
    send_all(&mut *old, to, &messages);
    new.adopt(old.release().expect("release")).expect("adopt");
    send_all(&mut *new, to, &messages);
    until(&mut *new, &mut seen, |seen| seen.datagrams.len() == 20);
    assert!(seen.datagrams.iter().zip(messages.iter().cycle()).all(|(came, message)| came.2 == *message));
    assert_eq!((new.counters().received_runs, new.counters().sent_runs, seen.arrivals.len()), (2, 1, 20));
}

fn closing_sends_the_run_that_is_open(make: Make) {
    let mut driver = make(options());
    driver.open_udp(A, &batched(loopback())).expect("open");
    let (phone, at) = phone(loopback());
    let messages: Vec<Bytes> = (0..10u8).map(|number| Bytes::from(vec![number; 9])).collect();
    send_all(&mut *driver, at, &messages);
    driver.close_socket(A);
    for message in messages {
        assert_eq!(receive(&phone).0, message);
    }
}

/// The clock that arrival times are of.
fn now() -> Instant {
    let time = clock_gettime(ClockId::Monotonic);
    Instant::from_nanos(time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned())
}

/// The first socket of a host that asks for stamps has the kernel begin with them a little later.
fn until_stamped(driver: &mut dyn Driver, phone: &std::net::UdpSocket, to: SocketAddr) {
    for _ in 0..1000 {
        let mut seen = Recorder::default();
        phone.send_to(b"?", to).expect("send");
        std::thread::sleep(Duration::from_millis(10));
        let looked = now();
        until(driver, &mut seen, |seen| !seen.arrivals.is_empty());
        if seen.arrivals[0] + Duration::from_millis(5) < looked {
            return;
        }
    }
    panic!("nothing is stamped before it is looked at");
}

fn arrival_times_are_those_of_the_kernel(make: Make) {
    let mut driver = make(options());
    let sip = driver.open_udp(A, &UdpOptions { stamped: true, ..UdpOptions::signalling(loopback()) }).expect("open");
    let rtp = driver.open_udp(B, &UdpOptions { stamped: true, ..UdpOptions::media(loopback()) }).expect("open");
    let (phone, _) = phone(loopback());
    let mut seen = Recorder::default();
    until_stamped(&mut *driver, &phone, rtp);
    for round in 1..=5usize {
        let before = now();
        phone.send_to(b"x", sip).expect("send");
        phone.send_to(b"y", rtp).expect("send");
        // However long they lie there.
        std::thread::sleep(Duration::from_millis(20));
        let looked = now();
        until(&mut *driver, &mut seen, |seen| seen.arrivals.len() == 2 * round);
        for arrived in &seen.arrivals[2 * (round - 1)..] {
            // The two clocks are read one after the other.
            assert!(*arrived + Duration::from_millis(10) > before, "{arrived:?} before {before:?}");
            assert!(*arrived + Duration::from_millis(5) < looked, "{arrived:?} and not {looked:?}");
        }
    }
    assert_eq!(seen.datagrams.len(), 10);
}

fn gathering_waits_and_takes_all(make: Make) {
    let mut driver = make(options());
    let local = driver.open_udp(A, &batched(loopback())).expect("open");
    let (phone, at) = phone(loopback());
    let mut seen = Recorder::forwarding(move |socket, _, bytes| Some(Forward { socket, to: at, len: bytes.len() }));
    driver.wait(Some(Duration::ZERO), &mut seen).expect("wait");
    for round in 1..=10usize {
        for number in 0..30u8 {
            phone.send_to(&[number], local).expect("send");
        }
        let before = now();
        driver.gather(Duration::from_millis(2), &mut seen).expect("gather");
        assert!(now().since(before) >= Duration::from_millis(2), "there was not much to take");
        assert_eq!(seen.datagrams.len(), 30 * round);
        driver.gather(Duration::ZERO, &mut seen).expect("gather");
        for number in 0..30u8 {
            assert_eq!(receive(&phone).0, [number]);
        }
    }
}

/// Whoever answers us must not wait until all has been read.
fn a_wait_hands_over_a_share_and_the_next_the_rest(make: Make) {
    const MANY: usize = 3300;
    let mut driver = make(Options { share: 100, message_buffers: 128, ..options() });
    driver.open_udp(A, &batched(loopback())).expect("open");
    let to = driver.open_udp(B, &batched(loopback())).expect("open");
    let messages: Vec<Bytes> = (0..MANY).map(|number| Bytes::from(vec![number as u8; 400])).collect();
    send_all(&mut *driver, to, &messages);
    let (mut seen, mut most) = (Recorder::default(), 0);
    until(&mut *driver, &mut seen, |seen| {
        let share = seen.datagrams.len() - most;
        assert!(share < MANY / 3, "{share} at once");
        most = seen.datagrams.len();
        most == MANY
    });
    assert!(messages.iter().zip(&seen.datagrams).all(|(message, came)| came.2 == *message));
}
