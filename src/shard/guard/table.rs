//! Sources and what is known of each, with a bound. When it is full, the one of a few picked at random that would be
//! forgotten first makes room: no list is kept in order, and nobody outside can tell who goes.

use crate::base::{Instant, Keyed, Random, Source};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

/// What is worth nothing any more from some time on.
pub(super) trait Lapses {
    /// That time.
    fn lapses(&self) -> Instant;
}

/// How many are compared when one must go.
const COMPARED: u64 = 8;
/// Rows looked at in one sweep.
const SWEEP_STEP: usize = 256;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Table<V> {
    index: HashMap<Source, usize, Keyed>,
    rows: Vec<(Source, V)>,
    bound: usize,
    sweep_at: usize,
}

/// A [`Table`] at rest.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Rows<V> {
    rows: Vec<(Source, V)>,
    sweep_at: usize,
}

impl<V> Default for Rows<V> {
    fn default() -> Self {
        Self { rows: Vec::new(), sweep_at: 0 }
    }
}

impl<V: Lapses> Table<V> {
    /// At most `bound` sources.
    pub fn new(bound: usize, random: &mut Random) -> Self {
        let index = HashMap::with_hasher(Keyed::from_random(random));
        Self { index, rows: Vec::new(), bound: bound.max(1), sweep_at: 0 }
    }

    /// What is known of a source and worth something still.
    pub fn get(&self, now: Instant, source: Source) -> Option<&V> {
        let &place = self.index.get(&source)?;
        self.rows.get(place).map(|(_, value)| value).filter(|value| value.lapses() > now)
    }

    /// Writes what is known of a source; true when another one, of worth still, had to go for it.
    pub fn put(&mut self, now: Instant, random: &mut Random, source: Source, value: V) -> bool {
        if let Some(row) = self.index.get(&source).and_then(|&place| self.rows.get_mut(place)) {
            row.1 = value;
            return false;
        }
        let mut lost = false;
        if self.rows.len() >= self.bound {
            let picked = (0..COMPARED).map(|_| random.below(self.rows.len() as u64) as usize);
            let first = picked.min_by_key(|&place| self.rows.get(place).map(|(_, value)| value.lapses()));
            lost = first.and_then(|place| self.take(place)).is_some_and(|(_, value)| value.lapses() > now);
        }
        self.index.insert(source, self.rows.len());
        self.rows.push((source, value));
        lost
    }

    /// Forgets a source.
    pub fn remove(&mut self, source: Source) -> Option<V> {
        let place = self.index.get(&source).copied()?;
        self.take(place).map(|(_, value)| value)
    }

    fn take(&mut self, place: usize) -> Option<(Source, V)> {
        if place >= self.rows.len() {
            return None;
        }
        let row = self.rows.swap_remove(place);
        self.index.remove(&row.0);
        if let Some((moved, _)) = self.rows.get(place) {
            self.index.insert(*moved, place);
        }
        Some(row)
    }

    /// Forgets some of those that are worth nothing any more. Call it about once a second.
    pub fn sweep(&mut self, now: Instant) {
        for _ in 0..SWEEP_STEP.min(self.rows.len()) {
            if self.sweep_at >= self.rows.len() {
                self.sweep_at = 0;
            }
            match self.rows.get(self.sweep_at) {
                Some((_, value)) if value.lapses() <= now => drop(self.take(self.sweep_at)),
                _ => self.sweep_at += 1,
            }
        }
    }

    /// A table at rest.
    pub fn freeze(&self) -> Rows<V>
    where
        V: Clone,
    {
        Rows { rows: self.rows.clone(), sweep_at: self.sweep_at }
    }

    /// All rows, some perhaps worth nothing any more.
    pub fn rows(&self) -> &[(Source, V)] {
        &self.rows
    }

    /// Goes on with the rows of another life, as far as there is room.
    pub fn thaw(&mut self, frozen: Rows<V>) {
        self.index.clear();
        (self.rows, self.sweep_at) = (frozen.rows, frozen.sweep_at);
        self.rows.truncate(self.bound);
        self.index.extend(self.rows.iter().enumerate().map(|(place, (source, _))| (*source, place)));
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Until(Instant);

    impl Lapses for Until {
        fn lapses(&self) -> Instant {
            self.0
        }
    }

    fn source(number: u8) -> Source {
        Source::of([192, 0, 2, number].into())
    }

    #[test]
    fn who_would_be_forgotten_first_makes_room() {
        let mut random = Random::from_u64(1);
        let mut table = Table::new(64, &mut random);
        table.put(Instant::ZERO, &mut random, source(200), Until(Instant::from_millis(1_000_000)));
        let lost = (0..=199u8).filter(|&number| {
            let until = Until(Instant::from_millis(1_000 + u64::from(number)));
            table.put(Instant::ZERO, &mut random, source(number), until)
        });
        assert_eq!(lost.count(), 200 - 63);
        assert_eq!(table.rows().len(), 64);
        assert!(table.get(Instant::ZERO, source(200)).is_some(), "the one of most worth is never the first of eight");
    }

    #[test]
    fn what_is_worth_nothing_leaves_and_is_not_missed() {
        let mut random = Random::from_u64(1);
        let mut table = Table::new(2, &mut random);
        let at = Instant::from_millis;
        assert!(!table.put(at(0), &mut random, source(1), Until(at(10))));
        assert!(!table.put(at(0), &mut random, source(2), Until(at(20))));
        assert!(table.get(at(10), source(1)).is_none());
        assert!(!table.put(at(30), &mut random, source(3), Until(at(40))), "both were worth nothing");
        table.sweep(at(40));
        table.sweep(at(40));
        assert!(table.is_empty());
    }

    proptest! {
        #[test]
        fn behaves_as_a_map(steps in prop::collection::vec((0u8..40, 1u64..100, 0u8..4), 0..400)) {
            let mut random = Random::from_u64(3);
            let mut table: Table<Until> = Table::new(64, &mut random);
            let mut model: BTreeMap<u8, Until> = BTreeMap::new();
            let mut now = Instant::ZERO;
            for (number, until, step) in steps {
                let value = Until(Instant::from_millis(until));
                match step {
                    0 => {
                        let removed = table.remove(source(number)).filter(|held| held.0 > now);
                        prop_assert_eq!(removed, model.remove(&number));
                    }
                    1 => {
                        now = now.max(Instant::from_millis(until / 4));
                        table.sweep(now);
                    }
                    _ => {
                        prop_assert!(!table.put(now, &mut random, source(number), value));
                        model.insert(number, value);
                    }
                }
                model.retain(|_, held| held.0 > now);
                for number in 0..40 {
                    prop_assert_eq!(table.get(now, source(number)), model.get(&number));
                }
            }
        }
    }
}
