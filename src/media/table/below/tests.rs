//! Streams that go down and up beside the model of the kernel, and beside a relay that has none.

use crate::base::time::Duration;
use crate::base::{Direction, Instant, Random, Side, SocketKey};
use crate::media::model::{Bug, Fate, Kernel};
use crate::media::path::{SETTLE, SWEEP, Waiting};
use crate::media::rtp::Header;
use crate::media::{
    Frozen, MediaEvent, Relay, RelayConfig, RemoteOptions, SideReport, StreamOptions, StreamSlot, Verdict, Way,
};
use proptest::prelude::*;
use std::net::SocketAddr;

const A: &str = "192.0.2.1:4000";
const B: &str = "198.51.100.2:6000";
const DEAD_MAN: Duration = Duration::from_secs(10);

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn party(side: Side) -> SocketAddr {
    at(if side == Side::A { A } else { B })
}

/// One stream, with a kernel or without.
struct Bench {
    relay: Relay,
    kernel: Option<Kernel>,
    slot: StreamSlot,
    now: Instant,
    delivered: u64,
}

fn config() -> RelayConfig {
    let mut config = RelayConfig::new("203.0.113.1".parse().unwrap(), 30_000, 30_019);
    config.socket_base = 100;
    config
}

fn remote(side: Side) -> RemoteOptions {
    let rtp = party(side);
    RemoteOptions {
        rtp: Some(rtp),
        signalled_from: Some(rtp.ip()),
        telephone_event: Some(101),
        ..RemoteOptions::default()
    }
}

impl Bench {
    fn new(kernel: Option<Kernel>) -> Self {
        let now = Instant::from_millis(1000);
        let mut relay = Relay::new(config(), now, Random::from_u64(7));
        if let Some(kernel) = &kernel {
            relay.set_fast_path(now, kernel.path());
        }
        let slot = relay.open(now, StreamOptions::default()).unwrap();
        for side in Side::BOTH {
            relay.set_remote(now, slot, side, &remote(side));
        }
        relay.set_answered(now, slot);
        Self { relay, kernel, slot, now, delivered: 0 }
    }

    fn with_kernel() -> (Self, Kernel) {
        let kernel = Kernel::new(config(), DEAD_MAN);
        (Self::new(Some(kernel.clone())), kernel)
    }

    /// A datagram to the port of `side`: how many copies of it leave, and to where.
    fn datagram(&mut self, side: Side, from: SocketAddr, packet: &[u8]) -> Option<SocketAddr> {
        let (to, _) = self.relay.local(self.slot, side).unwrap();
        match self.kernel.as_ref().map_or(Fate::Up, |kernel| kernel.packet(self.now, from, to, packet)) {
            Fate::Relayed { to, .. } => {
                self.delivered += 1;
                return Some(to);
            }
            Fate::Dropped => return None,
            Fate::Up => {}
        }
        let key = SocketKey(100 + u32::from(to.port() - 30_000));
        match self.relay.handle_packet(self.now, key, from, &mut packet.to_vec()) {
            Verdict::Forward { to, .. } => {
                self.delivered += 1;
                Some(to)
            }
            Verdict::Drop(_) => None,
        }
    }

    fn send(&mut self, side: Side, payload_type: u8, ssrc: u32, sequence: u16) -> Option<SocketAddr> {
        let timestamp = u32::from(sequence) * 160;
        let header = Header { payload_type, sequence, ssrc, timestamp, marker: false };
        self.datagram(side, party(side), &[&header.encode()[..], &[0xff; 160]].concat())
    }

