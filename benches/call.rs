//! Whole calls through one shard, without sockets: what a call costs our own code, message by message.
//!
//! `cargo bench --bench call`. INVITE, 180, 200, ACK, BYE, 200 between two trunks, 1,000 calls a second of the shard's time,
//! up for 300 ms, after a minute's worth of calls, so that tables hold what they hold under such a load. Prints for each
//! message the nanoseconds and the allocations it takes until all that it causes has been handed out, timers apart. The last
//! line, `ratio call_vs_text FIGURE MIN MAX`, is a call over what no call can do without: reading the six messages that come in,
//! and copying the six that go out, in the same run.
//!
//! `-- --calls N` makes just N calls and no floor, for callgrind:
//! `valgrind --tool=callgrind --toggle-collect='*Shard*handle*' --toggle-collect='*poll_output*' FILE --calls 2000`.

use bytes::Bytes;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};
use strowger::base::{Instant, Random, SocketKey};
use strowger::call::Directory;
use strowger::observe::{Counters, MediaPath};
use strowger::shard::{Input, Output, Shard, ShardOptions, Steering};
use strowger::sip::wire::{Framing, Index, Message, parse};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system allocator unchanged; the counter touches no memory of its callers.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CALLER: &str = "198.51.100.5:5060";
const CALLEE: &str = "203.0.113.9:5060";
const SPACING: Duration = Duration::from_millis(1);
/// Calls between the INVITE and the BYE of one.
const UP: u32 = 300;
const WARM_UP: u32 = 60_000;
const MEASURED: u32 = 30_000;
const ROUNDS: u32 = 5;

const CONFIG: &str = "[shards]\ncount = 1\n[sip]\ndomains = [\"example.com\"]\n\
    [[sip.listen]]\naddress = \"192.0.2.1:5060\"\ntransport = \"udp\"\n\
    [media]\naddress = \"192.0.2.1\"\nport_min = 20000\nport_max = 59999\n\
    [[trunk]]\nname = \"in\"\naddress = \"198.51.100.5:5060\"\n\
    [[trunk]]\nname = \"out\"\naddress = \"203.0.113.9:5060\"\nprefixes = [\"\"]\n";

/// Timers are a step of their own.
const STEPS: [&str; 7] = ["INVITE", "180", "200", "ACK", "BYE", "200 BYE", "timers"];
const TIMERS: usize = 6;

/// One shard, its time, and what it has cost.
struct Desk {
    shard: Shard,
    now: Instant,
    sent: Vec<(SocketAddr, Bytes)>,
    nanos: [u64; STEPS.len()],
    allocations: [u64; STEPS.len()],
}

impl Desk {
    fn new() -> Self {
        let config = strowger::config::read(CONFIG, "bench.toml").config.expect("the configuration above");
        let (counters, steering) = (Arc::new(Counters::new()), Steering::new(1, [1, 2, 3, 4]));
        let directory = Arc::new(Directory::new(&config, None));
        let options = ShardOptions::new(&config, directory, counters, 0, steering, MediaPath::IoUring);
        let now = Instant::from_millis(1000);
        let shard = Shard::new(options, Random::from_u64(7), now);
        Self { shard, now, sent: Vec::new(), nanos: [0; STEPS.len()], allocations: [0; STEPS.len()] }
    }

    fn timed(&mut self, step: usize, work: impl FnOnce(&mut Shard, Instant)) {
        self.sent.clear();
        let (before, begin) = (ALLOCATIONS.get(), Clock::now());
        work(&mut self.shard, self.now);
        while let Some(output) = self.shard.poll_output() {
            if let Output::Send { to, bytes, .. } = output {
                self.sent.push((to, bytes));
            }
        }
        black_box(self.shard.next_deadline());
        self.nanos[step] += begin.elapsed().as_nanos() as u64;
        self.allocations[step] += ALLOCATIONS.get() - before;
    }

