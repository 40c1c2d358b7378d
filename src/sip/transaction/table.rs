//! A bounded table that is found by bytes a peer chose: keyed hashing, exact comparison, keys with generations.

use crate::base::{Keyed, Slab, Slot};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names one client transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClientKey(pub(super) Slot);

/// Names one server transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServerKey(pub(super) Slot);

#[derive(Debug, Serialize, Deserialize)]
struct Row<T> {
    hash: u64,
    #[serde(with = "serde_bytes")]
    key: Box<[u8]>,
    value: T,
}

#[derive(Debug)]
pub(super) struct Table<T> {
    rows: Slab<Row<T>>,
    index: HashTable<(u64, Slot)>,
    hasher: Keyed,
}

impl<T> Table<T> {
    pub(super) fn new(bound: usize, hasher: Keyed) -> Self {
        Self { rows: Slab::new(bound), index: HashTable::new(), hasher }
    }

    pub(super) fn find(&self, key: &[u8]) -> Option<Slot> {
        let hash = self.hasher.hash_one(key);
        let same =
            |&(other, slot): &(u64, Slot)| other == hash && self.rows.get(slot).is_some_and(|row| *row.key == *key);
        self.index.find(hash, same).map(|&(_, slot)| slot)
    }

    /// `None` when the table is full or the key is in use.
    pub(super) fn insert(&mut self, key: &[u8], value: T) -> Option<Slot> {
        let hash = self.hasher.hash_one(key);
        let rows = &self.rows;
        let same = |&(other, slot): &(u64, Slot)| other == hash && rows.get(slot).is_some_and(|row| *row.key == *key);
        let Entry::Vacant(vacant) = self.index.entry(hash, same, |&(hash, _)| hash) else { return None };
        let slot = self.rows.insert(Row { hash, key: key.into(), value }).ok()?;
        vacant.insert((hash, slot));
        Some(slot)
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<T> {
        let row = self.rows.remove(slot)?;
        if let Ok(entry) = self.index.find_entry(row.hash, |&(_, other)| other == slot) {
            entry.remove();
        }
        Some(row.value)
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&T> {
        self.rows.get(slot).map(|row| &row.value)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.rows.get_mut(slot).map(|row| &mut row.value)
    }

    pub(super) fn key(&self, slot: Slot) -> Option<&[u8]> {
        self.rows.get(slot).map(|row| &*row.key)
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = (Slot, &T)> {
        self.rows.iter().map(|(slot, row)| (slot, &row.value))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.rows.iter().map(|(_, row)| &row.value)
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn bound(&self) -> usize {
        self.rows.bound()
    }

    pub(super) fn set_bound(&mut self, bound: usize) {
        self.rows.set_bound(bound);
    }
}

/// The index is made again from the rows.
#[derive(Serialize, Deserialize)]
struct Frozen<R> {
    rows: R,
    hasher: Keyed,
}

impl<T: Serialize> Serialize for Table<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Frozen { rows: &self.rows, hasher: self.hasher.clone() }.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Frozen { rows, hasher } = Frozen::<Slab<Row<T>>>::deserialize(deserializer)?;
        let mut index = HashTable::with_capacity(rows.len());
        for (slot, row) in rows.iter() {
            if hasher.hash_one(&*row.key) != row.hash {
                return Err(serde::de::Error::custom("a transaction's key is not the one that was hashed"));
            }
            index.insert_unique(row.hash, (row.hash, slot), |&(hash, _)| hash);
        }
        Ok(Self { rows, index, hasher })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_there_once_and_the_table_has_a_bound() {
        let mut table = Table::new(2, Keyed::new([1, 2, 3, 4]));
        let (one, two) = (table.insert(b"one", 1).unwrap(), table.insert(b"two", 2).unwrap());
        assert_eq!((table.insert(b"one", 3), table.insert(b"three", 3)), (None, None));
        assert_eq!((table.find(b"one"), table.find(b"two"), table.find(b"three")), (Some(one), Some(two), None));
        assert_eq!((table.remove(one), table.remove(one), table.find(b"one")), (Some(1), None, None));
        assert_eq!((table.key(two), table.len(), table.index.len()), (Some(&b"two"[..]), 1, 1));
        assert!(table.insert(b"three", 3).is_some() && table.insert(b"four", 4).is_none());
    }
}
