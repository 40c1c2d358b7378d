//! What happens within a call that is up: requests are carried from one leg to the other, with their offers and answers.
//!
//! RFC 3261 §12.2 and §14; RFC 3264 for whose offer is open; RFC 6337 §2.1 for what answers what.

use super::core::Core;
use super::directory::Peer;
use super::leg::{EXCHANGES_MAX, Exchange, Purpose};
use super::state::{Call, Phase};
use super::{answer, compose, failure, gate, teardown};
use crate::base::Side;
use crate::observe::EndCause;
use crate::sip::transaction::{ClientKey, ServerKey};
use crate::sip::wire::{Framing, HeaderName, Message, Method, OwnedMessage};

/// A request within one of the call's dialogs.
pub fn on_request(call: &mut Call, core: &mut Core, side: Side, server: ServerKey, request: &Message<'_>) {
    let now_owner = call.owner(if side == Side::A { 0 } else { call.b.as_ref().map_or(0, |leg| leg.number) });
    core.layer.set_server_user(server, now_owner);
    let Some(leg) = call.leg_mut(side) else { return };
    if leg.dialog.check_request(request).is_err() {
        // RFC 3261 §12.2.2: an old CSeq.
        return refuse(call, core, side, server, request, 500, &[]);
    }
    match request.method() {
        Method::Bye => {
            refuse(call, core, side, server, request, 200, &[]);
            call.farewell.get_or_insert_with(|| OwnedMessage::from(*request));
            teardown::end(call, core, EndCause::Hangup, Some(side), 200);
        }
        _ if call.phase == Phase::Ending => refuse(call, core, side, server, request, 481, &[]),
        Method::Options => {
            refuse(call, core, side, server, request, 200, &[(HeaderName::Accept, b"application/sdp")]);
        }
        Method::Invite | Method::Update => on_session_change(call, core, side, server, request),
        Method::Info | Method::Message | Method::Notify => carry(call, core, side, server, request, Purpose::Relay),
        Method::Prack => refuse(call, core, side, server, request, 481, &[]),
        _ => refuse(call, core, side, server, request, 405, &[]),
    }
}

/// Answers a request ourselves, whatever the status.
fn refuse(
    call: &Call,
    core: &mut Core,
    side: Side,
    server: ServerKey,
    request: &Message<'_>,
    status: u16,
    headers: &[(HeaderName, &[u8])],
) {
    let Some(leg) = call.leg(side) else { return };
    let bytes = compose::reply(core, request, &leg.flow, status, leg.dialog.local_tag(), headers);
    core.respond(server, status, bytes);
}

fn on_session_change(call: &mut Call, core: &mut Core, side: Side, server: ServerKey, request: &Message<'_>) {
    let pending = call.exchanges.iter().find(|exchange| exchange.purpose == Purpose::Reinvite);
    match pending {
        // RFC 3261 §14.2: an INVITE of ours is open in this dialog.
        Some(open) if open.to == side => return refuse(call, core, side, server, request, 491, &[]),
        Some(_) => {
            let seconds = core.random.below(10).to_string();
            let after = [(HeaderName::RetryAfter, seconds.as_bytes())];
            return refuse(call, core, side, server, request, 500, &after);
        }
        None => {}
    }
    if call.phase != Phase::Up || call.leg(Side::A).is_some_and(|leg| leg.unacknowledged.is_some()) {
        return refuse(call, core, side, server, request, 491, &[]);
    }
    if !request.body().is_empty() && compose::session_body(request).is_none() {
        return refuse(call, core, side, server, request, 415, &[(HeaderName::Accept, b"application/sdp")]);
    }
    let from = core.layer.server_flow(server);
    if let Some(leg) = call.leg_mut(side) {
        leg.dialog.target_refresh(request);
        // RFC 3665 §3.7: a phone that has moved is reached where it now speaks from.
        if let (Peer::Account(_), Some(flow)) = (leg.peer, from) {
            leg.flow = flow;
        }
    }
    let plain_update = request.method() == Method::Update && request.body().is_empty();
    carry(call, core, side, server, request, if plain_update { Purpose::Relay } else { Purpose::Reinvite });
}

