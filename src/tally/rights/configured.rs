//! What this node's own configuration and shards say: accounts, and notes about their calls.
//!
//! Owned by the rights machine.

use super::account::{Account, Waiter};
use super::fault::Fault;
use super::{ACCOUNTS_MAX, Home, Output, Rights, Terms};
use crate::base::Instant;
use crate::tally::{Cell, Note};
use std::sync::Arc;

impl Rights {
    /// The configuration has the account, anew or otherwise than before. From now on only the machine sets the cell.
    pub fn set_account(&mut self, now: Instant, name: Arc<str>, terms: Terms, cell: Arc<Cell>) {
        let Some(index) = self.find_or_make(name) else { return };
        let account = &mut self.accounts[index];
        if !Arc::ptr_eq(&account.cell, &cell) {
            let before = std::mem::replace(&mut account.cell, cell);
            before.set_usable(0);
            if before.read().0 > 0 && !self.rules.has(Fault::FormerForgotten) {
                account.busy().former.push(before);
            }
        }
        account.terms = Some(terms);
        self.settle(now, index);
    }

    /// The configuration has the account no more: its rights go home, and are unmade there. Calls that are up stay up.
    pub fn drop_account(&mut self, now: Instant, name: &str) {
        let Some(index) = self.find(name) else { return };
        let account = &mut self.accounts[index];
        let issued_here = account.issued > 0;
        let home = if issued_here { Home::Here } else { Home::At(Arc::from("")) };
        let terms = account.terms.get_or_insert(Terms { limit: 0, home, allowance: 0 });
        (terms.limit, terms.allowance) = (0, 0);
        if account.cell.read() == (0, 0) && Arc::ptr_eq(&account.cell, &self.nothing) {
            account.cell = Cell::new(0);
        }
        self.settle(now, index);
    }

    pub(super) fn find(&self, account: &str) -> Option<usize> {
        self.by_name.get(account).map(|&index| index as usize)
    }

    pub(super) fn find_or_make(&mut self, name: Arc<str>) -> Option<usize> {
        if let Some(index) = self.find(&name) {
            return Some(index);
        }
        if self.accounts.len() >= ACCOUNTS_MAX {
            return None;
        }
        self.by_name.insert(Arc::clone(&name), self.accounts.len() as u32);
        self.accounts.push(Account::new(name, &self.nothing));
        Some(self.accounts.len() - 1)
    }

    /// A note of a shard. `Began`, `Ended` and `Calls` are for the session database and mean nothing here.
    pub fn note(&mut self, now: Instant, note: Note) {
        match note {
            Note::Began { .. } | Note::Ended { .. } | Note::Calls { .. } => {}
            Note::Phones { account, phones } => {
                if let Some(index) = self.find(&account) {
                    self.registered(now, index, phones);
                }
            }
            Note::Wanted { account } => {
                if let Some(index) = self.find(&account) {
                    self.wanted(now, index);
                }
            }
            Note::Borrow { account, shard, call, deadline } => match self.find(&account) {
                Some(index) => self.call_waits(now, index, Waiter { shard, call, deadline }),
                None => self.outbox.push(Output::Right { shard, call, permit: None }),
            },
        }
    }
}
