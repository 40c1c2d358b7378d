//! The relay as the shard sees it: each behaviour of a stream, from ports and early media to hold, silence and reports.

use super::*;
use crate::base::{Direction, time::Duration};
use crate::media::dtmf::Press;
use crate::media::rtcp::{self, ReportBlock, SenderInfo};
use crate::media::rtp::Header;
use crate::media::{SideReport, StreamKind};
use std::net::IpAddr;

const A: &str = "192.0.2.1:4000";
const B: &str = "198.51.100.2:6000";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A relay with one stream, and packets that count on by themselves.
struct Bench {
    relay: Relay,
    slot: StreamSlot,
    now: Instant,
    sequence: u16,
}

impl Bench {
    fn new(options: StreamOptions) -> Self {
        let mut config = RelayConfig::new("203.0.113.1".parse().unwrap(), 30_000, 30_019);
        config.set_address("2001:db8::1".parse::<IpAddr>().unwrap().into());
        config.socket_base = 100;
        let now = Instant::from_millis(1000);
        let mut relay = Relay::new(config, now, Random::from_u64(7));
        let slot = relay.open(now, options).unwrap();
        Self { relay, slot, now, sequence: 0 }
    }

    fn between(a: &RemoteOptions, b: &RemoteOptions) -> Self {
        let mut bench = Self::new(StreamOptions::default());
        bench.remote(Side::A, a);
        bench.remote(Side::B, b);
        bench.relay.set_answered(bench.now, bench.slot);
        bench
    }

    fn call() -> Self {
        Self::between(&public(A), &public(B))
    }

    fn remote(&mut self, side: Side, options: &RemoteOptions) {
        self.relay.set_remote(self.now, self.slot, side, options);
    }

    fn socket(&self, side: Side, offset: u16) -> SocketKey {
        let (rtp, _) = self.relay.local(self.slot, side).unwrap();
        let family = if rtp.is_ipv6() { 20 } else { 0 };
        SocketKey(100 + family + u32::from(rtp.port() - 30_000 + offset))
    }

    /// Sends to the port of `side`; says where it goes.
    fn send(&mut self, side: Side, offset: u16, from: &str, packet: &[u8]) -> Result<(SocketKey, String), DropReason> {
        let socket = self.socket(side, offset);
        match self.relay.handle_packet(self.now, socket, at(from), &mut packet.to_vec()) {
            Verdict::Forward { socket, to, len } => {
                assert_eq!(len, packet.len());
                Ok((socket, to.to_string()))
            }
            Verdict::Drop(reason) => Err(reason),
        }
    }

    fn voice(&mut self, side: Side, from: &str) -> Result<(SocketKey, String), DropReason> {
        self.typed(side, from, 0)
    }

    fn typed(&mut self, side: Side, from: &str, payload_type: u8) -> Result<(SocketKey, String), DropReason> {
        self.sequence += 1;
        let header = Header { payload_type, sequence: self.sequence, ssrc: 5, ..Header::default() };
        self.send(side, 0, from, &[&header.encode()[..], &[0xff; 160]].concat())
    }

    /// Lets time pass, with voice from the sides named every 20 ms.
    fn pass(&mut self, millis: u64, sides: &[(Side, &str)]) {
        let until = self.now + Duration::from_millis(millis);
        while self.now < until {
            self.now += Duration::from_millis(20);
            for (side, from) in sides {
                let _ = self.voice(*side, from);
            }
            self.relay.handle_timeout(self.now);
            assert!(self.relay.next_deadline().unwrap() > self.now);
        }
    }

    /// Events other than settling.
    fn events(&mut self) -> Vec<MediaEvent> {
        let settled = |event: &MediaEvent| matches!(event, MediaEvent::Settled { .. });
        std::iter::from_fn(|| self.relay.poll_event()).filter(|event| !settled(event)).collect()
    }

    fn side(&self, side: Side) -> SideReport {
        self.relay.report(self.now, self.slot).unwrap().sides[side.index()]
    }
}

fn public(rtp: &str) -> RemoteOptions {
    let rtp = at(rtp);
    RemoteOptions { rtp: Some(rtp), signalled_from: Some(rtp.ip()), ..RemoteOptions::default() }
}

fn rtcp_packet() -> Vec<u8> {
    let mut packet = Vec::new();
    rtcp::write_receiver_report(5, &[], &mut packet);
    packet
}

