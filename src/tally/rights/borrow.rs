//! The borrower's side: ask ahead of need, count a loan's time from one's own question, renew what is used, give back
//! what is not, and serve the calls that wait.
//!
//! Owned by the rights machine.

use super::account::{Account, Loan, Open, Waiter, idle};
use super::rules::Fault;
use super::view::Refusal;
use super::{Output, Policy, Rights, TURN};
use crate::base::Instant;
use crate::base::time::Duration;
use crate::tally::{LoanId, Message, RequestId, SiteId};
use std::sync::Arc;

/// Lenders asked at once for one account.
const OPEN_MAX: usize = 3;
/// A lender that has not answered by then is asked again, and another one as well.
const PATIENCE: Duration = Duration::from_millis(200);
/// Between two tries at lenders that had nothing to spare.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Between two questions for a right that phones have no call for yet.
const AHEAD_AGAIN: Duration = Duration::from_secs(30);
/// Calls that wait look for a right that a call here gave back.
const WAITERS_LOOK: Duration = Duration::from_millis(20);
/// Most loans in of one account; most calls of one account that wait.
const LOANS_PER_ACCOUNT_MAX: usize = 256;
const WAITERS_PER_ACCOUNT_MAX: usize = 1_024;

/// A loan as it came in.
pub(super) struct Offered {
    pub from: SiteId,
    pub request: RequestId,
    pub loan: LoanId,
    pub amount: u32,
}

impl Rights {
    /// A call was refused, or nearly so.
    pub(super) fn wanted(&mut self, now: Instant, index: usize) {
        let busy = self.accounts[index].busy();
        let known = busy.wanted_at.is_some_and(|at| now.since(at) < PATIENCE / 4);
        busy.wanted_at = Some(now);
        busy.refused = busy.refused.saturating_add(1);
        if !known {
            self.settle(now, index);
        }
    }

    /// A call waits.
    pub(super) fn call_waits(&mut self, now: Instant, index: usize, waiter: Waiter) {
        let account = &mut self.accounts[index];
        let full = self.waiters >= self.settings.waiters_max;
        let busy = account.busy();
        busy.wanted_at = Some(now);
        busy.refused = busy.refused.saturating_add(1);
        if full || busy.waiters.len() >= WAITERS_PER_ACCOUNT_MAX {
            self.refuse(now, index, Refusal::Full);
            return self.answer(&waiter, None);
        }
        self.waiters += 1;
        busy.waiters.push_back(waiter);
        self.settle(now, index);
    }

    fn answer(&mut self, waiter: &Waiter, permit: Option<crate::tally::Permit>) {
        self.outbox.push(Output::Right { shard: waiter.shard, call: waiter.call, permit });
    }

    fn refuse(&mut self, now: Instant, index: usize, why: Refusal) {
        self.refusals.insert(index as u32, (why, now));
    }

    /// Gives rights to those who wait, in the order they came; turns away those for whom it is late or hopeless.
    pub(super) fn serve_waiters(&mut self, now: Instant, index: usize) -> Instant {
        let asking = self.accounts[index].busy.as_ref().is_some_and(|busy| !busy.open.is_empty());
        let mut next = Instant::MAX;
        loop {
            let account = &mut self.accounts[index];
            let cell = Arc::clone(&account.cell);
            let Some(busy) = account.busy.as_mut() else { return Instant::MAX };
            let Some(waiter) = busy.waiters.front() else { break };
            let permit = if self.holding { None } else { cell.admit() };
            let late = waiter.deadline <= now;
            if permit.is_none() && !late && asking {
                next = now + WAITERS_LOOK;
                break;
            }
            let Some(waiter) = busy.waiters.pop_front() else { break };
            self.waiters -= 1;
            if permit.is_none() {
                let why = self.why_none(late, asking);
                self.refuse(now, index, why);
            }
            self.answer(&waiter, permit);
        }
        if let Some(busy) = self.accounts[index].busy.as_ref() {
            next = busy.waiters.iter().fold(next, |next, waiter| next.min(waiter.deadline));
        }
        next
    }

    fn why_none(&self, late: bool, asking: bool) -> Refusal {
        match () {
            () if self.holding => Refusal::Holding,
            () if !self.founded => Refusal::NotFounded,
            () if self.sites.linked().next().is_none() => Refusal::NoLink,
            () if late && asking => Refusal::NoAnswer,
            () => Refusal::Denied,
        }
    }

