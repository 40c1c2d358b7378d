//! The lines of a description: `x=value`, ended by CRLF or a lone LF (RFC 8866 §5 asks parsers to take both).

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The letter before the equals sign.
    pub kind: u8,
    /// What stands behind it, without the line's end.
    pub value: &'a [u8],
}

impl<'a> Line<'a> {
    /// Reads one line that has lost its end already.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        match text {
            [kind, b'=', value @ ..] if kind.is_ascii_lowercase() => Some(Self { kind: *kind, value }),
            _ => None,
        }
    }

    /// The name and value of an `a=` line; the value is empty for a flag.
    #[must_use]
    pub fn attribute(&self) -> Option<(&'a [u8], &'a [u8])> {
        if self.kind != b'a' {
            return None;
        }
        Some(match memchr::memchr(b':', self.value) {
            Some(colon) => (&self.value[..colon], &self.value[colon + 1..]),
            None => (self.value, &[]),
        })
    }

    /// The value of the `a=` line of that name, in any case.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&'a [u8]> {
        self.attribute().filter(|(have, _)| have.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }
}

/// Splits text into its lines without their ends; empty lines are passed over.
#[must_use]
pub fn split(text: &[u8]) -> Split<'_> {
    Split(text)
}

/// See [`split`].
#[derive(Clone, Debug)]
pub struct Split<'a>(&'a [u8]);

impl<'a> Iterator for Split<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.0.is_empty() {
            let (line, rest) = split_at(self.0, b'\n');
            self.0 = rest;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                return Some(line);
            }
        }
        None
    }
}

/// The lines of a section that has been checked before.
pub fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    split(text).filter_map(Line::parse)
}

/// The words of a value, split at spaces (and tabs, which some peers send).
pub fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty())
}

/// The first word and what follows it, both without the blanks around them.
#[must_use]
pub fn word(value: &[u8]) -> (&[u8], &[u8]) {
    let value = value.trim_ascii();
    match memchr::memchr2(b' ', b'\t', value) {
        Some(at) => (&value[..at], value[at..].trim_ascii_start()),
        None => (value, &[]),
    }
}

/// A decimal number with nothing around it.
#[must_use]
pub fn number<T: std::str::FromStr>(word: &[u8]) -> Option<T> {
    if word.is_empty() || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// Splits at the first occurrence of `byte`; without one, the rest is empty.
#[must_use]
pub fn split_at(text: &[u8], byte: u8) -> (&[u8], &[u8]) {
    match memchr::memchr(byte, text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_either_way() {
        let kinds: Vec<_> = lines(b"v=0\r\ns=-\n\r\na=sendonly").map(|line| line.kind).collect();
        assert_eq!(kinds, b"vsa");
        assert_eq!(Line::parse(b"V=0"), None);
        assert_eq!(Line::parse(b"v 0"), None);
    }

    #[test]
    fn attributes_split_at_the_first_colon() {
        let line = Line::parse(b"a=rtcp:53020 IN IP6 2001::1").unwrap();
        assert_eq!(line.named("RTCP"), Some(&b"53020 IN IP6 2001::1"[..]));
        assert_eq!(Line::parse(b"a=rtcp-mux").unwrap().attribute(), Some((&b"rtcp-mux"[..], &b""[..])));
        assert_eq!(number::<u16>(b"+5"), None);
        assert_eq!(number::<u8>(b"256"), None);
    }
}