#[test]
fn voice_goes_both_ways_out_of_the_far_socket() {
    let mut bench = Bench::call();
    let (a, b) = (bench.socket(Side::A, 0), bench.socket(Side::B, 0));
    for _ in 0..3 {
        assert_eq!(bench.voice(Side::A, A), Ok((b, B.into())));
        assert_eq!(bench.voice(Side::B, B), Ok((a, A.into())));
    }
    let report = bench.relay.close(bench.now, bench.slot).unwrap();
    for side in report.sides {
        assert_eq!((side.packets, side.forwarded, side.bytes), (3, 3, 3 * 172));
        assert!(side.mos.unwrap() > 4.0 || side.lost > 0);
    }
    let counts = bench.relay.counts();
    assert!(counts.is_balanced());
    assert_eq!((counts.forwarded, counts.bytes_forwarded), (6, 6 * 172));
}

#[test]
fn early_media_flows_before_the_caller_is_answered_but_not_to_nowhere() {
    let mut bench = Bench::new(StreamOptions::default());
    assert_eq!(bench.voice(Side::A, A), Err(DropReason::WrongSource), "nobody has said who may send");
    bench.remote(Side::A, &public(A));
    assert_eq!(bench.voice(Side::A, A), Err(DropReason::NoDestination));
    bench.remote(Side::B, &public(B));
    assert!(bench.voice(Side::B, B).is_ok());
    assert!(bench.voice(Side::A, A).is_ok());
}

#[test]
fn strays_are_dropped_and_counted_on_the_side_they_aim_at() {
    let mut bench = Bench::call();
    bench.voice(Side::A, A).unwrap();
    for _ in 0..3 {
        assert_eq!(bench.voice(Side::A, "192.0.2.1:4009"), Err(DropReason::WrongSource));
        assert_eq!(bench.voice(Side::B, A), Err(DropReason::WrongSource), "the caller is a stranger on the far port");
    }
    assert_eq!((bench.side(Side::A).strays, bench.side(Side::B).strays), (3, 3));
}

