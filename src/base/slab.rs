//! A table with a bound whose keys carry a generation, so that a late message never reaches a slot's next tenant.

use serde::{Deserialize, Serialize};

/// A place in a [`Slab`] and which tenant of it is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Slot {
    /// The place.
    pub index: u32,
    /// Counts the tenants of that place.
    pub generation: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// A bounded table. Places are reused oldest-freed first, which keeps generations far apart in time.
#[derive(Debug, Serialize, Deserialize)]
pub struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: std::collections::VecDeque<u32>,
    bound: usize,
    len: usize,
}

impl<T> Slab<T> {
    /// A table for at most `bound` values; memory is taken as it fills.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self { entries: Vec::new(), free: std::collections::VecDeque::new(), bound, len: 0 }
    }

    /// Stores a value.
    ///
    /// # Errors
    /// Gives the value back when the table is full.
    pub fn insert(&mut self, value: T) -> Result<Slot, T> {
        if self.len >= self.bound {
            return Err(value);
        }
        self.len += 1;
        if let Some(index) = self.free.pop_front() {
            let entry = &mut self.entries[index as usize];
            entry.value = Some(value);
            return Ok(Slot { index, generation: entry.generation });
        }
        let index = u32::try_from(self.entries.len()).expect("the bound fits u32");
        self.entries.push(Entry { generation: 0, value: Some(value) });
        Ok(Slot { index, generation: 0 })
    }

    /// Touches the memory of the first `count` places now, so that values stored later wait for none.
    pub fn prepare(&mut self, count: usize) {
        let (len, count) = (self.entries.len(), count.min(self.bound));
        self.entries.resize_with(len.max(count), || Entry { generation: 0, value: None });
        self.entries.truncate(len);
    }

    /// The key that the next [`insert`](Self::insert) will return, for values that must know their own.
    #[must_use]
    pub fn next_slot(&self) -> Option<Slot> {
        if self.len >= self.bound {
            return None;
        }
        Some(match self.free.front() {
            Some(&index) => Slot { index, generation: self.entries[index as usize].generation },
            None => Slot { index: u32::try_from(self.entries.len()).ok()?, generation: 0 },
        })
    }

    /// The value, while it is the tenant meant.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<&T> {
        let entry = self.entries.get(slot.index as usize)?;
        if entry.generation == slot.generation { entry.value.as_ref() } else { None }
    }

    /// The value, while it is the tenant meant.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        let entry = self.entries.get_mut(slot.index as usize)?;
        if entry.generation == slot.generation { entry.value.as_mut() } else { None }
    }

    /// Takes the value out and ends the tenancy.
    pub fn remove(&mut self, slot: Slot) -> Option<T> {
        let entry = self.entries.get_mut(slot.index as usize)?;
        if entry.generation != slot.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push_back(slot.index);
        self.len -= 1;
        Some(value)
    }

    /// All tenants, by place.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| {
            let slot = Slot { index: index as u32, generation: entry.generation };
            entry.value.as_ref().map(|value| (slot, value))
        })
    }

    /// Tenants now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Another bound from now on; tenants beyond it stay until they leave.
    pub fn set_bound(&mut self, bound: usize) {
        self.bound = bound;
    }

    /// The most tenants it takes.
    #[must_use]
    pub fn bound(&self) -> usize {
        self.bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_key_misses_the_next_tenant() {
        let mut slab = Slab::new(1);
        let first = slab.insert('a').unwrap();
        assert_eq!(slab.insert('b'), Err('b'));
        assert_eq!(slab.remove(first), Some('a'));
        assert_eq!(slab.next_slot(), Some(Slot { index: 0, generation: 1 }));
        let second = slab.insert('b').unwrap();
        assert_eq!((slab.get(first), slab.get(second)), (None, Some(&'b')));
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn prepared_places_are_memory_and_nothing_else() {
        let mut slab = Slab::new(3);
        let first = slab.insert('a').unwrap();
        slab.prepare(1000);
        assert!(slab.entries.capacity() >= 3 && slab.entries.len() == 1);
        assert_eq!((slab.get(first), slab.next_slot()), (Some(&'a'), Some(Slot { index: 1, generation: 0 })));
        assert_eq!(slab.insert('b'), Ok(Slot { index: 1, generation: 0 }));
    }
}
