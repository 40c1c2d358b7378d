//! Reads the fields a load generator needs from a SIP message, in one pass over its lines, without copying.
//!
//! This is deliberately not the appliance's parser: a generator that shared it would share its mistakes. It is lenient
//! (a benchmark peer's oddities are not our business) and `--check` compares what it reads with `rsip` (`check.rs`).
//! RFC 3261 §7.3 (compact forms, any case, folded lines).

use arrayvec::ArrayVec;
use memchr::memchr;

/// Most Via or Record-Route lines kept of one message.
pub const LINES_MAX: usize = 16;

/// The first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// A request.
    Request {
        /// As it stands.
        method: &'a [u8],
        /// As it stands.
        uri: &'a [u8],
    },
    /// A response.
    Response {
        /// 100 to 699.
        status: u16,
        /// The reason phrase.
        reason: &'a [u8],
    },
}

/// What was found; every field points into the message.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    /// The first line.
    pub start: Start<'a>,
    /// Values of the Via lines in order.
    pub via: ArrayVec<&'a [u8], LINES_MAX>,
    /// Values of the Record-Route lines in order.
    pub record_route: ArrayVec<&'a [u8], LINES_MAX>,
    /// WWW-Authenticate and Proxy-Authenticate values; true = proxy.
    pub challenges: ArrayVec<(bool, &'a [u8]), 4>,
    /// Value of From.
    pub from: &'a [u8],
    /// Value of To.
    pub to: &'a [u8],
    /// Value of Call-ID.
    pub call_id: &'a [u8],
    /// Number of CSeq.
    pub cseq: u32,
    /// Method of CSeq.
    pub cseq_method: &'a [u8],
    /// First Contact line.
    pub contact: Option<&'a [u8]>,
    /// Expires in seconds.
    pub expires: Option<u32>,
    /// Min-Expires in seconds.
    pub min_expires: Option<u32>,
    /// Content-Length, where given.
    pub content_length: Option<usize>,
    /// After the empty line, cut to Content-Length where that is shorter.
    pub body: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The status of a response; 0 for a request.
    pub fn status(&self) -> u16 {
        match self.start {
            Start::Response { status, .. } => status,
            Start::Request { .. } => 0,
        }
    }

    /// The branch of the top Via.
    pub fn branch(&self) -> Option<&'a [u8]> {
        param(first_value(self.via.first()?), b"branch")
    }
}

/// Why a message is of no use to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanError {
    /// No empty line ends the head.
    NoEnd,
    /// The first line is neither a request's nor a response's.
    StartLine,
    /// Via, From, To, Call-ID or CSeq is missing or unreadable.
    Mandatory,
}

/// Length of the head including the empty line, and the Content-Length in it; `None` while the head is incomplete.
pub fn head(bytes: &[u8]) -> Option<(usize, Option<usize>)> {
    let mut length = None;
    let end = for_each_line(bytes, |name, value| {
        if name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"l") {
            length = length.or_else(|| number(value).and_then(|value| usize::try_from(value).ok()));
        }
    })?;
    Some((end, length))
}

/// Reads one message.
pub fn scan(bytes: &[u8]) -> Result<Fields<'_>, ScanError> {
    let start = start_line(bytes);
    let mut fields = Fields {
        start: start.unwrap_or(Start::Request { method: b"", uri: b"" }),
        via: ArrayVec::new(),
        record_route: ArrayVec::new(),
        challenges: ArrayVec::new(),
        from: b"",
        to: b"",
        call_id: b"",
        cseq: 0,
        cseq_method: b"",
        contact: None,
        expires: None,
        min_expires: None,
        content_length: None,
        body: b"",
    };
    let end = for_each_line(bytes, |name, value| take(&mut fields, name, value)).ok_or(ScanError::NoEnd)?;
    start.ok_or(ScanError::StartLine)?;
    let body = &bytes[end..];
    fields.body = fields.content_length.and_then(|length| body.get(..length)).unwrap_or(body);
    let complete = !fields.via.is_empty()
        && !fields.from.is_empty()
        && !fields.to.is_empty()
        && !fields.call_id.is_empty()
        && !fields.cseq_method.is_empty();
    if complete { Ok(fields) } else { Err(ScanError::Mandatory) }
}

/// A name of up to seven octets in lower case, as a number behind a one: names differ where the numbers do.
const fn code(name: &[u8]) -> u64 {
    let (mut code, mut at) = (1, 0);
    while at < name.len() {
        code = code << 8 | name[at].to_ascii_lowercase() as u64;
        at += 1;
    }
    code
}

/// The names that every message has are told apart by number, which costs less than comparing text.
mod short {
    use super::code;

