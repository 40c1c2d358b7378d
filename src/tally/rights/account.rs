//! One account at this site: what it owns, what it has lent, what it has borrowed, and the sum that shards may admit by.
//!
//! Owned by the rights machine. An idle account holds no memory for dealings that it does not have.

use super::TURN;
use super::settings::{Home, Terms};
use super::site::Sites;
use crate::base::time::Duration;
use crate::base::{Instant, ShardId, Slot, TimerKey};
use crate::tally::{Cell, Figures, LoanId, RequestId, SiteId};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

/// A loan out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Lent {
    pub loan: LoanId,
    pub to: SiteId,
    pub request: RequestId,
    pub amount: u32,
    /// Until then the borrower may count on it.
    pub reclaim_at: Instant,
    /// When the borrower is reminded of it, unless it is heard of before: a lost loan or return comes to light.
    pub remind_at: Instant,
    /// No renewal is granted any more.
    pub closing: bool,
}

/// A loan in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Loan {
    pub from: SiteId,
    pub loan: LoanId,
    pub amount: u32,
    pub expiry: Instant,
    /// The next renewal is asked for.
    pub renew_at: Instant,
    /// When the last one was; a lender's answer is not believed beyond it.
    pub renewed_at: Instant,
    pub taken_at: Instant,
    /// The lender wants it back.
    pub closing: bool,
    /// Called in (policy *drop*): no call is admitted on it any more, and it is renewed while calls need it.
    pub called_in: bool,
    /// Over, but calls that were admitted on it are still up (policy *keep*).
    pub running_off: bool,
}

impl Loan {
    /// Calls may be admitted on it.
    pub fn admits(&self) -> bool {
        !self.running_off && !self.called_in
    }
}

/// A request out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Open {
    pub number: u64,
    pub to: SiteId,
    pub wanted: u32,
    /// Calls wait or were refused; otherwise it is for phones that have no calls yet.
    pub urgent: bool,
    pub sent_at: Instant,
    pub again_at: Instant,
}

/// A call that waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Waiter {
    pub shard: ShardId,
    pub call: Slot,
    pub deadline: Instant,
}

/// What another site has said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Hint {
    pub site: SiteId,
    pub figures: Figures,
    pub at: Instant,
    /// When it last said that it refuses calls.
    pub wanted_at: Option<Instant>,
    /// It had nothing to spare; when to try again, and after how long then.
    pub denied: bool,
    pub denied_at: Option<Instant>,
    pub probe_at: Instant,
    pub backoff: Duration,
    /// When it asked here in vain: it wants to hear of rights that come free.
    pub begged_at: Option<Instant>,
}

/// What only an account with dealings needs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Busy {
    pub lent: Vec<Lent>,
    pub loans: Vec<Loan>,
    pub open: Vec<Open>,
    pub waiters: VecDeque<Waiter>,
    pub hints: Vec<Hint>,
    /// Cells of the same account that calls from before its removal still hold.
    #[serde(skip)]
    pub former: Vec<Arc<Cell>>,
    pub wanted_at: Option<Instant>,
    /// Not before then is a right asked for that phones here have no call for yet.
    pub ahead_at: Instant,
    /// Refusals since figures were last told.
    pub refused: u32,
    pub live_before: u32,
    pub live_peak: u32,
    pub peak_at: Instant,
    pub told: Option<(Instant, Figures)>,
    /// How many calls are being hung up, and since when.
    #[serde(skip)]
    pub hanging_up: (Instant, u32),
    /// When the home last asked for rights above the limit.
    pub recalled_at: Option<Instant>,
}

/// Base rights at another site, in the home's books. Totals never shrink.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Placement {
    pub site: SiteId,
    pub total: u64,
    pub ceded: u64,
    /// The site has said so.
    pub acknowledged: u64,
    pub again_at: Instant,
}

/// Base rights from the home, in another site's books.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Receipt {
    pub home: SiteId,
    pub total: u64,
    pub ceded: u64,
    /// The home has said so.
    pub settled: u64,
    pub again_at: Instant,
    /// The home wants so many back, as of then.
    pub recalled: Option<(u32, Instant)>,
}

