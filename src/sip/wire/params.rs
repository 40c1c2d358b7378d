//! Header and URI parameters (`;name=value`), quoted strings.

use std::borrow::Cow;

use super::lanes::{Classify as _, Lanes};
use super::scan::{Text, chunk, trim};
use super::span::Span;

/// Parameters of a header value or a URI, from the first semicolon on. Iterates over names and values; a quoted value keeps
/// its quotes ([`unquote`] takes them off).
#[derive(Clone, Copy, Debug, Default)]
pub struct Params<'a> {
    text: &'a [u8],
}

impl<'a> Params<'a> {
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self { text }
    }

    /// The octets, from the first semicolon on; empty if there are none.
    #[must_use]
    pub const fn raw(&self) -> &'a [u8] {
        self.text
    }

    /// The value of the first parameter of that name in any case; empty if it stands without one.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.lookup(name).map(Option::unwrap_or_default)
    }

    /// Outer `None`: no such parameter. Inner `None`: it stands without a value.
    #[must_use]
    pub fn lookup(&self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        { *self }.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.text.get(1..)?;
            let end = param_end(rest);
            let (param, rest) = rest.split_at(end);
            self.text = rest;
            let (name, value) = match memchr::memchr(b'=', param) {
                Some(at) => (trim(&param[..at]), Some(trim(&param[at + 1..]))),
                None => (trim(param), None),
            };
            if !name.is_empty() {
                return Some((name, value));
            }
        }
    }
}

/// Where the parameter that starts `text` ends: at the next semicolon outside quotes.
fn param_end(text: &[u8]) -> usize {
    let text = Text::new(text);
    let mut at = 0;
    loop {
        at = text.find(at, |lanes| lanes.equal(b';') | lanes.equal(b'"'));
        match text.octet(at) {
            b'"' => at = text.skip_quoted(at).unwrap_or(text.end()),
            _ => return at,
        }
    }
}

/// One checked parameter of a header value: where its name and value stand, and where the next thing starts.
pub(super) struct Param<'a> {
    text: Text<'a>,
    name: usize,
    name_end: usize,
    pub value: Span,
    /// Behind the blanks that follow: at a semicolon, a comma or the end.
    pub next: usize,
}

impl Param<'_> {
    /// True if it has this name, which is given in lower case and has letters only.
    #[inline(always)]
    pub fn is<const N: usize>(&self, name: &[u8; N]) -> bool {
        if self.name_end - self.name != N {
            return false;
        }
        // Only a letter becomes that letter when its case bit is set.
        let fold = |octets: &[u8; N]| octets.map(|octet| octet | 0x20);
        chunk(self.text.buffer(), self.name).is_some_and(|found| fold(found) == *name)
    }
}

/// Reads the parameter behind the semicolon at `at`. `None` if it breaks RFC 3261 §25.1 `generic-param`, except that name and
/// value may be of any octets but separators and blanks, and the value may be empty.
#[inline(always)]
pub(super) fn read_param(text: Text<'_>, at: usize) -> Option<Param<'_>> {
    let name = text.skip_space(at + 1);
    let name_end = text.find(name, |lanes| lanes.separators() | lanes.equal(b'='));
    if name == name_end {
        return None;
    }
    let mut next = text.skip_space(name_end);
    let mut value = Span::default();
    if text.octet(next) == b'=' {
        let from = text.skip_space(next + 1);
        let to = if text.octet(from) == b'"' { text.skip_quoted(from)? } else { text.find(from, Lanes::separators) };
        value = Span::new(from, to);
        next = text.skip_space(to);
    }
    let ended = next == text.end() || matches!(text.octet(next), b';' | b',');
    ended.then_some(Param { text, name, name_end, value, next })
}

/// The text of a quoted string without quotes and backslashes; any other text as it is.
#[must_use]
pub fn unquote(text: &[u8]) -> Cow<'_, [u8]> {
    let inner = match text {
        [b'"', inner @ .., b'"'] => inner,
        _ => return Cow::Borrowed(text),
    };
    if memchr::memchr(b'\\', inner).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut octets = inner.iter();
    while let Some(octet) = octets.next() {
        plain.extend(if *octet == b'\\' { octets.next() } else { Some(octet) });
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values() {
        let params = Params::new(b";tag = \"a;b\" ;LR;x=;; y = z");
        let all: Vec<_> = params.collect();
        assert_eq!(
            all,
            [
                (&b"tag"[..], Some(&b"\"a;b\""[..])),
                (&b"LR"[..], None),
                (&b"x"[..], Some(&b""[..])),
                (&b"y"[..], Some(&b"z"[..]))
            ]
        );
        assert_eq!(params.get(b"TAG"), Some(&b"\"a;b\""[..]));
        assert_eq!(params.lookup(b"lr"), Some(None));
        assert_eq!(params.get(b"z"), None);
    }

    #[test]
    fn unquoting_takes_escapes_off_once() {
        assert_eq!(&*unquote(br#""J \\\"R\"""#), br#"J \"R""#);
        assert_eq!(&*unquote(b"plain"), b"plain");
        assert_eq!(&*unquote(b"\""), b"\"");
        assert_eq!(&*unquote(b"\"\\\""), b"");
    }
}
