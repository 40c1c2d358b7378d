//! What several agents do with messages: answers to any request, addresses in URIs, what a dialog sends by.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::digest::Secret;
use super::octets::address;
use super::scan::{self, Fields};
use super::template::{Template, Templates, Values};
use super::via::{Vias, port_of};
use super::{Context, Path, Plan};

/// Our side of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer<'a> {
    /// Tag for To, where the request has none.
    pub tag: &'a [u8],
    /// Whole Contact value.
    pub contact: &'a [u8],
    /// Session description.
    pub body: &'a [u8],
}

/// Writes an answer to `request` (RFC 3261 §8.2.6.2: Via, From, To, Call-ID and CSeq as they came; §12.1.1 Record-Route).
pub fn answer(
    templates: &Templates,
    template: &Template,
    request: &Fields<'_>,
    path: Path,
    answer: Answer<'_>,
) -> Bytes {
    let source = match path {
        Path::Datagram(_, to) => Some(to),
        Path::Stream(_) => None,
    };
    let makes_dialog = !answer.contact.is_empty();
    let values = Values {
        from: request.from,
        to: request.to,
        tag: if answer.tag.is_empty() || scan::tag(request.to).is_some() { b"" } else { answer.tag },
        call_id: request.call_id,
        cseq: request.cseq,
        method: request.cseq_method,
        contact: answer.contact,
        vias: Vias { lines: &request.via, source },
        record: if makes_dialog { request.record_route.as_slice() } else { &[] },
        body: answer.body,
        ..Values::default()
    };
    templates.write(template, &values)
}

/// The address in a URI whose host is a literal.
pub fn uri_address(uri: &[u8]) -> Option<SocketAddr> {
    let rest = uri.get(..4).filter(|scheme| scheme.eq_ignore_ascii_case(b"sip:")).map(|_| &uri[4..])?;
    let rest = rest.split(|&byte| byte == b';' || byte == b'?').next()?;
    let host_port = rest.rsplit(|&byte| byte == b'@').next()?;
    let host = match host_port.strip_prefix(b"[") {
        Some(inner) => inner.split(|&byte| byte == b']').next()?,
        None => host_port.split(|&byte| byte == b':').next()?,
    };
    let ip: IpAddr = std::str::from_utf8(host).ok()?.parse().ok()?;
    Some(SocketAddr::new(ip, port_of(host_port).unwrap_or(5060)))
}

/// What a dialog sends its requests with. RFC 3261 §12.1, §12.2.1.1 (loose routers only).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remote {
    /// The peer's Contact.
    pub target: Vec<u8>,
    /// Route lines, each with its CRLF.
    pub routes: Vec<u8>,
    /// Where to, if first route or target is a literal address.
    pub next_hop: Option<SocketAddr>,
}

impl Remote {
    /// From the message that made the dialog; the caller turns the record round (RFC 3261 §12.1.2).
    pub fn learn(fields: &Fields<'_>, reverse: bool, otherwise: &[u8]) -> Self {
        let target = fields.contact.map_or(otherwise, scan::uri).to_vec();
        let mut routes: Vec<&[u8]> = fields.record_route.iter().flat_map(|line| scan::values(line)).collect();
        if reverse {
            routes.reverse();
        }
        let next_hop = uri_address(routes.first().map_or(&target, |route| scan::uri(route)));
        let mut lines = Vec::new();
        for route in routes {
            lines.extend_from_slice(b"Route: ");
            lines.extend_from_slice(route);
            lines.extend_from_slice(b"\r\n");
        }
        Self { target, routes: lines, next_hop }
    }

    /// The path of the next request: a connection stays, a datagram goes to the next hop.
    pub fn path(&self, first: Path) -> Path {
        match (first, self.next_hop) {
            (Path::Datagram(socket, to), Some(hop)) if hop.is_ipv4() == to.is_ipv4() => Path::Datagram(socket, hop),
            _ => first,
        }
    }
}

/// `<sip:user@host:port;transport=tcp>` for a local address.
pub fn contact(user: &str, local: SocketAddr, plan: &Plan) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    out.extend_from_slice(b"<sip:");
    out.extend_from_slice(user.as_bytes());
    out.push(b'@');
    address(&mut out, local);
    if plan.transport != strowger::base::Transport::Udp {
        out.extend_from_slice(b";transport=");
        out.extend_from_slice(plan.transport.uri_token().as_bytes());
    }
    out.push(b'>');
    out
}

/// The user's name and password of this run.
pub fn secret(plan: &Plan, user: u64) -> Option<Secret> {
    plan.secret.as_ref().map(|(name, password)| Secret { user: name.fill(user), password: password.fill(user) })
}

/// Answers any request that belongs to no dialog of ours.
pub fn answer_stranger(cx: &mut Context<'_>, method: &[u8], request: &Fields<'_>, path: Path) {
    let template = match method {
        b"ACK" => {
            cx.stats.counters.strays += 1;
            return;
        }
        b"OPTIONS" => &cx.templates.ok,
        b"BYE" | b"CANCEL" | b"INVITE" => {
            cx.stats.counters.strays += 1;
            &cx.templates.unknown
        }
        _ => &cx.templates.not_allowed,
    };
    let bytes = answer(
        cx.templates,
        template,
        request,
        path,
        Answer { tag: &super::pattern::word(cx.random), ..Answer::default() },
    );
    cx.send(path, bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_uris() {
        let read = |text: &str| uri_address(text.as_bytes()).map(|address| address.to_string());
        assert_eq!(read("sip:bob@192.0.2.1:5070;transport=udp"), Some("192.0.2.1:5070".into()));
        assert_eq!(read("SIP:192.0.2.1"), Some("192.0.2.1:5060".into()));
        assert_eq!(read("sip:a:b@[2001:db8::1]:9"), Some("[2001:db8::1]:9".into()));
        assert_eq!(read("sip:[::1]"), Some("[::1]:5060".into()));
        assert_eq!(read("sip:bob@example.com"), None);
        assert_eq!(read("tel:+1"), None);
    }
}
