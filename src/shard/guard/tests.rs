//! The laws of the guard, over histories that proptest makes up.

use super::*;
use proptest::prelude::*;

fn rules() -> config::Guard {
    let (forget_after, block_time) = (Duration::from_secs(600), Duration::from_secs(600));
    config::Guard { enabled: true, threshold: 100, forget_after, block_time, allow: Vec::new() }
}

fn guard() -> Guard {
    Guard::new(64, Random::from_u64(5))
}

fn source(number: u8) -> Source {
    Source::of([203, 0, 113, number].into())
}

/// Judges, and does what follows at the source's home.
fn see(guard: &mut Guard, now: Instant, number: u8, reason: Suspicion, proven: bool) -> Option<Measure> {
    let judgement = guard.judge(now, &rules(), source(number), reason, proven);
    if judgement.standing.is_some() {
        guard.stand(now, source(number), judgement.standing);
    }
    guard.measure(now, || source(number))
}

#[test]
fn ten_wrong_passwords_from_a_proven_address_are_one_too_many() {
    let mut guard = guard();
    let at = |number: u64| Instant::from_millis(1_000 + 200 * number);
    for number in 0..9 {
        assert_eq!(see(&mut guard, at(number), 1, Suspicion::WrongDigest, true), None, "{number}");
    }
    assert_eq!(see(&mut guard, at(9), 1, Suspicion::WrongDigest, true), Some(Measure::Blocked));
    let ends = at(9) + rules().block_time;
    assert_eq!(guard.measure(Instant::from_nanos(ends.as_nanos() - 1), || source(1)), Some(Measure::Blocked));
    assert_eq!(guard.measure(ends, || source(1)), None);
    assert_eq!(see(&mut guard, ends, 1, Suspicion::WrongDigest, true), None, "its points have worn off");
}

#[test]
fn a_slow_one_is_never_full() {
    let mut guard = guard();
    // Ten points a minute wear off.
    for minute in 0..600 {
        let now = Instant::from_millis(61_000 * minute);
        assert_eq!(see(&mut guard, now, 1, Suspicion::WrongDigest, true), None, "{minute}");
    }
}

#[test]
fn a_mute_becomes_a_block_once_the_evidence_is_proven() {
    let mut guard = guard();
    let now = Instant::from_millis(1_000);
    assert_eq!(see(&mut guard, now, 1, Suspicion::ScannerAgent, false), None);
    assert_eq!(see(&mut guard, now, 1, Suspicion::ScannerAgent, false), Some(Measure::Muted));
    assert_eq!(see(&mut guard, now, 1, Suspicion::ScannerAgent, true), Some(Measure::Muted));
    assert_eq!(see(&mut guard, now, 1, Suspicion::ScannerAgent, true), Some(Measure::Blocked));
    assert!(guard.forgive(now, source(1)));
    guard.stand(now, source(1), None);
    assert_eq!(see(&mut guard, now, 1, Suspicion::ScannerAgent, true), None, "forgiven, it begins anew");
}

#[test]
fn letters_are_bounded_each_second() {
    let mut guard = guard();
    let sent = |guard: &mut Guard, now| (0..2 * TOLD_MAX).filter(|_| guard.may_tell(now)).count();
    assert_eq!(sent(&mut guard, Instant::from_millis(5)), usize::from(TOLD_MAX));
    assert_eq!(sent(&mut guard, Instant::from_millis(1_004)), 0);
    assert_eq!(sent(&mut guard, Instant::from_millis(1_005)), usize::from(TOLD_MAX));
}

#[test]
fn a_phone_that_registers_again_and_again_is_no_news() {
    let mut guard = guard();
    let lasts = Duration::from_secs(4 * 3_600);
    let news = (0..60).filter(|minute| {
        let now = Instant::from_millis(60_000 * minute);
        let told = guard.vouch(now, source(1), now + lasts);
        let last = Instant::from_nanos((now + lasts).as_nanos() - 1);
        assert!(guard.is_vouched(last, source(1)), "kept at least as long as asked");
        told
    });
    assert_eq!(news.count(), 10, "once in six minutes");
}

