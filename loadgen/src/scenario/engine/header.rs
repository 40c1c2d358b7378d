//! Headers of a received message, looked up by name when a scenario asks for one. RFC 3261 §7.3.

use memchr::{memchr, memmem};

/// Long and compact forms (RFC 3261 §7.3.3 and the headers' own RFCs).
const COMPACT: [(&str, &str); 8] = [
    ("call-id", "i"),
    ("contact", "m"),
    ("content-length", "l"),
    ("content-type", "c"),
    ("from", "f"),
    ("subject", "s"),
    ("to", "t"),
    ("via", "v"),
];

fn is(found: &[u8], wanted: &str) -> bool {
    let alike = |name: &str| found.eq_ignore_ascii_case(name.as_bytes());
    alike(wanted)
        || COMPACT.iter().any(|(long, short)| {
            wanted.eq_ignore_ascii_case(long) && alike(short) || wanted.eq_ignore_ascii_case(short) && alike(long)
        })
}

/// What follows the colon, blanks included, of every header of this name.
pub fn values<'a>(message: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let head = &message[..memmem::find(message, b"\r\n\r\n").unwrap_or(message.len())];
    lines(head).filter_map(move |line| {
        let colon = memchr(b':', line)?;
        is(line[..colon].trim_ascii(), name).then(|| &line[colon + 1..])
    })
}

/// Lines after the first; folds stay inside.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = memchr(b'\n', head).map_or(&head[..0], |end| &head[end + 1..]);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut end = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        while matches!(rest.get(end), Some(b' ' | b'\t')) {
            end += memchr(b'\n', &rest[end..]).map_or(rest.len() - end, |next| next + 1);
        }
        let line = &rest[..end];
        rest = &rest[end..];
        Some(line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line)))
    })
}

/// All values of a header, joined as RFC 3261 §7.3.1 allows; `None` if there is none.
pub fn joined(message: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut out: Option<Vec<u8>> = None;
    for value in values(message, name) {
        match &mut out {
            Some(out) => {
                out.extend_from_slice(b", ");
                out.extend_from_slice(value.trim_ascii());
            }
            None => out = Some(value.trim_ascii().to_vec()),
        }
    }
    out
}

/// After the empty line.
pub fn body(message: &[u8]) -> &[u8] {
    memmem::find(message, b"\r\n\r\n").map_or(b"", |end| &message[end + 4..])
}

/// The first line without its end.
pub fn first_line(message: &[u8]) -> &[u8] {
    message[..memchr(b'\n', message).unwrap_or(message.len())].trim_ascii_end()
}

/// A word of the first line.
pub fn word(message: &[u8], number: usize) -> &[u8] {
    first_line(message).split(|&byte| byte == b' ').nth(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MESSAGE: &[u8] =
        b"INVITE sip:a SIP/2.0\r\nVia: one\r\nX-Multi: 1\r\n  folded\r\nv: two\r\nm: <sip:c>\r\n\r\nbody: x\r\n";

    #[test]
    fn headers_are_found_by_either_name() {
        assert_eq!(joined(MESSAGE, "Via").unwrap(), b"one, two");
        assert_eq!(values(MESSAGE, "contact").next(), Some(&b" <sip:c>"[..]));
        assert_eq!(values(MESSAGE, "x-multi").next(), Some(&b" 1\r\n  folded"[..]));
        assert_eq!((joined(MESSAGE, "body"), body(MESSAGE)), (None, &b"body: x\r\n"[..]));
        assert_eq!((word(MESSAGE, 1), word(MESSAGE, 7)), (&b"sip:a"[..], &b""[..]));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = (joined(&bytes, "a"), body(&bytes), word(&bytes, 1));
        }
    }
}