/// Sends a request on to the other leg.
fn carry(call: &mut Call, core: &mut Core, side: Side, server: ServerKey, request: &Message<'_>, purpose: Purpose) {
    if call.exchanges.len() >= EXCHANGES_MAX {
        return refuse(call, core, side, server, request, 500, &[(HeaderName::RetryAfter, b"5")]);
    }
    let to = side.other();
    let offer = compose::session_body(request).filter(|_| purpose == Purpose::Reinvite);
    let (body, has_offer) = match offer.map(|sdp| call.media.reoffer(core, side, sdp, &call.codecs)) {
        None => (None, false),
        Some(Ok(sdp)) => (Some(sdp), true),
        Some(Err(status)) => {
            let after = (status == 503).then(|| gate::retry_after(core));
            let warning = call.media.take_warning().map(|warning| (HeaderName::Warning, warning.as_bytes()));
            let header = after.as_ref().map(|after| (HeaderName::RetryAfter, after.as_bytes())).or(warning);
            return refuse(call, core, side, server, request, status, header.as_slice());
        }
    };
    let token = call.token;
    let Some(leg) = call.leg_mut(to) else {
        call.media.withdraw();
        return refuse(call, core, side, server, request, 481, &[]);
    };
    let number = leg.number;
    let branch = core.layer.new_branch(token);
    let (flow, bytes) = compose::carried_request(core, request, &token, leg, &branch, body.as_deref());
    let sent = bytes.clone();
    let Ok(client) = core.request(flow, request.method(), &branch, bytes, call.owner(number)) else {
        call.media.withdraw();
        return refuse(call, core, side, server, request, 500, &[]);
    };
    if request.method() == Method::Invite {
        refuse(call, core, side, server, request, 100, &[]);
    }
    call.exchanges.push(Exchange {
        purpose,
        method: request.method(),
        to,
        client,
        sent,
        carried: Some((OwnedMessage::from(*request), server)),
        has_offer,
        answered: false,
        authenticated: false,
    });
}

/// A response to a request of ours within a dialog, or, without one, the status that its failure amounts to.
pub fn on_response(call: &mut Call, core: &mut Core, client: ClientKey, response: Result<&Message<'_>, u16>) {
    let Some(at) = call.exchanges.iter().position(|exchange| exchange.client == client) else {
        return repeat_ack(call, core, response.ok());
    };
    let status = response.map_or_else(|status| status, |response| response.status());
    if status < 200 {
        return;
    }
    if call.exchanges[at].purpose == Purpose::Bye {
        return teardown::on_bye_done(call, core, client, response.ok());
    }
    if let (401 | 407, Ok(response)) = (status, response)
        && retry_with_credentials(call, core, at, response)
    {
        return;
    }
    if call.exchanges[at].answered {
        return repeat_ack(call, core, response.ok());
    }
    if status < 300 {
        on_success(call, core, at, response);
    } else {
        on_failure(call, core, at, status, response.ok());
    }
}

/// A 2xx to an INVITE that was acknowledged before: the ACK was lost (RFC 3261 §13.2.2.4).
fn repeat_ack(call: &Call, core: &mut Core, response: Option<&Message<'_>>) {
    let Some(response) = response.filter(|response| (200..300).contains(&response.status())) else { return };
    for leg in [Some(&call.a), call.b.as_ref()].into_iter().flatten() {
        let Some((flow, ack)) = &leg.ack else { continue };
        let same = compose::cseq_of(ack).is_some_and(|number| number == response.cseq().0);
        if same && response.from().tag() == Some(leg.dialog.local_tag()) {
            core.transmit(*flow, ack.clone());
        }
    }
}

