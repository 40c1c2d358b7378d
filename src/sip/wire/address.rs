//! `name-addr` and `addr-spec` with header parameters in place: From, To, Contact, Route and the like (RFC 3261 §20.10).

use std::borrow::Cow;

use super::lanes::{Classify as _, Lanes};
use super::params::{Params, read_param, unquote};
use super::scan::{Text, trim};
use super::span::Span;
use super::uri::{Uri, scheme};

/// Offsets into the text an address stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AddressParts {
    pub raw: Span,
    display: Span,
    uri: Span,
    params: Span,
    tag: Span,
}

impl AddressParts {
    pub const NONE: Self = {
        let none = Span { start: 0, end: 0 };
        Self { raw: none, display: none, uri: none, params: none, tag: none }
    };

    /// Reads the address that starts at `at`; it ends at the end of `text` or at the comma whose position is returned. Of the
    /// URI only the shape is checked: a scheme, no blanks, no brackets. Where it fails, the offsets mean nothing.
    #[inline(always)]
    pub fn scan(&mut self, text: Text<'_>, at: usize) -> Option<usize> {
        let start = text.skip_space(at);
        self.display = Span::default();
        let open = match text.octet(start) {
            b'<' => start,
            b'"' => {
                let end = text.skip_quoted(start)?;
                self.display = Span::new(start, end);
                text.skip_space(end)
            }
            _ => {
                let end = text.find(start, Lanes::breaks);
                let words = Span::new(start, start + trim(text.bytes().get(start..end)?).len());
                if text.octet(end) != b'<' {
                    return self.scan_bare(text, words, end);
                }
                self.display = words;
                end
            }
        };
        if text.octet(open) != b'<' {
            return None;
        }
        let close = text.find(open + 1, Lanes::brackets);
        if text.octet(close) != b'>' {
            return None;
        }
        self.uri = Span::new(open + 1, close);
        scheme(Text::upto(text.buffer(), close), open + 1)?;
        self.scan_params(text, start, text.skip_space(close + 1))
    }

    /// A URI without brackets, whose parameters are then the header's (RFC 3261 §20); a `?` in it is refused (RFC 4475
    /// §3.1.2.13).
    #[inline(never)]
    fn scan_bare(&mut self, text: Text<'_>, uri: Span, end: usize) -> Option<usize> {
        let raw = Text::upto(text.buffer(), usize::from(uri.end));
        let start = usize::from(uri.start);
        scheme(raw, start)?;
        if raw.find(start, |lanes| lanes.brackets() | lanes.equal(b'?')) != raw.end() {
            return None;
        }
        self.uri = uri;
        self.scan_params(text, start, end)
    }

    #[inline(always)]
    fn scan_params(&mut self, text: Text<'_>, start: usize, params: usize) -> Option<usize> {
        let mut tag = Span::default();
        let mut at = params;
        while text.octet(at) == b';' {
            let param = read_param(text, at)?;
            if param.is(b"tag") {
                if !tag.is_empty() || param.value.is_empty() {
                    return None;
                }
                tag = param.value;
            }
            at = param.next;
        }
        (self.raw, self.params, self.tag) = (Span::new(start, at), Span::new(params, at), tag);
        (at == text.end() || text.octet(at) == b',').then_some(at)
    }

    pub const fn has_tag(&self) -> bool {
        !self.tag.is_empty()
    }
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
        Self::of_shape(text).filter(|address| Uri::parse(address.uri_raw()).is_some())
    }

    /// As [`Self::parse`], with the URI checked as in a message: a scheme, no blanks.
    pub(super) fn of_shape(text: &'a [u8]) -> Option<Self> {
        let mut parts = AddressParts::NONE;
        let end = parts.scan(Text::new(text), 0)?;
        (end == text.len()).then_some(Self { bytes: text, parts })
    }

    pub(super) const fn from_parts(bytes: &'a [u8], parts: AddressParts) -> Self {
        Self { bytes, parts }
    }

    /// The whole value as it came, may contain folds; without the blanks before a comma that ends it.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        trim(self.parts.raw.of(self.bytes))
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

    /// The URI. In a message that was read, only its shape was checked: where a SIP host cannot be read, it is empty.
    #[must_use]
    pub fn uri(&self) -> Uri<'a> {
        Uri::of_shape(self.uri_raw())
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
