//! Via lines and the way back that they name: what an answer copies of its request, and where it goes.
//! RFC 3261 §8.2.6.2, §18.2.2; RFC 3581 §4.

use std::net::SocketAddr;

use bytes::BufMut;
use memchr::memchr_iter;

use super::octets::{decimal, ip};
use super::scan::{self, Fields};

/// The Via lines of an answer: those of the request as they came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vias<'a> {
    /// Their values.
    pub lines: &'a [&'a [u8]],
    /// Where the request came from; fills an empty rport of the topmost.
    pub source: Option<SocketAddr>,
}

impl Vias<'_> {
    /// Appends them, each with its CRLF.
    pub fn write(&self, out: &mut impl BufMut) {
        let mut source = self.source;
        for line in self.lines {
            out.put_slice(b"Via: ");
            match source.take().and_then(|source| Some((source, empty_rport(line)?))) {
                Some((source, end)) => {
                    out.put_slice(&line[..end]);
                    out.put_slice(b"=");
                    decimal(out, source.port().into());
                    out.put_slice(b";received=");
                    ip(out, source.ip());
                    out.put_slice(&line[end..]);
                }
                None => out.put_slice(line),
            }
            out.put_slice(b"\r\n");
        }
    }
}

/// Where the name of an rport without a value ends, in the first of a line's values.
fn empty_rport(line: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"rport";
    let first = line.len().min(scan::first_value(line).len() + 1);
    let ends = memchr_iter(b';', &line[..first]).map(|semicolon| semicolon + 1 + NAME.len());
    ends.filter(|&end| line.get(end - NAME.len()..end).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))
        .find(|&end| line.get(end).is_none_or(|next| matches!(next, b';' | b',' | b' ' | b'\t' | b'\r')))
}

/// Where an answer to a datagram goes: to the source where rport asks for it, otherwise to the source's address and the
/// port of the top Via.
pub fn answer_address(request: &Fields<'_>, from: SocketAddr) -> SocketAddr {
    let Some(via) = request.via.first().map(|line| scan::first_value(line)) else { return from };
    if scan::param(via, b"rport").is_some() {
        return from;
    }
    let sent_by = via.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let sent_by = sent_by.rsplit(u8::is_ascii_whitespace).next().unwrap_or_default();
    SocketAddr::new(from.ip(), port_of(sent_by).unwrap_or(5060))
}

/// The port behind a host.
pub fn port_of(host: &[u8]) -> Option<u16> {
    let after = match host.iter().position(|&byte| byte == b']') {
        Some(end) => &host[end + 1..],
        None => &host[host.iter().position(|&byte| byte == b':')?..],
    };
    u16::try_from(scan::number(after.strip_prefix(b":")?)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }

    #[test]
    fn only_an_empty_rport_of_the_topmost_value_is_filled_in() {
        let written = |lines: &[&str]| {
            let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
            let mut out = Vec::new();
            Vias { lines: &lines, source: "192.0.2.9:1234".parse().ok() }.write(&mut out);
            String::from_utf8(out).unwrap().replace("\r\n", "|")
        };
        let filled = "rport=1234;received=192.0.2.9";
        assert_eq!(written(&["SIP/2.0/UDP h;rport, x;rport"]), format!("Via: SIP/2.0/UDP h;{filled}, x;rport|"));
        assert_eq!(
            written(&["a h;RPORT;branch=x", "b;rport"]),
            format!("Via: a h;RPORT{};branch=x|Via: b;rport|", &filled[5..])
        );
        assert_eq!(written(&["a h;branch=x, b;rport"]), "Via: a h;branch=x, b;rport|");
        assert_eq!(
            written(&["a h;rport=7;branch=x;rports", "b;rport"]),
            "Via: a h;rport=7;branch=x;rports|Via: b;rport|"
        );
    }
}