fn retry_with_credentials(call: &mut Call, core: &mut Core, at: usize, response: &Message<'_>) -> bool {
    let exchange = &call.exchanges[at];
    if exchange.authenticated {
        return false;
    }
    let (to, method, sent, token) = (exchange.to, exchange.method, exchange.sent.clone(), call.token);
    let Some((peer, flow, number)) = call.leg(to).map(|leg| (leg.peer, compose::next_flow(core, leg), leg.number))
    else {
        return false;
    };
    let Ok(sent) = OwnedMessage::parse(sent, Framing::Datagram) else { return false };
    let Some(again) = compose::with_credentials(core, peer, &sent.view(), response, &token) else { return false };
    let (sent, Some(cseq)) = (again.bytes.clone(), compose::cseq_of(&again.bytes)) else { return false };
    let owner = call.owner(number);
    let Ok(client) = core.request(flow, method, &again.branch, again.bytes, owner) else { return false };
    if let Some(leg) = call.leg_mut(to) {
        leg.dialog.set_local_cseq(cseq);
    }
    let exchange = &mut call.exchanges[at];
    (exchange.client, exchange.sent, exchange.authenticated) = (client, sent, true);
    true
}

fn on_success(call: &mut Call, core: &mut Core, at: usize, response: Result<&Message<'_>, u16>) {
    let Ok(response) = response else { return };
    let (to, purpose, has_offer, method) = {
        let exchange = &call.exchanges[at];
        (exchange.to, exchange.purpose, exchange.has_offer, exchange.method)
    };
    if purpose == Purpose::Reinvite
        && let Some(leg) = call.leg_mut(to)
    {
        leg.dialog.target_refresh(response);
    }
    let body = match compose::session_body(response).filter(|_| purpose == Purpose::Reinvite) {
        None => Ok(None),
        Some(sdp) if has_offer => call.media.answer(core, to, sdp, &call.codecs).map(Some),
        Some(sdp) => call.media.reoffer(core, to, sdp, &call.codecs).map(Some),
    };
    let late_offer = !has_offer && matches!(body, Ok(Some(_)));
    let invite = method == Method::Invite;
    if invite {
        let cseq = compose::cseq_of(&call.exchanges[at].sent);
        if let (Some(leg), Some(cseq)) = (call.leg_mut(to), cseq) {
            leg.invite_cseq = cseq;
        }
        if !late_offer {
            acknowledge(call, core, to, None);
        }
    }
    let Some((request, server)) = call.exchanges[at].carried.take() else { return };
    let Ok(body) = body else {
        call.exchanges.swap_remove(at);
        call.media.withdraw();
        let warning = call.media.take_warning().map(|warning| (HeaderName::Warning, warning.as_bytes()));
        refuse(call, core, to.other(), server, &request.view(), 502, warning.as_slice());
        return;
    };
    let from = to.other();
    let Some(leg) = call.leg(from) else { return };
    let (status, tag) = (response.status(), leg.dialog.local_tag());
    let carried = compose::Carried { flow: &leg.flow, status, tag, body: body.as_deref() };
    let bytes = compose::carried_response(core, call, response, &request.view(), &carried);
    if let Some(leg) = call.leg_mut(from).filter(|_| invite) {
        leg.unacknowledged = Some(server);
    }
    core.respond(server, response.status(), bytes);
    if late_offer && invite {
        call.exchanges[at].answered = true;
    } else {
        call.exchanges.swap_remove(at);
    }
}

