//! What several agents do with messages: branches that name their owner, answers to any request, addresses in URIs.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use strowger::base::id::{TOKEN_LEN, Token};

use super::digest::Secret;
use super::scan::{self, Fields};
use super::template::{Template, Templates, Values, address, decimal, ip};
use super::{Context, Path, Plan};

/// RFC 3261 §8.1.1.7.
const COOKIE: &[u8] = b"z9hG4bK";

/// Whose request a branch belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A call of the calling side.
    Uac,
    /// A call of the answering side.
    Uas,
    /// A registration.
    Register,
}

/// The branch of an owner's request number `serial`.
pub fn branch(token: Token, owner: Owner, serial: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(COOKIE.len() + TOKEN_LEN + 11);
    out.extend_from_slice(COOKIE);
    out.extend_from_slice(&token.encode());
    out.push(match owner {
        Owner::Uac => b'c',
        Owner::Uas => b'u',
        Owner::Register => b'r',
    });
    decimal(&mut out, serial);
    out
}

/// Reads a branch of ours.
pub fn read_branch(branch: &[u8]) -> Option<(Token, Owner, u32)> {
    let text = branch.strip_prefix(COOKIE)?;
    let token = Token::decode(text)?;
    let owner = match text.get(TOKEN_LEN)? {
        b'c' => Owner::Uac,
        b'u' => Owner::Uas,
        b'r' => Owner::Register,
        _ => return None,
    };
    Some((token, owner, scan::number(&text[TOKEN_LEN + 1..])?))
}

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
    let mut vias = Vec::with_capacity(256);
    for (index, via) in request.via.iter().enumerate() {
        vias.extend_from_slice(b"Via: ");
        let source = match path {
            Path::Datagram(_, to) if index == 0 => Some(to),
            _ => None,
        };
        write_via(&mut vias, via, source);
        vias.extend_from_slice(b"\r\n");
    }
    let mut to = request.to.to_vec();
    if !answer.tag.is_empty() && scan::tag(request.to).is_none() {
        to.extend_from_slice(b";tag=");
        to.extend_from_slice(answer.tag);
    }
    let mut record = Vec::new();
    let makes_dialog = !answer.contact.is_empty();
    for route in request.record_route.iter().filter(|_| makes_dialog) {
        record.extend_from_slice(b"Record-Route: ");
        record.extend_from_slice(route);
        record.extend_from_slice(b"\r\n");
    }
    let values = Values {
        from: request.from,
        to: &to,
        call_id: request.call_id,
        cseq: request.cseq,
        method: request.cseq_method,
        contact: answer.contact,
        vias: &vias,
        lines: &record,
        body: answer.body,
        ..Values::default()
    };
    templates.write(template, &values)
}

/// The Via line as it goes back; an empty rport is filled in with the source (RFC 3581 §4).
fn write_via(out: &mut Vec<u8>, line: &[u8], source: Option<SocketAddr>) {
    let empty_rport = |at: &usize| {
        let rest = &line[*at..];
        rest.len() >= 6
            && rest[..6].eq_ignore_ascii_case(b";rport")
            && rest.get(6).is_none_or(|next| matches!(next, b';' | b',' | b' ' | b'\t' | b'\r'))
    };
    let first = line.len().min(scan::first_value(line).len() + 1);
    match (source, (0..first).find(empty_rport)) {
        (Some(source), Some(at)) => {
            out.extend_from_slice(&line[..at + 6]);
            out.push(b'=');
            decimal(out, source.port().into());
            out.extend_from_slice(b";received=");
            ip(out, source.ip());
            out.extend_from_slice(&line[at + 6..]);
        }
        _ => out.extend_from_slice(line),
    }
}

/// Where an answer to a datagram goes: to the source where rport asks for it (RFC 3581 §4), otherwise to the source's
/// address and the port of the top Via (RFC 3261 §18.2.2).
pub fn answer_address(request: &Fields<'_>, from: SocketAddr) -> SocketAddr {
    let Some(via) = request.via.first().map(|line| scan::first_value(line)) else { return from };
    if scan::param(via, b"rport").is_some() {
        return from;
    }
    let sent_by = via.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let sent_by = sent_by.rsplit(u8::is_ascii_whitespace).next().unwrap_or_default();
    SocketAddr::new(from.ip(), port_of(sent_by).unwrap_or(5060))
}

fn port_of(host: &[u8]) -> Option<u16> {
    let after = match host.iter().position(|&byte| byte == b']') {
        Some(end) => &host[end + 1..],
        None => &host[host.iter().position(|&byte| byte == b':')?..],
    };
    u16::try_from(scan::number(after.strip_prefix(b":")?)?).ok()
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
    use strowger::base::{ShardId, Slot};

    #[test]
    fn a_branch_names_its_owner() {
        let token = Token { shard: ShardId(3), slot: Slot { index: 9, generation: 2 }, salt: 77 };
        let text = branch(token, Owner::Register, 4_000_000_000);
        assert_eq!(read_branch(&text), Some((token, Owner::Register, 4_000_000_000)));
        assert_eq!(read_branch(b"z9hG4bKsomething-of-another"), None);
        assert_eq!(read_branch(&text[..text.len() - 10]), None);
    }

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

    #[test]
    fn answers_go_where_the_via_says() {
        let from: SocketAddr = "192.0.2.9:1234".parse().unwrap();
        let to = |via: &str| {
            let text =
                format!("OPTIONS x SIP/2.0\r\nVia: {via}\r\nFrom: a\r\nTo: b\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n");
            answer_address(&scan::scan(text.as_bytes()).unwrap(), from).port()
        };
        assert_eq!(to("SIP/2.0/UDP host:5070;branch=x"), 5070);
        assert_eq!(to("SIP/2.0/UDP host;branch=x"), 5060);
        assert_eq!(to("SIP/2.0/UDP [::1]:5071 ;branch=x"), 5071);
        assert_eq!(to("SIP/2.0/UDP host:5070;rport;branch=x"), 1234);
        let written = |via: &str| {
            let mut out = Vec::new();
            write_via(&mut out, via.as_bytes(), Some(from));
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written("SIP/2.0/UDP h;rport, x;rport"), "SIP/2.0/UDP h;rport=1234;received=192.0.2.9, x;rport");
        assert_eq!(written("SIP/2.0/UDP h;branch=x"), "SIP/2.0/UDP h;branch=x");
    }
}
