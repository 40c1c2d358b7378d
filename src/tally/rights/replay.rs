//! From the ledger and to it. Loans in and open questions are forgotten by a restart; loans out wait their whole time
//! again, since the clock they were counted on is gone.
//!
//! Owned by the rights machine.

use super::Rights;
use super::account::Lent;
use super::fault::Fault;
use crate::base::Instant;
use crate::tally::{LoanId, Record};
use std::sync::Arc;

impl Rights {
    pub(super) fn replay(&mut self, ledger: &[Record], now: Instant) {
        for record in ledger {
            self.replay_record(record, now);
        }
        for index in 0..self.accounts.len() {
            let account = &mut self.accounts[index];
            account.work_out_base(&self.sites);
            for row in &account.placed {
                self.sites.get_mut(row.site).into_iter().for_each(|site| site.placed_there += row.net());
            }
            for row in &account.received {
                self.sites.get_mut(row.home).into_iter().for_each(|home| home.received_from += row.net());
            }
        }
        self.next_round();
        let wait = self.rules.reclaim;
        for (_, site) in self.sites.iter_mut().filter(|(_, site)| site.retired) {
            site.returns_at = Some(now + wait);
        }
        self.retired_at = self.look_after_retired(now);
        self.sweep_all();
    }

    fn replay_record(&mut self, record: &Record, now: Instant) {
        match record {
            Record::Disk { .. } | Record::Incarnation(_) => {}
            Record::Site { site, name, disk, incarnation, retired } => {
                self.sites.replay(*site, Arc::clone(name), *disk, *incarnation, *retired);
            }
            Record::Founded => self.founded = true,
            Record::Issued { account, limit } => {
                if let Some(index) = self.find_or_make(Arc::clone(account)) {
                    self.accounts[index].issued = *limit;
                }
            }
            Record::Placed { account, site, total, ceded, base: _ } => {
                if let Some(index) = self.find_or_make(Arc::clone(account)) {
                    let row = self.accounts[index].placement(*site);
                    (row.total, row.ceded) = (*total, *ceded);
                }
            }
            Record::Received { account, home, total, ceded, base: _ } => {
                if let Some(index) = self.find_or_make(Arc::clone(account)) {
                    let row = self.accounts[index].receipt(*home);
                    (row.total, row.ceded) = (*total, *ceded);
                }
            }
            Record::Lent { loan, account, to, request, amount } => {
                let Some(index) = self.find_or_make(Arc::clone(account)) else { return };
                let reclaim_at = now + self.wait_after_restart();
                let (loan, to, request, amount) = (*loan, *to, *request, *amount);
                let lent = Lent { loan, to, request, amount, reclaim_at, remind_at: now, closing: false };
                self.accounts[index].busy().lent.push(lent);
                self.lent_to.insert(loan, index as u32);
            }
            Record::Home { loan } => self.replay_home(*loan),
        }
    }

    fn wait_after_restart(&mut self) -> crate::base::time::Duration {
        let wait = self.rules.reclaim;
        if self.rules.has(Fault::OldReclaimTime) {
            return std::time::Duration::from_millis(self.random.below(wait.as_millis() as u64));
        }
        wait
    }

    fn replay_home(&mut self, loan: LoanId) {
        let Some(index) = self.lent_to.remove(&loan) else { return };
        if let Some(busy) = self.accounts[index as usize].busy.as_mut() {
            busy.lent.retain(|lent| lent.loan != loan);
        }
    }

    /// Everything that must not be forgotten, as the records of a new ledger.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Record> {
        let mut out = vec![
            Record::Disk { name: Arc::clone(&self.me.name), disk: self.me.disk },
            Record::Incarnation(self.me.incarnation),
        ];
        out.extend(self.sites.iter().map(|(id, site)| site.record(id)));
        out.extend(self.founded.then_some(Record::Founded));
        for account in &self.accounts {
            let name = || Arc::clone(&account.name);
            if account.issued > 0 {
                out.push(Record::Issued { account: name(), limit: account.issued });
            }
            let base = account.base;
            out.extend(account.placed.iter().map(|row| {
                let (site, total, ceded) = (row.site, row.total, row.ceded);
                Record::Placed { account: name(), site, total, ceded, base }
            }));
            out.extend(account.received.iter().map(|row| {
                let (home, total, ceded) = (row.home, row.total, row.ceded);
                Record::Received { account: name(), home, total, ceded, base }
            }));
            out.extend(account.busy.iter().flat_map(|busy| &busy.lent).map(|lent| {
                let (loan, to, request, amount) = (lent.loan, lent.to, lent.request, lent.amount);
                Record::Lent { loan, account: name(), to, request, amount }
            }));
        }
        out
    }
}
