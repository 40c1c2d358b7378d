//! Messages as `rsip` prints them once at the start, kept as spans with holes that each call fills.
//!
//! `rsip` is another project's idea of SIP, so the appliance is not tested against its own; filling holes costs a few
//! copies a message, so the generator outruns what it measures. RFC 3261 §8.1.1, §8.2.6, §20.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use rsip::common::uri::{HostWithPort, Uri};
use rsip::headers::{
    CSeq, CallId, Contact, ContentLength, ContentType, From, Header, MaxForwards, To, UntypedHeader, UserAgent, Via,
};
use rsip::{Method, Request, Response, StatusCode, Version};
use strowger::base::Transport;

use super::arena::Arena;
use super::branch::Branch;
use super::octets::{address, decimal};
use super::via::Vias;

/// What a hole is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hole {
    Uri,
    SentBy,
    Branch,
    From,
    To,
    CallId,
    CSeq,
    Method,
    Contact,
    Vias,
    Lines,
    Length,
    Body,
}

const MARKS: [(&str, Hole); 13] = [
    ("@@URI@@", Hole::Uri),
    ("@@SENTBY@@", Hole::SentBy),
    ("@@BRANCH@@", Hole::Branch),
    ("@@FROM@@", Hole::From),
    ("@@TO@@", Hole::To),
    ("@@CALLID@@", Hole::CallId),
    ("@@CSEQ@@", Hole::CSeq),
    ("@@METHOD@@", Hole::Method),
    ("@@CONTACT@@", Hole::Contact),
    ("@@VIAS@@: \r\n", Hole::Vias),
    ("@@LINES@@: \r\n", Hole::Lines),
    ("@@LENGTH@@", Hole::Length),
    ("@@BODY@@", Hole::Body),
];

/// The per-call parts of one message. What a template has no hole for is ignored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values<'a> {
    /// Request-URI.
    pub uri: &'a [u8],
    /// Our address in Via.
    pub sent_by: Option<SocketAddr>,
    /// Of a request.
    pub branch: Option<Branch>,
    /// Whole From value.
    pub from: &'a [u8],
    /// Whole To value, but for the tag where that is apart.
    pub to: &'a [u8],
    /// Tag that is added to the To value, if there is one.
    pub tag: &'a [u8],
    /// Call-ID.
    pub call_id: &'a [u8],
    /// CSeq number.
    pub cseq: u32,
    /// CSeq method of a response.
    pub method: &'a [u8],
    /// Whole Contact value.
    pub contact: &'a [u8],
    /// Via lines of a response.
    pub vias: Vias<'a>,
    /// Record-Route values of a response.
    pub record: &'a [&'a [u8]],
    /// Further lines (Route, Authorization, Expires), each with its CRLF.
    pub lines: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

/// A message with holes.
#[derive(Clone, Debug)]
pub struct Template {
    text: Vec<u8>,
    /// End of the literal before the hole, and the hole.
    holes: Vec<(usize, Hole)>,
}

impl Template {
    /// Appends the message to `out`.
    pub fn write(&self, out: &mut impl BufMut, values: &Values<'_>) {
        let mut at = 0;
        for &(end, hole) in &self.holes {
            out.put_slice(&self.text[at..end]);
            at = end;
            match hole {
                Hole::Uri => out.put_slice(values.uri),
                Hole::SentBy => values.sent_by.into_iter().for_each(|local| address(out, local)),
                Hole::Branch => values.branch.iter().for_each(|branch| branch.write(out)),
                Hole::From => out.put_slice(values.from),
                Hole::To => {
                    out.put_slice(values.to);
                    if !values.tag.is_empty() {
                        out.put_slice(b";tag=");
                        out.put_slice(values.tag);
                    }
                }
                Hole::CallId => out.put_slice(values.call_id),
                Hole::CSeq => decimal(out, values.cseq),
                Hole::Method => out.put_slice(values.method),
                Hole::Contact => out.put_slice(values.contact),
                Hole::Vias => values.vias.write(out),
                Hole::Lines => {
                    for route in values.record {
                        out.put_slice(b"Record-Route: ");
                        out.put_slice(route);
                        out.put_slice(b"\r\n");
                    }
                    out.put_slice(values.lines);
                }
                Hole::Length => decimal(out, values.body.len() as u32),
                Hole::Body => out.put_slice(values.body),
            }
        }
        out.put_slice(&self.text[at..]);
    }

