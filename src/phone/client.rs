//! Requests this phone sent and still minds: retransmission, timeout, ACK and credentials (RFC 3261 §17.1, §22).

use super::digest::Challenge;
use super::event::{Output, Path};
use super::text::{Text, param};
use super::{Connection, NO_ANSWER, NO_CONNECTION, Phone, STREAMS_MAX, Task};
use crate::base::time::Duration;
use crate::base::{Instant, Slot, StreamKey, Transport};
use bytes::Bytes;
use std::net::SocketAddr;

/// Times one request may be challenged.
const TRIES_MAX: u8 = 3;
/// Forks of one INVITE that are acknowledged.
const FORKS_MAX: usize = 16;

/// Number of the branch; true for the CANCEL that shares it with its INVITE.
pub(super) type Key = (u64, bool);

/// Why something was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Register,
    Invite(Slot),
    Change(Slot),
    Bye(Slot),
    Other,
}

/// A challenge met before, answered ahead of the next one.
#[derive(Clone, Debug)]
pub(super) struct Known {
    challenge: Challenge,
    proxy: bool,
    count: u32,
}

#[derive(Debug)]
pub(super) struct Asked {
    purpose: Purpose,
    path: Path,
    pub(super) request: Text,
    bytes: Bytes,
    interval: Duration,
    resend_at: Option<Instant>,
    give_up_at: Option<Instant>,
    over_at: Option<Instant>,
    scheduled: Instant,
    pub(super) provisional: bool,
    tries: u8,
    acks: Vec<(String, Path, Bytes)>,
}

impl Asked {
    pub(super) fn is_over(&self) -> bool {
        self.over_at.is_some()
    }

    fn is_invite(&self) -> bool {
        self.request.method() == Some("INVITE")
    }

    fn next(&self) -> Option<Instant> {
        if let Some(over) = self.over_at {
            return Some(over);
        }
        self.resend_at.into_iter().chain(self.give_up_at).min()
    }
}

impl Phone {
    fn branch(&self, number: u64) -> String {
        format!("z9hG4bK{}n{number}", self.instance)
    }

    pub(super) fn via_of(&self, number: u64) -> String {
        self.via(&self.branch(number))
    }

    fn via(&self, branch: &str) -> String {
        let token = self.options.transport.via_token();
        format!("SIP/2.0/{token} {};rport;branch={branch}", self.written())
    }

    /// The way to `to`: for TCP an open connection or a new one.
    pub(super) fn path_to(&mut self, to: SocketAddr) -> Path {
        if self.options.transport == Transport::Udp {
            return Path::Datagram(to);
        }
        let open = self.streams.iter().find(|(_, connection)| connection.remote == Some(to)).map(|(key, _)| *key);
        if let Some(stream) = open {
            return Path::Stream(stream);
        }
        let stream = StreamKey(self.number());
        if self.streams.len() < STREAMS_MAX {
            self.streams.insert(stream, Connection { remote: Some(to), ..Connection::default() });
            self.emit(Output::Connect { stream, to });
        } else {
            self.counters.full += 1;
        }
        Path::Stream(stream)
    }

    /// Sends a request and minds it until its final answer; gives the number of its branch.
    pub(super) fn ask(&mut self, now: Instant, to: SocketAddr, request: Text, purpose: Purpose) -> u64 {
        let number = self.number();
        let via = self.via_of(number);
        let path = self.path_to(to);
        self.ask_along(now, path, via, (number, false), request, purpose);
        number
    }

    fn ask_along(&mut self, now: Instant, path: Path, via: String, key: Key, mut request: Text, purpose: Purpose) {
        request.headers.retain(|(name, _)| name != "Via");
        request.headers.insert(0, ("Via".to_owned(), via));
        let bytes = request.write();
        let t1 = self.options.timers.t1;
        let asked = Asked {
            purpose,
            path,
            request,
            bytes: bytes.clone(),
            interval: t1,
            // RFC 3261 §17.1.1.2, §17.1.2.2: timers A and E only where the transport loses messages.
            resend_at: (!path.is_reliable()).then(|| now + t1),
            give_up_at: Some(now + t1 * 64),
            over_at: None,
            scheduled: Instant::MAX,
            provisional: false,
            tries: 0,
            acks: Vec::new(),
        };
        if self.asked.len() >= self.exchanges_max() {
            self.counters.full += 1;
            return;
        }
        self.asked.insert(key, asked);
        self.transmit(path, bytes);
        self.schedule_asked(key);
    }

