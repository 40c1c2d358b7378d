//! One frame, one verdict: each says what it expects in so many words, and the model must say it too.

use crate::frames::{Frame, check, voice};
use crate::model::{Verdict, Way};
use crate::stage::{PAIRS, PORT_MIN, Stage, own};
use std::net::SocketAddr;
use strowger::media::FastRule;
use strowger::xdp::layout::Reason;

pub const SSRC: u32 = 0x0123_4567;
pub const PLAIN: Way =
    Way { hardware: [0x52, 1, 2, 3, 4, 5, 0x52, 9, 8, 7, 6, 5], known: true, tag: None, mtu: 1500, same_device: true };
/// Pairs by what they are for.
pub const SETTLED: u16 = 0;
pub const TO_TAGGED: u16 = 1;
pub const ELSEWHERE: u16 = 2;
pub const NO_HOP: u16 = 3;
pub const SMALL_MTU: u16 = 4;
pub const EXPIRED: u16 = 5;
pub const TORN: u16 = 6;
pub const OPEN: u16 = 7;
pub const CLOSED: u16 = 8;

pub fn party(v6: bool) -> SocketAddr {
    if v6 { "[fd00:2::20]:4000" } else { "198.51.100.20:4000" }.parse().unwrap()
}

pub fn rule(v6: bool, pair: u16) -> FastRule {
    let far = if v6 { "[fd00:3::30]:5000" } else { "203.0.113.30:5000" };
    FastRule {
        source: party(v6),
        to: far.parse().unwrap(),
        from: own(v6, PORT_MIN + 2 * (PAIRS - 1 - pair)),
        ssrc: SSRC,
        payload_type: 8,
        clock_rate: 8000,
        dscp: 46,
    }
}

/// All pairs as the constants above say.
pub fn stage() -> Option<Stage> {
    let mut stage = Stage::set()?;
    for v6 in [false, true] {
        let ways = [
            (SETTLED, PLAIN),
            (TO_TAGGED, Way { tag: Some(0x6007), ..PLAIN }),
            (ELSEWHERE, Way { same_device: false, ..PLAIN }),
            (NO_HOP, Way { known: false, ..PLAIN }),
            (SMALL_MTU, Way { mtu: 128, ..PLAIN }),
            (EXPIRED, PLAIN),
            (TORN, PLAIN),
        ];
        for (pair, way) in ways {
            stage.settle(v6, pair, rule(v6, pair), way);
        }
        stage.expire(v6, EXPIRED);
        stage.tear(v6, TORN);
        stage.open(v6, OPEN);
    }
    Some(stage)
}

/// A packet of the pair's party.
pub fn packet(v6: bool, pair: u16) -> Frame {
    Frame::new(party(v6), own(v6, PORT_MIN + 2 * pair), voice(8, SSRC, 7))
}

/// Runs a frame that is not relayed and checks why.
fn misses(stage: &mut Stage, frame: &[u8], verdict: Verdict, reason: Option<Reason>) {
    let before = stage.model.totals;
    assert_eq!(stage.agree(frame).0, verdict, "{frame:02x?}");
    let mut expected = before;
    if let Some(reason) = reason {
        expected[reason as usize] += 1;
    }
    assert_eq!(stage.model.totals, expected, "{reason:?} of {frame:02x?}");
}

#[test]
fn a_settled_packet_leaves_whole_and_right() {
    let Some(mut stage) = stage() else { return };
    for v6 in [false, true] {
        let way_of = [(SETTLED, Verdict::Transmit), (TO_TAGGED, Verdict::Transmit), (ELSEWHERE, Verdict::Redirect)];
        for (pair, expected) in way_of {
            for tag in [None, Some(0x2003)] {
                for padding in [0, 6] {
                    let frame = Frame { tag, padding, ..packet(v6, pair) };
                    let (verdict, out) = stage.agree(&frame.build());
                    assert_eq!(verdict, expected);
                    check(&out).unwrap();
                    assert_eq!(out[..12], PLAIN.hardware);
                    let tail = out.len() - padding;
                    assert_eq!(out[tail - 172..tail], voice(8, SSRC, 7), "the payload is untouched");
                    let head = if pair == TO_TAGGED { 18 } else { 14 };
                    let class = if v6 { out[head] << 4 | out[head + 1] >> 4 } else { out[head + 1] };
                    assert_eq!((class >> 2, class & 3), (46, 1), "DSCP ours, ECN theirs");
                    assert_eq!(out[head + if v6 { 7 } else { 8 }], 64, "TTL");
                    assert_eq!(pair == TO_TAGGED, out[12..16] == [0x81, 0, 0x60, 0x07]);
                }
            }
        }
    }
    stage.counted_alike();
}

