//! SIP, SIPS and TEL URIs in place (RFC 3261 §19.1, RFC 3966); other schemes stay opaque.

use std::borrow::Cow;
use std::net::IpAddr;

use super::lanes::{Classify as _, Lanes};
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

/// Offsets into the URI. Zero stands for "not there" where zero cannot be a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UriParts {
    pub scheme: Scheme,
    /// Behind the colon.
    rest: u16,
    /// The colon between user and password.
    password: u16,
    /// The `@`.
    user_end: u16,
    host: u16,
    host_end: u16,
    port: Option<u16>,
    /// The first `;` behind the host, else where the headers start.
    params: u16,
    /// The `?`, else the end.
    headers: u16,
}

impl UriParts {
    pub const NONE: Self = Self {
        scheme: Scheme::Other,
        rest: 0,
        password: 0,
        user_end: 0,
        host: 0,
        host_end: 0,
        port: None,
        params: 0,
        headers: 0,
    };

    /// What the scheme tells, for a URI that is checked and not looked into.
    const fn opaque(scheme: Scheme, rest: usize, length: usize) -> Self {
        let length = length as u16;
        Self { scheme, rest: rest as u16, params: length, headers: length, ..Self::NONE }
    }

    /// The parts of the URI from `start` to the end of the text. `None` if it has no scheme, a blank or a bracket in it, or,
    /// for SIP and SIPS, no readable host and port.
    pub fn scan(text: Text<'_>, start: usize) -> Option<Self> {
        if text.find(start, Lanes::brackets) != text.end() {
            return None;
        }
        let (scheme, rest) = scheme(text, start)?;
        let length = text.end() - start;
        if length > super::MESSAGE_BYTES_MAX {
            return None;
        }
        let mut parts = Self::opaque(scheme, rest - start, length);
        match scheme {
            Scheme::Sip | Scheme::Sips => parts.scan_sip(text, start, rest)?,
            Scheme::Tel => {
                let end = text.find(rest, |lanes| lanes.equal(b';'));
                if end == rest {
                    return None;
                }
                parts.params = (end - start) as u16;
                parts.user_end = parts.params;
            }
            Scheme::Other => {}
        }
        Some(parts)
    }

    /// True if a question mark stands behind the host of this URI of `length` octets.
    pub fn has_headers(self, length: usize) -> bool {
        usize::from(self.headers) != length
    }

    #[inline(always)]
    fn scan_sip(&mut self, text: Text<'_>, start: usize, rest: usize) -> Option<()> {
        let mut host = rest;
        // No part but userinfo may have an `@`, while userinfo may have `;` and `?` (RFC 3261 §25.1, RFC 4475 §3.1.1.9).
        let at = text.find(rest, |lanes| lanes.equal(b'@'));
        if at < text.end() {
            if at == rest {
                return None;
            }
            self.user_end = (at - start) as u16;
            let colon = text.find(rest, |lanes| lanes.equal(b':'));
            if colon < at {
                self.password = (colon - start) as u16;
            }
            host = at + 1;
        }
        let host_end = host_end(text, host)?;
        self.host = (host - start) as u16;
        self.host_end = (host_end - start) as u16;
        let mut at = host_end;
        if text.octet(at) == b':' {
            let (port, end) = text.number(at + 1)?;
            self.port = Some(u16::try_from(port).ok()?);
            at = end;
        }
        if at == text.end() {
            return Some(());
        }
        if !matches!(text.octet(at), b';' | b'?') {
            return None;
        }
        self.params = (at - start) as u16;
        self.headers = (text.find(at, |lanes| lanes.equal(b'?')) - start) as u16;
        Some(())
    }
}

/// The scheme of the URI at `start`, and the position behind its colon, where something must follow.
#[inline(always)]
pub(super) fn scheme(text: Text<'_>, start: usize) -> Option<(Scheme, usize)> {
    if text.has(start, b"sip:") && start + 4 < text.end() {
        return Some((Scheme::Sip, start + 4));
    }
    other_scheme(text, start)
}

