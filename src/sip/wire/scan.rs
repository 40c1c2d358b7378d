//! Finding octets: the ends of lines, quoted strings, blanks, tokens, numbers.

use super::lanes::{Classify as _, Lanes};

/// SP or HTAB.
pub(super) const fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

/// Blank, or part of the CRLF of a fold (RFC 3261 §25.1 LWS).
pub(super) const fn is_space(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r' | b'\n')
}

/// An octet of a token (RFC 3261 §25.1).
pub(super) const fn is_token(octet: u8) -> bool {
    TOKEN[octet as usize]
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut octet = 0;
    while octet < 256 {
        let byte = octet as u8;
        table[octet] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~');
        octet += 1;
    }
    table
};

/// The octet at `at`, or NUL past the end: NUL stands in no grammar rule that is looked at this way.
#[inline(always)]
pub(super) fn octet(bytes: &[u8], at: usize) -> u8 {
    match bytes.get(at) {
        Some(octet) => *octet,
        None => 0,
    }
}

/// Sixteen octets from `at`, with NULs past the end.
#[inline(always)]
fn load(bytes: &[u8], at: usize) -> [u8; 16] {
    match bytes.get(at..).and_then(<[u8]>::first_chunk) {
        Some(octets) => *octets,
        None => load_end(bytes, at),
    }
}

#[cold]
#[inline(never)]
fn load_end(bytes: &[u8], at: usize) -> [u8; 16] {
    let mut octets = [0; 16];
    let rest = bytes.get(at..).unwrap_or_default();
    let length = rest.len().min(16);
    octets[..length].copy_from_slice(&rest[..length]);
    octets
}

/// A header value, a URI: octets up to an end that nothing here looks beyond, inside of a buffer that may go on. Positions
/// are those of the buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    bytes: &'a [u8],
    buffer: &'a [u8],
}

impl<'a> Text<'a> {
    /// All of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, buffer: bytes }
    }

    /// `buffer` up to `end`.
    #[inline(always)]
    pub fn upto(buffer: &'a [u8], end: usize) -> Self {
        Self { bytes: buffer.get(..end).unwrap_or(buffer), buffer }
    }

    /// The octets up to the end.
    pub const fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// All the octets, those behind the end too.
    pub const fn buffer(self) -> &'a [u8] {
        self.buffer
    }

    /// The position of the end.
    pub const fn end(self) -> usize {
        self.bytes.len()
    }

    /// The octet at `at`, NUL at the end.
    #[inline(always)]
    pub fn octet(self, at: usize) -> u8 {
        octet(self.bytes, at)
    }

    /// True if these octets stand at `at`.
    #[inline(always)]
    pub fn has<const N: usize>(self, at: usize, octets: &[u8; N]) -> bool {
        self.bytes.get(at..).and_then(<[u8]>::first_chunk) == Some(octets)
    }

    /// The first position from `at` on whose octet is in the class, else the end.
    #[inline(always)]
    pub fn find(self, mut at: usize, class: impl Fn(Lanes) -> u32) -> usize {
        while at < self.end() {
            let found = class(Lanes::new(load(self.buffer, at)));
            if found != 0 {
                return self.end().min(at + found.trailing_zeros() as usize);
            }
            at += 16;
        }
        self.end()
    }

    /// The first position from `at` that is no LWS.
    #[inline(always)]
    pub fn skip_space(self, mut at: usize) -> usize {
        while is_space(self.octet(at)) {
            at += 1;
        }
        at
    }

    /// The first position from `at` that is no token octet.
    #[inline(always)]
    pub fn skip_token(self, mut at: usize) -> usize {
        while is_token(self.octet(at)) {
            at += 1;
        }
        at
    }

    /// The position behind the closing quote of the quoted string that opens at `at`.
    pub fn skip_quoted(self, at: usize) -> Option<usize> {
        let mut at = at + 1;
        loop {
            at = self.find(at, Lanes::quotes);
            match self.octet(at) {
                b'"' => return Some(at + 1),
                b'\\' => at += 2,
                _ => return None,
            }
        }
    }

    /// The decimal number at `at` and the position behind it; `None` without a digit. Stays at 2^40 when it is larger.
    #[inline(always)]
    pub fn number(self, at: usize) -> Option<(u64, usize)> {
        let mut next = at;
        let mut value = 0u64;
        loop {
            let digit = self.octet(next).wrapping_sub(b'0');
            if digit > 9 {
                return (next > at).then_some((value, next));
            }
            value = (value * 10 + u64::from(digit)).min(NUMBER_MAX);
            next += 1;
        }
    }
}