    /// Asks for rights where they are needed soon. Tells when to look again.
    pub(super) fn look_for_rights(&mut self, now: Instant, index: usize) -> Instant {
        let mut next = self.give_up_asking(now, index);
        let sites = self.site_count();
        let account = &mut self.accounts[index];
        let (live, usable, limit) = (account.live(), account.usable(), account.limit());
        let scarce = account.is_scarce(now);
        let missing = account.kept_for_phones(sites).saturating_sub(usable.saturating_sub(live));
        if missing > 0 {
            account.busy();
        }
        let Some(busy) = account.busy.as_mut() else { return Instant::MAX };
        let growing = live > busy.live_before;
        let wanted = busy.wanted_at.is_some_and(|at| now.since(at) < TURN);
        let tight = u64::from(live) * 5 >= u64::from(usable) * 4;
        let waits = busy.waiters.len() as u32;
        if waits == 0 && !(tight && (wanted || (growing && live > 0))) {
            return next.min(self.ask_ahead(now, index, missing));
        }
        if self.holding || limit == 0 || busy.loans.len() >= LOANS_PER_ACCOUNT_MAX {
            return next;
        }
        // Where rights are scarce, no more than calls were refused: what is idle here is missing elsewhere.
        let ahead = if scarce { busy.refused.min(live / 4).max(u32::from(waits == 0)) } else { (live / 4).max(1) };
        let wish = waits.saturating_add(ahead).min(limit);
        let patient = busy.open.iter().all(|open| !open.urgent || open.sent_at + PATIENCE <= now);
        if patient && busy.open.len() < OPEN_MAX {
            match self.choose_lender(now, index) {
                Ok(site) => {
                    self.ask(now, index, site, wish, true);
                    next = next.min(now + PATIENCE);
                }
                Err(look_at) => next = next.min(look_at),
            }
        }
        next
    }

    /// Phones here have no idle right for their next call: one is asked for, of nobody who needs it.
    fn ask_ahead(&mut self, now: Instant, index: usize, missing: u32) -> Instant {
        let room = self.borrowed_from.len() < self.settings.loans_max / 16;
        let Some(busy) = self.accounts[index].busy.as_mut().filter(|_| missing > 0) else { return Instant::MAX };
        if busy.ahead_at > now || !busy.open.is_empty() || self.links == 0 || self.holding {
            return if busy.ahead_at > now { busy.ahead_at } else { Instant::MAX };
        }
        busy.ahead_at = now + AHEAD_AGAIN + Duration::from_millis(self.random.below(AHEAD_AGAIN.as_millis() as u64));
        let next = busy.ahead_at;
        if let Some(site) = room.then(|| self.choose_lender(now, index).ok()).flatten() {
            self.ask(now, index, site, missing, false);
        }
        next
    }

    /// Phones have registered here, or have left.
    pub(super) fn registered(&mut self, now: Instant, index: usize, phones: u32) {
        let account = &mut self.accounts[index];
        if std::mem::replace(&mut account.phones, phones) != phones {
            self.settle(now, index);
        }
    }

    /// Questions whose answer would be worth nothing any more are forgotten; others are repeated.
    fn give_up_asking(&mut self, now: Instant, index: usize) -> Instant {
        let lease = self.rules.lease;
        let incarnation = self.me.incarnation;
        let account = &mut self.accounts[index];
        let Some(mut busy) = account.busy.take() else { return Instant::MAX };
        let mut next = Instant::MAX;
        busy.open.retain_mut(|open| {
            if open.sent_at + lease <= now || self.sites.is_retired(open.to) {
                self.asked_for.remove(&open.number);
                return false;
            }
            if open.again_at <= now {
                open.again_at = now + 4 * PATIENCE;
                if self.sites.is_linked(open.to) {
                    self.outbox.send(open.to, request_message(account, open, incarnation));
                }
            }
            next = next.min(open.again_at).min(open.sent_at + lease);
            true
        });
        account.busy = Some(busy);
        next
    }

