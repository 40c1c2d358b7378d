//! The one pass over a message: start line, header lines, the mandatory fields, the body's length.

use super::address::AddressParts;
use super::error::{ErrorKind, Fault, ParseError};
use super::index::{ABSENT, Facts, Index, Line, Span};
use super::lanes::{Classify as _, Lanes};
use super::message::Message;
use super::scan::{Control, Controls, Text, Window, is_blank, is_space, is_token, octet};
use super::uri::UriParts;
use super::via::ViaParts;
use super::{HeaderName, MESSAGE_BYTES_MAX, Method};

/// How the octets came, which decides what Content-Length means (RFC 3261 §18.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// One message a datagram: without Content-Length the body runs to the end; octets behind the body are cut.
    Datagram,
    /// On a stream, cut out by [`super::Framer`]: Content-Length must be there.
    Stream,
}

type Checked<T> = Result<T, Fault>;

/// Reads one message into `index`, without allocating. CRLFs before the start line are skipped (RFC 3261 §7.5).
///
/// # Errors
/// What to answer, or that nothing is to be answered; see [`super::reject`].
pub fn parse<'a>(bytes: &'a [u8], index: &'a mut Index, framing: Framing) -> Result<Message<'a>, ParseError> {
    let bytes = skip_leading(bytes);
    match read(bytes, index, framing) {
        Ok(count) => {
            let end = usize::from(index.facts.body.end);
            let lines = index.lines.get(..count).unwrap_or_default();
            Ok(Message::new(bytes.get(..end).unwrap_or(bytes), &index.facts, lines))
        }
        Err(fault) => {
            let method_known = index.facts.method != Method::Other;
            Err(fault.into_error(!starts_response(bytes), method_known))
        }
    }
}

/// Takes off the line ends before the start line.
#[inline(always)]
fn skip_leading(mut bytes: &[u8]) -> &[u8] {
    while let [b'\r' | b'\n', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

#[inline(always)]
fn starts_response(bytes: &[u8]) -> bool {
    matches!(bytes, [b'S' | b's', b'I' | b'i', b'P' | b'p', b'/', ..])
}

/// Fills the index; returns the count of lines.
#[inline(always)]
fn read(bytes: &[u8], index: &mut Index, framing: Framing) -> Checked<usize> {
    let facts = &mut index.facts;
    facts.clear();
    if octet(bytes, 0) == 0 && bytes.iter().all(|octet| *octet == 0) {
        return Err(Fault::new(ErrorKind::Keepalive));
    }
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(Fault::new(ErrorKind::TooLarge));
    }
    let mut controls = Controls::new(bytes);
    let end = line_end(bytes, &mut controls)?;
    if starts_response(bytes) {
        status_line(bytes, end, facts)?;
    } else {
        request_line(bytes, end, facts)?;
    }
    let (count, body) = header_lines(bytes, end + 2, &mut controls, index)?;
    index.count = count;
    mandatory(bytes, index)?;
    index.facts.headers = Span::new(end + 2, body - 2);
    index.facts.body = body_span(bytes, body, index, framing)?;
    Ok(count)
}

/// The position of the next CRLF. A CR or LF on its own is an error: two elements that read it differently could be played
/// against each other. So is any other control but HTAB, save as a quoted pair (RFC 3261 §25.1).
#[inline(always)]
fn line_end(bytes: &[u8], controls: &mut Controls<'_>) -> Checked<usize> {
    loop {
        match controls.next() {
            (at, Control::LineEnd) => return Ok(at),
            (at, Control::Other) => control(bytes, at)?,
        }
    }
}

#[cold]
fn control(bytes: &[u8], at: usize) -> Checked<()> {
    match bytes.get(at) {
        None => Err(Fault::new(ErrorKind::Unfinished)),
        Some(b'\r') if at + 1 == bytes.len() => Err(Fault::new(ErrorKind::Unfinished)),
        Some(b'\t') => Ok(()),
        Some(b'\r' | b'\n') => Err(Fault::new(ErrorKind::Line)),
        Some(_) if at > 0 && octet(bytes, at - 1) == b'\\' => Ok(()),
        Some(_) => Err(Fault::new(ErrorKind::Line)),
    }
}

#[inline(always)]
fn request_line(bytes: &[u8], end: usize, facts: &mut Facts) -> Checked<()> {
    let bad = Fault::new(ErrorKind::StartLine);
    let line = Text::upto(bytes, end);
    facts.is_request = true;
    let method_end = line.skip_token(0);
    if method_end == 0 || line.octet(method_end) != b' ' {
        return Err(bad);
    }
    facts.method_span = Span::new(0, method_end);
    facts.method = Method::from_token(bytes.get(..method_end).unwrap_or_default());
    let start = method_end + 1;
    let space = match end.checked_sub(8) {
        Some(space) if space >= start && line.has(space, b" SIP/2.0") => space,
        _ => other_version(line, start)?,
    };
    facts.subject = Span::new(start, space);
    facts.uri = UriParts::scan(Text::upto(bytes, space), start).ok_or(Fault::new(ErrorKind::RequestUri))?;
    // RFC 3261 §19.1.5: headers in a Request-URI are never honoured; RFC 4475 §3.1.2.11 allows 400.
    if facts.uri.has_headers(space - start) {
        return Err(Fault::new(ErrorKind::RequestUri));
    }
    Ok(())
}

/// The space before a version that is not spelt as usual.
#[cold]
fn other_version(line: Text<'_>, start: usize) -> Checked<usize> {
    let bad = Fault::new(ErrorKind::StartLine);
    let rest = line.bytes().get(start..).ok_or(bad)?;
    let space = memchr::memrchr(b' ', rest).ok_or(bad)?;
    version(&rest[space + 1..])?;
    Ok(start + space)
}

fn version(text: &[u8]) -> Checked<()> {
    if text.eq_ignore_ascii_case(b"SIP/2.0") {
        return Ok(());
    }
    let number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let other = text.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"SIP/"))
        && text[4..].split(|octet| *octet == b'.').map(number).eq([true, true]);
    Err(Fault::new(if other { ErrorKind::Version } else { ErrorKind::StartLine }))
}

