//! What the keeper of the rights writes to a shard: a right that a call has waited for, calls that lost theirs.

use super::admission;
use super::engine::Engine;
use super::state::{Call, Phase, Right};
use crate::base::{Instant, Slot};
use crate::observe::LimitReason;
use crate::tally::Permit;
use std::sync::atomic::{AtomicU32, Ordering};

impl Engine {
    /// A right that a call has waited for, or the news that there is none. For a call that is gone or waits no more it goes
    /// back at once.
    pub fn right(&mut self, now: Instant, call: Slot, permit: Option<Permit>) {
        self.core.now = now;
        self.with_call(call, |call, core| admission::on_right(call, core, permit));
        self.settle();
    }

    /// Ends the newest calls of an account that has more calls than rights, each for one of the `budget`.
    pub fn hang_up_some(&mut self, now: Instant, account: &str, budget: &AtomicU32) {
        self.core.now = now;
        let named = |right: &Right| right.account.as_deref() == Some(account);
        let holds = |call: &Call| call.phase != Phase::Ending && call.rights.iter().any(named);
        let mut found: Vec<(Instant, Slot)> =
            self.calls.iter().filter(|(_, call)| holds(call)).map(|(slot, call)| (call.facts.started, slot)).collect();
        found.sort_unstable_by_key(|call| std::cmp::Reverse(*call));
        let limit = self.core.directory.limit_of(account);
        for (_, slot) in found {
            let one = budget.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
            if one.is_err() {
                break;
            }
            self.with_call(slot, |call, core| admission::refuse(call, core, LimitReason::Withdrawn, limit));
        }
        self.settle();
    }
}
