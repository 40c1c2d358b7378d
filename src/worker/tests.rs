//! The loop, with a core that only writes down and answers.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use crossbeam::channel::{Receiver, bounded};

use super::*;
use crate::base::id::Token;
use crate::base::{Forward, Slot};
use crate::io::Backend;
use crate::observe::record::EndCause;
use crate::observe::{CallId, CallResult, LegReport};
use crate::shard::{Answer, Mail, Output, Query};
use crate::tally::Note;

const SIGNALLING: SocketKey = SocketKey(0);
const LISTENER: SocketKey = SocketKey(1);
const MEDIA: SocketKey = SocketKey(100);

#[derive(Default)]
struct Seen {
    inputs: Vec<String>,
    timeouts: usize,
}

/// Echoes datagrams and stream data, forwards media, passes letters on.
struct Stub {
    id: ShardId,
    beat: Instant,
    outputs: VecDeque<Output>,
    deadline: Option<Instant>,
    last: Instant,
    seen: Arc<Mutex<Seen>>,
    waiting: Arc<AtomicUsize>,
}

impl Core for Stub {
    fn handle(&mut self, now: Instant, input: Input<'_>) -> Option<Forward> {
        assert!(now >= self.last, "time went back");
        self.last = now;
        let mut text = format!("{input:?}");
        text.truncate(text.find([' ', '(']).unwrap_or(text.len()));
        self.seen.lock().expect("lock").inputs.push(text);
        match input {
            Input::Datagram { socket: MEDIA, from, bytes } => {
                bytes[0] ^= 0xff;
                return Some(Forward { socket: MEDIA, to: from, len: bytes.len() });
            }
            Input::Datagram { socket, from, bytes } => {
                let bytes = Bytes::copy_from_slice(bytes);
                self.outputs.push_back(Output::Send { socket, to: from, bytes });
            }
            Input::StreamData { stream, bytes } => {
                let bytes = Bytes::copy_from_slice(bytes);
                self.outputs.push_back(Output::StreamSend { stream, bytes });
            }
            Input::Mail(Mail::TellCalls) => {
                self.outputs.push_back(Output::Note(Note::Calls { shard: self.id, calls: Vec::new() }));
            }
            Input::Mail(Mail::Stop) => self.outputs.push_back(Output::Stopped),
            Input::Mail(Mail::Drain) => {
                let next = ShardId(self.id.0 + 1);
                let mail = if next.0 < 3 { Mail::Drain } else { Mail::Stop };
                self.outputs.push_back(Output::Mail { to: if next.0 < 3 { next } else { self.id }, mail });
            }
            Input::Mail(Mail::Query { reply, .. }) => {
                let _ = reply.try_send(Answer::Hangup { found: true });
            }
            _ => {}
        }
        None
    }

