//! From the INVITE to the answer: groups of targets, their branches, and the end of those that lose.
//!
//! RFC 3261 §13 and §16.7 as a B2BUA reads them: towards the caller one dialog, whatever happens on the other side. What
//! branches say is read in [`answer`](super::answer) and [`retry`](super::retry).

use super::branch::{Branch, BranchState, Failure};
use super::compose;
use super::contacts::Binding;
use super::core::{Core, Effect, Timer};
use super::directory::Peer;
use super::failure;
use super::routing::{self, Destination, Target};
use super::state::{Call, Phase};
use super::teardown;
use crate::base::Side;
use crate::config::Forking;
use crate::observe::{Counter, Event, Level, LimitReason};
use crate::sip::wire::{Framing, Message, Method, OwnedMessage};
use crate::tally::Permit;

/// Branches one call may have in all, failover and redirection included.
pub(super) const BRANCHES_MAX: usize = 32;

/// All rights are there: the other side is called.
pub fn start(call: &mut Call, core: &mut Core, to: Destination, request: &Message<'_>) {
    let patience = core.settings.ring_timeout.min(core.settings.max_call_duration);
    call.timer = core.schedule(patience, Timer::Ring(call.slot));
    core.step("call begins", |event| {
        event.call(call.id()).digits("from", &*call.facts.from).digits("to", &*call.facts.to)
    });
    match to {
        Destination::Account(account) => {
            call.phase = Phase::Locating;
            locate(call, core, account);
        }
        Destination::Trunks(trunks) => {
            let user = routing::number(&core.directory, &request.uri()).into_owned();
            let groups = trunks.iter().filter_map(|trunk| routing::trunk_target(core, *trunk, &user));
            if let Some(setup) = &mut call.setup {
                setup.groups = groups.map(|target| vec![target]).collect();
            }
            next_group(call, core);
        }
        Destination::Unknown => {}
    }
}

/// Calls the next group of targets; with none left, tells the caller the best failure.
pub fn next_group(call: &mut Call, core: &mut Core) {
    while let Some(group) = call.setup.as_mut().and_then(|setup| setup.groups.pop_front()) {
        let last = call.setup.as_ref().is_some_and(|setup| setup.groups.is_empty());
        let mut called = 0;
        for target in group {
            called += usize::from(call_target(call, core, target, last));
        }
        if called > 0 {
            return;
        }
    }
    fail(call, core);
}

pub(super) fn refuse(call: &mut Call, status: u16) {
    if let Some(setup) = &mut call.setup {
        failure::note(&mut setup.failure, Failure { status, response: None });
    }
}

fn trunk_permit(core: &mut Core, trunk: u32) -> Result<Option<Permit>, LimitReason> {
    let Some(trunk) = core.directory.trunk(trunk) else { return Ok(None) };
    let permit = match &trunk.cell {
        Some(cell) => Some(cell.admit().ok_or(LimitReason::TrunkCalls)?),
        None => None,
    };
    match &trunk.pace {
        Some(pace) if !pace.admit(core.now) => Err(LimitReason::TrunkRate),
        _ => Ok(permit),
    }
}

/// Sends an INVITE to one target; false when it could not be sent at all.
fn call_target(call: &mut Call, core: &mut Core, target: Target, last_group: bool) -> bool {
    let permit = match target.peer {
        Peer::Account(_) => None,
        Peer::Trunk(_) if call.emergency => None,
        Peer::Trunk(trunk) => match trunk_permit(core, trunk) {
            Ok(permit) => permit,
            Err(reason) => {
                core.counters.limit(reason);
                refuse(call, 500);
                return false;
            }
        },
    };
    if call.legs_made as usize >= BRANCHES_MAX {
        return false;
    }
    call.legs_made += 1;
    let number = call.legs_made;
    let Some(setup) = &call.setup else { return false };
    let invite = setup.invite.clone();
    let view = invite.view();
    let body = match call.media.offer_towards_b(core, call.a.origin(), &target, &view, &call.codecs) {
        Ok(body) => body,
        Err(status) => {
            refuse(call, status);
            return false;
        }
    };
    let branch = core.layer.new_branch(call.token);
    let mut flow = target.flow;
    let outgoing = |flow| compose::Outgoing { number, target: &target, flow, branch: &branch };
    let mut bytes = compose::invite_out(core, call, &view, &outgoing(flow), body.as_deref());
    if let Some(larger) = compose::flow_for_size(core, &target, bytes.len()) {
        flow = larger;
        bytes = compose::invite_out(core, call, &view, &outgoing(flow), body.as_deref());
    }
    let Ok(request) = OwnedMessage::parse(bytes.clone(), Framing::Datagram) else {
        refuse(call, 500);
        return false;
    };
    let sent = match call.emergency {
        true => core.request_urgent(flow, Method::Invite, &branch, bytes, call.owner(number)),
        false => core.request(flow, Method::Invite, &branch, bytes, call.owner(number)),
    };
    let Ok(client) = sent else {
        refuse(call, 503);
        return false;
    };
    let patience = match target.peer {
        Peer::Trunk(trunk) => core.directory.trunk(trunk).map(|trunk| trunk.timeout),
        Peer::Account(_) => (!last_group).then_some(core.settings.fork_step_timeout),
    };
    let timer = patience.and_then(|after| core.schedule(after, Timer::Branch(call.slot, number)));
    call.facts.callee = Some((target.peer, target.flow.remote, compose::text(request.view().call_id())));
    let branch = Branch {
        number,
        target,
        flow,
        client,
        request,
        state: BranchState::Calling,
        timer,
        permit,
        authenticated: false,
    };
    call.setup.as_mut().expect("looked at above").branches.push(branch);
    true
}

