//! Whole loads in simulated time: a station that calls itself over a pretended network which delays, loses and doubles
//! what the test says.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use strowger::base::time::Duration;
use strowger::base::{Instant, Random, SocketKey, StreamKey, Transport};

use super::{Options, Station, Status};
use crate::core::digest::Secret;
use crate::core::distribution::Distribution;
use crate::core::flow::Flow;
use crate::core::message::{Answer, answer};
use crate::core::pattern::Pattern;
use crate::core::retransmit::Timers;
use crate::core::scan::{self, Start};
use crate::core::schedule::{Arrivals, Load};
use crate::core::template::Templates;
use crate::core::tick::at_or_after;
use crate::core::{Job, Output, Path, Plan, Role};

const UAC: u32 = 0;
const UAS: u32 = 1;
const MEDIA: u32 = 2;

fn address(key: u32) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5000 + u16::try_from(key).unwrap()))
}

fn plan(rate: f64, seconds: u64) -> Plan {
    Plan {
        job: Job::Calls { uac: true, uas: true },
        target: address(UAS),
        transport: Transport::Udp,
        domain: "example.com".into(),
        load: Load { rate, duration: Some(Duration::from_secs(seconds)), count: None, arrivals: Arrivals::Uniform },
        steps: Vec::new(),
        settle: Duration::ZERO,
        media_end: None,
        tick: Duration::ZERO,
        hold: Distribution::Fixed(Duration::from_secs(1)),
        ring: Duration::ZERO,
        hangup: Role::Uac,
        flow: Flow::default(),
        from: Pattern::parse("alice{}").unwrap(),
        to: Pattern::parse("bob").unwrap(),
        users: 10,
        secret: None,
        register_uas: None,
        rtp: true,
        timers: Timers { t1: Duration::from_millis(500), t2: Duration::from_secs(4), unreliable: true },
        setup_max: Duration::from_secs(60),
        concurrent: 1000,
        concurrent_uas: 1000,
        expires: 3600,
        reuse_nonce: false,
        check: true,
        clock_domain: 1,
    }
}

/// What the network does with one datagram: when its copies arrive; nowhere = lost.
type Fate = Vec<Duration>;
type Network<'a> = Box<dyn FnMut(&Net<'_>, bool, &[u8]) -> Fate + 'a>;
type Server<'a> = Box<dyn FnMut(&[u8]) -> Vec<Bytes> + 'a>;

struct Net<'a> {
    station: Station,
    now: Instant,
    wire: BTreeMap<(Instant, u64), Event>,
    count: u64,
    fate: Network<'a>,
    /// Answers for the target instead of the station's own answering side.
    server: Option<Server<'a>>,
    random: Random,
    peers: HashMap<StreamKey, StreamKey>,
    /// The station looks at what has come only at ticks of so long.
    looks_every: Duration,
}

enum Event {
    Datagram(SocketKey, SocketAddr, Bytes),
    Data(StreamKey, Bytes),
    Connected(StreamKey),
}

