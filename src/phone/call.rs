//! One call as both roles see it, and what every established call can do: speak, hang up, end.

use super::audio::{Audio, PACKET_TIME};
use super::client::Purpose;
use super::dialog::Dialog;
use super::event::{Answering, Cause, Event, Output};
use super::offer::{self, Description, Direction, Own};
use super::text::Text;
use super::{Path, Phone, RTCP_INTERVAL, Task};
use crate::base::time::Duration;
use crate::base::{Instant, Slot};
use bytes::Bytes;
use std::net::SocketAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// INVITE sent or received, no final answer yet.
    Ringing,
    /// 200 sent, its ACK not yet seen.
    Accepted,
    /// Both know.
    Established,
    /// BYE sent.
    Leaving,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancel {
    No,
    /// As soon as the far end has said anything (RFC 3261 §9.1).
    Wanted,
    Sent,
}

#[derive(Debug)]
pub(super) struct Call {
    pub state: State,
    pub dialog: Dialog,
    /// Our tag: with the Call-ID the name of the call.
    pub tag: String,
    pub audio: Audio,
    /// What our descriptions say of us.
    pub session: (u64, u64),
    /// What this side would like.
    pub wish: Direction,
    /// What both agreed, seen from here.
    pub agreed: Direction,
    pub started: Instant,
    /// The caller's INVITE, or our re-INVITE, by branch number.
    pub asked: Option<u64>,
    /// The INVITE being answered, by number.
    pub served: Option<u64>,
    pub cancel: Cancel,
    pub late_offer: bool,
    /// The answer already given in a provisional answer.
    pub early_body: Vec<u8>,
    /// The peer's description that waits for our answer.
    pub offer: Option<Description>,
    pub hang_up_after: Option<Duration>,
    pub answering: Answering,
    /// A re-INVITE of ours that waits: what it would say.
    pub change: Option<Direction>,
    /// True for who chose the Call-ID (RFC 3261 §14.1: waits longer after 491).
    pub caller: bool,
}

impl Phone {
    /// A place and a media port for a new call.
    pub(super) fn open_call(&mut self, now: Instant, dialog: Dialog, tag: String, caller: bool) -> Option<Slot> {
        let slot = self.calls.next_slot()?;
        let port = self.take_port(slot)?;
        let (ssrc, sequence) = (self.random.next_u32(), self.random.next_u32() as u16);
        let timestamp = self.random.next_u32();
        self.dialogs.insert((dialog.call_id.clone(), tag.clone()), slot);
        let call = Call {
            state: State::Ringing,
            dialog,
            tag,
            audio: Audio::new(port, ssrc, sequence, timestamp),
            session: (u64::from(self.random.next_u32()), 0),
            wish: Direction::SendRecv,
            agreed: Direction::SendRecv,
            started: now,
            asked: None,
            served: None,
            cancel: Cancel::No,
            late_offer: false,
            early_body: Vec::new(),
            offer: None,
            hang_up_after: None,
            answering: Answering::default(),
            change: None,
            caller,
        };
        let slot = self.calls.insert(call).ok()?;
        self.emit(Output::OpenMedia(port));
        Some(slot)
    }

    /// Ports go round, so that a late packet of the last call does not reach the next.
    fn take_port(&mut self, slot: Slot) -> Option<u16> {
        for _ in 0..self.options.media_pairs {
            let port = self.options.media_port_min + 2 * self.next_pair;
            self.next_pair = (self.next_pair + 1) % self.options.media_pairs;
            if let std::collections::btree_map::Entry::Vacant(entry) = self.ports.entry(port) {
                entry.insert(slot);
                return Some(port);
            }
        }
        None
    }

    /// Forgets a call; its exchanges live on until they may be forgotten too.
    pub(super) fn close_call(&mut self, slot: Slot) -> Option<Call> {
        let call = self.calls.remove(slot)?;
        self.dialogs.remove(&(call.dialog.call_id.clone(), call.tag.clone()));
        self.ports.remove(&call.audio.port);
        self.emit(Output::CloseMedia(call.audio.port));
        Some(call)
    }

    pub(super) fn end_call(&mut self, slot: Slot, cause: Cause, reason: Option<String>) {
        if let Some(call) = self.close_call(slot) {
            let report = call.audio.report();
            self.event(Event::Ended { call: slot, cause, reason, report });
        }
    }

    /// Our description of a call: an offer, or the answer to what the peer offered.
    pub(super) fn describe(&mut self, slot: Slot) -> Vec<u8> {
        let options = &self.options;
        let Some(call) = self.calls.get_mut(slot) else { return Vec::new() };
        call.session.1 += 1;
        let offer = call.offer.take();
        let direction = match offer.as_ref().and_then(Description::audio) {
            Some(audio) => audio.direction.answered_by(call.wish),
            None => call.wish,
        };
        call.agreed = direction;
        let own = Own {
            name: &options.name,
            id: call.session.0,
            version: call.session.1,
            rtp: SocketAddr::new(options.inside.unwrap_or(options.media_address), call.audio.port),
            direction,
        };
        offer::write(own, &options.formats, offer.as_ref())
    }

