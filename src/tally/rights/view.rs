//! What people may know of an account: `show limits`, `GET /v1/limits/{account}`. It decides nothing.

use super::Rights;
use super::account::Busy;
use super::settings::Home;
use crate::base::Instant;
use crate::base::time::Duration;
use crate::tally::{Figures, LoanId, SiteId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One account, as this site knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// N of the configuration, if it still names the account.
    pub limit: Option<u32>,
    /// Who issues.
    pub home: Option<Home>,
    /// At the home: rights there are, everywhere together.
    pub issued: Option<u32>,
    /// At the home: issued rights above the limit, which are being collected.
    pub gap: u32,
    /// Own base rights.
    pub base: u32,
    /// Of these, lent out.
    pub lent: u32,
    /// Borrowed and unexpired.
    pub borrowed: u32,
    /// What admission goes by now.
    pub usable: u32,
    /// Calls up here.
    pub live: u32,
    /// Loans that admit nothing more, and calls hold: expired (policy *keep*), or called in by their lender (*drop*).
    pub running_off: u32,
    /// The allowance that is in force now.
    pub allowance: u32,
    /// At the home: base rights placed elsewhere.
    pub placed: Vec<PlacedView>,
    /// Loans to others.
    pub loans_out: Vec<LoanView>,
    /// Loans from others.
    pub loans_in: Vec<LoanView>,
    /// What other sites last said of it.
    pub sites: Vec<SiteView>,
    /// Why there was no right when one was last wanted, and how long ago.
    pub refusal: Option<(Refusal, Duration)>,
}

/// Base rights at another site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedView {
    /// Its name.
    pub site: Arc<str>,
    /// Its last one that this site has seen: what retires it.
    pub incarnation: u32,
    /// How many.
    pub amount: u32,
    /// True when they stay there until an operator retires that disk.
    pub stranded: bool,
}

/// One loan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoanView {
    /// The other end.
    pub site: Arc<str>,
    /// How many.
    pub amount: u32,
    /// Until it ends by itself; of a loan out, until it is taken back at the latest.
    pub remaining: Duration,
}

/// Another site's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteView {
    /// Its name.
    pub site: Arc<str>,
    /// Linked now.
    pub linked: bool,
    /// Its figures.
    pub figures: Figures,
    /// How old they are.
    pub age: Duration,
}

/// A site, as this ledger knows it: `show links`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Its number here.
    pub site: SiteId,
    /// Its name.
    pub name: Arc<str>,
    /// Its disk.
    pub disk: u128,
    /// Last seen.
    pub incarnation: u32,
    /// An operator has retired it.
    pub retired: bool,
    /// Another disk has taken its name.
    pub replaced: bool,
    /// Linked now.
    pub linked: bool,
}

/// One end of a loan, as its site sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoanEnd {
    /// The other end.
    pub site: SiteId,
    /// Which.
    pub loan: LoanId,
    /// How many.
    pub amount: u32,
    /// The lender's reclaim time, or the borrower's expiry.
    pub until: Instant,
}

/// Why a right was not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// No other site can be reached.
    NoLink,
    /// All sites that can be reached have none to spare.
    Denied,
    /// A lender did not answer in time.
    NoAnswer,
    /// Too many calls or loans wait already.
    Full,
    /// The home has not been founded on its new ledger.
    NotFounded,
    /// The process has just started: media of the one before may flow yet.
    Holding,
}

impl Refusal {
    /// For people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoLink => "no other site can be reached",
            Self::Denied => "no site has a right to spare",
            Self::NoAnswer => "no lender answered in time",
            Self::Full => "too many calls wait for rights",
            Self::NotFounded => "the home's new ledger is not founded yet",
            Self::Holding => "media of the process before may flow yet",
        }
    }
}

/// Figures of the whole machine, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Accounts known.
    pub accounts: usize,
    /// Loans to others.
    pub loans_out: usize,
    /// Loans from others, those running off included.
    pub loans_in: usize,
    /// Calls that wait.
    pub waiters: usize,
    /// Messages that wait for the disk.
    pub undurable: usize,
    /// Requests granted, ever.
    pub granted: u64,
    /// Requests denied, ever.
    pub denied: u64,
    /// Messages refused because the sender's rights do not cover them, ever.
    pub refused: u64,
    /// True when the home's ledger is founded, or was never asked to be.
    pub founded: bool,
}