    fn compile(printed: &str) -> Self {
        let (mut text, mut holes, mut rest) = (Vec::new(), Vec::new(), printed);
        while let Some((at, mark, hole)) =
            MARKS.iter().filter_map(|&(mark, hole)| Some((rest.find(mark)?, mark, hole))).min_by_key(|found| found.0)
        {
            text.extend_from_slice(&rest.as_bytes()[..at]);
            holes.push((text.len(), hole));
            rest = &rest[at + mark.len()..];
        }
        text.extend_from_slice(rest.as_bytes());
        Self { text, holes }
    }
}

/// All the messages of one run.
#[derive(Debug)]
pub struct Templates {
    /// INVITE with an SDP body.
    pub invite: Template,
    /// ACK.
    pub ack: Template,
    /// BYE.
    pub bye: Template,
    /// CANCEL.
    pub cancel: Template,
    /// REGISTER; Contact and Expires among its lines.
    pub register: Template,
    /// 180 Ringing.
    pub ringing: Template,
    /// 200 to INVITE, with Contact and SDP.
    pub answer: Template,
    /// 200 without a body.
    pub ok: Template,
    /// 481 for a dialog we don't know.
    pub unknown: Template,
    /// 488 where the offer has no PCMU we can send to.
    pub not_acceptable: Template,
    /// 487 for a cancelled INVITE.
    pub terminated: Template,
    /// 503 when all ports are taken.
    pub unavailable: Template,
    /// 405 for everything else.
    pub not_allowed: Template,
    /// 183 with Contact and SDP.
    pub progress: Template,
    /// 491 where a re-INVITE meets ours.
    pub pending: Template,
    refusals: BTreeMap<u16, Template>,
    arena: RefCell<Arena>,
}

impl Templates {
    /// Builds and prints all of them, with `refusals` among the final answers.
    #[must_use]
    pub fn new(transport: Transport, refusals: impl IntoIterator<Item = u16>) -> Self {
        let plain = |code, reason| response(code, reason, false, &[]);
        let allow = Header::Allow(rsip::headers::Allow::new("INVITE, ACK, CANCEL, BYE, OPTIONS"));
        Self {
            invite: request(transport, Method::Invite, true, true),
            ack: request(transport, Method::Ack, false, false),
            bye: request(transport, Method::Bye, false, false),
            cancel: request(transport, Method::Cancel, false, false),
            register: request(transport, Method::Register, true, false),
            ringing: response(180, "Ringing", false, &[contact()]),
            answer: response(200, "OK", true, &[contact()]),
            ok: plain(200, "OK"),
            unknown: plain(481, "Call/Transaction Does Not Exist"),
            not_acceptable: plain(488, "Not Acceptable Here"),
            terminated: plain(487, "Request Terminated"),
            unavailable: plain(503, "Service Unavailable"),
            not_allowed: response(405, "Method Not Allowed", false, &[allow]),
            progress: response(183, "Session Progress", true, &[contact()]),
            pending: plain(491, "Request Pending"),
            refusals: refusals.into_iter().map(|status| (status, plain(status, phrase(status)))).collect(),
            arena: RefCell::default(),
        }
    }

    /// Takes memory for so many octets of messages now.
    pub fn prepare(&self, bytes: usize) {
        self.arena.borrow_mut().prepare(bytes);
    }

    /// Writes one message.
    pub fn write(&self, template: &Template, values: &Values<'_>) -> Bytes {
        self.text(|out| template.write(out, values))
    }

    /// Keeps a text where the messages are.
    pub fn text(&self, write: impl FnOnce(&mut BytesMut)) -> Bytes {
        self.arena.borrow_mut().write(write)
    }

    /// A final answer that was named at the start.
    pub fn refusal(&self, status: u16) -> &Template {
        self.refusals.get(&status).unwrap_or(&self.unavailable)
    }
}

/// RFC 3261 §21, for answers that are asked for.
fn phrase(status: u16) -> &'static str {
    match status {
        302 => "Moved Temporarily",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Request Timeout",
        480 => "Temporarily Unavailable",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        500 => "Server Internal Error",
        503 => "Service Unavailable",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        _ => "Refused",
    }
}

fn contact() -> Header {
    Header::Contact(Contact::new("@@CONTACT@@"))
}

