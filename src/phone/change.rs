//! Re-INVITE, both sides: hold, resume, a new media port, glare (RFC 3261 §14, RFC 3264 §8).

use super::call::State;
use super::client::Purpose;
use super::event::{Event, Path};
use super::offer::Direction;
use super::text::Text;
use super::{Phone, Task};
use crate::base::time::Duration;
use crate::base::{Instant, Slot};
use bytes::Bytes;
use std::net::IpAddr;

impl Phone {
    /// Puts the peer on hold, or (with `SendRecv`) takes it back.
    pub fn change(&mut self, now: Instant, slot: Slot, direction: Direction) {
        let Some(call) = self.calls.get_mut(slot).filter(|call| call.state == State::Established) else { return };
        call.change = Some(direction);
        self.on_retry_due(now, slot);
    }

    /// The phone has another address from now on: each call's peer is told where it is now heard (RFC 3665 §3.7).
    pub fn move_to(&mut self, now: Instant, address: IpAddr) {
        self.options.local.set_ip(address);
        self.options.media_address = address;
        for slot in self.lines() {
            let wish = self.calls.get(slot).map_or(Direction::SendRecv, |call| call.wish);
            self.change(now, slot, wish);
        }
    }

    pub(super) fn on_retry_due(&mut self, now: Instant, slot: Slot) {
        let busy = self.is_changing(slot);
        let Some(call) = self.calls.get_mut(slot).filter(|call| call.state == State::Established && !busy) else {
            return;
        };
        let Some(wish) = call.change else { return };
        call.wish = wish;
        call.offer = None;
        let body = self.describe(slot);
        let Some(call) = self.calls.get_mut(slot) else { return };
        let mut request = call.dialog.request("INVITE");
        let to = call.dialog.next_hop().unwrap_or(self.options.server);
        self.invite_lines(&mut request, body);
        let number = self.ask(now, to, request, Purpose::Change(slot));
        self.on_asked_again(Purpose::Change(slot), number);
    }

    /// True while an INVITE of ours waits for its final answer within that call.
    fn is_changing(&self, slot: Slot) -> bool {
        let asked = self.calls.get(slot).and_then(|call| call.asked);
        asked.and_then(|number| self.asked.get(&(number, false))).is_some_and(|asked| !asked.is_over())
    }

    pub(super) fn on_change_accepted(
        &mut self,
        now: Instant,
        slot: Slot,
        request: &Text,
        response: &Text,
    ) -> Option<(Path, Bytes)> {
        let number = request.cseq().map_or(1, |(number, _)| number);
        let Some(call) = self.calls.get_mut(slot) else {
            // The call ended meanwhile: acknowledged, nothing else.
            let dialog = super::dialog::Dialog::of_caller(request, response);
            return Some(self.acknowledge(&dialog, number, None));
        };
        call.dialog.refresh(response);
        call.change = None;
        self.hear(slot, &response.body, false);
        let call = self.calls.get(slot)?;
        let (dialog, direction, established) = (call.dialog.clone(), call.agreed, call.state == State::Established);
        let ack = self.acknowledge(&dialog, number, None);
        if established {
            self.event(Event::Changed { call: slot, direction, by_us: true });
            self.speak(now, slot);
        }
        Some(ack)
    }

    pub(super) fn on_change_refused(&mut self, now: Instant, slot: Slot, response: &Text) {
        let status = response.status().unwrap_or(super::NO_ANSWER);
        let Some(call) = self.calls.get_mut(slot).filter(|call| call.state == State::Established) else { return };
        match status {
            // RFC 3261 §14.1: who chose the Call-ID waits 2.1–4 s, the other 0–2 s, in steps of 10 ms.
            491 => {
                let (least, span) = if call.caller { (2100, 190) } else { (0, 200) };
                let wait = Duration::from_millis(least + 10 * self.random.below(span));
                self.plan(now + wait, Task::Retry(slot));
            }
            // RFC 3261 §12.2.1.2: the dialog is gone at the far end.
            408 | 481 => {
                call.change = None;
                self.event(Event::ChangeFailed { call: slot, status });
                self.hang_up(now, slot);
            }
            _ => {
                call.change = None;
                self.event(Event::ChangeFailed { call: slot, status });
            }
        }
    }

    /// The peer's re-INVITE.
    pub(super) fn on_change(&mut self, now: Instant, id: u64) {
        let Some(request) = self.served.get(&id).map(|served| served.request.clone()) else { return };
        let Some(slot) = self.call_of(&request) else {
            self.respond(now, id, 481, &[], Vec::new());
            return;
        };
        let busy = self.is_changing(slot);
        let Some(call) = self.calls.get_mut(slot) else { return };
        let number = request.cseq().map_or(0, |(number, _)| number);
        let waits = call.served.and_then(|served| self.served.get(&served)).is_some_and(|served| !served.is_answered());
        // RFC 3261 §12.2.2, §14.2.
        if call.dialog.remote_cseq.is_some_and(|last| number <= last) || waits {
            self.respond(now, id, 500, &[("Retry-After", "1")], Vec::new());
            return;
        }
        call.dialog.remote_cseq = Some(number);
        if busy {
            self.respond(now, id, 491, &[], Vec::new());
            return;
        }
        call.dialog.refresh(&request);
        call.served = Some(id);
        call.offer = None;
        if let Some(served) = self.served.get_mut(&id) {
            served.call = Some(slot);
        }
        if !request.body.is_empty() {
            self.hear(slot, &request.body, true);
        }
        let body = self.describe(slot);
        self.respond(now, id, 200, &[("Allow", super::server::ALLOW)], body);
    }
}
