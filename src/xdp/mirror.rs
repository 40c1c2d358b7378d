//! The thread that keeps the hop table true: listens to the kernel's tables, asks for the ways that shards need, and has the
//! kernel probe the neighbours in use before it would call them stale (traffic that never reaches the stack does not count
//! as use). It sleeps until the kernel has news, a shard wants a way, or neighbours are to be kept fresh.

use super::hops::{Aim, Hops, Neighbour};
use super::memory::Memory;
use super::netlink::{Message, Netlink, family, kind, push_address};
use super::table::Ways;
use std::io::Result;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long nothing is tried after the kernel has refused.
const REST: Duration = Duration::from_millis(50);
/// Less than the five seconds after which the kernel no longer counts use (`delay_first_probe_time`).
const FRESHEN: Duration = Duration::from_secs(2);
/// Destinations asked for in one turn.
const ASKED_PER_TURN: usize = 1024;

#[derive(Debug)]
struct Inner {
    memory: Arc<Memory>,
    hops: Mutex<Hops>,
    /// A word here ends the thread's wait.
    calls: UnixDatagram,
    stopping: AtomicBool,
}

/// The shards' end.
#[derive(Clone, Debug)]
pub struct Mirror(Arc<Inner>);

impl Ways for Mirror {
    fn resolve(&self, to: Aim) -> Option<u16> {
        // The mirror has it: the relay asks again.
        let mut hops = self.0.hops.try_lock().ok()?;
        let (hop, is_wanted) = (hops.resolve(&self.0.memory.hops, to), hops.wants());
        drop(hops);
        if is_wanted {
            self.call();
        }
        hop
    }

    fn keep(&self, to: Aim, hop: u16) -> bool {
        self.0.hops.try_lock().map_or(true, |mut hops| hops.keep(to, hop))
    }

