//! `name-addr` and `addr-spec` with header parameters in place: From, To, Contact, Route and the like (RFC 3261 §20.10).

use std::borrow::Cow;

use super::index::Span;
use super::params::{Params, read_param, unquote};
use super::scan::{octet, skip_quoted, skip_space, trim};
use super::uri::{Uri, UriParts};

/// Offsets into the text an address stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AddressParts {
    pub raw: Span,
    display: Span,
    uri: Span,
    uri_parts: UriParts,
    params: Span,
    tag: Span,
}

impl AddressParts {
    pub const NONE: Self = {
        let none = Span { start: 0, end: 0 };
        Self { raw: none, display: none, uri: none, uri_parts: UriParts::NONE, params: none, tag: none }
    };

    /// Reads the address that starts at `at`; it ends at the end of `bytes` or at the comma whose position is returned.
    pub fn scan(bytes: &[u8], at: usize) -> Option<(Self, usize)> {
        let start = skip_space(bytes, at);
        let (display, uri, at) = match octet(bytes, start) {
            b'"' => {
                let end = skip_quoted(bytes, start)?;
                let open = skip_space(bytes, end);
                if octet(bytes, open) != b'<' {
                    return None;
                }
                let (uri, at) = bracketed(bytes, open)?;
                (Span::new(start, end), uri, at)
            }
            _ => unquoted(bytes, start)?,
        };
        let uri_parts = UriParts::scan(uri.of(bytes))?;
        let params = skip_space(bytes, at);
        let mut parts = Self { display, uri, uri_parts, ..Self::NONE };
        let end = parts.scan_params(bytes, params)?;
        parts.raw = Span::new(start, end);
        Some((parts, end))
    }

    fn scan_params(&mut self, bytes: &[u8], start: usize) -> Option<usize> {
        let mut at = start;
        while octet(bytes, at) == b';' {
            let param = read_param(bytes, at)?;
            if bytes.get(param.name.0..param.name.1)?.eq_ignore_ascii_case(b"tag") {
                let tag = Span::new(param.value.0, param.value.1);
                if !self.tag.is_empty() || tag.is_empty() {
                    return None;
                }
                self.tag = tag;
            }
            at = param.next;
        }
        self.params = Span::new(start, at);
        matches!(bytes.get(at), None | Some(b',')).then_some(at)
    }

    pub const fn has_tag(&self) -> bool {
        !self.tag.is_empty()
    }
}

/// The URI between the brackets that open at `open`, and the position behind them.
fn bracketed(bytes: &[u8], open: usize) -> Option<(Span, usize)> {
    let close = open + memchr::memchr(b'>', bytes.get(open..)?)?;
    Some((Span::new(open + 1, close), close + 1))
}

/// A display name without quotes before brackets, or a URI without brackets, whose parameters are then the header's
/// (RFC 3261 §20). Display names may hold more than tokens, but neither quotes nor separators; a `?` in a URI without
/// brackets is refused (RFC 4475 §3.1.2.13).
fn unquoted(bytes: &[u8], start: usize) -> Option<(Span, Span, usize)> {
    let rest = bytes.get(start..)?;
    let stop =
        start + rest.iter().position(|octet| matches!(octet, b'<' | b';' | b',' | b'"' | b'>')).unwrap_or(rest.len());
    let text = trim(bytes.get(start..stop)?);
    let before = Span::new(start, start + text.len());
    if octet(bytes, stop) == b'<' {
        let (uri, at) = bracketed(bytes, stop)?;
        return Some((before, uri, at));
    }
    if memchr::memchr(b'?', text).is_some() {
        return None;
    }
    Some((Span::new(start, start), before, stop))
}

/// An address: display name, URI, header parameters.
#[derive(Clone, Copy, Debug)]
pub struct NameAddr<'a> {
    bytes: &'a [u8],
    parts: AddressParts,
}

