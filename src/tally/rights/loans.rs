//! Loans in: taken only in answer to a question, counted from it, renewed while they are used, given back when they are
//! not; and what becomes of calls when one ends.
//!
//! Owned by the rights machine.

use super::account::Loan;
use super::borrow::AHEAD_AGAIN;
use super::fault::Fault;
use super::{Output, Policy, Rights, TURN};
use crate::base::Instant;
use crate::base::time::Duration;
use crate::tally::{LoanId, Message, RequestId, SiteId};
use std::sync::Arc;

/// A loan as it came in.
pub(super) struct Offered {
    pub from: SiteId,
    pub request: RequestId,
    pub loan: LoanId,
    pub amount: u32,
}

impl Rights {
    /// A loan: taken only for a question of this process that is still open, once, and only as much as was asked for.
    /// One that answers nothing goes back: it was never used here.
    pub(super) fn offered(&mut self, now: Instant, account: &str, offered: &Offered) {
        let key = (offered.from, offered.loan);
        if self.borrowed_from.contains_key(&key) {
            return;
        }
        let Some((index, at)) = self.open_question(offered.from, offered.request) else {
            return self.not_asked(now, account, offered);
        };
        let Some((wanted, sent_at)) = self.question(index, at) else { return };
        let too_much = offered.amount > wanted && !self.rules.has(Fault::LendLeased);
        if *self.accounts[index].name != *account || offered.amount == 0 || too_much {
            return self.accuse(offered.from, "a loan that does not fit the question");
        }
        let expiry = self.rules.expiry(sent_at, now);
        self.asked_for.remove(&offered.request.number);
        self.accounts[index].busy().open.remove(at);
        if expiry <= now {
            return self.outbox.send(offered.from, Message::Return { loan: offered.loan });
        }
        self.take(now, index, offered, expiry, sent_at);
    }

    pub(super) fn question(&self, index: usize, at: usize) -> Option<(u32, Instant)> {
        let open = self.accounts[index].busy.as_ref()?.open.get(at)?;
        Some((open.wanted, open.sent_at))
    }

    pub(super) fn not_asked(&mut self, now: Instant, account: &str, offered: &Offered) {
        if self.rules.has(Fault::GrantReplay)
            && let Some(index) = self.find(account)
        {
            return self.take(now, index, offered, now + self.rules.lease, now);
        }
        if offered.request.incarnation > self.me.incarnation
            || (offered.request.incarnation == self.me.incarnation && offered.request.number > self.request_number)
        {
            return self.accuse(offered.from, "a loan that nobody asked for");
        }
        if !self.holding {
            self.outbox.send(offered.from, Message::Return { loan: offered.loan });
        }
    }

    pub(super) fn take(&mut self, now: Instant, index: usize, offered: &Offered, expiry: Instant, sent_at: Instant) {
        let account = &mut self.accounts[index];
        let hint = account.hint(offered.from, now);
        (hint.denied, hint.backoff) = (false, Duration::ZERO);
        hint.figures.lent = hint.figures.lent.saturating_add(offered.amount);
        account.busy().loans.push(Loan {
            from: offered.from,
            loan: offered.loan,
            amount: offered.amount,
            expiry,
            renew_at: sent_at + self.rules.lease * 2 / 5,
            renewed_at: sent_at,
            taken_at: now,
            closing: false,
            called_in: false,
            running_off: false,
        });
        self.borrowed_from.insert((offered.from, offered.loan), index as u32);
        self.settle(now, index);
    }

    pub(super) fn loan_mut(&mut self, from: SiteId, loan: LoanId) -> Option<(usize, &mut Loan)> {
        let index = *self.borrowed_from.get(&(from, loan))? as usize;
        let busy = self.accounts[index].busy.as_mut()?;
        busy.loans.iter_mut().find(|held| held.from == from && held.loan == loan).map(|held| (index, held))
    }

    pub(super) fn renewed(&mut self, now: Instant, from: SiteId, loan: LoanId, sent_at: Instant) {
        let expiry = self.rules.expiry(sent_at, now);
        let lease = self.rules.lease;
        let Some((index, held)) = self.loan_mut(from, loan) else { return };
        if sent_at > held.renewed_at {
            return self.accuse(from, "a renewal that nobody asked for");
        }
        if !held.running_off && expiry > held.expiry {
            held.expiry = expiry;
            held.renew_at = held.renew_at.max(sent_at + lease * 2 / 5);
            self.settle(now, index);
        }
    }

    pub(super) fn closed(&mut self, now: Instant, from: SiteId, loan: LoanId) {
        let runs_off = self.settings.policy == Policy::Drop && !self.rules.has(Fault::CalledInEnds);
        if let Some((index, held)) = self.loan_mut(from, loan) {
            held.closing = true;
            held.called_in = runs_off;
            self.settle(now, index);
        }
    }

