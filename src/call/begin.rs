//! The beginning of a call: an INVITE is let in or refused, and becomes a [`Call`] with one leg.
//!
//! The order is the promise: authentication, destination, rights; nothing outside is touched before all have said yes.

use super::branch::Setup;
use super::core::{Core, Owner};
use super::directory::Peer;
use super::engine::Engine;
use super::leg::Leg;
use super::routing::{self, Destination};
use super::state::{Call, Facts, Phase};
use super::{admission, compose, gate, media};
use crate::base::Flow;
use crate::base::id::Token;
use crate::observe::LimitReason;
use crate::sip::dialog::Dialog;
use crate::sip::transaction::ServerKey;
use crate::sip::wire::{Message, OwnedMessage};
use std::collections::VecDeque;

impl Engine {
    pub(super) fn on_invite(&mut self, server: ServerKey, flow: Flow, request: &Message<'_>) {
        let emergency = routing::is_emergency(&self.core.directory, request);
        let full = self.calls.len() >= self.core.settings.calls_max;
        let records_full = self.core.records_waiting >= self.core.settings.records_waiting_max;
        if (self.core.draining || full || records_full) && !emergency {
            let reason = if self.core.draining { LimitReason::Draining } else { LimitReason::CallsFull };
            self.core.counters.limit(reason);
            return gate::refuse_overloaded(&mut self.core, server, &flow, request);
        }
        let Some(caller) = gate::identify(&mut self.core, server, &flow, request) else { return };
        let to = routing::destination(&self.core, &request.uri(), caller);
        if to == Destination::Unknown {
            return gate::refuse(&mut self.core, server, &flow, request, 404, &[]);
        }
        let Some(slot) = self.calls.next_slot() else {
            self.core.counters.limit(LimitReason::CallsFull);
            return gate::refuse_overloaded(&mut self.core, server, &flow, request);
        };
        let token = Token { shard: self.core.shard, slot, salt: self.core.random.next_u32() };
        let tag = self.core.name_of_leg(token, 0);
        let dialog = Dialog::uas(request, &tag);
        let leg = Leg { number: 0, peer: caller, dialog, flow, invite_cseq: 0, ack: None, unacknowledged: None };
        let mut call = new_call(&self.core, token, leg, server, request, &to);
        call.emergency = emergency;
        if self.calls.insert(call).is_err() {
            return;
        }
        self.core.calls_live += 1;
        self.core.layer.set_server_user(server, Owner { call: slot, leg: 0 });
        self.with_call(slot, |call, core| admission::begin(call, core, to, request));
    }
}

fn new_call(core: &Core, token: Token, a: Leg, server: ServerKey, request: &Message<'_>, to: &Destination) -> Call {
    let from = request.from().uri();
    let setup = Setup {
        invite: OwnedMessage::from(*request),
        server,
        // Most calls have one.
        branches: Vec::with_capacity(1),
        groups: VecDeque::new(),
        failure: None,
        redirects: 0,
        late_offer: compose::session_body(request).is_none(),
        answered: false,
    };
    let facts = Facts {
        from: compose::text(&routing::called_user(&from)),
        to: match routing::is_sos(&request.uri()) {
            true => compose::text(request.uri().raw()),
            false => compose::text(&routing::called_user(&request.uri())),
        },
        started: core.now,
        ringing: None,
        answered: None,
        caller_call_id: compose::text(request.call_id()),
        callee: None,
        end: None,
        status: 0,
        limit: None,
        limit_wait: None,
        reason: None,
    };
    let callee = match to {
        Destination::Account(account) => Some(Peer::Account(*account)),
        Destination::Trunks(trunks) => trunks.first().map(|trunk| Peer::Trunk(*trunk)),
        Destination::Unknown => None,
    };
    let codecs = callee.and_then(|callee| core.directory.peer_codecs(callee)).cloned();
    let own = core.directory.peer_codecs(a.peer);
    let codecs = match (codecs, own) {
        (Some(callee), Some(caller)) => callee.also(caller),
        (callee, caller) => callee.or(caller.cloned()).unwrap_or_default(),
    };
    Call {
        slot: token.slot,
        token,
        phase: Phase::Ringing,
        a,
        b: None,
        setup: Some(Box::new(setup)),
        media: media::MediaSession::new(token.slot),
        codecs,
        exchanges: Vec::new(),
        rights: Vec::new(),
        waiting: None,
        emergency: false,
        listed: None,
        facts: Box::new(facts),
        timer: None,
        legs_made: 0,
        bye_at_ack: false,
        farewell: None,
        locating: None,
    }
}
