//! The relay as the shard sees it: each behaviour of a stream, from ports and early media to hold, silence and reports.

mod silence;
mod sockets;
mod sources;

use super::*;
use crate::base::time::Duration;
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
