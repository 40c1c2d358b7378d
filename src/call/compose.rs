//! What goes on the wire: messages carried from one leg to the other with our names in them, and messages of our own.
//!
//! Topology hiding lives here: no Via, Route, Contact, Call-ID or tag of one side ever reaches the other. Everything that
//! is nobody's business of ours passes untouched and in order (RFC 3261 §16.6 step 1).

use super::call::{Call, Leg};
use super::core::Core;
use super::directory::Peer;
use super::failure;
use super::gate::ALLOW;
use super::routing::{self, Target};
use crate::base::id::Token;
use crate::base::{Flow, Transport};
use crate::sip::digest::client::{self, Login};
use crate::sip::wire::{Builder, Framing, HeaderName, Message, Method, OwnedMessage, Rewrite, Uri};
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};

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

/// The type of a body that we understand.
pub const SDP: &[u8] = b"application/sdp";

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

/// Headers of a response that belong to one side only, or that we write ourselves.
const HOP_OF_RESPONSE: [HeaderName; 20] = [
    HeaderName::Via,
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::Contact,
    HeaderName::Route,
    HeaderName::RecordRoute,
    HeaderName::ContentLength,
    HeaderName::ContentType,
    HeaderName::WwwAuthenticate,
    HeaderName::ProxyAuthenticate,
    HeaderName::AuthenticationInfo,
    HeaderName::Supported,
    HeaderName::Allow,
    HeaderName::Require,
    HeaderName::RSeq,
    HeaderName::Path,
    HeaderName::ServiceRoute,
    HeaderName::Timestamp,
];

/// The session description of a message, if that is what its body is.
#[must_use]
pub fn session_body<'a>(message: &Message<'a>) -> Option<&'a [u8]> {
    let kind = message.content_type()?.split(|byte| *byte == b';').next()?.trim_ascii();
    (kind.eq_ignore_ascii_case(SDP) && !message.body().is_empty()).then(|| message.body())
}

/// Text for records and logs.
#[must_use]
pub fn text(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(bytes).into()
}

/// The CSeq number of a message that we wrote.
#[must_use]
pub fn cseq_of(message: &Bytes) -> Option<u32> {
    OwnedMessage::parse(message.clone(), Framing::Datagram).ok().map(|message| message.view().cseq().0)
}

/// An answer of our own.
#[must_use]
pub fn reply(
    core: &Core,
    request: &Message<'_>,
    flow: &Flow,
    status: u16,
    tag: &[u8],
    headers: &[(HeaderName, &[u8])],
) -> Bytes {
    reply_with(core, request, flow, (status, failure::reason(status)), tag, headers)
}

/// An answer of our own with a phrase of its own.
#[must_use]
pub fn reply_with(
    core: &Core,
    request: &Message<'_>,
    flow: &Flow,
    (status, reason): (u16, &str),
    tag: &[u8],
    headers: &[(HeaderName, &[u8])],
) -> Bytes {
    let mut out = Vec::with_capacity(512);
    // RFC 3261 §8.2.6.2: a 100 need not have a tag, and without one it makes no dialog.
    let tag = (status != 100).then_some(tag);
    let mut builder = Builder::response_to(&mut out, request, flow.remote, status, reason, tag);
    if matches!(status, 200 | 405) && !headers.iter().any(|(name, _)| *name == HeaderName::Allow) {
        builder = builder.header(HeaderName::Allow, ALLOW);
    }
    for (name, value) in headers {
        builder = builder.header(*name, value);
    }
    if !core.settings.user_agent.is_empty() {
        builder = builder.header(HeaderName::Server, &core.settings.user_agent);
    }
    builder.finish();
    out.into()
}

/// Our Via for a request along this flow.
fn via(core: &Core, flow: &Flow, branch: &[u8]) -> Vec<u8> {
    let mut value = b"SIP/2.0/".to_vec();
    value.extend_from_slice(flow.transport.via_token().as_bytes());
    value.push(b' ');
    value.extend_from_slice(sent_by(core, flow).as_bytes());
    value.extend_from_slice(b";branch=");
    value.extend_from_slice(branch);
    // RFC 3581 §3.
    value.extend_from_slice(b";rport");
    value
}

