//! The view over an indexed message. What [`parse`](fn@super::parse) checked is read here without failing.

use super::address::{AddressParts, NameAddr};
use super::index::{ABSENT, Facts, Line};
use super::scan::decimal;
use super::span::Span;
use super::uri::Uri;
use super::values::Values;
use super::via::Via;
use super::{HeaderName, Method};

/// One SIP message: its octets and where everything stands in them.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    facts: &'a Facts,
    lines: &'a [Line],
}

/// One header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name, `Other` if it is not known.
    pub name: HeaderName,
    /// The name as it came.
    pub raw_name: &'a [u8],
    /// The value without the blanks around it; may contain folds.
    pub value: &'a [u8],
}

impl<'a> Message<'a> {
    pub(super) const fn new(bytes: &'a [u8], facts: &'a Facts, lines: &'a [Line]) -> Self {
        Self { bytes, facts, lines }
    }

    pub(super) const fn facts(&self) -> &'a Facts {
        self.facts
    }

    pub(super) const fn lines(&self) -> &'a [Line] {
        self.lines
    }

    /// Exactly this message's octets: no CRLFs before it, nothing behind its body.
    #[must_use]
    pub const fn raw(&self) -> &'a [u8] {
        self.bytes
    }

    /// True for a request, false for a response.
    #[must_use]
    pub const fn is_request(&self) -> bool {
        self.facts.is_request
    }

    /// The method of a request; of a response that of its CSeq.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.facts.method
    }

    /// The method as it came.
    #[must_use]
    pub fn method_bytes(&self) -> &'a [u8] {
        self.facts.method_span.of(self.bytes)
    }

    /// The Request-URI; of a response an empty URI.
    #[must_use]
    pub fn uri(&self) -> Uri<'a> {
        let raw = if self.facts.is_request { self.facts.subject.of(self.bytes) } else { b"" };
        Uri::from_parts(raw, self.facts.uri)
    }

    /// The status code; 0 of a request.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.facts.status
    }

    /// The reason phrase; empty of a request.
    #[must_use]
    pub fn reason(&self) -> &'a [u8] {
        if self.facts.is_request { b"" } else { self.facts.subject.of(self.bytes) }
    }

    /// All header lines in order.
    #[must_use]
    pub fn headers(&self) -> Headers<'a> {
        Headers { bytes: self.bytes, lines: self.lines.iter() }
    }

    fn first(&self, name: HeaderName) -> Option<usize> {
        self.facts.first.get(name as usize).filter(|line| **line != ABSENT).map(|line| usize::from(*line))
    }

    /// The lines from the first of that name on.
    fn lines_from_first(&self, name: HeaderName) -> &'a [Line] {
        self.first(name).and_then(|first| self.lines.get(first..)).unwrap_or_default()
    }

    /// The value of the first line of that name.
    #[must_use]
    pub fn header(&self, name: HeaderName) -> Option<&'a [u8]> {
        self.lines_from_first(name).first().map(|line| line.value.of(self.bytes))
    }

    /// The value of the first line of that name in any case; for names that are not in [`HeaderName`].
    #[must_use]
    pub fn header_named(&self, name: &[u8]) -> Option<&'a [u8]> {
        match HeaderName::from_token(name) {
            HeaderName::Other => {
                self.headers().find(|header| header.raw_name.eq_ignore_ascii_case(name)).map(|header| header.value)
            }
            known => self.header(known),
        }
    }

    /// The whole values of all lines of that name, for headers whose commas do not separate values.
    pub fn lines_of(&self, name: HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes;
        self.lines_from_first(name).iter().filter(move |line| line.name == name).map(move |line| line.value.of(bytes))
    }

    /// The comma-separated values over all lines of that name.
    #[must_use]
    pub fn values(&self, name: HeaderName) -> Values<'a> {
        Values::new(self.bytes, self.lines_from_first(name), name)
    }

    /// True if one of the values of that header is this token, in any case: option tags, methods.
    #[must_use]
    pub fn lists(&self, name: HeaderName, token: &[u8]) -> bool {
        self.values(name).any(|value| value.eq_ignore_ascii_case(token))
    }

    /// The topmost Via.
    #[must_use]
    pub const fn via(&self) -> Via<'a> {
        Via::from_parts(self.bytes, self.facts.via)
    }

    /// All Vias, topmost first; those below the topmost that cannot be read are left out.
    pub fn vias(&self) -> impl Iterator<Item = Via<'a>> + use<'a> {
        self.values(HeaderName::Via).filter_map(Via::parse)
    }

    /// From.
    #[must_use]
    pub const fn from(&self) -> NameAddr<'a> {
        NameAddr::from_parts(self.bytes, self.facts.from)
    }

    /// To.
    #[must_use]
    pub const fn to(&self) -> NameAddr<'a> {
        NameAddr::from_parts(self.bytes, self.facts.to)
    }

    /// Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &'a [u8] {
        self.facts.call_id.of(self.bytes)
    }

    /// The sequence number and method of CSeq.
    #[must_use]
    pub const fn cseq(&self) -> (u32, Method) {
        (self.facts.cseq, self.facts.method)
    }

    /// Max-Forwards, 255 if it asks for more; `None` if it is not there.
    #[must_use]
    pub const fn max_forwards(&self) -> Option<u8> {
        self.facts.max_forwards
    }

    /// All contacts; none where Contact is `*`, see [`Self::is_contact_star`].
    #[must_use]
    pub fn contacts(&self) -> Contacts<'a> {
        Contacts { values: self.values(HeaderName::Contact) }
    }

    /// The first contact.
    #[must_use]
    pub fn contact(&self) -> Option<NameAddr<'a>> {
        self.first_address(self.facts.contact)
    }

    /// True for `Contact: *` (RFC 3261 §10.2.2).
    #[must_use]
    pub fn is_contact_star(&self) -> bool {
        self.header(HeaderName::Contact) == Some(b"*")
    }

    /// The values of Route, topmost first.
    #[must_use]
    pub fn routes(&self) -> Contacts<'a> {
        Contacts { values: self.values(HeaderName::Route) }
    }

    /// The values of Record-Route, topmost first.
    #[must_use]
    pub fn record_routes(&self) -> Contacts<'a> {
        Contacts { values: self.values(HeaderName::RecordRoute) }
    }

    /// The first value of Route.
    #[must_use]
    pub fn route(&self) -> Option<NameAddr<'a>> {
        self.first_address(self.facts.route)
    }

    fn first_address(&self, parts: AddressParts) -> Option<NameAddr<'a>> {
        (!parts.raw.is_empty()).then(|| NameAddr::from_parts(self.bytes, parts))
    }

    /// The Expires header in seconds, saturating; `None` if it is not there or cannot be read.
    #[must_use]
    pub fn expires(&self) -> Option<u32> {
        self.seconds(HeaderName::Expires)
    }

    /// A header that is a number of seconds, saturating; what follows the number (a comment, parameters) is not looked at.
    #[must_use]
    pub fn seconds(&self, name: HeaderName) -> Option<u32> {
        let value = self.header(name)?;
        let digits = value.iter().take_while(|octet| octet.is_ascii_digit()).count();
        decimal(&value[..digits]).map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    /// The body, as long as Content-Length says.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.facts.body.of(self.bytes)
    }

    /// Content-Type with its parameters.
    #[must_use]
    pub fn content_type(&self) -> Option<&'a [u8]> {
        self.header(HeaderName::ContentType)
    }

    /// The start line without its CRLF.
    #[must_use]
    pub fn start_line(&self) -> &'a [u8] {
        Span { start: 0, end: self.facts.headers.start.saturating_sub(2) }.of(self.bytes)
    }
}

/// All header lines of a message in order.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    lines: std::slice::Iter<'a, Line>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.lines.next().map(|line| Header {
            name: line.name,
            raw_name: line.raw_name(self.bytes),
            value: line.value.of(self.bytes),
        })
    }
}

/// Addresses of a list header: Contact, Route, Record-Route.
#[derive(Clone, Debug)]
pub struct Contacts<'a> {
    values: Values<'a>,
}

impl<'a> Iterator for Contacts<'a> {
    type Item = NameAddr<'a>;

    fn next(&mut self) -> Option<NameAddr<'a>> {
        self.values.by_ref().find_map(NameAddr::of_shape)
    }
}