    /// What is sent to `to` in answer to `text`.
    fn exchange(&mut self, step: usize, from: &str, mut text: Vec<u8>, to: &str) -> Bytes {
        let (from, to) = (from.parse().expect("an address"), to.parse().expect("an address"));
        self.timed(step, |shard, now| {
            shard.handle(now, Input::Datagram { socket: SocketKey(0), from, bytes: &mut text });
        });
        let sent = self.sent.iter().find(|(at, _)| *at == to).map(|(_, bytes)| bytes.clone());
        sent.unwrap_or_else(|| panic!("nothing in answer to {}", String::from_utf8_lossy(&text)))
    }

    fn advance(&mut self) {
        self.now += SPACING;
        if self.shard.next_deadline().is_some_and(|deadline| deadline <= self.now) {
            self.timed(TIMERS, |shard, now| shard.handle_timeout(now));
        }
    }
}

fn field(message: &[u8], read: impl Fn(&Message<'_>) -> Vec<u8>) -> String {
    let mut index = Index::new();
    let message = parse(message, &mut index, Framing::Datagram).expect("what the shard sends can be read");
    String::from_utf8(read(&message)).expect("text")
}

fn with_offer(head: String, port: u32) -> Vec<u8> {
    let body = format!(
        "v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\n\
         a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
    );
    format!("{head}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A request of the caller's.
fn request(method: &str, number: u32, uri: &str, to: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK{method}{number:08x};rport\r\n\
         Max-Forwards: 70\r\nFrom: \"Caller\" <sip:+442071838750@left.example>;tag=from{number:08x}\r\nTo: {to}\r\n\
         Call-ID: 8f3c2{number:08x}@left.example\r\nCSeq: {} {}\r\nContact: <sip:caller@{CALLER}>\r\n\
         User-Agent: bench/1.0\r\n",
        if method == "BYE" { 2 } else { 1 },
        method
    )
}

/// The callee's answer to a request that the shard has sent.
fn response(to: &[u8], status: &str, number: u32) -> String {
    let line = |read: fn(&Message<'_>) -> Vec<u8>| field(to, read);
    format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <sip:callee@{CALLEE}>\r\n\
         Server: bench/1.0\r\n",
        line(|message| message.via().raw().to_vec()),
        line(|message| message.from().raw().to_vec()),
        match line(|message| message.to().raw().to_vec()) {
            tagged if tagged.contains("tag=") => tagged,
            bare => format!("{bare};tag=to{number:08x}"),
        },
        line(|message| message.call_id().to_vec()),
        line(|message| format!("{} {}", message.cseq().0, message.cseq().1.as_str()).into_bytes()),
    )
}

/// What the caller has to know to end its call.
struct UpCall {
    number: u32,
    uri: String,
    to: String,
}

const EMPTY: &str = "Content-Length: 0\r\n\r\n";

fn set_up(desk: &mut Desk, number: u32) -> UpCall {
    let uri = format!("sip:+1555{:07}@192.0.2.1", number % 10_000_000);
    let invite = with_offer(request("INVITE", number, &uri, &format!("<{uri}>")), 4000 + number % 2000 * 2);
    let invited = desk.exchange(0, CALLER, invite, CALLEE);
    let ringing = response(&invited, "180 Ringing", number) + EMPTY;
    desk.exchange(1, CALLEE, ringing.into_bytes(), CALLER);
    let answer = with_offer(response(&invited, "200 OK", number), 6000 + number % 2000 * 2);
    let answered = desk.exchange(2, CALLEE, answer, CALLER);
    let to = field(&answered, |message| message.to().raw().to_vec());
    let uri = field(&answered, |message| message.contact().expect("a Contact").uri_raw().to_vec());
    let ack = request("ACK", number, &uri, &to) + EMPTY;
    desk.timed(3, |shard, now| {
        let (from, mut bytes) = (CALLER.parse().expect("an address"), ack.into_bytes());
        shard.handle(now, Input::Datagram { socket: SocketKey(0), from, bytes: &mut bytes });
    });
    UpCall { number, uri, to }
}

fn end(desk: &mut Desk, call: &UpCall) {
    let bye = request("BYE", call.number, &call.uri, &call.to) + EMPTY;
    let carried = desk.exchange(4, CALLER, bye.into_bytes(), CALLEE);
    let done = response(&carried, "200 OK", call.number) + EMPTY;
    desk.timed(5, |shard, now| {
        let (from, mut bytes) = (CALLEE.parse().expect("an address"), done.into_bytes());
        shard.handle(now, Input::Datagram { socket: SocketKey(0), from, bytes: &mut bytes });
    });
}

fn calls(desk: &mut Desk, numbers: std::ops::Range<u32>, up: &mut std::collections::VecDeque<UpCall>) {
    for number in numbers {
        desk.advance();
        let call = set_up(desk, number);
        up.push_back(call);
        if up.len() > UP as usize {
            let over = up.pop_front().expect("just counted");
            end(desk, &over);
        }
    }
}

/// Reading the messages of a call and copying as many, in nanoseconds.
fn text_floor(count: u32) -> f64 {
    let mut desk = Desk::new();
    let uri = "sip:+15550000001@192.0.2.1";
    let invite = with_offer(request("INVITE", 1, uri, &format!("<{uri}>")), 4000);
    let invited = desk.exchange(0, CALLER, invite.clone(), CALLEE);
    let plain = |text: String| (text + EMPTY).into_bytes();
    let messages = [
        invite,
        plain(response(&invited, "180 Ringing", 1)),
        with_offer(response(&invited, "200 OK", 1), 6000),
        plain(request("ACK", 1, uri, "<sip:x@192.0.2.1>;tag=1")),
        plain(request("BYE", 1, uri, "<sip:x@192.0.2.1>;tag=1")),
        plain(response(&invited, "200 OK", 1)),
    ];
    let (mut index, mut out) = (Index::new(), Vec::with_capacity(4096));
    let begin = Clock::now();
    for _ in 0..count {
        for message in &messages {
            let read = parse(black_box(message), &mut index, Framing::Datagram).expect("a message");
            out.clear();
            out.extend_from_slice(black_box(read).raw());
            black_box(&out);
        }
    }
    begin.elapsed().as_nanos() as f64 / f64::from(count)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let only = arguments.iter().position(|word| word == "--calls").and_then(|at| arguments.get(at + 1)?.parse().ok());
    let (mut desk, mut up) = (Desk::new(), std::collections::VecDeque::new());
    if let Some(count) = only {
        calls(&mut desk, 0..count, &mut up);
        return;
    }
    calls(&mut desk, 0..WARM_UP, &mut up);
    let (mut number, mut ratios) = (WARM_UP, Vec::new());
    (desk.nanos, desk.allocations) = Default::default();
    for _ in 0..ROUNDS {
        let before: u64 = desk.nanos.iter().sum();
        calls(&mut desk, number..number + MEASURED, &mut up);
        number += MEASURED;
        let spent = (desk.nanos.iter().sum::<u64>() - before) as f64 / f64::from(MEASURED);
        ratios.push(spent / text_floor(MEASURED));
    }
    let calls = f64::from(ROUNDS * MEASURED);
    for (step, name) in STEPS.iter().enumerate() {
        let (nanos, allocations) = (desk.nanos[step] as f64 / calls, desk.allocations[step] as f64 / calls);
        println!("{name:<8} {nanos:>8.0} ns {allocations:>6.1} allocations");
    }
    let (nanos, allocations): (u64, u64) = (desk.nanos.iter().sum(), desk.allocations.iter().sum());
    println!("call     {:>8.0} ns {:>6.1} allocations", nanos as f64 / calls, allocations as f64 / calls);
    ratios.sort_by(f64::total_cmp);
    println!("ratio call_vs_text {:.2} {:.2} {:.2}", ratios[ratios.len() / 2], ratios[0], ratios[ratios.len() - 1]);
}
