//! A reply to a request that could not be read: what is needed for it is picked out line by line (RFC 3261 §8.2.6).

use std::net::SocketAddr;

use super::build::{push_line, push_stamped_via, push_status_line, push_text};
use super::scan::{Text, is_blank, octet, trim};
use super::{HeaderName, NameAddr, ParseError, Via};

/// Writes the reply `error` asks for. False, with nothing written, where none is to be sent: to responses, ACKs, keepalives,
/// and where Via, From, To, Call-ID or CSeq is not to be found.
pub fn reject(bytes: &[u8], error: &ParseError, to_tag: &[u8], out: &mut Vec<u8>) -> bool {
    write(bytes, error, None, to_tag, out)
}

/// As [`reject`], with the topmost Via stamped for where the request came from.
pub fn reject_to(bytes: &[u8], error: &ParseError, source: SocketAddr, to_tag: &[u8], out: &mut Vec<u8>) -> bool {
    write(bytes, error, Some(source), to_tag, out)
}

fn write(bytes: &[u8], error: &ParseError, source: Option<SocketAddr>, to_tag: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let written = error.status >= 300 && try_write(bytes, error, source, to_tag, out).is_some();
    if !written {
        out.truncate(start);
    }
    written
}

fn try_write(
    bytes: &[u8],
    error: &ParseError,
    source: Option<SocketAddr>,
    to_tag: &[u8],
    out: &mut Vec<u8>,
) -> Option<()> {
    let skip = bytes.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).count();
    let bytes = &bytes[skip..];
    let method = &bytes[..Text::new(bytes).skip_token(0)];
    // RFC 3261 §17.1.1.3: nothing answers an ACK.
    if method.is_empty() || method == b"ACK" || octet(bytes, method.len()) != b' ' {
        return None;
    }
    push_status_line(out, error.status, error.reason.as_bytes());
    let mut via = 0;
    each(bytes, HeaderName::Via, |value| {
        out.extend_from_slice(b"Via: ");
        let top = &value[..super::values::value_end(value)];
        match (source, Via::parse(trim(top))) {
            (Some(source), Some(parsed)) if via == 0 => {
                push_stamped_via(out, &parsed, source);
                push_text(out, &value[top.len()..]);
            }
            _ => push_text(out, value),
        }
        out.extend_from_slice(b"\r\n");
        via += 1;
    })?;
    let mut copied = 0;
    for name in [HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq] {
        let mut first = None;
        each(bytes, name, |value| {
            first.get_or_insert(value);
        })?;
        let Some(value) = first else { continue };
        copied += 1;
        let tagged = || NameAddr::parse(value).is_none_or(|address| address.tag().is_some());
        if name == HeaderName::To && !tagged() {
            out.extend_from_slice(b"To: ");
            push_text(out, value);
            out.extend_from_slice(b";tag=");
            push_text(out, to_tag);
            out.extend_from_slice(b"\r\n");
        } else {
            push_line(out, name.as_bytes(), value);
        }
    }
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    (via > 0 && copied == 4).then_some(())
}

/// Calls `found` with the value of each line of that name. `None` if a line ends without CRLF before the headers do.
fn each<'a>(bytes: &'a [u8], name: HeaderName, mut found: impl FnMut(&'a [u8])) -> Option<()> {
    let mut at = line_end(bytes, 0)? + 2;
    // Bounded as in a readable message; the reply to a longer one goes by its first lines.
    for _ in 0..super::HEADERS_MAX {
        let Some(mut end) = line_end(bytes, at) else { break };
        if end == at {
            break;
        }
        while is_blank(octet(bytes, end + 2)) {
            end = line_end(bytes, end + 2)?;
        }
        let line = bytes.get(at..end)?;
        if let Some(colon) = memchr::memchr(b':', line)
            && HeaderName::from_token(trim(&line[..colon])) == name
        {
            found(trim(&line[colon + 1..]));
        }
        at = end + 2;
    }
    Some(())
}

fn line_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let found = memchr::memchr2(b'\r', b'\n', rest)?;
    (rest[found] == b'\r' && octet(rest, found + 1) == b'\n').then_some(at + found)
}
