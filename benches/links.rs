//! How long news of a call takes to another site: keepers over QUIC through a path of 50 ms each way, against a bare
//! datagram through a path of the same kind.
//!
//! `cargo bench --bench links`. One call at a time begins at site `a`; site `b` is asked until it lists the call.

#[path = "../tests/links/relay.rs"]
#[allow(dead_code)]
mod relay;
#[path = "../tests/links/site.rs"]
#[allow(dead_code)]
mod site;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use site::{certify, places, run, until};
use strowger::base::id::Token;
use strowger::base::{ShardId, Slot};
use strowger::control::links::Question;
use strowger::tally::Note;

const DELAY: Duration = Duration::from_millis(50);
const ROUNDS: usize = 200;
/// Between two questions: the resolution of the figure.
const PAUSE: Duration = Duration::from_micros(100);

fn main() {
    let root = tempfile::tempdir().unwrap();
    let keys = root.path().join("keys");
    certify(&keys, &["a", "b"]);
    let [at_a, at_b] = places(["a", "b"]);
    let path = relay::Relay::start(at_a.address, at_b.address, DELAY);
    let a = run(root.path(), &keys, at_a, &[("b", path.towards_b)], &[("alice", 9)], "a");
    let b = run(root.path(), &keys, at_b, &[("a", path.towards_a)], &[("alice", 9)], "a");
    until("they are linked", || a.is_linked() && b.is_linked());
    until("a stamp has come back", || a.handle.status().lag(0, a.clock.now()) > DELAY);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let known = || {
        let told = runtime.block_on(b.handle.ask(Question::Calls { limit: 10_000 })).unwrap();
        told["rows"].as_array().map_or(0, Vec::len)
    };
    let mut ours: Vec<Duration> = Vec::new();
    for round in 0..ROUNDS {
        let call = Token { shard: ShardId(0), slot: Slot { index: round as u32, generation: 1 }, salt: 1 };
        let (account, started) = ("alice".into(), a.clock.now());
        let sent = Instant::now();
        a.notes.send(Note::Began { account, call, started }).unwrap();
        // Asking all the time would only take the cores from those who carry the news.
        std::thread::sleep(DELAY - Duration::from_millis(1));
        while known() == 0 {
            std::thread::sleep(PAUSE);
        }
        ours.push(sent.elapsed());
        a.notes.send(Note::Ended { account: "alice".into(), call }).unwrap();
        until("the end is known", || known() == 0);
    }
    let bare = bare();
    report("a bare datagram through the path", bare.clone());
    report("news of a call through the path", ours.clone());
    ours.sort_unstable();
    let added = ours[ROUNDS / 2].saturating_sub(bare[bare.len() / 2]);
    println!("added by us (medians): {:.3} ms", added.as_secs_f64() * 1e3);
    [a, b].into_iter().for_each(site::Site::stop);
}

/// What the path itself takes.
fn bare() -> Vec<Duration> {
    let (from, to) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let path = relay::Relay::start(from.local_addr().unwrap(), to.local_addr().unwrap(), DELAY);
    let mut out: Vec<Duration> = (0..ROUNDS / 4)
        .map(|_| {
            let sent = Instant::now();
            from.send_to(b"news", path.towards_b).unwrap();
            to.recv(&mut [0; 16]).unwrap();
            sent.elapsed()
        })
        .collect();
    out.sort_unstable();
    out
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    println!("{what}: p50 {:.3} ms, p90 {:.3} ms, p99 {:.3} ms, max {:.3} ms", at(0.5), at(0.9), at(0.99), at(1.0));
}
