//! What people may know of an account: `show limits`, `GET /v1/limits/{account}`. It decides nothing.

use super::settings::Home;
use crate::base::time::Duration;
use crate::tally::Figures;
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
    /// Calls of expired loans that may finish (policy *keep*): loans that they hold.
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

/// Why a right was not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
