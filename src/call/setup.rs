//! From the INVITE to the answer: branches, provisional responses, failures, the winner.
//!
//! RFC 3261 §13 and §16.7 as a B2BUA reads them: towards the caller one dialog, whatever happens on the other side.

use super::call::{Branch, BranchState, Call, Failure, Leg, Phase};
use super::compose;
use super::core::{Core, Effect, Timer};
use super::directory::Peer;
use super::failure::{self, Verdict};
use super::media::Origin;
use super::registrar::Binding;
use super::routing::{self, Destination, Target};
use super::teardown;
use crate::base::Side;
use crate::config::Forking;
use crate::observe::{EndCause, Event, Level, LimitReason};
use crate::sip::dialog::Dialog;
use crate::sip::transaction::ClientKey;
use crate::sip::wire::{Framing, Message, Method, OwnedMessage, Uri};
use crate::tally::Permit;

/// Redirections one call follows.
const REDIRECTS_MAX: u8 = 5;
/// Branches one call may have in all, failover and redirection included.
const BRANCHES_MAX: usize = 32;

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

fn refuse(call: &mut Call, status: u16) {
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
    let Ok(client) = core.request(flow, Method::Invite, &branch, bytes, call.owner(number)) else {
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

/// A response to an INVITE of ours.
pub fn on_branch_response(call: &mut Call, core: &mut Core, client: ClientKey, response: &Message<'_>) {
    let Some(setup) = &mut call.setup else { return };
    let Some(at) = setup.branches.iter().position(|branch| branch.client == client) else { return };
    match response.status() {
        100 => {
            let branch = &mut setup.branches[at];
            if branch.state == BranchState::Calling {
                branch.state = BranchState::Proceeding;
                heard_from(core, branch);
            }
        }
        101..=199 => on_provisional(call, core, at, response),
        200..=299 => on_success(call, core, at, response),
        status => on_failure(call, core, at, status, Some(response)),
    }
}

/// A trunk that says anything is alive: only the ring timeout counts from here.
fn heard_from(core: &mut Core, branch: &mut Branch) {
    if let Peer::Trunk(trunk) = branch.target.peer {
        if let Some(trunk) = core.directory.trunk(trunk) {
            trunk.revive();
        }
        core.cancel_timer(&mut branch.timer);
    }
}

fn on_provisional(call: &mut Call, core: &mut Core, at: usize, response: &Message<'_>) {
    let Some(setup) = &mut call.setup else { return };
    let branch = &mut setup.branches[at];
    if !branch.state.is_open() {
        return;
    }
    branch.state = BranchState::Early;
    heard_from(core, branch);
    if setup.answered || call.phase != Phase::Ringing {
        return;
    }
    let (server, late_offer) = (setup.server, setup.late_offer);
    let origin = Origin { remote: branch.target.flow.remote, peer: branch.target.peer };
    let body = match compose::session_body(response) {
        // An offer in a provisional response needs 100rel (RFC 3262), which we never ask for: it is left out.
        Some(_) if late_offer => None,
        Some(sdp) => call.media.preview_from_b(core, origin, sdp, &call.codecs).ok(),
        None => None,
    };
    let invite = setup_invite(call);
    let bytes = compose::carried_response(
        core,
        call,
        response,
        &invite.view(),
        &compose::Carried {
            flow: &call.a.flow,
            status: response.status(),
            tag: &local_tag(call, core),
            body: body.as_deref(),
        },
    );
    if call.facts.ringing.is_none() {
        call.facts.ringing = Some(core.now);
    }
    core.respond(server, response.status(), bytes);
}

fn setup_invite(call: &Call) -> OwnedMessage {
    call.setup.as_ref().expect("called while the call is being set up").invite.clone()
}

/// Our tag towards the caller.
#[must_use]
pub fn local_tag(call: &Call, core: &Core) -> Vec<u8> {
    core.name_of_leg(call.token, 0)
}

fn on_success(call: &mut Call, core: &mut Core, at: usize, response: &Message<'_>) {
    let setup = call.setup.as_mut().expect("a branch is part of a set-up");
    let branch = &mut setup.branches[at];
    core.cancel_timer(&mut branch.timer);
    let dialog = Dialog::uac(&branch.request.view(), response);
    let (number, peer, flow) = (branch.number, branch.target.peer, branch.flow);
    let invite_cseq = branch.request.view().cseq().0;
    if let Some(b) = call.b.as_mut().filter(|b| b.number == number) {
        if b.dialog.remote_tag() == dialog.remote_tag() {
            // RFC 3261 §13.2.2.4: every retransmitted 2xx is acknowledged with the same ACK.
            if let Some((flow, ack)) = b.ack.clone() {
                core.transmit(flow, ack);
            }
            return;
        }
    }
    branch.state = BranchState::Answered;
    if call.b.is_some() || call.phase != Phase::Ringing {
        // A second 200, or one that crossed our CANCEL (§9.1, §13.2.2.4): acknowledged and ended at once.
        branch.permit = None;
        let leg = Leg { number, peer, dialog, flow, invite_cseq, ack: None, unacknowledged: None };
        let (flow, ack) = compose::ack(core, &leg, &call.token, None);
        core.transmit(flow, ack);
        teardown::bye_stray(call, core, leg);
        return;
    }
    if let Peer::Trunk(trunk) = peer {
        if let Some(trunk) = core.directory.trunk(trunk) {
            trunk.revive();
        }
    }
    call.permits.extend(branch.permit.take());
    let late_offer = setup.late_offer;
    call.b = Some(Leg { number, peer, dialog, flow, invite_cseq, ack: None, unacknowledged: None });
    cancel_branches(call, core, Some("SIP;cause=200;text=\"Call completed elsewhere\""));
    answer_caller(call, core, response, late_offer);
}

fn answer_caller(call: &mut Call, core: &mut Core, response: &Message<'_>, late_offer: bool) {
    let b = call.b.as_ref().expect("set by the caller").origin();
    let body = match compose::session_body(response) {
        Some(sdp) if late_offer => call.media.offer_from_b(core, call.a.origin(), b, sdp, &call.codecs).map(Some),
        Some(sdp) => call.media.answer_from_b(core, b, sdp, &call.codecs).map(Some),
        None => Ok(None),
    };
    let Ok(body) = body else {
        acknowledge(call, core, None);
        core.event(Event::new(core.now, core.shard, Level::Warn, "answer cannot be used").call(call.id()));
        return teardown::end(call, core, EndCause::BadMedia, None, 502);
    };
    if !late_offer {
        acknowledge(call, core, None);
    }
    let invite = setup_invite(call);
    let carried = compose::Carried {
        flow: &call.a.flow,
        status: response.status(),
        tag: &local_tag(call, core),
        body: body.as_deref(),
    };
    let bytes = compose::carried_response(core, call, response, &invite.view(), &carried);
    let setup = call.setup.as_mut().expect("a set-up is answered once");
    setup.answered = true;
    let server = setup.server;
    call.a.unacknowledged = Some(server);
    call.phase = Phase::Answered;
    call.facts.answered = Some(core.now);
    call.facts.status = response.status();
    core.cancel_timer(&mut call.timer);
    core.counters.setup(core.now.since(call.facts.started));
    core.respond(server, response.status(), bytes);
    core.event(Event::new(core.now, core.shard, Level::Debug, "call answered").call(call.id()));
}

/// Acknowledges the 2xx of the called side, with an answer where its 2xx had the offer.
pub fn acknowledge(call: &mut Call, core: &mut Core, body: Option<&[u8]>) {
    let token = call.token;
    let Some(b) = &mut call.b else { return };
    let (flow, ack) = compose::ack(core, b, &token, body);
    b.ack = Some((flow, ack.clone()));
    core.transmit(flow, ack);
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

/// A branch failed: by its response, or, without one, with the status that its failure amounts to.
pub fn on_failure(call: &mut Call, core: &mut Core, at: usize, status: u16, response: Option<&Message<'_>>) {
    let setup = call.setup.as_mut().expect("a branch is part of a set-up");
    let branch = &mut setup.branches[at];
    core.cancel_timer(&mut branch.timer);
    if matches!(status, 401 | 407) && branch.state.is_open() {
        if let Some(response) = response {
            if answer_challenge(call, core, at, response) {
                return;
            }
        }
    }
    if status == 503 && response.is_none() && fall_back_to_udp(call, core, at) {
        return;
    }
    let setup = call.setup.as_mut().expect("a branch is part of a set-up");
    let branch = &mut setup.branches[at];
    let was_open = branch.state.is_open();
    branch.state = BranchState::Failed;
    branch.permit = None;
    let peer = branch.target.peer;
    if call.phase != Phase::Ringing || !was_open {
        return;
    }
    if (300..400).contains(&status) {
        if let Some(response) = response {
            if redirect(call, core, response) {
                return progress(call, core);
            }
        }
    }
    let verdict = failure::verdict(peer, status);
    if let (Peer::Trunk(trunk), Verdict::TryNext) = (peer, verdict) {
        if let Some(trunk) = core.directory.trunk(trunk) {
            trunk.rest(core.now);
        }
    }
    let mapped = Failure {
        status: failure::mapped(peer, status),
        response: response.map(|response| OwnedMessage::from(*response)),
    };
    let setup = call.setup.as_mut().expect("a branch is part of a set-up");
    failure::note(&mut setup.failure, mapped);
    if verdict == Verdict::Final {
        setup.groups.clear();
    }
    if verdict == Verdict::Global {
        setup.groups.clear();
        cancel_branches(call, core, None);
        return fail(call, core);
    }
    progress(call, core);
}

/// With no branch left that may answer, the next group is called.
fn progress(call: &mut Call, core: &mut Core) {
    let open = call.setup.as_ref().is_some_and(|setup| setup.branches.iter().any(|branch| branch.state.is_open()));
    if !open {
        next_group(call, core);
    }
}

/// Sends the INVITE again with credentials, once (RFC 3261 §22.2, §22.3).
fn answer_challenge(call: &mut Call, core: &mut Core, at: usize, response: &Message<'_>) -> bool {
    let owner_slot = call.slot;
    let setup = call.setup.as_mut().expect("a branch is part of a set-up");
    let branch = &mut setup.branches[at];
    if branch.authenticated {
        return false;
    }
    let token = call.token;
    let Some(again) = compose::with_credentials(core, branch.target.peer, &branch.request.view(), response, &token)
    else {
        return false;
    };
    let Ok(request) = OwnedMessage::parse(again.bytes.clone(), Framing::Datagram) else { return false };
    let owner = super::core::Owner { call: owner_slot, leg: branch.number };
    let Ok(client) = core.request(branch.flow, Method::Invite, &again.branch, again.bytes, owner) else { return false };
    branch.client = client;
    branch.request = request;
    branch.authenticated = true;
    branch.state = BranchState::Calling;
    true
}

/// RFC 3261 §18.1.1: a large request that found no TCP at a UDP trunk goes by UDP after all, and so do later ones.
fn fall_back_to_udp(call: &mut Call, core: &mut Core, at: usize) -> bool {
    let slot = call.slot;
    let token = call.token;
    let setup = call.setup.as_mut().expect("a branch is part of a set-up");
    let branch = &mut setup.branches[at];
    let Peer::Trunk(trunk) = branch.target.peer else { return false };
    if branch.flow.transport == branch.target.flow.transport || branch.state != BranchState::Calling {
        return false;
    }
    if let Some(trunk) = core.directory.trunk(trunk) {
        trunk.refuse_tcp();
    }
    let flow = branch.target.flow;
    let again = compose::by_another_path(core, &branch.request.view(), &flow, &token);
    let Ok(request) = OwnedMessage::parse(again.bytes.clone(), Framing::Datagram) else { return false };
    let owner = super::core::Owner { call: slot, leg: branch.number };
    let Ok(client) = core.request(flow, Method::Invite, &again.branch, again.bytes, owner) else { return false };
    (branch.client, branch.request, branch.flow) = (client, request, flow);
    true
}

/// Follows a 3xx: its contacts are called as if the caller had dialled them (RFC 3261 §8.1.3.4).
fn redirect(call: &mut Call, core: &mut Core, response: &Message<'_>) -> bool {
    let caller = call.a.peer;
    let setup = call.setup.as_mut().expect("a branch is part of a set-up");
    if setup.redirects >= REDIRECTS_MAX {
        return false;
    }
    setup.redirects += 1;
    let mut contacts: Vec<(u16, Box<[u8]>)> =
        response.contacts().map(|contact| (contact.q(), contact.uri_raw().into())).take(BRANCHES_MAX).collect();
    contacts.sort_by_key(|(q, _)| std::cmp::Reverse(*q));
    let mut found = Vec::new();
    for (_, contact) in &contacts {
        let Some(uri) = Uri::parse(contact) else { continue };
        match routing::destination(core, &uri, caller) {
            Destination::Trunks(trunks) => {
                let user = routing::called_user(&uri);
                found.extend(trunks.iter().filter_map(|trunk| routing::trunk_target(core, *trunk, &user)));
            }
            Destination::Account(account) => {
                locate(call, core, account);
                return true;
            }
            Destination::Unknown => {}
        }
    }
    let followed = !found.is_empty();
    let setup = call.setup.as_mut().expect("a branch is part of a set-up");
    for target in found.into_iter().rev() {
        setup.groups.push_front(vec![target]);
    }
    followed
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
fn fail(call: &mut Call, core: &mut Core) {
    if call.locating.is_some() {
        return;
    }
    let failure = call.setup.as_mut().and_then(|setup| setup.failure.take());
    let failure = failure.unwrap_or(Failure { status: 480, response: None });
    let cause = failure::cause(failure.status);
    if let Some(response) = &failure.response {
        let invite = setup_invite(call);
        let carried =
            compose::Carried { flow: &call.a.flow, status: failure.status, tag: &local_tag(call, core), body: None };
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
pub fn forget(call: &mut Call) {
    let over = call.phase == Phase::Up
        && call.setup.as_ref().is_some_and(|setup| setup.branches.iter().all(|branch| branch.state.is_final()));
    if over {
        call.setup = None;
    }
}
