//! The machine at rest: written down whole, to go on in another process as the same incarnation.
//!
//! Owned by the rights machine, whose head says under *Change of process* when it may be frozen and what the new process
//! owes it. The tables are frozen as they are; links, timers and cells are of one process alone.
//!
//! # Times
//!
//! Both processes read one clock, so that an instant means the same in both. Each is compared with *now* whenever its
//! account is looked at: looked at too early it does nothing or says something once more, and all accounts with dealings
//! are looked at in the first turn. One by one:
//!
//! | time | in the new process |
//! |---|---|
//! | `Lent::reclaim_at`, `Site::returns_at`, `hold_until` | as it was: a lender counts no less |
//! | `Loan::expiry` | as it was: a borrower counts no more; a loan that has ended admits nothing from the thaw on |
//! | `Loan::renewed_at`, `taken_at`, `Open::sent_at`, `Waiter::deadline`, `Receipt::recalled` | as it was |
//! | `remind_at`, `renew_at`, `again_at`, `probe_at`, `ask_at`, `recalled_at`, `ahead_at` | as it was; said at once on a new link |
//! | `Hint`'s, `told`, `peak_at`, `wanted_at` | as it was; decides nothing |
//! | `Busy::hanging_up` | forgotten: letters that say so stay behind, and what is in excess still is hung up at once |
//! | the timer of an account | now, where there are dealings; of the others, a walk over all |
//! | a walk that takes home what was placed at a retired site | begins again, by `returns_at`; no row is taken twice |
//! | a walk that greets, and a question for old rights | dropped with the link that it was for; the next link brings it again |

mod check;
#[cfg(test)]
mod tests;

use super::account::Busy;
use super::fault::Fault;
use super::founding::Founding;
use super::outbox::Outbox;
use super::settings::{Settings, Terms};
use super::site::Sites;
use super::turn::What;
use super::view::Refusal;
use super::{Rights, account};
use crate::base::{Instant, Random};
use crate::tally::{Cell, Identity};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One account at rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    name: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    terms: Option<Terms>,
    /// Calls that hold a right of it, on this cell or a former one.
    #[serde(default, skip_serializing_if = "is_zero")]
    live: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    issued: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    placed: Vec<account::Placement>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    received: Vec<account::Receipt>,
    #[serde(default, skip_serializing_if = "is_zero")]
    phones: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    busy: Option<Box<Busy>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refusal: Option<(Refusal, Instant)>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// [`Rights`] at rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Frozen {
    me: Identity,
    sites: Sites,
    accounts: Vec<Row>,
    loan_number: u64,
    request_number: u64,
    founded: bool,
    founding: Founding,
    hold_until: Option<Instant>,
    /// The last record; all are on disk.
    written: u64,
    granted: u64,
    denied: u64,
    refused: u64,
}

impl Frozen {
    /// Who goes on.
    #[must_use]
    pub const fn me(&self) -> &Identity {
        &self.me
    }

    /// Accounts that calls hold rights of, and how many calls.
    pub fn standing(&self) -> impl Iterator<Item = (&Arc<str>, u32)> {
        self.accounts.iter().filter(|row| row.live > 0).map(|row| (&row.name, row.live))
    }
}

impl Rights {
    /// Whether [`Self::freeze`] would do it now.
    ///
    /// # Errors
    /// What is in the way.
    pub fn may_freeze(&self) -> Result<(), String> {
        if !self.ledger_works {
            return Err("the ledger cannot be written".to_owned());
        }
        self.outbox.rests().map_err(str::to_owned)
    }

    /// Everything it knows. All outputs have been taken and all records are on disk; the machine itself may go on as before.
    ///
    /// # Errors
    /// What is in the way.
    pub fn freeze(&self) -> Result<Frozen, String> {
        self.may_freeze()?;
        let mut sites = self.sites.clone();
        for sweep in &self.sweeps {
            if let What::WriteOff(site) = sweep.what
                && let Some(site) = sites.get_mut(site)
            {
                site.returns_at = Some(Instant::ZERO);
            }
        }
        Ok(Frozen {
            me: self.me.clone(),
            sites,
            accounts: (0..self.accounts.len()).map(|index| self.row(index)).collect(),
            loan_number: self.loan_number,
            request_number: self.request_number,
            founded: self.founded,
            founding: self.founding.clone(),
            hold_until: self.holding.then_some(self.hold_until),
            written: self.outbox.written(),
            granted: self.granted,
            denied: self.denied,
            refused: self.refused,
        })
    }

    fn row(&self, index: usize) -> Row {
        let account = &self.accounts[index];
        Row {
            name: Arc::clone(&account.name),
            terms: account.terms.clone(),
            live: account.live(),
            issued: account.issued,
            placed: account.placed.clone(),
            received: account.received.clone(),
            phones: account.phones,
            busy: account.busy.clone(),
            refusal: self.refusals.get(&(index as u32)).copied(),
        }
    }

