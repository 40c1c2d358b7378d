//! The beginning of a call: an INVITE is let in or refused, and becomes a [`Call`] with one leg.
//!
//! The order is the promise: authentication, destination, rights, then memory; nothing is held before all have said yes.

use super::core::{Core, Owner, Timer};
use super::directory::Peer;
use super::engine::Engine;
use super::routing::{self, Destination};
use super::state::{Call, Facts, Leg, Phase, Right, Setup};
use super::{admission, compose, gate, media, setup};
use crate::base::Flow;
use crate::base::id::Token;
use crate::observe::{Event, Level, LimitReason};
use crate::sip::dialog::Dialog;
use crate::sip::transaction::ServerKey;
use crate::sip::wire::{HeaderName, Message, OwnedMessage};
use std::collections::VecDeque;
use std::sync::Arc;

impl Engine {
    pub(super) fn on_invite(&mut self, server: ServerKey, flow: Flow, request: &Message<'_>) {
        let full = self.calls.len() >= self.calls.bound();
        let records_full = self.core.records_waiting >= self.core.settings.records_waiting_max;
        if self.core.draining || full || records_full {
            let reason = if self.core.draining { LimitReason::Draining } else { LimitReason::CallsFull };
            self.core.counters.limit(reason);
            return gate::refuse_overloaded(&mut self.core, server, &flow, request);
        }
        let Some(caller) = gate::identify(&mut self.core, server, &flow, request) else { return };
        let to = routing::destination(&self.core, &request.uri(), caller);
        if to == Destination::Unknown {
            return gate::refuse(&mut self.core, server, &flow, request, 404, &[]);
        }
        let permits = match admit(&mut self.core, caller, &to) {
            Ok(permits) => permits,
            Err(limit) => return refuse_over_limit(&mut self.core, server, &flow, request, limit),
        };
        let Some(slot) = self.calls.next_slot() else { return };
        let token = Token { shard: self.core.shard, slot, salt: self.core.random.next_u32() };
        let tag = self.core.name_of_leg(token, 0);
        let dialog = Dialog::uas(request, &tag);
        let leg = Leg { number: 0, peer: caller, dialog, flow, invite_cseq: 0, ack: None, unacknowledged: None };
        let call = new_call(&self.core, token, leg, server, request, &to);
        if self.calls.insert(call).is_err() {
            return;
        }
        self.core.calls_live += 1;
        self.core.layer.set_server_user(server, Owner { call: slot, leg: 0 });
        let trying = compose::reply(&self.core, request, &flow, 100, &tag, &[]);
        self.core.respond(server, 100, trying);
        self.with_call(slot, |call, core| {
            permits.into_iter().for_each(|right| admission::take(call, core, right));
            start(call, core, to, request);
        });
    }
}

/// The rights that a call needs, or the limit that it would break.
fn admit(core: &mut Core, caller: Peer, to: &Destination) -> Result<Vec<Right>, u32> {
    let callee = match to {
        Destination::Account(account) => Some(Peer::Account(*account)),
        _ => None,
    };
    let mut permits = Vec::with_capacity(2);
    let mut peers = vec![caller];
    peers.extend(callee.filter(|callee| *callee != caller));
    for peer in peers {
        let (cell, account) = match peer {
            Peer::Account(place) => {
                let account = &core.directory.accounts[place as usize];
                (Some(Arc::clone(&account.cell)), Some(Arc::clone(&account.name)))
            }
            Peer::Trunk(place) => (core.directory.trunks[place as usize].cell.clone(), None),
        };
        let Some(cell) = cell else { continue };
        match cell.admit() {
            Some(permit) => permits.push(Right { permit, account }),
            None => {
                let reason =
                    if matches!(peer, Peer::Account(_)) { LimitReason::Account } else { LimitReason::TrunkCalls };
                core.counters.limit(reason);
                return Err(cell.read().1);
            }
        }
    }
    if let Peer::Trunk(place) = caller {
        let pace = core.directory.trunks[place as usize].pace.clone();
        if pace.is_some_and(|pace| !pace.admit(core.now)) {
            core.counters.limit(LimitReason::TrunkRate);
            return Err(0);
        }
    }
    Ok(permits)
}

fn refuse_over_limit(core: &mut Core, server: ServerKey, flow: &Flow, request: &Message<'_>, limit: u32) {
    let tag = core.random.hex::<16>();
    let reason = format!("SIP;cause=403;text=\"limit {limit}\"");
    let headers = [(HeaderName::Reason, reason.as_bytes())];
    let bytes = compose::reply_with(core, request, flow, (403, gate::LIMIT_PHRASE), &tag, &headers);
    core.respond(server, 403, bytes);
}

fn new_call(core: &Core, token: Token, a: Leg, server: ServerKey, request: &Message<'_>, to: &Destination) -> Call {
    let from = request.from().uri();
    let setup = Setup {
        invite: OwnedMessage::from(*request),
        server,
        branches: Vec::new(),
        groups: VecDeque::new(),
        failure: None,
        redirects: 0,
        late_offer: compose::session_body(request).is_none(),
        answered: false,
    };
    let facts = Facts {
        from: compose::text(&routing::called_user(&from)),
        to: compose::text(&routing::called_user(&request.uri())),
        started: core.now,
        ringing: None,
        answered: None,
        caller_call_id: compose::text(request.call_id()),
        callee: None,
        end: None,
        status: 0,
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
        facts: Box::new(facts),
        timer: None,
        legs_made: 0,
        bye_at_ack: false,
        farewell: None,
        locating: None,
    }
}

fn start(call: &mut Call, core: &mut Core, to: Destination, request: &Message<'_>) {
    call.timer = core.schedule(core.settings.ring_timeout, Timer::Ring(call.slot));
    let event = Event::new(core.now, core.shard, Level::Debug, "call begins").call(call.id());
    let event = event.digits("from", call.facts.from.clone()).digits("to", call.facts.to.clone());
    core.event(event);
    match to {
        Destination::Account(account) => {
            call.phase = Phase::Locating;
            setup::locate(call, core, account);
        }
        Destination::Trunks(trunks) => {
            let user = routing::called_user(&request.uri());
            let groups = trunks.iter().filter_map(|trunk| routing::trunk_target(core, *trunk, &user));
            if let Some(setup) = &mut call.setup {
                setup.groups = groups.map(|target| vec![target]).collect();
            }
            setup::next_group(call, core);
        }
        Destination::Unknown => {}
    }
}