fn on_failure(call: &mut Call, core: &mut Core, at: usize, status: u16, response: Option<&Message<'_>>) {
    let exchange = call.exchanges.swap_remove(at);
    if exchange.purpose == Purpose::Reinvite {
        call.media.withdraw();
    }
    let from = exchange.to.other();
    if let (Some((request, server)), Some(leg)) = (exchange.carried, call.leg(from)) {
        let shown = match call.leg(exchange.to) {
            Some(other) if matches!(status, 401 | 407 | 503) => failure::mapped(other.peer, status),
            _ => status,
        };
        let tag = leg.dialog.local_tag();
        let bytes = match response {
            Some(response) => {
                let carried = compose::Carried { flow: &leg.flow, status: shown, tag, body: None };
                compose::carried_response(core, call, response, &request.view(), &carried)
            }
            None => compose::reply(core, &request.view(), &leg.flow, shown, tag, &[]),
        };
        core.respond(server, shown, bytes);
    }
    // RFC 3261 §12.2.1.2: the peer has lost the dialog, or does not answer any more.
    if matches!(status, 481 | 408) {
        teardown::end(call, core, EndCause::SignallingLost, Some(exchange.to), status);
    }
}

fn acknowledge(call: &mut Call, core: &mut Core, side: Side, body: Option<&[u8]>) {
    let token = call.token;
    let Some(leg) = call.leg_mut(side) else { return };
    let (flow, ack) = compose::ack(core, leg, &token, body);
    leg.ack = Some((flow, ack.clone()));
    core.transmit(flow, ack);
}

/// The ACK for a 2xx of ours.
pub fn on_ack(call: &mut Call, core: &mut Core, side: Side, ack: &Message<'_>) {
    let Some(leg) = call.leg_mut(side) else { return };
    let Some(server) = leg.unacknowledged.take() else { return };
    core.layer.ack_received(server);
    if call.phase == Phase::Ending {
        return teardown::late_bye(call, core);
    }
    let answer = compose::session_body(ack);
    if call.phase == Phase::Answered && side == Side::A {
        call.phase = Phase::Up;
        let late_offer = call.setup.as_ref().is_some_and(|setup| setup.late_offer);
        if late_offer {
            return on_late_answer(call, core, side, answer, None);
        }
        return;
    }
    let late = call.exchanges.iter().position(|exchange| exchange.answered && exchange.to == side.other());
    if let Some(at) = late {
        on_late_answer(call, core, side, answer, Some(at));
    }
}

/// The answer to an offer that came in a 2xx (RFC 3261 §13.2.2.4): it goes on in our ACK.
fn on_late_answer(call: &mut Call, core: &mut Core, side: Side, answer: Option<&[u8]>, at: Option<usize>) {
    let body = answer.map(|sdp| call.media.answer(core, side, sdp, &call.codecs));
    match at {
        Some(at) => {
            call.exchanges.swap_remove(at);
            let body = body.as_ref().and_then(|body| body.as_deref().ok());
            acknowledge(call, core, side.other(), body);
        }
        None => answer::acknowledge(call, core, body.as_ref().and_then(|body| body.as_deref().ok())),
    }
    if !matches!(body, Some(Ok(_))) {
        // An offer without an answer is no session.
        teardown::end(call, core, EndCause::BadMedia, None, 488);
    }
}

/// CANCEL of a re-INVITE: the other leg is asked to give up too.
pub fn on_cancel(call: &mut Call, core: &mut Core, invite: ServerKey) {
    let open =
        call.exchanges.iter().find(|exchange| exchange.carried.as_ref().is_some_and(|(_, server)| *server == invite));
    if let Some(exchange) = open
        && let Ok(sent) = OwnedMessage::parse(exchange.sent.clone(), Framing::Datagram)
    {
        let cancel = compose::cancel(&sent.view(), None);
        core.layer.cancel(core.now, exchange.client, cancel);
    }
}

/// A carried request has been open for long: its sender is told that it is being worked on (RFC 4320 §4.1).
pub fn trying(call: &mut Call, core: &mut Core, server: ServerKey) {
    let carried = call.exchanges.iter().find_map(|exchange| {
        let (request, key) = exchange.carried.as_ref()?;
        (*key == server).then(|| (request.clone(), exchange.to.other()))
    });
    if let Some((request, from)) = carried {
        refuse(call, core, from, server, &request.view(), 100, &[]);
    }
}
