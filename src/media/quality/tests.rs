//! Loss, jitter and MOS against figures worked out by hand (RFC 3550, G.107).

use super::*;
use proptest::prelude::*;

fn header(sequence: u16) -> Header {
    Header { sequence, timestamp: u32::from(sequence).wrapping_mul(160), ssrc: 1, ..Header::default() }
}

fn feed(sequences: impl IntoIterator<Item = u16>) -> Figures {
    let mut quality = Quality::default();
    for (index, sequence) in sequences.into_iter().enumerate() {
        quality.handle_packet(Instant::from_millis(20 * index as u64), &header(sequence), 8000);
    }
    quality.figures()
}

#[test]
fn a_gap_is_lost_and_a_wrap_is_not() {
    let figures = feed([65_533, 65_534, 65_535, 0, 1, 5, 6]);
    assert_eq!((figures.packets, figures.expected, figures.lost, figures.bursts), (7, 10, 3, 1));
}

#[test]
fn a_late_packet_fills_its_gap_once() {
    let figures = feed([1, 2, 4, 3, 3, 5, 5]);
    assert_eq!((figures.lost, figures.reordered, figures.duplicates, figures.bursts), (0, 1, 2, 0));
    let before_the_first = feed([10, 9, 11]);
    assert_eq!((before_the_first.expected, before_the_first.lost), (2, 0));
}

#[test]
fn two_packets_from_elsewhere_are_a_restart_and_one_is_not() {
    let figures = feed([1, 2, 30_000, 3, 4]);
    assert_eq!((figures.expected, figures.lost), (4, 0));
    let figures = feed([1, 2, 30_000, 30_001, 30_003]);
    assert_eq!((figures.expected, figures.lost), (6, 1));
}

#[test]
fn another_source_adds_to_the_same_figures() {
    let mut quality = Quality::default();
    for (ssrc, sequence) in [(1, 10), (1, 12), (2, 60_000), (2, 60_001)] {
        quality.handle_packet(Instant::ZERO, &Header { ssrc, ..header(sequence) }, 8000);
    }
    let figures = quality.figures();
    assert_eq!((figures.expected, figures.lost, quality.ssrc()), (5, 1, Some(2)));
}

#[test]
fn even_spacing_has_no_jitter_and_uneven_has() {
    assert_eq!(feed(0..100).jitter, Duration::ZERO);
    let mut quality = Quality::default();
    for index in 0..1000u16 {
        let late = u64::from(index % 2) * 10;
        quality.handle_packet(Instant::from_millis(u64::from(index) * 20 + late), &header(index), 8000);
    }
    let jitter = quality.figures().jitter.as_secs_f64() * 1000.0;
    assert!((9.9..=10.0).contains(&jitter), "every difference is 10 ms, so is the mean: {jitter}");
}

#[test]
fn opinion_follows_published_points() {
    let score = |loss: u64, delay_ms: u64, codec: Impairment| {
        let figures = Figures { packets: 1, expected: 100, lost: loss, ..Figures::default() };
        opinion_score(&figures, Duration::from_millis(delay_ms), codec)
    };
    let near = |have: f64, want: f64| assert!((have - want).abs() < 0.02, "{have} is not {want}");
    // G.107: R = 93.2 gives 4.41; G.729A (Ie = 11) without loss 4.10.
    near(score(0, 20, Impairment::G711), 4.41);
    near(score(0, 20, Impairment::of(18)), 4.10);
    // 5 % random loss: Ie,eff = 95·5/(5+25.1) = 15.78, R = 77.4.
    near(score(5, 20, Impairment::G711), 3.92);
    // 400 ms: X = 2, Idd = 25·(65^(1/6) − 3·(1 + (2/3)^6)^(1/6) + 2) = 24.1, R = 69.1.
    near(score(0, 400, Impairment::G711), 3.56);
    // All lost: Ie,eff = 95·100/(100+25.1) = 75.9, R = 17.3.
    near(score(100, 20, Impairment::G711), 1.18);
}

#[test]
fn bursts_hurt_more_than_chance() {
    let random = Figures { expected: 1000, lost: 50, bursts: 50, ..Figures::default() };
    let bursty = Figures { bursts: 5, ..random };
    assert_eq!(random.burst_ratio(), 1.0);
    assert!(bursty.burst_ratio() > 9.0);
    let score = |figures: &Figures| opinion_score(figures, Duration::ZERO, Impairment::G711);
    assert!(score(&bursty) < score(&random));
}

proptest! {
    /// A sender's numbers, some lost, some doubled, some late by up to 20: the figures say exactly that.
    #[test]
    fn figures_tell_what_the_network_did(start: u16, fate in prop::collection::vec(0u8..12, 30..400)) {
        let mut wire: Vec<(usize, u16)> = Vec::new();
        let (mut lost, mut duplicates) = (0, 0);
        for (index, fate) in fate.iter().enumerate() {
            let sequence = start.wrapping_add(index as u16);
            match fate {
                0 if index > 0 => lost += 1,
                1 => { duplicates += 1; wire.push((index * 2, sequence)); wire.push((index * 2 + 1, sequence)); }
                2 if index > 0 => wire.push((index * 2 + 40, sequence)),
                _ => wire.push((index * 2, sequence)),
            }
        }
        wire.sort();
        let last = wire.iter().map(|(_, sequence)| sequence.wrapping_sub(start)).max().unwrap();
        let tail = fate.len() as u64 - 1 - u64::from(last);
        let figures = feed(wire.iter().map(|(_, sequence)| *sequence));
        prop_assert_eq!(figures.packets, wire.len() as u64);
        prop_assert_eq!(figures.lost, lost - tail);
        prop_assert_eq!(figures.duplicates, duplicates);
        prop_assert_eq!(figures.expected, u64::from(last) + 1);
    }

    #[test]
    fn any_numbers_keep_the_figures_sane(packets in prop::collection::vec((any::<u16>(), any::<u32>(), 0u32..3, any::<u64>()), 0..200)) {
        let mut quality = Quality::default();
        for (sequence, timestamp, ssrc, nanos) in packets {
            let header = Header { sequence, timestamp, ssrc, ..Header::default() };
            quality.handle_packet(Instant::from_nanos(nanos), &header, 8000);
            let figures = quality.figures();
            prop_assert!(figures.lost <= figures.expected);
            prop_assert!((0.0..=1.0).contains(&figures.loss()));
            let score = opinion_score(&figures, mouth_to_ear(None, figures.jitter), Impairment::G711);
            prop_assert!((1.0..=4.5).contains(&score));
        }
    }
}