    /// CANCEL for an INVITE that had a provisional answer (RFC 3261 §9.1).
    pub(super) fn ask_cancel(&mut self, now: Instant, number: u64) {
        let Some(invite) = self.asked.get(&(number, false)).filter(|asked| !asked.is_over()) else { return };
        let (path, via) = (invite.path, invite.request.via().to_owned());
        let uri = invite.request.uri().unwrap_or("").to_owned();
        let mut cancel = Text { start: format!("CANCEL {uri} SIP/2.0"), ..Text::default() };
        for (name, value) in &invite.request.headers {
            if matches!(name.as_str(), "From" | "To" | "Call-ID" | "Max-Forwards" | "Route") {
                cancel.push(name, value.clone());
            }
        }
        let number_of_invite = invite.request.cseq().map_or(0, |(number, _)| number);
        cancel.push("CSeq", format!("{number_of_invite} CANCEL"));
        self.ask_along(now, path, via, (number, true), cancel, Purpose::Other);
        // RFC 3261 §9.1: no answer to the INVITE 64*T1 after the CANCEL is taken for a refusal.
        let give_up = now + self.options.timers.t1 * 64;
        if let Some(invite) = self.asked.get_mut(&(number, false)) {
            invite.give_up_at = Some(give_up);
        }
        self.schedule_asked((number, false));
    }

    /// The peer hung up before its answer reached us: that is waited for no longer than a transaction lasts.
    pub(super) fn give_up_asked(&mut self, now: Instant, slot: Slot) {
        let give_up = now + self.options.timers.t1 * 64;
        let Some(key) = self.calls.get(slot).and_then(|call| call.asked).map(|number| (number, false)) else { return };
        if let Some(asked) = self.asked.get_mut(&key).filter(|asked| !asked.is_over()) {
            asked.give_up_at.get_or_insert(give_up);
        }
        self.schedule_asked(key);
    }

    fn schedule_asked(&mut self, key: Key) {
        let Some(asked) = self.asked.get_mut(&key) else { return };
        let Some(next) = asked.next().filter(|next| *next != asked.scheduled) else { return };
        asked.scheduled = next;
        self.plan(next, Task::Asked(key));
    }

    pub(super) fn on_asked_due(&mut self, now: Instant, due: Instant, key: Key) {
        let t2 = self.options.timers.t2;
        let Some(asked) = self.asked.get_mut(&key).filter(|asked| asked.scheduled == due) else { return };
        asked.scheduled = Instant::MAX;
        if asked.over_at.is_some_and(|over| over <= now) {
            self.asked.remove(&key);
            return;
        }
        if asked.over_at.is_none() && asked.give_up_at.is_some_and(|give_up| give_up <= now) {
            self.fail_asked(now, key, NO_ANSWER);
            return;
        }
        if asked.over_at.is_none() && asked.resend_at.is_some_and(|resend| resend <= now) {
            let doubled = asked.interval * 2;
            asked.interval = if asked.is_invite() { doubled } else { doubled.min(t2) };
            if asked.provisional {
                asked.interval = t2;
            }
            asked.resend_at = Some(now + asked.interval);
            let (path, bytes) = (asked.path, asked.bytes.clone());
            self.counters.retransmitted += 1;
            self.transmit(path, bytes);
        }
        self.schedule_asked(key);
    }

    fn fail_asked(&mut self, now: Instant, key: Key, status: u16) {
        let Some(asked) = self.asked.remove(&key) else { return };
        let answer = Text { start: format!("SIP/2.0 {status} No Answer"), ..Text::default() };
        self.conclude(now, asked.purpose, &asked.request, &answer);
    }