/// One account.
#[derive(Debug)]
pub(super) struct Account {
    pub name: Arc<str>,
    pub terms: Option<Terms>,
    pub cell: Arc<Cell>,
    pub issued: u32,
    pub placed: Vec<Placement>,
    pub received: Vec<Receipt>,
    pub base: u32,
    /// Registered here.
    pub phones: u32,
    pub busy: Option<Box<Busy>>,
    pub timer: Option<(Instant, TimerKey)>,
}

/// So many phones are worth one idle right.
const PHONES_A_RIGHT: u32 = 10;

fn net(total: u64, ceded: u64) -> u64 {
    total.saturating_sub(ceded)
}

impl Hint {
    /// It had nothing to spare a moment ago.
    pub fn was_denied(&self, now: Instant) -> bool {
        self.denied_at.is_some_and(|at| now.since(at) < 2 * TURN)
    }

    /// Its own word, if it is fresh.
    pub fn fresh(&self, now: Instant) -> Option<&Figures> {
        (self.at != Instant::ZERO && now.since(self.at) < 10 * TURN).then_some(&self.figures)
    }

    /// No right is to be expected of it now.
    pub fn is_hopeless(&self, now: Instant) -> bool {
        let none = |figures: &Figures| {
            (figures.base.saturating_add(figures.borrowed)).saturating_sub(figures.lent) <= figures.live
        };
        self.was_denied(now) || self.fresh(now).is_some_and(none)
    }
}

/// What a site says that it could do without.
pub(super) fn idle(figures: &Figures) -> u32 {
    let own = figures.base.saturating_sub(figures.lent);
    own.min(own.saturating_sub(figures.live.saturating_sub(figures.borrowed)))
}

impl Placement {
    pub fn net(&self) -> u64 {
        net(self.total, self.ceded)
    }
}

impl Receipt {
    pub fn net(&self) -> u64 {
        net(self.total, self.ceded)
    }
}

impl Account {
    pub fn new(name: Arc<str>, nothing: &Arc<Cell>) -> Self {
        Self {
            name,
            terms: None,
            cell: Arc::clone(nothing),
            issued: 0,
            placed: Vec::new(),
            received: Vec::new(),
            base: 0,
            phones: 0,
            busy: None,
            timer: None,
        }
    }

    pub fn busy(&mut self) -> &mut Busy {
        self.busy.get_or_insert_default()
    }

    /// This site issues the account's rights.
    pub fn at_home(&self) -> bool {
        self.terms.as_ref().is_some_and(|terms| terms.home == Home::Here)
    }

    /// The account's home is the site of that name.
    pub fn lives_at(&self, name: &str) -> bool {
        matches!(&self.terms, Some(Terms { home: Home::At(home), .. }) if **home == *name)
    }

    pub fn limit(&self) -> u32 {
        self.terms.as_ref().map_or(0, |terms| terms.limit)
    }

    /// Rights issued beyond the limit: to be collected. Without terms nobody knows.
    pub fn gap(&self) -> u32 {
        if self.at_home() { self.issued.saturating_sub(self.limit()) } else { 0 }
    }

    /// Base rights follow from the books alone: issued less placed, plus received from homes that are not retired.
    pub fn work_out_base(&mut self, sites: &Sites) {
        let placed: u64 = self.placed.iter().map(Placement::net).sum();
        let received: u64 = self.received.iter().filter(|row| !sites.is_retired(row.home)).map(Receipt::net).sum();
        let base = u64::from(self.issued).saturating_sub(placed) + received;
        self.base = u32::try_from(base).unwrap_or(u32::MAX);
    }

    pub fn lent(&self) -> u32 {
        let lent = self.busy.iter().flat_map(|busy| &busy.lent);
        lent.fold(0, |sum, loan| sum.saturating_add(loan.amount))
    }

    fn loans_that(&self, are: impl Fn(&Loan) -> bool) -> u32 {
        let loans = self.busy.iter().flat_map(|busy| &busy.loans).filter(|loan| are(loan));
        loans.fold(0, |sum, loan| sum.saturating_add(loan.amount))
    }

    /// Loans in that calls may be admitted on.
    pub fn borrowed(&self) -> u32 {
        self.loans_that(Loan::admits)
    }

