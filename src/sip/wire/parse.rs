//! The one pass over a message: start line, header lines, the mandatory fields, the body's length.

use super::address::AddressParts;
use super::error::{ErrorKind, Fault, ParseError};
use super::index::{ABSENT, Facts, Index, Line, Span};
use super::message::Message;
use super::scan::{decimal, is_blank, is_space, is_token, octet, skip_space, skip_token};
use super::uri::UriParts;
use super::via::ViaParts;
use super::{HEADERS_MAX, HeaderName, MESSAGE_BYTES_MAX, Method};

/// How the octets came, which decides what Content-Length means (RFC 3261 §18.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// One message a datagram: without Content-Length the body runs to the end; octets behind the body are cut.
    Datagram,
    /// On a stream, cut out by [`super::Framer`]: Content-Length must be there.
    Stream,
}

/// Reads one message into `index`, without allocating. CRLFs before the start line are skipped (RFC 3261 §7.5).
///
/// # Errors
/// What to answer, or that nothing is to be answered; see [`super::reject`].
pub fn parse<'a>(bytes: &'a [u8], index: &'a mut Index, framing: Framing) -> Result<Message<'a>, ParseError> {
    let bytes = &bytes[leading(bytes)..];
    index.facts = Facts::EMPTY;
    index.count = 0;
    match read(bytes, index, framing) {
        Ok(()) => {
            let end = usize::from(index.facts.body.end);
            Ok(Message::new(bytes.get(..end).unwrap_or(bytes), &index.facts, &index.lines[..index.count]))
        }
        Err(fault) => {
            let is_request = !starts_response(bytes);
            let method_known = index.facts.method != Method::Other;
            Err(fault.into_error(is_request, method_known))
        }
    }
}

/// Octets before the start line.
fn leading(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).count()
}

fn starts_response(bytes: &[u8]) -> bool {
    bytes.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"))
}

fn read(bytes: &[u8], index: &mut Index, framing: Framing) -> Result<(), Fault> {
    if bytes.iter().all(|octet| *octet == 0) {
        return Err(Fault::new(ErrorKind::Keepalive));
    }
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(Fault::new(ErrorKind::TooLarge));
    }
    let end = line_end(bytes, 0)?;
    if starts_response(bytes) {
        status_line(bytes, end, &mut index.facts)?;
    } else {
        request_line(bytes, end, &mut index.facts)?;
    }
    let body = header_lines(bytes, end + 2, index)?;
    mandatory(bytes, index)?;
    index.facts.headers = Span::new(end + 2, body - 2);
    index.facts.body = body_span(bytes, body, index, framing)?;
    Ok(())
}

/// The position of the CRLF that ends the line at `at`. A CR or LF on its own is an error: two elements that read it
/// differently could be played against each other.
fn line_end(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    let rest = bytes.get(at..).unwrap_or_default();
    let found = memchr::memchr2(b'\r', b'\n', rest).ok_or(Fault::new(ErrorKind::Unfinished))?;
    match (rest[found], octet(rest, found + 1)) {
        (b'\r', b'\n') => Ok(at + found),
        (b'\r', _) if found + 1 == rest.len() => Err(Fault::new(ErrorKind::Unfinished)),
        _ => Err(Fault::new(ErrorKind::Line)),
    }
}

fn request_line(bytes: &[u8], end: usize, facts: &mut Facts) -> Result<(), Fault> {
    let bad = Fault::new(ErrorKind::StartLine);
    facts.is_request = true;
    let method_end = skip_token(bytes, 0);
    if method_end == 0 || octet(bytes, method_end) != b' ' {
        return Err(bad);
    }
    facts.method_span = Span::new(0, method_end);
    facts.method = Method::from_token(&bytes[..method_end]);
    let rest = bytes.get(method_end + 1..end).ok_or(bad)?;
    let space = memchr::memrchr(b' ', rest).ok_or(bad)?;
    version(&rest[space + 1..])?;
    let uri = &rest[..space];
    facts.subject = Span::new(method_end + 1, method_end + 1 + space);
    facts.uri = UriParts::scan(uri).ok_or(Fault::new(ErrorKind::RequestUri))?;
    // RFC 3261 §19.1.5: headers in a Request-URI are never honoured; RFC 4475 §3.1.2.11 allows 400.
    if facts.uri.has_headers(uri.len()) {
        return Err(Fault::new(ErrorKind::RequestUri));
    }
    Ok(())
}

