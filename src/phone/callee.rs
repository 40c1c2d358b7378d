//! The called side: ringing, early media, accepting, refusing (RFC 3261 §13.3).

use super::call::State;
use super::dialog::Dialog;
use super::digest::Challenge;
use super::event::{Cause, Event, Then};
use super::text::Text;
use super::{Phone, Task};
use crate::base::{Instant, Slot};

/// Announced by 100 when the person takes longer than RFC 3261 §8.2.6.1 allows for silence.
const TRYING: u16 = 100;

impl Phone {
    pub(super) fn on_invite(&mut self, now: Instant, id: u64) {
        let Some(request) = self.served.get(&id).map(|served| served.request.clone()) else { return };
        if !self.may_call(now, id, &request) {
            return;
        }
        let tag = self.served_tag(id);
        let dialog = Dialog::of_callee(&request, &tag);
        let Some(slot) = self.open_call(now, dialog, tag, false) else {
            self.respond(now, id, 486, &[], Vec::new());
            return;
        };
        let answering = self.options.answering.clone();
        if let Some(call) = self.calls.get_mut(slot) {
            call.served = Some(id);
            call.late_offer = request.body.is_empty();
            call.answering = answering.clone();
            call.hang_up_after = answering.hang_up_after;
        }
        if let Some(served) = self.served.get_mut(&id) {
            served.call = Some(slot);
        }
        if !request.body.is_empty() {
            self.hear(slot, &request.body, true);
        }
        let from = request.get("From").unwrap_or("").to_owned();
        self.event(Event::Incoming { call: slot, from, uri: request.uri().unwrap_or("").to_owned() });
        match answering.provisional {
            Some(status) => self.ring(now, slot, status, answering.early_media),
            None if answering.then == Then::Wait || !answering.after.is_zero() => {
                self.respond(now, id, TRYING, &[], Vec::new());
            }
            None => {}
        }
        if answering.then != Then::Wait {
            self.plan(now + answering.after, Task::Answer(slot));
        }
    }

    /// RFC 3261 §22.3: as a carrier's edge does it.
    fn may_call(&mut self, now: Instant, id: u64, request: &Text) -> bool {
        let Some(login) = &self.options.challenge else { return true };
        let challenge = Challenge {
            realm: self.options.domain.clone(),
            nonce: self.instance.clone(),
            qop: true,
            ..Challenge::default()
        };
        let shown = request.get("Proxy-Authorization");
        let known = shown.is_some_and(|credentials| challenge.is_answered(login, "INVITE", credentials));
        if !known {
            self.respond(now, id, 407, &[("Proxy-Authenticate", &challenge.value())], Vec::new());
        }
        known
    }

    pub(super) fn on_answer_due(&mut self, now: Instant, slot: Slot) {
        let Some(call) = self.calls.get(slot) else { return };
        match call.answering.then.clone() {
            Then::Accept => self.accept(now, slot),
            Then::Reject(status) => self.reject(now, slot, status),
            Then::Redirect(uri) => self.refuse(now, slot, 302, &[("Contact", &format!("<{uri}>"))]),
            Then::Wait => {}
        }
    }

    /// Sends a provisional answer; with early media it carries a description and audio begins.
    pub fn ring(&mut self, now: Instant, slot: Slot, status: u16, early_media: bool) {
        let Some(call) = self.calls.get(slot).filter(|call| call.state == State::Ringing && !call.caller) else {
            return;
        };
        let (Some(id), late) = (call.served, call.late_offer) else { return };
        let body = if early_media && !late && self.can_speak(slot) { self.describe(slot) } else { Vec::new() };
        let speaks = !body.is_empty();
        if let Some(call) = self.calls.get_mut(slot).filter(|_| speaks) {
            call.early_body.clone_from(&body);
        }
        self.respond(now, id, status, &[], body);
        if speaks {
            self.speak(now, slot);
        }
    }

    fn can_speak(&self, slot: Slot) -> bool {
        let call = self.calls.get(slot);
        let audio = call.and_then(|call| call.offer.as_ref()).and_then(|offer| offer.audio());
        audio.is_some_and(|audio| audio.formats.iter().any(|format| self.options.formats.contains(format)))
    }

    /// Accepts a call that rings.
    pub fn accept(&mut self, now: Instant, slot: Slot) {
        let Some(call) = self.calls.get_mut(slot).filter(|call| call.state == State::Ringing && !call.caller) else {
            return;
        };
        let (Some(id), late) = (call.served, call.late_offer) else { return };
        // RFC 3261 §13.2.1: an answer given early is repeated, not changed.
        let early = std::mem::take(&mut call.early_body);
        if early.is_empty() && !late && !self.can_speak(slot) {
            self.reject(now, slot, 488);
            return;
        }
        let body = if early.is_empty() { self.describe(slot) } else { early };
        if let Some(call) = self.calls.get_mut(slot) {
            call.state = State::Accepted;
        }
        self.respond(now, id, 200, &[("Allow", super::server::ALLOW)], body);
    }

    /// Refuses a call that rings.
    pub fn reject(&mut self, now: Instant, slot: Slot, status: u16) {
        self.refuse(now, slot, status, &[]);
    }

    fn refuse(&mut self, now: Instant, slot: Slot, status: u16, lines: &[(&str, &str)]) {
        let ringing = self.calls.get(slot).filter(|call| call.state == State::Ringing && !call.caller);
        let Some(id) = ringing.and_then(|call| call.served) else { return };
        self.respond(now, id, status, lines, Vec::new());
        self.end_call(slot, Cause::Refused(status), None);
    }

    /// The ACK of our 200 came: the first, or that of a re-INVITE.
    pub(super) fn on_confirmed(&mut self, now: Instant, slot: Slot) {
        let Some(call) = self.calls.get_mut(slot) else { return };
        if call.state == State::Accepted {
            call.state = State::Established;
            let (setup, hang_up) = (now.since(call.started), call.hang_up_after);
            self.event(Event::Established { call: slot, setup });
            self.speak(now, slot);
            if let Some(after) = hang_up {
                self.plan(now + after, Task::HangUp(slot));
            }
            return;
        }
        if call.state == State::Established {
            let direction = call.agreed;
            self.event(Event::Changed { call: slot, direction, by_us: false });
            self.speak(now, slot);
        }
    }
}
