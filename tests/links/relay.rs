//! A path between two sites with a delay, which can be cut: in each direction a thread that takes datagrams, and one that
//! holds each until its time.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use crossbeam::channel::{Sender, bounded};

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
        let mut threads = Vec::new();
        for (from, by, to) in [(&near_a, &near_b, b), (&near_b, &near_a, a)] {
            let (from, by) = (from.try_clone().unwrap(), by.try_clone().unwrap());
            let (cut, ended) = (Arc::clone(&cut), Arc::clone(&ended));
            let (sender, waiting) = bounded::<(Instant, Vec<u8>)>(QUEUED_MAX);
            threads.push(spawn(move || take(&from, &sender, delay, &cut, &ended)));
            threads.push(spawn(move || {
                for (due, datagram) in waiting {
                    sleep(due.saturating_duration_since(Instant::now()));
                    let _ = by.send_to(&datagram, to);
                }
            }));
        }
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

fn take(from: &UdpSocket, waiting: &Sender<(Instant, Vec<u8>)>, delay: Duration, cut: &AtomicBool, ended: &AtomicBool) {
    from.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut octets = vec![0; 65_536];
    while !ended.load(Relaxed) {
        let Ok(length) = from.recv(&mut octets) else { continue };
        if !cut.load(Relaxed) {
            let _ = waiting.try_send((Instant::now() + delay, octets[..length].to_vec()));
        }
    }
}
