//! Requests: the caller's INVITE as its targets see it, what is carried within a dialog, and our own ACK, BYE and CANCEL.

use super::super::core::Core;
use super::super::directory::Peer;
use super::super::leg::Leg;
use super::super::routing::{self, Target};
use super::super::state::Call;
use super::{
    ALLOW, ROOM, SDP, VALUE_BYTES, contact, host_of, kept, max_forwards, next_flow, session_body, via, written,
};
use crate::base::Flow;
use crate::base::id::Token;
use crate::base::text::push_socket;
use crate::sip::wire::{Builder, HeaderName, Message, Method, Rewrite, Uri};
use bytes::Bytes;

/// Headers of a request that belong to one side only.
const HOP_OF_REQUEST: [HeaderName; 11] = [
    HeaderName::Via,
    HeaderName::Route,
    HeaderName::RecordRoute,
    HeaderName::Authorization,
    HeaderName::ProxyAuthorization,
    HeaderName::ProxyRequire,
    HeaderName::Path,
    HeaderName::Supported,
    HeaderName::Allow,
    HeaderName::Replaces,
    HeaderName::Timestamp,
];

/// Headers that a request within a dialog has from the dialog.
const OF_THE_DIALOG: [HeaderName; 8] = [
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::Contact,
    HeaderName::MaxForwards,
    HeaderName::ContentLength,
    HeaderName::ContentType,
];

/// What an INVITE of ours is for.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The leg's number.
    pub number: u8,
    /// Where it goes.
    pub target: &'a Target,
    /// By which path.
    pub flow: Flow,
    /// Its branch.
    pub branch: &'a [u8],
}

/// The caller's INVITE as it goes to a target.
#[must_use]
pub fn invite_out(
    core: &Core,
    call: &Call,
    invite: &Message<'_>,
    outgoing: &Outgoing<'_>,
    body: Option<&[u8]>,
) -> Bytes {
    let flow = &outgoing.flow;
    let name = core.name_of_leg(call.token, outgoing.number);
    let mut rewrite = Rewrite::new(*invite);
    rewrite.request_line(&b"INVITE"[..], &*outgoing.target.uri);
    for header in HOP_OF_REQUEST {
        rewrite.remove(header);
    }
    if matches!(call.a.peer, Peer::Account(_)) {
        // RFC 3325 §5: an identity asserted by somebody we do not trust is not passed on.
        rewrite.remove(HeaderName::PAssertedIdentity).remove(HeaderName::RemotePartyId);
    }
    rewrite.prepend(HeaderName::Via, via(core, flow, outgoing.branch));
    rewrite.set(HeaderName::From, from_value(core, invite, flow, &name));
    rewrite.set(HeaderName::To, to_value(core, invite, outgoing.target));
    rewrite.set(HeaderName::CallId, call_id_value(core, flow, &name));
    rewrite.set(HeaderName::CSeq, &b"1 INVITE"[..]);
    rewrite.set(HeaderName::Contact, contact(core, flow, &call.token));
    rewrite.set(HeaderName::MaxForwards, max_forwards(core, invite));
    rewrite.append(HeaderName::Allow, ALLOW);
    if invite.lists(HeaderName::Supported, b"timer") {
        rewrite.append(HeaderName::Supported, &b"timer"[..]);
    }
    if let Some(body) = body {
        rewrite.body(Some(SDP), body);
    }
    written(&rewrite, invite)
}

fn call_id_value(core: &Core, flow: &Flow, name: &[u8]) -> Vec<u8> {
    [name, b"@", host_of(core, flow).as_bytes()].concat()
}

/// The caller's name and number with our host; what says that it is anonymous stays as it is (RFC 3323 §4.1).
fn from_value(core: &Core, invite: &Message<'_>, flow: &Flow, tag: &[u8]) -> Vec<u8> {
    let from = invite.from();
    let uri = from.uri();
    let mut value = Vec::with_capacity(VALUE_BYTES);
    if !from.display().is_empty() {
        value.extend_from_slice(from.display());
        value.push(b' ');
    }
    value.extend_from_slice(b"<sip:");
    if let Some(user) = uri.user() {
        value.extend_from_slice(user);
        value.push(b'@');
    } else if uri.scheme() == crate::sip::wire::Scheme::Tel {
        value.extend_from_slice(&routing::escape_user(&routing::called_user(&uri)));
        value.push(b'@');
    }
    if uri.host().eq_ignore_ascii_case(b"anonymous.invalid") {
        value.extend_from_slice(uri.host());
    } else {
        value.extend_from_slice(host_of(core, flow).as_bytes());
    }
    value.extend_from_slice(b">;tag=");
    value.extend_from_slice(tag);
    value
}