#[test]
fn a_checksum_that_is_not_there_stays_away() {
    let Some(mut stage) = stage() else { return };
    let frame = Frame { with_checksum: false, ..packet(false, SETTLED) };
    let (verdict, out) = stage.agree(&frame.build());
    assert_eq!((verdict, &out[40..42]), (Verdict::Transmit, &[0, 0][..]));
    let frame = Frame { with_checksum: false, ..packet(true, SETTLED) };
    misses(&mut stage, &frame.build(), Verdict::Pass, Some(Reason::Unusual));
}

#[test]
fn a_wrong_checksum_stays_wrong_and_one_that_becomes_zero_is_all_ones() {
    let Some(mut stage) = stage() else { return };
    for v6 in [false, true] {
        let udp = if v6 { 60 } else { 40 };
        let mut frame = packet(v6, SETTLED).build();
        frame[udp] ^= 0x10;
        let (verdict, out) = stage.agree(&frame);
        assert_eq!(verdict, Verdict::Transmit);
        assert!(check(&out).is_err());
        // Every value of one word of the payload: one of them makes the outgoing checksum zero.
        let mut all_ones = 0;
        let mut frame = packet(v6, SETTLED);
        for value in 0..=u16::MAX {
            let at = frame.payload.len() - 2;
            frame.payload[at..].copy_from_slice(&value.to_be_bytes());
            let (_, out) = stage.agree(&frame.build());
            check(&out).unwrap();
            all_ones += u32::from(out[udp..udp + 2] == [0xff, 0xff]);
        }
        assert!(all_ones > 0);
    }
}

