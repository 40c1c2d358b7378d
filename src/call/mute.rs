//! What a muted source may still say: enough for somebody honest there to show who they are, nothing that is worth
//! asking for.
//!
//! A source is muted on evidence that anybody can forge by writing its address into datagrams, so a mute must not cost an
//! honest phone its calls. Whatever belongs to a call or answers us is heard; so is an emergency call, and who repeats a
//! nonce that was sent to this very source. Of the others, one request in [`ANSWERED_ONE_IN`] that would be challenged is
//! challenged: chosen at random, so that a flood in somebody's name cannot use up their turns.

use super::engine::Engine;
use super::routing;
use crate::base::{Flow, Instant, Source};
use crate::sip::digest::Credentials;
use crate::sip::wire::{HeaderName, Message, Method};

/// A phone repeats a REGISTER ten times (RFC 3261 §17.1.2.2): three phones in four are challenged within one transaction.
const ANSWERED_ONE_IN: u64 = 8;

impl Engine {
    /// True when a message of a muted source is to be taken as any other.
    pub fn hears_muted(&mut self, now: Instant, flow: &Flow, message: &Message<'_>) -> bool {
        self.core.now = now;
        if !message.is_request() || message.method() == Method::Ack {
            return true;
        }
        if message.method() == Method::Cancel {
            return self.core.layer.has_invite_of(message);
        }
        if message.method() != Method::Register && message.to().tag().is_some() {
            return self.dialog_of(message).is_some();
        }
        routing::is_emergency(&self.core.directory, message)
            || self.repeats_our_nonce(flow, message)
            || (matches!(message.method(), Method::Register | Method::Invite)
                && self.core.random.below(ANSWERED_ONE_IN) == 0)
    }

    fn repeats_our_nonce(&self, flow: &Flow, request: &Message<'_>) -> bool {
        let source = Source::of(flow.remote.ip());
        request
            .headers()
            .filter(|header| matches!(header.name, HeaderName::Authorization | HeaderName::ProxyAuthorization))
            .filter_map(|header| Credentials::parse(header.value).ok())
            .any(|credentials| self.core.digest.was_sent_to(self.core.now, credentials.nonce, source))
    }
}
