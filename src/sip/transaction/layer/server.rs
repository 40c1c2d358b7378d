//! The server half of the layer: requests that come in, responses that go out.

use super::{Event, Layer};
use crate::base::{Flow, Instant, Slot, Transmit};
use crate::sip::transaction::action::{self, Action, Report, Timer};
use crate::sip::transaction::clock::{Clock, Fire};
use crate::sip::transaction::matching::{has_cookie, request_id, server_key};
use crate::sip::transaction::server::{Incoming, Input, Machine, Server};
use crate::sip::transaction::table::ServerKey;
use crate::sip::transaction::{ist, nist};
use crate::sip::wire::{Framing, Index, Message, Method, parse};
use bytes::Bytes;

impl<U: Copy> Layer<U> {
    /// Takes a request that came along `flow`.
    pub fn handle_request(&mut self, now: Instant, flow: Flow, request: &Message<'_>) -> Incoming {
        self.handle(now, flow, request, self.limits.servers_max)
    }

    /// Takes a request that may use the reserve.
    pub fn handle_urgent_request(&mut self, now: Instant, flow: Flow, request: &Message<'_>) -> Incoming {
        self.handle(now, flow, request, self.limits.servers_max.saturating_add(self.limits.reserve))
    }

    fn handle(&mut self, now: Instant, flow: Flow, request: &Message<'_>, servers_max: usize) -> Incoming {
        match request.method() {
            Method::Ack => return self.handle_ack(now, request),
            method => server_key(request, own(method, request), &mut self.scratch),
        }
        if let Some(slot) = self.servers.find(&self.scratch) {
            self.counts.absorbed += 1;
            self.run_server(now, slot, Input::Request);
            return Incoming::Retransmission;
        }
        if self.servers.len() >= servers_max {
            self.counts.refused += 1;
            return Incoming::Full;
        }
        let identity = request_id(request, request.method(), &self.request_hashers);
        let is_cancel = request.method() == Method::Cancel;
        let twin = !is_cancel && self.find_request(identity).is_some();
        let request_id = (!is_cancel && !twin).then_some(identity);
        let Some(slot) = self.open_server(now, flow, request, request_id) else { return Incoming::Full };
        if is_cancel {
            server_key(request, Method::Invite.as_bytes(), &mut self.scratch);
            let invite = self.servers.find(&self.scratch).map(ServerKey);
            return Incoming::Cancel { cancel: ServerKey(slot), invite };
        }
        // §8.2.2.2 is about requests outside of dialogs.
        if twin && request.to().tag().is_none() {
            return Incoming::Merged(ServerKey(slot));
        }
        Incoming::New(ServerKey(slot))
    }

    /// True while the INVITE is kept that this CANCEL means (§9.2).
    pub fn has_invite_of(&mut self, cancel: &Message<'_>) -> bool {
        server_key(cancel, Method::Invite.as_bytes(), &mut self.scratch);
        self.servers.find(&self.scratch).is_some()
    }

    fn handle_ack(&mut self, now: Instant, ack: &Message<'_>) -> Incoming {
        server_key(ack, Method::Invite.as_bytes(), &mut self.scratch);
        let by_branch = self.servers.find(&self.scratch).filter(|&slot| {
            let server = self.servers.get(slot);
            server.is_some_and(|server| !server.without_cookie || server.to_tag.as_deref() == ack.to().tag())
        });
        // The ACK to a 2xx has a branch of its own (§13.2.2.4).
        let found = by_branch.or_else(|| self.find_request(request_id(ack, Method::Invite, &self.request_hashers)));
        let Some(slot) = found else { return Incoming::AckToSuccess { server: None } };
        match self.servers.get(slot).map(|server| server.machine) {
            Some(Machine::Invite(ist::State::Accepted | ist::State::Acknowledged)) => {
                Incoming::AckToSuccess { server: Some(ServerKey(slot)) }
            }
            _ if by_branch.is_some() && self.run_server(now, slot, Input::Ack) => {
                Incoming::AckToFailure(ServerKey(slot))
            }
            _ if by_branch.is_some() => {
                self.counts.absorbed += 1;
                Incoming::Retransmission
            }
            _ => Incoming::AckToSuccess { server: None },
        }
    }

    /// Opens a server transaction whose key is in `scratch`.
    fn open_server(
        &mut self,
        now: Instant,
        flow: Flow,
        request: &Message<'_>,
        request_id: Option<[u64; 2]>,
    ) -> Option<Slot> {
        let (machine, actions) = Machine::start(request.method());
        let server = Server {
            flow,
            response: None,
            user: None,
            request_id,
            to_tag: None,
            without_cookie: !has_cookie(request),
            trying_due: false,
            unacknowledged: false,
            clock: Clock::default(),
            machine,
        };
        let slot = self.servers.insert(&self.scratch, server)?;
        if let Some(id) = request_id {
            self.requests.insert_unique(id[0], (id, slot), |(id, _)| id[0]);
        }
        self.do_server(now, slot, actions);
        Some(slot)
    }

    fn find_request(&self, id: [u64; 2]) -> Option<Slot> {
        self.requests.find(id[0], |(other, _)| *other == id).map(|&(_, slot)| slot)
    }

