//! What is sent when a call is given up: ACK, CANCEL or BYE, so that the peer is not left with half a call. RFC 3261
//! §17.1.1.3 (ACK to a refusal), §9.1 (CANCEL), §15.1.1 (BYE), §13.2.2.4 (ACK to a 2xx).

use bytes::Bytes;

use super::call::Call;
use crate::core::Context;
use crate::core::message::Remote;
use crate::core::pattern::word;
use crate::core::scan::{Fields, Start, scan};

impl Call {
    /// Ends the call towards the peer.
    pub fn give_up(&mut self, cx: &mut Context<'_>) {
        let (invite, owed) = (self.invite.clone(), self.owed.take());
        let invite = invite.as_deref().and_then(|invite| scan(invite).ok());
        let owed = owed.as_deref().and_then(|owed| scan(owed).ok());
        match (owed, invite) {
            (Some(answer), Some(invite)) if answer.status() >= 300 => {
                return self.within(cx, &invite, "ACK", answer.to);
            }
            (Some(answer), Some(_)) => self.on_dialog(cx, "ACK", answer.cseq),
            (None, Some(invite)) if self.is_ringing(&invite) => {
                return self.within(cx, &invite, "CANCEL", invite.to);
            }
            _ => {}
        }
        let said_bye = self.asked.as_ref().is_some_and(|asked| asked.method == b"BYE");
        if self.answered.is_some() && !said_bye {
            self.on_dialog(cx, "BYE", self.cseq_sent.wrapping_add(1));
        }
    }

    /// A provisional answer came, but no final one: only then may it be cancelled (RFC 3261 §9.1).
    fn is_ringing(&self, invite: &Fields<'_>) -> bool {
        let open = self.open.iter().any(|(cseq, method)| *cseq == invite.cseq && method == b"INVITE");
        let last = self.last.as_deref().and_then(|last| scan(last).ok());
        open && last.is_some_and(|last| (100..200).contains(&last.status()))
    }

    /// ACK or CANCEL in the transaction of the INVITE: same URI, branch and number.
    fn within(&self, cx: &mut Context<'_>, invite: &Fields<'_>, method: &str, to: &[u8]) {
        let Start::Request { uri, .. } = invite.start else { return };
        let mut out = Message::new(method, uri);
        out.line("Via", invite.via.first().copied().unwrap_or_default());
        out.rest(invite, invite.from, to, invite.cseq, method);
        cx.send(self.path, out.end());
    }

    /// ACK to a 2xx, or BYE, on the dialog.
    fn on_dialog(&self, cx: &mut Context<'_>, method: &str, cseq: u32) {
        let Some(answered) = self.answered.clone() else { return };
        let Ok(fields) = scan(&answered) else { return };
        let we_called = self.invite.is_some();
        let (from, to) = if we_called { (fields.from, fields.to) } else { (fields.to, fields.from) };
        let remote = Remote::learn(&fields, we_called, &self.contact);
        let target = if self.contact.is_empty() { &remote.target } else { &self.contact };
        let mut out = Message::new(method, target);
        let branch = word(cx.random);
        let via = format!(
            "SIP/2.0/{} {};branch=z9hG4bK{}",
            cx.plan.transport.via_token(),
            self.local,
            String::from_utf8_lossy(&branch)
        );
        out.line("Via", via.as_bytes());
        out.bytes.extend_from_slice(&remote.routes);
        out.rest(&fields, from, to, cseq, method);
        cx.send(self.path, out.end());
    }
}

struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(method: &str, uri: &[u8]) -> Self {
        let mut bytes = format!("{method} ").into_bytes();
        bytes.extend_from_slice(uri);
        bytes.extend_from_slice(b" SIP/2.0\r\n");
        Self { bytes }
    }

    fn line(&mut self, name: &str, value: &[u8]) {
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn rest(&mut self, of: &Fields<'_>, from: &[u8], to: &[u8], cseq: u32, method: &str) {
        self.line("Max-Forwards", b"70");
        self.line("From", from);
        self.line("To", to);
        self.line("Call-ID", of.call_id);
        self.line("CSeq", format!("{cseq} {method}").as_bytes());
    }

    fn end(mut self) -> Bytes {
        self.bytes.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        Bytes::from(self.bytes)
    }
}
