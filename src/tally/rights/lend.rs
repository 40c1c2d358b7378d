//! The lender's side: rights leave only after the cell has lost them and the ledger has them, and come back only when
//! the borrower says so or cannot have them any more.
//!
//! Owned by the rights machine.

use super::account::{Account, Lent};
use super::fault::Fault;
use super::settings::Policy;
use super::{Rights, TURN};
use crate::base::Instant;
use crate::tally::{LoanId, Message, Record, RequestId, SiteId};
use std::sync::Arc;

/// Most loans of one account that are out at once.
const LOANS_PER_ACCOUNT_MAX: usize = 256;
/// One loan is at most this part of the limit, so that what comes back idle comes in pieces.
const PART: u32 = 32;

/// A request as it came in.
pub(super) struct Asked {
    pub from: SiteId,
    pub request: RequestId,
    pub wanted: u32,
    pub urgent: bool,
    pub sent_at: Instant,
}

impl Rights {
    pub(super) fn asked(&mut self, now: Instant, account: &str, asked: &Asked) {
        let denied = Message::Denied { request: asked.request };
        let Some(index) = self.find(account) else { return self.outbox.send(asked.from, denied) };
        if self.repeats(index, asked) {
            return;
        }
        let amount = if self.may_lend(index) { self.spare(now, index, asked) } else { 0 };
        if amount == 0 {
            self.denied += 1;
            // What is idle here and borrowed goes back first: then the one who asked knows whom to ask.
            if asked.urgent {
                self.accounts[index].hint(asked.from, now).begged_at = Some(now);
                self.settle(now, index);
            }
            return self.outbox.send(asked.from, denied);
        }
        self.lend(now, index, asked, amount);
    }

    /// The same request again: its loan is on its way, or got lost.
    fn repeats(&mut self, index: usize, asked: &Asked) -> bool {
        let account = &self.accounts[index];
        let mut lent = account.busy.iter().flat_map(|busy| &busy.lent);
        let Some(lent) = lent.find(|lent| lent.to == asked.from && lent.request == asked.request) else { return false };
        let loan = loan_message(account, lent, asked.sent_at);
        self.outbox.send_after(asked.from, loan);
        true
    }

    fn may_lend(&self, index: usize) -> bool {
        let account = &self.accounts[index];
        let recalled = account.received.iter().any(|row| row.recalled.is_some());
        let out = account.busy.as_ref().map_or(0, |busy| busy.lent.len());
        self.may_write()
            && !self.holding
            && account.gap() == 0
            && !recalled
            && out < LOANS_PER_ACCOUNT_MAX
            && self.lent_to.len() < self.settings.loans_max
    }

    /// How much this site can do without: less for one that has no calls to refuse than for one that has.
    fn spare(&self, now: Instant, index: usize, asked: &Asked) -> u32 {
        let account = &self.accounts[index];
        let mut hints = account.busy.iter().flat_map(|busy| &busy.hints);
        let starving = hints.any(|hint| hint.site == asked.from && hint.figures.refused > 0);
        let part = account.limit().div_ceil(PART).max(1);
        let kept = if asked.urgent { 0 } else { account.kept_for_phones(self.site_count()) };
        self.free_beyond_own(now, index, starving).saturating_sub(kept).min(asked.wanted).min(part)
    }

    /// Free rights less those that this site's own calls needed a moment ago.
    fn free_beyond_own(&self, now: Instant, index: usize, starving: bool) -> u32 {
        let account = &self.accounts[index];
        let recent = account.busy.as_ref().filter(|busy| now.since(busy.peak_at) < self.rules.lease);
        let needed = recent.map_or(0, |busy| busy.live_peak.saturating_sub(account.live()));
        account.free().saturating_sub(needed.min(account.limit() / if starving { 400 } else { 20 }))
    }

    /// Tells those who asked in vain lately that something has come free. Tells when to look again.
    pub(super) fn tell_beggars(&mut self, now: Instant, index: usize) -> Instant {
        if !self.accounts[index].begged(now) {
            return Instant::MAX;
        }
        let begged = |at: Option<Instant>| at.is_some_and(|at| now.since(at) < 2 * TURN);
        if self.may_lend(index) && self.free_beyond_own(now, index, true) > 0 {
            let account = &mut self.accounts[index];
            let (name, figures) = (Arc::clone(&account.name), account.figures());
            for hint in account.busy().hints.iter_mut().filter(|hint| begged(hint.begged_at)) {
                hint.begged_at = None;
                self.outbox.send(hint.site, Message::Figures { account: Arc::clone(&name), figures });
            }
        }
        now + TURN / 10
    }

    fn lend(&mut self, now: Instant, index: usize, asked: &Asked, amount: u32) {
        let account = &mut self.accounts[index];
        let amount = if self.rules.has(Fault::LendLeased) {
            account.cell.withdraw(asked.wanted)
        } else {
            account.withdraw(amount)
        };
        if amount == 0 {
            return self.outbox.send(asked.from, Message::Denied { request: asked.request });
        }
        self.loan_number += 1;
        let loan = LoanId { incarnation: self.me.incarnation, number: self.loan_number };
        let lent = Lent {
            loan,
            to: asked.from,
            request: asked.request,
            amount,
            reclaim_at: now + self.rules.reclaim,
            remind_at: now + self.rules.lease,
            closing: false,
        };
        let message = loan_message(account, &lent, asked.sent_at);
        let (request, name) = (asked.request, Arc::clone(&account.name));
        let record = Record::Lent { loan, account: name, to: asked.from, request, amount };
        account.busy().lent.push(lent);
        self.lent_to.insert(loan, index as u32);
        self.granted += 1;
        if self.rules.has(Fault::SendBeforeDurable) {
            self.outbox.send(asked.from, message.clone());
        }
        if self.rules.has(Fault::LoansNotDurable) {
            return self.outbox.send(asked.from, message);
        }
        self.outbox.persist(record);
        self.outbox.send_after(asked.from, message);
    }