    fn handle_timeout(&mut self, now: Instant) {
        assert!(self.deadline.take().is_some_and(|deadline| deadline <= now), "early");
        self.seen.lock().expect("lock").timeouts += 1;
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn freeze(&mut self, _: Instant, _: crate::shard::Waiting) -> Vec<u8> {
        Vec::new()
    }

    fn set_records_waiting(&mut self, count: usize) {
        self.waiting.store(count, Ordering::Relaxed);
    }

    fn last_beat(&self) -> Instant {
        self.beat
    }

    fn has_read_mail(&mut self, _: Instant, beat: Instant) {
        if beat > Instant::ZERO {
            self.seen.lock().expect("lock").inputs.push(format!("read {}", beat.as_nanos()));
        }
    }
}

struct Bench {
    worker: Worker<Stub>,
    post: Arc<Post>,
    seen: Arc<Mutex<Seen>>,
    waiting: Arc<AtomicUsize>,
    counters: Arc<Counters>,
    records: Receiver<Box<CallRecord>>,
    events: Receiver<Event>,
    notes: Receiver<Note>,
}

fn bench(backend: Backend, id: u8, post: &Arc<Post>, outputs: impl IntoIterator<Item = Output>) -> Bench {
    let ((record_in, records), (event_in, events), (note_in, notes)) = (bounded(2), bounded(2), bounded(2));
    let counters = Arc::new(Counters::new());
    let (seen, waiting) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicUsize::new(0)));
    let clock = Clock::new(std::time::Instant::now());
    let verbosity = Verbosity::default();
    verbosity.set(Verbosity::TRACE);
    let stub = Stub {
        beat: Instant::ZERO,
        id: ShardId(id),
        outputs: outputs.into_iter().collect(),
        deadline: None,
        last: Instant::ZERO,
        seen: Arc::clone(&seen),
        waiting: Arc::clone(&waiting),
    };
    let options = Options {
        shard: ShardId(id),
        clock,
        post: Arc::clone(post),
        outlets: Outlets { records: record_in, events: event_in, verbosity, notes: Some(note_in) },
        counters: Arc::clone(&counters),
        media_receive_buffer_bytes: 1 << 16,
        gate: None,
    };
    let choice = crate::io::Choice::new(backend).expect("a driver");
    let driver = choice.open(crate::io::Options::default()).expect("driver");
    let worker = Worker::new(options, driver, stub);
    Bench { worker, post: Arc::clone(post), seen, waiting, counters, records, events, notes }
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().expect("literal")
}

/// A port that was free a moment ago.
fn free_port() -> SocketAddr {
    UdpSocket::bind(loopback()).and_then(|socket| socket.local_addr()).expect("address")
}

/// The next datagram. When a ring ends, another test's too, the kernel interrupts the threads that made it.
fn heard(phone: &UdpSocket, bytes: &mut [u8]) -> (usize, SocketAddr) {
    loop {
        match phone.recv_from(bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            heard => return heard.expect("a datagram"),
        }
    }
}

#[test]
fn everything_goes_round() {
    for backend in [Backend::Auto, Backend::Epoll] {
        let post = Post::new(1, 16);
        let media = free_port();
        let mut bench = bench(backend, 0, &post, [Output::OpenUdp { socket: MEDIA, bind: media, dscp: 46 }]);
        let udp = bench.worker.open_udp(SIGNALLING, &UdpOptions::signalling(loopback())).expect("open");
        let tcp = bench.worker.listen(LISTENER, loopback(), false).expect("listen");
        let thread = bench.worker.spawn(cores().first().copied()).expect("thread");
        let phone = UdpSocket::bind(loopback()).expect("bind");
        phone.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        let mut bytes = [0; 16];
        phone.send_to(b"OPTIONS", udp).expect("send");
        assert_eq!(heard(&phone, &mut bytes), (7, udp));
        phone.send_to(&[0x80, 1], media).expect("send");
        assert_eq!(heard(&phone, &mut bytes), (2, media));
        assert_eq!(bytes[..2], [0x7f, 1]);
        let mut stream = TcpStream::connect(tcp).expect("connect");
        stream.write_all(b"REGISTER").expect("write");
        stream.shutdown(std::net::Shutdown::Write).expect("shutdown");
        stream.read_exact(&mut bytes[..8]).expect("echo after the half close");
        let (reply, answer) = bounded(1);
        assert!(post.post(ShardId(0), Mail::Query { query: Query::Shard, reply }));
        answer.recv_timeout(Duration::from_secs(20)).expect("an answer");
        assert!(post.post(ShardId(0), Mail::Stop));
        thread.join().expect("no panic").expect("no failure");
        assert!(post.is_closed(ShardId(0)) && !post.post(ShardId(0), Mail::Drain));
        let inputs = &bench.seen.lock().expect("lock").inputs;
        for input in ["Datagram", "StreamAccepted", "StreamData", "Mail"] {
            assert!(inputs.iter().any(|seen| seen == input), "{input}: {inputs:?}");
        }
    }
}