#[test]
fn what_the_rule_does_not_cover_goes_up() {
    let Some(mut stage) = stage() else { return };
    for v6 in [false, true] {
        let mut passes = |frame: Frame, reason| misses(&mut stage, &frame.build(), Verdict::Pass, Some(reason));
        let settled = packet(v6, SETTLED);
        let with = |payload: Vec<u8>| Frame { payload, ..settled.clone() };
        let from = |from: SocketAddr| Frame { from, ..settled.clone() };
        passes(with(voice(101, SSRC, 1)), Reason::Stream);
        passes(with(voice(8, SSRC + 1, 1)), Reason::Stream);
        passes(with(voice(200, SSRC, 1)), Reason::NotRtp);
        passes(with(voice(8, SSRC, 1)[..11].to_vec()), Reason::NotRtp);
        passes(with(vec![0x16, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Reason::NotRtp);
        passes(with(Vec::new()), Reason::NotRtp);
        passes(from(SocketAddr::new(party(v6).ip(), 4001)), Reason::Source);
        passes(from(SocketAddr::new(own(v6, 0).ip(), 4000)), Reason::Source);
        passes(Frame { to: own(v6, PORT_MIN + 1), ..settled.clone() }, Reason::Control);
        passes(packet(v6, NO_HOP), Reason::NoHop);
        passes(packet(v6, SMALL_MTU), Reason::TooBig);
        passes(packet(v6, EXPIRED), Reason::Expired);
        passes(packet(v6, TORN), Reason::Torn);
        passes(packet(v6, OPEN), Reason::Open);
    }
    stage.counted_alike();
}

#[test]
fn a_marker_extension_padding_and_sources_are_no_matter() {
    let Some(mut stage) = stage() else { return };
    for (first, second) in [(0x80, 0x88), (0xbf, 8), (0x91, 8), (0xa0, 0x88)] {
        let mut frame = packet(true, SETTLED);
        (frame.payload[0], frame.payload[1]) = (first, second);
        assert_eq!(stage.agree(&frame.build()).0, Verdict::Transmit);
    }
}

#[test]
fn fragments_and_options_go_up() {
    let Some(mut stage) = stage() else { return };
    for fragment in [0x2000u16, 0x0001, 0x6000, 0x1fff] {
        let mut frame = packet(false, SETTLED).build();
        frame[20..22].copy_from_slice(&fragment.to_be_bytes());
        misses(&mut stage, &frame, Verdict::Pass, Some(Reason::Unusual));
    }
    let mut frame = packet(false, SETTLED).build();
    frame[14] = 0x46;
    misses(&mut stage, &frame, Verdict::Pass, Some(Reason::Unusual));
    let mut frame = packet(true, SETTLED).build();
    frame[20] = 44;
    misses(&mut stage, &frame, Verdict::Pass, Some(Reason::Unusual));
    for next in [0, 43, 60, 6, 58] {
        frame[20] = next;
        misses(&mut stage, &frame, Verdict::Pass, None);
    }
}

#[test]
fn lengths_that_differ_go_up() {
    let Some(mut stage) = stage() else { return };
    for (v6, at) in [(false, 16), (false, 38), (true, 18), (true, 58)] {
        for change in [1i16, -1, 100, -8] {
            let mut frame = packet(v6, SETTLED).build();
            let said = u16::from_be_bytes([frame[at], frame[at + 1]]).wrapping_add_signed(change);
            frame[at..at + 2].copy_from_slice(&said.to_be_bytes());
            misses(&mut stage, &frame, Verdict::Pass, Some(Reason::Unusual));
        }
    }
}

#[test]
fn a_closed_port_is_a_drop_and_other_ports_and_addresses_are_not_ours() {
    let Some(mut stage) = stage() else { return };
    for v6 in [false, true] {
        let to = |to: SocketAddr| Frame { to, ..packet(v6, SETTLED) }.build();
        let closed = Some(Reason::Closed);
        misses(&mut stage, &packet(v6, CLOSED).build(), Verdict::Drop, closed);
        misses(&mut stage, &to(own(v6, PORT_MIN + 2 * CLOSED + 1)), Verdict::Drop, closed);
        misses(&mut stage, &to(own(v6, PORT_MIN + 2 * PAIRS - 1)), Verdict::Drop, closed);
        for port in [PORT_MIN - 1, PORT_MIN + 2 * PAIRS, 5060, 0, 65_535] {
            misses(&mut stage, &to(own(v6, port)), Verdict::Pass, None);
        }
        misses(&mut stage, &to(SocketAddr::new(party(v6).ip(), PORT_MIN)), Verdict::Pass, None);
    }
    stage.counted_alike();
}

#[test]
fn a_blocked_source_is_dropped_wherever_it_sends_but_where_a_rule_is_hit() {
    let Some(mut stage) = stage() else { return };
    for v6 in [false, true] {
        stage.block(party(v6).ip());
        assert_eq!(stage.agree(&packet(v6, SETTLED).build()).0, Verdict::Transmit, "a hit pays nothing");
        let to = |to: SocketAddr| Frame { to, ..packet(v6, SETTLED) }.build();
        for frame in [to(own(v6, 5060)), to(own(v6, PORT_MIN + 1)), packet(v6, OPEN).build()] {
            assert_eq!(stage.agree(&frame).0, Verdict::Drop);
            let mut tcp = frame.clone();
            tcp[if v6 { 14 + 6 } else { 14 + 9 }] = 6;
            assert_eq!(stage.agree(&tcp).0, Verdict::Pass, "whoever administers the host is not shut out");
        }
        let other = Frame { from: rule(v6, 0).to, ..packet(v6, OPEN) };
        assert_eq!(stage.agree(&other.build()).0, Verdict::Pass);
    }
    stage.counted_alike();
}

#[test]
fn a_frame_cut_anywhere_is_judged_alike() {
    let Some(mut stage) = stage() else { return };
    for v6 in [false, true] {
        for tag in [None, Some(5)] {
            let whole = Frame { tag, ..packet(v6, SETTLED) }.build();
            for len in 14..whole.len() {
                assert_eq!(stage.agree(&whole[..len]).0, Verdict::Pass, "{len}");
            }
            assert_eq!(stage.agree(&whole).0, Verdict::Transmit);
        }
    }
    stage.counted_alike();
}

#[test]
fn other_protocols_pass() {
    let Some(mut stage) = stage() else { return };
    let frame = packet(false, SETTLED).build();
    for kind in [[8, 6], [0x88, 0xa8], [0, 0], [0x81, 0], [0x86, 0xdd]] {
        let mut frame = frame.clone();
        frame[12..14].copy_from_slice(&kind);
        misses(&mut stage, &frame, Verdict::Pass, None);
    }
    for version in [0x44, 0x35, 0x65, 0x40] {
        let mut frame = frame.clone();
        frame[14] = version;
        misses(&mut stage, &frame, Verdict::Pass, None);
    }
}