    /// Sends a response and sees to it that it arrives: a final one to an INVITE is repeated until it is acknowledged,
    /// any other whenever the request comes again. False if it is not sent: the transaction is over, has had its final
    /// response, or RFC 4320 §4 forbids it (a 408 to a non-INVITE request ends its transaction in silence).
    pub fn respond(&mut self, now: Instant, server: ServerKey, status: u16, bytes: Bytes) -> bool {
        let slot = server.0;
        let Some(server) = self.servers.get_mut(slot) else {
            self.counts.withheld += 1;
            return false;
        };
        // RFC 4320 §4.1: no 1xx but 100, and that over unreliable transports only when it is due.
        let may_try = server.trying_due || server.flow.transport.is_reliable();
        let forbidden = matches!(server.machine, Machine::Other(_)) && status < 200 && (status != 100 || !may_try);
        let sends = !forbidden && server.machine.step(Input::Response(status)).1.contains(&Action::Send);
        if sends {
            if server.without_cookie && status >= 200 {
                server.to_tag = to_tag_of(&bytes);
            }
            server.response = Some(bytes);
        } else {
            self.counts.withheld += 1;
        }
        if !forbidden {
            self.run_server(now, slot, Input::Response(status));
        }
        sends
    }

    /// The dialog has seen the ACK to the 2xx of this transaction: it is not sent again.
    pub fn ack_received(&mut self, server: ServerKey) {
        // No timer is started on this way, so the time does not matter.
        self.run_server(Instant::ZERO, server.0, Input::Acknowledged);
    }

    /// The latest response could not be sent. The transaction goes on (RFC 6026 §7.1).
    pub fn handle_server_error(&mut self, now: Instant, server: ServerKey) {
        self.run_server(now, server.0, Input::TransportError);
    }

    /// Sets whom the events of this transaction are for.
    pub fn set_server_user(&mut self, server: ServerKey, user: U) {
        if let Some(server) = self.servers.get_mut(server.0) {
            server.user = Some(user);
        }
    }

    /// Whom the events of this transaction are for.
    #[must_use]
    pub fn server_user(&self, server: ServerKey) -> Option<U> {
        self.servers.get(server.0)?.user
    }

    /// The path the request came by.
    #[must_use]
    pub fn server_flow(&self, server: ServerKey) -> Option<Flow> {
        self.servers.get(server.0).map(|server| server.flow)
    }

    /// True while the request has no final response.
    #[must_use]
    pub fn is_unanswered(&self, server: ServerKey) -> bool {
        self.servers.get(server.0).is_some_and(|server| {
            matches!(
                server.machine,
                Machine::Invite(ist::State::Proceeding) | Machine::Other(nist::State::Trying | nist::State::Proceeding)
            )
        })
    }

    pub(super) fn on_server_timer(&mut self, now: Instant, slot: Slot, timer: Timer) {
        if let Some(server) = self.servers.get_mut(slot) {
            server.clock.fired(timer);
            server.trying_due |= timer == Timer::Trying;
            self.run_server(now, slot, Input::Timer(timer));
        }
    }

    /// Runs one input, and the timers of length zero that follow from it. True if the message is for the user.
    fn run_server(&mut self, now: Instant, slot: Slot, input: Input) -> bool {
        let (mut next, mut pass) = (Some(input), false);
        while let Some(input) = next.take()
            && let Some(server) = self.servers.get_mut(slot)
        {
            let (machine, actions) = server.machine.step(input);
            server.machine = machine;
            let repeats = matches!(input, Input::Timer(_) | Input::Request) && server.response.is_some();
            self.counts.retransmitted += u64::from(repeats && actions.contains(&Action::Send));
            pass |= actions.contains(&Action::Pass);
            next = self.do_server(now, slot, actions).map(Input::Timer);
            if machine.is_terminated() {
                self.close_server(slot);
            }
        }
        pass
    }

    /// Carries actions out; the timer that fires at once, if one does.
    fn do_server(&mut self, now: Instant, slot: Slot, actions: &[Action]) -> Option<Timer> {
        let server = self.servers.get_mut(slot)?;
        let (key, user) = (ServerKey(slot), server.user);
        let mut at_once = None;
        for &action in actions {
            match action {
                Action::Send => {
                    if let Some(bytes) = &server.response {
                        // The queue counts what it refuses; the client asks again.
                        let _ = self.transmits.push(Transmit { flow: server.flow, bytes: bytes.clone() });
                    }
                }
                Action::Forget => server.response = None,
                Action::Pass | Action::Acknowledge => {}
                Action::Start(timer) => {
                    let length = server.clock.length(&self.timers, timer, server.flow.transport.is_reliable());
                    if server.clock.start(&mut self.wheel, now, length, timer, Fire::Server(slot, timer)) {
                        at_once = Some(timer);
                    }
                }
                Action::Stop(which) => server.clock.stop(&mut self.wheel, which),
                Action::Report(Report::Unacknowledged) => server.unacknowledged = true,
                Action::Report(Report::Unanswered) => self.events.push_back(Event::TryingDue { server: key, user }),
                Action::Report(Report::Transport) => self.events.push_back(Event::ResponseLost { server: key, user }),
                Action::Report(Report::Timeout) => {}
            }
        }
        at_once
    }

    fn close_server(&mut self, slot: Slot) {
        let Some(mut server) = self.servers.remove(slot) else { return };
        server.clock.stop(&mut self.wheel, action::Slot::Retry);
        server.clock.stop(&mut self.wheel, action::Slot::Limit);
        if let Some(id) = server.request_id
            && let Ok(entry) = self.requests.find_entry(id[0], |&(_, other)| other == slot)
        {
            entry.remove();
        }
        self.events.push_back(Event::ServerDone {
            server: ServerKey(slot),
            user: server.user,
            unanswered_ack: server.unacknowledged,
        });
    }
}

fn own<'a>(method: Method, request: &Message<'a>) -> &'a [u8] {
    if method == Method::Other { request.method_bytes() } else { method.as_bytes() }
}

fn to_tag_of(response: &Bytes) -> Option<Box<[u8]>> {
    let mut index = Index::new();
    parse(response, &mut index, Framing::Stream).ok()?.to().tag().map(Box::from)
}