#[test]
fn letters_pass_from_shard_to_shard() {
    let post = Post::new(3, 4);
    let benches: Vec<_> = (0..3).map(|id| bench(Backend::Auto, id, &post, [])).collect();
    let (mut threads, mut kept) = (Vec::new(), Vec::new());
    for bench in benches {
        threads.push(bench.worker.spawn(None).expect("thread"));
        kept.push((bench.counters, bench.records, bench.events));
    }
    assert!(post.post(ShardId(0), Mail::Drain));
    // The last of the row stops itself; the others are told.
    threads.pop().expect("three").join().expect("no panic").expect("no failure");
    for (id, thread) in (0u8..).zip(threads) {
        assert!(post.post(ShardId(id), Mail::Stop));
        thread.join().expect("no panic").expect("no failure");
        assert_eq!(kept[usize::from(id)].0.get(Counter::MailSent), 1);
    }
}

#[test]
fn a_full_mailbox_refuses() {
    let post = Post::new(1, 2);
    assert!(post.post(ShardId(0), Mail::Drain) && post.post(ShardId(0), Mail::Drain));
    assert!(!post.post(ShardId(0), Mail::Drain));
    assert!(!post.post(ShardId(9), Mail::Drain));
    assert!(!post.is_closed(ShardId(0)) && post.is_closed(ShardId(9)));
    // What came before the reader is read.
    let mut bench = bench(Backend::Epoll, 0, &post, []);
    bench.worker.turn().expect("turn");
    assert_eq!(bench.seen.lock().expect("lock").inputs, ["Mail", "Mail"]);
    assert!(bench.post.post(ShardId(0), Mail::Drain));
}

#[test]
fn timeouts_fire_when_due_and_not_before() {
    let mut bench = bench(Backend::Auto, 0, &Post::new(1, 2), []);
    bench.worker.core.deadline = Some(bench.worker.options.clock.now() + Duration::from_millis(20));
    while bench.seen.lock().expect("lock").timeouts == 0 {
        bench.worker.turn().expect("turn");
    }
    assert_eq!(bench.worker.core.deadline, None);
}

#[test]
fn a_port_in_use_is_said_and_the_shard_told() {
    let taken = UdpSocket::bind(loopback()).expect("bind");
    let bind = taken.local_addr().expect("address");
    let mut bench = bench(Backend::Auto, 0, &Post::new(1, 2), [Output::OpenUdp { socket: MEDIA, bind, dscp: 0 }]);
    bench.worker.drain();
    assert_eq!(bench.seen.lock().expect("lock").inputs, ["SocketFailed"]);
    assert_eq!(bench.events.try_recv().expect("an event").what, "cannot open a media port");
}

#[test]
fn dead_ends_come_back_as_inputs() {
    let stream = StreamKey(5);
    let outputs = [
        Output::Send { socket: SocketKey(9), to: loopback(), bytes: Bytes::from_static(b"x") },
        Output::StreamSend { stream, bytes: Bytes::from_static(b"x") },
        Output::Connect { stream: StreamKey(u64::MAX), to: loopback() },
        Output::CloseStream { stream },
        Output::SetDscp { socket: SocketKey(9), dscp: 1 },
    ];
    let mut bench = bench(Backend::Auto, 0, &Post::new(1, 2), outputs);
    bench.worker.drain();
    assert_eq!(bench.seen.lock().expect("lock").inputs, ["SendFailed", "StreamClosed", "StreamClosed"]);
}

fn finished_call() -> CallRecord {
    let token = Token { shard: ShardId(0), slot: Slot::default(), salt: 0 };
    CallRecord {
        call: CallId(token),
        account: None,
        trunk_in: None,
        trunk_out: None,
        from: "alice".into(),
        to: "bob".into(),
        started: Instant::ZERO,
        ringing: None,
        answered: None,
        ended: Instant::ZERO,
        result: CallResult::Busy,
        cause: EndCause::Refused,
        ended_by: None,
        status: 486,
        limit: None,
        limit_wait: None,
        caller: LegReport { remote: None, sip_call_id: "".into(), media: Vec::new() },
        callee: None,
    }
}

