//! The caller's side: INVITE, provisional answers, 200 (also a second one), refusal, CANCEL (RFC 3261 §9.1, §13.2).

use super::call::{Cancel, State, attach};
use super::client::Purpose;
use super::dialog::Dialog;
use super::event::{Event, Path, Placing};
use super::text::{Text, uri_of};
use super::{Phone, Task};
use crate::base::time::Duration;
use crate::base::{Instant, Slot};
use bytes::Bytes;

/// How long a caller listens to the ringing.
const PATIENCE: Duration = Duration::from_secs(180);

impl Phone {
    /// Calls `target` (a SIP URI) through the server; `None` when it has no free line.
    pub fn place(&mut self, now: Instant, target: &str, placing: &Placing) -> Option<Slot> {
        let (call_id, tag) = (self.token(), self.token());
        let dialog = Dialog {
            call_id: format!("{call_id}@{}", self.options.local.ip()),
            local: format!("{};tag={tag}", self.address()),
            remote: format!("<{target}>"),
            target: target.to_owned(),
            ..Dialog::default()
        };
        let Some(slot) = self.open_call(now, dialog, tag, true) else {
            self.counters.full += 1;
            return None;
        };
        let body = if placing.late_offer { Vec::new() } else { self.describe(slot) };
        let call = self.calls.get_mut(slot)?;
        call.late_offer = placing.late_offer;
        call.hang_up_after = placing.hang_up_after;
        let mut request = call.dialog.request("INVITE");
        self.invite_lines(&mut request, body);
        for (name, value) in &placing.headers {
            request.push(name, value.clone());
        }
        let server = self.options.server;
        let number = self.ask(now, server, request, Purpose::Invite(slot));
        self.on_asked_again(Purpose::Invite(slot), number);
        self.plan(now + placing.patience.unwrap_or(PATIENCE), Task::GiveUp(slot));
        Some(slot)
    }

    pub(super) fn invite_lines(&mut self, request: &mut Text, body: Vec<u8>) {
        let contact = self.contact();
        request.push("Contact", contact).push("Allow", super::server::ALLOW).push("Supported", "outbound");
        attach(request, body);
        if self.challenge_is_known() {
            self.authorize(request);
        }
    }

    pub(super) fn on_asked_again(&mut self, purpose: Purpose, number: u64) {
        if let Purpose::Invite(slot) | Purpose::Change(slot) = purpose
            && let Some(call) = self.calls.get_mut(slot)
        {
            call.asked = Some(number);
        }
    }

    /// The number after `last`; a call keeps count, so that its later requests go on from there.
    pub(super) fn next_cseq(&mut self, request: &Text, last: u32) -> u32 {
        let name = (request.call_id().to_owned(), request.tag("From").unwrap_or("").to_owned());
        match self.dialogs.get(&name).and_then(|slot| self.calls.get_mut(*slot)) {
            Some(call) => {
                call.dialog.cseq += 1;
                call.dialog.cseq
            }
            None => self.registration.next_cseq(request, last),
        }
    }

    pub(super) fn on_progress(&mut self, now: Instant, slot: Slot, status: u16, response: &Text) {
        let Some(call) = self.calls.get_mut(slot) else { return };
        let early_media = !response.body.is_empty() && !call.late_offer;
        if call.cancel == Cancel::Wanted {
            call.cancel = Cancel::Sent;
            if let Some(number) = call.asked {
                self.ask_cancel(now, number);
            }
            return;
        }
        if early_media {
            self.hear(slot, &response.body, false);
        }
        if status > 100 {
            self.event(Event::Progress { call: slot, status, early_media });
        }
    }

    pub(super) fn on_accepted(
        &mut self,
        now: Instant,
        slot: Slot,
        request: &Text,
        response: &Text,
    ) -> Option<(Path, Bytes)> {
        let call = self.calls.get_mut(slot).filter(|call| call.state == State::Ringing)?;
        let cseq = call.dialog.cseq;
        call.dialog = Dialog { cseq, ..Dialog::of_caller(request, response) };
        call.state = State::Established;
        let (late, cancel) = (call.late_offer, call.cancel);
        let (setup, hang_up) = (now.since(call.started), call.hang_up_after);
        self.hear(slot, &response.body, late);
        let answer = late.then(|| self.describe(slot));
        let dialog = self.calls.get(slot)?.dialog.clone();
        let ack = self.acknowledge(&dialog, request.cseq().map_or(1, |(number, _)| number), answer);
        if cancel == Cancel::No {
            self.event(Event::Established { call: slot, setup });
            self.speak(now, slot);
            if let Some(after) = hang_up {
                self.plan(now + after, Task::HangUp(slot));
            }
        } else {
            // RFC 3261 §15: a 200 that crossed our CANCEL is acknowledged and hung up.
            self.hang_up(now, slot);
        }
        Some(ack)
    }

    /// RFC 3261 §13.2.2.4: a second 200 of a forked INVITE, or one for a call given up: ACK, then BYE.
    pub(super) fn refuse_fork(&mut self, now: Instant, request: &Text, response: &Text) -> (Path, Bytes) {
        self.counters.forked += 1;
        let mut dialog = Dialog::of_caller(request, response);
        let ack = self.acknowledge(&dialog, dialog.cseq, None);
        let bye = dialog.request("BYE");
        self.ask(now, dialog.next_hop().unwrap_or(self.options.server), bye, Purpose::Other);
        ack
    }

    pub(super) fn on_refused(&mut self, _now: Instant, slot: Slot, response: &Text) {
        if self.close_call(slot).is_some() {
            let status = response.status().unwrap_or(super::NO_ANSWER);
            let contacts = response.all("Contact").map(|contact| uri_of(contact).to_owned()).collect();
            self.event(Event::Failed { call: slot, status, reason: response.reason().to_owned(), contacts });
        }
    }

    /// Gives up a call that still rings at the far end.
    pub fn cancel(&mut self, now: Instant, slot: Slot) {
        let Some(call) = self.calls.get_mut(slot) else { return };
        if call.state != State::Ringing || !call.caller || call.cancel != Cancel::No {
            return;
        }
        call.cancel = Cancel::Wanted;
        let Some(number) = call.asked else { return };
        if self.asked.get(&(number, false)).is_some_and(|asked| asked.provisional) {
            call.cancel = Cancel::Sent;
            self.ask_cancel(now, number);
        }
    }
}
