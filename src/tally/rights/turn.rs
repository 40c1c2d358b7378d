//! One account's turn: everything that may be due for it, in the one order that is safe, and when to look again.
//!
//! Owned by the rights machine. Each account has one timer; accounts without dealings have none. What concerns all
//! accounts (a link, the end of the hold) goes through them in pieces.

use super::{Rights, TURN};
use crate::base::Instant;
use crate::base::time::Duration;
use crate::tally::{Figures, Message, SiteId};
use std::sync::Arc;

/// Accounts that one call of `handle_timeout` goes through at most.
pub(super) const PIECE: usize = 1_024;
/// Figures are fresh for twice as long.
const TELL_AGAIN: Duration = Duration::from_secs(5);
/// No account is looked at more often by itself.
const TICK: Duration = Duration::from_millis(1);

/// A walk over all accounts.
#[derive(Debug)]
pub(super) struct Sweep {
    pub next: usize,
    pub what: What,
}

/// What is done with each account before it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Nothing more.
    Settle,
    /// The link to a site is new: what it may have missed is said again.
    Greet(SiteId),
    /// A home is retired: base rights that it has issued are void.
    Void(SiteId),
    /// A site was retired long enough ago: base rights that were placed there come home.
    WriteOff(SiteId),
}

impl Rights {
    /// Does everything that is due for an account. Losses come before gains: what has ended leaves the cell first.
    pub(super) fn settle(&mut self, now: Instant, index: usize) {
        let mut next = self.look_after_loans(now, index);
        next = next.min(self.look_after_lent(now, index));
        next = next.min(self.look_after_receipts(now, index));
        next = next.min(self.look_after_home(now, index));
        next = next.min(self.look_after_former(now, index));
        self.push(index);
        next = next.min(self.look_for_rights(now, index));
        next = next.min(self.serve_waiters(now, index));
        next = next.min(self.tell_beggars(now, index));
        next = next.min(self.take_notice(now, index));
        self.set_may_borrow(now, index);
        self.schedule(now, index, next);
    }

    /// Tells the cell what the books say. The only place that raises it.
    pub(super) fn push(&mut self, index: usize) {
        let account = &self.accounts[index];
        let Some(terms) = &account.terms else { return };
        let allowance = if self.settings.allowance && self.cut_off { terms.allowance } else { 0 };
        let usable = if self.holding { 0 } else { account.usable().saturating_add(allowance) };
        account.cell.set_usable(usable.saturating_sub(account.former()));
    }

    /// Waiting makes sense while some linked site may have rights to spare. One that had none a moment ago may not, nor
    /// one whose figures say so: rights that come free there are fetched behind the calls' back, and calls are told at
    /// once.
    pub(super) fn set_may_borrow(&self, now: Instant, index: usize) {
        let account = &self.accounts[index];
        let hints = || account.busy.iter().flat_map(|busy| &busy.hints);
        let hint_of = |site: SiteId| hints().find(|hint| hint.site == site);
        let small = account.limit() < 2 * self.site_count();
        let hope = self.sites.linked().any(|(site, row)| match hint_of(site) {
            Some(hint) if hint.is_hopeless(now) => false,
            Some(hint) if hint.fresh(now).is_some() => true,
            // Nobody knows: but of a small account nobody has rights to lend but its home.
            _ => !small || account.lives_at(&row.name),
        });
        account.cell.set_may_borrow(!self.holding && hope);
        account.cell.set_cut_off(self.cut_off);
    }

    /// Calls on a cell that the configuration has replaced end by and by.
    fn look_after_former(&mut self, now: Instant, index: usize) -> Instant {
        let Some(busy) = self.accounts[index].busy.as_mut() else { return Instant::MAX };
        busy.former.retain(|cell| cell.read().0 > 0);
        let next = if busy.former.is_empty() { Instant::MAX } else { now + TURN / 4 };
        let account = &self.accounts[index];
        let void = account.borrowed() == 0 && account.running_off() == 0 && account.base < account.lent();
        let excess_calls = account.live().saturating_sub(account.usable() + account.called_in());
        if void && excess_calls > 0 {
            self.hang_up(now, index, excess_calls);
        }
        next
    }

