//! Responses: our own, and those of one leg as the other sees them.

use super::super::core::Core;
use super::super::failure;
use super::super::state::Call;
use super::{ALLOW, ROOM, SDP, contact, kept, session_body};
use crate::base::Flow;
use crate::sip::wire::{Builder, HeaderName, Message, Method};
use bytes::Bytes;

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
    kept(&out)
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
    let mut out = Vec::with_capacity(ROOM);
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
    kept(&out)
}
