//! Timers: schedule and cancel with 1,000,000 live ones, the wheel against `BinaryHeap`. Goal: `timer_vs_heap` <= 0.2.
//!
//! Both sides do the same work in the same order: each step schedules one timer 32 s ahead and cancels one live timer,
//! and a million steps take 32 s by the timers' clock, so that what was cancelled leaves the heap when its time comes.
//! `BinaryHeap` cannot remove, so its user marks what is cancelled: in a slab with generations (the cheapest way there
//! is), or in a hash set (the usual one). `cargo bench --bench wheel -- --ratio` runs both sides in turn.

use ahash::AHashSet;
use criterion::{BatchSize, Criterion, criterion_group};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Duration;
use strowger::base::{Instant, Random, Slab, Slot, TimerKey, Wheel};

const LIVE: usize = 1_000_000;
const SPAN: Duration = Duration::from_secs(32);
/// By the timers' clock.
const STEP: Duration = Duration::from_nanos(SPAN.as_nanos() as u64 / LIVE as u64);
/// Later than the bench lasts by the timers' clock.
const FAR: Duration = Duration::from_secs(1_000_000);
const RECENT: usize = 1_000;
/// Steps per measured batch.
const STEPS: usize = 1_000;

/// As large as what a timer of the transaction layer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Value(NonZeroU32, [u32; 2]);

impl Value {
    fn new(index: usize) -> Self {
        Self(NonZeroU32::new(index as u32 + 1).expect("not zero"), [0; 2])
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

trait Timers {
    type Key: Copy;
    fn schedule(&mut self, at: Instant, value: Value) -> Self::Key;
    fn cancel(&mut self, key: Self::Key) -> bool;
    fn pop_expired(&mut self, now: Instant) -> Option<Value>;
}

impl Timers for Wheel<Value> {
    type Key = TimerKey;
    fn schedule(&mut self, at: Instant, value: Value) -> TimerKey {
        Wheel::schedule(self, at, value).expect("room")
    }
    fn cancel(&mut self, key: TimerKey) -> bool {
        Wheel::cancel(self, key).is_some()
    }
    fn pop_expired(&mut self, now: Instant) -> Option<Value> {
        Wheel::pop_expired(self, now)
    }
}

struct SlabHeap {
    heap: BinaryHeap<Reverse<(Instant, Slot)>>,
    values: Slab<Value>,
}

impl Timers for SlabHeap {
    type Key = Slot;
    fn schedule(&mut self, at: Instant, value: Value) -> Slot {
        let slot = self.values.insert(value).expect("room");
        self.heap.push(Reverse((at, slot)));
        slot
    }
    fn cancel(&mut self, key: Slot) -> bool {
        self.values.remove(key).is_some()
    }
    fn pop_expired(&mut self, now: Instant) -> Option<Value> {
        while self.heap.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Reverse((_, slot)) = self.heap.pop()?;
            if let Some(value) = self.values.remove(slot) {
                return Some(value);
            }
        }
        None
    }
}

struct SetHeap {
    heap: BinaryHeap<Reverse<(Instant, u64, Value)>>,
    cancelled: AHashSet<u64>,
    next: u64,
}

impl Timers for SetHeap {
    type Key = u64;
    fn schedule(&mut self, at: Instant, value: Value) -> u64 {
        self.next += 1;
        self.heap.push(Reverse((at, self.next, value)));
        self.next
    }
    fn cancel(&mut self, key: u64) -> bool {
        self.cancelled.insert(key)
    }
    fn pop_expired(&mut self, now: Instant) -> Option<Value> {
        while self.heap.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Reverse((_, key, value)) = self.heap.pop()?;
            if !self.cancelled.remove(&key) {
                return Some(value);
            }
        }
        None
    }
}

/// Which live timer is cancelled.
#[derive(Clone, Copy)]
enum Pick {
    /// One made 1,000 steps ago, as when a response comes; the million are far away (registrations).
    Recent,
    /// Any of the million; what fires before it is cancelled is scheduled again.
    Random,
}

struct Load<T: Timers> {
    timers: T,
    keys: Vec<T::Key>,
    now: Instant,
    random: Random,
    pick: Pick,
    at: usize,
}

