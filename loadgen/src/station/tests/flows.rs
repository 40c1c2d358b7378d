//! Calls that are cancelled, refused, heard early and negotiated again: over clean networks and over bad ones.

use super::*;
use crate::core::audio::Frames;
use crate::core::flow::Reinvite;
use crate::sound::g711::Codec;

/// Loses a tenth of the signalling and doubles some; media passes.
fn bad(seed: u64) -> impl FnMut(&Net<'_>, bool, &[u8]) -> Fate {
    let mut random = Random::from_u64(seed);
    move |_, media, _| match random.below(100) {
        _ if media => vec![Duration::from_millis(3)],
        0..10 => vec![],
        10..15 => vec![Duration::from_millis(2), Duration::from_millis(9)],
        delay => vec![Duration::from_millis(delay / 4)],
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn fixed(length: Duration) -> Distribution {
    Distribution::Fixed(length)
}

#[test]
fn a_share_is_cancelled_and_that_is_no_failure() {
    let flow = Flow { cancel: Some((30.0, Duration::from_millis(700))), ..Flow::default() };
    let plan = Plan { flow, ring: seconds(1), ..plan(50.0, 10) };
    let net = Net::new(plan.clone(), 21, steady).run();
    let (cancelled, completed, failed) = counts!(net, calls_cancelled, calls_completed, calls_failed);
    assert_eq!((cancelled + completed, failed), (500, 0));
    assert!((110..190).contains(&cancelled), "{cancelled}");
    assert_eq!(counts!(net, uas_cancelled, uas_completed, uas_failed, strays), (cancelled, completed, 0, 0));
    let ratios = net.station.stats().ratios().unwrap();
    assert!((ratios.ner - 100.0).abs() < 1e-9 && (ratios.asr - completed as f64 / 5.0).abs() < 1e-9);
    assert_eq!(net.station.stats().latencies.pdd.len(), 500);

    let net = Net::new(Plan { rtp: false, ..plan }, 22, bad(22)).run();
    let (cancelled, late, failed) = counts!(net, calls_cancelled, calls_cancel_late, calls_failed);
    assert_eq!((failed, counts!(net, uas_failed)), (0, 0));
    assert!(cancelled > 60 && late > 0, "{cancelled} {late}: some CANCELs are lost long enough for the 200 to win");
}

#[test]
fn a_share_is_refused_as_asked_and_still_counts_in_the_ratios() {
    let flow = Flow { answers: vec![(486, 10.0), (480, 10.0), (503, 5.0)], ..Flow::default() };
    for (seed, ring) in [(23, Duration::ZERO), (24, seconds(1))] {
        let plan = Plan { flow: flow.clone(), ring, rtp: seed == 23, ..plan(50.0, 10) };
        let net = if seed == 23 { Net::new(plan, seed, steady).run() } else { Net::new(plan, seed, bad(seed)).run() };
        let (refused, declined, completed) = counts!(net, calls_refused_as_asked, calls_declined, calls_completed);
        assert_eq!((refused + completed, counts!(net, calls_failed, uas_failed)), (500, (0, 0)));
        assert!((90..160).contains(&refused) && declined < refused, "{refused} {declined}");
        assert_eq!(counts!(net, uas_declined), refused);
        let ratios = net.station.stats().ratios().unwrap();
        assert!((ratios.ner - (completed + declined) as f64 / 5.0).abs() < 1e-9 && ratios.asr < ratios.ner);
        assert_eq!(counts!(net, retransmitted_refusal) > 0, seed == 24);
    }
}

#[test]
fn early_media_is_heard_and_its_loss_counted() {
    let flow = Flow { early_media: 40.0, ..Flow::default() };
    let plan = Plan { flow, ring: seconds(2), ..plan(20.0, 5) };
    let net = Net::new(plan.clone(), 25, steady).run();
    let (early, packets, silent) = counts!(net, calls_early, rtp_early, calls_early_silent);
    assert!((25..55).contains(&early), "{early}");
    assert_eq!((packets / early, silent), (99, 0), "two seconds, less the first period");
    assert_eq!(counts!(net, calls_completed, rtp_lost, rtp_silent, rtp_strays), (100, 0, 0, 0));

    let deaf = |net: &Net<'_>, media: bool, _: &[u8]| {
        let ringing = media && net.station.stats().counters.calls_established == 0;
        if ringing { vec![] } else { vec![Duration::from_millis(2)] }
    };
    let flow = Flow { early_media: 100.0, ..Flow::default() };
    let net = Net::new(Plan { flow, ..plan }, 26, deaf).run();
    let (early, silent, lost) = counts!(net, calls_early, calls_early_silent, rtp_lost);
    assert!(early == 100 && silent >= 1 && lost >= 190 * silent, "{early} {silent} {lost}");
}

fn renegotiated(by: Role, on_hold: Option<Duration>, hangup: Role) -> Plan {
    let reinvite = Some(Reinvite { percent: 50.0, after: seconds(1), on_hold, by });
    Plan { flow: Flow { reinvite, ..Flow::default() }, hangup, hold: fixed(seconds(4)), ..plan(20.0, 5) }
}

#[test]
fn media_goes_on_over_a_reinvite_of_either_side() {
    for (seed, by, hangup) in [(27, Role::Uac, Role::Uac), (28, Role::Uas, Role::Uac), (29, Role::Uas, Role::Uas)] {
        let net = Net::new(renegotiated(by, None, hangup), seed, steady).run();
        let (sent, completed) = counts!(net, reinvites_sent, reinvites_completed);
        assert!(sent == completed && (30..70).contains(&sent), "{by:?}: {sent} {completed}");
        assert_eq!(counts!(net, calls_completed, uas_completed, rtp_lost, rtp_silent, strays), (100, 100, 0, 0, 0));
        assert!(counts!(net, rtp_sent_uac) >= 100 * 194, "nobody stopped");
    }
}

#[test]
fn a_held_peer_is_silent_and_comes_back() {
    for (seed, by) in [(30, Role::Uac), (31, Role::Uas)] {
        let plan = renegotiated(by, Some(seconds(1)), Role::Uac);
        let net = Net::new(plan, seed, steady).run();
        let (sent, completed, held) = counts!(net, reinvites_sent, reinvites_completed, rtp_while_held);
        assert_eq!((sent, held), (completed, 0));
        assert_eq!(counts!(net, calls_completed, rtp_lost, rtp_silent, strays), (100, 0, 0, 0));
        let (uac, uas) = counts!(net, rtp_sent_uac, rtp_sent_uas);
        let paused = uac.abs_diff(uas);
        assert!((sent / 2 * 45..=sent / 2 * 53 + 100).contains(&paused), "{by:?}: {paused} for {sent}");
    }
}

#[test]
fn a_direction_that_stays_dead_after_a_hold_is_found() {
    let mut plan = renegotiated(Role::Uac, Some(seconds(1)), Role::Uac);
    plan.load.count = Some(1);
    plan.flow.reinvite = plan.flow.reinvite.map(|reinvite| Reinvite { percent: 100.0, ..reinvite });
    // From the answering side's ports nothing comes once both re-INVITEs are answered.
    let dead = |net: &Net<'_>, media: bool, _: &[u8]| {
        let resumed = media && net.station.stats().counters.reinvites_completed == 2;
        if resumed { vec![] } else { vec![Duration::from_millis(2)] }
    };
    let net = Net::new(plan, 32, dead).run();
    let (silent, lost) = counts!(net, rtp_silent, rtp_lost);
    assert!(silent == 1 && lost > 150, "{silent} {lost}");
}

