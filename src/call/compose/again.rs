//! A request of ours made a second time: with credentials that were asked for, or for another path.

use super::super::core::Core;
use super::super::directory::Peer;
use super::{contact, via, written};
use crate::base::Flow;
use crate::base::id::Token;
use crate::sip::digest::client::{self, Login};
use crate::sip::wire::{HeaderName, Message, Rewrite};
use bytes::Bytes;

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