fn to_value(core: &Core, invite: &Message<'_>, target: &Target) -> Vec<u8> {
    let mut value = Vec::with_capacity(VALUE_BYTES);
    value.extend_from_slice(b"<sip:");
    match target.peer {
        Peer::Account(_) => {
            value.extend_from_slice(core.directory.peer_name(target.peer).as_bytes());
            value.push(b'@');
            value.extend_from_slice(core.directory.domains.first().map_or(b"".as_slice(), |domain| domain.as_bytes()));
        }
        Peer::Trunk(_) => {
            match Uri::parse(&target.uri).and_then(|uri| uri.user()) {
                Some(user) => value.extend_from_slice(user),
                None => value.extend_from_slice(&routing::escape_user(&routing::called_user(&invite.uri()))),
            }
            value.push(b'@');
            push_socket(&mut value, target.flow.remote);
        }
    }
    value.push(b'>');
    value
}

/// A request within a dialog as it goes to the other leg.
#[must_use]
pub fn carried_request(
    core: &Core,
    request: &Message<'_>,
    token: &Token,
    leg: &mut Leg,
    branch: &[u8],
    body: Option<&[u8]>,
) -> (Flow, Bytes) {
    let flow = next_flow(core, leg);
    let via = via(core, &flow, branch);
    let session = matches!(request.method(), Method::Invite | Method::Update);
    let contact = session.then(|| contact(core, &flow, token));
    let mut out = Vec::with_capacity(request.raw().len() + 256);
    let mut builder = leg.dialog.request(request.method_bytes(), &via, contact.as_deref(), &mut out);
    if session {
        builder = builder.header(HeaderName::Allow, ALLOW);
        if request.lists(HeaderName::Supported, b"timer") {
            builder = builder.header(HeaderName::Supported, b"timer");
        }
    }
    let builder = carry_headers(builder, request);
    let carried = request.content_type().filter(|_| session_body(request).is_none() && !request.body().is_empty());
    match (body, carried) {
        (Some(body), _) => builder.body(SDP, body),
        (None, Some(kind)) => builder.body(kind, request.body()),
        (None, None) => builder.finish(),
    }
    (flow, kept(&out))
}

/// What a request within a dialog says beside its hop and its dialog.
fn carry_headers<'a>(mut builder: Builder<'a>, request: &Message<'_>) -> Builder<'a> {
    for header in request.headers() {
        if !HOP_OF_REQUEST.contains(&header.name) && !OF_THE_DIALOG.contains(&header.name) {
            builder = builder.header_named(header.raw_name, header.value);
        }
    }
    builder
}

/// The ACK of a 2xx: the CSeq is its INVITE's (RFC 3261 §13.2.2.4).
#[must_use]
pub fn ack(core: &mut Core, leg: &Leg, token: &Token, body: Option<&[u8]>) -> (Flow, Bytes) {
    let flow = next_flow(core, leg);
    let branch = core.layer.new_branch(*token);
    let via = via(core, &flow, &branch);
    let mut out = Vec::with_capacity(ROOM);
    let builder = leg.dialog.ack(leg.invite_cseq, &via, &mut out);
    match body {
        Some(body) => builder.body(SDP, body),
        None => builder.finish(),
    }
    (flow, kept(&out))
}

/// What a BYE of ours says beside its dialog.
#[derive(Debug)]
pub enum Words<'a> {
    /// Nothing.
    None,
    /// Why we end the call (RFC 3326).
    Reason(&'a str),
    /// What the other side's BYE said.
    Of(Message<'a>),
}

/// The BYE that ends a leg; the other side's says what was the matter (RFC 3326) and whatever else it wants to say.
#[must_use]
pub fn bye(core: &mut Core, leg: &mut Leg, token: &Token, words: Words<'_>) -> (Flow, Vec<u8>, Bytes) {
    let flow = next_flow(core, leg);
    let branch = core.layer.new_branch(*token);
    let via = via(core, &flow, &branch);
    let mut out = Vec::with_capacity(ROOM);
    let builder = leg.dialog.request("BYE", &via, None, &mut out);
    match words {
        Words::Of(farewell) => carry_headers(builder, &farewell).finish(),
        Words::Reason(reason) => builder.header(HeaderName::Reason, reason).finish(),
        Words::None => builder.finish(),
    }
    (flow, branch.to_vec(), kept(&out))
}

/// The CANCEL of an INVITE of ours (RFC 3261 §9.1; RFC 3326 for the reason).
#[must_use]
pub fn cancel(invite: &Message<'_>, reason: Option<&str>) -> Bytes {
    let mut out = Vec::with_capacity(384);
    let mut builder = Builder::request(&mut out, "CANCEL", invite.uri().raw())
        .header(HeaderName::Via, invite.via().raw())
        .header(HeaderName::MaxForwards, b"70")
        .copy(HeaderName::Route, invite)
        .header(HeaderName::From, invite.from().raw())
        .header(HeaderName::To, invite.to().raw())
        .header(HeaderName::CallId, invite.call_id())
        .cseq(invite.cseq().0, Method::Cancel);
    if let Some(reason) = reason {
        builder = builder.header(HeaderName::Reason, reason);
    }
    builder.finish();
    kept(&out)
}