fn sent_by<'a>(core: &'a Core, flow: &Flow) -> &'a str {
    core.listener(flow).map_or("127.0.0.1", |listener| &listener.advertise)
}

/// Our Contact on a leg: its user part is the call's token, so that any shard can tell whose it is.
fn contact(core: &Core, flow: &Flow, token: &Token) -> Vec<u8> {
    let mut value = b"<sip:".to_vec();
    value.extend_from_slice(&token.encode());
    value.push(b'@');
    value.extend_from_slice(sent_by(core, flow).as_bytes());
    if flow.transport != Transport::Udp {
        value.extend_from_slice(b";transport=");
        value.extend_from_slice(flow.transport.uri_token().as_bytes());
    }
    value.push(b'>');
    value
}

fn host_of(core: &Core, flow: &Flow) -> String {
    let (host, _) = super::directory::split_host_port(sent_by(core, flow));
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

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
        rewrite.body(Some(SDP), body.to_vec());
    }
    written(&rewrite, invite)
}

fn written(rewrite: &Rewrite<'_>, original: &Message<'_>) -> Bytes {
    let mut out = Vec::with_capacity(original.raw().len() + 256);
    rewrite.write(&mut out);
    out.into()
}

fn call_id_value(core: &Core, flow: &Flow, name: &[u8]) -> Vec<u8> {
    [name, b"@", host_of(core, flow).as_bytes()].concat()
}

fn max_forwards(core: &Core, request: &Message<'_>) -> Vec<u8> {
    let left = request.max_forwards().map_or(core.settings.max_forwards, |left| left.saturating_sub(1));
    left.to_string().into_bytes()
}

/// The caller's name and number with our host; what says that it is anonymous stays as it is (RFC 3323 §4.1).
fn from_value(core: &Core, invite: &Message<'_>, flow: &Flow, tag: &[u8]) -> Vec<u8> {
    let from = invite.from();
    let uri = from.uri();
    let mut value = Vec::with_capacity(96);
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
    let mut value = b"<sip:".to_vec();
    match target.peer {
        Peer::Account(_) => {
            value.extend_from_slice(core.directory.peer_name(target.peer).as_bytes());
            value.push(b'@');
            value.extend_from_slice(core.directory.domains.first().map_or(b"".as_slice(), |domain| domain.as_bytes()));
        }
        Peer::Trunk(_) => {
            let user = routing::called_user(&invite.uri());
            let uri = Uri::parse(&target.uri);
            let user = uri
                .as_ref()
                .and_then(|uri| uri.user().map(<[u8]>::to_vec))
                .unwrap_or_else(|| routing::escape_user(&user));
            value.extend_from_slice(&user);
            value.push(b'@');
            value.extend_from_slice(target.flow.remote.to_string().as_bytes());
        }
    }
    value.push(b'>');
    value
}

/// How a response is carried.
#[derive(Clone, Copy, Debug)]
pub struct Carried<'a> {
    /// The flow of the leg that it goes to.
    pub flow: &'a Flow,
    /// Its status there.
    pub status: u16,
    /// Our tag there.
    pub tag: &'a [u8],
    /// Its session description there.
    pub body: Option<&'a [u8]>,
}