    /// A borrower wants to keep a loan. Nothing is written: after a restart the whole wait begins again anyway.
    pub(super) fn asked_to_renew(&mut self, now: Instant, from: SiteId, loan: LoanId, sent_at: Instant) {
        let reclaim_at = now + self.rules.reclaim;
        let remind_at = now + self.rules.lease;
        let index = self.lent_to.get(&loan).map(|&index| index as usize);
        let wanted_back = index.is_some_and(|index| self.wants_back(now, index));
        let void = index.is_some_and(|index| self.accounts[index].base < self.accounts[index].lent());
        let goes_on = self.settings.policy == Policy::Drop && !void && !self.rules.has(Fault::CalledInEnds);
        let Some((_, lent)) = self.lent_mut(from, loan) else {
            return self.outbox.send(from, Message::Closed { loan });
        };
        lent.remind_at = remind_at;
        lent.closing |= wanted_back || void;
        let closing = lent.closing;
        if !closing || goes_on {
            lent.reclaim_at = lent.reclaim_at.max(reclaim_at);
            self.outbox.send(from, Message::Renewed { loan, sent_at });
        }
        if closing {
            self.outbox.send(from, Message::Closed { loan });
        }
    }

    /// The limit was lowered, or calls are refused here while own rights are away: then one loan at a time is called in.
    /// Calls that were admitted on it do not end for that: under *keep* it runs off once its time is over; under *drop*
    /// it admits nothing more and is renewed until they have ended. Only a loan of rights that are void ends with calls.
    fn wants_back(&self, now: Instant, index: usize) -> bool {
        let account = &self.accounts[index];
        if account.gap() > 0 || account.received.iter().any(|row| row.recalled.is_some()) {
            return true;
        }
        let Some(busy) = &account.busy else { return false };
        let in_want = busy.wanted_at.is_some_and(|at| now.since(at) < 2 * TURN);
        in_want && account.live() >= account.usable() && busy.lent.iter().all(|lent| !lent.closing)
    }

    fn lent_mut(&mut self, to: SiteId, loan: LoanId) -> Option<(usize, &mut Lent)> {
        let index = *self.lent_to.get(&loan)? as usize;
        let busy = self.accounts[index].busy.as_mut()?;
        busy.lent.iter_mut().find(|lent| lent.loan == loan && lent.to == to).map(|lent| (index, lent))
    }

    /// A borrower has no use for a loan any more, and has forgotten it.
    pub(super) fn returned(&mut self, now: Instant, from: SiteId, loan: LoanId) {
        if let Some((index, _)) = self.lent_mut(from, loan) {
            self.close_lent(index, |lent| lent.loan == loan);
            self.settle(now, index);
        }
    }

    /// Takes back the loans that `over` says, writes it down, and lets shards use them again.
    fn close_lent(&mut self, index: usize, mut over: impl FnMut(&Lent) -> bool) {
        let account = &mut self.accounts[index];
        let Some(busy) = account.busy.as_mut() else { return };
        busy.lent.retain(|lent| {
            let over = over(lent);
            if over {
                self.lent_to.remove(&lent.loan);
                self.outbox.persist(Record::Home { loan: lent.loan });
            }
            !over
        });
    }

    /// Loans past their time are home; borrowers that were not heard of are reminded. Tells when to look again.
    pub(super) fn look_after_lent(&mut self, now: Instant, index: usize) -> Instant {
        let Some(busy) = &self.accounts[index].busy else { return Instant::MAX };
        if busy.lent.iter().any(|lent| lent.reclaim_at <= now) {
            self.close_lent(index, |lent| lent.reclaim_at <= now);
        }
        let account = &mut self.accounts[index];
        let Some(mut busy) = account.busy.take() else { return Instant::MAX };
        let mut next = Instant::MAX;
        for lent in &mut busy.lent {
            if lent.remind_at <= now {
                lent.remind_at = now + self.rules.lease;
                if self.sites.is_linked(lent.to) {
                    self.outbox.send_after(lent.to, loan_message(account, lent, Instant::ZERO));
                }
            }
            next = next.min(lent.reclaim_at).min(lent.remind_at);
        }
        account.busy = Some(busy);
        next
    }

    /// A borrower may have restarted: its process before is dead, and so are its calls after X. What it had borrowed comes
    /// home without waiting for the calls' longest life.
    pub(super) fn borrower_restarted(&mut self, now: Instant, index: usize, site: SiteId) {
        let reclaim_at = now + self.rules.dead;
        let incarnation = self.sites.get(site).map_or(0, |site| site.incarnation);
        let Some(busy) = self.accounts[index].busy.as_mut() else { return };
        for lent in busy.lent.iter_mut().filter(|lent| lent.to == site && lent.request.incarnation < incarnation) {
            lent.reclaim_at = lent.reclaim_at.min(reclaim_at);
        }
    }
}

/// Tells a borrower of a loan, for the first time or again.
fn loan_message(account: &Account, lent: &Lent, sent_at: Instant) -> Message {
    let (request, loan, amount) = (lent.request, lent.loan, lent.amount);
    Message::Loan { request, loan, account: Arc::clone(&account.name), amount, sent_at }
}
