//! POSIX extended regular expressions, as scenarios use them, for the `regex` crate.
//!
//! What differs is translated: brackets (a backslash is itself there, `[` and `&` are plain), `{` that begins no count, a
//! dot that matches line ends too. What cannot be translated is refused with a sentence. One difference stays: of several
//! alternatives the first that fits wins, where POSIX takes the longest.

use regex::bytes::{Regex, RegexBuilder};

/// Largest compiled form.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// Compiles `pattern`; an error is a sentence.
pub fn compile(pattern: &str, ignore_case: bool) -> Result<Regex, String> {
    let translated = translate(pattern)?;
    let mut builder = RegexBuilder::new(&translated);
    builder.unicode(false).dot_matches_new_line(true).size_limit(COMPILED_BYTES_MAX).case_insensitive(ignore_case);
    builder.build().map_err(|error| {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        format!("'{pattern}' is no regular expression: {}", last.trim_start_matches("error: "))
    })
}

fn translate(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let used = match first {
            '[' => bracket(rest, &mut out).ok_or_else(|| format!("'{pattern}': a '[' is not closed"))?,
            '\\' => escape(pattern, rest, &mut out)?,
            '{' if !is_count(rest) => {
                out.push_str("\\{");
                1
            }
            // A plain pattern may be preceded by (?: in no POSIX expression.
            '(' if rest.starts_with("(?") => {
                return Err(format!("'{pattern}': '(?' is no part of POSIX expressions, which SIPp uses"));
            }
            _ => {
                out.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[used..];
    }
    Ok(out)
}

/// `{3}`, `{1,}`, `{1,3}`.
fn is_count(text: &str) -> bool {
    let Some(end) = text.find('}') else { return false };
    let (low, high) = text[1..end].split_once(',').unwrap_or((&text[1..end], ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !low.is_empty() && digits(low) && digits(high)
}

fn escape(pattern: &str, text: &str, out: &mut String) -> Result<usize, String> {
    let Some(next) = text[1..].chars().next() else {
        return Err(format!("'{pattern}' ends in a backslash"));
    };
    match next {
        'd' => Err(format!("'{pattern}': \\d is no part of POSIX expressions; write [0-9]")),
        '1'..='9' => Err(format!("'{pattern}': references back (\\{next}) are not supported")),
        '`' => Ok(push(out, "\\A", 2)),
        '\'' => Ok(push(out, "\\z", 2)),
        'w' | 'W' | 's' | 'S' | 'b' | 'B' | '<' | '>' => Ok(push(out, &text[..2], 2)),
        'r' | 'n' | 't' => Err(format!(
            "'{pattern}': \\{next} is the plain letter in POSIX expressions; write [[:space:]], or the character as &#{}; in the XML",
            match next {
                'r' => 13,
                'n' => 10,
                _ => 9,
            }
        )),
        letter if letter.is_ascii_alphanumeric() => {
            Err(format!("'{pattern}': \\{letter} means nothing in POSIX expressions; leave the backslash out"))
        }
        sign if sign.is_ascii() => Ok(push(out, &text[..2], 2)),
        other => Ok(push(out, &text[1..1 + other.len_utf8()], 1 + other.len_utf8())),
    }
}

fn push(out: &mut String, text: &str, used: usize) -> usize {
    out.push_str(text);
    used
}

/// Translates the bracket expression at the front; returns its length.
fn bracket(text: &str, out: &mut String) -> Option<usize> {
    let mut at = 1;
    out.push('[');
    if text[at..].starts_with('^') {
        out.push('^');
        at += 1;
    }
    let first = at;
    loop {
        let next = text[at..].chars().next()?;
        match next {
            ']' if at > first => {
                out.push(']');
                return Some(at + 1);
            }
            '[' if text[at..].starts_with("[:") => {
                let end = at + text[at..].find(":]")? + 2;
                out.push_str(&text[at..end]);
                at = end;
                continue;
            }
            '[' | ']' | '\\' | '&' | '~' | '^' => {
                out.push('\\');
                out.push(next);
            }
            // A dash between two characters makes a range; first or last it is itself.
            '-' if at == first || text[at + 1..].starts_with(']') => out.push_str("\\-"),
            _ => out.push(next),
        }
        at += next.len_utf8();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found<'a>(pattern: &str, text: &'a str) -> Option<&'a str> {
        let regex = compile(pattern, false).unwrap();
        regex.find(text.as_bytes()).map(|found| std::str::from_utf8(found.as_bytes()).unwrap())
    }

    #[test]
    fn the_expressions_of_the_built_in_scenarios() {
        let message = "SIP/2.0 200 OK\r\nContact: <sip:127.0.0.1:5060>\r\n\r\no=user1 53655765 2353687637 IN IP4";
        let address = "[0-9]{1,3}[.][0-9]{1,3}[.][0-9]{1,3}[.][0-9]{1,3}[:][0-9]{1,5}";
        assert_eq!(found(address, message), Some("127.0.0.1:5060"));
        let origin = "o=([[:alnum:]]*) ([[:alnum:]]*) ([[:alnum:]]*)";
        assert_eq!(found(origin, message), Some("o=user1 53655765 2353687637"));
        assert_eq!(found(".*", message), Some(message), "a dot matches line ends");
    }

    #[test]
    fn brackets_are_posix() {
        assert_eq!(found("[]a]+", "x]a]"), Some("]a]"));
        assert_eq!(found("[^]a]+", "]xy]"), Some("xy"));
        assert_eq!(found(r"[\.]+", r"a\.b"), Some(r"\."));
        assert_eq!(found("[[]", "a[b"), Some("["));
        assert_eq!(found("[a&&b]+", "&&"), Some("&&"));
        assert_eq!(found("[a-c-]+", "xb-c"), Some("b-c"));
        assert_eq!(found("username=\\\"([^\\\"]*)\\\"", "username=\"me\""), Some("username=\"me\""));
        assert_eq!(found("a{x", "a{x"), Some("a{x"));
        assert_eq!(found("\\<b", "ab b"), Some("b"));
    }

    #[test]
    fn what_cannot_be_meant_is_a_sentence() {
        for (pattern, said) in [
            (r"\d+", "[0-9]"),
            (r"(a)\1", "references back"),
            ("(?i)a", "no part of POSIX"),
            ("[a", "not closed"),
            ("(a", "unclosed group"),
            ("a\\", "backslash"),
            (r"a\r", "[[:space:]]"),
            ("a{2000}{2000}{2000}", "size"),
        ] {
            let error = compile(pattern, false).unwrap_err();
            assert!(error.contains(said), "{pattern}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_panics(pattern in "[\\[\\]^a-c\\\\(){}0-9,:*+|.&~-]{0,24}", other: String) {
            let _ = (compile(&pattern, false), compile(&other, true));
        }
    }
}
