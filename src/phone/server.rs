//! Requests this phone got: told apart from their copies, answered, and the answers sent again (RFC 3261 §17.2, §13.3).

use super::call::{State, attach};
use super::event::{Cause, Path};
use super::text::{Text, param};
use super::{Phone, Task};
use crate::base::time::Duration;
use crate::base::{Instant, Slot};
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};

/// What a phone understands.
pub(super) const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS";

#[derive(Debug)]
pub(super) struct Served {
    key: String,
    pub(super) request: Text,
    path: Path,
    pub(super) call: Option<Slot>,
    /// Our tag in answers to a request that had none.
    tag: String,
    status: u16,
    answer: Option<Bytes>,
    interval: Duration,
    resend_at: Option<Instant>,
    give_up_at: Option<Instant>,
    over_at: Option<Instant>,
    scheduled: Instant,
}

impl Served {
    fn is_invite(&self) -> bool {
        self.request.method() == Some("INVITE")
    }

    /// True once a final answer was given.
    pub(super) fn is_answered(&self) -> bool {
        self.status >= 200
    }
}

/// RFC 3261 §17.2.3: branch, sent-by and method name a server transaction.
fn key_of(request: &Text, method: &str) -> String {
    let via = request.via();
    let sent_by = via.split(';').next().unwrap_or("");
    format!("{} {sent_by} {method}", param(via, "branch").unwrap_or(""))
}

impl Phone {
    pub(super) fn on_request(&mut self, now: Instant, path: Path, request: Text) {
        let method = request.method().unwrap_or("").to_owned();
        if method == "ACK" {
            self.on_ack(now, &request);
            return;
        }
        let key = key_of(&request, &method);
        if let Some(served) = self.served_keys.get(&key).and_then(|id| self.served.get(id)) {
            let (path, answer) = (served.path, served.answer.clone());
            self.counters.repeated += 1;
            if let Some(answer) = answer {
                self.transmit(path, answer);
            }
            return;
        }
        let within = request.tag("To").is_some();
        if self.options.answering.deaf && !within {
            return;
        }
        let Some(id) = self.open_served(now, path, key, request) else {
            self.counters.full += 1;
            return;
        };
        match (method.as_str(), within) {
            ("INVITE", false) => self.on_invite(now, id),
            ("INVITE", true) => self.on_change(now, id),
            ("BYE", true) => self.on_bye(now, id),
            ("CANCEL", _) => self.on_cancel(now, id),
            ("OPTIONS", _) => {
                self.respond(now, id, 200, &[("Allow", ALLOW), ("Accept", "application/sdp")], Vec::new())
            }
            ("BYE", false) => self.respond(now, id, 481, &[], Vec::new()),
            _ => self.respond(now, id, 405, &[("Allow", ALLOW)], Vec::new()),
        }
    }

    fn open_served(&mut self, now: Instant, path: Path, key: String, request: Text) -> Option<u64> {
        if self.served.len() >= self.exchanges_max() {
            return None;
        }
        let path = match path {
            Path::Datagram(from) => Path::Datagram(reply_address(request.via(), from)),
            stream => stream,
        };
        let id = self.number();
        let tag = request.tag("To").map_or_else(|| self.token(), str::to_owned);
        self.served_keys.insert(key.clone(), id);
        let served = Served {
            key,
            request,
            path,
            call: None,
            tag,
            status: 0,
            answer: None,
            interval: self.options.timers.t1,
            resend_at: None,
            give_up_at: None,
            over_at: Some(now + self.options.timers.t1 * 300),
            scheduled: Instant::MAX,
        };
        self.served.insert(id, served);
        self.schedule_served(id);
        Some(id)
    }

    pub(super) fn served_tag(&self, id: u64) -> String {
        self.served.get(&id).map(|served| served.tag.clone()).unwrap_or_default()
    }