    pub(super) fn fail_stream(&mut self, now: Instant, stream: StreamKey) {
        let lost: Vec<Key> = self
            .asked
            .iter()
            .filter(|(_, asked)| asked.path == Path::Stream(stream) && !asked.is_over())
            .map(|(key, _)| *key)
            .collect();
        for key in lost {
            self.fail_asked(now, key, NO_CONNECTION);
        }
    }

    pub(super) fn on_response(&mut self, now: Instant, response: &Text) {
        let (_, method) = response.cseq().unwrap_or((0, ""));
        let key = self.branch_number(response).map(|number| (number, method == "CANCEL"));
        let Some((key, asked)) = key.and_then(|key| self.asked.get_mut(&key).map(|asked| (key, asked))) else {
            self.counters.unmatched += 1;
            return;
        };
        if asked.request.method() != Some(method) || asked.request.call_id() != response.call_id() {
            self.counters.unmatched += 1;
            return;
        }
        let status = response.status().unwrap_or(0);
        let (purpose, invite) = (asked.purpose, asked.is_invite());
        if status < 200 {
            if asked.is_over() {
                return;
            }
            asked.provisional = true;
            if invite {
                asked.resend_at = None;
                if !self.asked.contains_key(&(key.0, true))
                    && let Some(asked) = self.asked.get_mut(&key)
                {
                    asked.give_up_at = None;
                }
                if let Purpose::Invite(call) = purpose {
                    self.on_progress(now, call, status, response);
                }
            }
            return;
        }
        if invite {
            self.on_invite_final(now, key, status, response);
        } else if !asked.is_over() {
            self.finish(now, key, Duration::ZERO);
            self.answered(now, key, response);
        }
    }

    fn branch_number(&self, response: &Text) -> Option<u64> {
        let branch = param(response.via(), "branch")?;
        branch.strip_prefix("z9hG4bK")?.strip_prefix(self.instance.as_str())?.strip_prefix('n')?.parse().ok()
    }

    fn finish(&mut self, now: Instant, key: Key, kept: Duration) {
        if let Some(asked) = self.asked.get_mut(&key) {
            asked.over_at = Some(now + kept);
            asked.resend_at = None;
            asked.give_up_at = None;
        }
        self.schedule_asked(key);
    }

    fn on_invite_final(&mut self, now: Instant, key: Key, status: u16, response: &Text) {
        let tag = response.tag("To").unwrap_or("").to_owned();
        let Some(asked) = self.asked.get(&key) else { return };
        let (path, over, purpose) = (asked.path, asked.is_over(), asked.purpose);
        if let Some((_, path, ack)) = asked.acks.iter().find(|(known, ..)| *known == tag) {
            // RFC 3261 §13.2.2.4, §17.1.1.3: every copy of a final answer is acknowledged again.
            let (path, ack) = (*path, ack.clone());
            self.counters.retransmitted += 1;
            self.transmit(path, ack);
            return;
        }
        let kept = self.options.timers.t1 * 64;
        if status >= 300 {
            if over {
                return;
            }
            let ack = failure_ack(&asked.request, response).write();
            self.keep_ack(key, tag, path, ack.clone());
            self.transmit(path, ack);
            self.finish(now, key, kept);
            self.answered(now, key, response);
            return;
        }
        self.finish(now, key, kept);
        let request = self.asked.get(&key).map(|asked| asked.request.clone()).unwrap_or_default();
        let ack = match purpose {
            Purpose::Invite(call) if !over => self.on_accepted(now, call, &request, response),
            Purpose::Change(call) if !over => self.on_change_accepted(now, call, &request, response),
            _ => None,
        };
        let (path, ack) = ack.unwrap_or_else(|| self.refuse_fork(now, &request, response));
        self.keep_ack(key, tag, path, ack);
    }

