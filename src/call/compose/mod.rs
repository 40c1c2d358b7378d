//! What goes on the wire: messages carried from one leg to the other with our names in them, and messages of our own.
//!
//! Topology hiding lives here: no Via, Route, Contact, Call-ID or tag of one side ever reaches the other. Everything that
//! is nobody's business of ours passes untouched and in order (RFC 3261 §16.6 step 1).

mod again;
mod path;
mod request;
mod response;

pub use super::content::{SDP, session_body, text};
pub use again::{by_another_path, with_credentials};
pub use path::{flow_for_size, next_flow};
pub use request::{Outgoing, Words, ack, bye, cancel, carried_request, invite_out};
pub use response::{Carried, carried_response, reply, reply_with};

use super::core::Core;
use crate::base::id::Token;
use crate::base::{Flow, Transport};
use crate::sip::wire::{Framing, Message, OwnedMessage, Rewrite};
use bytes::Bytes;
use std::borrow::Cow;

/// Methods that we take.
pub const ALLOW: &[u8] = b"INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, UPDATE, INFO";

/// Room for a header's value that we write: a longer one is moved once.
const VALUE_BYTES: usize = 128;

/// Room for a message that we write: most need no more.
const ROOM: usize = 1024;

/// The CSeq number of a message that we wrote.
#[must_use]
pub fn cseq_of(message: &Bytes) -> Option<u32> {
    OwnedMessage::parse(message.clone(), Framing::Datagram).ok().map(|message| message.view().cseq().0)
}

/// Our Via for a request along this flow.
fn via(core: &Core, flow: &Flow, branch: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(VALUE_BYTES);
    value.extend_from_slice(b"SIP/2.0/");
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
    let mut value = Vec::with_capacity(VALUE_BYTES);
    value.extend_from_slice(b"<sip:");
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

fn host_of<'a>(core: &'a Core, flow: &Flow) -> Cow<'a, str> {
    let (host, _) = super::directory::split_host_port(sent_by(core, flow));
    if host.contains(':') { format!("[{host}]").into() } else { host.into() }
}

fn written(rewrite: &Rewrite<'_>, original: &Message<'_>) -> Bytes {
    let mut out = Vec::with_capacity(original.raw().len() + 256);
    rewrite.write(&mut out);
    kept(&out)
}

/// A message as it is kept: a transaction lives for half a minute, and a busy node has tens of thousands. The room in which it was
/// written is given back at once, and the next one is written there.
fn kept(message: &[u8]) -> Bytes {
    Bytes::copy_from_slice(message)
}

fn max_forwards(core: &Core, request: &Message<'_>) -> Vec<u8> {
    let left = request.max_forwards().map_or(core.settings.max_forwards, |left| left.saturating_sub(1));
    left.to_string().into_bytes()
}
