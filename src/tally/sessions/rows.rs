//! The rows of one site: found by number, listed and counted by account, with a hash of all of them in any order.
//!
//! Owned by [`super::Replica`]. Bounded: a row too many is refused.

use super::message::Row;
use crate::base::Instant;
use crate::base::id::Token;
use ahash::RandomState;
use hashbrown::{HashMap, HashTable};
use std::sync::Arc;

/// No entry: the end of an account's list.
const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Entry {
    number: u64,
    started: Instant,
    call: Token,
    account: u32,
    previous: u32,
    next: u32,
}

#[derive(Clone, Debug)]
struct Account {
    name: Arc<str>,
    hash: u64,
    first: u32,
    count: u32,
}

/// A row as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowView<'a> {
    /// Its number: that of the operation that made it.
    pub number: u64,
    /// Whose limit it counts for.
    pub account: &'a Arc<str>,
    /// Names the call within the incarnation of its site.
    pub call: Token,
    /// On the clock of its own site.
    pub started: Instant,
}

impl RowView<'_> {
    /// A row of its own.
    #[must_use]
    pub fn to_row(&self) -> Row {
        Row { account: Arc::clone(self.account), call: self.call, started: self.started }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Rows {
    entries: Vec<Entry>,
    vacant: Vec<u32>,
    places: HashMap<u64, u32, RandomState>,
    accounts: Vec<Account>,
    accounts_vacant: Vec<u32>,
    names: HashTable<u32>,
    keyed: RandomState,
    hash: u64,
    rows_max: usize,
}

impl Rows {
    pub(super) fn new(rows_max: usize, keyed: RandomState) -> Self {
        Self {
            entries: Vec::new(),
            vacant: Vec::new(),
            places: HashMap::with_hasher(keyed.clone()),
            accounts: Vec::new(),
            accounts_vacant: Vec::new(),
            names: HashTable::new(),
            keyed,
            hash: 0,
            rows_max: rows_max.min(NONE as usize),
        }
    }

    /// No rows; the same bound and key.
    pub(super) fn empty(&self) -> Self {
        Self::new(self.rows_max, self.keyed.clone())
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) const fn rows_max(&self) -> usize {
        self.rows_max
    }

    /// Of all rows in any order; the same on every site.
    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }

    /// False: full, or the number is taken.
    pub(super) fn insert(&mut self, number: u64, row: Row) -> bool {
        if self.len() >= self.rows_max {
            return false;
        }
        let hashbrown::hash_map::Entry::Vacant(place) = self.places.entry(number) else { return false };
        let at = self.vacant.pop().unwrap_or(self.entries.len() as u32);
        place.insert(at);
        let account = self.account_of(row.account);
        let listed = &mut self.accounts[account as usize];
        let entry = Entry { number, started: row.started, call: row.call, account, previous: NONE, next: listed.first };
        self.hash = self.hash.wrapping_add(row_hash(&entry, listed.hash));
        listed.first = at;
        listed.count += 1;
        if let Some(next) = self.entries.get_mut(entry.next as usize) {
            next.previous = at;
        }
        match self.entries.get_mut(at as usize) {
            Some(vacant) => *vacant = entry,
            None => self.entries.push(entry),
        }
        true
    }

    /// False: there is no such row.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        let Some(at) = self.places.remove(&number) else { return false };
        self.vacant.push(at);
        let Entry { account, previous, next, .. } = self.entries[at as usize];
        if let Some(next) = self.entries.get_mut(next as usize) {
            next.previous = previous;
        }
        let listed = &mut self.accounts[account as usize];
        match self.entries.get_mut(previous as usize) {
            Some(previous) => previous.next = next,
            None => listed.first = next,
        }
        self.hash = self.hash.wrapping_sub(row_hash(&self.entries[at as usize], listed.hash));
        listed.count -= 1;
        if listed.count == 0 {
            let hash = self.keyed.hash_one(&*listed.name);
            if let Ok(name) = self.names.find_entry(hash, |one| *one == account) {
                name.remove();
            }
            listed.name = Arc::from("");
            self.accounts_vacant.push(account);
        }
        true
    }

    /// The account's number while it has rows.
    pub(super) fn account(&self, name: &str) -> Option<u32> {
        let hash = self.keyed.hash_one(name);
        self.names.find(hash, |one| *self.accounts[*one as usize].name == *name).copied()
    }

    fn account_of(&mut self, name: Arc<str>) -> u32 {
        if let Some(account) = self.account(&name) {
            return account;
        }
        let account = self.accounts_vacant.pop().unwrap_or(self.accounts.len() as u32);
        let new = Account { hash: name_hash(&name), name, first: NONE, count: 0 };
        match self.accounts.get_mut(account as usize) {
            Some(vacant) => *vacant = new,
            None => self.accounts.push(new),
        }
        let (accounts, keyed) = (&self.accounts, &self.keyed);
        let hash_of = |one: &u32| keyed.hash_one(&*accounts[*one as usize].name);
        self.names.insert_unique(hash_of(&account), account, hash_of);
        account
    }

    pub(super) fn count(&self, account: &str) -> u32 {
        self.account(account).map_or(0, |account| self.accounts[account as usize].count)
    }

    /// The rows of one account, the newest first.
    pub(super) fn of_account<'a>(&'a self, account: &str) -> impl Iterator<Item = RowView<'a>> {
        let first = self.account(account).map_or(NONE, |account| self.accounts[account as usize].first);
        let entry = |at: u32| self.entries.get(at as usize);
        std::iter::successors(entry(first), move |one| entry(one.next)).map(|one| self.view(one))
    }

    /// All rows, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = RowView<'_>> {
        self.places.values().map(|at| self.view(&self.entries[*at as usize]))
    }

    /// Each account that has rows, and how many.
    pub(super) fn accounts(&self) -> impl Iterator<Item = (&Arc<str>, u32)> {
        self.names.iter().map(|account| &self.accounts[*account as usize]).map(|one| (&one.name, one.count))
    }

    fn view<'a>(&'a self, entry: &Entry) -> RowView<'a> {
        RowView {
            number: entry.number,
            account: &self.accounts[entry.account as usize].name,
            call: entry.call,
            started: entry.started,
        }
    }
}

/// Both sites must get the same hash from the same rows, whatever their versions: this function is part of the protocol.
const fn mix(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word ^ 0x2d35_8dcc_aa6c_78a5) as u128 * 0x9e37_79b9_7f4a_7c15;
    (product as u64 ^ (product >> 64) as u64).rotate_left(23)
}

fn name_hash(name: &str) -> u64 {
    name.as_bytes().chunks(8).fold(name.len() as u64, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mix(hash, u64::from_le_bytes(word))
    })
}

fn row_hash(entry: &Entry, account: u64) -> u64 {
    let slot = u64::from(entry.call.slot.index) << 32 | u64::from(entry.call.slot.generation);
    let rest = u64::from(entry.call.shard.0) << 32 | u64::from(entry.call.salt);
    [entry.number, slot, rest, entry.started.as_nanos()].into_iter().fold(account, mix)
}

#[cfg(test)]
pub(super) fn hash_for_test(number: u64, row: &Row) -> u64 {
    let entry = Entry { number, started: row.started, call: row.call, account: 0, previous: NONE, next: NONE };
    row_hash(&entry, name_hash(&row.account))
}