    fn wait(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        while let Some(next) = self.relay.next_deadline().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.relay.handle_timeout(self.now);
        }
        self.now = until;
    }

    /// Voice of both sides for so long.
    fn talk(&mut self, packets: u16, sequence: &mut u16) {
        for _ in 0..packets {
            *sequence = sequence.wrapping_add(1);
            for side in Side::BOTH {
                assert!(self.send(side, 0, 5, *sequence).is_some());
            }
            self.wait(20);
        }
    }

    /// Another process goes on with the relay, and with the same kernel.
    fn take_over(&mut self, waiting: Waiting) {
        if waiting == Waiting::OnSockets {
            self.relay.raise_all(self.now);
        }
        let bytes = rmp_serde::to_vec_named(&self.relay.freeze()).unwrap();
        let frozen: Frozen = rmp_serde::from_slice(&bytes).unwrap();
        self.relay = Relay::new(config(), self.now, Random::from_u64(8));
        self.relay.thaw(frozen).unwrap();
        if let Some(kernel) = &self.kernel {
            self.relay.set_fast_path(self.now, kernel.path());
        }
    }

    fn side(&self, side: Side) -> SideReport {
        self.relay.report(self.now, self.slot).unwrap().sides[side.index()]
    }

    fn ways(&self) -> [Way; 2] {
        Side::BOTH.map(|side| self.side(side).way)
    }
}

#[test]
fn a_settled_stream_goes_down_once_its_rule_has_stood() {
    let (mut bench, kernel) = Bench::with_kernel();
    assert_eq!((kernel.open(), kernel.below()), (2, 0));
    let mut sequence = 0;
    bench.talk(4, &mut sequence);
    assert_eq!(kernel.below(), 0, "not before {SETTLE:?}");
    bench.talk(2, &mut sequence);
    assert_eq!(kernel.below(), 2);
    bench.talk(100, &mut sequence);
    assert_eq!(bench.ways(), [Way::Below; 2]);
    let report = bench.relay.close(bench.now, bench.slot).unwrap();
    for side in report.sides {
        assert_eq!((side.packets, side.forwarded, side.lost, side.duplicates), (106, 106, 0, 0));
        assert_eq!((side.bytes, side.expected), (106 * 172, 106));
        assert!(side.packets_below >= 99, "{}", side.packets_below);
    }
    assert_eq!((kernel.open(), kernel.below()), (0, 0));
    let counts = bench.relay.counts();
    assert!(counts.is_balanced());
    assert_eq!((counts.moves_down, counts.moves_up, counts.forwarded), (2, 2, 212));
}

#[test]
fn where_something_is_down_streams_look_at_their_time_with_a_sweep() {
    let (mut bench, kernel) = Bench::with_kernel();
    let due = |bench: &Bench, millis| bench.now + Duration::from_millis(millis);
    assert_eq!(bench.relay.with_a_sweep(due(&bench, 1234)), due(&bench, 1234), "nothing is down");
    bench.talk(20, &mut 0);
    assert_eq!(kernel.below(), 2);
    let first = bench.relay.sweep_at;
    for millis in 0..2000 {
        let due = due(&bench, millis);
        let look = bench.relay.with_a_sweep(due);
        if due < first {
            assert_eq!(look, due, "no sweep comes before");
        } else {
            assert_eq!(look.since(first).as_nanos() % SWEEP.as_nanos(), 0, "{millis}");
            assert!(look >= first && look <= due && due.since(look) < SWEEP, "{millis}: {look:?}");
        }
    }
}

#[test]
fn hold_takes_effect_with_the_next_packet_and_resume_goes_down_again() {
    let (mut bench, kernel) = Bench::with_kernel();
    let mut sequence = 0;
    bench.talk(20, &mut sequence);
    let now = bench.now;
    let held = RemoteOptions { direction: Direction::SendOnly, ..remote(Side::A) };
    bench.relay.set_remote(now, bench.slot, Side::A, &held);
    assert_eq!(bench.send(Side::B, 0, 5, 21), None, "the held party hears nothing");
    assert_eq!(bench.send(Side::A, 0, 5, 21), Some(at(B)), "music on hold");
    assert_eq!(kernel.below(), 1, "what did not change stays down");
    bench.relay.set_remote(now, bench.slot, Side::A, &remote(Side::A));
    sequence = 21;
    bench.talk(20, &mut sequence);
    assert_eq!(kernel.below(), 2);
    assert_eq!((bench.side(Side::A).lost, bench.side(Side::B).lost), (0, 0));
}