    /// Ends loans whose time is over, renews those in use, returns idle ones. Tells when to look again.
    pub(super) fn look_after_loans(&mut self, now: Instant, index: usize) -> Instant {
        if self.accounts[index].busy.as_ref().is_none_or(|busy| busy.loans.is_empty()) {
            return Instant::MAX;
        }
        let mut loans = std::mem::take(&mut self.accounts[index].busy().loans);
        for loan in loans.iter_mut().filter(|loan| loan.expiry <= now) {
            loan.running_off = true;
        }
        self.accounts[index].busy().loans = loans;
        self.push(index);
        let mut next = self.return_what_ran_off(now, index);
        let Some(mut busy) = self.accounts[index].busy.take() else { return next };
        for loan in busy.loans.iter_mut().filter(|loan| !loan.running_off) {
            let renews = loan.called_in || !loan.closing;
            if loan.renew_at <= now && renews {
                (loan.renew_at, loan.renewed_at) = (now + self.rules.lease / 10, now);
                if self.sites.is_linked(loan.from) {
                    self.outbox.send(loan.from, Message::Renew { loan: loan.loan, sent_at: now });
                }
            }
            next = next.min(loan.expiry);
            next = if renews { next.min(loan.renew_at) } else { next.min(now + TURN) };
            next = if loan.called_in { next.min(now + TURN / 10) } else { next };
        }
        self.accounts[index].busy = Some(busy);
        next
    }

    /// Gives back what no call needs: idle loans about to be renewed or not renewed any more, and ended ones.
    pub(super) fn return_what_ran_off(&mut self, now: Instant, index: usize) -> Instant {
        let sites = self.site_count();
        let account = &mut self.accounts[index];
        let live = account.live();
        let needed = live.saturating_sub(account.usable());
        let (mut ended, mut called_in) = (account.running_off(), account.called_in());
        let headroom = (live / 8).max(account.kept_for_phones(sites));
        let cell = Arc::clone(&account.cell);
        let wanted_at = account.busy.as_ref().and_then(|busy| busy.wanted_at);
        let wanted_within = |time| wanted_at.is_some_and(|at| now.since(at) < time);
        let (wanted_here, wanted_lately) = (wanted_within(TURN), wanted_within(10 * TURN));
        let others_want = account.begged(now) && !wanted_here;
        let Some(busy) = account.busy.as_mut() else { return Instant::MAX };
        if others_want {
            busy.ahead_at = busy.ahead_at.max(now + AHEAD_AGAIN);
        }
        let (borrowed_from, outbox) = (&mut self.borrowed_from, &mut self.outbox);
        let idle = || {
            let (live, usable) = cell.read();
            usable.saturating_sub(live)
        };
        busy.loans.retain(|loan| {
            let over = if loan.running_off {
                let over = called_in + ended - loan.amount >= needed;
                ended -= if over { loan.amount } else { 0 };
                over
            } else if loan.called_in {
                let over = called_in - loan.amount >= needed;
                called_in -= if over { loan.amount } else { 0 };
                over
            } else {
                let called = loan.closing || (others_want && loan.taken_at + TURN / 4 <= now);
                let keep = if called { 0 } else { headroom };
                let idle =
                    (called || (loan.renew_at <= now && !wanted_lately)) && idle() >= loan.amount.saturating_add(keep);
                // A shard may have taken one meanwhile: then it stays, and the next push puts back what is missing.
                idle && cell.withdraw(loan.amount) == loan.amount
            };
            if over {
                borrowed_from.remove(&(loan.from, loan.loan));
                outbox.send(loan.from, Message::Return { loan: loan.loan });
            }
            !over
        });
        let excess = if ended == 0 { 0 } else { needed.saturating_sub(called_in) };
        self.hang_up(now, index, excess);
        if ended > 0 { now + TURN / 4 } else { Instant::MAX }
    }

    /// Policy *drop*: calls whose rights have ended end. What was said already is said again only when it must have
    /// happened long ago; what has come on top of it at once, since the lender waits no longer than slop.
    pub(super) fn hang_up(&mut self, now: Instant, index: usize, calls: u32) {
        let pause = self.settings.slop / 2;
        if self.settings.policy == Policy::Keep {
            return;
        }
        let account = &mut self.accounts[index];
        let name = Arc::clone(&account.name);
        let busy = account.busy();
        let (at, under_way) = busy.hanging_up;
        let under_way = if at + pause <= now { 0 } else { under_way.min(calls) };
        if calls > under_way {
            busy.hanging_up = (now, calls);
            self.outbox.push(Output::HangUp { account: name, calls: calls - under_way });
        } else {
            busy.hanging_up = (at, under_way);
        }
    }
}