    pub const VIA: u64 = code(b"via");
    pub const V: u64 = code(b"v");
    pub const FROM: u64 = code(b"from");
    pub const F: u64 = code(b"f");
    pub const TO: u64 = code(b"to");
    pub const T: u64 = code(b"t");
    pub const CALL_ID: u64 = code(b"call-id");
    pub const I: u64 = code(b"i");
    pub const CSEQ: u64 = code(b"cseq");
    pub const CONTACT: u64 = code(b"contact");
    pub const M: u64 = code(b"m");
    pub const L: u64 = code(b"l");
    pub const EXPIRES: u64 = code(b"expires");
}

fn take<'a>(fields: &mut Fields<'a>, name: &[u8], value: &'a [u8]) {
    if name.len() > 7 {
        return take_long(fields, name, value);
    }
    match code(name) {
        short::VIA | short::V => drop(fields.via.try_push(value)),
        short::FROM | short::F => fields.from = value,
        short::TO | short::T => fields.to = value,
        short::CALL_ID | short::I => fields.call_id = value,
        short::CONTACT | short::M => fields.contact = fields.contact.or(Some(value)),
        short::L => fields.content_length = content_length(value),
        short::EXPIRES => fields.expires = number(value),
        short::CSEQ => {
            fields.cseq = number(value).unwrap_or(0);
            fields.cseq_method = value.rsplit(u8::is_ascii_whitespace).next().unwrap_or_default();
        }
        _ => {}
    }
}

fn take_long<'a>(fields: &mut Fields<'a>, name: &[u8], value: &'a [u8]) {
    let is = |long: &[u8]| name.eq_ignore_ascii_case(long);
    match name.len() {
        11 if is(b"min-expires") => fields.min_expires = number(value),
        12 if is(b"record-route") => drop(fields.record_route.try_push(value)),
        14 if is(b"content-length") => fields.content_length = content_length(value),
        16 if is(b"www-authenticate") => drop(fields.challenges.try_push((false, value))),
        18 if is(b"proxy-authenticate") => drop(fields.challenges.try_push((true, value))),
        _ => {}
    }
}

fn content_length(value: &[u8]) -> Option<usize> {
    number(value).and_then(|value| usize::try_from(value).ok())
}

fn start_line(head: &[u8]) -> Option<Start<'_>> {
    let line = trim(&head[..memchr(b'\n', head)?]);
    let mut words = line.splitn(3, |&byte| byte == b' ');
    let (first, second, third) = (words.next()?, words.next()?, words.next());
    if first.len() >= 4 && first[..4].eq_ignore_ascii_case(b"SIP/") {
        let status = number(second).and_then(|status| u16::try_from(status).ok())?;
        return (100..700).contains(&status).then_some(Start::Response { status, reason: third.unwrap_or_default() });
    }
    third.filter(|version| version.len() >= 4 && version[..4].eq_ignore_ascii_case(b"SIP/"))?;
    (!first.is_empty() && !second.is_empty()).then_some(Start::Request { method: first, uri: second })
}

/// Calls `each` with name and trimmed value of every header after the first line; folds stay inside the value. Returns where
/// the empty line ends; `None` without one.
fn for_each_line<'a>(bytes: &'a [u8], mut each: impl FnMut(&'a [u8], &'a [u8])) -> Option<usize> {
    let next = |at: usize| Some(at + memchr(b'\n', bytes.get(at..)?)? + 1);
    let mut at = next(0)?;
    loop {
        let mut end = next(at)?;
        if end - at == 2 && bytes[..end].ends_with(b"\r\n\r\n") {
            return Some(end);
        }
        while let Some(b' ' | b'\t') = bytes.get(end) {
            end = next(end)?;
        }
        let line = &bytes[at..end];
        at = end;
        if let Some(colon) = line.iter().position(|&byte| byte == b':') {
            each(trim(&line[..colon]), trim(&line[colon + 1..]));
        }
    }
}

/// Without white space at either end.
pub fn trim(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

/// The decimal number at the start.
pub fn number(bytes: &[u8]) -> Option<u32> {
    let mut digits = bytes.iter().map_while(|byte| byte.is_ascii_digit().then(|| u32::from(byte - b'0')));
    let first = digits.next()?;
    digits.try_fold(first, |value, digit| value.checked_mul(10)?.checked_add(digit))
}

/// The first of several comma-separated values.
pub fn first_value(value: &[u8]) -> &[u8] {
    match memchr(b',', value) {
        None => trim(value),
        Some(_) => trim(split_values(value).next().unwrap_or_default()),
    }
}

/// Comma-separated values; commas inside quotes or angle brackets do not separate.
pub fn values(line: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    split_values(line).map(trim).take(LINES_MAX).collect::<ArrayVec<_, LINES_MAX>>().into_iter()
}

fn split_values(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped, mut angle) = (false, false, false);
    line.split(move |&byte| {
        let was_escaped = escaped;
        escaped = quoted && byte == b'\\' && !was_escaped;
        match byte {
            b'"' if !was_escaped => quoted = !quoted,
            b'<' if !quoted => angle = true,
            b'>' if !quoted => angle = false,
            b',' => return !quoted && !angle,
            _ => {}
        }
        false
    })
}