#[test]
fn another_source_identifier_or_codec_comes_up_and_settles_anew() {
    let (mut bench, kernel) = Bench::with_kernel();
    let mut sequence = 0;
    bench.talk(20, &mut sequence);
    for (payload_type, ssrc) in [(8, 5), (8, 6)] {
        sequence += 1;
        assert!(bench.send(Side::A, payload_type, ssrc, sequence).is_some());
        assert_eq!(kernel.below(), 1);
        bench.wait(120);
        assert_eq!(kernel.below(), 2);
    }
    bench.wait(1000);
    let side = bench.side(Side::A);
    assert_eq!((side.packets, side.lost, side.payload_type, side.ssrc), (22, 0, Some(8), Some(6)));
}

#[test]
fn keys_and_comfort_noise_pass_by_and_nothing_is_lost_or_moved() {
    let (mut bench, kernel) = Bench::with_kernel();
    let mut sequence = 0;
    bench.talk(20, &mut sequence);
    for payload_type in [101, 13] {
        for _ in 0..7 {
            sequence += 1;
            for side in Side::BOTH {
                assert!(bench.send(side, payload_type, 5, sequence).is_some());
            }
            bench.wait(20);
        }
        bench.talk(30, &mut sequence);
    }
    assert_eq!((kernel.below(), bench.relay.counts().moves_up), (2, 0));
    bench.wait(600);
    let side = bench.side(Side::B);
    assert_eq!((side.packets, side.expected, side.lost, side.duplicates), (94, 94, 0, 0));
}

#[test]
fn silence_is_seen_below_too_and_so_is_its_end() {
    let (mut bench, _) = Bench::with_kernel();
    let mut sequence = 0;
    bench.talk(100, &mut sequence);
    let one_way = |bench: &mut Bench, packets: u16, sequence: &mut u16| {
        for _ in 0..packets {
            *sequence += 1;
            bench.send(Side::A, 0, 5, *sequence);
            bench.wait(20);
        }
    };
    let events = |bench: &mut Bench| -> Vec<MediaEvent> {
        let settled = |event: &MediaEvent| matches!(event, MediaEvent::Settled { .. });
        std::iter::from_fn(|| bench.relay.poll_event()).filter(|event| !settled(event)).collect()
    };
    one_way(&mut bench, 85, &mut sequence);
    assert_eq!(events(&mut bench), []);
    one_way(&mut bench, 15, &mut sequence);
    assert!(matches!(events(&mut bench)[..], [MediaEvent::OneWay { silent_side: Side::B, .. }]));
    bench.talk(30, &mut sequence);
    assert!(matches!(events(&mut bench)[..], [MediaEvent::Recovered { side: Side::B, .. }]));
    bench.wait(59_000);
    assert_eq!(events(&mut bench), []);
    bench.wait(3000);
    assert!(matches!(events(&mut bench)[..], [MediaEvent::Silent { .. }]));
}

#[test]
fn a_refusal_leaves_the_stream_on_its_socket_and_is_asked_again() {
    let (mut bench, kernel) = Bench::with_kernel();
    kernel.refuse(true);
    let mut sequence = 0;
    bench.talk(100, &mut sequence);
    assert_eq!(kernel.below(), 0);
    assert!((2..=6).contains(&bench.relay.counts().moves_refused), "{:?}", bench.relay.counts());
    kernel.refuse(false);
    bench.talk(60, &mut sequence);
    assert_eq!(kernel.below(), 2);
    assert_eq!(bench.side(Side::A).lost, 0);
}