fn other_scheme(text: Text<'_>, start: usize) -> Option<(Scheme, usize)> {
    let colon = text.find(start, |lanes| lanes.equal(b':'));
    let name = text.bytes().get(start..colon)?;
    if colon + 1 >= text.end() {
        return None;
    }
    let scheme = match name {
        _ if name.eq_ignore_ascii_case(b"sip") => Scheme::Sip,
        _ if name.eq_ignore_ascii_case(b"sips") => Scheme::Sips,
        _ if name.eq_ignore_ascii_case(b"tel") => Scheme::Tel,
        [first, rest @ ..] if first.is_ascii_alphabetic() && rest.iter().all(|octet| is_scheme(*octet)) => {
            Scheme::Other
        }
        _ => return None,
    };
    Some((scheme, colon + 1))
}

/// Where the host that starts at `at` ends; `None` if there is none. `_` is not in RFC 3261's hostname but in many names that
/// resolve.
#[inline(always)]
pub(super) fn host_end(text: Text<'_>, at: usize) -> Option<usize> {
    if text.octet(at) == b'[' {
        let close = text.find(at, |lanes| lanes.equal(b']'));
        let inner = text.bytes().get(at + 1..close)?;
        let valid = inner.iter().all(|octet| matches!(octet, b':' | b'.') || octet.is_ascii_hexdigit());
        return (close < text.end() && !inner.is_empty() && valid).then_some(close + 1);
    }
    let end = text.find(at, Lanes::foreign_to_host);
    (end > at).then_some(end)
}

const fn is_scheme(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'+')
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

    /// The headers behind the question mark. They are never made into headers of a message (RFC 4475 §3.3.14).
    #[must_use]
    pub fn headers(&self) -> &'a [u8] {
        self.raw.get(usize::from(self.parts.headers) + 1..).unwrap_or_default()
    }

    /// Equality by RFC 3261 §19.1.4; octet by octet for other schemes than SIP and SIPS.
    #[must_use]
    pub fn same_as(&self, other: &Uri<'_>) -> bool {
        if self.scheme() != other.scheme() {
            return false;
        }
        if !self.is_sip() {
            return self.raw == other.raw;
        }
        let opaque = |text: Option<&[u8]>| text.map(|text| unescape(text).into_owned());
        opaque(self.user()) == opaque(other.user())
            && opaque(self.password()) == opaque(other.password())
            && unescape(self.host()).eq_ignore_ascii_case(&unescape(other.host()))
            && self.port() == other.port()
            && params_agree(self, other)
            && params_agree(other, self)
            && headers_agree(self.headers(), other.headers())
            && headers_agree(other.headers(), self.headers())
    }
}

/// Parameters in both must match; `user`, `ttl`, `method`, `maddr` and, as RFC 3261 §19.1.4's examples have it, `transport`
/// must not be in one only.
fn params_agree(ours: &Uri<'_>, theirs: &Uri<'_>) -> bool {
    const NEVER_ALONE: [&[u8]; 5] = [b"user", b"ttl", b"method", b"maddr", b"transport"];
    ours.params().all(|(name, value)| match theirs.param_value(&unescape(name)) {
        Some(other) => unescape(value.unwrap_or_default()).eq_ignore_ascii_case(&unescape(other.unwrap_or_default())),
        None => !NEVER_ALONE.iter().any(|special| special.eq_ignore_ascii_case(&unescape(name))),
    })
}

fn headers_agree(ours: &[u8], theirs: &[u8]) -> bool {
    let split = |text: &[u8]| -> Vec<Vec<u8>> {
        text.split(|octet| *octet == b'&').map(|header| unescape(header).to_ascii_lowercase()).collect()
    };
    let theirs = split(theirs);
    split(ours).iter().all(|header| theirs.contains(header))
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
fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
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

    fn same(one: &str, two: &str) -> bool {
        let (one, two) = (Uri::parse(one.as_bytes()).unwrap(), Uri::parse(two.as_bytes()).unwrap());
        assert_eq!(one.same_as(&two), two.same_as(&one));
        one.same_as(&two)
    }

    /// The examples of RFC 3261 §19.1.4.
    #[test]
    fn equality() {
        assert!(same("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp"));
        assert!(same("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"));
        assert!(same("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"));
        assert!(same(
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com"
        ));
        assert!(same(
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x"
        ));
        assert!(!same("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"));
        assert!(!same("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"));
        assert!(!same("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"));
        assert!(!same("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"));
        assert!(!same("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"));
        assert!(!same("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"));
        assert!(!same("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"));
    }
}