fn tail(headers: &mut Vec<Header>, body: bool) -> Vec<u8> {
    headers.push(Header::Other("@@LINES@@".into(), String::new()));
    if body {
        headers.push(Header::ContentType(ContentType::new("application/sdp")));
    }
    headers.push(Header::ContentLength(ContentLength::new("@@LENGTH@@")));
    if body { b"@@BODY@@".to_vec() } else { Vec::new() }
}

fn request(transport: Transport, method: Method, with_contact: bool, with_body: bool) -> Template {
    // RFC 3581 §3: rport, so that answers come back to the port we sent from.
    let via = format!("SIP/2.0/{} @@SENTBY@@;branch=@@BRANCH@@;rport", transport.via_token());
    let mut headers: Vec<Header> = vec![
        Via::new(via).into(),
        MaxForwards::new("70").into(),
        From::new("@@FROM@@").into(),
        To::new("@@TO@@").into(),
        CallId::new("@@CALLID@@").into(),
        CSeq::new(format!("@@CSEQ@@ {method}")).into(),
    ];
    if with_contact {
        headers.push(contact());
    }
    headers.push(UserAgent::new(concat!("strowger-loadgen/", env!("CARGO_PKG_VERSION"))).into());
    let body = tail(&mut headers, with_body);
    let host = rsip::common::uri::Host::Domain("@@URI@@".into());
    let uri = Uri { host_with_port: HostWithPort { host, port: None }, ..Uri::default() };
    let message = Request { method, uri, version: Version::V2, headers: headers.into(), body };
    Template::compile(&message.to_string())
}

fn response(code: u16, reason: &str, with_body: bool, more: &[Header]) -> Template {
    let mut headers: Vec<Header> = vec![
        Header::Other("@@VIAS@@".into(), String::new()),
        From::new("@@FROM@@").into(),
        To::new("@@TO@@").into(),
        CallId::new("@@CALLID@@").into(),
        CSeq::new("@@CSEQ@@ @@METHOD@@").into(),
    ];
    headers.extend_from_slice(more);
    let body = tail(&mut headers, with_body);
    // Of statuses it knows, rsip prints the name of its enum and not the phrase.
    let status_code = StatusCode::Other(code, reason.into());
    let message = Response { status_code, version: Version::V2, headers: headers.into(), body };
    Template::compile(&message.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::branch::Owner;
    use crate::core::scan::{self, Start, scan};
    use strowger::base::id::TOKEN_LEN;

    #[test]
    fn a_filled_invite_reads_back_the_same_in_both_parsers() {
        let templates = Templates::new(Transport::Udp, []);
        let (mut out, mut branch_text) = (Vec::new(), Vec::new());
        let branch = Branch::new([b'7'; TOKEN_LEN], Owner::Uac, 12);
        branch.write(&mut branch_text);
        let values = Values {
            uri: b"sip:bob@[::1]:5060",
            sent_by: "[::1]:9".parse().ok(),
            branch: Some(branch),
            from: b"<sip:a@b>;tag=1",
            to: b"<sip:bob@b>",
            call_id: b"c@h",
            cseq: 4_294_967_295,
            contact: b"<sip:a@[::1]:9>",
            lines: b"Route: <sip:p;lr>\r\n",
            body: b"v=0\r\n",
            ..Values::default()
        };
        templates.invite.write(&mut out, &values);
        let fields = scan(&out).unwrap();
        assert_eq!(fields.start, Start::Request { method: b"INVITE", uri: values.uri });
        assert_eq!((fields.branch(), fields.cseq, fields.body), (Some(&branch_text[..]), values.cseq, values.body));
        assert_eq!((fields.content_length, scan::uri(fields.contact.unwrap())), (Some(5), &b"sip:a@[::1]:9"[..]));
        assert!(!out.windows(2).any(|pair| pair == b"@@"), "{}", String::from_utf8_lossy(&out));
        crate::core::check::compare(&out, &fields).unwrap();
    }

    #[test]
    fn no_template_keeps_a_mark() {
        let t = Templates::new(Transport::Tcp, [486]);
        for template in
            [&t.invite, &t.ack, &t.bye, &t.cancel, &t.register, &t.ringing, &t.answer, &t.not_allowed, t.refusal(486)]
        {
            assert!(!template.text.windows(2).any(|pair| pair == b"@@"));
        }
    }
}