    /// Answers (RFC 3261 §8.2.6); final answers to INVITE are sent again until acknowledged.
    pub(super) fn respond(&mut self, now: Instant, id: u64, status: u16, lines: &[(&str, &str)], body: Vec<u8>) {
        let (t1, t4) = (self.options.timers.t1, self.options.timers.t4);
        let contact = self.contact();
        let Some(served) = self.served.get_mut(&id).filter(|served| !served.is_answered()) else { return };
        let mut text = Text { start: format!("SIP/2.0 {status} {}", phrase(status)), ..Text::default() };
        for (place, (name, value)) in served.request.headers.iter().enumerate() {
            match name.as_str() {
                "Via" if place == first_via(&served.request) => {
                    text.push(name, with_source(value, served.path));
                }
                "Via" | "From" | "Call-ID" | "CSeq" => {
                    text.push(name, value.clone());
                }
                "Record-Route" if status > 100 && status < 300 => {
                    text.push(name, value.clone());
                }
                "To" if status > 100 && served.request.tag("To").is_none() => {
                    text.push(name, format!("{value};tag={}", served.tag));
                }
                "To" => {
                    text.push(name, value.clone());
                }
                _ => {}
            }
        }
        if served.is_invite() && status > 100 && status < 300 {
            text.push("Contact", contact);
        }
        for (name, value) in lines {
            text.push(name, *value);
        }
        attach(&mut text, body);
        let bytes = text.write();
        served.status = status;
        served.answer = Some(bytes.clone());
        let path = served.path;
        if status >= 200 {
            let until_forgotten = if path.is_reliable() { t4 } else { t1 * 64 };
            served.over_at = Some(now + until_forgotten);
            if served.is_invite() {
                // RFC 3261 §13.3.1.4: 200 on any transport; §17.2.1: refusals where messages get lost.
                let again = status < 300 || !path.is_reliable();
                served.resend_at = again.then(|| now + t1);
                served.give_up_at = Some(now + t1 * 64);
                served.over_at = Some(now + t1 * 128);
            }
        }
        self.transmit(path, bytes);
        self.schedule_served(id);
    }

    fn schedule_served(&mut self, id: u64) {
        let Some(served) = self.served.get_mut(&id) else { return };
        let next = served.resend_at.into_iter().chain(served.give_up_at).chain(served.over_at).min();
        let Some(next) = next.filter(|next| *next != served.scheduled) else { return };
        served.scheduled = next;
        self.plan(next, Task::Served(id));
    }

    pub(super) fn on_served_due(&mut self, now: Instant, due: Instant, id: u64) {
        let t2 = self.options.timers.t2;
        let Some(served) = self.served.get_mut(&id).filter(|served| served.scheduled == due) else { return };
        served.scheduled = Instant::MAX;
        let waits = served.call.is_some() && !served.is_answered();
        if served.over_at.is_some_and(|over| over <= now) && !waits {
            if let Some(served) = self.served.remove(&id) {
                self.served_keys.remove(&served.key);
            }
            return;
        }
        if waits {
            served.over_at = Some(now + self.options.timers.t1 * 300);
        }
        if served.give_up_at.is_some_and(|give_up| give_up <= now) {
            (served.give_up_at, served.resend_at) = (None, None);
            let (call, status) = (served.call, served.status);
            if let Some(call) = call.filter(|_| status < 300) {
                self.on_unacknowledged(now, call);
            }
        } else if served.resend_at.is_some_and(|resend| resend <= now) {
            served.interval = (served.interval * 2).min(t2);
            served.resend_at = Some(now + served.interval);
            if let Some(answer) = served.answer.clone() {
                let path = served.path;
                self.counters.retransmitted += 1;
                self.transmit(path, answer);
            }
        }
        self.schedule_served(id);
    }

    /// RFC 3261 §13.3.1.4: a 200 that nobody acknowledges ends in BYE.
    fn on_unacknowledged(&mut self, now: Instant, slot: Slot) {
        let Some(call) = self.calls.get_mut(slot) else { return };
        let request = call.dialog.request("BYE");
        let to = call.dialog.next_hop().unwrap_or(self.options.server);
        self.ask(now, to, request, super::client::Purpose::Other);
        self.end_call(slot, Cause::Unacknowledged, None);
    }

    fn on_ack(&mut self, now: Instant, ack: &Text) {
        let refused = self.served_keys.get(&key_of(ack, "INVITE")).copied();
        if let Some(served) = refused.and_then(|id| self.served.get_mut(&id)) {
            if served.status >= 300 {
                (served.resend_at, served.give_up_at) = (None, None);
            }
            return;
        }
        let name = (ack.call_id().to_owned(), ack.tag("To").unwrap_or("").to_owned());
        let number = ack.cseq().map(|(number, _)| number);
        let Some(slot) = self.dialogs.get(&name).copied() else { return };
        let Some(id) = self.calls.get(slot).and_then(|call| call.served) else { return };
        let Some(served) = self.served.get_mut(&id) else { return };
        if served.request.cseq().map(|(number, _)| number) != number || served.give_up_at.is_none() {
            return;
        }
        (served.resend_at, served.give_up_at) = (None, None);
        let late = served.request.body.is_empty();
        if late && !ack.body.is_empty() {
            self.hear(slot, &ack.body, false);
        }
        self.on_confirmed(now, slot);
    }

