//! One dialog as one of its two ends sees it (RFC 3261 §12): what every request within it must carry, and where it goes.
//!
//! Owned by the call's leg. All text stands in one block of memory, since tens of thousands of dialogs are alive.

mod text;

use super::wire::{Builder, HeaderName, Message, Method, NameAddr, Scheme, Uri, Values};
use serde::{Deserialize, Serialize};
use text::{Parts, Text, offset};

/// A request whose CSeq is lower than one seen before: to be answered with 500 (§12.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfOrder;

/// Where a dialog is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Made by a provisional response.
    Early,
    /// Made or confirmed by a 2xx.
    Confirmed,
}

/// One dialog.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dialog {
    text: Text,
    local_cseq: u32,
    remote_cseq: Option<u32>,
    state: State,
    secure: bool,
}

/// Where the sender of this message takes requests (§12.1): its Contact. If a request has none, or none that can be read, its From.
#[must_use]
pub fn target_of<'a>(message: &Message<'a>) -> Option<&'a [u8]> {
    let contact = message.contact().and_then(|contact| request_uri(contact.uri_raw()));
    contact.or_else(|| request_uri(message.from().uri_raw()).filter(|_| message.is_request()))
}

/// An address as a Request-URI. Of those in headers only the shape has been looked at.
fn request_uri(uri: &[u8]) -> Option<&[u8]> {
    Uri::parse(uri).map(|uri| uri.without_headers())
}

impl Dialog {
    /// The callee's end (§12.1.1), with the tag that the responses carry in To. Early until
    /// [`confirmed`](Self::confirmed). Without a Contact, requests will go to the From address.
    #[must_use]
    pub fn uas(request: &Message<'_>, local_tag: &[u8]) -> Self {
        let to = request.to();
        let mut local = to.raw().to_vec();
        if to.tag().is_none() {
            local.extend_from_slice(b";tag=");
            local.extend_from_slice(local_tag);
        }
        let tag_start = match to.tag() {
            Some(tag) => offset(to.raw(), tag) as usize..offset(to.raw(), tag) as usize + tag.len(),
            None => local.len() - local_tag.len()..local.len(),
        };
        let text = Text::new(&Parts {
            call_id: request.call_id(),
            local: &local,
            local_tag: &local[tag_start],
            remote: request.from().raw(),
            remote_tag: request.from().tag().unwrap_or_default(),
            target: target_of(request).unwrap_or(request.from().uri_raw()),
            routes: &routes(request, false),
        });
        Self {
            text,
            local_cseq: 0,
            remote_cseq: Some(request.cseq().0),
            state: State::Early,
            secure: request.uri().scheme() == Scheme::Sips,
        }
    }

    /// The caller's end (§12.1.2), from the request sent and a response with a To tag: early for a provisional one,
    /// confirmed for a 2xx. Without a Contact, requests will go to where the first one went.
    #[must_use]
    pub fn uac(request: &Message<'_>, response: &Message<'_>) -> Self {
        let text = Text::new(&Parts {
            call_id: request.call_id(),
            local: request.from().raw(),
            local_tag: request.from().tag().unwrap_or_default(),
            remote: response.to().raw(),
            remote_tag: response.to().tag().unwrap_or_default(),
            target: target_of(response).unwrap_or(request.uri().raw()),
            routes: &routes(response, true),
        });
        Self {
            text,
            local_cseq: request.cseq().0,
            remote_cseq: None,
            state: if response.status() < 200 { State::Early } else { State::Confirmed },
            secure: request.uri().scheme() == Scheme::Sips,
        }
    }

    /// The callee has sent its 2xx.
    pub fn confirmed(&mut self) {
        self.state = State::Confirmed;
    }

    /// The caller has received a 2xx for its early dialog: the route set is taken anew (§13.2.2.4).
    pub fn confirm(&mut self, response: &Message<'_>) {
        self.state = State::Confirmed;
        let (parts, routes) = (self.text.parts(), routes(response, true));
        let target = target_of(response).unwrap_or(parts.target);
        self.text = Text::new(&Parts { target, routes: &routes, ..parts });
    }

    /// Takes the remote target from a request or 2xx that refreshes it (§12.2.1.2, §12.2.2); without a Contact, nothing.
    pub fn target_refresh(&mut self, message: &Message<'_>) {
        let Some(target) = message.contact().and_then(|contact| request_uri(contact.uri_raw())) else { return };
        let parts = self.text.parts();
        if parts.target != target {
            self.text = Text::new(&Parts { target, ..parts });
        }
    }

    /// Checks the order of a request of the peer, and notes it. ACK and CANCEL carry the number of their INVITE.
    ///
    /// # Errors
    /// [`OutOfOrder`]: answer 500 (§12.2.2).
    pub fn check_request(&mut self, request: &Message<'_>) -> Result<(), OutOfOrder> {
        let (number, method) = request.cseq();
        if matches!(method, Method::Ack | Method::Cancel) {
            return Ok(());
        }
        if self.remote_cseq.is_some_and(|last| number < last) {
            return Err(OutOfOrder);
        }
        self.remote_cseq = Some(number);
        Ok(())
    }

