//! The end of a call: every leg is told, every port and every right goes back, one record is written.
//!
//! Whatever the cause, the way out is [`end`]; it does its work once.

use super::core::{Core, Effect, Timer};
use super::directory::Peer;
use super::leg::{Exchange, Leg, Purpose};
use super::state::{Call, Phase};
use super::{compose, failure, gate, release};
use crate::base::time::Duration;
use crate::base::{Flow, Side};
use crate::observe::{self, CallRecord, CallResult, EndCause, Event, LegReport, Level};
use crate::sip::transaction::ClientKey;
use crate::sip::wire::{Framing, HeaderName, Message, Method, OwnedMessage};
use bytes::Bytes;
use std::sync::Arc;

/// Longer than any transaction lives (64 × T1, RFC 3261 §17).
const LINGER: Duration = Duration::from_secs(40);

/// Ends the call. `by` is the side whose message ended it, if one did; `status` is what an unanswered caller is told.
pub fn end(call: &mut Call, core: &mut Core, cause: EndCause, by: Option<Side>, status: u16) {
    if call.phase == Phase::Ending {
        return;
    }
    let was = call.phase;
    call.phase = Phase::Ending;
    core.calls_live = core.calls_live.saturating_sub(1);
    call.locating = None;
    core.cancel_timer(&mut call.timer);
    call.facts.end = Some((cause, by));
    release::cancel_branches(call, core, None);
    release::stop_waiting(call, core);
    if matches!(was, Phase::Waiting | Phase::Locating | Phase::Ringing) {
        call.facts.status = status;
        refuse_caller(call, core, status);
    }
    refuse_carried(call, core);
    if matches!(was, Phase::Answered | Phase::Up) && by != Some(Side::A) {
        // RFC 3261 §15: no BYE from us before the ACK, unless it is not going to come.
        call.bye_at_ack = call.a.unacknowledged.is_some() && cause != EndCause::SignallingLost;
        if !call.bye_at_ack {
            bye(call, core, Side::A);
        }
    }
    if call.b.is_some() && by != Some(Side::B) {
        bye(call, core, Side::B);
    }
    record(call, core);
    release::give_back(call, core);
    if let Some(setup) = &mut call.setup {
        setup.groups.clear();
        setup.branches.iter_mut().for_each(|branch| branch.permit = None);
    }
    call.timer = core.schedule(LINGER, Timer::Linger(call.slot));
}

fn refuse_caller(call: &mut Call, core: &mut Core, status: u16) {
    let tag = call.local_tag(core);
    let Some(setup) = call.setup.as_mut().filter(|setup| !setup.answered) else { return };
    setup.answered = true;
    let (server, invite) = (setup.server, setup.invite.clone());
    let warning = call.media.take_warning().filter(|_| matches!(status, 488 | 502));
    let bytes = match &call.facts.reason {
        Some(reason) => {
            let headers = [(HeaderName::Reason, reason.as_bytes())];
            let phrase = if status == 403 { gate::LIMIT_PHRASE } else { failure::reason(status) };
            compose::reply_with(core, &invite.view(), &call.a.flow, (status, phrase), &tag, &headers)
        }
        None => {
            let after = (status == 503).then(|| gate::retry_after(core));
            let warning = warning.map(|warning| (HeaderName::Warning, warning.as_bytes()));
            let header = after.as_ref().map(|after| (HeaderName::RetryAfter, after.as_bytes())).or(warning);
            compose::reply(core, &invite.view(), &call.a.flow, status, &tag, header.as_slice())
        }
    };
    core.respond(server, status, bytes);
}

/// Requests that were being carried when the call ended get their final answer (RFC 3261 §15.1.2).
fn refuse_carried(call: &mut Call, core: &mut Core) {
    for at in 0..call.exchanges.len() {
        let from = call.exchanges[at].to.other();
        let Some((request, server)) = call.exchanges[at].carried.take() else { continue };
        let Some(leg) = call.leg(from) else { continue };
        let bytes = compose::reply(core, &request.view(), &leg.flow, 487, leg.dialog.local_tag(), &[]);
        core.respond(server, 487, bytes);
    }
}

/// The ACK came, or will not come: the caller of an ended call is told now.
pub fn late_bye(call: &mut Call, core: &mut Core) {
    if std::mem::take(&mut call.bye_at_ack) {
        bye(call, core, Side::A);
    }
}

fn bye(call: &mut Call, core: &mut Core, side: Side) {
    let token = call.token;
    let farewell = call.farewell.take();
    let reason = call.facts.reason.clone();
    let Some(leg) = call.leg_mut(side) else { return };
    let number = leg.number;
    let words = match (&farewell, &reason) {
        (Some(farewell), _) => compose::Words::Of(farewell.view()),
        (None, Some(reason)) => compose::Words::Reason(reason),
        (None, None) => compose::Words::None,
    };
    let sent = compose::bye(core, leg, &token, words);
    start_bye(call, core, side, number, sent);
}

