//! Messages from scratch: requests, and responses to a request at hand (RFC 3261 §8.2.6).

use std::net::SocketAddr;

use super::lanes::{Classify as _, Lanes};
use super::scan::Text;
use super::{HeaderName, Message};
use crate::base::text::{push_ip, push_number};

/// Writes one message into a buffer, line by line; the caller keeps to an order that makes sense.
///
/// Values are written as they are, but folds and controls in them become spaces: what a peer sent can never start a line.
#[must_use = "a message ends with `body` or `finish`"]
pub struct Builder<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Builder<'o> {
    /// Starts a request. `method` is a [`super::Method`] or any token.
    pub fn request(out: &'o mut Vec<u8>, method: impl AsRef<[u8]>, uri: &[u8]) -> Self {
        push_text(out, method.as_ref());
        out.push(b' ');
        push_text(out, uri);
        out.extend_from_slice(b" SIP/2.0\r\n");
        Self { out }
    }

    /// Starts a response to a request: copies Via, From, To, Call-ID and CSeq, in 100 also Timestamp (RFC 3261 §8.2.6.1,
    /// §8.2.6.2). `to_tag` is written only where To has none.
    pub fn response(
        out: &'o mut Vec<u8>,
        to: &Message<'_>,
        status: u16,
        reason: impl AsRef<[u8]>,
        to_tag: Option<&[u8]>,
    ) -> Self {
        Self::respond(out, to, None, status, reason.as_ref(), to_tag)
    }

    /// As [`Self::response`], and stamps the topmost Via with `received` and `rport` for where the request came from
    /// (RFC 3261 §18.2.1, RFC 3581 §4).
    pub fn response_to(
        out: &'o mut Vec<u8>,
        to: &Message<'_>,
        source: SocketAddr,
        status: u16,
        reason: impl AsRef<[u8]>,
        to_tag: Option<&[u8]>,
    ) -> Self {
        Self::respond(out, to, Some(source), status, reason.as_ref(), to_tag)
    }

    fn respond(
        out: &'o mut Vec<u8>,
        to: &Message<'_>,
        source: Option<SocketAddr>,
        status: u16,
        reason: &[u8],
        to_tag: Option<&[u8]>,
    ) -> Self {
        push_status_line(out, status, reason);
        let top = to.via();
        for (at, value) in to.lines_of(HeaderName::Via).enumerate() {
            out.extend_from_slice(b"Via: ");
            match source {
                Some(source) if at == 0 => {
                    push_stamped_via(out, &top, source);
                    push_text(out, value.get(top.raw().len()..).unwrap_or_default());
                }
                _ => push_text(out, value),
            }
            out.extend_from_slice(b"\r\n");
        }
        push_known(out, b"From", to.from().raw());
        out.extend_from_slice(b"To: ");
        push_text(out, to.to().raw());
        if let (None, Some(tag)) = (to.to().tag(), to_tag) {
            out.extend_from_slice(b";tag=");
            push_text(out, tag);
        }
        out.extend_from_slice(b"\r\n");
        push_known(out, b"Call-ID", to.call_id());
        let builder = Self { out };
        let builder = builder.copy(HeaderName::CSeq, to);
        if status == 100 { builder.copy(HeaderName::Timestamp, to) } else { builder }
    }

    /// Adds a header line.
    pub fn header(self, name: HeaderName, value: impl AsRef<[u8]>) -> Self {
        push_known(self.out, name.as_bytes(), value.as_ref());
        self
    }

    /// Adds a header line with a name of your own.
    pub fn header_named(self, name: &[u8], value: impl AsRef<[u8]>) -> Self {
        push_line(self.out, name, value.as_ref());
        self
    }

    /// Adds a header line with a number.
    pub fn number(self, name: HeaderName, value: u64) -> Self {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        push_number(self.out, value);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Adds CSeq.
    pub fn cseq(self, number: u32, method: impl AsRef<[u8]>) -> Self {
        self.out.extend_from_slice(b"CSeq: ");
        push_number(self.out, number);
        self.out.push(b' ');
        push_text(self.out, method.as_ref());
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Copies all lines of a header of another message, in order: Record-Route into what makes a dialog (RFC 3261 §12.1.1).
    pub fn copy(self, name: HeaderName, from: &Message<'_>) -> Self {
        for value in from.lines_of(name) {
            push_known(self.out, name.as_bytes(), value);
        }
        self
    }

    /// Ends the message with a body.
    pub fn body(self, content_type: &[u8], body: &[u8]) {
        let this =
            self.header(HeaderName::ContentType, content_type).number(HeaderName::ContentLength, body.len() as u64);
        this.out.extend_from_slice(b"\r\n");
        this.out.extend_from_slice(body);
    }

    /// Ends the message without a body.
    pub fn finish(self) {
        self.out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    }
}

pub(super) fn push_status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    out.extend_from_slice(b"SIP/2.0 ");
    push_number(out, status);
    out.push(b' ');
    push_text(out, reason);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn push_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    push_text(out, name);
    push_value(out, value);
}

/// The same for a name of ours, which needs no second look.
pub(super) fn push_known(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    push_value(out, value);
}

fn push_value(out: &mut Vec<u8>, value: &[u8]) {
    out.extend_from_slice(b": ");
    push_text(out, value);
    out.extend_from_slice(b"\r\n");
}

/// Appends `text` with each fold as one space, and any other control but HTAB and quoted pairs as a space too: what the
/// parser would refuse is not written.
pub(super) fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    if text.iter().fold(true, |clean, octet| clean & (*octet >= b' ')) {
        return out.extend_from_slice(text);
    }
    push_mended(out, text);
}

#[cold]
fn push_mended(out: &mut Vec<u8>, text: &[u8]) {
    let whole = Text::new(text);
    let mut from = 0;
    let mut at = whole.find(0, Lanes::controls);
    while let Some(octet) = text.get(at) {
        let mut next = at + 1;
        let kept = match octet {
            b'\r' | b'\n' => {
                next = whole.skip_space(at);
                false
            }
            b'\t' => true,
            _ => at > from && text[at - 1] == b'\\',
        };
        if !kept {
            out.extend_from_slice(&text[from..at]);
            out.push(b' ');
            from = next;
        }
        at = whole.find(next, Lanes::controls);
    }
    out.extend_from_slice(&text[from..]);
}

/// A Via value with `received` and, where `rport` asks for it, the port. Old ones are replaced.
pub(super) fn push_stamped_via(out: &mut Vec<u8>, via: &super::Via<'_>, source: SocketAddr) {
    let raw = via.raw();
    let params = via.params().raw();
    push_text(out, super::scan::trim(&raw[..raw.len() - params.len()]));
    let mut asks = false;
    for (name, value) in via.params() {
        if name.eq_ignore_ascii_case(b"received") {
            continue;
        }
        out.push(b';');
        push_text(out, name);
        if name.eq_ignore_ascii_case(b"rport") {
            asks = true;
            out.push(b'=');
            push_number(out, source.port());
        } else if let Some(value) = value {
            out.push(b'=');
            push_text(out, value);
        }
    }
    let address = source.ip().to_canonical();
    // RFC 3581 §4: with rport always; RFC 3261 §18.2.1: where sent-by is a name or another address.
    if asks || via.host_ip() != Some(address) {
        out.extend_from_slice(b";received=");
        push_ip(out, address);
    }
}