/// A response as it goes to the leg whose request it answers.
#[must_use]
pub fn carried_response(
    core: &Core,
    call: &Call,
    response: &Message<'_>,
    request: &Message<'_>,
    carried: &Carried<'_>,
) -> Bytes {
    let mut out = Vec::with_capacity(response.raw().len() + 256);
    let phrase = if carried.status == response.status() {
        response.reason()
    } else {
        failure::reason(carried.status).as_bytes()
    };
    let mut builder =
        Builder::response_to(&mut out, request, carried.flow.remote, carried.status, phrase, Some(carried.tag));
    let dialog_method = matches!(request.method(), Method::Invite | Method::Update);
    if carried.status < 300 && dialog_method {
        // RFC 3261 §12.1.1.
        builder = builder.copy(HeaderName::RecordRoute, request);
        builder = builder.header(HeaderName::Contact, contact(core, carried.flow, &call.token));
        builder = builder.header(HeaderName::Allow, ALLOW);
        if response.lists(HeaderName::Require, b"timer") {
            // RFC 4028 §9: the session timer runs between the two ends.
            builder = builder.header(HeaderName::Require, b"timer");
        }
    }
    let keeps_body = carried.body.is_none() && session_body(response).is_none() && !response.body().is_empty();
    for header in response.headers() {
        if !HOP_OF_RESPONSE.contains(&header.name) {
            builder = builder.header_named(header.raw_name, header.value);
        }
    }
    match carried.body {
        Some(body) => builder.body(SDP, body),
        None if keeps_body => {
            builder.body(response.content_type().unwrap_or(b"application/octet-stream"), response.body())
        }
        None => builder.finish(),
    }
    out.into()
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
    let kept = request.content_type().filter(|_| session_body(request).is_none() && !request.body().is_empty());
    match (body, kept) {
        (Some(body), _) => builder.body(SDP, body),
        (None, Some(kind)) => builder.body(kind, request.body()),
        (None, None) => builder.finish(),
    }
    (flow, out.into())
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

/// Where requests within a dialog go: a phone by the flow that it is known to be reached by; a trunk where its route set
/// or Contact says (RFC 3261 §12.2.1.1), unless that is an address that only its own network knows.
#[must_use]
pub fn next_flow(core: &Core, leg: &Leg) -> Flow {
    let mut flow = leg.flow;
    let (Peer::Trunk(_), Some(uri)) = (leg.peer, Uri::parse(leg.dialog.next_hop())) else { return flow };
    let Some(ip) = uri.host_ip() else { return flow };
    if is_private(ip) && !is_private(flow.remote.ip()) {
        return flow;
    }
    let next = SocketAddr::new(ip, uri.port().unwrap_or(5060));
    let transport = uri.param(b"transport").and_then(Transport::from_token).unwrap_or(flow.transport);
    let reachable = core.directory.listener_towards(transport, next).is_some() || transport == Transport::Tcp;
    if next == flow.remote || !reachable || next.is_ipv4() != flow.remote.is_ipv4() {
        return flow;
    }
    // A connection that stands serves as long as it stands (RFC 5923).
    if flow.stream.is_some() && next.ip() == flow.remote.ip() {
        return flow;
    }
    (flow.remote, flow.transport, flow.stream) = (next, transport, None);
    if let Some(listener) = core.directory.listener_towards(transport, next) {
        flow.socket = listener.socket;
    }
    flow
}

fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => {
            ip.is_loopback() || (ip.segments()[0] & 0xfe00) == 0xfc00 || (ip.segments()[0] & 0xffc0) == 0xfe80
        }
    }
}

/// The ACK of a 2xx: the CSeq is its INVITE's (RFC 3261 §13.2.2.4).
#[must_use]
pub fn ack(core: &mut Core, leg: &Leg, token: &Token, body: Option<&[u8]>) -> (Flow, Bytes) {
    let flow = next_flow(core, leg);
    let branch = core.layer.new_branch(*token);
    let via = via(core, &flow, &branch);
    let mut out = Vec::with_capacity(512);
    let builder = leg.dialog.ack(leg.invite_cseq, &via, &mut out);
    match body {
        Some(body) => builder.body(SDP, body),
        None => builder.finish(),
    }
    (flow, out.into())
}