#[test]
fn reinvites_survive_loss_and_refusal() {
    for (seed, by, hangup) in [(33, Role::Uac, Role::Uac), (34, Role::Uas, Role::Uas)] {
        let plan = Plan { rtp: false, hold: fixed(seconds(60)), ..renegotiated(by, Some(seconds(5)), hangup) };
        let net = Net::new(plan, seed, bad(seed)).run();
        let (sent, completed, failed) = counts!(net, reinvites_sent, reinvites_completed, reinvites_failed);
        assert!(sent == completed && failed == 0 && sent > 60, "{by:?}: {sent} {completed} {failed}");
        assert_eq!(counts!(net, calls_completed, calls_failed, uas_failed), (100, 0, 0));
    }
}

#[test]
fn audio_of_either_law_arrives_and_is_scored() {
    for (seed, codec) in [(35, Codec::Pcmu), (36, Codec::Pcma)] {
        let frames = Frames::tone(codec).map(Arc::new);
        let plan = Plan { flow: Flow { codec, frames, ..Flow::default() }, ..plan(20.0, 5) };
        let mut count = 0;
        let lossy = move |_: &Net<'_>, media: bool, _: &[u8]| {
            count += u64::from(media);
            if media && count % 100 == 0 { vec![] } else { vec![Duration::from_millis(2)] }
        };
        let net = Net::new(plan, seed, lossy).run();
        assert_eq!(counts!(net, calls_completed, rtp_corrupted, rtp_silent), (100, 0, 0));
        let lost = counts!(net, rtp_lost);
        assert!((60..110).contains(&lost), "{lost}: all but those at the very end of a stream are missed");
        let mos = net.station.stats().scores.summary().unwrap();
        assert!(mos.min < 4.4 && mos.mean < 4.42 && mos.mean > 4.2, "{mos:?}");
    }
}

#[test]
fn calls_that_only_carry_media_end_it_together_before_the_first_hangs_up() {
    let carrying = Plan {
        load: Load { count: Some(5), ..plan(10.0, 1).load },
        hold: Distribution::Fixed(Duration::from_secs(3)),
        media_end: Some(Duration::from_secs(2)),
        settle: Duration::from_secs(1),
        ..plan(10.0, 1)
    };
    let (last_packet, first_bye) = (std::cell::Cell::new(Instant::ZERO), std::cell::Cell::new(None));
    let net = Net::new(carrying, 31, |net, media, bytes| {
        if media {
            last_packet.set(net.now);
        } else if bytes.starts_with(b"BYE ") && first_bye.get().is_none() {
            first_bye.set(Some(net.now));
        }
        vec![Duration::from_millis(2)]
    })
    .run();
    assert!(first_bye.get().is_some_and(|bye| bye.since(last_packet.get()) > Duration::from_millis(500)));
    assert_eq!(counts!(net, calls_attempted, calls_completed, rtp_lost), (5, 5, 0));
    let latencies = &net.station.stats().latencies;
    let (measured, sent) = (latencies.rtp_delay_uas.len(), counts!(net, rtp_sent_uac));
    assert!((220..=230).contains(&measured) && sent > 2 * 200, "{measured} of {sent}: only what came after it settled");
    assert_eq!(latencies.srd.len(), 5, "set-up is no media");
}
