//! The rows of this site: the only place that writes them, and the last operations, for sites that are a little behind.
//!
//! Owned by [`super::Sessions`].

use super::message::{Digest, Operation, Row, SessionMessage};
use super::replica::Replica;
use super::rows::RowView;
use crate::base::Instant;
use crate::base::id::Token;
use ahash::RandomState;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// Most octets of one message's operations or rows, by [`Operation::cost`]: well below a frame.
const MESSAGE_BYTES: usize = 48 * 1024;

/// What a site that knows this one's rows up to some operation should be told.
#[derive(Debug)]
pub enum News {
    /// It knows everything.
    Nothing,
    /// This; then it knows everything up to `up_to`. There may be more.
    Operations {
        /// To be sent.
        message: SessionMessage,
        /// Ask with this next.
        up_to: u64,
    },
    /// It is too far behind: all rows, in parts.
    Snapshot(Snapshot),
}

/// All rows after one operation; the parts are its items.
#[derive(Debug)]
pub struct Snapshot {
    at: u64,
    part: u32,
    sizes: Vec<usize>,
    rows: std::vec::IntoIter<(u64, Row)>,
}

impl Snapshot {
    fn new(replica: &Replica) -> Self {
        let mut rows: Vec<_> = replica.rows().map(|row| (row.number, row.to_row())).collect();
        rows.sort_unstable_by_key(|(number, _)| *number);
        let mut sizes = vec![0];
        let mut bytes = 0;
        for (_, row) in &rows {
            bytes += row.cost();
            if bytes > MESSAGE_BYTES {
                sizes.push(0);
                bytes = row.cost();
            }
            if let Some(size) = sizes.last_mut() {
                *size += 1;
            }
        }
        Self { at: replica.sequence(), part: 0, sizes, rows: rows.into_iter() }
    }

    /// Who has all parts knows everything up to this operation.
    #[must_use]
    pub const fn up_to(&self) -> u64 {
        self.at
    }
}

impl Iterator for Snapshot {
    type Item = SessionMessage;

    fn next(&mut self) -> Option<SessionMessage> {
        let size = *self.sizes.get(self.part as usize)?;
        let (part, parts) = (self.part, self.sizes.len() as u32);
        self.part += 1;
        Some(SessionMessage::Snapshot { at: self.at, part, parts, rows: self.rows.by_ref().take(size).collect() })
    }
}

#[derive(Debug)]
pub(super) struct Own {
    replica: Replica,
    /// The last operations; the last one is number `replica.sequence()`.
    log: VecDeque<Operation>,
    operations_max: usize,
    rows_max: usize,
    /// Row numbers by call and account.
    numbers: HashMap<(Token, u32), u64, RandomState>,
    /// Calls that are up without a row.
    unlisted: u32,
}

impl Own {
    pub(super) fn new(incarnation: u32, rows_max: usize, operations_max: usize, keyed: RandomState) -> Self {
        Self {
            replica: Replica::new(incarnation, rows_max, keyed.clone()),
            log: VecDeque::new(),
            operations_max,
            rows_max,
            numbers: HashMap::with_hasher(keyed),
            unlisted: 0,
        }
    }

    /// What another process needs to go on: the rows, oldest first, and the last operations.
    pub(super) fn at_rest(&self, operations_kept: usize) -> (Vec<(u64, Row)>, Vec<Operation>) {
        let mut rows: Vec<_> = self.replica.rows().map(|row| (row.number, row.to_row())).collect();
        rows.sort_unstable_by_key(|(number, _)| *number);
        let behind = self.log.len().saturating_sub(operations_kept);
        (rows, self.log.range(behind..).cloned().collect())
    }

    /// Goes on with them; none if they contradict each other or find no room.
    pub(super) fn resumed(
        mut self,
        sequence: u64,
        rows: Vec<(u64, Row)>,
        log: Vec<Operation>,
        unlisted: u32,
    ) -> Option<Self> {
        let names: Vec<_> = rows.iter().map(|(number, row)| (*number, row.call, Arc::clone(&row.account))).collect();
        self.replica = self.replica.resumed(sequence, rows)?;
        for (number, call, account) in names {
            let known = self.numbers.insert((call, self.replica.account(&account)?), number);
            known.is_none().then_some(())?;
        }
        let fits = log.len() <= self.operations_max && log.len() as u64 <= sequence;
        (self.log, self.unlisted) = (log.into(), unlisted);
        fits.then_some(self)
    }

    pub(super) const fn replica(&self) -> &Replica {
        &self.replica
    }

    pub(super) const fn unlisted(&self) -> u32 {
        self.unlisted
    }

    /// False: no room; the call is counted as unlisted.
    pub(super) fn began(&mut self, account: Arc<str>, call: Token, started: Instant) -> bool {
        let known = self.replica.account(&account).is_some_and(|one| self.numbers.contains_key(&(call, one)));
        if known {
            return true;
        }
        if self.replica.len() >= self.rows_max {
            self.unlisted = self.unlisted.saturating_add(1);
            return false;
        }
        self.write(Operation::Began(Row { account: Arc::clone(&account), call, started }));
        if let Some(one) = self.replica.account(&account) {
            self.numbers.insert((call, one), self.replica.sequence());
        }
        true
    }

    /// False: it had no row.
    pub(super) fn ended(&mut self, account: &str, call: Token) -> bool {
        let number = self.replica.account(account).and_then(|one| self.numbers.remove(&(call, one)));
        match number {
            Some(row) => self.write(Operation::Ended { row }),
            None => self.unlisted = self.unlisted.saturating_sub(1),
        }
        number.is_some()
    }

    fn write(&mut self, operation: Operation) {
        if self.log.len() >= self.operations_max {
            self.log.pop_front();
        }
        self.log.push_back(operation.clone());
        self.replica.write(operation);
    }

    pub(super) fn news(&self, after: u64) -> News {
        let behind = self.replica.sequence().saturating_sub(after);
        if behind == 0 {
            return News::Nothing;
        }
        let start = usize::try_from(behind).ok().and_then(|behind| self.log.len().checked_sub(behind));
        let Some(start) = start else { return News::Snapshot(Snapshot::new(&self.replica)) };
        let mut bytes = 0;
        let fits = |operation: &&Operation| {
            bytes += operation.cost();
            bytes <= MESSAGE_BYTES
        };
        let operations: Vec<Operation> = self.log.range(start..).take_while(fits).cloned().collect();
        let up_to = after + operations.len() as u64;
        News::Operations { message: SessionMessage::Operations { first: after + 1, operations }, up_to }
    }

    pub(super) fn digest(&self) -> Digest {
        Digest {
            sequence: self.replica.sequence(),
            rows: self.replica.len() as u32,
            hash: self.replica.hash(),
            unlisted: self.unlisted,
        }
    }

    pub(super) fn rows_of<'a>(&'a self, account: &str) -> impl Iterator<Item = RowView<'a>> {
        self.replica.of_account(account)
    }
}
