//! The fields that every message has and most readers want: found by name, checked once, kept as offsets, so that the view
//! reads them without looking at the octets again.

use super::address::AddressParts;
use super::error::{Checked, ErrorKind, Fault};
use super::index::{Index, Line};
use super::lanes::{Classify as _, Lanes};
use super::scan::Text;
use super::span::Span;
use super::{Framing, HeaderName, Method};

/// A header's first value: the text from `start` on.
#[derive(Clone, Copy)]
struct Value<'a> {
    text: Text<'a>,
    start: usize,
}

impl<'a> Value<'a> {
    #[inline(always)]
    fn new(bytes: &'a [u8], line: &Line) -> Self {
        Self { text: Text::upto(bytes, usize::from(line.value.end)), start: usize::from(line.value.start) }
    }

    /// Of the first line of that name.
    #[inline(always)]
    fn find(bytes: &'a [u8], index: &Index, name: HeaderName) -> Option<Self> {
        index.lines.get(usize::from(index.facts.first[name as usize])).map(|line| Self::new(bytes, line))
    }

    #[inline(always)]
    fn require(bytes: &'a [u8], index: &Index, name: HeaderName) -> Checked<Self> {
        Self::find(bytes, index, name).ok_or(Fault::at(ErrorKind::Missing, name))
    }

    /// The number that is all of the value.
    #[inline(always)]
    fn number(self) -> Option<u64> {
        self.text.number(self.start).filter(|(_, end)| *end == self.text.end()).map(|(value, _)| value)
    }

    /// True if there is one address and nothing else.
    #[inline(always)]
    fn is_address(self, parts: &mut AddressParts) -> bool {
        parts.scan(self.text, self.start) == Some(self.text.end())
    }
}

const fn malformed(name: HeaderName) -> Fault {
    Fault::at(ErrorKind::Malformed, name)
}

/// What RFC 3261 §8.1.1 asks of a request and §8.2.6.2 of a response, and the addresses that route it.
#[inline(always)]
pub(super) fn mandatory(bytes: &[u8], index: &mut Index) -> Checked<()> {
    let via = Value::require(bytes, index, HeaderName::Via)?;
    index.facts.via.scan(via.text, via.start).ok_or(malformed(HeaderName::Via))?;
    let from = Value::require(bytes, index, HeaderName::From)?;
    if !from.is_address(&mut index.facts.from) {
        return Err(malformed(HeaderName::From));
    }
    let to = Value::require(bytes, index, HeaderName::To)?;
    if !to.is_address(&mut index.facts.to) {
        return Err(malformed(HeaderName::To));
    }
    let call_id = Value::require(bytes, index, HeaderName::CallId)?;
    let end = call_id.text.end();
    if end == call_id.start || call_id.text.find(call_id.start, Lanes::blanks) != end {
        return Err(malformed(HeaderName::CallId));
    }
    index.facts.call_id = Span::new(call_id.start, end);
    let found = Value::require(bytes, index, HeaderName::CSeq)?;
    let (number, method) = cseq(found, index.facts.method_span).ok_or(malformed(HeaderName::CSeq))?;
    index.facts.cseq = number;
    if let Some(hops) = Value::find(bytes, index, HeaderName::MaxForwards) {
        let hops = hops.number().ok_or(malformed(HeaderName::MaxForwards))?;
        // RFC 4475 §3.1.2.4: a value beyond 255 is no reason to refuse the request.
        index.facts.max_forwards = Some(hops.min(255) as u8);
    }
    index.facts.contact = addresses(bytes, index, HeaderName::Contact)?;
    index.facts.route = addresses(bytes, index, HeaderName::Route)?;
    addresses(bytes, index, HeaderName::RecordRoute)?;
    let facts = &mut index.facts;
    match method {
        None => {}
        Some(method) if !facts.is_request => {
            facts.method_span = method;
            facts.method = Method::from_token(method.of(bytes));
        }
        Some(_) => return Err(Fault::at(ErrorKind::Mismatch, HeaderName::CSeq)),
    }
    Ok(())
}

/// Sequence number, and method unless it is the expected one. Numbers beyond 31 bits are let pass, beyond 32 bits not (RFC 4475
/// §3.1.2.4).
#[inline(always)]
fn cseq(value: Value<'_>, expected: Span) -> Option<(u32, Option<Span>)> {
    let text = value.text;
    let (number, digits) = text.number(value.start)?;
    let number = u32::try_from(number).ok()?;
    let start = text.skip_space(digits);
    if start == digits || start == text.end() {
        return None;
    }
    let method = Span::new(start, text.end());
    if !expected.is_empty() && method.of(text.bytes()) == expected.of(text.bytes()) {
        return Some((number, None));
    }
    (text.skip_token(start) == text.end()).then_some((number, Some(method)))
}

/// Checks all lines of a list of addresses, or `Contact: *` (RFC 3261 §20.10); returns the first address.
#[inline(always)]
fn addresses(bytes: &[u8], index: &Index, name: HeaderName) -> Checked<AddressParts> {
    let mut parts = AddressParts::NONE;
    let Some(value) = Value::find(bytes, index, name) else { return Ok(parts) };
    // Almost always there is one line, and it holds one address.
    if index.facts.repeated & (1 << name as u8) == 0 && value.is_address(&mut parts) {
        return Ok(parts);
    }
    let lines = index.lines.get(usize::from(index.facts.first[name as usize])..index.count).unwrap_or_default();
    address_list(bytes, lines, name).ok_or(malformed(name))
}

#[inline(never)]
fn address_list(bytes: &[u8], lines: &[Line], name: HeaderName) -> Option<AddressParts> {
    let mut first = None;
    let mut everything = false;
    for line in lines.iter().filter(|line| line.name == name) {
        // RFC 3261 §20.10: `*` stands alone.
        if everything {
            return None;
        }
        if name == HeaderName::Contact && line.value.of(bytes) == b"*" {
            everything = true;
            if first.replace(AddressParts::NONE).is_some() {
                return None;
            }
            continue;
        }
        let Value { text, start: mut at } = Value::new(bytes, line);
        loop {
            let mut parts = AddressParts::NONE;
            let end = parts.scan(text, at)?;
            first.get_or_insert(parts);
            if end == text.end() {
                break;
            }
            at = end + 1;
        }
    }
    first
}

/// The body that starts at `start`, as long as Content-Length says (RFC 3261 §18.3).
#[inline(always)]
pub(super) fn body(bytes: &[u8], start: usize, index: &Index, framing: Framing) -> Checked<Span> {
    let room = bytes.len() - start;
    let length = match Value::find(bytes, index, HeaderName::ContentLength) {
        Some(value) => value.number().ok_or(malformed(HeaderName::ContentLength))?,
        None if framing == Framing::Datagram => room as u64,
        None => return Err(Fault::at(ErrorKind::Missing, HeaderName::ContentLength)),
    };
    match usize::try_from(length) {
        Ok(length) if length <= room => Ok(Span::new(start, start + length)),
        _ => Err(Fault::at(ErrorKind::Truncated, HeaderName::ContentLength)),
    }
}