/// `SIP/2.0 200 OK`; the phrase may be empty, and even its space missing.
#[inline(always)]
fn status_line(bytes: &[u8], end: usize, facts: &mut Facts) -> Checked<()> {
    let bad = Fault::new(ErrorKind::StartLine);
    let line = Text::upto(bytes, end);
    let space = line.find(0, |lanes| lanes.equal(b' '));
    version(bytes.get(..space).ok_or(bad)?)?;
    let (status, code_end) = line.number(space + 1).ok_or(bad)?;
    let phrase = (code_end + 1).min(end);
    if code_end != space + 4 || !(100..700).contains(&status) || code_end != end && line.octet(code_end) != b' ' {
        return Err(bad);
    }
    facts.status = status as u16;
    facts.subject = Span::new(phrase, end);
    Ok(())
}

/// Fills the lines from `at` on; returns their count and where the body starts.
#[inline(always)]
fn header_lines(
    bytes: &[u8],
    mut at: usize,
    controls: &mut Controls<'_>,
    index: &mut Index,
) -> Checked<(usize, usize)> {
    let mut count = 0;
    loop {
        let window = Window::new(bytes, at);
        let end = line_end(bytes, controls)?;
        if window.blanks & 1 != 0 {
            if end == at {
                return Ok((count, end + 2));
            }
            fold(bytes, end, index.lines.get_mut(..count).unwrap_or_default())?;
            at = end + 2;
            continue;
        }
        let line = header_line(bytes, at, end, &window)?;
        let first = &mut index.facts.first[line.name as usize];
        if *first == ABSENT {
            *first = count as u8;
        } else {
            again(line.name, &mut index.facts.repeated)?;
        }
        *index.lines.get_mut(count).ok_or(Fault::new(ErrorKind::TooManyHeaders))? = line;
        count += 1;
        at = end + 2;
    }
}

