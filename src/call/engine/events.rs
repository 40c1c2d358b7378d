//! What the transaction layer, the relay and the calls have to say after each input, and the calls that are over.

use super::super::core::{Core, Owner};
use super::super::state::Call;
use super::super::{answer, retry, setup, teardown, watch, within};
use super::Engine;
use crate::base::Slot;
use crate::media::MediaEvent;
use crate::observe::{Counter, EndCause, Gauge};
use crate::sip::transaction::{self, ClientKey};
use crate::sip::wire::Message;

impl Engine {
    /// Lets everybody speak until nobody has anything to say; bounded by what one event can cause.
    pub(in crate::call) fn settle(&mut self) {
        loop {
            while let Some(event) = self.core.layer.poll_event() {
                self.on_transaction_event(event);
            }
            let Some(event) = self.core.relay.poll_event() else { break };
            self.on_media_event(event);
        }
        while let Some(slot) = self.ended.pop() {
            self.bury(slot);
        }
        self.core.counters.set(Gauge::CallsActive, self.core.calls_live as u64);
    }

    fn on_transaction_event(&mut self, event: transaction::Event<Owner>) {
        match event {
            transaction::Event::Timeout { client, user } => {
                self.core.counters.count(Counter::SipTimeouts);
                // RFC 3261 §8.1.3.1.
                self.with_call(user.call, |call, core| dispatch_response(call, core, client, Err(408)));
            }
            transaction::Event::TransportError { client, user } => {
                self.with_call(user.call, |call, core| dispatch_response(call, core, client, Err(503)));
            }
            transaction::Event::ClientDone { user, .. } => {
                self.with_call(user.call, |call, core| setup::forget(call, core))
            }
            transaction::Event::ServerDone { user: Some(user), unanswered_ack: true, .. } => {
                self.with_call(user.call, |call, core| {
                    teardown::late_bye(call, core);
                    if call
                        .side_of(user.leg)
                        .and_then(|side| call.leg(side))
                        .is_some_and(|leg| leg.unacknowledged.is_some())
                    {
                        // RFC 3261 §13.3.1.4: no ACK came; the session is ended by BYE.
                        teardown::end(call, core, EndCause::SignallingLost, None, 408);
                    }
                });
            }
            transaction::Event::TryingDue { server, user: Some(user) } => {
                self.with_call(user.call, |call, core| within::trying(call, core, server));
            }
            transaction::Event::ServerDone { .. }
            | transaction::Event::TryingDue { .. }
            | transaction::Event::ResponseLost { .. } => {}
        }
    }

    fn on_media_event(&mut self, event: MediaEvent) {
        let (_, slot) = event.subject();
        self.with_call(slot, |call, core| watch::on_event(call, core, event));
    }

    pub(in crate::call) fn with_call(&mut self, slot: Slot, work: impl FnOnce(&mut Call, &mut Core)) {
        let Some(call) = self.calls.get_mut(slot) else { return };
        work(call, &mut self.core);
        if call.is_over() {
            self.ended.push(slot);
        }
    }

    pub(super) fn bury(&mut self, slot: Slot) {
        let Some(mut call) = self.calls.remove(slot) else { return };
        self.core.cancel_timer(&mut call.timer);
        if let Some(setup) = &mut call.setup {
            for branch in &mut setup.branches {
                self.core.cancel_timer(&mut branch.timer);
            }
        }
    }
}

/// A response or the status that stands for none, to whoever waits for it.
pub(super) fn dispatch_response(
    call: &mut Call,
    core: &mut Core,
    client: ClientKey,
    response: Result<&Message<'_>, u16>,
) {
    let branch = call.setup.as_ref().and_then(|setup| setup.branches.iter().position(|branch| branch.client == client));
    match (branch, response) {
        (Some(_), Ok(response)) => answer::on_branch_response(call, core, client, response),
        (Some(at), Err(status)) => retry::on_failure(call, core, at, status, None),
        (None, response) => within::on_response(call, core, client, response),
    }
}