#[test]
fn strays_move_nothing_and_a_party_that_moves_is_followed() {
    let (mut bench, kernel) = Bench::with_kernel();
    let mut sequence = 0;
    bench.talk(20, &mut sequence);
    let voice = |sequence| {
        let header = Header { sequence, ssrc: 5, ..Header::default() };
        [&header.encode()[..], &[0xff; 160]].concat()
    };
    for port in 0..100 {
        assert_eq!(bench.datagram(Side::A, SocketAddr::from(([192, 0, 2, 1], 5000 + port)), &voice(21)), None);
    }
    assert_eq!((kernel.below(), bench.relay.counts().moves_up), (2, 0));
    let elsewhere = "198.51.100.2:7000";
    bench.relay.set_remote(
        bench.now,
        bench.slot,
        Side::B,
        &RemoteOptions { rtp: Some(at(elsewhere)), ..remote(Side::B) },
    );
    assert_eq!(bench.send(Side::A, 0, 5, 21), Some(at(elsewhere)), "from the answer on");
    bench.datagram(Side::B, at(elsewhere), &voice(21)).unwrap();
    bench.wait(150);
    assert_eq!(kernel.below(), 2);
    assert_eq!(bench.datagram(Side::B, at(elsewhere), &voice(22)), Some(at(A)));
    assert_eq!((bench.side(Side::A).strays, bench.side(Side::B).lost), (100, 0));
}

#[test]
fn a_process_that_stands_still_longer_than_its_deadline_relays_nothing() {
    let (mut bench, kernel) = Bench::with_kernel();
    let mut sequence = 0;
    bench.talk(20, &mut sequence);
    let to = bench.relay.local(bench.slot, Side::A).unwrap().0;
    let header = Header { sequence: 21, ssrc: 5, ..Header::default() };
    let fate = |after| kernel.packet(bench.now + after, at(A), to, &header.encode());
    assert!(matches!(fate(DEAD_MAN / 2), Fate::Relayed { .. }));
    assert_eq!(fate(DEAD_MAN + Duration::from_secs(1)), Fate::Up);
}

#[test]
fn a_port_that_somebody_else_has_is_left_to_him() {
    let (mut bench, kernel) = Bench::with_kernel();
    let own: Vec<_> = Side::BOTH.map(|side| bench.relay.local(bench.slot, side).unwrap().0.port()).into();
    let port = (30_000..).step_by(2).find(|port| !own.contains(port)).unwrap();
    let to = SocketAddr::from(([203, 0, 113, 1], port + 1));
    assert_eq!(kernel.packet(bench.now, at(A), to, b"DNS"), Fate::Dropped);
    bench.relay.socket_failed(bench.now, SocketKey(100 + u32::from(port + 1 - 30_000)));
    assert_eq!(kernel.packet(bench.now, at(A), to, b"DNS"), Fate::Up);
}

#[test]
fn what_is_down_stays_down_while_its_process_changes_and_is_counted_once() {
    let (mut bench, kernel) = Bench::with_kernel();
    let mut sequence = 0;
    bench.talk(20, &mut sequence);
    let header = |sequence| Header { sequence, ssrc: 5, timestamp: 0, ..Header::default() }.encode();
    bench.take_over(Waiting::Below);
    assert_eq!((kernel.below(), kernel.open(), bench.relay.sides_below()), (2, 2, 2));
    assert!(bench.datagram(Side::A, at(A), &header(21)).is_some());
    sequence = 21;
    bench.talk(30, &mut sequence);
    assert_eq!(bench.ways(), [Way::Below; 2]);
    assert_eq!(bench.relay.counts().moves_down, 2, "nothing was moved for it");
    bench.take_over(Waiting::OnSockets);
    assert_eq!((kernel.below(), bench.relay.sides_below()), (0, 0));
    bench.talk(150, &mut sequence);
    assert_eq!(kernel.below(), 2, "down again by itself");
    let report = bench.relay.close(bench.now, bench.slot).unwrap();
    for (side, packets) in report.sides.iter().zip([201, 200]) {
        assert_eq!((side.packets, side.duplicates), (packets, 0));
    }
    assert_eq!((report.sides[0].lost, kernel.open(), kernel.below()), (0, 0, 0));
    assert!(bench.relay.counts().is_balanced());
}