#[test]
fn rubbish_is_malformed_and_unknown_ports_have_no_stream() {
    let mut bench = Bench::call();
    assert_eq!(bench.send(Side::A, 0, A, b""), Err(DropReason::Malformed));
    assert_eq!(bench.send(Side::A, 0, A, &[0x80; 11]), Err(DropReason::Malformed));
    assert_eq!(bench.send(Side::A, 1, A, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Err(DropReason::Malformed));
    let mut ask = |key| bench.relay.handle_packet(bench.now, SocketKey(key), at(A), &mut [0; 20]);
    assert_eq!(ask(99), Verdict::Drop(DropReason::UnknownSocket));
    assert_eq!(ask(140), Verdict::Drop(DropReason::UnknownSocket));
    assert_eq!(ask(139), Verdict::Drop(DropReason::NoStream));
    let socket = bench.socket(Side::A, 0);
    bench.relay.close(bench.now, bench.slot);
    assert_eq!(bench.relay.handle_packet(bench.now, socket, at(A), &mut [0; 20]), Verdict::Drop(DropReason::NoStream));
    assert!(bench.relay.counts().is_balanced());
}

#[test]
fn rtcp_has_ports_of_its_own_or_shares_each_side_as_it_likes() {
    let mut apart = Bench::call();
    let b = apart.socket(Side::B, 1);
    assert_eq!(apart.send(Side::A, 1, "192.0.2.1:4001", &rtcp_packet()), Ok((b, "198.51.100.2:6001".into())));

    let named = RemoteOptions { rtcp: Some(at("198.51.100.2:7777")), ..public(B) };
    let mut named = Bench::between(&public(A), &named);
    assert_eq!(named.send(Side::A, 1, "192.0.2.1:4001", &rtcp_packet()).unwrap().1, "198.51.100.2:7777");

    let mut mixed = Bench::between(&RemoteOptions { mux: true, ..public(A) }, &public(B));
    let (a_rtp, b_rtcp) = (mixed.socket(Side::A, 0), mixed.socket(Side::B, 1));
    assert_eq!(mixed.send(Side::A, 0, A, &rtcp_packet()), Ok((b_rtcp, "198.51.100.2:6001".into())));
    assert_eq!(mixed.send(Side::B, 1, "198.51.100.2:6001", &rtcp_packet()), Ok((a_rtp, A.into())));
    assert_eq!((mixed.side(Side::A).rtcp_packets, mixed.side(Side::A).packets), (1, 0));
}

#[test]
fn one_side_may_be_ipv6() {
    let v6 = StreamOptions { b: SideOptions { v6: true, dscp: 46 }, ..StreamOptions::default() };
    let mut bench = Bench::new(v6);
    bench.remote(Side::A, &public(A));
    bench.remote(Side::B, &public("[2001:db8::77]:6000"));
    assert_eq!(bench.relay.local(bench.slot, Side::B).unwrap().0.ip(), "2001:db8::1".parse::<IpAddr>().unwrap());
    let b = bench.socket(Side::B, 0);
    assert_eq!(bench.voice(Side::A, A), Ok((b, "[2001:db8::77]:6000".into())));
    assert!(bench.voice(Side::B, "[2001:db8::77]:6000").is_ok());
    let opened: Vec<_> = std::iter::from_fn(|| bench.relay.poll_socket()).collect();
    let asked = opened.iter().find(|request| matches!(request, SocketRequest::Open { key, .. } if *key == b));
    let Some(SocketRequest::Open { bind, .. }) = asked else { panic!("{opened:?}") };
    assert!(bind.is_ipv6());
}

#[test]
fn a_held_party_hears_nothing_and_reports_still_pass() {
    let mut bench = Bench::call();
    bench.voice(Side::A, A).unwrap();
    bench.voice(Side::B, B).unwrap();
    bench.remote(Side::A, &RemoteOptions { direction: Direction::SendOnly, ..public(A) });
    bench.remote(Side::B, &RemoteOptions { direction: Direction::ReceiveOnly, ..public(B) });
    assert_eq!(bench.voice(Side::B, B), Err(DropReason::Held));
    assert!(bench.voice(Side::A, A).is_ok(), "music on hold");
    assert!(bench.send(Side::B, 1, "198.51.100.2:6001", &rtcp_packet()).is_ok());
    bench.pass(300_000, &[]);
    assert_eq!(bench.events(), [], "hold may last");
    bench.remote(Side::A, &public(A));
    bench.remote(Side::B, &public(B));
    assert!(bench.voice(Side::B, B).is_ok());
}

#[test]
fn a_hold_by_address_keeps_the_source_and_resumes() {
    let mut bench = Bench::call();
    bench.voice(Side::A, A).unwrap();
    bench.remote(Side::A, &RemoteOptions { rtp: None, direction: Direction::SendOnly, ..public(A) });
    assert_eq!(bench.voice(Side::B, B), Err(DropReason::Held));
    assert!(bench.voice(Side::A, A).is_ok());
    bench.remote(Side::A, &public(A));
    assert_eq!(bench.voice(Side::B, B).unwrap().1, A);
}

#[test]
fn a_party_that_moves_is_followed() {
    let mut bench = Bench::call();
    bench.voice(Side::A, A).unwrap();
    bench.voice(Side::B, B).unwrap();
    bench.remote(Side::B, &public("198.51.100.99:7000"));
    assert_eq!(bench.voice(Side::A, A).unwrap().1, "198.51.100.99:7000");
    assert!(bench.voice(Side::B, B).is_ok(), "still on its way");
    assert!(bench.voice(Side::B, "198.51.100.99:7000").is_ok());
    assert_eq!(bench.voice(Side::B, B), Err(DropReason::WrongSource));
    assert_eq!(bench.side(Side::B).source, Some(at("198.51.100.99:7000")));
}

#[test]
fn a_phone_behind_nat_gets_its_voice_where_it_sends_from() {
    let nat = RemoteOptions {
        rtp: Some(at("10.0.0.5:4000")),
        behind_nat: true,
        signalled_from: Some("192.0.2.1".parse().unwrap()),
        ..RemoteOptions::default()
    };
    let mut bench = Bench::between(&nat, &public(B));
    assert_eq!(bench.voice(Side::B, B), Err(DropReason::NoDestination));
    bench.voice(Side::A, "192.0.2.1:61000").unwrap();
    bench.voice(Side::A, "192.0.2.1:61000").unwrap();
    assert_eq!(bench.voice(Side::B, B).unwrap().1, "192.0.2.1:61000");
    let settled: Vec<_> = std::iter::from_fn(|| bench.relay.poll_event()).collect();
    assert!(settled.iter().any(|event| matches!(event, MediaEvent::Settled { side: Side::A, .. })), "{settled:?}");
}

#[test]
fn keys_are_passed_and_told_once() {
    let accepts = |rtp| RemoteOptions { telephone_event: Some(101), ..public(rtp) };
    let mut bench = Bench::between(&accepts(A), &accepts(B));
    bench.voice(Side::A, A).unwrap();
    let header = Header { payload_type: 101, sequence: 50, timestamp: 900, ssrc: 5, marker: false };
    for (header, event) in Press::new(header, 11, 10, 160, 800) {
        let mut packet = Vec::new();
        header.write(&event.encode(), &mut packet);
        assert!(bench.send(Side::A, 0, A, &packet).is_ok());
    }
    let events = bench.events();
    let [MediaEvent::Dtmf { side: Side::A, digit: '#', duration, .. }] = events[..] else { panic!("{events:?}") };
    assert_eq!(duration, Duration::from_millis(100));
    assert_eq!(bench.side(Side::A).digits, 1);
}

#[test]
fn one_way_audio_is_told_within_two_seconds_and_its_end_too() {
    let mut bench = Bench::call();
    bench.pass(1000, &[(Side::A, A), (Side::B, B)]);
    bench.pass(1600, &[(Side::A, A)]);
    assert_eq!(bench.events(), []);
    bench.pass(380, &[(Side::A, A)]);
    let events = bench.events();
    assert!(matches!(events[..], [MediaEvent::OneWay { silent_side: Side::B, .. }]), "{events:?}");
    bench.pass(5000, &[(Side::A, A)]);
    assert_eq!(bench.events(), [], "told once");
    bench.pass(20, &[(Side::B, B)]);
    assert!(matches!(bench.events()[..], [MediaEvent::Recovered { side: Side::B, .. }]));
    assert_eq!((bench.side(Side::A).one_way, bench.side(Side::B).one_way), (false, true));
}

#[test]
fn a_side_that_never_sends_is_told_too_but_not_while_it_rings() {
    let mut bench = Bench::new(StreamOptions::default());
    bench.remote(Side::A, &public(A));
    bench.remote(Side::B, &public(B));
    bench.pass(10_000, &[(Side::B, B)]);
    assert_eq!(bench.events(), [], "ringing tone is one-way by nature");
    bench.relay.set_answered(bench.now, bench.slot);
    bench.pass(1980, &[(Side::B, B)]);
    assert!(matches!(bench.events()[..], [MediaEvent::OneWay { silent_side: Side::A, .. }]));
}

#[test]
fn comfort_noise_is_no_silence_and_hold_no_one_way() {
    let mut bench = Bench::call();
    bench.pass(1000, &[(Side::A, A), (Side::B, B)]);
    bench.typed(Side::B, B, 13).unwrap();
    bench.pass(10_000, &[(Side::A, A)]);
    assert_eq!(bench.events(), []);
    let mut held = Bench::call();
    held.remote(Side::A, &RemoteOptions { direction: Direction::SendOnly, ..public(A) });
    held.remote(Side::B, &RemoteOptions { direction: Direction::ReceiveOnly, ..public(B) });
    held.pass(10_000, &[(Side::A, A)]);
    assert_eq!(held.events(), []);
}

#[test]
fn silence_of_both_is_told_once_after_the_timeout() {
    let mut bench = Bench::call();
    bench.pass(1000, &[(Side::A, A), (Side::B, B)]);
    bench.pass(59_900, &[]);
    assert_eq!(bench.events(), []);
    bench.pass(5000, &[]);
    assert!(matches!(bench.events()[..], [MediaEvent::Silent { .. }]));
    assert!(!bench.relay.is_alive(bench.now, bench.slot));
    bench.pass(3000, &[(Side::A, A), (Side::B, B)]);
    assert!(bench.relay.is_alive(bench.now, bench.slot));
    bench.pass(65_000, &[]);
    assert!(matches!(bench.events()[..], [MediaEvent::Silent { .. }]), "silent again, told again");
}

#[test]
fn the_round_trip_is_read_from_the_echo_of_a_report() {
    let mut bench = Bench::call();
    let mut report = Vec::new();
    let info = SenderInfo { ntp: 0x0000_0001_8000_0000, ..SenderInfo::default() };
    rtcp::write_sender_report(5, &info, &[], &mut report);
    bench.send(Side::A, 1, "192.0.2.1:4001", &report).unwrap();
    bench.now += Duration::from_millis(250);
    let block =
        ReportBlock { last_sender_report: info.middle(), delay_since_last: 65_536 / 5, ..ReportBlock::default() };
    let mut echo = Vec::new();
    rtcp::write_receiver_report(6, &[block], &mut echo);
    bench.send(Side::B, 1, "198.51.100.2:6001", &echo).unwrap();
    let millis = bench.side(Side::B).round_trip_ms.unwrap();
    assert!((49.9..50.1).contains(&millis), "{millis}");
}

#[test]
fn fax_passes_without_being_looked_at() {
    let mut bench = Bench::new(StreamOptions { kind: StreamKind::Raw, ..StreamOptions::default() });
    bench.remote(Side::A, &public(A));
    bench.remote(Side::B, &public(B));
    assert_eq!(bench.send(Side::A, 0, A, b"\x00\x01udptl").unwrap().1, B);
    assert_eq!(bench.send(Side::A, 0, B, b"\x00\x01udptl"), Err(DropReason::WrongSource));
}

#[test]
fn dtls_passes_between_the_parties_before_any_rtp() {
    let mut bench = Bench::call();
    let hello = [22u8; 80];
    assert_eq!(bench.send(Side::A, 0, A, &hello).unwrap().1, B);
    assert_eq!(bench.send(Side::B, 1, "198.51.100.2:6001", &hello).unwrap().1, "192.0.2.1:4001");
}

#[test]
fn sockets_are_asked_for_once_and_keep_up_with_dscp() {
    let mut config = RelayConfig::new("203.0.113.1".parse().unwrap(), 30_000, 30_003);
    config.port_rest = Duration::ZERO;
    let mut relay = Relay::new(config, Instant::ZERO, Random::from_u64(1));
    let with_dscp = |dscp| StreamOptions {
        a: SideOptions { v6: false, dscp },
        b: SideOptions { v6: false, dscp },
        ..StreamOptions::default()
    };
    let first = relay.open(Instant::ZERO, with_dscp(0)).unwrap();
    assert_eq!(relay.open(Instant::ZERO, with_dscp(0)), Err(Refused::Ports));
    assert_eq!(std::iter::from_fn(|| relay.poll_socket()).count(), 4);
    relay.close(Instant::ZERO, first).unwrap();
    relay.open(Instant::ZERO, with_dscp(46)).unwrap();
    let requests: Vec<_> = std::iter::from_fn(|| relay.poll_socket()).collect();
    assert!(matches!(requests[..], [SocketRequest::SetDscp { dscp: 46, .. }, _, _, _]), "{requests:?}");
    let v6 = StreamOptions { a: SideOptions { v6: true, dscp: 0 }, ..StreamOptions::default() };
    assert_eq!(relay.open(Instant::ZERO, v6), Err(Refused::Family));
}

#[test]
fn what_no_request_had_room_for_is_opened_ahead_later() {
    let config = RelayConfig::new("203.0.113.1".parse().unwrap(), 30_000, 32_047);
    let mut relay = Relay::new(config, Instant::ZERO, Random::from_u64(1));
    let open = |relay: &mut Relay| relay.open(Instant::ZERO, StreamOptions::default());
    let opened = std::iter::from_fn(|| open(&mut relay).ok()).count();
    let unasked = |relay: &Relay| {
        let upcoming = relay.pools[0].as_ref().unwrap().upcoming(AHEAD_PAIRS);
        let sockets = upcoming.flat_map(|port| [port, port + 1]).map(|port| relay.key(false, port));
        sockets.filter(|key| !relay.sockets[relay.index(*key).unwrap()].is_asked_for).count()
    };
    assert!(unasked(&relay) > 0, "{opened} streams left room for more");
    while relay.poll_socket().is_some() {}
    open(&mut relay).unwrap();
    assert_eq!(unasked(&relay), 0);
}

#[test]
fn a_port_that_somebody_else_holds_costs_no_call() {
    let config = RelayConfig::new("203.0.113.1".parse().unwrap(), 30_000, 30_019);
    let mut relay = Relay::new(config, Instant::ZERO, Random::from_u64(1));
    let ahead: Vec<_> = std::iter::from_fn(|| relay.poll_socket()).collect();
    assert_eq!(ahead.len(), 20);
    for request in &ahead[..8] {
        let SocketRequest::Open { key, .. } = request else { panic!("{request:?}") };
        relay.socket_failed(Instant::ZERO, *key);
    }
    let slot = relay.open(Instant::ZERO, StreamOptions::default()).unwrap();
    let taken = [Side::A, Side::B].map(|side| relay.local(slot, side).unwrap().0);
    let held = |address: &SocketAddr| {
        ahead[..8].iter().any(|request| matches!(request, SocketRequest::Open { bind, .. } if bind == address))
    };
    assert!(!taken.iter().any(held), "{taken:?}");
    assert!(relay.poll_event().is_none());
    assert_eq!(relay.port_counts().failed, 4);
}

#[test]
fn a_port_that_cannot_be_opened_is_told_and_never_given_again() {
    let mut bench = Bench::call();
    let socket = bench.socket(Side::B, 1);
    bench.relay.socket_failed(bench.now, socket);
    assert!(matches!(bench.events()[..], [MediaEvent::Failed { .. }]));
    let before = bench.relay.port_counts();
    bench.relay.close(bench.now, bench.slot);
    let after = bench.relay.port_counts();
    assert_eq!((before.used, after.used, after.failed, after.total), (2, 0, 1, 20));
    assert_eq!(after.free + after.used + after.failed, after.total);
}