impl<'a> NameAddr<'a> {
    /// Reads one address, which must be the only one in `text`.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        if text.len() > super::MESSAGE_BYTES_MAX {
            return None;
        }
        let (parts, end) = AddressParts::scan(text, 0)?;
        (end == text.len()).then_some(Self { bytes: text, parts })
    }

    pub(super) const fn from_parts(bytes: &'a [u8], parts: AddressParts) -> Self {
        Self { bytes, parts }
    }

    /// The whole value as it came, may contain folds.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.parts.raw.of(self.bytes)
    }

    /// The display name as it came, with its quotes; empty if there is none.
    #[must_use]
    pub fn display(&self) -> &'a [u8] {
        self.parts.display.of(self.bytes)
    }

    /// The display name without quotes and escapes.
    #[must_use]
    pub fn display_unquoted(&self) -> Cow<'a, [u8]> {
        unquote(self.display())
    }

    /// The URI.
    #[must_use]
    pub fn uri(&self) -> Uri<'a> {
        Uri::from_parts(self.uri_raw(), self.parts.uri_parts)
    }

    /// The URI's octets, without brackets.
    #[must_use]
    pub fn uri_raw(&self) -> &'a [u8] {
        self.parts.uri.of(self.bytes)
    }

    /// The header parameters, those behind the brackets.
    #[must_use]
    pub fn params(&self) -> Params<'a> {
        Params::new(self.parts.params.of(self.bytes))
    }

    /// The value of a header parameter; empty if it stands without one.
    #[must_use]
    pub fn param(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.params().get(name)
    }

    /// The tag; RFC 2543 elements may send none.
    #[must_use]
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.parts.has_tag().then(|| self.parts.tag.of(self.bytes))
    }

    /// The preference of a contact in thousandths, 1,000 if it states none or none that can be read (RFC 3261 §20.10).
    #[must_use]
    pub fn q(&self) -> u16 {
        self.param(b"q").and_then(q_value).unwrap_or(1000)
    }

    /// The `expires` parameter in seconds, saturating; `None` if it is not there or cannot be read.
    #[must_use]
    pub fn expires(&self) -> Option<u32> {
        self.param(b"expires").and_then(super::scan::decimal).map(|value| u32::try_from(value).unwrap_or(u32::MAX))
    }
}

/// `qvalue` (RFC 3261 §25.1) in thousandths.
fn q_value(text: &[u8]) -> Option<u16> {
    let (whole, fraction) = match text {
        [whole, b'.', fraction @ ..] => (whole, fraction),
        [whole] => (whole, &[][..]),
        [b'.', fraction @ ..] => (&b'0', fraction),
        _ => return None,
    };
    if fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let thousandths =
        (0..3).fold(0, |value, at| value * 10 + fraction.get(at).map_or(0, |digit| u16::from(digit - b'0')));
    match whole {
        b'0' => Some(thousandths),
        b'1' if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tortuous_address() {
        let text = b"\"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8";
        let address = NameAddr::parse(text).unwrap();
        assert_eq!(&*address.display_unquoted(), b"J Rosenberg \\\"");
        assert_eq!(address.uri().user(), Some(&b"jdrosen"[..]));
        assert_eq!(address.tag(), Some(&b"98asjd8"[..]));
        assert_eq!(address.raw(), text);
    }

    #[test]
    fn without_brackets_the_parameters_are_the_headers() {
        let address = NameAddr::parse(b"sip:+16505552222@ss1.example.net;user=phone").unwrap();
        assert_eq!(address.uri_raw(), b"sip:+16505552222@ss1.example.net");
        assert_eq!((address.param(b"user"), address.tag()), (Some(&b"phone"[..]), None));
        let address = NameAddr::parse(b"caller<sip:caller@example.com;user=phone>;x").unwrap();
        assert_eq!(address.display(), b"caller");
        assert_eq!(address.uri().param(b"user"), Some(&b"phone"[..]));
        assert_eq!(address.param(b"x"), Some(&b""[..]));
    }

    #[test]
    fn preference() {
        let q = |text: &str| NameAddr::parse(format!("<sip:a@b>{text}").as_bytes()).unwrap().q();
        assert_eq!(
            [q(""), q(";q=0.33"), q(";q=1"), q(";q=1.000"), q(";q=0"), q(";q=.5")],
            [1000, 330, 1000, 1000, 0, 500]
        );
        assert_eq!([q(";q=1.1"), q(";q=x"), q(";q=0.3333"), q(";q=")], [1000; 4]);
    }

    #[test]
    fn broken_addresses() {
        for text in [
            &b""[..],
            b"\"Mr. J. User <sip:j.user@example.com>",
            b"<sip:a@b",
            b"sip:a@b>",
            b"< sip:a@b >",
            b"\"x\" sip:a@b",
            b"Bell, Alexander <sip:a.g.bell@example.com>;tag=43",
            b"<sip:a@b>;;;;",
            b"<sip:a@b>;tag=",
            b"<sip:a@b>;tag=1;TAG=2",
            b"sip:user@example.com?Route=%3Csip:sip.example.com%3E",
            b"<sip:a@b> x",
            b"<>",
            b"alice",
            b"<sip:a@b>,<sip:c@d>",
        ] {
            assert!(NameAddr::parse(text).is_none(), "{}", String::from_utf8_lossy(text));
        }
    }
}