#[derive(Clone, Debug)]
enum Step {
    /// Numbers forward by so many, of which the last is sent.
    Voice(Side, u16),
    Event(Side),
    /// The last packet comes again.
    Again(Side),
    /// Two packets change places.
    Swap(Side),
    Source(Side),
    Codec(Side),
    /// The sender begins elsewhere.
    Jump(Side, u16),
    Hold(Side, bool),
    Refuse(bool),
    TakeOver(bool),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let side = || prop::sample::select(&Side::BOTH[..]);
    let step = prop_oneof![
        30 => (side(), prop_oneof![9 => Just(1u16), 1 => 2u16..9]).prop_map(|(side, ahead)| Step::Voice(side, ahead)),
        3 => side().prop_map(Step::Event),
        2 => side().prop_map(Step::Again),
        2 => side().prop_map(Step::Swap),
        1 => side().prop_map(Step::Source),
        1 => side().prop_map(Step::Codec),
        1 => (side(), 4000u16..60_000).prop_map(|(side, by)| Step::Jump(side, by)),
        1 => (side(), any::<bool>()).prop_map(|(side, held)| Step::Hold(side, held)),
        1 => any::<bool>().prop_map(Step::Refuse),
        1 => any::<bool>().prop_map(Step::TakeOver),
        10 => (1u64..40).prop_map(Step::Wait),
        1 => (100u64..1500).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..400)
}

/// What each side says of itself now.
#[derive(Clone, Copy, Default)]
struct Speaker {
    sequence: u16,
    ssrc: u32,
    payload_type: u8,
    last: Option<(u8, u32, u16)>,
}

/// The same packets through both; true while both deliver alike.
struct Twins {
    benches: [Bench; 2],
    kernel: Kernel,
    speakers: [Speaker; 2],
}

impl Twins {
    fn new(bug: Option<Bug>) -> Self {
        let kernel = Kernel::new(config(), DEAD_MAN);
        kernel.plant(bug);
        let benches = [Bench::new(None), Bench::new(Some(kernel.clone()))];
        Self { benches, kernel, speakers: [Speaker::default(); 2] }
    }

    fn send(&mut self, side: Side, packet: (u8, u32, u16)) -> Result<(), String> {
        self.speakers[side.index()].last = Some(packet);
        let (payload_type, ssrc, sequence) = packet;
        let [one, two] = self.benches.each_mut().map(|bench| {
            bench.now += Duration::from_micros(1);
            bench.send(side, payload_type, ssrc, sequence)
        });
        if one == two { Ok(()) } else { Err(format!("{packet:?} of {side:?}: {one:?} or {two:?}")) }
    }

    fn voice(&mut self, side: Side, ahead: u16) -> (u8, u32, u16) {
        let speaker = &mut self.speakers[side.index()];
        speaker.sequence = speaker.sequence.wrapping_add(ahead);
        (speaker.payload_type, speaker.ssrc, speaker.sequence)
    }

