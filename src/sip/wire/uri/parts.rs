//! Where the parts of a URI stand, found in one pass over its octets (RFC 3261 §25.1, RFC 3966).

use super::Scheme;
use crate::sip::wire::MESSAGE_BYTES_MAX;
use crate::sip::wire::lanes::{Classify as _, Lanes};
use crate::sip::wire::scan::Text;

/// Offsets into the URI. Zero stands for "not there" where zero cannot be a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sip::wire) struct UriParts {
    pub scheme: Scheme,
    /// Behind the colon.
    pub rest: u16,
    /// The colon between user and password.
    pub password: u16,
    /// The `@`.
    pub user_end: u16,
    pub host: u16,
    pub host_end: u16,
    pub port: Option<u16>,
    /// The first `;` behind the host, else where the headers start.
    pub params: u16,
    /// The `?`, else the end.
    pub headers: u16,
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
    pub const fn opaque(scheme: Scheme, rest: usize, length: usize) -> Self {
        let length = length as u16;
        Self { scheme, rest: rest as u16, params: length, headers: length, ..Self::NONE }
    }

    /// The parts of the URI from `start` to the end of the text. `None` if it has no scheme, a blank or a bracket in it, or,
    /// for SIP and SIPS, no readable host and port.
    #[inline(always)]
    pub fn scan(text: Text<'_>, start: usize) -> Option<Self> {
        let length = text.end() - start;
        if length > MESSAGE_BYTES_MAX {
            return None;
        }
        let (scheme, rest) = scheme(text, start)?;
        let mut parts = Self::opaque(scheme, rest - start, length);
        match scheme {
            Scheme::Sip | Scheme::Sips => parts.scan_sip(text, start, rest)?,
            Scheme::Tel | Scheme::Other => parts.scan_other(text, start, rest)?,
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
        let at = text.find(rest, |lanes| lanes.brackets() | lanes.equal(b'@'));
        if at < text.end() {
            if at == rest || text.octet(at) != b'@' {
                return None;
            }
            self.user_end = (at - start) as u16;
            let colon = Text::upto(text.buffer(), at).find(rest, |lanes| lanes.equal(b':'));
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
        let question = text.find(at, |lanes| lanes.brackets() | lanes.equal(b'?'));
        self.params = (at - start) as u16;
        self.headers = (question - start) as u16;
        (text.find(question, Lanes::brackets) == text.end()).then_some(())
    }

    fn scan_other(&mut self, text: Text<'_>, start: usize, rest: usize) -> Option<()> {
        if self.scheme == Scheme::Tel {
            let end = text.find(rest, |lanes| lanes.equal(b';'));
            if end == rest {
                return None;
            }
            self.params = (end - start) as u16;
            self.user_end = self.params;
        }
        (text.find(rest, Lanes::brackets) == text.end()).then_some(())
    }
}

/// The scheme of the URI at `start`, and the position behind its colon, where something must follow.
#[inline(always)]
pub(in crate::sip::wire) fn scheme(text: Text<'_>, start: usize) -> Option<(Scheme, usize)> {
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
pub(in crate::sip::wire) fn host_end(text: Text<'_>, at: usize) -> Option<usize> {
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