/// What divides a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    At,
    Colon,
    Question,
    ForeignToHost,
    /// Blanks, quotes and angle brackets: what stands in no URI.
    Foreign,
}

/// Answers where the next mark is.
pub(super) trait Seek {
    /// The first position from `at` on of that mark, else the end.
    fn seek(&self, mark: Mark, at: usize) -> usize;
}

impl Seek for Text<'_> {
    fn seek(&self, mark: Mark, at: usize) -> usize {
        match mark {
            Mark::At => self.find(at, |lanes| lanes.equal(b'@')),
            Mark::Colon => self.find(at, |lanes| lanes.equal(b':')),
            Mark::Question => self.find(at, |lanes| lanes.equal(b'?')),
            Mark::ForeignToHost => self.find(at, Lanes::foreign_to_host),
            Mark::Foreign => self.find(at, Lanes::brackets),
        }
    }
}

/// All marks of a text of at most sixty-four octets, found in one pass; a longer one is its own [`Seek`].
pub(super) struct Marks {
    start: usize,
    end: usize,
    bits: [u64; 5],
}

impl Marks {
    /// The marks between `start` and the end of the text.
    #[inline(always)]
    pub fn new(text: Text<'_>, start: usize) -> Option<Self> {
        let end = text.end();
        let length = end.checked_sub(start).filter(|length| *length <= 64)?;
        let mut bits = [0; 5];
        let mut shift = 0;
        while shift < length {
            let lanes = Lanes::new(load(text.buffer, start + shift));
            let found =
                [lanes.equal(b'@'), lanes.equal(b':'), lanes.equal(b'?'), lanes.foreign_to_host(), lanes.brackets()];
            for (bits, found) in bits.iter_mut().zip(found) {
                *bits |= u64::from(found) << shift;
            }
            shift += 16;
        }
        Some(Self { start, end, bits })
    }
}

impl Seek for Marks {
    #[inline(always)]
    fn seek(&self, mark: Mark, at: usize) -> usize {
        let bits = self.bits[mark as usize].checked_shr((at - self.start) as u32).unwrap_or(0);
        if bits == 0 { self.end } else { self.end.min(at + bits.trailing_zeros() as usize) }
    }
}

/// What larger numbers are read as: beyond 32 bits, and ten times it does not overflow.
pub(super) const NUMBER_MAX: u64 = 1 << 40;

/// The number that is all of `digits`; see [`Text::number`].
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    Text::new(digits).number(0).filter(|(_, end)| *end == digits.len()).map(|(value, _)| value)
}

/// `text` without LWS at either end.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t' | b'\r' | b'\n'] = text {
        text = rest;
    }
    text
}

/// Walks over the control octets of a buffer, sixty-four octets at a time: in a message almost all of them end lines.
pub(super) struct Controls<'a> {
    bytes: &'a [u8],
    base: usize,
    left: u64,
}

/// What stands at the position [`Controls::next`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// CRLF.
    LineEnd,
    /// Any other control, or the end of the buffer.
    Other,
}

impl<'a> Controls<'a> {
    #[inline(always)]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, base: 0, left: Self::mask(bytes, 0) }
    }

    #[inline(always)]
    fn mask(bytes: &[u8], base: usize) -> u64 {
        let end;
        let block: &[u8; 64] = match bytes.get(base..).and_then(<[u8]>::first_chunk) {
            Some(block) => block,
            None => {
                end = last_block(bytes, base);
                &end
            }
        };
        let (quarters, _) = block.as_chunks::<16>();
        quarters.iter().rev().fold(0, |mask, quarter| mask << 16 | u64::from(Lanes::new(*quarter).controls()))
    }

    /// The position of the next CRLF, which counts as one, or of the next other control; past the end when there is none.
    #[inline(always)]
    pub fn next(&mut self) -> (usize, Control) {
        while self.left == 0 {
            self.base += 64;
            self.left = Self::mask(self.bytes, self.base);
        }
        let bit = self.left.trailing_zeros();
        let at = self.base + bit as usize;
        let is_end = self.bytes.get(at..).and_then(<[u8]>::first_chunk) == Some(b"\r\n");
        if !is_end {
            self.left &= self.left - 1;
            return (at, Control::Other);
        }
        self.left &= !(3 << bit);
        if bit == 63 {
            self.base += 64;
            self.left = Self::mask(self.bytes, self.base) & !1;
        }
        (at, Control::LineEnd)
    }
}