    /// Takes the peer's description; an answer also settles the direction.
    pub(super) fn hear(&mut self, slot: Slot, body: &[u8], is_offer: bool) {
        let Some(description) = Description::parse(body) else { return };
        let Some(call) = self.calls.get_mut(slot) else { return };
        if let Some(audio) = description.audio() {
            call.audio.set_remote(audio, &self.options.formats);
            let wish = if is_offer { call.wish } else { call.agreed };
            call.agreed = audio.direction.answered_by(wish);
        }
        if is_offer {
            call.offer = Some(description);
        }
    }

    /// Begins, goes on or stops to speak, as agreed.
    pub(super) fn speak(&mut self, now: Instant, slot: Slot) {
        let Some(call) = self.calls.get_mut(slot) else { return };
        if !call.agreed.sends() || !call.audio.has_remote() {
            call.audio.due = None;
        } else if call.audio.due.is_none() {
            call.audio.due = Some(now);
            self.plan(now, Task::Packet(slot));
            self.plan(now + RTCP_INTERVAL, Task::Rtcp(slot));
        }
    }

    pub(super) fn on_packet_due(&mut self, due: Instant, slot: Slot) {
        let Some(call) = self.calls.get_mut(slot).filter(|call| call.audio.due == Some(due)) else { return };
        let next = due + PACKET_TIME;
        call.audio.due = Some(next);
        let port = call.audio.port;
        if let Some((to, bytes)) = call.audio.packet(due) {
            self.emit(Output::Media { port, to, bytes });
        }
        self.plan(next, Task::Packet(slot));
    }

    pub(super) fn on_rtcp_due(&mut self, now: Instant, slot: Slot) {
        let Some(call) = self.calls.get_mut(slot).filter(|call| call.audio.due.is_some()) else { return };
        let port = call.audio.port + 1;
        if let Some((to, bytes)) = call.audio.rtcp_packet(now) {
            self.emit(Output::Media { port, to, bytes });
        }
        self.plan(now + RTCP_INTERVAL, Task::Rtcp(slot));
    }

    /// Says nothing more, but listens on: for counting what was still under way.
    pub fn mute(&mut self, call: Slot) {
        if let Some(call) = self.calls.get_mut(call) {
            call.audio.due = None;
        }
    }

    /// Dials digits by RFC 4733.
    pub fn dial(&mut self, call: Slot, digits: &str) {
        if let Some(call) = self.calls.get_mut(call) {
            call.audio.dial(digits);
        }
    }

    /// Hangs up: BYE when established, CANCEL when we called and it still rings, 603 when we are called.
    pub fn hang_up(&mut self, now: Instant, slot: Slot) {
        let Some(call) = self.calls.get_mut(slot) else { return };
        match call.state {
            State::Ringing if call.caller => self.cancel(now, slot),
            State::Ringing => self.reject(now, slot, 603),
            // RFC 3261 §15: a callee waits for the ACK of its 200 before BYE.
            State::Accepted => call.hang_up_after = Some(Duration::ZERO),
            State::Leaving => {}
            State::Established => {
                call.audio.due = None;
                call.state = State::Leaving;
                let request = call.dialog.request("BYE");
                let to = call.dialog.next_hop().unwrap_or(self.options.server);
                self.ask(now, to, request, Purpose::Bye(slot));
            }
        }
    }

    pub(super) fn on_bye_answered(&mut self, slot: Slot) {
        self.end_call(slot, Cause::Local, None);
    }

    /// The ACK of a 200, sent at once; kept by its INVITE for further copies.
    pub(super) fn acknowledge(&mut self, dialog: &Dialog, cseq: u32, body: Option<Vec<u8>>) -> (Path, Bytes) {
        let mut ack = dialog.request_with("ACK", cseq);
        let number = self.number();
        let via = self.via_of(number);
        ack.headers.insert(0, ("Via".to_owned(), via));
        if let Some(body) = body {
            attach(&mut ack, body);
        }
        let path = self.path_to(dialog.next_hop().unwrap_or(self.options.server));
        let bytes = ack.write();
        self.transmit(path, bytes.clone());
        (path, bytes)
    }
}

/// Puts a session description into a message.
pub(super) fn attach(message: &mut Text, body: Vec<u8>) {
    if !body.is_empty() {
        message.push("Content-Type", "application/sdp");
        message.body = body;
    }
}
