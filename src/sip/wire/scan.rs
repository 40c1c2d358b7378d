//! Finding octets: the ends of lines and the colons behind names, quoted strings, blanks, tokens.

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
pub(super) fn octet(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// The first position from `at` that is no LWS.
pub(super) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while is_space(octet(bytes, at)) {
        at += 1;
    }
    at
}

/// The first position from `at` that is no token octet.
pub(super) fn skip_token(bytes: &[u8], mut at: usize) -> usize {
    while is_token(octet(bytes, at)) {
        at += 1;
    }
    at
}

/// The position behind the closing quote of the quoted string that opens at `at`.
pub(super) fn skip_quoted(bytes: &[u8], at: usize) -> Option<usize> {
    debug_assert_eq!(octet(bytes, at), b'"');
    let mut at = at + 1;
    loop {
        match *bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// `text` without LWS at either end.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|octet| !is_space(*octet)).unwrap_or(text.len());
    let end = text.iter().rposition(|octet| !is_space(*octet)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// A decimal number of any length, saturating; `None` if it is empty or has another octet.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        digit.is_ascii_digit().then(|| value.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    })
}