#[derive(Clone, Debug)]
struct Step {
    after_ms: u64,
    number: u8,
    reason: Suspicion,
    proven: bool,
    vouches: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0u64..30_000, 0u8..4, prop::sample::select(Suspicion::ALL), any::<bool>(), 0u8..30).prop_map(
        |(after_ms, number, reason, proven, vouches)| Step { after_ms, number, reason, proven, vouches: vouches == 0 },
    );
    prop::collection::vec(step, 1..300)
}

proptest! {
    /// Without proof nobody is blocked, whatever is said in their name; who is vouched for meets no measure at all; and
    /// nobody meets one with fewer points than the threshold, wearing off forgotten.
    #[test]
    fn measures_need_evidence(steps in steps()) {
        let (mut guard, mut now) = (guard(), Instant::from_millis(1));
        let mut points = [[0u32; 2]; 4];
        for step in steps {
            now += Duration::from_millis(step.after_ms);
            let at = usize::from(step.number);
            if step.vouches {
                guard.vouch(now, source(step.number), now + Duration::from_secs(60));
                if guard.forgive(now, source(step.number)) {
                    guard.stand(now, source(step.number), None);
                }
                points[at] = [0, 0];
                prop_assert_eq!(guard.measure(now, || source(step.number)), None);
                continue;
            }
            let vouched = guard.is_vouched(now, source(step.number));
            let measure = see(&mut guard, now, step.number, step.reason, step.proven);
            if vouched {
                prop_assert_eq!(measure, None);
                continue;
            }
            points[at][usize::from(step.proven)] += weight(step.reason);
            let [unproven, proven] = points[at].map(|sum| sum >= rules().threshold);
            prop_assert!(measure != Some(Measure::Muted) || unproven);
            prop_assert!(measure != Some(Measure::Blocked) || proven);
        }
    }

    /// A hundred points at one instant are enough, in whatever pieces, and frozen in between.
    #[test]
    fn enough_is_enough(reasons in prop::collection::vec(prop::sample::select(Suspicion::ALL), 100), cut in 0usize..100) {
        let (mut guard, now) = (guard(), Instant::from_millis(1));
        let mut points = 0;
        for (place, reason) in reasons.into_iter().enumerate() {
            if place == cut {
                let octets = rmp_serde::to_vec_named(&guard.freeze()).unwrap();
                guard = self::guard();
                guard.thaw(rmp_serde::from_slice(&octets).unwrap());
            }
            let measure = see(&mut guard, now, 1, reason, true);
            points += weight(reason);
            prop_assert_eq!(measure.is_some(), points >= rules().threshold);
        }
    }
}

#[test]
fn who_must_go_for_want_of_room_is_the_same_after_a_take_over() {
    let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
    let mut old = Guard::new(4, Random::from_u64(1));
    let vouch = |guard: &mut Guard, numbers: std::ops::Range<u8>| {
        for number in numbers {
            guard.vouch(at(1), source(number), at(100 + u64::from(number) * 7 % 40));
        }
    };
    vouch(&mut old, 0..6);
    let frozen = rmp_serde::to_vec_named(&old.freeze()).unwrap();
    let mut new = Guard::new(4, Random::from_u64(2));
    new.thaw(rmp_serde::from_slice(&frozen).unwrap());
    let known = |guard: &Guard| (0..60).map(|number| guard.is_vouched(at(1), source(number))).collect::<Vec<_>>();
    assert_eq!(known(&new).iter().filter(|vouched| **vouched).count(), 4);
    for begin in (6..60).step_by(6) {
        vouch(&mut old, begin..begin + 6);
        vouch(&mut new, begin..begin + 6);
        assert_eq!(known(&old), known(&new));
    }
}
