//! A path between two sites with a delay, which can be cut: one thread that holds each datagram until its time.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Datagrams on their way, one direction.
const QUEUED_MAX: usize = 65_536;

/// A running path. Dropping it ends it.
pub struct Relay {
    /// Where `a` finds `b`.
    pub towards_b: SocketAddr,
    /// Where `b` finds `a`.
    pub towards_a: SocketAddr,
    cut: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// A path of so much delay each way.
    pub fn start(a: SocketAddr, b: SocketAddr, delay: Duration) -> Self {
        let (near_a, near_b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let (towards_b, towards_a) = (near_a.local_addr().unwrap(), near_b.local_addr().unwrap());
        let (cut, ended) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let one = |from: &UdpSocket, by: &UdpSocket, to: SocketAddr| {
            let (from, by) = (from.try_clone().unwrap(), by.try_clone().unwrap());
            let (cut, ended) = (Arc::clone(&cut), Arc::clone(&ended));
            std::thread::spawn(move || carry(&from, &by, to, delay, &cut, &ended))
        };
        let threads = vec![one(&near_a, &near_b, b), one(&near_b, &near_a, a)];
        Self { towards_b, towards_a, cut, ended, threads }
    }

    /// Loses everything, or no longer.
    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// What comes in at `from` leaves by `by` for `to` when its time has come.
fn carry(from: &UdpSocket, by: &UdpSocket, to: SocketAddr, delay: Duration, cut: &AtomicBool, ended: &AtomicBool) {
    let mut waiting: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut octets = vec![0; 65_536];
    while !ended.load(Relaxed) {
        let until =
            waiting.front().map_or(Duration::from_millis(20), |(due, _)| due.saturating_duration_since(Instant::now()));
        from.set_read_timeout(Some(until.max(Duration::from_micros(50)))).unwrap();
        if let Ok(length) = from.recv(&mut octets)
            && !cut.load(Relaxed)
            && waiting.len() < QUEUED_MAX
        {
            waiting.push_back((Instant::now() + delay, octets[..length].to_vec()));
        }
        while waiting.front().is_some_and(|(due, _)| *due <= Instant::now())
            && let Some((_, datagram)) = waiting.pop_front()
        {
            let _ = by.send_to(&datagram, to);
        }
    }
}