    fn keep_ack(&mut self, key: Key, tag: String, path: Path, ack: Bytes) {
        if let Some(asked) = self.asked.get_mut(&key).filter(|asked| asked.acks.len() < FORKS_MAX) {
            asked.acks.push((tag, path, ack));
        }
    }

    /// A final answer: credentials are added where they are asked for, everything else is the purpose's matter.
    fn answered(&mut self, now: Instant, key: Key, response: &Text) {
        let Some(asked) = self.asked.get(&key) else { return };
        let (purpose, tries, request, path) = (asked.purpose, asked.tries, asked.request.clone(), asked.path);
        if let Some(next) = self.with_credentials(&request, response, tries) {
            let number = self.number();
            let via = self.via_of(number);
            self.ask_along(now, path, via, (number, false), next, purpose);
            if let Some(asked) = self.asked.get_mut(&(number, false)) {
                asked.tries = tries + 1;
            }
            self.on_asked_again(purpose, number);
            return;
        }
        self.conclude(now, purpose, &request, response);
    }

    fn conclude(&mut self, now: Instant, purpose: Purpose, request: &Text, response: &Text) {
        match purpose {
            Purpose::Register => self.on_register_answer(now, request, response),
            Purpose::Invite(call) => self.on_refused(now, call, response),
            Purpose::Change(call) => self.on_change_refused(now, call, response),
            Purpose::Bye(call) => self.on_bye_answered(call),
            Purpose::Other => {}
        }
    }

    fn with_credentials(&mut self, request: &Text, response: &Text, tries: u8) -> Option<Text> {
        let proxy = match response.status()? {
            401 => false,
            407 => true,
            _ => return None,
        };
        let name = if proxy { "Proxy-Authenticate" } else { "WWW-Authenticate" };
        // Challenges carry commas of their own: a line each (RFC 8760 §2.3 lists them by preference).
        let challenge = response
            .headers
            .iter()
            .filter(|(own, _)| own.eq_ignore_ascii_case(name))
            .find_map(|(_, value)| Challenge::parse(value))?;
        if tries >= TRIES_MAX || (tries > 0 && !challenge.stale) {
            return None;
        }
        self.challenge = Some(Known { challenge, proxy, count: 0 });
        let mut next = request.clone();
        self.authorize(&mut next).then_some(())?;
        let (number, method) = request.cseq()?;
        let cseq = self.next_cseq(request, number);
        for (name, value) in &mut next.headers {
            if name == "CSeq" {
                *value = format!("{cseq} {method}");
            }
        }
        Some(next)
    }

    /// Adds credentials for the challenge met last.
    pub(super) fn authorize(&mut self, request: &mut Text) -> bool {
        let cnonce = self.token();
        let (Some(known), Some(login)) = (&mut self.challenge, &self.options.login) else { return false };
        known.count += 1;
        let (method, uri) = (request.method().unwrap_or("").to_owned(), request.uri().unwrap_or("").to_owned());
        let value = known.challenge.answer(login, &method, &uri, known.count, &cnonce);
        let name = if known.proxy { "Proxy-Authorization" } else { "Authorization" };
        request.headers.retain(|(own, _)| own != "Authorization" && own != "Proxy-Authorization");
        request.push(name, value);
        true
    }
}

/// ACK for a refusal: same branch, same request line (RFC 3261 §17.1.1.3).
fn failure_ack(invite: &Text, response: &Text) -> Text {
    let mut ack = Text { start: format!("ACK {} SIP/2.0", invite.uri().unwrap_or("")), ..Text::default() };
    ack.push("Via", invite.via());
    for name in ["Max-Forwards", "From"] {
        ack.push(name, invite.get(name).unwrap_or("70"));
    }
    ack.push("To", response.get("To").unwrap_or(""));
    ack.push("Call-ID", invite.call_id());
    ack.push("CSeq", format!("{} ACK", invite.cseq().map_or(0, |(number, _)| number)));
    for route in invite.headers.iter().filter(|(name, _)| name == "Route") {
        ack.push("Route", route.1.clone());
    }
    ack
}
