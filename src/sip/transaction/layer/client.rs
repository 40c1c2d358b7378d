//! The client half of the layer: requests that go out, responses that come in, CANCEL.

use super::{Event, Full, Layer};
use crate::base::{Flow, Instant, Slot, Transmit};
use crate::sip::transaction::action::{self, Action, Report, Timer};
use crate::sip::transaction::client::{Cancelling, Client, Input, Machine};
use crate::sip::transaction::clock::{Clock, Fire};
use crate::sip::transaction::matching::client_key;
use crate::sip::transaction::path::Path;
use crate::sip::transaction::table::ClientKey;
use crate::sip::transaction::{ack, ict};
use crate::sip::wire::{Framing, Index, Message, Method, parse};
use bytes::Bytes;

impl<U: Copy> Layer<U> {
    /// Sends a request and keeps sending it until it is answered. The ACK to a 2xx has no transaction and does not
    /// belong here (§13.2.2.4); a CANCEL goes through [`cancel`](Self::cancel).
    ///
    /// # Errors
    /// [`Full`] when the table is full or the branch is in use.
    pub fn request(
        &mut self,
        now: Instant,
        flow: Flow,
        method: Method,
        branch: &[u8],
        bytes: Bytes,
        user: U,
    ) -> Result<ClientKey, Full> {
        self.request_within(self.limits.clients_max, now, (flow, method, branch, bytes), user)
    }

