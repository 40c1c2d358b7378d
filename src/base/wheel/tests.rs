//! The wheel beside an ordered map, its exactness, and how little it keeps of what was cancelled.

use super::bucket::CHUNK;
use super::*;
use crate::base::time::Duration;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The specification: an ordered map.
#[derive(Default)]
struct Map {
    order: BTreeMap<(Instant, u32), TimerKey>,
}

#[derive(Clone, Debug)]
enum Step {
    Schedule {
        nanos: u64,
    },
    Cancel {
        nth: usize,
    },
    Pass {
        nanos: u64,
    },
    Wait,
    /// Into another wheel, whose keys mean the same.
    Freeze,
}

/// Distances of every magnitude, since each belongs to another level.
fn distance() -> impl Strategy<Value = u64> {
    (0u32..64, any::<u64>()).prop_map(|(bits, random)| random & ((1u64 << bits) | ((1u64 << bits) - 1)))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => distance().prop_map(|nanos| Step::Schedule { nanos }),
        2 => (0u64..80_000_000_000).prop_map(|nanos| Step::Schedule { nanos }),
        2 => any::<usize>().prop_map(|nth| Step::Cancel { nth }),
        1 => distance().prop_map(|nanos| Step::Pass { nanos }),
        2 => (0u64..5_000_000_000).prop_map(|nanos| Step::Pass { nanos }),
        2 => Just(Step::Wait),
        1 => Just(Step::Freeze),
    ]
}

fn drain(wheel: &mut Wheel<(Instant, u32)>, map: &mut Map, now: Instant) -> Result<(), TestCaseError> {
    while let Some((at, id)) = wheel.pop_expired(now) {
        prop_assert!(at <= now, "early");
        let earliest = map.order.first_key_value().map(|(&(at, _), _)| at);
        prop_assert_eq!(earliest, Some(at), "out of order");
        prop_assert!(map.order.remove(&(at, id)).is_some(), "fired twice or after its cancellation");
    }
    let earliest = map.order.first_key_value().map(|(&(at, _), _)| at);
    prop_assert!(earliest.is_none_or(|at| at > now), "one is late");
    prop_assert_eq!(wheel.next_deadline().is_some(), earliest.is_some());
    if let (Some(deadline), Some(earliest)) = (wheel.next_deadline(), earliest) {
        prop_assert!(deadline <= earliest && deadline > now);
    }
    prop_assert_eq!(wheel.len(), map.order.len());
    Ok(())
}

proptest! {
    #[test]
    fn the_wheel_does_what_an_ordered_map_does(start: u64, steps in prop::collection::vec(step(), 1..200)) {
        let mut now = Instant::from_nanos(start >> 1);
        let (mut wheel, mut map) = (Wheel::new(now, 100), Map::default());
        for (id, step) in (0u32..).zip(steps) {
            match step {
                Step::Schedule { nanos } => {
                    let at = now + Duration::from_nanos(nanos);
                    match wheel.schedule(at, (at, id)) {
                        Ok(key) => drop(map.order.insert((at, id), key)),
                        Err(value) => prop_assert_eq!((value, map.order.len()), ((at, id), 100)),
                    }
                }
                Step::Cancel { nth } if !map.order.is_empty() => {
                    let (&(at, id), &key) = map.order.iter().nth(nth % map.order.len()).unwrap();
                    map.order.remove(&(at, id));
                    prop_assert_eq!(wheel.cancel(key), Some((at, id)));
                    prop_assert_eq!(wheel.cancel(key), None);
                }
                Step::Cancel { .. } => {}
                Step::Pass { nanos } => now += Duration::from_nanos(nanos),
                Step::Freeze => {
                    let frozen = rmp_serde::to_vec_named(&wheel).unwrap();
                    wheel = rmp_serde::from_slice(&frozen).unwrap();
                }
                Step::Wait => now = wheel.next_deadline().unwrap_or(now).max(now),
            }
            if !matches!(step, Step::Schedule { .. } | Step::Cancel { .. }) {
                drain(&mut wheel, &mut map, now)?;
            }
        }
        drain(&mut wheel, &mut map, Instant::MAX)?;
        prop_assert!(wheel.is_empty() && wheel.next_deadline().is_none());
    }
}

#[test]
fn a_timer_fires_at_its_nanosecond() {
    let mut wheel = Wheel::new(Instant::ZERO, 2);
    let at = Instant::from_nanos(123_456_789);
    wheel.schedule(at, 'a').unwrap();
    assert_eq!(wheel.pop_expired(Instant::from_nanos(123_456_788)), None);
    assert_eq!(wheel.next_deadline(), Some(at));
    assert_eq!(wheel.pop_expired(at), Some('a'));
}

#[test]
fn few_wakes_lead_to_a_far_timer() {
    let mut wheel = Wheel::new(Instant::from_millis(77), 1);
    wheel.schedule(Instant::from_millis(32_077), ()).unwrap();
    let mut wakes = 0;
    while let Some(deadline) = wheel.next_deadline() {
        wakes += 1;
        wheel.pop_expired(deadline);
    }
    assert!(wakes <= 5, "{wakes}");
}

#[test]
fn cancelling_within_one_tick_does_not_grow_the_heap() {
    let mut wheel = Wheel::new(Instant::ZERO, 4);
    for _ in 0..10_000 {
        let key = wheel.schedule(Instant::ZERO, ()).unwrap();
        assert_eq!(wheel.cancel(key), Some(()));
    }
    assert!(wheel.due.len() <= STALE_MAX + 1);
    assert_eq!((wheel.next_deadline(), wheel.pop_expired(Instant::MAX)), (None, None));
}

/// As when every call is answered: what is cancelled long before its time must not stay until then.
#[test]
fn cancelled_timers_leave_and_the_others_fire() {
    const FLIGHT: usize = 1_000;
    let (mut wheel, mut map) = (Wheel::new(Instant::ZERO, 2 * FLIGHT), Map::default());
    let mut recent = std::collections::VecDeque::new();
    for id in 0..50_000 {
        let at = Instant::from_millis(32_000 + u64::from(id) * 7 % 501);
        let key = wheel.schedule(at, (at, id)).unwrap();
        if id % 100 == 0 {
            map.order.insert((at, id), key);
            continue;
        }
        recent.push_back((key, (at, id)));
        if recent.len() == FLIGHT {
            let (key, value) = recent.pop_front().unwrap();
            assert_eq!(wheel.cancel(key), Some(value));
        }
    }
    let entries = wheel.chunks.next.len() * CHUNK;
    assert!(entries < 6 * 2 * FLIGHT, "{entries} entries for {} timers", wheel.len());
    recent.into_iter().for_each(|(key, value)| assert_eq!(wheel.cancel(key), Some(value)));
    drain(&mut wheel, &mut map, Instant::from_millis(32_100)).unwrap();
    drain(&mut wheel, &mut map, Instant::from_millis(33_000)).unwrap();
    assert!(wheel.is_empty() && wheel.buckets.iter().all(|bucket| bucket.len == 0));
}

#[test]
fn an_optional_key_is_no_larger_than_a_key() {
    assert_eq!((size_of::<Option<TimerKey>>(), size_of::<Node<[u32; 3]>>()), (8, 32));
}
