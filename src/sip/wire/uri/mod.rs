//! SIP, SIPS and TEL URIs in place (RFC 3261 §19.1, RFC 3966); other schemes stay opaque.

mod parts;
mod same;

use std::borrow::Cow;
use std::net::IpAddr;

pub(super) use parts::{UriParts, host_end, scheme};

use super::params::Params;
use super::scan::Text;

/// The scheme of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:`
    Tel,
    /// Any other; the rest of the URI is opaque.
    Other,
}

/// A URI and where its parts stand.
#[derive(Clone, Copy, Debug)]
pub struct Uri<'a> {
    raw: &'a [u8],
    parts: UriParts,
}

impl<'a> Uri<'a> {
    /// Reads a URI without brackets around it. `None` if it has no scheme, blanks or brackets in it, or, for SIP and SIPS,
    /// no readable host and port.
    #[must_use]
    pub fn parse(raw: &'a [u8]) -> Option<Self> {
        UriParts::scan(Text::new(raw), 0).map(|parts| Self { raw, parts })
    }

    pub(super) const fn from_parts(raw: &'a [u8], parts: UriParts) -> Self {
        Self { raw, parts }
    }

    /// A URI whose shape was checked: one whose host cannot be read keeps its scheme and has an empty host.
    pub(super) fn of_shape(raw: &'a [u8]) -> Self {
        Self::parse(raw).unwrap_or_else(|| {
            let parts = scheme(Text::new(raw), 0).map_or(UriParts::NONE, |(scheme, rest)| {
                UriParts::opaque(scheme, rest, raw.len().min(super::MESSAGE_BYTES_MAX))
            });
            Self { raw, parts }
        })
    }

    fn part(&self, start: u16, end: u16) -> &'a [u8] {
        self.raw.get(usize::from(start)..usize::from(end)).unwrap_or_default()
    }

    /// The octets as they came.
    #[must_use]
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.parts.scheme
    }

    /// True for `sip:` and `sips:`.
    #[must_use]
    pub const fn is_sip(&self) -> bool {
        matches!(self.parts.scheme, Scheme::Sip | Scheme::Sips)
    }

    /// The user, escapes kept; of a `tel:` URI the number.
    #[must_use]
    pub fn user(&self) -> Option<&'a [u8]> {
        let end = if self.parts.password != 0 { self.parts.password } else { self.parts.user_end };
        (self.parts.user_end != 0).then(|| self.part(self.parts.rest, end))
    }

    /// The user with its escapes read once (RFC 3261 §19.1.2).
    #[must_use]
    pub fn user_unescaped(&self) -> Option<Cow<'a, [u8]>> {
        self.user().map(unescape)
    }

    /// The password, escapes kept.
    #[must_use]
    pub fn password(&self) -> Option<&'a [u8]> {
        (self.parts.password != 0).then(|| self.part(self.parts.password + 1, self.parts.user_end))
    }

    /// The host, an IPv6 address with its brackets; empty where the scheme has none.
    #[must_use]
    pub fn host(&self) -> &'a [u8] {
        self.part(self.parts.host, self.parts.host_end)
    }

    /// The host as an address, if it is one.
    #[must_use]
    pub fn host_ip(&self) -> Option<IpAddr> {
        host_ip(self.host())
    }

    /// The port, if it is written.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.parts.port
    }

    /// The URI's own parameters.
    #[must_use]
    pub fn params(&self) -> Params<'a> {
        Params::new(self.part(self.parts.params, self.parts.headers))
    }

    /// The value of one of the URI's parameters, such as `transport`; empty if it stands without one, such as `lr`. Escapes in
    /// its name are read (RFC 4475 §3.1.1.3), those in its value are kept.
    #[must_use]
    pub fn param(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.param_value(name).map(Option::unwrap_or_default)
    }

    fn param_value(&self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        self.params().find(|(found, _)| unescape(found).eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The URI as a Request-URI may be (RFC 3261 §19.1.1): without the question mark and what follows.
    #[must_use]
    pub fn without_headers(&self) -> &'a [u8] {
        self.raw.get(..usize::from(self.parts.headers)).unwrap_or(self.raw)
    }

    /// The headers behind the question mark. They are never made into headers of a message (RFC 4475 §3.3.14).
    #[must_use]
    pub fn headers(&self) -> &'a [u8] {
        self.raw.get(usize::from(self.parts.headers) + 1..).unwrap_or_default()
    }
}

/// The host as an address; brackets are taken off.
pub(super) fn host_ip(host: &[u8]) -> Option<IpAddr> {
    let text = match host {
        [b'[', inner @ .., b']'] => inner,
        plain => plain,
    };
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Reads `%HH` once; what is no escape stays.
pub(super) fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(octet) = text.get(at) {
        let digit = |at: usize| text.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (*octet, digit(at + 1), digit(at + 2)) {
            plain.push((high << 4 | low) as u8);
            at += 3;
        } else {
            plain.push(*octet);
            at += 1;
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_sip_uri() {
        let uri = Uri::parse(b"sips:al%69ce;x=1:pass?@[2001:db8::1]:5061;transport=tls;lr?subject=a&to=b").unwrap();
        assert_eq!(uri.scheme(), Scheme::Sips);
        assert_eq!(uri.user(), Some(&b"al%69ce;x=1"[..]));
        assert_eq!(uri.user_unescaped().as_deref(), Some(&b"alice;x=1"[..]));
        assert_eq!(uri.password(), Some(&b"pass?"[..]));
        assert_eq!(uri.host(), b"[2001:db8::1]");
        assert_eq!(uri.host_ip(), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(uri.port(), Some(5061));
        assert_eq!(uri.param(b"TRANSPORT"), Some(&b"tls"[..]));
        assert_eq!(uri.param(b"lr"), Some(&b""[..]));
        assert_eq!(uri.headers(), b"subject=a&to=b");
    }

    #[test]
    fn other_schemes() {
        let tel = Uri::parse(b"tel:+1-201-555-0123;phone-context=example.com").unwrap();
        assert_eq!(
            (tel.user(), tel.param(b"phone-context")),
            (Some(&b"+1-201-555-0123"[..]), Some(&b"example.com"[..]))
        );
        let other = Uri::parse(b"soap.beep://192.0.2.103:3002").unwrap();
        assert_eq!((other.scheme(), other.user(), other.host()), (Scheme::Other, None, &b""[..]));
    }

    #[test]
    fn what_is_no_uri() {
        for text in [
            &b""[..],
            b"sip:",
            b"sip:@host",
            b"sip:user@",
            b"sip:host:",
            b"sip:host:65536",
            b"sip:host:5060x",
            b"sip:a b@c",
            b"<sip:a@b>",
            b"alice@example.com",
            b"5ip:host",
            b"sip:[::1",
            b"sip:[]",
            b"sip:a@b@c",
            b"tel:",
            b"tel:;x",
            b":x",
            b"sip:u@[fe80::1%25eth0]",
        ] {
            assert!(Uri::parse(text).is_none(), "{}", String::from_utf8_lossy(text));
        }
    }
}