    fn on_bye(&mut self, now: Instant, id: u64) {
        let Some(served) = self.served.get(&id) else { return };
        let slot = self.call_of(&served.request);
        let reason = served.request.get("Reason").map(str::to_owned);
        let Some(slot) = slot else {
            self.respond(now, id, 481, &[], Vec::new());
            return;
        };
        let invite = self.calls.get(slot).and_then(|call| call.served);
        if let Some(invite) = invite.and_then(|invite| self.served.get_mut(&invite)) {
            (invite.resend_at, invite.give_up_at) = (None, None);
        }
        self.respond(now, id, 200, &[], Vec::new());
        let ringing = self.calls.get(slot).is_some_and(|call| call.state == State::Ringing);
        if let Some(invite) = self.calls.get(slot).and_then(|call| call.served).filter(|_| ringing) {
            self.respond(now, invite, 487, &[], Vec::new());
        }
        self.give_up_asked(now, slot);
        self.end_call(slot, Cause::Remote, reason);
    }

    fn on_cancel(&mut self, now: Instant, id: u64) {
        let Some(served) = self.served.get(&id) else { return };
        let reason = served.request.get("Reason").map(str::to_owned);
        let invite = self.served_keys.get(&key_of(&served.request, "INVITE")).copied();
        // RFC 3261 §9.2.
        let Some(invite) = invite.filter(|invite| self.served.contains_key(invite)) else {
            self.respond(now, id, 481, &[], Vec::new());
            return;
        };
        self.respond(now, id, 200, &[], Vec::new());
        let open = self.served.get(&invite).filter(|invite| !invite.is_answered()).and_then(|invite| invite.call);
        if let Some(slot) = open {
            self.respond(now, invite, 487, &[], Vec::new());
            self.end_call(slot, Cause::Cancelled, reason);
        }
    }

    /// The call a request within a dialog means.
    pub(super) fn call_of(&self, request: &Text) -> Option<Slot> {
        let name = (request.call_id().to_owned(), request.tag("To")?.to_owned());
        self.dialogs.get(&name).copied()
    }
}

fn first_via(request: &Text) -> usize {
    request.headers.iter().position(|(name, _)| name == "Via").unwrap_or(0)
}

/// RFC 3261 §18.2.2, RFC 3581 §4.
fn reply_address(via: &str, from: SocketAddr) -> SocketAddr {
    if param(via, "rport").is_some() {
        return from;
    }
    let sent_by = via.split(';').next().and_then(|part| part.split_whitespace().last()).unwrap_or("");
    let port = match sent_by.parse::<SocketAddr>() {
        Ok(address) => Some(address.port()),
        Err(_) if sent_by.ends_with(']') || sent_by.parse::<IpAddr>().is_ok() => None,
        Err(_) => sent_by.rsplit_once(':').and_then(|(_, port)| port.parse().ok()),
    };
    SocketAddr::new(from.ip(), port.unwrap_or(5060))
}

fn with_source(via: &str, path: Path) -> String {
    let Path::Datagram(from) = path else { return via.to_owned() };
    let (first, rest) = via.split_once(',').map_or((via, None), |(first, rest)| (first, Some(rest)));
    let mut out = if param(first, "rport") == Some("") {
        first.replacen(";rport", &format!(";rport={}", from.port()), 1)
    } else {
        first.to_owned()
    };
    out.push_str(&format!(";received={}", from.ip()));
    if let Some(rest) = rest {
        out.push(',');
        out.push_str(rest);
    }
    out
}

fn phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        183 => "Session Progress",
        200 => "OK",
        302 => "Moved Temporarily",
        404 => "Not Found",
        407 => "Proxy Authentication Required",
        405 => "Method Not Allowed",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        500 => "Server Internal Error",
        503 => "Service Unavailable",
        603 => "Decline",
        _ => "Answer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_where_the_via_says() {
        let from = "192.0.2.1:4000".parse().unwrap();
        for (via, port) in [
            ("SIP/2.0/UDP 10.0.0.1:5062;branch=z", 5062),
            ("SIP/2.0/UDP 10.0.0.1;branch=z", 5060),
            ("SIP/2.0/UDP [2001:db8::1];branch=z", 5060),
            ("SIP/2.0/UDP [2001:db8::1]:5070;branch=z", 5070),
            ("SIP/2.0/UDP host:5071", 5071),
            ("SIP/2.0/UDP 10.0.0.1:5062;rport;branch=z", 4000),
        ] {
            assert_eq!(reply_address(via, from), SocketAddr::new(from.ip(), port), "{via}");
        }
        let path = Path::Datagram(from);
        assert_eq!(with_source("X h;rport;branch=z", path), "X h;rport=4000;branch=z;received=192.0.2.1");
        assert_eq!(with_source("X h;branch=z, Y g", path), "X h;branch=z;received=192.0.2.1, Y g");
    }
}