impl<'a> Net<'a> {
    fn new(plan: Plan, seed: u64, fate: impl FnMut(&Net<'_>, bool, &[u8]) -> Fate + 'a) -> Self {
        let ports = 2 * plan.concurrent as u32;
        let pairs = if plan.job == Job::Streams { ports / 2 } else { 0 };
        let remotes = (0..pairs).map(|pair| [address(MEDIA + 2 * pair + 1), address(MEDIA + 2 * pair)]).collect();
        let options = Options {
            plan: Arc::new(plan),
            core: 0,
            cores: 1,
            uac: vec![(SocketKey(UAC), address(UAC))],
            uas: Some((SocketKey(UAS), address(UAS))),
            media_base: MEDIA,
            media_ports: (0..ports)
                .map(|port| (if port % 2 == 0 { Role::Uac } else { Role::Uas }, address(MEDIA + port)))
                .collect(),
            remotes,
            scenario: None,
            random: Random::from_u64(seed),
        };
        Self {
            station: Station::new(Instant::ZERO, options),
            now: Instant::ZERO,
            wire: BTreeMap::new(),
            count: 0,
            fate: Box::new(fate),
            server: None,
            random: Random::from_u64(seed + 1),
            peers: HashMap::new(),
            looks_every: Duration::ZERO,
        }
    }

    fn put(&mut self, after: Duration, event: Event) {
        self.count += 1;
        self.wire.insert((self.now + after, self.count), event);
    }

    fn poll(&mut self) -> Option<Output> {
        self.station.poll_message().or_else(|| self.station.poll_packet(self.now))
    }

    fn drain_outputs(&mut self) {
        while let Some(output) = self.poll() {
            match output {
                Output::Datagram(socket, to, bytes) => self.datagram(socket, to, bytes),
                Output::Stream(stream, bytes) => {
                    let peer = self.peers[&stream];
                    self.put(Duration::from_millis(1), Event::Data(peer, bytes));
                }
                Output::Connect(stream) => {
                    let peer = StreamKey(stream.0 | StreamKey::ACCEPTED);
                    self.peers.extend([(stream, peer), (peer, stream)]);
                    self.put(Duration::from_millis(1), Event::Connected(stream));
                }
                Output::Close(_) | Output::Log(_) => {}
            }
        }
    }

    fn datagram(&mut self, socket: SocketKey, to: SocketAddr, bytes: Bytes) {
        let from = address(socket.0);
        if let (Some(server), UAC, true) = (&mut self.server, socket.0, to == address(UAS)) {
            for bytes in server(&bytes) {
                self.put(Duration::from_millis(2), Event::Datagram(socket, to, bytes));
            }
            return;
        }
        let mut fate = std::mem::replace(&mut self.fate, Box::new(|_, _, _| vec![]));
        let copies = fate(self, socket.0 >= MEDIA, &bytes);
        self.fate = fate;
        let key = SocketKey(u32::from(to.port()) - 5000);
        for after in copies {
            self.put(after, Event::Datagram(key, from, bytes.clone()));
        }
    }

    fn step(&mut self) -> bool {
        let deadline = self.station.next_deadline();
        let arrival = self.wire.keys().next().map(|&(at, _)| at);
        let Some(next) = [deadline, arrival].into_iter().flatten().min() else { return false };
        self.now = self.now.max(at_or_after(next, self.looks_every));
        while let Some((&(at, count), _)) = self.wire.first_key_value() {
            if at > self.now {
                break;
            }
            match self.wire.remove(&(at, count)).unwrap() {
                Event::Datagram(key, from, bytes) => self.station.handle_datagram(self.now, at, key, from, &bytes),
                Event::Data(stream, bytes) => {
                    for part in bytes.chunks(100) {
                        self.station.handle_data(self.now, stream, part);
                    }
                }
                Event::Connected(stream) => {
                    self.station.handle_connected(stream, address(UAC));
                    self.station.handle_accepted(self.peers[&stream]);
                }
            }
        }
        self.station.handle_timeout(self.now);
        self.drain_outputs();
        true
    }

    fn run(mut self) -> Self {
        self.station.prepare(self.now);
        self.drain_outputs();
        while !self.station.status().ready && self.station.status().fatal.is_none() {
            assert!(self.step(), "nothing left to wait for");
        }
        self.station.start(self.now + Duration::from_millis(10));
        for _ in 0..10_000_000 {
            let Status { over, calls_uas, fatal, .. } = self.station.status();
            if over && calls_uas == 0 || fatal.is_some() || !self.step() {
                break;
            }
        }
        self.station.finish(self.now, false);
        while !self.station.is_finished() {
            self.drain_outputs();
            self.step();
        }
        self
    }
}

fn steady(_: &Net<'_>, _: bool, _: &[u8]) -> Fate {
    vec![Duration::from_millis(2)]
}

macro_rules! counts {
    ($net:expr, $($name:ident),*) => {{ let c = &$net.station.stats().counters; ($(c.$name),*) }};
}

mod flows;

#[test]
fn a_clean_network_completes_everything() {
    let net = Net::new(plan(100.0, 2), 1, steady).run();
    assert_eq!(counts!(net, calls_attempted, calls_completed, uas_completed, calls_failed), (200, 200, 200, 0));
    assert_eq!(counts!(net, retransmitted_invite, retransmitted_request, retransmitted_success, strays), (0, 0, 0, 0));
    assert_eq!(counts!(net, check_failed, unreadable, check_passed), (0, 0, 200 * 6));
    assert_eq!(counts!(net, rtp_sent_uac, rtp_received_uas, rtp_lost, rtp_silent), (200 * 45, 200 * 45, 0, 0));
    let latencies = &net.station.stats().latencies;
    assert_eq!((latencies.srd.len(), latencies.srd.max() / 100_000), (200, 40));
    assert_eq!((latencies.setup.max() / 100_000, latencies.sdd.max() / 100_000), (40, 40));
    assert!(net.station.stats().samples.is_empty());
}

#[test]
fn lost_and_doubled_signalling_is_repaired_by_the_timers() {
    for (seed, hangup) in [(2, Role::Uac), (3, Role::Uas)] {
        let mut random = Random::from_u64(seed);
        let fate = move |_: &Net<'_>, media: bool, _: &[u8]| match random.below(100) {
            _ if media => vec![Duration::from_millis(3)],
            0..10 => vec![],
            10..15 => vec![Duration::from_millis(2), Duration::from_millis(9)],
            delay => vec![Duration::from_millis(delay / 4)],
        };
        let net = Net::new(Plan { hangup, rtp: false, ..plan(100.0, 5) }, seed, fate).run();
        assert_eq!(counts!(net, calls_attempted, calls_completed, calls_failed), (500, 500, 0), "{hangup:?}");
        assert_eq!(counts!(net, uas_completed, uas_failed, check_failed), (500, 0, 0));
        let (invites, requests, successes) =
            counts!(net, retransmitted_invite, retransmitted_request, retransmitted_success);
        assert!(invites > 30 && requests > 30 && successes > 30, "{invites} {requests} {successes}");
    }
}

