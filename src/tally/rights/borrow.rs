//! Asking for rights: ahead of need, of the site that most likely has some, for calls before phones.
//!
//! Owned by the rights machine.

use super::account::{Account, Open, idle};
use super::{Rights, TURN};
use crate::base::Instant;
use crate::base::time::Duration;
use crate::tally::{Message, RequestId, SiteId};
use std::sync::Arc;

/// Lenders asked at once for one account.
const OPEN_MAX: usize = 3;
/// A lender that has not answered by then is asked again, and another one as well.
const PATIENCE: Duration = Duration::from_millis(200);
/// Between two tries at lenders that had nothing to spare.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Between two questions for a right that phones have no call for yet.
pub(super) const AHEAD_AGAIN: Duration = Duration::from_secs(30);
/// Most loans in of one account.
const LOANS_PER_ACCOUNT_MAX: usize = 256;

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
    pub(super) fn ask_ahead(&mut self, now: Instant, index: usize, missing: u32) -> Instant {
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
    pub(super) fn give_up_asking(&mut self, now: Instant, index: usize) -> Instant {
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
    pub(super) fn choose_lender(&self, now: Instant, index: usize) -> Result<SiteId, Instant> {
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
            let score = fresh.map_or(unknown, idle).saturating_mul(2).saturating_add(home);
            if best.is_none_or(|(most, _)| score > most) {
                best = Some((score, site));
            }
        }
        best.map(|(_, site)| site).ok_or(next)
    }

    pub(super) fn ask(&mut self, now: Instant, index: usize, to: SiteId, wanted: u32, urgent: bool) {
        self.request_number += 1;
        let number = self.request_number;
        let open = Open { number, to, wanted, urgent, sent_at: now, again_at: now + PATIENCE };
        let account = &mut self.accounts[index];
        self.outbox.send(to, request_message(account, &open, self.me.incarnation));
        account.busy().open.push(open);
        self.asked_for.insert(number, index as u32);
    }

    /// The open question of that number, if it was put to that site by this process.
    pub(super) fn open_question(&self, from: SiteId, request: RequestId) -> Option<(usize, usize)> {
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
}

fn request_message(account: &Account, open: &Open, incarnation: u32) -> Message {
    let request = RequestId { incarnation, number: open.number };
    let (wanted, urgent, sent_at) = (open.wanted, open.urgent, open.sent_at);
    Message::Request { request, account: Arc::clone(&account.name), wanted, urgent, sent_at }
}