    /// Begins a request within the dialog with the next CSeq (§12.2.1.1): all that is not a matter of the method.
    /// `via` and `contact` are whole header values.
    pub fn request<'o>(
        &mut self,
        method: impl AsRef<[u8]>,
        via: &[u8],
        contact: Option<&[u8]>,
        out: &'o mut Vec<u8>,
    ) -> Builder<'o> {
        self.local_cseq = self.local_cseq.wrapping_add(1) & i32::MAX as u32;
        let builder = self.begin(method.as_ref(), self.local_cseq, via, out);
        match contact {
            Some(contact) => builder.header(HeaderName::Contact, contact),
            None => builder,
        }
    }

    /// Begins the ACK to the 2xx of the INVITE with that CSeq (§13.2.2.4).
    pub fn ack<'o>(&self, invite_cseq: u32, via: &[u8], out: &'o mut Vec<u8>) -> Builder<'o> {
        self.begin(Method::Ack.as_bytes(), invite_cseq, via, out)
    }

    fn begin<'o>(&self, method: &[u8], cseq: u32, via: &[u8], out: &'o mut Vec<u8>) -> Builder<'o> {
        let parts = self.text.parts();
        let strict = self.first_route().filter(|route| route.uri().params().lookup(b"lr").is_none());
        let strict = strict.and_then(|route| request_uri(route.uri_raw()));
        let uri = strict.unwrap_or(parts.target);
        let mut builder =
            Builder::request(out, method, uri).header(HeaderName::Via, via).number(HeaderName::MaxForwards, 70);
        if strict.is_some() {
            // §12.2.1.1: a strict router takes itself from the Request-URI and finds the target at the end.
            for route in Values::of_line(parts.routes).skip(1) {
                builder = builder.header(HeaderName::Route, route);
            }
            builder = builder.header(HeaderName::Route, [b"<", parts.target, b">"].concat());
        } else if !parts.routes.is_empty() {
            builder = builder.header(HeaderName::Route, parts.routes);
        }
        builder
            .header(HeaderName::From, parts.local)
            .header(HeaderName::To, parts.remote)
            .header(HeaderName::CallId, parts.call_id)
            .cseq(cseq, method)
    }

    fn first_route(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(Values::of_line(self.text.parts().routes).next()?)
    }

    /// The URI that says where requests are sent (§8.1.2): the first route, else the target.
    #[must_use]
    pub fn next_hop(&self) -> &[u8] {
        self.first_route().map_or(self.remote_target(), |route| route.uri_raw())
    }

    /// True if a message names this dialog; `local` is our tag.
    #[must_use]
    pub fn matches(&self, call_id: &[u8], local_tag: &[u8], remote_tag: &[u8]) -> bool {
        self.id() == (call_id, local_tag, remote_tag)
    }

    /// Call-ID, local tag, remote tag (§12).
    #[must_use]
    pub fn id(&self) -> (&[u8], &[u8], &[u8]) {
        let parts = self.text.parts();
        (parts.call_id, parts.local_tag, parts.remote_tag)
    }

    /// Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &[u8] {
        self.text.parts().call_id
    }

    /// Our tag.
    #[must_use]
    pub fn local_tag(&self) -> &[u8] {
        self.text.parts().local_tag
    }

    /// The peer's tag; empty where it has none (RFC 2543).
    #[must_use]
    pub fn remote_tag(&self) -> &[u8] {
        self.text.parts().remote_tag
    }

    /// Our address with its tag: From in our requests.
    #[must_use]
    pub fn local(&self) -> &[u8] {
        self.text.parts().local
    }

    /// The peer's address with its tag: To in our requests.
    #[must_use]
    pub fn remote(&self) -> &[u8] {
        self.text.parts().remote
    }

    /// The URI of the peer's Contact.
    #[must_use]
    pub fn remote_target(&self) -> &[u8] {
        self.text.parts().target
    }

    /// The CSeq of our latest request but ACK and CANCEL.
    #[must_use]
    pub const fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// Sets the CSeq of our latest request, where one was sent that this dialog did not write.
    pub fn set_local_cseq(&mut self, cseq: u32) {
        self.local_cseq = cseq;
    }

    /// The CSeq of the peer's latest request.
    #[must_use]
    pub const fn remote_cseq(&self) -> Option<u32> {
        self.remote_cseq
    }

    /// Early or confirmed.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// True if the Request-URI that made the dialog was a `sips` one (§12.1.1).
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }
}

/// The route set as one header value: Record-Route in the callee's order, the caller reverses it (§12.1.1, §12.1.2).
fn routes(message: &Message<'_>, reversed: bool) -> Vec<u8> {
    let mut values: Vec<&[u8]> = message.values(HeaderName::RecordRoute).collect();
    if reversed {
        values.reverse();
    }
    values.join(&b", "[..])
}

#[cfg(test)]
mod tests;