    /// The linked site that most likely has rights to spare: by its figures, the home before others. Otherwise when to
    /// look again.
    fn choose_lender(&self, now: Instant, index: usize) -> Result<SiteId, Instant> {
        let account = &self.accounts[index];
        let Some(busy) = &account.busy else { return Err(Instant::MAX) };
        let mut best: Option<(u32, SiteId)> = None;
        let mut next = Instant::MAX;
        for (site, row) in self.sites.linked() {
            if busy.open.iter().any(|open| open.to == site && open.urgent) {
                continue;
            }
            let hint = busy.hints.iter().find(|hint| hint.site == site);
            if let Some(hint) = hint.filter(|hint| hint.denied && hint.probe_at > now) {
                next = next.min(hint.probe_at);
                continue;
            }
            let fresh = hint.and_then(|hint| hint.fresh(now));
            let unknown = account.limit() / (self.sites.linked().count() as u32 + 1);
            let home = u32::from(account.lives_at(&row.name));
            let score = fresh.map_or(unknown, idle).saturating_mul(2) + home;
            if best.is_none_or(|(most, _)| score > most) {
                best = Some((score, site));
            }
        }
        best.map(|(_, site)| site).ok_or(next)
    }

    fn ask(&mut self, now: Instant, index: usize, to: SiteId, wanted: u32, urgent: bool) {
        self.request_number += 1;
        let number = self.request_number;
        let open = Open { number, to, wanted, urgent, sent_at: now, again_at: now + PATIENCE };
        let account = &mut self.accounts[index];
        self.outbox.send(to, request_message(account, &open, self.me.incarnation));
        account.busy().open.push(open);
        self.asked_for.insert(number, index as u32);
    }

    /// The open question of that number, if it was put to that site by this process.
    fn open_question(&self, from: SiteId, request: RequestId) -> Option<(usize, usize)> {
        if request.incarnation != self.me.incarnation {
            return None;
        }
        let index = *self.asked_for.get(&request.number)? as usize;
        let open = &self.accounts[index].busy.as_ref()?.open;
        let at = open.iter().position(|open| open.number == request.number && open.to == from)?;
        Some((index, at))
    }

    pub(super) fn denied_by(&mut self, now: Instant, from: SiteId, request: RequestId) {
        let Some((index, at)) = self.open_question(from, request) else { return };
        self.asked_for.remove(&request.number);
        let jitter = Duration::from_millis(self.random.below(50));
        let account = &mut self.accounts[index];
        if !account.busy().open.remove(at).urgent {
            return self.settle(now, index);
        }
        let hint = account.hint(from, now);
        hint.backoff = (hint.backoff * 3 / 2).clamp(BACKOFF_MIN, BACKOFF_MAX);
        (hint.denied, hint.denied_at, hint.probe_at) = (true, Some(now), now + hint.backoff + jitter);
        hint.at = Instant::ZERO;
        self.settle(now, index);
    }

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

    fn question(&self, index: usize, at: usize) -> Option<(u32, Instant)> {
        let open = self.accounts[index].busy.as_ref()?.open.get(at)?;
        Some((open.wanted, open.sent_at))
    }

    fn not_asked(&mut self, now: Instant, account: &str, offered: &Offered) {
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

    fn take(&mut self, now: Instant, index: usize, offered: &Offered, expiry: Instant, sent_at: Instant) {
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

    fn loan_mut(&mut self, from: SiteId, loan: LoanId) -> Option<(usize, &mut Loan)> {
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
    fn return_what_ran_off(&mut self, now: Instant, index: usize) -> Instant {
        let sites = self.site_count();
        let account = &mut self.accounts[index];
        let live = account.live();
        let needed = live.saturating_sub(account.usable());
        let (mut ended, mut called_in) = (account.running_off(), account.called_in());
        let headroom = (live / 8).max(account.kept_for_phones(sites));
        let cell = Arc::clone(&account.cell);
        let wanted_here = account.busy.as_ref().and_then(|busy| busy.wanted_at).is_some_and(|at| now.since(at) < TURN);
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
                let idle = (called || loan.renew_at <= now) && idle() >= loan.amount.saturating_add(keep);
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

fn request_message(account: &Account, open: &Open, incarnation: u32) -> Message {
    let request = RequestId { incarnation, number: open.number };
    let (wanted, urgent, sent_at) = (open.wanted, open.urgent, open.sent_at);
    Message::Request { request, account: Arc::clone(&account.name), wanted, urgent, sent_at }
}