    /// Remembers how many calls there were, tells others where rights are, forgets what has no use any more.
    fn take_notice(&mut self, now: Instant, index: usize) -> Instant {
        let account = &mut self.accounts[index];
        let live = account.live();
        let lease = self.rules.lease;
        let Some(busy) = account.busy.as_mut() else { return Instant::MAX };
        busy.live_before = live;
        if live >= busy.live_peak || now.since(busy.peak_at) > lease / 3 {
            (busy.live_peak, busy.peak_at) = (live, now);
        }
        let recent = busy.wanted_at.is_some_and(|at| now.since(at) < 10 * TURN);
        let dealings = !(busy.lent.is_empty() && busy.loans.is_empty() && busy.open.is_empty());
        let waits = !busy.waiters.is_empty() || busy.ahead_at > now;
        let elsewhere = busy.hints.iter().filter_map(|hint| hint.wanted_at).any(|at| now.since(at) < 10 * TURN);
        if !recent && !elsewhere && !dealings && !waits && busy.former.is_empty() {
            account.busy = None;
            return Instant::MAX;
        }
        if !self.sites.linked().any(|_| true) {
            return now + TURN;
        }
        self.tell_figures(now, index, recent || elsewhere);
        now + if recent || elsewhere { TURN / 2 } else { lease / 6 }
    }

    /// A hint for all that are linked: at most once a second, and only what is new, or about to be forgotten while rights
    /// are wanted somewhere: whoever knows that there are none need not let a call wait for the news.
    fn tell_figures(&mut self, now: Instant, index: usize, wanted: bool) {
        let account = &mut self.accounts[index];
        let figures = account.figures();
        let name = Arc::clone(&account.name);
        let Some(busy) = account.busy.as_mut() else { return };
        let again = if wanted { TELL_AGAIN } else { Duration::MAX };
        if busy.told.is_some_and(|(at, told)| now.since(at) < TURN || (told == figures && now.since(at) < again)) {
            return;
        }
        busy.told = Some((now, figures));
        busy.refused = 0;
        let linked: Vec<SiteId> = self.sites.linked().map(|(site, _)| site).collect();
        for site in linked {
            self.outbox.send(site, Message::Figures { account: Arc::clone(&name), figures });
        }
    }

    /// A site's hint. Rights to spare are good news for those who were denied.
    pub(super) fn figures_of(&mut self, now: Instant, from: SiteId, account: &str, figures: Figures) {
        let Some(index) = self.find(account) else { return };
        let account = &mut self.accounts[index];
        if account.busy.is_none() && figures.refused == 0 {
            return;
        }
        let hint = account.hint(from, now);
        (hint.figures, hint.at) = (figures, now);
        hint.wanted_at = if figures.refused > 0 { Some(now) } else { hint.wanted_at };
        let good_news = hint.denied && super::account::idle(&figures) > 0;
        hint.denied &= !good_news;
        if good_news || account.timer.is_none() {
            self.settle(now, index);
        }
    }

    fn schedule(&mut self, now: Instant, index: usize, next: Instant) {
        let account = &mut self.accounts[index];
        if account.timer.as_ref().is_some_and(|(at, _)| *at == next) {
            return;
        }
        if let Some((_, key)) = account.timer.take() {
            self.wheel.cancel(key);
        }
        if next < Instant::MAX {
            let at = next.max(now + TICK);
            account.timer = self.wheel.schedule(at, index as u32).ok().map(|key| (at, key));
        }
    }

    pub(super) fn timers(&mut self, now: Instant) {
        while let Some(index) = self.wheel.pop_expired(now) {
            self.accounts[index as usize].timer = None;
            self.settle(now, index as usize);
        }
    }

    /// Looks at all accounts, soon.
    pub(super) fn sweep_all(&mut self) {
        if !self.sweeps.iter().any(|sweep| sweep.what == What::Settle && sweep.next == 0) {
            self.sweeps.push_back(Sweep { next: 0, what: What::Settle });
        }
    }

    /// A walk over all accounts is under way.
    #[must_use]
    pub fn is_sweeping(&self) -> bool {
        !self.sweeps.is_empty()
    }

    pub(super) fn sweep(&mut self, now: Instant) {
        let Some(mut sweep) = self.sweeps.pop_front() else { return };
        let end = (sweep.next + PIECE).min(self.accounts.len());
        for index in sweep.next..end {
            let touched = match sweep.what {
                What::Settle => true,
                What::Greet(site) => {
                    self.repeat_all(index, site);
                    self.borrower_restarted(now, index, site);
                    true
                }
                What::Void(home) => self.make_void(index, home),
                What::WriteOff(site) => self.write_off(index, site),
            };
            if touched {
                self.settle(now, index);
            }
        }
        sweep.next = end;
        if end < self.accounts.len() {
            self.sweeps.push_front(sweep);
        }
    }
}
