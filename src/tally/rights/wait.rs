//! Calls that wait for a right: served in the order they came, and each answered once.
//!
//! Owned by the rights machine.

use super::account::Waiter;
use super::view::Refusal;
use super::{Output, Rights};
use crate::base::Instant;
use crate::base::time::Duration;
use std::sync::Arc;

/// Calls that wait look for a right that a call here gave back.
const WAITERS_LOOK: Duration = Duration::from_millis(20);
/// Most calls of one account that wait.
const WAITERS_PER_ACCOUNT_MAX: usize = 1_024;

impl Rights {
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

    pub(super) fn answer(&mut self, waiter: &Waiter, permit: Option<crate::tally::Permit>) {
        self.outbox.push(Output::Right { shard: waiter.shard, call: waiter.call, permit });
    }

    pub(super) fn refuse(&mut self, now: Instant, index: usize, why: Refusal) {
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

    pub(super) fn why_none(&self, late: bool, asking: bool) -> Refusal {
        match () {
            () if self.holding => Refusal::Holding,
            () if !self.founded => Refusal::NotFounded,
            () if self.sites.linked().next().is_none() => Refusal::NoLink,
            () if late && asking => Refusal::NoAnswer,
            () => Refusal::Denied,
        }
    }
}