impl Rights {
    /// One account, for people.
    #[must_use]
    pub fn view(&self, now: Instant, account: &str) -> Option<View> {
        let index = self.find(account)?;
        let account = &self.accounts[index];
        let nothing = Busy::default();
        let busy = account.busy.as_deref().unwrap_or(&nothing);
        let (live, usable) = account.cell.read();
        let loan = |site, amount, until: Instant| LoanView {
            site: self.sites.name(site),
            amount,
            remaining: until.since(now),
        };
        let placed = account.placed.iter().filter(|row| row.net() > 0).map(|row| PlacedView {
            site: self.sites.name(row.site),
            incarnation: self.sites.get(row.site).map_or(0, |site| site.incarnation),
            amount: u32::try_from(row.net()).unwrap_or(u32::MAX),
            stranded: self.sites.is_superseded(row.site),
        });
        let sites = busy.hints.iter().filter(|hint| hint.at != Instant::ZERO).map(|hint| SiteView {
            site: self.sites.name(hint.site),
            linked: self.sites.is_linked(hint.site),
            figures: hint.figures,
            age: now.since(hint.at),
        });
        Some(View {
            limit: account.terms.as_ref().map(|terms| terms.limit),
            home: account.terms.as_ref().map(|terms| terms.home.clone()),
            issued: (account.at_home() || account.issued > 0).then_some(account.issued),
            gap: account.gap(),
            base: account.base,
            lent: account.lent(),
            borrowed: account.borrowed(),
            usable,
            live: live + account.former(),
            running_off: account.running_off() + account.called_in(),
            allowance: if self.settings.allowance && self.cut_off {
                account.terms.as_ref().map_or(0, |terms| terms.allowance)
            } else {
                0
            },
            placed: placed.collect(),
            loans_out: busy.lent.iter().map(|lent| loan(lent.to, lent.amount, lent.reclaim_at)).collect(),
            loans_in: busy.loans.iter().map(|held| loan(held.from, held.amount, held.expiry)).collect(),
            sites: sites.collect(),
            refusal: self.refusals.get(&(index as u32)).map(|(why, at)| (*why, now.since(*at))),
        })
    }

    /// The names of all accounts that this site knows.
    pub fn accounts(&self) -> impl Iterator<Item = &Arc<str>> {
        self.accounts.iter().map(|account| &account.name)
    }

    /// The whole machine, for metrics.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            accounts: self.accounts.len(),
            loans_out: self.lent_to.len(),
            loans_in: self.borrowed_from.len(),
            waiters: self.waiters,
            undurable: self.outbox.waiting(),
            granted: self.granted,
            denied: self.denied,
            refused: self.refused,
            founded: self.founded,
        }
    }

    /// All sites that this ledger knows, one for each disk, by number.
    pub fn peers(&self) -> impl Iterator<Item = PeerView> {
        self.sites.iter().map(|(site, row)| PeerView {
            site,
            name: Arc::clone(&row.name),
            disk: row.disk,
            incarnation: row.incarnation,
            retired: row.retired,
            replaced: self.sites.is_superseded(site),
            linked: row.linked,
        })
    }

    /// At the home: rights of the account that there are, everywhere together.
    #[must_use]
    pub fn issued(&self, account: &str) -> u32 {
        self.find(account).map_or(0, |index| self.accounts[index].issued)
    }

    /// All loans out, by account.
    pub fn loans_out(&self) -> impl Iterator<Item = LoanEnd> {
        self.accounts.iter().flat_map(|account| &account.busy).flat_map(|busy| &busy.lent).map(|lent| LoanEnd {
            site: lent.to,
            loan: lent.loan,
            amount: lent.amount,
            until: lent.reclaim_at,
        })
    }

    /// All loans in that have not ended, by account.
    pub fn loans_in(&self) -> impl Iterator<Item = LoanEnd> {
        let loans = self.accounts.iter().flat_map(|account| &account.busy).flat_map(|busy| &busy.loans);
        loans.filter(|loan| !loan.running_off).map(|loan| LoanEnd {
            site: loan.from,
            loan: loan.loan,
            amount: loan.amount,
            until: loan.expiry,
        })
    }
}
