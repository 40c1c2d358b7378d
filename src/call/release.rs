//! What a call lets go of: its rights, its wait for one, the branches that may still answer.

use super::branch::BranchState;
use super::compose;
use super::core::{Core, Effect};
use super::state::{Call, Waiting};
use crate::tally::Note;

/// All rights go back.
pub fn give_back(call: &mut Call, core: &mut Core) {
    if let Some(account) = call.listed.take() {
        core.effects.push_back(Effect::Note(Note::Ended { account, call: call.token }));
    }
    for right in call.rights.drain(..) {
        drop(right.permit);
        if let Some(account) = right.account {
            core.effects.push_back(Effect::Note(Note::Ended { account, call: call.token }));
        }
    }
}

/// The wait is over, one way or the other.
pub fn stop_waiting(call: &mut Call, core: &Core) -> Option<Waiting> {
    let waiting = call.waiting.take()?;
    let waited = call.facts.limit_wait.unwrap_or_default() + core.now.since(waiting.since);
    call.facts.limit_wait = Some(waited);
    Some(waiting)
}

/// Asks for the end of every branch that may still answer (RFC 3261 §16.10); the winner is not among them.
pub fn cancel_branches(call: &mut Call, core: &mut Core, reason: Option<&str>) {
    let Some(setup) = &mut call.setup else { return };
    for branch in setup.branches.iter_mut().filter(|branch| branch.state.is_open()) {
        branch.state = BranchState::Cancelled;
        core.cancel_timer(&mut branch.timer);
        let cancel = compose::cancel(&branch.request.view(), reason);
        core.layer.cancel(core.now, branch.client, cancel);
    }
}