    /// A machine that goes on where another one stopped. `settings` and `peers` are what they were; `cells` gives, for each
    /// account that was configured, the cell that calls which came along hold their rights in, and none for an account that
    /// nobody can hold a right of any more. Nothing else may be asked of the machine until all of them do.
    ///
    /// # Errors
    /// What is frozen is damaged, or calls stand on an account that has no cell.
    pub fn thaw(
        settings: Settings,
        peers: Vec<Arc<str>>,
        mut frozen: Frozen,
        cells: &mut dyn FnMut(&str) -> Option<Arc<Cell>>,
        random: Random,
        now: Instant,
    ) -> Result<Self, String> {
        frozen.check()?;
        plant(&mut frozen, &settings, now);
        let linked = settings.fault == Some(Fault::ThawKeepsLinks);
        let mut rights = Self::bare(settings, frozen.me, peers, random, now);
        rights.sites = frozen.sites;
        for (_, site) in rights.sites.iter_mut() {
            (site.linked, site.placed_there, site.received_from) = (linked && !site.retired, 0, 0);
        }
        rights.count_links();
        (rights.loan_number, rights.request_number) = (frozen.loan_number, frozen.request_number);
        (rights.founded, rights.founding) = (frozen.founded, frozen.founding);
        rights.founding.asked.clear();
        (rights.holding, rights.hold_until) = (frozen.hold_until.is_some(), frozen.hold_until.unwrap_or(now));
        rights.outbox = Outbox::resumed(frozen.written);
        (rights.granted, rights.denied, rights.refused) = (frozen.granted, frozen.denied, frozen.refused);
        rights.accounts.reserve_exact(frozen.accounts.len());
        rights.by_name.reserve(frozen.accounts.len());
        for row in frozen.accounts {
            rights.thaw_account(now, row, cells)?;
        }
        rights.retired_at = Instant::ZERO;
        rights.sweep_all();
        Ok(rights)
    }

    /// One account, its cell told what the books say.
    fn thaw_account(
        &mut self,
        now: Instant,
        mut row: Row,
        cells: &mut dyn FnMut(&str) -> Option<Arc<Cell>>,
    ) -> Result<(), String> {
        let cell = cell_for(&mut row, cells)?;
        let index = self.accounts.len();
        if self.find_or_make(row.name) != Some(index) {
            return Err("the rights at rest are damaged: an account is there twice, or there are too many".to_owned());
        }
        let account = &mut self.accounts[index];
        account.cell = cell.unwrap_or_else(|| Arc::clone(&account.cell));
        (account.terms, account.issued, account.phones) = (row.terms, row.issued, row.phones);
        (account.placed, account.received) = (row.placed, row.received);
        if let Some(busy) = row.busy {
            self.thaw_busy(now, index, busy);
        }
        let account = &mut self.accounts[index];
        account.work_out_base(&self.sites);
        for row in &account.placed {
            let site = self.sites.get_mut(row.site).into_iter();
            site.for_each(|site| site.placed_there = site.placed_there.saturating_add(row.net()));
        }
        for row in &account.received {
            let home = self.sites.get_mut(row.home).into_iter();
            home.for_each(|home| home.received_from = home.received_from.saturating_add(row.net()));
        }
        self.refusals.extend(row.refusal.map(|refusal| (index as u32, refusal)));
        self.push(index);
        self.set_may_borrow(now, index);
        Ok(())
    }

    fn thaw_busy(&mut self, now: Instant, index: usize, mut busy: Box<Busy>) {
        let place = index as u32;
        (busy.former, busy.hanging_up) = (Vec::new(), (Instant::ZERO, 0));
        busy.loans.iter_mut().filter(|loan| loan.expiry <= now).for_each(|loan| loan.running_off = true);
        self.lent_to.extend(busy.lent.iter().map(|lent| (lent.loan, place)));
        self.borrowed_from.extend(busy.loans.iter().map(|loan| ((loan.from, loan.loan), place)));
        self.asked_for.extend(busy.open.iter().map(|open| (open.number, place)));
        self.waiters += busy.waiters.len();
        let account = &mut self.accounts[index];
        account.busy = Some(busy);
        account.timer = self.wheel.schedule(now, place).ok().map(|key| (now, key));
    }
}

/// The cell of an account that was configured. What the new configuration lacks, and no call holds, goes home.
fn cell_for(row: &mut Row, cells: &mut dyn FnMut(&str) -> Option<Arc<Cell>>) -> Result<Option<Arc<Cell>>, String> {
    let Some(terms) = &mut row.terms else { return Ok(None) };
    match cells(&row.name) {
        Some(cell) => Ok(Some(cell)),
        None if row.live > 0 => {
            Err(format!("{} calls of account {} are up, and nothing counts them any more", row.live, row.name))
        }
        None => {
            (terms.limit, terms.allowance) = (0, 0);
            Ok(Some(Cell::new(0)))
        }
    }
}

/// The bugs that the simulator wants to see.
fn plant(frozen: &mut Frozen, settings: &Settings, now: Instant) {
    let busy = frozen.accounts.iter_mut().filter_map(|row| row.busy.as_deref_mut());
    match settings.fault {
        Some(Fault::ThawForgetsLoansIn) => busy.for_each(|busy| busy.loans.clear()),
        Some(Fault::ThawForgetsLoansOut) => busy.for_each(|busy| busy.lent.clear()),
        Some(Fault::ThawRenewsLoans) => {
            busy.flat_map(|busy| &mut busy.loans).for_each(|loan| loan.expiry = now + settings.lease);
        }
        Some(Fault::ThawRestarts) => frozen.me.incarnation = frozen.me.incarnation.saturating_add(1),
        Some(Fault::ThawCountsLoansAnew) => frozen.loan_number = 0,
        Some(Fault::ThawCountsRequestsAnew) => frozen.request_number = 0,
        Some(Fault::ThawEndsHold) => frozen.hold_until = None,
        _ => {}
    }
}