#[cold]
#[inline(never)]
fn last_block(bytes: &[u8], base: usize) -> [u8; 64] {
    let mut block = [0; 64];
    let rest = bytes.get(base..).unwrap_or_default();
    let length = rest.len().min(64);
    block[..length].copy_from_slice(&rest[..length]);
    block
}

/// The start of a line: sixteen octets, and what they tell.
pub(super) struct Window {
    /// The octets.
    pub octets: u128,
    /// Which of them are SP or controls.
    pub blanks: u32,
    /// Where the first colon is, 16 if there is none.
    pub colon: usize,
}

impl Window {
    #[inline(always)]
    pub fn new(bytes: &[u8], at: usize) -> Self {
        let octets = load(bytes, at);
        let lanes = Lanes::new(octets);
        let colon = (lanes.equal(b':') | 1 << 16).trailing_zeros() as usize;
        Self { octets: u128::from_le_bytes(octets), blanks: lanes.blanks(), colon }
    }

    /// True for what almost every line looks like: a name, a colon, one blank, something else, all within the window.
    #[inline(always)]
    pub fn is_plain(&self) -> bool {
        // Bits from the octet before the colon on: name, colon, blank, value.
        1 <= self.colon && self.colon <= 13 && (self.blanks >> (self.colon - 1)) & 0b1111 == 0b0100
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_stay_below_their_bound() {
        assert_eq!(decimal(b"0009"), Some(9));
        assert_eq!(decimal(b"36893488147419103232"), Some(NUMBER_MAX));
        assert_eq!([decimal(b""), decimal(b"-1"), decimal(b"1 ")], [None; 3]);
    }

    proptest! {
        #[test]
        fn controls_are_found_one_by_one(bytes in proptest::collection::vec(prop_oneof![0u8..=40, Just(b'\r'), Just(b'\n'), any::<u8>()], 0..200)) {
            let expected: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] < b' ').collect();
            let mut controls = Controls::new(&bytes);
            let mut found = Vec::new();
            loop {
                let (at, control) = controls.next();
                if at >= bytes.len() {
                    break;
                }
                found.push(at);
                prop_assert_eq!(control == Control::LineEnd, bytes[at..].starts_with(b"\r\n"));
                if control == Control::LineEnd {
                    found.push(at + 1);
                }
            }
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn marks_are_where_they_are_sought(bytes in proptest::collection::vec(prop_oneof![Just(b'@'), Just(b':'), any::<u8>()], 0..90), start: usize, end: usize, at: usize) {
            let end = end % (bytes.len() + 1);
            let start = start % (end + 1);
            let at = start + at % (end - start + 1);
            let text = Text::upto(&bytes, end);
            match Marks::new(text, start) {
                None => prop_assert!(end - start > 64),
                Some(marks) => {
                    for mark in [Mark::At, Mark::Colon, Mark::Question, Mark::ForeignToHost, Mark::Foreign] {
                        prop_assert_eq!(marks.seek(mark, at), text.seek(mark, at), "{:?}", mark);
                    }
                }
            }
        }

        #[test]
        fn nothing_is_found_beyond_the_end(bytes: Vec<u8>, end: usize, at in 0usize..80) {
            let end = end % (bytes.len() + 1);
            let text = Text::upto(&bytes, end);
            let expected = (at..end).find(|at| matches!(bytes[*at], b'"' | b'\\')).unwrap_or(end);
            prop_assert_eq!(text.find(at, Lanes::quotes), expected);
        }
    }
}
