//! Packets as they arrive, faults and all.

use super::*;
use crate::sound::g711::Codec;

fn packets(count: u32, planned: u32) -> Vec<[u8; PACKET_LEN]> {
    let mut source = Source { planned, ..Source::new(77, 0xffff_fffe_1234_5678) };
    (0..count)
        .map(|index| {
            let mut out = [0; PACKET_LEN];
            source.write(Instant::from_millis(u64::from(index) * 20), &domain(5), &mut out);
            out
        })
        .collect()
}

fn domain(domain: u32) -> Common {
    Common { domain, ..Common::default() }
}

fn at(index: u64) -> Instant {
    Instant::from_millis(index * 20 + 3)
}

#[test]
fn loss_at_the_end_is_seen_once_the_plan_has_run() {
    let mut sink = Sink::default();
    for (index, packet) in packets(10, 10).iter().enumerate().filter(|(index, _)| !matches!(index, 4 | 9)) {
        let verdict = sink.handle_packet(at(index as u64), packet, &domain(5));
        assert_eq!(verdict, Verdict::Good(Some(Duration::from_millis(3))));
    }
    assert_eq!((sink.unique, sink.expected(at(8)), sink.expected(at(11))), (8, 9, 10));
    assert_eq!(sink.missing(), 1, "the last one may still come");
    assert!(sink.jitter() < Duration::from_micros(200));
}

#[test]
fn duplicates_reordering_corruption_and_strays_are_told_apart() {
    let sent = packets(6, 0);
    let mut sink = Sink::default();
    for index in [0, 2, 1, 1, 5, 3] {
        sink.handle_packet(at(index), &sent[index as usize], &domain(6));
    }
    assert_eq!((sink.unique, sink.duplicates, sink.reordered, sink.expected(at(9))), (5, 1, 2, 6));
    for byte in 12..PACKET_LEN {
        let mut broken = sent[4];
        broken[byte] ^= 1;
        assert_eq!(sink.handle_packet(at(4), &broken, &domain(6)), Verdict::Corrupted, "octet {byte}");
    }
    let mut stray = [0; PACKET_LEN];
    Source::new(78, 1).write(at(0), &domain(6), &mut stray);
    assert_eq!(sink.handle_packet(at(4), &stray, &domain(6)), Verdict::Misdirected);
    assert_eq!(sink.handle_packet(at(4), &sent[4], &domain(6)), Verdict::Good(None));
    assert_eq!(sink.handle_packet(at(4), &[0x80], &domain(6)), Verdict::Corrupted);
}

#[test]
fn a_plain_peer_is_counted_by_its_sequence_numbers() {
    let mut sink = Sink::default();
    for sequence in [65534u16, 65535, 1, 0, 2] {
        let mut packet = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0xff, 0xff];
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        assert!(matches!(sink.handle_packet(at(0), &packet, &domain(5)), Verdict::Good(None)));
    }
    assert_eq!((sink.unique, sink.reordered, sink.expected(at(9))), (5, 1, 5));
}

#[test]
fn losses_in_a_row_are_one_gap_and_late_packets_mend_it() {
    let sent = packets(10, 10);
    let mut sink = Sink::default();
    for index in [0, 1, 5, 6, 9, 3] {
        sink.handle_packet(at(index), &sent[index as usize], &domain(5));
    }
    let heard = sink.heard(at(10));
    assert_eq!((heard.expected, heard.lost, heard.gaps), (10, 4, 3));
    for index in [2, 7, 8] {
        sink.handle_packet(at(10), &sent[index], &domain(5));
    }
    let heard = sink.heard(at(10));
    assert_eq!((heard.lost, heard.gaps), (1, 1));
}

#[test]
fn a_pause_is_no_loss_and_a_resumption_in_vain_is_seen() {
    let mut source = Source { planned: 100, ..Source::new(1, 1) };
    let (mut sink, mut out) = (Sink::default(), [0; PACKET_LEN]);
    let mut send = |source: &mut Source, sink: &mut Sink, index: u64| {
        source.write(at(index), &domain(1), &mut out);
        sink.handle_packet(at(index), &out, &domain(1));
    };
    (0..10).for_each(|index| send(&mut source, &mut sink, index));
    sink.hold(at(10));
    assert_eq!((sink.expected(at(200)), sink.while_held), (10, 0));
    sink.resume(at(60));
    assert_eq!((sink.resumed_in_vain(), sink.expected(at(200))), (Some(at(60)), 10));
    source.resume(PERIOD * 51);
    source.planned = 50;
    (60..99).for_each(|index| send(&mut source, &mut sink, index));
    assert_eq!((sink.resumed_in_vain(), sink.expected(at(98)), sink.expected(at(120))), (None, 49, 50));
    assert!(sink.jitter() < Duration::from_micros(200), "the clock ran on during the pause: {:?}", sink.jitter());
    sink.hold(at(99));
    send(&mut source, &mut sink, 150);
    assert_eq!(sink.while_held, 1);
}

#[test]
fn audio_is_judged_by_its_frames_and_its_numbers() {
    let frames = Frames::tone(Codec::Pcma).map(std::sync::Arc::new);
    let common = Common { payload_type: 8, frames, both_ends: true, ..domain(5) };
    let (mut source, mut sink, mut out) = (Source::new(1, 0xfffe_0000_0000), Sink::default(), [0; PACKET_LEN]);
    for index in 0..20u64 {
        source.write(at(index), &common, &mut out);
        if index == 7 {
            out[99] ^= 1;
            assert_eq!(sink.handle_packet(at(index), &out, &common), Verdict::Corrupted);
        } else if index != 12 {
            assert_eq!(sink.handle_packet(at(index), &out, &common), Verdict::Good(None));
        }
    }
    assert_eq!((sink.unique, sink.expected(at(30))), (18, 20));
    let mut transcoded = Sink::default();
    out[1] = 0;
    assert_eq!(transcoded.handle_packet(at(0), &out, &common), Verdict::Corrupted);
    let foreign = Common { both_ends: false, ..common };
    let mut silence = [0xff; PACKET_LEN];
    silence[0] = 0x80;
    assert_eq!(Sink::default().handle_packet(at(0), &silence, &foreign), Verdict::Good(None));
}