#[test]
fn an_invite_that_the_network_kept_begins_no_second_call() {
    let late = |_: &Net<'_>, _: bool, bytes: &[u8]| match bytes {
        [b'I', b'N', b'V', ..] => vec![Duration::from_millis(2), Duration::from_secs(3)],
        _ => vec![Duration::from_millis(2)],
    };
    let net = Net::new(Plan { rtp: false, ..plan(10.0, 5) }, 14, late).run();
    assert_eq!(counts!(net, calls_completed, calls_failed, strays), (50, 0, 0));
    assert_eq!(counts!(net, uas_calls, uas_completed, uas_failed), (50, 50, 0));
    let again = counts!(net, received_again);
    assert!((25..=50).contains(&again), "{again}");
}

#[test]
fn media_faults_are_counted_to_the_packet() {
    let (lost, doubled) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let mut random = Random::from_u64(4);
    let net = Net::new(plan(20.0, 5), 4, |_, media, _| match random.below(100) {
        _ if !media => vec![Duration::from_millis(2)],
        0..5 => {
            lost.set(lost.get() + 1);
            vec![]
        }
        5..10 => {
            doubled.set(doubled.get() + 1);
            vec![Duration::from_millis(3); 2]
        }
        10..15 => vec![Duration::from_millis(45)],
        _ => vec![Duration::from_millis(3)],
    })
    .run();
    assert_eq!(counts!(net, calls_completed, calls_failed), (100, 0));
    assert_eq!(counts!(net, rtp_lost, rtp_duplicates, rtp_corrupted), (lost.get(), doubled.get(), 0));
    let (reordered, sent, received) = counts!(net, rtp_reordered, rtp_sent_uac, rtp_received_uas);
    assert!(reordered > 200 && sent > received, "{reordered}");
}

#[test]
fn a_stall_shows_in_the_high_percentiles() {
    let fate = |net: &Net<'_>, _: bool, _: &[u8]| {
        let phase = net.now.as_millis() % 5000;
        vec![Duration::from_millis(if phase < 200 { 200 - phase } else { 1 })]
    };
    let quiet = Plan { rtp: false, hold: Distribution::Fixed(Duration::ZERO), ..plan(200.0, 20) };
    let net = Net::new(quiet, 5, fate).run();
    let srd = &net.station.stats().latencies.srd;
    assert!(srd.value_at_quantile(0.5) < 3_000_000 && srd.value_at_quantile(0.999) > 190_000_000);
    assert_eq!(counts!(net, calls_failed, calls_skipped), (0, 0));
}

#[test]
fn silence_ends_every_call_after_64_t1() {
    let net = Net::new(Plan { setup_max: Duration::from_secs(5), ..plan(10.0, 1) }, 6, |_, _, _| vec![]).run();
    assert_eq!(counts!(net, calls_attempted, calls_failed, calls_timed_out), (10, 10, 10));
    assert_eq!(counts!(net, retransmitted_invite), 60);
    assert!(net.now.as_millis() <= 33_010 + 1000);
}

