//! Octets may be damaged: what is thawed must be such that no arithmetic of the machine can fail on it, and no table say
//! two things. What it says of rights is believed: it comes from this very site.

use super::{Frozen, Row};
use crate::tally::rights::account::{Busy, Hint, Placement, Receipt};
use crate::tally::rights::borrow::BACKOFF_MAX;
use crate::tally::rights::founding::ROUNDS;
use crate::tally::{LoanId, SiteId};
use std::collections::HashSet;

/// Numbers that only count up stay far below their end.
const COUNT_MAX: u64 = 1 << 62;

/// What must be there once: sites in each list, the rest over all accounts.
#[derive(Default)]
struct Seen {
    /// The last list that each site was in.
    sites: Vec<u64>,
    lists: u64,
    lent: HashSet<LoanId>,
    loans: HashSet<(SiteId, LoanId)>,
    questions: HashSet<u64>,
}

fn must(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("the rights at rest are damaged: {otherwise}")) }
}

impl Seen {
    /// No site twice in this list, none that is unknown.
    fn sites_once(&mut self, mut list: impl Iterator<Item = SiteId>) -> bool {
        self.lists += 1;
        let once = |last: &mut u64| std::mem::replace(last, self.lists) != self.lists;
        list.all(|site| self.sites.get_mut(usize::from(site.0)).is_some_and(once))
    }
}

impl Frozen {
    pub(super) fn check(&self) -> Result<(), String> {
        let counts = [self.loan_number, self.request_number, self.written, self.granted, self.denied, self.refused];
        must(counts.iter().all(|count| *count < COUNT_MAX), "a count is too high")?;
        must(self.sites.len() <= usize::from(u16::MAX) + 1, "there are too many sites")?;
        must(self.founding.rounds <= ROUNDS, "too many rounds of founding")?;
        let mut seen = Seen { sites: vec![0; self.sites.len()], ..Seen::default() };
        self.accounts.iter().try_for_each(|row| self.check_row(row, &mut seen))
    }

    fn check_row(&self, row: &Row, seen: &mut Seen) -> Result<(), String> {
        must(row.terms.is_some() || row.live == 0, "calls on an account that was never configured")?;
        must(seen.sites_once(row.placed.iter().map(|placed| placed.site)), "a site of a placement")?;
        must(seen.sites_once(row.received.iter().map(|received| received.home)), "a home")?;
        must(row.placed.iter().all(placement_fits), "a placement")?;
        must(row.received.iter().all(receipt_fits), "a receipt")?;
        row.busy.as_deref().map_or(Ok(()), |busy| self.check_busy(row, busy, seen))
    }

    fn check_busy(&self, row: &Row, busy: &Busy, seen: &mut Seen) -> Result<(), String> {
        let known = |site: SiteId| usize::from(site.0) < self.sites.len();
        must(seen.sites_once(busy.hints.iter().map(|hint| hint.site)), "a site of a hint")?;
        must(busy.hints.iter().all(hint_fits), "a hint")?;
        let lent =
            busy.lent.iter().all(|lent| known(lent.to) && self.is_ours(lent.loan) && seen.lent.insert(lent.loan));
        must(lent, "a loan out")?;
        let loans = busy.loans.iter().all(|loan| known(loan.from) && seen.loans.insert((loan.from, loan.loan)));
        must(loans, "a loan in")?;
        let asked = |number: u64| number <= self.request_number;
        let open =
            busy.open.iter().all(|open| known(open.to) && asked(open.number) && seen.questions.insert(open.number));
        must(open, "a question")?;
        // Everything that could be usable here, together.
        let received: u64 = row.received.iter().map(Receipt::net).sum();
        let borrowed: u64 = busy.loans.iter().map(|loan| u64::from(loan.amount)).sum();
        let most = u64::from(row.issued) + received + borrowed;
        must(most <= u64::from(u32::MAX), "more rights than there can be")
    }

    fn is_ours(&self, loan: LoanId) -> bool {
        (loan.incarnation, loan.number) <= (self.me.incarnation, self.loan_number)
    }
}

fn placement_fits(row: &Placement) -> bool {
    row.ceded <= row.total && row.acknowledged <= row.total && row.total < COUNT_MAX && row.net() <= u64::from(u32::MAX)
}

fn receipt_fits(row: &Receipt) -> bool {
    row.settled <= row.ceded && row.ceded <= row.total && row.total < COUNT_MAX && row.net() <= u64::from(u32::MAX)
}

fn hint_fits(hint: &Hint) -> bool {
    hint.backoff <= BACKOFF_MAX
}