/// With no branch left that may answer, the next group is called.
pub(super) fn progress(call: &mut Call, core: &mut Core) {
    let open = call.setup.as_ref().is_some_and(|setup| setup.branches.iter().any(|branch| branch.state.is_open()));
    if !open {
        next_group(call, core);
    }
}

/// Asks for an account's contacts; the call goes on when they come.
pub fn locate(call: &mut Call, core: &mut Core, account: u32) {
    let name = core.directory.peer_name(Peer::Account(account)).as_bytes().into();
    call.locating = Some(account);
    core.effects.push_back(Effect::Locate { account: name, call: call.slot });
}

/// The contacts came.
pub fn on_contacts(call: &mut Call, core: &mut Core, contacts: Vec<Binding>) {
    let Some(account) = call.locating.take() else { return };
    // Another branch may have been answered while the question was on its way.
    if !matches!(call.phase, Phase::Locating | Phase::Ringing) {
        return;
    }
    let forking = core.directory.account(account).map_or(Forking::Parallel, |account| account.forking);
    if let Some(setup) = &mut call.setup {
        for group in routing::contact_groups(account, forking, contacts).into_iter().rev() {
            setup.groups.push_front(group);
        }
    }
    if call.phase == Phase::Locating {
        call.phase = Phase::Ringing;
    }
    progress(call, core);
}

/// Every target failed: the caller gets the best of what they said.
pub(super) fn fail(call: &mut Call, core: &mut Core) {
    if call.locating.is_some() {
        return;
    }
    let failure = call.setup.as_mut().and_then(|setup| setup.failure.take());
    let failure = failure.unwrap_or(Failure { status: 480, response: None });
    let cause = failure::cause(failure.status);
    if let Some(response) = &failure.response {
        let invite = call.invite();
        let carried =
            compose::Carried { flow: &call.a.flow, status: failure.status, tag: &call.local_tag(core), body: None };
        let bytes = compose::carried_response(core, call, &response.view(), &invite.view(), &carried);
        let setup = call.setup.as_mut().expect("a set-up fails once");
        setup.answered = true;
        core.respond(setup.server, failure.status, bytes);
    }
    teardown::end(call, core, cause, failure.response.is_some().then_some(Side::B), failure.status);
}

/// A branch's patience ended: a silent trunk has failed, a ringing phone gives way to the next group.
pub fn on_branch_timer(call: &mut Call, core: &mut Core, number: u8) {
    let Some(setup) = &mut call.setup else { return };
    let Some(at) = setup.branches.iter().position(|branch| branch.number == number) else { return };
    let branch = &mut setup.branches[at];
    branch.timer = None;
    if !branch.state.is_open() {
        return;
    }
    let cancel = compose::cancel(&branch.request.view(), None);
    core.layer.cancel(core.now, branch.client, cancel);
    let peer = branch.target.peer;
    branch.state = BranchState::Cancelled;
    branch.permit = None;
    if let Peer::Trunk(trunk) = peer {
        core.counters.count(Counter::TrunkFailures);
        if let Some(trunk) = core.directory.trunk(trunk) {
            trunk.rest(core.now);
        }
        let event = Event::new(core.now, core.shard, Level::Warn, "trunk does not answer");
        core.event(event.call(call.id()).text("trunk", core.peer_name(peer)));
    }
    refuse(call, 408);
    progress(call, core);
}

/// A client transaction is over: what is kept only for its late responses goes.
pub fn forget(call: &mut Call, core: &Core) {
    let over = call.phase == Phase::Up
        && call.setup.as_ref().is_some_and(|setup| {
            setup
                .branches
                .iter()
                .all(|branch| branch.state.is_final() && core.layer.client_user(branch.client).is_none())
        });
    if over {
        call.setup = None;
    }
}