#[test]
fn what_rings_for_ever_is_cancelled() {
    let plan = Plan { setup_max: Duration::from_secs(2), ring: Duration::from_secs(9), ..plan(10.0, 1) };
    let net = Net::new(plan, 7, steady).run();
    assert_eq!(counts!(net, calls_unanswered, calls_failed, uas_cancelled, strays), (10, 10, 10, 0));
}

#[test]
fn more_calls_than_allowed_are_skipped_and_said_so() {
    let net = Net::new(Plan { concurrent: 30, ..plan(100.0, 1) }, 8, steady).run();
    assert_eq!(counts!(net, calls_attempted, calls_skipped, calls_completed), (30, 70, 30));
}

#[test]
fn calls_and_registration_over_connections() {
    let secret = Secret { user: "bob".into(), password: "x".into() };
    let tcp = Plan { transport: Transport::Tcp, ..plan(50.0, 2) };
    let net = Net::new(tcp.clone(), 9, steady).run();
    assert_eq!(counts!(net, calls_completed, uas_completed, calls_failed, send_errors), (100, 100, 0, 0));
    let net = Net::new(Plan { hangup: Role::Uas, ..tcp.clone() }, 9, steady).run();
    assert_eq!(counts!(net, calls_completed, uas_completed, calls_failed), (100, 100, 0));
    // The answering side takes no registrations: a sentence, not a wait.
    let net = Net::new(Plan { register_uas: Some(secret), ..tcp }, 9, steady).run();
    let fatal = net.station.status().fatal.unwrap();
    assert!(fatal.contains("405 Method Not Allowed"), "{fatal}");
}

#[test]
fn latencies_end_when_a_message_came_and_not_at_the_tick_that_looks_at_it() {
    let tick = Duration::from_millis(1);
    let plan = Plan { tick, rtp: false, hold: Distribution::Fixed(Duration::ZERO), ..plan(4000.0, 1) };
    let net = Net { looks_every: tick, ..Net::new(plan, 4, |_, _, _| vec![Duration::from_micros(300)]) }.run();
    let (c, latencies) = (&net.station.stats().counters, &net.station.stats().latencies);
    assert_eq!((c.calls_completed, c.calls_failed, c.retransmitted_invite), (4000, 0, 0));
    // Out 300 us, at the answering side until its next tick, back 300 us.
    for latency in [&latencies.srd, &latencies.sdd] {
        let around = 1_295_000..1_305_000;
        assert!(
            around.contains(&latency.min()) && around.contains(&latency.max()),
            "{} {}",
            latency.min(),
            latency.max()
        );
    }
    assert_eq!(latencies.late_start.max() / 1000, 0);
}

/// A registrar and UAS of a few lines: challenges once, accepts the second time, as its `mood` says.
fn server(mood: &'static str) -> impl FnMut(&[u8]) -> Vec<Bytes> {
    let templates = Templates::new(Transport::Udp, []);
    move |bytes| {
        let fields = scan::scan(bytes).unwrap();
        let Start::Request { method, .. } = fields.start else { return vec![] };
        if method == b"ACK" {
            return vec![];
        }
        let reply = |template| {
            let reply = Answer { tag: b"srv", contact: b"<sip:srv@127.0.0.1:5001>", body: b"" };
            answer(&templates, template, &fields, Path::Datagram(SocketKey(0), address(UAC)), reply)
        };
        let status = |line: &str, more: &str| {
            let text = String::from_utf8(reply(&templates.ok).to_vec()).unwrap();
            let text = text.replacen("200 OK", line, 1);
            vec![Bytes::from(text.replacen("\r\n\r\n", &format!("\r\n{more}\r\n"), 1))]
        };
        let text = String::from_utf8_lossy(bytes);
        let authorized = text.contains("\r\nAuthorization: Digest username=\"alice");
        match mood {
            "deny" => status("403 Forbidden", ""),
            "brief" if !text.contains("Expires: 7200") => status("423 Interval Too Brief", "Min-Expires: 7200\r\n"),
            "never" => status("401 Unauthorized", "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n"),
            "digest" if !authorized => {
                status("401 Unauthorized", "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n")
            }
            _ => vec![reply(&templates.ok)],
        }
    }
}

