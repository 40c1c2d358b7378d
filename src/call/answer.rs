//! What a branch says before and when it answers: ringing, early media, the first 200 and those that come after it.
//!
//! RFC 3261 §13.2.2; the first 2xx wins, every later one is acknowledged and ended.

use super::branch::{Branch, BranchState};
use super::core::{Core, Timer};
use super::directory::Peer;
use super::leg::Leg;
use super::media::Origin;
use super::release::cancel_branches;
use super::retry::on_failure;
use super::state::{Call, Phase, Right};
use super::{compose, teardown};
use crate::observe::{EndCause, Event, Level};
use crate::sip::dialog::Dialog;
use crate::sip::transaction::ClientKey;
use crate::sip::wire::Message;

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
    let invite = call.invite();
    let bytes = compose::carried_response(
        core,
        call,
        response,
        &invite.view(),
        &compose::Carried {
            flow: &call.a.flow,
            status: response.status(),
            tag: &call.local_tag(core),
            body: body.as_deref(),
        },
    );
    if call.facts.ringing.is_none() {
        call.facts.ringing = Some(core.now);
    }
    core.respond(server, response.status(), bytes);
}

fn on_success(call: &mut Call, core: &mut Core, at: usize, response: &Message<'_>) {
    let setup = call.setup.as_mut().expect("a branch is part of a set-up");
    let branch = &mut setup.branches[at];
    core.cancel_timer(&mut branch.timer);
    let dialog = Dialog::uac(&branch.request.view(), response);
    let (number, peer, flow) = (branch.number, branch.target.peer, branch.flow);
    let invite_cseq = branch.request.view().cseq().0;
    if let Some(b) = call.b.as_mut().filter(|b| b.number == number)
        && b.dialog.remote_tag() == dialog.remote_tag()
    {
        // RFC 3261 §13.2.2.4: every retransmitted 2xx is acknowledged with the same ACK.
        if let Some((flow, ack)) = b.ack.clone() {
            core.transmit(flow, ack);
        }
        return;
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
    if let Peer::Trunk(trunk) = peer
        && let Some(trunk) = core.directory.trunk(trunk)
    {
        trunk.revive();
    }
    call.rights.extend(branch.permit.take().map(|permit| Right { permit, account: None }));
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
    let invite = call.invite();
    let carried = compose::Carried {
        flow: &call.a.flow,
        status: response.status(),
        tag: &call.local_tag(core),
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
    let longest = call.facts.started + core.settings.max_call_duration;
    call.timer = core.schedule(longest.since(core.now), Timer::Longest(call.slot));
    core.counters.setup(core.now.since(call.facts.started));
    core.respond(server, response.status(), bytes);
    core.step("call answered", |event| event.call(call.id()));
}

/// Acknowledges the 2xx of the called side, with an answer where its 2xx had the offer.
pub fn acknowledge(call: &mut Call, core: &mut Core, body: Option<&[u8]>) {
    let token = call.token;
    let Some(b) = &mut call.b else { return };
    let (flow, ack) = compose::ack(core, b, &token, body);
    b.ack = Some((flow, ack.clone()));
    core.transmit(flow, ack);
}
