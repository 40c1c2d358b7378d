//! One site's rows as far as its operations are known: its state after a prefix of what it wrote.
//!
//! Only the site itself writes, so that of any two replicas of it one is a prefix of the other, and a merge is the larger
//! one by (incarnation, sequence): a join on a chain, therefore commutative, associative, idempotent and never going back.

use super::message::{Operation, Row};
use super::rows::{RowView, Rows};
use ahash::RandomState;

/// A copy of a site's rows, or the rows themselves at the site that writes them.
#[derive(Clone, Debug)]
pub struct Replica {
    incarnation: u32,
    sequence: u64,
    rows: Rows,
    missing: u32,
}

/// What became of some operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// So many were news.
    New(usize),
    /// There are operations before them that are not known here; nothing was changed.
    Gap,
    /// They are of an incarnation that is over.
    Fenced,
}

impl Replica {
    /// Nothing yet. `keyed` guards the tables against names that were chosen to collide.
    #[must_use]
    pub fn new(incarnation: u32, rows_max: usize, keyed: RandomState) -> Self {
        Self { incarnation, sequence: 0, rows: Rows::new(rows_max, keyed), missing: 0 }
    }

    /// As it is before the first operation of `incarnation`, with the same bounds.
    #[must_use]
    pub fn restarted(&self, incarnation: u32) -> Self {
        Self { incarnation, sequence: 0, rows: self.rows.empty(), missing: 0 }
    }

    /// The state that a snapshot describes, with the same bounds as this one.
    #[must_use]
    pub fn from_snapshot(&self, incarnation: u32, at: u64, rows: impl IntoIterator<Item = (u64, Row)>) -> Self {
        let mut replica = Self { sequence: at, ..self.restarted(incarnation) };
        replica.add(rows);
        replica
    }

    /// As it was after the operation `sequence`, row by row; none if they contradict each other or find no room.
    pub(super) fn resumed(mut self, sequence: u64, rows: impl IntoIterator<Item = (u64, Row)>) -> Option<Self> {
        self.sequence = sequence;
        let all =
            rows.into_iter().all(|(number, row)| (1..=sequence).contains(&number) && self.rows.insert(number, row));
        all.then_some(self)
    }

    /// More rows of the same snapshot.
    pub(super) fn add(&mut self, rows: impl IntoIterator<Item = (u64, Row)>) {
        for (number, row) in rows {
            self.missing += u32::from(!self.rows.insert(number, row));
        }
    }

    /// Takes what is news of operations `first`, `first + 1`, … The same ones again change nothing.
    pub fn apply(&mut self, incarnation: u32, first: u64, operations: Vec<Operation>) -> Applied {
        if incarnation < self.incarnation {
            return Applied::Fenced;
        }
        if incarnation > self.incarnation {
            *self = self.restarted(incarnation);
        }
        let Some(known) = self.sequence.saturating_add(1).checked_sub(first) else { return Applied::Gap };
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let news = operations.len().saturating_sub(known);
        for operation in operations.into_iter().skip(known) {
            self.write(operation);
        }
        Applied::New(news)
    }

    /// The next operation. False: it had no effect, for want of room or because there is no such row.
    pub(super) fn write(&mut self, operation: Operation) -> bool {
        self.sequence = self.sequence.saturating_add(1);
        match operation {
            Operation::Began(row) => {
                let listed = self.rows.insert(self.sequence, row);
                self.missing += u32::from(!listed);
                listed
            }
            Operation::Ended { row } => {
                let listed = self.rows.remove(row);
                if !listed {
                    self.missing = self.missing.saturating_sub(1);
                }
                listed
            }
        }
    }

    /// Takes the other one if it knows more.
    pub fn merge(&mut self, other: Self) -> bool {
        let news = (other.incarnation, other.sequence) > (self.incarnation, self.sequence);
        if news {
            *self = other;
        }
        news
    }

    /// The start of the site's process that wrote this.
    #[must_use]
    pub const fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// The last operation.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// None.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) const fn rows_max(&self) -> usize {
        self.rows.rows_max()
    }

    /// Rows that found no room here.
    #[must_use]
    pub const fn missing(&self) -> u32 {
        self.missing
    }

    /// Of all rows in any order; the same on every site.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.rows.hash()
    }

    /// Rows of one account.
    #[must_use]
    pub fn count(&self, account: &str) -> u32 {
        self.rows.count(account)
    }

    /// The rows of one account, the newest first.
    pub fn of_account<'a>(&'a self, account: &str) -> impl Iterator<Item = RowView<'a>> {
        self.rows.of_account(account)
    }

    /// All rows, in no order.
    pub fn rows(&self) -> impl Iterator<Item = RowView<'_>> {
        self.rows.iter()
    }

    /// Each account that has rows, and how many.
    pub fn accounts(&self) -> impl Iterator<Item = (&std::sync::Arc<str>, u32)> {
        self.rows.accounts()
    }

    pub(super) fn account(&self, name: &str) -> Option<u32> {
        self.rows.account(name)
    }
}