fn register(mood: &'static str, reuse_nonce: bool) -> Net<'static> {
    let secret = Some((Pattern::parse("alice{}").unwrap(), Pattern::parse("secret{}").unwrap()));
    let plan = Plan { job: Job::Register, secret, reuse_nonce, ..plan(50.0, 1) };
    let mut net = Net::new(plan, 10, steady);
    net.server = Some(Box::new(server(mood)));
    net.run()
}

#[test]
fn registrations_answer_challenges() {
    let net = register("digest", false);
    assert_eq!(counts!(net, registrations_attempted, registrations_completed, challenges_answered), (50, 50, 50));
    assert_eq!(net.station.stats().latencies.rrd.max() / 100_000, 40);
    let net = register("digest", true);
    assert_eq!(counts!(net, registrations_completed, challenges_answered), (50, 10));
    let net = register("brief", false);
    assert_eq!(counts!(net, registrations_completed, registrations_failed), (50, 0));
}

#[test]
fn refusals_end_registrations_and_calls_with_their_status() {
    let net = register("never", false);
    assert_eq!(counts!(net, registrations_failed, challenges_answered), (50, 50));
    assert_eq!(net.station.stats().refusals[&401], (50, "Unauthorized".to_string()));
    let mut net = Net::new(plan(50.0, 1), 11, steady);
    net.server = Some(Box::new(server("deny")));
    let net = net.run();
    assert_eq!(counts!(net, calls_failed, calls_refused, calls_established), (50, 50, 0));
    assert_eq!(net.station.stats().refusals[&403].0, 50);
}

#[test]
fn any_bytes_on_any_socket_are_survived() {
    let mut net = Net::new(plan(50.0, 1), 12, steady);
    net.station.start(Instant::ZERO);
    let mut seen: Vec<Bytes> = Vec::new();
    for round in 0..20_000u64 {
        net.now = Instant::from_millis(round);
        net.station.handle_timeout(net.now);
        while let Some(output) = net.poll() {
            if let Output::Datagram(key, to, bytes) = output {
                let to = SocketKey(u32::from(to.port()).saturating_sub(5000));
                net.station.handle_datagram(net.now, net.now, to, address(key.0), &bytes);
                seen.push(bytes);
                seen.truncate(64);
            }
        }
        let Some(from) = seen.get(net.random.below(64) as usize) else { continue };
        let mut bytes = from.to_vec();
        for _ in 0..=net.random.below(4) {
            let at = net.random.below(bytes.len() as u64) as usize;
            bytes[at] = net.random.next_u32() as u8;
        }
        let key = SocketKey(net.random.below(6) as u32);
        net.station.handle_datagram(net.now, net.now, key, address(9), &bytes);
        net.station.handle_data(net.now, StreamKey(1), &bytes);
    }
    assert!(net.station.stats().counters.unreadable > 0);
}

#[test]
fn media_alone_is_judged_at_both_ends_of_each_pair() {
    let streams = |lose: u64| {
        let plan = Plan {
            job: Job::Streams,
            concurrent: 10,
            hold: Distribution::Fixed(Duration::from_secs(2)),
            ..plan(10.0, 2)
        };
        let mut count = 0;
        let net = Net::new(plan, 7, move |_, _, _| {
            count += 1;
            if lose > 0 && count % lose == 0 { vec![] } else { vec![Duration::from_millis(2)] }
        });
        net.run().station.stats().counters.clone()
    };
    let c = streams(0);
    // The first ends know their 95 packets; the other ends learn it from them, one packet later.
    assert_eq!((c.streams_begun, c.rtp_sent_uac, c.rtp_lost, c.rtp_silent), (10, 950, 0, 0));
    assert_eq!((c.rtp_received_uas, c.rtp_received_uac), (c.rtp_sent_uac, c.rtp_sent_uas));
    let c = streams(100);
    assert_eq!(c.rtp_lost, (c.rtp_sent_uac + c.rtp_sent_uas) / 100);
}

#[test]
fn calls_that_are_overdue_begin_a_turn_at_a_time() {
    let mut net = Net::new(Plan { rtp: false, ..plan(1000.0, 1) }, 1, |_, _, _| Vec::new());
    net.station.start(Instant::ZERO);
    let now = Instant::from_millis(2000);
    for begun in [256, 512, 768, 1000, 1000] {
        net.station.handle_timeout(now);
        assert_eq!(net.station.stats().counters.calls_attempted, begun);
        assert_eq!(
            net.station.next_deadline().is_some_and(|at| at <= now),
            begun < 1000,
            "answers are read in between"
        );
    }
}