#[test]
fn full_outlets_keep_records_and_drop_events() {
    let record = || Output::Record(Box::new(finished_call()));
    let event = || Output::Event(Box::new(Event::new(Instant::ZERO, ShardId(0), Level::Info, "test")));
    let outputs = [record(), event(), record(), event(), record(), event(), record()];
    let mut bench = bench(Backend::Auto, 0, &Post::new(1, 2), outputs);
    bench.worker.drain();
    assert_eq!(bench.counters.drops(DropReason::EventsFull), 1);
    assert_eq!(bench.waiting.load(Ordering::Relaxed), 4);
    for left in [3, 2, 1, 0] {
        bench.records.try_recv().expect("kept");
        bench.worker.drain();
        assert_eq!(bench.waiting.load(Ordering::Relaxed), left);
    }
}

#[test]
fn what_the_log_would_not_write_does_not_wake_it() {
    let event = |level| Output::Event(Box::new(Event::new(Instant::ZERO, ShardId(0), level, "test")));
    let outputs = [event(Level::Debug), event(Level::Info), event(Level::Debug), event(Level::Warn)];
    let mut bench = bench(Backend::Auto, 0, &Post::new(1, 2), outputs);
    bench.worker.options.outlets.verbosity.set(Level::Info as u8);
    bench.worker.drain();
    let sent: Vec<Level> = bench.events.try_iter().map(|event| event.level).collect();
    assert_eq!(sent, [Level::Info, Level::Warn]);
    assert_eq!(bench.counters.drops(DropReason::EventsFull), 0);
}

#[test]
fn a_beat_counts_once_the_letters_before_it_are_read() {
    let post = Post::new(1, 2 * LETTERS);
    let mut bench = bench(Backend::Auto, 0, &post, []);
    bench.worker.core.beat = Instant::from_nanos(1);
    (0..=LETTERS).for_each(|_| assert!(post.post(ShardId(0), Mail::TellCalls)));
    bench.worker.read_mail();
    bench.worker.core.beat = Instant::from_nanos(2);
    assert!(post.post(ShardId(0), Mail::TellCalls));
    bench.worker.read_mail();
    bench.worker.read_mail();
    let seen = bench.seen.lock().expect("lock");
    let at = |what: &str| seen.inputs.iter().position(|input| input == what);
    assert_eq!((at("read 1"), at("read 2"), seen.inputs.len()), (Some(LETTERS + 2), Some(LETTERS + 3), LETTERS + 4));
}

#[test]
fn a_keeper_that_missed_notes_hears_of_all_calls_anew() {
    let account: Arc<str> = "alice".into();
    let call = Token { shard: ShardId(0), slot: Slot::default(), salt: 0 };
    let ended = |account: &Arc<str>| Output::Note(Note::Ended { account: Arc::clone(account), call });
    let wanted = Output::Note(Note::Wanted { account: Arc::clone(&account) });
    let outputs = [ended(&account), ended(&account), wanted];
    let mut bench = bench(Backend::Auto, 0, &Post::new(1, 2), outputs);
    bench.worker.drain();
    assert!(!bench.worker.notes_lost, "a wish may be lost");
    bench.worker.core.outputs.push_back(ended(&account));
    bench.worker.drain();
    assert!(bench.worker.notes_lost, "an end may not");
    assert_eq!(bench.counters.drops(DropReason::NotesFull), 2);
    bench.notes.try_recv().expect("kept");
    bench.worker.drain();
    assert!(matches!(bench.notes.try_iter().last(), Some(Note::Calls { shard: ShardId(0), .. })));
    bench.worker.drain();
    assert!(bench.notes.is_empty(), "told once");
}

#[test]
fn what_the_driver_drops_is_published() {
    let outputs = (0..3).map(|_| Output::Send { socket: SocketKey(9), to: loopback(), bytes: Bytes::new() });
    let mut bench = bench(Backend::Auto, 0, &Post::new(1, 2), outputs);
    bench.worker.drain();
    bench.worker.publish();
    bench.worker.publish();
    assert_eq!(bench.counters.drops(DropReason::UnknownSocket), 3);
}