#[inline(always)]
fn header_line(bytes: &[u8], at: usize, end: usize, window: &Window) -> Checked<Line> {
    let mut line = Line {
        name: HeaderName::Other,
        start: at as u16,
        name_end: (at + window.colon) as u16,
        value: Span { start: (at + window.colon + 2) as u16, end: end as u16 },
        end: (end + 2) as u16,
    };
    if window.is_plain() && at + window.colon + 2 < end && !is_space(octet(bytes, end - 1)) {
        line.name = HeaderName::from_window(window.octets, window.colon);
    } else {
        odd_line(bytes, &mut line)?;
    }
    if line.name == HeaderName::Other && !line.raw_name(bytes).iter().all(|octet| is_token(*octet)) {
        return Err(Fault::new(ErrorKind::Line));
    }
    Ok(line)
}

/// A line whose name does not fit the window, or with other blanks than one behind the colon.
#[cold]
fn odd_line(bytes: &[u8], line: &mut Line) -> Checked<()> {
    let (start, end) = (usize::from(line.start), usize::from(line.value.end));
    let text = Text::upto(bytes, end);
    let colon = text.find(start, |lanes| lanes.equal(b':'));
    let mut name_end = colon;
    while name_end > start && is_blank(octet(bytes, name_end - 1)) {
        name_end -= 1;
    }
    if colon == end || name_end == start {
        return Err(Fault::new(ErrorKind::Line));
    }
    line.name_end = name_end as u16;
    line.name = HeaderName::from_token(line.raw_name(bytes));
    line.value = trimmed(bytes, colon + 1, end);
    Ok(())
}

/// A line that goes on the one before it (RFC 3261 §7.3.1).
#[cold]
fn fold(bytes: &[u8], end: usize, lines: &mut [Line]) -> Checked<()> {
    let line = lines.last_mut().ok_or(Fault::new(ErrorKind::Line))?;
    let colon = Text::upto(bytes, end).find(usize::from(line.name_end), |lanes| lanes.equal(b':'));
    line.value = trimmed(bytes, colon + 1, end);
    line.end = (end + 2) as u16;
    Ok(())
}

/// Another line of a name. Where only one may be it is refused: each element could take another one for the right one
/// (RFC 4475 §3.3.8, §3.3.9).
#[cold]
fn again(name: HeaderName, repeated: &mut u128) -> Checked<()> {
    *repeated |= 1 << name as u8;
    match name {
        HeaderName::From
        | HeaderName::To
        | HeaderName::CallId
        | HeaderName::CSeq
        | HeaderName::MaxForwards
        | HeaderName::ContentLength
        | HeaderName::ContentType => Err(Fault::at(ErrorKind::Repeated, name)),
        _ => Ok(()),
    }
}

/// The value between `start` and `end` without LWS around it; an empty one stands at its end.
fn trimmed(bytes: &[u8], start: usize, end: usize) -> Span {
    let start = Text::upto(bytes, end).skip_space(start).min(end);
    let mut stop = end;
    while stop > start && is_space(octet(bytes, stop - 1)) {
        stop -= 1;
    }
    Span::new(start, stop)
}

/// The value of the first line of a name: the message up to its end, and its start.
#[inline(always)]
fn value<'a>(bytes: &'a [u8], index: &Index, name: HeaderName) -> Option<(Text<'a>, usize)> {
    let line = index.lines.get(usize::from(index.facts.first[name as usize]))?;
    Some((Text::upto(bytes, usize::from(line.value.end)), usize::from(line.value.start)))
}

