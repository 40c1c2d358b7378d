//! Finding octets: the ends of lines, quoted strings, blanks, tokens, numbers.
//!
//! What was learnt about speed here (`cargo bench --bench parse -- --ratio`; counted by callgrind, since noise hides steps of a
//! few nanoseconds):
//!
//! - A position is cut to 32 bits before it bounds a slice ([`chunk`]): one comparison then covers start and end.
//! - Sixteen octets go from the slice into the register. When the rare load at the end of a buffer shares the variable, both
//!   go through memory, and each search waits for the store: the rare case returns on its own ([`Text::find`]).
//! - Results are written where they stay. A struct of many `u16` that is built and then moved is packed by shifts, or stored
//!   narrow and loaded wide, which no processor forwards.
//! - Eight digits at once (SWAR) are no gain: numbers in SIP have two to six. Nor is one bit mask of all delimiters for the
//!   whole message: it costs more than the searches that it would answer.

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

/// `N` octets from `at`, if there are as many. No position comes near to 2^32; saying so here makes it one comparison.
#[inline(always)]
pub(super) fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    let at = at as u32 as usize;
    bytes.get(at..at + N)?.first_chunk()
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
        chunk(self.bytes, at) == Some(octets)
    }

    /// The first position from `at` on whose octet is in the class, else the end.
    #[inline(always)]
    pub fn find(self, mut at: usize, class: impl Fn(Lanes) -> u32) -> usize {
        while at < self.end() {
            let Some(octets) = chunk(self.buffer, at) else { return self.find_in_last(at, class) };
            let found = class(Lanes::new(*octets));
            if found != 0 {
                return self.end().min(at + found.trailing_zeros() as usize);
            }
            at += 16;
        }
        self.end()
    }

    /// The same where less than sixteen octets are left in the buffer.
    #[cold]
    #[inline(never)]
    fn find_in_last(self, at: usize, class: impl Fn(Lanes) -> u32) -> usize {
        let mut octets = [0; 16];
        for (octet, found) in octets.iter_mut().zip(self.buffer.get(at..).unwrap_or_default()) {
            *octet = *found;
        }
        let found = class(Lanes::new(octets)) | 1 << 16;
        self.end().min(at + found.trailing_zeros() as usize)
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

impl<'a> Controls<'a> {
    #[inline(always)]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, base: 0, left: Self::mask(bytes, 0) }
    }

    #[inline(always)]
    fn mask(bytes: &[u8], base: usize) -> u64 {
        let end;
        let block: &[u8; 64] = match chunk(bytes, base) {
            Some(block) => block,
            None => {
                end = last_block(bytes, base);
                &end
            }
        };
        let (quarters, _) = block.as_chunks::<16>();
        quarters.iter().rev().fold(0, |mask, quarter| mask << 16 | u64::from(Lanes::new(*quarter).controls()))
    }

    /// The position of the next CRLF, which is passed, or what stands in its way: another control, or the end of the buffer.
    #[inline(always)]
    pub fn line_end(&mut self) -> Result<usize, usize> {
        loop {
            while self.left == 0 {
                self.base += 64;
                self.left = Self::mask(self.bytes, self.base);
            }
            let bit = self.left.trailing_zeros();
            let at = self.base + bit as usize;
            if chunk(self.bytes, at) == Some(b"\r\n") {
                // Of a pair that straddles two blocks the LF is left for the next block.
                self.left &= (!0b11_u64).rotate_left(bit);
                return Ok(at);
            }
            self.left &= self.left - 1;
            if bit != 0 || !is_left_over(self.bytes, at) {
                return Err(at);
            }
        }
    }
}

/// True for the LF of a CRLF that was passed.
#[cold]
#[inline(never)]
fn is_left_over(bytes: &[u8], at: usize) -> bool {
    at > 0 && chunk(bytes, at - 1) == Some(b"\r\n")
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

/// The start of a line: sixteen octets, and where the first colon is among them; `None` if there is none.
#[inline(always)]
pub(super) fn line_start(bytes: &[u8], at: usize) -> Option<(u128, usize)> {
    let octets = chunk(bytes, at)?;
    let colons = Lanes::new(*octets).equal(b':');
    (colons != 0).then(|| (u128::from_le_bytes(*octets), colons.trailing_zeros() as usize))
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
                match controls.line_end() {
                    Ok(at) => {
                        prop_assert!(bytes[at..].starts_with(b"\r\n"));
                        found.extend([at, at + 1]);
                    }
                    Err(at) if at >= bytes.len() => break,
                    Err(at) => {
                        prop_assert!(!bytes[at..].starts_with(b"\r\n"));
                        found.push(at);
                    }
                }
            }
            prop_assert_eq!(found, expected);
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