    fn take(&mut self, step: &Step) -> Result<(), String> {
        match *step {
            Step::Voice(side, ahead) => {
                let packet = self.voice(side, ahead);
                self.send(side, packet)
            }
            Step::Event(side) => {
                let (_, ssrc, sequence) = self.voice(side, 1);
                self.send(side, (101, ssrc, sequence))
            }
            Step::Again(side) => match self.speakers[side.index()].last.take() {
                Some(packet) => self.send(side, packet),
                None => Ok(()),
            },
            Step::Swap(side) => {
                let (first, second) = (self.voice(side, 1), self.voice(side, 1));
                self.send(side, second)?;
                self.send(side, first)?;
                let third = self.voice(side, 1);
                self.send(side, third)
            }
            Step::Source(side) => {
                self.speakers[side.index()].ssrc += 1;
                Ok(())
            }
            Step::Codec(side) => {
                self.speakers[side.index()].payload_type ^= 8;
                Ok(())
            }
            Step::Jump(side, by) => {
                // Seen by one way from before to after, and two in a row, as RFC 3550 A.1 wants them.
                let before = self.voice(side, 1);
                self.send(side, before)?;
                let (first, second) = (self.voice(side, by), self.voice(side, 1));
                self.send(side, first)?;
                self.send(side, second)
            }
            Step::Hold(side, held) => {
                let direction = if held { Direction::SendOnly } else { Direction::SendReceive };
                for bench in &mut self.benches {
                    bench.relay.set_remote(bench.now, bench.slot, side, &RemoteOptions { direction, ..remote(side) });
                }
                Ok(())
            }
            Step::Refuse(refuse) => {
                self.kernel.refuse(refuse);
                Ok(())
            }
            Step::TakeOver(stays) => {
                let waiting = if stays { Waiting::Below } else { Waiting::OnSockets };
                self.benches.iter_mut().for_each(|bench| bench.take_over(waiting));
                Ok(())
            }
            Step::Wait(millis) => {
                // A packet comes twice within moments or not at all.
                self.speakers.iter_mut().for_each(|speaker| speaker.last = None);
                self.benches.iter_mut().for_each(|bench| bench.wait(millis));
                Ok(())
            }
        }
    }

    /// Ends both; their figures must be the same.
    fn finish(mut self) -> Result<[u64; 2], String> {
        let reports = self.benches.each_mut().map(|bench| bench.relay.close(bench.now, bench.slot).unwrap().sides);
        for (one, two) in reports[0].iter().zip(&reports[1]) {
            let of = |side: &SideReport| {
                (side.packets, side.bytes, side.forwarded, side.lost, side.duplicates, side.payload_type, side.ssrc)
            };
            if of(one) != of(two) {
                return Err(format!("{one:#?}\nbut beside a kernel {two:#?}"));
            }
        }
        let counts = self.benches[1].relay.counts();
        if !counts.is_balanced() || self.kernel.below() + self.kernel.open() > 0 {
            return Err(format!("{counts:?}"));
        }
        Ok([counts.below, counts.moves_up])
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn both_ways_together_say_what_one_way_says(steps in steps()) {
        let mut twins = Twins::new(None);
        for step in &steps {
            twins.take(step).map_err(TestCaseError::fail)?;
        }
        twins.finish().map_err(TestCaseError::fail)?;
    }
}

/// A conversation in which everything happens.
fn eventful() -> Vec<Step> {
    let mut steps = Vec::new();
    let talk = |steps: &mut Vec<Step>| {
        for _ in 0..40 {
            steps.extend([Step::Voice(Side::A, 1), Step::Voice(Side::B, 1), Step::Wait(20)]);
        }
    };
    for event in [Step::Event(Side::A), Step::Source(Side::B), Step::Codec(Side::A), Step::Hold(Side::A, true)] {
        talk(&mut steps);
        steps.push(event);
    }
    talk(&mut steps);
    steps
}

#[test]
fn the_eventful_conversation_goes_down_and_a_faulty_kernel_is_found_out() {
    let run = |bug| {
        std::panic::catch_unwind(|| {
            let mut twins = Twins::new(bug);
            eventful().iter().try_for_each(|step| twins.take(step))?;
            twins.finish()
        })
        .unwrap_or_else(|_| Err("the kernel was asked for what cannot be".into()))
    };
    let [below, moves] = run(None).unwrap();
    assert!(below > 300 && moves >= 4, "{below} packets, {moves} moves");
    for bug in [Bug::DeafToUp, Bug::ForgetsRest, Bug::Careless, Bug::Doubles] {
        assert!(run(Some(bug)).is_err(), "{bug:?}");
    }
}
