//! The comma-separated values of a header over all its lines (RFC 3261 §7.3.1).

use super::HeaderName;
use super::index::Line;
use super::lanes::{Classify as _, Lanes};
use super::scan::{Text, trim};

/// Each value of one header, first line first; commas in quotes and in angle brackets do not separate. Empty ones are left
/// out. Not for Date, Authorization and the like, whose commas mean something else.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    bytes: &'a [u8],
    lines: std::slice::Iter<'a, Line>,
    name: HeaderName,
    rest: &'a [u8],
}

impl<'a> Values<'a> {
    pub(super) fn new(bytes: &'a [u8], lines: &'a [Line], name: HeaderName) -> Self {
        Self { bytes, lines: lines.iter(), name, rest: b"" }
    }

    /// The values of one line, such as a stored header value.
    #[must_use]
    pub fn of_line(value: &'a [u8]) -> Self {
        Self { bytes: value, lines: [].iter(), name: HeaderName::Other, rest: value }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            while self.rest.is_empty() {
                let name = self.name;
                self.rest = self.lines.find(|line| line.name == name)?.value.of(self.bytes);
            }
            let end = value_end(self.rest);
            let value = trim(&self.rest[..end]);
            self.rest = self.rest.get(end + 1..).unwrap_or_default();
            if !value.is_empty() {
                return Some(value);
            }
        }
    }
}

/// The position of the first comma outside quotes and brackets, else the length.
pub(super) fn value_end(value: &[u8]) -> usize {
    let text = Text::new(value);
    let mut at = 0;
    loop {
        at = text.find(at, Lanes::breaks);
        match text.octet(at) {
            b'"' => at = text.skip_quoted(at).unwrap_or(text.end()),
            b'<' => at = text.find(at, |lanes| lanes.equal(b'>')),
            b',' => return at,
            _ if at == text.end() => return at,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_brackets_hold_commas() {
        let values: Vec<_> = Values::of_line(b" \"a,b\" <sip:x,y@z> , ,c;p=\"d\\\",e\",\r\n f").collect();
        assert_eq!(values, [&b"\"a,b\" <sip:x,y@z>"[..], b"c;p=\"d\\\",e\"", b"f"]);
        assert_eq!(Values::of_line(b",,").count(), 0);
        assert_eq!(Values::of_line(b"\"open, end").count(), 1);
    }
}