impl<T: Timers> Load<T> {
    fn new(timers: T, pick: Pick) -> Self {
        let mut load = Self { timers, keys: Vec::new(), now: Instant::ZERO, random: Random::from_u64(1), pick, at: 0 };
        for index in 0..LIVE {
            let nanos = load.random.below(SPAN.as_nanos() as u64);
            let at =
                Instant::ZERO + Duration::from_nanos(nanos) + if matches!(pick, Pick::Recent) { FAR } else { SPAN };
            let key = load.timers.schedule(at, Value::new(index));
            if index >= LIVE - RECENT || matches!(pick, Pick::Random) {
                load.keys.push(key);
            }
        }
        // Until the cancelled ones that wait in a heap are as many as they will be.
        for _ in 0..2 * LIVE {
            load.step();
        }
        load
    }

    fn step(&mut self) {
        self.now += STEP;
        let index = match self.pick {
            Pick::Random => self.random.below(LIVE as u64) as usize,
            Pick::Recent => (self.at + 1) % RECENT,
        };
        self.at = index;
        self.timers.cancel(self.keys[index]);
        let at = self.now + SPAN;
        self.keys[index] = self.timers.schedule(at, Value::new(index));
        while let Some(value) = self.timers.pop_expired(self.now) {
            self.keys[black_box(value).index()] = self.timers.schedule(at, value);
        }
    }
}

fn timer_vs_heap(criterion: &mut Criterion) {
    for (name, pick) in [("recent", Pick::Recent), ("random", Pick::Random)] {
        let mut group = criterion.benchmark_group(format!("timer_vs_heap/{name}"));
        group.sample_size(20).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
        group.throughput(criterion::Throughput::Elements(STEPS as u64));
        macro_rules! side {
            ($name:literal, $timers:expr) => {
                let mut load = Load::new($timers, pick);
                group.bench_function($name, |bencher| {
                    bencher.iter_batched(|| (), |()| (0..STEPS).for_each(|_| load.step()), BatchSize::PerIteration);
                });
                drop(load);
            };
        }
        side!("wheel", Wheel::new(Instant::ZERO, 2 * LIVE));
        side!("heap_with_slab", SlabHeap { heap: BinaryHeap::new(), values: Slab::new(2 * LIVE) });
        side!("heap_with_set", SetHeap { heap: BinaryHeap::new(), cancelled: AHashSet::new(), next: 0 });
        group.finish();
    }
}

/// The two sides in turn, so that a noisy machine is noisy for both: `ratio timer_vs_heap MEDIAN MIN MAX`, the wheel
/// against the cheaper of the heaps.
fn ratio() {
    const ROUNDS: usize = 11;
    for (name, pick) in [("recent", Pick::Recent), ("random", Pick::Random)] {
        let mut wheel = Load::new(Wheel::new(Instant::ZERO, 2 * LIVE), pick);
        let mut heap = Load::new(SlabHeap { heap: BinaryHeap::new(), values: Slab::new(2 * LIVE) }, pick);
        let mut ratios: Vec<f64> = Vec::new();
        for round in 0..ROUNDS {
            let (mut one, mut two) = (Duration::ZERO, Duration::ZERO);
            for side in [0, 1, 1, 0] {
                let start = std::time::Instant::now();
                match side {
                    0 => (0..50 * STEPS).for_each(|_| wheel.step()),
                    _ => (0..50 * STEPS).for_each(|_| heap.step()),
                }
                *(if side == 0 { &mut one } else { &mut two }) += start.elapsed();
            }
            if round > 0 {
                ratios.push(one.as_secs_f64() / two.as_secs_f64());
            }
            println!("{name} round {round}: wheel {:?}, heap {:?} a step", one / 100_000, two / 100_000);
        }
        ratios.sort_by(f64::total_cmp);
        println!(
            "ratio timer_vs_heap_{name} {:.3} {:.3} {:.3}",
            ratios[ratios.len() / 2],
            ratios[0],
            ratios[ratios.len() - 1]
        );
    }
}

criterion_group!(benches, timer_vs_heap);

fn main() {
    if std::env::args().any(|argument| argument == "--ratio") {
        return ratio();
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