/// The BYE that ends a leg; the other side's says what was the matter (RFC 3326) and whatever else it wants to say.
#[must_use]
pub fn bye(core: &mut Core, leg: &mut Leg, token: &Token, farewell: Option<&Message<'_>>) -> (Flow, Vec<u8>, Bytes) {
    let flow = next_flow(core, leg);
    let branch = core.layer.new_branch(*token);
    let via = via(core, &flow, &branch);
    let mut out = Vec::with_capacity(512);
    let builder = leg.dialog.request("BYE", &via, None, &mut out);
    match farewell {
        Some(farewell) => carry_headers(builder, farewell).finish(),
        None => builder.finish(),
    }
    (flow, branch.to_vec(), out.into())
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
        .format(HeaderName::CSeq, format_args!("{} CANCEL", invite.cseq().0));
    if let Some(reason) = reason {
        builder = builder.header(HeaderName::Reason, reason);
    }
    builder.finish();
    out.into()
}

/// A request of ours, made again.
#[derive(Clone, Debug)]
pub struct Again {
    /// As it goes out.
    pub bytes: Bytes,
    /// Its new branch.
    pub branch: Vec<u8>,
}

/// A request of ours made again with credentials for the challenge, if we have any for this peer (RFC 3261 §22.2).
#[must_use]
pub fn with_credentials(
    core: &mut Core,
    peer: Peer,
    sent: &Message<'_>,
    response: &Message<'_>,
    token: &Token,
) -> Option<Again> {
    let Peer::Trunk(trunk) = peer else { return None };
    let directory = std::sync::Arc::clone(&core.directory);
    let (username, password) = directory.trunks.get(trunk as usize)?.login.as_ref()?;
    let (asks, answers) = match response.status() {
        401 => (HeaderName::WwwAuthenticate, HeaderName::Authorization),
        407 => (HeaderName::ProxyAuthenticate, HeaderName::ProxyAuthorization),
        _ => return None,
    };
    let challenge = client::first_supported(response.lines_of(asks))?;
    let login = Login::Password { username: username.as_bytes(), password: password.as_bytes() };
    let cnonce = core.random.hex::<16>();
    let mut value = Vec::with_capacity(256);
    client::answer(&challenge, &login, sent.method_bytes(), sent.uri().raw(), &cnonce, 1, &mut value);
    let branch = core.layer.new_branch(*token);
    let old_via = sent.via();
    let old_branch = old_via.branch().unwrap_or_default();
    let raw = old_via.raw();
    let at = raw.windows(old_branch.len().max(1)).position(|window| window == old_branch)?;
    let new_via = [&raw[..at], &branch, &raw[at + old_branch.len()..]].concat();
    let mut rewrite = Rewrite::new(*sent);
    rewrite.set(HeaderName::Via, new_via);
    rewrite.set(HeaderName::CSeq, format!("{} {}", sent.cseq().0 + 1, sent.method().as_str()).into_bytes());
    rewrite.set(answers, value);
    Some(Again { bytes: written(&rewrite, sent), branch: branch.to_vec() })
}

/// RFC 3261 §18.1.1: a request that may not fit a packet goes by a transport that copes, where the peer has one. A trunk
/// is asked until it has shown that it does not; a phone is reached by the flow it registered from and by no other.
#[must_use]
pub fn flow_for_size(core: &Core, target: &Target, bytes: usize) -> Option<Flow> {
    let Peer::Trunk(trunk) = target.peer else { return None };
    let willing = core.directory.trunk(trunk).is_some_and(|trunk| trunk.may_take_tcp());
    let large = target.flow.transport == Transport::Udp && bytes > core.settings.udp_message_bytes_max;
    (willing && large).then_some(Flow { transport: Transport::Tcp, ..target.flow })
}

/// A request of ours made again for another path: same CSeq, new branch, since it never left.
#[must_use]
pub fn by_another_path(core: &mut Core, sent: &Message<'_>, flow: &Flow, token: &Token) -> Again {
    let branch = core.layer.new_branch(*token);
    let mut rewrite = Rewrite::new(*sent);
    rewrite.set(HeaderName::Via, via(core, flow, &branch));
    if sent.header(HeaderName::Contact).is_some() {
        rewrite.set(HeaderName::Contact, contact(core, flow, token));
    }
    Again { bytes: written(&rewrite, sent), branch: branch.to_vec() }
}
