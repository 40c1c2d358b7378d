//! Rights of a call: taken before anything else is held, kept by the call, given back once, whatever path it took to its
//! end. The only place that takes an account's rights and tells the keeper of it.

use super::core::{Core, Effect};
use super::engine::Engine;
use super::state::{Call, Phase, Right};
use super::teardown;
use crate::base::{Instant, Slot};
use crate::observe::EndCause;
use crate::tally::{Note, Permit};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The call has this right from now on.
pub fn take(call: &mut Call, core: &mut Core, right: Right) {
    if let Some(account) = &right.account {
        let (account, started) = (Arc::clone(account), call.facts.started);
        core.effects.push_back(Effect::Note(Note::Began { account, call: call.token, started }));
    }
    call.rights.push(right);
}

/// All rights go back.
pub fn give_back(call: &mut Call, core: &mut Core) {
    for right in call.rights.drain(..) {
        drop(right.permit);
        if let Some(account) = right.account {
            core.effects.push_back(Effect::Note(Note::Ended { account, call: call.token }));
        }
    }
}

/// What a refusal or a BYE says of an account's limit.
pub fn limit_reason(limit: u32) -> Box<str> {
    format!("SIP;cause=403;text=\"limit {limit}\"").into()
}

impl Engine {
    /// A right that a call has waited for, or the news that there is none.
    pub fn right(&mut self, now: Instant, call: Slot, permit: Option<Permit>) {
        self.core.now = now;
        let _ = (call, permit);
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
            self.with_call(slot, |call, core| {
                call.facts.reason = Some(limit_reason(limit));
                teardown::end(call, core, EndCause::Limited, None, 403);
            });
        }
        self.settle();
    }
}