fn version(text: &[u8]) -> Result<(), Fault> {
    if text.eq_ignore_ascii_case(b"SIP/2.0") {
        return Ok(());
    }
    let number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let other = text.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"SIP/"))
        && text[4..].split(|octet| *octet == b'.').map(number).eq([true, true]);
    Err(Fault::new(if other { ErrorKind::Version } else { ErrorKind::StartLine }))
}

/// `SIP/2.0 200 OK`; the phrase may be empty, and even its space missing.
fn status_line(bytes: &[u8], end: usize, facts: &mut Facts) -> Result<(), Fault> {
    let bad = Fault::new(ErrorKind::StartLine);
    let line = &bytes[..end];
    let space = memchr::memchr(b' ', line).ok_or(bad)?;
    version(&line[..space])?;
    let code = line.get(space + 1..space + 4).ok_or(bad)?;
    let status = decimal(code).and_then(|code| u16::try_from(code).ok()).ok_or(bad)?;
    let phrase = (space + 5).min(end);
    if !(100..700).contains(&status) || !matches!(line.get(space + 4), None | Some(b' ')) {
        return Err(bad);
    }
    facts.status = status;
    facts.subject = Span::new(phrase, end);
    Ok(())
}

/// Fills the lines from `at` on; returns where the body starts.
fn header_lines(bytes: &[u8], mut at: usize, index: &mut Index) -> Result<usize, Fault> {
    loop {
        let mut end = line_end(bytes, at)?;
        if end == at {
            return Ok(end + 2);
        }
        while is_blank(octet(bytes, end + 2)) {
            end = line_end(bytes, end + 2)?;
        }
        if index.count == HEADERS_MAX {
            return Err(Fault::new(ErrorKind::TooManyHeaders));
        }
        let line = header_line(bytes, at, end)?;
        note(bytes, line, index)?;
        index.lines[index.count] = line;
        index.count += 1;
        at = end + 2;
    }
}

fn header_line(bytes: &[u8], at: usize, end: usize) -> Result<Line, Fault> {
    let bad = Fault::new(ErrorKind::Line);
    let line = bytes.get(at..end).ok_or(bad)?;
    let colon = memchr::memchr(b':', line).ok_or(bad)?;
    let mut name = &line[..colon];
    while let [shorter @ .., b' ' | b'\t'] = name {
        name = shorter;
    }
    let known = HeaderName::from_token(name);
    if name.is_empty() || known == HeaderName::Other && !name.iter().all(|octet| is_token(*octet)) {
        return Err(bad);
    }
    let start = skip_space(line, colon + 1);
    let mut stop = line.len();
    while stop > start && is_space(line[stop - 1]) {
        stop -= 1;
    }
    Ok(Line {
        name: known,
        start: at as u16,
        name_end: (at + name.len()) as u16,
        value: Span::new(at + start, at + stop),
        end: (end + 2) as u16,
    })
}

/// Remembers the first line of a name, refuses a second where only one may be, and checks the addresses that calls follow.
fn note(bytes: &[u8], line: Line, index: &mut Index) -> Result<(), Fault> {
    let Some(first) = index.facts.first.get_mut(line.name as usize) else { return Ok(()) };
    if *first == ABSENT {
        *first = index.count as u8;
    } else if is_single(line.name) {
        return Err(Fault::at(ErrorKind::Repeated, line.name));
    }
    if matches!(line.name, HeaderName::Contact | HeaderName::Route | HeaderName::RecordRoute) {
        addresses(line.value.of(bytes), line.name).ok_or(Fault::at(ErrorKind::Malformed, line.name))?;
    }
    Ok(())
}

/// Names whose second line is refused: each element could take another one for the right one (RFC 4475 §3.3.8, §3.3.9).
const fn is_single(name: HeaderName) -> bool {
    matches!(
        name,
        HeaderName::From
            | HeaderName::To
            | HeaderName::CallId
            | HeaderName::CSeq
            | HeaderName::MaxForwards
            | HeaderName::ContentLength
            | HeaderName::ContentType
    )
}