    /// Loans in that have ended with calls on them.
    pub fn running_off(&self) -> u32 {
        self.loans_that(|loan| loan.running_off)
    }

    /// Loans in that have not ended, and admit nothing more.
    pub fn called_in(&self) -> u32 {
        self.loans_that(|loan| loan.called_in && !loan.running_off)
    }

    /// Calls on cells that the configuration has replaced.
    pub fn former(&self) -> u32 {
        self.busy.iter().flat_map(|busy| &busy.former).map(|cell| cell.read().0).sum()
    }

    /// Calls up.
    pub fn live(&self) -> u32 {
        self.cell.read().0 + self.former()
    }

    /// `usable = base − lent out + unexpired loans in`, those called in left out.
    pub fn usable(&self) -> u32 {
        let usable = i64::from(self.base) - i64::from(self.lent()) + i64::from(self.borrowed());
        u32::try_from(usable.max(0)).unwrap_or(u32::MAX)
    }

    /// Own rights that no call and no loan needs.
    pub fn free(&self) -> u32 {
        let idle = self.usable().saturating_sub(self.live()).saturating_sub(self.borrowed());
        idle.min(self.base.saturating_sub(self.lent()))
    }

    /// Idle rights that phones here are worth: their first calls wait for nothing. A bounded share, so that an account
    /// whose phones are everywhere is not all kept idle.
    pub fn kept_for_phones(&self, sites: u32) -> u32 {
        match (self.phones, self.limit()) {
            (0, _) | (_, 0) => 0,
            (phones, limit) => (phones / PHONES_A_RIGHT).min(limit / (2 * sites)).max(1),
        }
    }

    /// Takes up to `wanted` free rights out of the shards' hands; the caller writes down at once where they went.
    pub fn withdraw(&self, wanted: u32) -> u32 {
        let wanted = wanted.min(self.free());
        if self.terms.is_some() { self.cell.withdraw(wanted) } else { wanted }
    }

    /// For other sites and for people.
    pub fn figures(&self) -> Figures {
        Figures {
            base: self.base,
            lent: self.lent(),
            borrowed: self.borrowed(),
            live: self.live(),
            refused: self.busy.as_ref().map_or(0, |busy| busy.refused),
        }
    }

    /// Another site asked here in vain a moment ago.
    pub fn begged(&self, now: Instant) -> bool {
        let mut hints = self.busy.iter().flat_map(|busy| &busy.hints);
        hints.any(|hint| hint.begged_at.is_some_and(|at| now.since(at) < 2 * TURN))
    }

    /// Some site had nothing to spare a moment ago.
    pub fn is_scarce(&self, now: Instant) -> bool {
        self.busy.iter().flat_map(|busy| &busy.hints).any(|hint| hint.was_denied(now))
    }

    pub fn placement(&mut self, site: SiteId) -> &mut Placement {
        let at = self.placed.iter().position(|row| row.site == site).unwrap_or_else(|| {
            self.placed.push(Placement { site, total: 0, ceded: 0, acknowledged: 0, again_at: Instant::ZERO });
            self.placed.len() - 1
        });
        &mut self.placed[at]
    }

    pub fn receipt(&mut self, home: SiteId) -> &mut Receipt {
        let at = self.received.iter().position(|row| row.home == home).unwrap_or_else(|| {
            let (settled, again_at) = (0, Instant::ZERO);
            self.received.push(Receipt { home, total: 0, ceded: 0, settled, again_at, recalled: None });
            self.received.len() - 1
        });
        &mut self.received[at]
    }

    pub fn hint(&mut self, site: SiteId, now: Instant) -> &mut Hint {
        let hints = &mut self.busy().hints;
        let at = hints.iter().position(|hint| hint.site == site).unwrap_or_else(|| {
            let (probe_at, backoff, figures) = (now, Duration::ZERO, Figures::default());
            hints.push(Hint {
                site,
                figures,
                at: Instant::ZERO,
                wanted_at: None,
                denied: false,
                denied_at: None,
                probe_at,
                backoff,
                begged_at: None,
            });
            hints.len() - 1
        });
        &mut hints[at]
    }
}
