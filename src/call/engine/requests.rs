//! Requests of a shard: each to the dialog it names, or as a new one through the gate to those who answer its method.

use super::super::core::leg_of_name;
use super::super::{compose, gate, registrar, routing, teardown, within};
use super::Engine;
use crate::base::text::hex;
use crate::base::{Flow, Side, Slot};
use crate::observe::{DropReason, Gauge, LimitReason, Suspicion};
use crate::sip::transaction::{Incoming, ServerKey};
use crate::sip::wire::{HeaderName, Message, Method};

impl Engine {
    pub(super) fn on_request(&mut self, flow: Flow, request: &Message<'_>) {
        let now = self.core.now;
        if gate::is_unsigned_register(request) {
            let tag = hex(self.store.hash((request.via().branch(), request.call_id())));
            return gate::challenge_unsigned(&mut self.core, &flow, request, &tag);
        }
        let incoming = match routing::is_emergency(&self.core.directory, request) {
            true => self.core.layer.handle_urgent_request(now, flow, request),
            false => self.core.layer.handle_request(now, flow, request),
        };
        match incoming {
            Incoming::New(server) => self.on_new_request(server, flow, request),
            Incoming::Retransmission | Incoming::AckToFailure(_) => {}
            Incoming::AckToSuccess { .. } => {
                let Some((slot, side)) = self.dialog_of(request) else {
                    return self.core.counters.count_drop(DropReason::SipStrayAck);
                };
                self.with_call(slot, |call, core| within::on_ack(call, core, side, request));
            }
            Incoming::Cancel { cancel, invite } => self.on_cancel(cancel, invite, &flow, request),
            // RFC 3261 §8.2.2.2.
            Incoming::Merged(server) => gate::refuse(&mut self.core, server, &flow, request, 482, &[]),
            Incoming::Full => {
                self.core.counters.limit(LimitReason::Overload);
                let after = gate::retry_after(&mut self.core);
                let tag = self.core.random.hex::<16>();
                let headers = [(HeaderName::RetryAfter, after.as_bytes())];
                let bytes = compose::reply(&self.core, request, &flow, 503, &tag, &headers);
                self.core.counters.response(503);
                self.core.transmit(flow, bytes);
            }
        }
    }

    fn on_new_request(&mut self, server: ServerKey, flow: Flow, request: &Message<'_>) {
        if request.to().tag().is_some() && request.method() != Method::Register {
            return match self.dialog_of(request) {
                Some((slot, side)) => {
                    self.with_call(slot, |call, core| within::on_request(call, core, side, server, request));
                }
                // RFC 3261 §12.2.2.
                None => {
                    self.core.suspect(&flow, Suspicion::Unsolicited, false);
                    gate::refuse(&mut self.core, server, &flow, request, 481, &[]);
                }
            };
        }
        gate::look_at_agent(&mut self.core, &flow, request);
        if gate::answered_early(&mut self.core, server, &flow, request) {
            return;
        }
        match request.method() {
            Method::Invite => self.on_invite(server, flow, request),
            Method::Register => {
                registrar::on_register(&mut self.store, &mut self.core, server, &flow, request);
                self.core.counters.set(Gauge::RegistrationsActive, self.store.len() as u64);
            }
            Method::Options => gate::on_options(&mut self.core, server, &flow, request),
            _ => {
                self.core.suspect(&flow, Suspicion::Unsolicited, false);
                gate::refuse(&mut self.core, server, &flow, request, 481, &[]);
            }
        }
    }

    /// The call and side that a request within a dialog names: by our own tag, checked against the dialog itself.
    pub(in crate::call) fn dialog_of(&self, request: &Message<'_>) -> Option<(Slot, Side)> {
        let tag = request.to().tag()?;
        let (token, number) = leg_of_name(tag)?;
        let call = self.calls.get(token.slot).filter(|call| call.token == token)?;
        let side = call.side_of(number)?;
        let remote = request.from().tag().unwrap_or_default();
        call.leg(side)?.dialog.matches(request.call_id(), tag, remote).then_some((token.slot, side))
    }

    fn on_cancel(&mut self, cancel: ServerKey, invite: Option<ServerKey>, flow: &Flow, request: &Message<'_>) {
        let Some(invite) = invite else {
            self.core.suspect(flow, Suspicion::Unsolicited, false);
            return gate::refuse(&mut self.core, cancel, flow, request, 481, &[]);
        };
        gate::refuse(&mut self.core, cancel, flow, request, 200, &[]);
        let Some(owner) = self.core.layer.server_user(invite) else { return };
        let reason = request.header(HeaderName::Reason);
        self.with_call(owner.call, |call, core| {
            if call.setup.as_ref().is_some_and(|setup| setup.server == invite) {
                teardown::on_cancel(call, core, reason);
            } else {
                within::on_cancel(call, core, invite);
            }
        });
    }
}