    /// The same for a request that may use the reserve.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn request_urgent(
        &mut self,
        now: Instant,
        flow: Flow,
        method: Method,
        branch: &[u8],
        bytes: Bytes,
        user: U,
    ) -> Result<ClientKey, Full> {
        let clients_max = self.limits.clients_max.saturating_add(self.limits.reserve);
        self.request_within(clients_max, now, (flow, method, branch, bytes), user)
    }

    fn request_within(
        &mut self,
        clients_max: usize,
        now: Instant,
        (flow, method, branch, bytes): (Flow, Method, &[u8], Bytes),
        user: U,
    ) -> Result<ClientKey, Full> {
        if self.clients.len() >= clients_max {
            self.counts.refused += 1;
            return Err(Full);
        }
        // A method the room does not know is as good as any other: it only has to differ from INVITE and CANCEL, and
        // responses are matched by the same rule.
        client_key(branch, method.as_bytes(), &mut self.scratch);
        self.open_client(now, flow, method, bytes, Some(user)).map(ClientKey)
    }

    /// Opens a client transaction whose key is in `scratch`.
    fn open_client(
        &mut self,
        now: Instant,
        flow: Flow,
        method: Method,
        bytes: Bytes,
        user: Option<U>,
    ) -> Result<Slot, Full> {
        let (machine, actions) = Machine::start(method);
        let client = Client {
            flow,
            bytes: Some(bytes),
            user,
            cancel: None,
            cancelled: false,
            acknowledged: false,
            clock: Clock::default(),
            machine,
            link: None,
        };
        let Some(slot) = self.clients.insert(&self.scratch, client) else {
            self.counts.refused += 1;
            return Err(Full);
        };
        self.paths.link(slot, &mut self.clients);
        self.do_client(now, slot, actions, None);
        Ok(slot)
    }

    /// Cancels an INVITE (§9.1). `bytes` is the CANCEL, with the INVITE's branch. It is held back until a provisional
    /// response has come, and dropped if a final one comes first. If no final response follows within 64*T1, the
    /// INVITE ends with [`Event::Timeout`]. The response to the CANCEL itself is not passed on.
    pub fn cancel(&mut self, now: Instant, invite: ClientKey, bytes: Bytes) -> Cancelling {
        let Some(client) = self.clients.get_mut(invite.0) else { return Cancelling::TooLate };
        let again = std::mem::replace(&mut client.cancelled, true);
        match client.machine {
            Machine::Invite(ict::State::Calling) => {
                if !again {
                    client.cancel = Some(Box::new(bytes));
                }
                Cancelling::Held
            }
            Machine::Invite(ict::State::Proceeding) if again => Cancelling::Sent,
            Machine::Invite(ict::State::Proceeding) => self.send_cancel(now, invite.0, bytes),
            Machine::Invite(_) | Machine::Other(_) => Cancelling::TooLate,
        }
    }

    fn send_cancel(&mut self, now: Instant, invite: Slot, bytes: Bytes) -> Cancelling {
        let (Some(client), Some(key)) = (self.clients.get(invite), self.clients.key(invite)) else {
            return Cancelling::TooLate;
        };
        let flow = client.flow;
        let branch = key.len().saturating_sub(Method::Invite.as_bytes().len());
        self.scratch.clear();
        self.scratch.extend_from_slice(&key[..branch]);
        self.scratch.extend_from_slice(Method::Cancel.as_bytes());
        let opened = self.open_client(now, flow, Method::Cancel, bytes, None);
        self.run_client(now, invite, Input::Cancelled, None);
        if opened.is_ok() { Cancelling::Sent } else { Cancelling::Full }
    }

    /// Takes a response whose topmost Via is known to be ours (§18.1.2 is the caller's). `Some`: it is for the user.
    /// Provisional and final responses are, and every 2xx to an INVITE, of which there may be several; all others are
    /// absorbed. The ACK to other final responses is sent from here.
    pub fn handle_response(&mut self, now: Instant, response: &Message<'_>) -> Option<(ClientKey, U)> {
        client_key(response.via().branch()?, response.method().as_bytes(), &mut self.scratch);
        let Some(slot) = self.clients.find(&self.scratch) else {
            self.counts.strays += 1;
            return None;
        };
        let user = self.clients.get(slot)?.user;
        let pass = self.run_client(now, slot, Input::Response(response.status()), Some(response));
        if !pass {
            self.counts.absorbed += 1;
        }
        if let Some(client) = self.clients.get_mut(slot)
            && let Some(cancel) = client.cancel.take()
            && matches!(client.machine, Machine::Invite(ict::State::Proceeding))
        {
            self.send_cancel(now, slot, *cancel);
        }
        user.filter(|_| pass).map(|user| (ClientKey(slot), user))
    }

    /// Ends every client transaction that has sent its request along a path that is broken, and still waits.
    pub fn handle_transport_error(&mut self, now: Instant, path: Path) {
        while let Some(slot) = self.paths.pop(path, &mut self.clients) {
            self.run_client(now, slot, Input::TransportError, None);
        }
    }

    /// Ends one client transaction whose request could not be sent.
    pub fn handle_client_error(&mut self, now: Instant, client: ClientKey) {
        self.run_client(now, client.0, Input::TransportError, None);
    }

    /// The path of a client transaction.
    #[must_use]
    pub fn client_flow(&self, client: ClientKey) -> Option<Flow> {
        self.clients.get(client.0).map(|client| client.flow)
    }

    /// The user of a client transaction.
    #[must_use]
    pub fn client_user(&self, client: ClientKey) -> Option<U> {
        self.clients.get(client.0).and_then(|client| client.user)
    }

    pub(super) fn on_client_timer(&mut self, now: Instant, slot: Slot, timer: Timer) {
        if let Some(client) = self.clients.get_mut(slot) {
            client.clock.fired(timer);
            self.run_client(now, slot, Input::Timer(timer), None);
        }
    }

    /// Runs one input, and the timers of length zero that follow from it. True if the message is for the user.
    fn run_client(&mut self, now: Instant, slot: Slot, input: Input, response: Option<&Message<'_>>) -> bool {
        let (mut next, mut pass) = (Some(input), false);
        while let Some(input) = next.take()
            && let Some(client) = self.clients.get_mut(slot)
        {
            let (machine, actions) = client.machine.step(input);
            client.machine = machine;
            if matches!(input, Input::Timer(_)) && actions.contains(&Action::Send) {
                self.counts.retransmitted += 1;
            }
            pass |= actions.contains(&Action::Pass);
            next = self.do_client(now, slot, actions, response).map(Input::Timer);
            if !machine.is_waiting() {
                self.paths.unlink(slot, &mut self.clients);
            }
            if machine.is_terminated() {
                self.close_client(slot);
            }
        }
        pass
    }

    /// Carries actions out; the timer that fires at once, if one does.
    fn do_client(
        &mut self,
        now: Instant,
        slot: Slot,
        actions: &[Action],
        response: Option<&Message<'_>>,
    ) -> Option<Timer> {
        let client = self.clients.get_mut(slot)?;
        let mut at_once = None;
        for &action in actions {
            match action {
                Action::Acknowledge if !client.acknowledged => {
                    client.acknowledged = true;
                    client.bytes =
                        response.and_then(|response| acknowledge(client.bytes.as_ref()?, response, &mut self.scratch));
                    send(client, &mut self.transmits);
                }
                Action::Send | Action::Acknowledge => send(client, &mut self.transmits),
                Action::Forget => client.bytes = None,
                Action::Pass => {}
                Action::Start(timer) => {
                    let length = client.clock.length(&self.timers, timer, client.flow.transport.is_reliable());
                    if client.clock.start(&mut self.wheel, now, length, timer, Fire::Client(slot, timer)) {
                        at_once = Some(timer);
                    }
                }
                Action::Stop(which) => client.clock.stop(&mut self.wheel, which),
                Action::Report(report) => {
                    let client_key = ClientKey(slot);
                    self.events.extend(client.user.and_then(|user| match report {
                        Report::Timeout => Some(Event::Timeout { client: client_key, user }),
                        Report::Transport => Some(Event::TransportError { client: client_key, user }),
                        Report::Unacknowledged | Report::Unanswered => None,
                    }));
                }
            }
        }
        at_once
    }

    fn close_client(&mut self, slot: Slot) {
        let Some(mut client) = self.clients.remove(slot) else { return };
        client.clock.stop(&mut self.wheel, action::Slot::Retry);
        client.clock.stop(&mut self.wheel, action::Slot::Limit);
        self.events.extend(client.user.map(|user| Event::ClientDone { client: ClientKey(slot), user }));
    }
}

fn send<U>(client: &Client<U>, transmits: &mut crate::base::Queue<Transmit>) {
    if let Some(bytes) = &client.bytes {
        // The queue counts what it refuses; a timer sends it again.
        let _ = transmits.push(Transmit { flow: client.flow, bytes: bytes.clone() });
    }
}

/// The ACK to `response`; `None` if the user's INVITE cannot be read.
fn acknowledge(invite: &Bytes, response: &Message<'_>, scratch: &mut Vec<u8>) -> Option<Bytes> {
    let mut index = Index::new();
    let invite = parse(invite, &mut index, Framing::Stream).ok()?;
    scratch.clear();
    ack::write(&invite, response, scratch);
    Some(Bytes::copy_from_slice(scratch))
}