/// The URI of a From, To, Contact or Route value.
pub fn uri(value: &[u8]) -> &[u8] {
    let value = first_value(value);
    let from = skip_display(value);
    if let Some(open) = memchr(b'<', &value[from..]) {
        let inner = &value[from + open + 1..];
        return &inner[..memchr(b'>', inner).unwrap_or(inner.len())];
    }
    &value[..memchr(b';', value).unwrap_or(value.len())]
}

/// A header parameter (after the URI's closing bracket, if it has one).
pub fn param<'a>(value: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let from = skip_display(value);
    let from = memchr(b'>', &value[from..]).map_or(from, |end| from + end);
    let mut rest = &value[from..];
    while let Some(semicolon) = memchr(b';', rest) {
        rest = &rest[semicolon + 1..];
        let part = &rest[..memchr(b';', rest).unwrap_or(rest.len())];
        let (found, value) = match memchr(b'=', part) {
            Some(equals) => (trim(&part[..equals]), trim(&part[equals + 1..])),
            None => (trim(part), &part[..0]),
        };
        if found.eq_ignore_ascii_case(name) {
            return Some(value);
        }
    }
    None
}

/// The tag of a From or To value.
pub fn tag(value: &[u8]) -> Option<&[u8]> {
    param(value, b"tag")
}

fn skip_display(value: &[u8]) -> usize {
    if value.first() != Some(&b'"') {
        return 0;
    }
    let mut at = 1;
    while let Some(&byte) = value.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    value.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANSWER: &[u8] = b"SIP/2.0 200 OK then\r\nv: SIP/2.0/UDP a:5060;branch=z9hG4bKx;rport=5 , SIP/2.0/UDP b\r\n\
        Via: SIP/2.0/TCP c;branch=z9hG4bKy\r\nFROM: \"a;tag=no, <\\\"\" <sip:a@x;tag=uri>;tag=yes\r\nt: <sip:b@x>\r\n ;tag=folded\r\n\
        Call-ID:  one@two \r\nCSeq: 7   INVITE\r\nRecord-Route: <sip:p1;lr>, <sip:p2;lr>\r\nm: <sip:c@[::1]:5>\r\n\
        Proxy-Authenticate: Digest realm=\"r, s\"\r\nl: 3\r\n\r\nabcd";

    #[test]
    fn compact_folded_and_quoted_forms_are_read() {
        let fields = scan(ANSWER).unwrap();
        assert_eq!(fields.start, Start::Response { status: 200, reason: b"OK then" });
        assert_eq!(fields.branch(), Some(&b"z9hG4bKx"[..]));
        assert_eq!((fields.via.len(), fields.cseq, fields.cseq_method), (2, 7, &b"INVITE"[..]));
        assert_eq!(tag(fields.from), Some(&b"yes"[..]));
        assert_eq!(tag(fields.to), Some(&b"folded"[..]));
        assert_eq!(fields.call_id, b"one@two");
        assert_eq!(uri(fields.contact.unwrap()), b"sip:c@[::1]:5");
        assert_eq!(values(fields.record_route[0]).last(), Some(&b"<sip:p2;lr>"[..]));
        assert_eq!(fields.challenges[0], (true, &b"Digest realm=\"r, s\""[..]));
        assert_eq!(fields.body, b"abc");
        assert_eq!(head(ANSWER), Some((ANSWER.len() - 4, Some(3))));
    }

    #[test]
    fn a_request_line_and_what_is_missing() {
        let text = b"BYE sip:a@b SIP/2.0\r\nVia: x\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b>\r\nCall-ID: 1\r\nCSeq: 2 BYE\r\n\r\n";
        let fields = scan(text).unwrap();
        assert_eq!(fields.start, Start::Request { method: b"BYE", uri: b"sip:a@b" });
        assert_eq!(scan(b"BYE sip:a@b SIP/2.0\r\nVia: x\r\n\r\n").unwrap_err(), ScanError::Mandatory);
        assert_eq!(scan(b"hello\r\n\r\n").unwrap_err(), ScanError::StartLine);
        assert_eq!(scan(b"\r\n").unwrap_err(), ScanError::NoEnd);
    }

    #[test]
    fn numbers_are_as_long_as_their_digits_and_have_a_bound() {
        assert_eq!([&b"0"[..], b"4294967295", b"007 x"].map(number), [Some(0), Some(u32::MAX), Some(7)]);
        assert_eq!([&b""[..], b"-1", b"4294967296", b"99999999999"].map(number), [None; 4]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, cut in 0usize..500) {
            let _ = scan(&bytes);
            let mut mixed = ANSWER[..cut.min(ANSWER.len())].to_vec();
            mixed.extend_from_slice(&bytes);
            mixed.extend_from_slice(b"\r\n\r\n");
            if let Ok(fields) = scan(&mixed) {
                let _ = (fields.branch(), tag(fields.to), uri(fields.to), fields.contact.map(uri));
            }
        }
    }
}
