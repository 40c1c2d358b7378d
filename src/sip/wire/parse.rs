//! The one pass over a message: start line, header lines, the mandatory fields, the body's length.

use super::error::{Checked, ErrorKind, Fault, ParseError};
use super::fields::{body, mandatory};
use super::index::{ABSENT, Facts, Index, Line};
use super::lanes::{Classify as _, Lanes};
use super::message::Message;
use super::scan::{Controls, Text, chunk, is_blank, is_space, is_token, line_start, octet};
use super::span::Span;
use super::uri::UriParts;
use super::{HeaderName, MESSAGE_BYTES_MAX, Method};

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
/// What to answer, or that nothing is to be answered; see [`reject`](fn@super::reject).
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
    let (count, body_start) = header_lines(bytes, end + 2, &mut controls, index)?;
    index.count = count;
    index.facts.headers = Span::new(end + 2, body_start - 2);
    mandatory(bytes, index)?;
    index.facts.body = body(bytes, body_start, index, framing)?;
    Ok(count)
}

/// The position of the next CRLF. A CR or LF on its own is an error: two elements that read it differently could be played
/// against each other. So is any other control but HTAB, save as a quoted pair (RFC 3261 §25.1).
#[inline(always)]
fn line_end(bytes: &[u8], controls: &mut Controls<'_>) -> Checked<usize> {
    loop {
        match controls.line_end() {
            Ok(at) => return Ok(at),
            Err(at) => control(bytes, at)?,
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
    let method_end = line.find(0, Lanes::blanks);
    let method = bytes.get(..method_end).unwrap_or_default();
    facts.method_span = Span::new(0, method_end);
    facts.method = match chunk(bytes, 0) {
        Some(window) if method_end <= 8 => Method::from_window(u64::from_le_bytes(*window), method_end),
        _ => Method::from_token(method),
    };
    let is_token = facts.method != Method::Other || !method.is_empty() && line.skip_token(0) == method_end;
    if !is_token || line.octet(method_end) != b' ' {
        return Err(bad);
    }
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
        let end = line_end(bytes, controls)?;
        if end == at {
            return Ok((count, end + 2));
        }
        let plain = index.lines.get_mut(count).is_some_and(|line| plain_line(bytes, at, end, line));
        if !plain {
            if is_blank(octet(bytes, at)) {
                fold(bytes, end, index.lines.get_mut(..count).unwrap_or_default())?;
                at = end + 2;
                continue;
            }
            let line = index.lines.get_mut(count).ok_or(Fault::new(ErrorKind::TooManyHeaders))?;
            odd_line(bytes, at, end, line)?;
        }
        let name = index.lines.get(count).map_or(HeaderName::Other, |line| line.name);
        let first = &mut index.facts.first[name as usize];
        if *first == ABSENT {
            *first = count as u8;
        } else {
            again(name, &mut index.facts.repeated)?;
        }
        count += 1;
        at = end + 2;
    }
}

/// Reads what almost every line looks like: a known name of less than sixteen octets, a colon, one blank, a value, no blanks.
/// False for any other.
#[inline(always)]
fn plain_line(bytes: &[u8], at: usize, end: usize, line: &mut Line) -> bool {
    let Some((octets, length)) = line_start(bytes, at) else { return false };
    let Some(name) = HeaderName::from_window(octets, length) else { return false };
    // No name has a CR or LF in it: the colon stands before the end.
    let colon = at + length;
    let Some([b' ', first]) = chunk(bytes, colon + 1) else { return false };
    if *first <= b' ' || octet(bytes, end - 1) <= b' ' {
        return false;
    }
    line.name = name;
    line.start = at as u16;
    line.name_end = colon as u16;
    line.value = Span { start: (colon + 2) as u16, end: end as u16 };
    line.end = (end + 2) as u16;
    true
}

/// Reads any other line.
#[inline(never)]
fn odd_line(bytes: &[u8], start: usize, end: usize, line: &mut Line) -> Checked<()> {
    let text = Text::upto(bytes, end);
    let colon = text.find(start, |lanes| lanes.equal(b':'));
    let mut name_end = colon;
    while name_end > start && is_blank(octet(bytes, name_end - 1)) {
        name_end -= 1;
    }
    let raw_name = bytes.get(start..name_end).unwrap_or_default();
    line.name = HeaderName::from_token(raw_name);
    line.start = start as u16;
    line.name_end = name_end as u16;
    line.value = trimmed(bytes, colon + 1, end);
    line.end = (end + 2) as u16;
    let valid = line.name != HeaderName::Other || !raw_name.is_empty() && raw_name.iter().all(|octet| is_token(*octet));
    if colon == end || !valid { Err(Fault::new(ErrorKind::Line)) } else { Ok(()) }
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