fn start_bye(call: &mut Call, core: &mut Core, to: Side, leg: u8, (flow, branch, bytes): (Flow, Vec<u8>, Bytes)) {
    let sent = bytes.clone();
    if let Ok(client) = core.request(flow, Method::Bye, &branch, bytes, call.owner(leg)) {
        call.exchanges.push(Exchange {
            purpose: Purpose::Bye,
            method: Method::Bye,
            to,
            client,
            sent,
            carried: None,
            has_offer: false,
            answered: false,
            authenticated: false,
        });
    }
}

/// Ends a leg that is not one of the call's two: a second 200, or one that crossed our CANCEL.
pub fn bye_stray(call: &mut Call, core: &mut Core, mut leg: Leg) {
    let sent = compose::bye(core, &mut leg, &call.token, compose::Words::None);
    start_bye(call, core, Side::B, leg.number, sent);
}

/// The caller gave up (RFC 3261 §9.2).
pub fn on_cancel(call: &mut Call, core: &mut Core, reason: Option<&[u8]>) {
    if !matches!(call.phase, Phase::Waiting | Phase::Locating | Phase::Ringing) {
        return;
    }
    let reason = reason.map(|value| String::from_utf8_lossy(value).into_owned());
    release::cancel_branches(call, core, reason.as_deref());
    end(call, core, EndCause::Cancelled, Some(Side::A), 487);
}

/// A final response to a BYE of ours, or none at all: nothing more is owed.
pub fn on_bye_done(call: &mut Call, core: &mut Core, client: ClientKey, response: Option<&Message<'_>>) {
    let Some(at) = call.exchanges.iter().position(|exchange| exchange.client == client) else { return };
    let challenged = response.is_some_and(|response| matches!(response.status(), 401 | 407));
    if challenged && !call.exchanges[at].authenticated {
        let (to, sent) = (call.exchanges[at].to, call.exchanges[at].sent.clone());
        let token = call.token;
        let Some((peer, flow, number)) = call.leg(to).map(|leg| (leg.peer, compose::next_flow(core, leg), leg.number))
        else {
            return;
        };
        let sent = OwnedMessage::parse(sent, Framing::Datagram).ok();
        let again = sent
            .zip(response)
            .and_then(|(sent, response)| compose::with_credentials(core, peer, &sent.view(), response, &token));
        if let Some(again) = again {
            let owner = call.owner(number);
            if let Ok(client) = core.request(flow, Method::Bye, &again.branch, again.bytes, owner) {
                call.exchanges[at].client = client;
                call.exchanges[at].authenticated = true;
                return;
            }
        }
    }
    call.exchanges.swap_remove(at);
}

fn record(call: &mut Call, core: &mut Core) {
    let facts = &call.facts;
    let (cause, by) = facts.end.unwrap_or((EndCause::Internal, None));
    let answered = facts.answered.is_some();
    let result = failure::result(answered, cause, facts.status);
    let (caller_media, callee_media) = call.media.close(core);
    let directory = &core.directory;
    let trunk_name = |peer: Option<Peer>| match peer {
        Some(peer @ Peer::Trunk(_)) => directory.shared_name(peer),
        _ => None,
    };
    let callee_peer = facts.callee.as_ref().map(|(peer, ..)| *peer);
    let account = [Some(call.a.peer), callee_peer]
        .into_iter()
        .flatten()
        .find(|peer| matches!(peer, Peer::Account(_)))
        .and_then(|peer| directory.shared_name(peer));
    let record = CallRecord {
        call: call.id(),
        account,
        trunk_in: trunk_name(Some(call.a.peer)),
        trunk_out: trunk_name(callee_peer),
        from: Arc::clone(&facts.from),
        to: Arc::clone(&facts.to),
        started: facts.started,
        ringing: facts.ringing,
        answered: facts.answered,
        ended: core.now,
        result,
        cause,
        ended_by: by.map(leg_of),
        status: facts.status,
        limit: facts.limit,
        limit_wait: facts.limit_wait,
        caller: LegReport {
            remote: Some(call.a.flow.remote),
            sip_call_id: Arc::clone(&facts.caller_call_id),
            media: caller_media,
        },
        callee: facts.callee.as_ref().map(|(_, remote, call_id)| LegReport {
            remote: Some(*remote),
            sip_call_id: Arc::clone(call_id),
            media: callee_media,
        }),
    };
    count(core, result);
    let event = Event::new(core.now, core.shard, Level::Info, "call ended")
        .call(call.id())
        .word("result", result.as_str())
        .word("cause", cause.as_str())
        .number("status", u64::from(facts.status));
    core.effects.push_back(Effect::Record(Box::new(record)));
    core.event(event);
}

fn count(core: &Core, result: CallResult) {
    core.counters.call(result);
}

/// A side in the words of the record.
#[must_use]
pub const fn leg_of(side: Side) -> observe::Leg {
    match side {
        Side::A => observe::Leg::Caller,
        Side::B => observe::Leg::Callee,
    }
}
