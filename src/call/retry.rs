//! What a branch says when it fails, and what is tried then: credentials, another transport, another place, the next group.
//!
//! RFC 3261 §8.1.3, §16.7, §18.1.1, §22.2.

use super::branch::{BranchState, Failure};
use super::compose;
use super::core::{Core, Owner};
use super::directory::Peer;
use super::failure::{self, Verdict};
use super::release::cancel_branches;
use super::routing::{self, Destination};
use super::setup::{BRANCHES_MAX, fail, locate, progress};
use super::state::{Call, Phase};
use crate::observe::Counter;
use crate::sip::wire::{Framing, Message, Method, OwnedMessage, Uri};

/// Redirections one call follows.
const REDIRECTS_MAX: u8 = 5;

/// A branch failed: by its response, or, without one, with the status that its failure amounts to.
pub fn on_failure(call: &mut Call, core: &mut Core, at: usize, status: u16, response: Option<&Message<'_>>) {
    let setup = call.setup.as_mut().expect("a branch is part of a set-up");
    let branch = &mut setup.branches[at];
    core.cancel_timer(&mut branch.timer);
    if matches!(status, 401 | 407)
        && branch.state.is_open()
        && let Some(response) = response
        && answer_challenge(call, core, at, response)
    {
        return;
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
    if (300..400).contains(&status)
        && let Some(response) = response
        && redirect(call, core, response)
    {
        return progress(call, core);
    }
    let verdict = failure::verdict(peer, status);
    if let (Peer::Trunk(trunk), Verdict::TryNext) = (peer, verdict) {
        core.counters.count(Counter::TrunkFailures);
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
    let owner = Owner { call: owner_slot, leg: branch.number };
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
    let owner = Owner { call: slot, leg: branch.number };
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
                let user = routing::number(&core.directory, &uri);
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