    fn adopt(&self, to: Aim, hop: u16) {
        self.with(|hops| hops.adopt(to, hop));
    }
}

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    mirror: Mirror,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Reads the tables once, then follows them on a thread of its own.
    ///
    /// # Errors
    /// No netlink socket, no thread.
    pub fn start(memory: Arc<Memory>, devices: &[(u32, u16)]) -> Result<Self> {
        Self::with(memory, Hops::new(devices.iter().copied()))
    }

    /// The same beside another process that still writes the hop table: ours [rests](Hops::resting).
    ///
    /// # Errors
    /// As of [`start`](Self::start).
    pub fn start_resting(memory: Arc<Memory>, devices: &[(u32, u16)]) -> Result<Self> {
        Self::with(memory, Hops::resting(devices.iter().copied()))
    }

    fn with(memory: Arc<Memory>, hops: Hops) -> Result<Self> {
        let (calls, called) = UnixDatagram::pair()?;
        calls.set_nonblocking(true)?;
        called.set_nonblocking(true)?;
        let (hops, stopping) = (Mutex::new(hops), AtomicBool::new(false));
        let mirror = Mirror(Arc::new(Inner { memory, hops, calls, stopping }));
        // Listening begins before the tables are read, so that nothing falls between.
        let mut news = Netlink::listening()?;
        let mut questions = Netlink::asking()?;
        mirror.read_tables(&mut questions)?;
        let own = mirror.clone();
        let body = move || own.follow(&mut news, &mut questions, &called);
        let thread = std::thread::Builder::new().name("xdp-hops".into()).spawn(body)?;
        Ok(Self { mirror, thread: Some(thread) })
    }

    /// The program is generic on these devices: see [`Hops::without_tags`].
    pub fn without_tags(&self, devices: impl IntoIterator<Item = u32>) {
        self.mirror.with(|hops| {
            hops.without_tags(devices);
            hops.write_all(&self.mirror.0.memory.hops);
        });
    }

    /// Another process is to write the hop table: whose its rows are.
    #[must_use]
    pub fn rest(&self) -> Vec<Neighbour> {
        self.mirror.with(Hops::rest)
    }

    /// The rows are those of the process before.
    pub fn take_rows(&self, neighbours: Vec<Neighbour>) {
        self.mirror.with(|hops| hops.take_rows(neighbours));
    }

    /// Ours is the hop table, from now on or again.
    pub fn wake(&self) {
        self.mirror.with(|hops| hops.wake(&self.mirror.0.memory.hops));
        self.mirror.call();
    }

    /// For a shard.
    #[must_use]
    pub fn mirror(&self) -> Mirror {
        self.mirror.clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.mirror.0.stopping.store(true, Relaxed);
        self.mirror.call();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Mirror {
    fn with<T>(&self, act: impl FnOnce(&mut Hops) -> T) -> T {
        act(&mut self.0.hops.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends the thread's wait. One that cannot be written finds others that are still unread.
    fn call(&self) {
        let _ = self.0.calls.send(&[0]);
    }

    /// The thread.
    fn follow(&self, news: &mut Netlink, questions: &mut Netlink, called: &UnixDatagram) {
        let started = Instant::now();
        let mut fresh_at = started;
        while !self.0.stopping.load(Relaxed) {
            let until = if self.with(|hops| hops.wants()) { Instant::now() } else { fresh_at };
            let waited = news.wait(called.as_fd(), until.saturating_duration_since(Instant::now()));
            while called.recv(&mut [0]).is_ok() {}
            let now = Instant::now();
            self.with(|hops| hops.set_now(now.duration_since(started).as_secs()));
            let whole = waited.and_then(|()| self.turn(news)).unwrap_or_else(|_| {
                // Rows stay as they are; the tables are read again then.
                std::thread::sleep(REST);
                false
            });
            if !whole {
                let _ = self.read_tables(questions);
            }
            let mut is_due = self.ask(questions);
            if now >= fresh_at {
                fresh_at = now + FRESHEN;
                self.freshen(questions);
                is_due = true;
            }
            if is_due {
                self.rouse(questions);
            }
        }
    }

    fn read_tables(&self, questions: &mut Netlink) -> Result<()> {
        let mut found: Vec<(u16, Vec<u8>)> = Vec::new();
        let mut gather = |message: Message<'_>| found.push((message.kind, message.body.to_vec()));
        questions.dump(kind::GET_LINK, &[0; 16], &mut gather)?;
        questions.dump(kind::GET_NEIGHBOUR, &[0; 12], &mut gather)?;
        self.with(|hops| {
            hops.forget();
            for (kind, body) in &found {
                hops.take(Message { kind: *kind, body });
            }
            hops.routes_changed = true;
            hops.write_all(&self.0.memory.hops);
        });
        Ok(())
    }

    /// Takes one batch of news. False when some were lost.
    fn turn(&self, news: &mut Netlink) -> Result<bool> {
        news.read(&mut |message| {
            self.with(|hops| {
                if hops.take(message) {
                    hops.write_all(&self.0.memory.hops);
                }
            });
        })
    }

    /// Asks for the ways that shards want; true where there were any.
    fn ask(&self, questions: &mut Netlink) -> bool {
        let asked = self.with(|hops| hops.take_asked(ASKED_PER_TURN));
        let is_any = !asked.is_empty();
        for aim in asked {
            let to = aim.to;
            let bits = if to.is_ipv4() { 32 } else { 128 };
            let mut body = vec![family(to), bits, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            push_address(&mut body, 1, to);
            let mut answer = None;
            let mut take = |message: Message<'_>| answer = Some((message.kind, message.body.to_vec()));
            let _ = questions.ask(kind::GET_ROUTE, &body, &mut take);
            self.with(|hops| {
                let answer = answer.as_ref().map(|(kind, body)| Message { kind: *kind, body });
                hops.take_route(&self.0.memory.hops, aim, answer);
            });
        }
        is_any
    }

    /// As if a packet had just been sent to each neighbour in use.
    fn freshen(&self, questions: &mut Netlink) {
        let used: Vec<(u32, IpAddr)> = self.with(|hops| hops.in_use().collect());
        for (ifindex, address) in used {
            let _ = questions.tell(kind::NEW_NEIGHBOUR, &neighbour(ifindex, address, NTF_USE));
        }
    }

    /// A stale neighbour that is used waits five seconds for a sign of life before it is probed, and counts as good meanwhile
    /// (`NUD_DELAY`). The kernel tells nobody of that step, so it is asked.
    fn rouse(&self, questions: &mut Netlink) {
        for (ifindex, address) in self.with(|hops| hops.in_want()) {
            let _ = questions.tell(kind::NEW_NEIGHBOUR, &neighbour(ifindex, address, NTF_USE));
            let mut take = |message: Message<'_>| {
                self.with(|hops| {
                    if hops.take(message) {
                        hops.write_all(&self.0.memory.hops);
                    }
                });
            };
            let _ = questions.ask(kind::GET_NEIGHBOUR, &neighbour(ifindex, address, 0), &mut take);
        }
    }
}

const NTF_USE: u8 = 1;

/// `struct ndmsg` and the address.
fn neighbour(ifindex: u32, address: IpAddr, flags: u8) -> Vec<u8> {
    let mut body = vec![family(address), 0, 0, 0];
    body.extend(ifindex.to_ne_bytes());
    body.extend([0, 0, flags, 0]);
    push_address(&mut body, 1, address);
    body
}
