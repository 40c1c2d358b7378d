//! REGISTER: bind, refresh, fetch, unbind (RFC 3261 §10.2).

use super::client::Purpose;
use super::dialog::address_of;
use super::event::Event;
use super::text::{Text, param, uri_of};
use super::{Phone, Task};
use crate::base::time::Duration;
use crate::base::{Instant, Random};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Nothing,
    Bound,
    Unbound,
}

#[derive(Debug)]
pub(super) struct Registration {
    call_id: String,
    tag: String,
    cseq: u32,
    wish: Wish,
    expires: Option<u32>,
    due: Instant,
}

impl Registration {
    pub(super) fn new(random: &mut Random) -> Self {
        let mut token = || String::from_utf8_lossy(&random.hex::<12>()).into_owned();
        let (call_id, tag) = (token(), token());
        Self { call_id, tag, cseq: 0, wish: Wish::Nothing, expires: None, due: Instant::MAX }
    }

    pub(super) fn next_cseq(&mut self, request: &Text, last: u32) -> u32 {
        if request.call_id() != self.call_id {
            return last + 1;
        }
        self.cseq += 1;
        self.cseq
    }
}

impl Phone {
    /// Binds this phone's contact and keeps it bound.
    pub fn register(&mut self, now: Instant) {
        self.registration.wish = Wish::Bound;
        let contact = self.contact();
        let expires = self.registration.expires.unwrap_or(self.options.expires);
        self.ask_register(now, &[("Contact", contact), ("Expires", expires.to_string())]);
    }

    /// Takes this phone's contact back.
    pub fn unregister(&mut self, now: Instant) {
        self.registration.wish = Wish::Unbound;
        self.registration.due = Instant::MAX;
        let contact = format!("{};expires=0", self.contact());
        self.ask_register(now, &[("Contact", contact)]);
    }

    /// Takes all contacts of the address back (RFC 3261 §10.2.2).
    pub fn unregister_all(&mut self, now: Instant) {
        self.registration.wish = Wish::Unbound;
        self.registration.due = Instant::MAX;
        self.ask_register(now, &[("Contact", "*".to_owned()), ("Expires", "0".to_owned())]);
    }

    /// Asks which contacts there are (RFC 3261 §10.2.3).
    pub fn fetch_contacts(&mut self, now: Instant) {
        self.ask_register(now, &[]);
    }

    fn ask_register(&mut self, now: Instant, lines: &[(&str, String)]) {
        let registration = &mut self.registration;
        registration.cseq += 1;
        let (call_id, tag, cseq) = (registration.call_id.clone(), registration.tag.clone(), registration.cseq);
        let address = self.address();
        let mut request = Text { start: format!("REGISTER sip:{} SIP/2.0", self.options.domain), ..Text::default() };
        request
            .push("Max-Forwards", "70")
            .push("From", format!("{address};tag={tag}"))
            .push("To", address)
            .push("Call-ID", call_id)
            .push("CSeq", format!("{cseq} REGISTER"));
        for (name, value) in lines {
            request.push(name, value.clone());
        }
        if self.challenge_is_known() {
            self.authorize(&mut request);
        }
        let server = self.options.server;
        self.ask(now, server, request, Purpose::Register);
    }

    pub(super) fn challenge_is_known(&self) -> bool {
        self.challenge.is_some() && self.options.login.is_some()
    }

    pub(super) fn on_register_answer(&mut self, now: Instant, request: &Text, response: &Text) {
        let status = response.status().unwrap_or(super::NO_ANSWER);
        let fetched = request.get("Contact").is_none();
        if status == 200 {
            let contacts = response.all("Contact").filter(|contact| !contact.is_empty()).count();
            let own = response
                .all("Contact")
                .find(|contact| address_of(uri_of(contact)) == Some(self.written()))
                .and_then(|contact| param(contact, "expires")?.parse::<u32>().ok());
            match own {
                Some(expires) => {
                    if !fetched && self.registration.wish == Wish::Bound {
                        // RFC 3261 §10.2.4: well before it runs out.
                        self.plan_register(now + Duration::from_millis(u64::from(expires) * 500));
                    }
                    self.event(Event::Registered { expires, contacts });
                }
                None => self.event(Event::Unregistered { contacts }),
            }
            return;
        }
        let least = response.get("Min-Expires").and_then(|least| least.parse::<u32>().ok());
        if let (423, Some(least), Wish::Bound) = (status, least, self.registration.wish) {
            // RFC 3261 §10.2.8; the same answer to the same number would go on for ever.
            if self.registration.expires.is_none_or(|last| last < least) {
                self.registration.expires = Some(least);
                self.register(now);
                return;
            }
        }
        self.event(Event::RegistrationFailed { status });
        if self.registration.wish == Wish::Bound && !fetched {
            self.plan_register(now + self.options.register_retry);
        }
    }

    fn plan_register(&mut self, at: Instant) {
        self.registration.due = at;
        self.plan(at, Task::Register);
    }

    pub(super) fn on_register_due(&mut self, now: Instant, due: Instant) {
        if self.registration.wish == Wish::Bound && self.registration.due == due {
            self.register(now);
        }
    }
}
