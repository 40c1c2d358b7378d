//! Waiting: wake-ups, timeouts, threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use strowger::base::SocketKey;
use strowger::io::UdpOptions;

use crate::harness::{Make, PATIENCE, Recorder, loopback, options, phone, until};

crate::on_every_driver!(
    a_wake_ends_the_wait,
    a_wake_before_the_wait_counts,
    wakes_add_up_to_one,
    no_wake_is_lost,
    timeouts_are_never_early,
    zero_only_looks,
    a_driver_may_move_before_its_first_wait,
    wakers_outlive_their_driver,
    drivers_wake_each_other,
    a_driver_that_never_waited_is_woken,
);

fn a_wake_ends_the_wait(make: Make) {
    let mut driver = make(options());
    let waker = driver.waker();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        waker.wake();
    });
    let mut seen = Recorder::default();
    driver.wait(Some(PATIENCE), &mut seen).expect("wait");
    thread.join().expect("thread");
    assert_eq!((seen.batches, seen.datagrams.len()), (1, 0));
    let start = Instant::now();
    driver.wait(Some(Duration::from_millis(10)), &mut seen).expect("wait");
    assert!(start.elapsed() >= Duration::from_millis(10), "one wake, one end");
}

fn a_wake_before_the_wait_counts(make: Make) {
    let mut driver = make(options());
    let mut seen = Recorder::default();
    for _ in 0..3 {
        driver.waker().wake();
        driver.wait(None, &mut seen).expect("wait");
    }
    assert_eq!(seen.batches, 3);
}

fn wakes_add_up_to_one(make: Make) {
    let mut driver = make(options());
    let waker = driver.waker();
    for _ in 0..1000 {
        waker.clone().wake();
    }
    let mut seen = Recorder::default();
    driver.wait(None, &mut seen).expect("wait");
    driver.wait(Some(Duration::from_millis(5)), &mut seen).expect("wait");
    assert_eq!(seen.batches, 1);
}

fn no_wake_is_lost(make: Make) {
    let mut driver = make(options());
    let mail = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (waker, mail) = (driver.waker(), Arc::clone(&mail));
            std::thread::spawn(move || {
                for _ in 0..2000 {
                    mail.fetch_add(1, Ordering::Relaxed);
                    waker.wake();
                }
            })
        })
        .collect();
    let (mut seen, mut read) = (Recorder::default(), 0);
    while read < 6000 {
        // Were a wake lost, this would wait for ever.
        driver.wait(None, &mut seen).expect("wait");
        read += mail.swap(0, Ordering::Relaxed);
    }
    for thread in threads {
        thread.join().expect("thread");
    }
}

fn timeouts_are_never_early(make: Make) {
    let mut driver = make(options());
    let mut seen = Recorder::default();
    for micros in [1, 100, 500, 1_000, 1_500, 10_000, 33_333] {
        let timeout = Duration::from_micros(micros);
        let start = Instant::now();
        driver.wait(Some(timeout), &mut seen).expect("wait");
        let took = start.elapsed();
        assert!(took >= timeout, "{took:?} < {timeout:?}");
        assert!(took < PATIENCE, "{took:?}");
    }
    assert_eq!(seen.batches, 0);
}

fn zero_only_looks(make: Make) {
    let mut driver = make(options());
    let local = driver.open_udp(SocketKey(0), &UdpOptions::media(loopback())).expect("open");
    let mut seen = Recorder::default();
    for _ in 0..10 {
        driver.wait(Some(Duration::ZERO), &mut seen).expect("wait");
    }
    assert_eq!(seen.batches, 0);
    phone(local).0.send_to(b"x", local).expect("send");
    // Loopback delivers within the call, so one look is enough.
    driver.wait(Some(Duration::ZERO), &mut seen).expect("wait");
    assert_eq!(seen.datagrams.len(), 1);
}

fn a_driver_may_move_before_its_first_wait(make: Make) {
    let mut driver = make(options());
    let local = driver.open_udp(SocketKey(0), &UdpOptions::signalling(loopback())).expect("open");
    driver.listen(SocketKey(1), loopback(), false).expect("listen");
    driver.close_socket(SocketKey(1));
    let (phone, at) = phone(local);
    driver.send(SocketKey(0), at, bytes::Bytes::from_static(b"from there")).expect("send");
    phone.send_to(b"x", local).expect("send");
    let thread = std::thread::spawn(move || {
        let mut seen = Recorder::default();
        until(&mut *driver, &mut seen, |seen| seen.datagrams.len() == 1);
    });
    thread.join().expect("thread");
    assert_eq!(crate::harness::receive(&phone).0, b"from there");
}

fn wakers_outlive_their_driver(make: Make) {
    let driver = make(options());
    let waker = driver.waker();
    drop(driver);
    waker.wake();
}

fn drivers_wake_each_other(make: Make) {
    const ROUNDS: usize = 500;
    let (mut here, mut there) = (make(options()), make(options()));
    let (mine, theirs) = (here.waker(), there.waker());
    let said = Arc::new(AtomicUsize::new(0));
    let heard = Arc::clone(&said);
    let thread = std::thread::spawn(move || {
        let mut seen = Recorder::default();
        for round in 0..ROUNDS {
            while heard.load(Ordering::Relaxed) <= round * 2 {
                there.wait(None, &mut seen).expect("wait");
            }
            heard.fetch_add(1, Ordering::Relaxed);
            there.wake(&mine);
        }
        // The last message leaves with one more batch.
        there.wait(Some(Duration::ZERO), &mut seen).expect("wait");
    });
    let mut seen = Recorder::default();
    for round in 0..ROUNDS {
        said.fetch_add(1, Ordering::Relaxed);
        // Twice is as good as once.
        here.wake(&theirs);
        here.wake(&theirs);
        while said.load(Ordering::Relaxed) < (round + 1) * 2 {
            here.wait(None, &mut seen).expect("wait");
        }
    }
    thread.join().expect("thread");
    // Its ring is gone; the eventfd is not.
    here.wake(&theirs);
    here.wait(Some(Duration::ZERO), &mut seen).expect("wait");
}

fn a_driver_that_never_waited_is_woken(make: Make) {
    let (mut here, mut there) = (make(options()), make(options()));
    let mut seen = Recorder::default();
    here.wake(&there.waker());
    for _ in 0..3 {
        here.wait(Some(Duration::ZERO), &mut seen).expect("wait");
    }
    there.wait(None, &mut seen).expect("wait");
}