/// Checks a list of addresses; `Contact: *` is one too (RFC 3261 §20.10).
fn addresses(value: &[u8], name: HeaderName) -> Option<()> {
    if name == HeaderName::Contact && value == b"*" {
        return Some(());
    }
    let mut at = 0;
    loop {
        let (_, end) = AddressParts::scan(value, at)?;
        if end == value.len() {
            return Some(());
        }
        at = end + 1;
    }
}

/// The value of the first line of a name: its range, and the message up to its end.
fn value<'a>(bytes: &'a [u8], index: &Index, name: HeaderName) -> Option<(Span, &'a [u8])> {
    let line = index.lines.get(usize::from(index.facts.first[name as usize]))?;
    Some((line.value, bytes.get(..usize::from(line.value.end))?))
}

fn mandatory(bytes: &[u8], index: &mut Index) -> Result<(), Fault> {
    let required = |name| value(bytes, index, name).ok_or(Fault::at(ErrorKind::Missing, name));
    let malformed = |name| Fault::at(ErrorKind::Malformed, name);

    let (span, upto) = required(HeaderName::Via)?;
    let (via, _) = ViaParts::scan(upto, usize::from(span.start)).ok_or(malformed(HeaderName::Via))?;
    let address = |name| {
        let (span, upto) = required(name)?;
        let found = AddressParts::scan(upto, usize::from(span.start)).filter(|(_, end)| *end == upto.len());
        found.map(|(parts, _)| parts).ok_or(malformed(name))
    };
    let from = address(HeaderName::From)?;
    let to = address(HeaderName::To)?;
    let (call_id, upto) = required(HeaderName::CallId)?;
    if call_id.is_empty() || call_id.of(upto).iter().any(|octet| *octet <= b' ' || *octet == 0x7f) {
        return Err(malformed(HeaderName::CallId));
    }
    let (span, upto) = required(HeaderName::CSeq)?;
    let (cseq, method) = cseq(upto, usize::from(span.start)).ok_or(malformed(HeaderName::CSeq))?;
    let max_forwards = match value(bytes, index, HeaderName::MaxForwards) {
        Some((span, upto)) => Some(decimal(span.of(upto)).ok_or(malformed(HeaderName::MaxForwards))?),
        None => None,
    };
    let facts = &mut index.facts;
    (facts.via, facts.from, facts.to, facts.call_id, facts.cseq) = (via, from, to, call_id, cseq);
    // RFC 4475 §3.1.2.4: a value beyond 255 is no reason to refuse the request.
    facts.max_forwards = max_forwards.map(|value| u8::try_from(value).unwrap_or(u8::MAX));
    if !facts.is_request {
        facts.method_span = method;
        facts.method = Method::from_token(method.of(bytes));
    } else if method.of(bytes) != facts.method_span.of(bytes) {
        return Err(Fault::at(ErrorKind::Mismatch, HeaderName::CSeq));
    }
    Ok(())
}

/// Sequence number and method. Numbers beyond 31 bits are let pass, beyond 32 bits not (RFC 4475 §3.1.2.4).
fn cseq(bytes: &[u8], at: usize) -> Option<(u32, Span)> {
    let digits = at + bytes.get(at..)?.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let number = u32::try_from(decimal(&bytes[at..digits])?).ok()?;
    let method = skip_space(bytes, digits);
    let end = skip_token(bytes, method);
    (method > digits && end > method && end == bytes.len()).then_some((number, Span::new(method, end)))
}

fn body_span(bytes: &[u8], start: usize, index: &Index, framing: Framing) -> Result<Span, Fault> {
    let malformed = Fault::at(ErrorKind::Malformed, HeaderName::ContentLength);
    let length = match value(bytes, index, HeaderName::ContentLength) {
        Some((span, upto)) => decimal(span.of(upto)).ok_or(malformed)?,
        None if framing == Framing::Datagram => (bytes.len() - start) as u64,
        None => return Err(Fault::at(ErrorKind::Missing, HeaderName::ContentLength)),
    };
    match usize::try_from(length) {
        Ok(length) if length <= bytes.len() - start => Ok(Span::new(start, start + length)),
        _ => Err(Fault::at(ErrorKind::Truncated, HeaderName::ContentLength)),
    }
}