#[inline(always)]
fn mandatory(bytes: &[u8], index: &mut Index) -> Checked<()> {
    let required = |name| value(bytes, index, name).ok_or(Fault::at(ErrorKind::Missing, name));
    let malformed = |name| Fault::at(ErrorKind::Malformed, name);

    let (text, start) = required(HeaderName::Via)?;
    let (via, _) = ViaParts::scan(text, start).ok_or(malformed(HeaderName::Via))?;
    let (text, start) = required(HeaderName::From)?;
    let from = single_address(text, start).ok_or(malformed(HeaderName::From))?;
    let (text, start) = required(HeaderName::To)?;
    let to = single_address(text, start).ok_or(malformed(HeaderName::To))?;
    let (text, start) = required(HeaderName::CallId)?;
    if text.end() == start || text.find(start, Lanes::blanks) != text.end() {
        return Err(malformed(HeaderName::CallId));
    }
    let call_id = Span::new(start, text.end());
    let (text, start) = required(HeaderName::CSeq)?;
    let (cseq, method) = cseq(text, start).ok_or(malformed(HeaderName::CSeq))?;
    let max_forwards = match value(bytes, index, HeaderName::MaxForwards) {
        Some((text, start)) => Some(whole_number(text, start).ok_or(malformed(HeaderName::MaxForwards))?),
        None => None,
    };
    let contact = addresses(bytes, index, HeaderName::Contact)?;
    let route = addresses(bytes, index, HeaderName::Route)?;
    addresses(bytes, index, HeaderName::RecordRoute)?;
    let facts = &mut index.facts;
    (facts.via, facts.from, facts.to, facts.call_id, facts.cseq) = (via, from, to, call_id, cseq);
    (facts.contact, facts.route) = (contact, route);
    // RFC 4475 §3.1.2.4: a value beyond 255 is no reason to refuse the request.
    facts.max_forwards = max_forwards.map(|value| value.min(255) as u8);
    if !facts.is_request {
        facts.method_span = method;
        facts.method = Method::from_token(method.of(bytes));
    } else if method.of(bytes) != facts.method_span.of(bytes) {
        return Err(Fault::at(ErrorKind::Mismatch, HeaderName::CSeq));
    }
    Ok(())
}

#[inline(always)]
fn single_address(text: Text<'_>, start: usize) -> Option<AddressParts> {
    AddressParts::scan(text, start).filter(|(_, end)| *end == text.end()).map(|(parts, _)| parts)
}

fn whole_number(text: Text<'_>, start: usize) -> Option<u64> {
    text.number(start).filter(|(_, end)| *end == text.end()).map(|(value, _)| value)
}

/// Checks all lines of a list of addresses, or `Contact: *` (RFC 3261 §20.10); returns the first address.
#[inline(always)]
fn addresses(bytes: &[u8], index: &Index, name: HeaderName) -> Checked<AddressParts> {
    let first = index.facts.first[name as usize];
    if first == ABSENT {
        return Ok(AddressParts::NONE);
    }
    // Almost always there is one line, and it holds one address.
    let last = if index.facts.repeated & (1 << name as u8) == 0 { usize::from(first) + 1 } else { index.count };
    let lines = index.lines.get(usize::from(first)..last).unwrap_or_default();
    check_addresses(bytes, lines, name).ok_or(Fault::at(ErrorKind::Malformed, name))
}

fn check_addresses(bytes: &[u8], lines: &[Line], name: HeaderName) -> Option<AddressParts> {
    let mut found = None;
    for line in lines.iter().filter(|line| line.name == name) {
        let text = Text::upto(bytes, usize::from(line.value.end));
        let mut at = usize::from(line.value.start);
        if name == HeaderName::Contact && line.value.of(bytes) == b"*" {
            found.get_or_insert(AddressParts::NONE);
            continue;
        }
        loop {
            let (parts, end) = AddressParts::scan(text, at)?;
            found.get_or_insert(parts);
            if end == text.end() {
                break;
            }
            at = end + 1;
        }
    }
    found
}

/// Sequence number and method. Numbers beyond 31 bits are let pass, beyond 32 bits not (RFC 4475 §3.1.2.4).
#[inline(always)]
fn cseq(text: Text<'_>, at: usize) -> Option<(u32, Span)> {
    let (number, digits) = text.number(at)?;
    let method = text.skip_space(digits);
    let end = text.skip_token(method);
    let whole = method > digits && end > method && end == text.end();
    whole.then_some((u32::try_from(number).ok()?, Span::new(method, end)))
}

#[inline(always)]
fn body_span(bytes: &[u8], start: usize, index: &Index, framing: Framing) -> Checked<Span> {
    let malformed = Fault::at(ErrorKind::Malformed, HeaderName::ContentLength);
    let room = bytes.len() - start;
    let length = match value(bytes, index, HeaderName::ContentLength) {
        Some((text, start)) => whole_number(text, start).ok_or(malformed)?,
        None if framing == Framing::Datagram => room as u64,
        None => return Err(Fault::at(ErrorKind::Missing, HeaderName::ContentLength)),
    };
    match usize::try_from(length) {
        Ok(length) if length <= room => Ok(Span::new(start, start + length)),
        _ => Err(Fault::at(ErrorKind::Truncated, HeaderName::ContentLength)),
    }
}
