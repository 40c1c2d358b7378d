//! Reads text with keywords in it: a message to send, or the value of an attribute.
//!
//! Lines lose the blanks in front, as SIPp has it, and end in CRLF; a message without a body ends after its empty line, a
//! body after its last line. A line of nothing but keywords that stand for nothing goes away.

use super::keyword::{self, Word, Words};
use super::text::{Key, Part, Text};

/// Something wrong with a text: where in it, and what.
pub type Fault = (usize, String);

/// Reads a message; what is wrong is collected.
pub fn message(raw: &str, words: &mut Words<'_>, faults: &mut Vec<Fault>) -> Text {
    let start = raw.len() - raw.trim_start().len();
    let content = raw[start..].trim_end();
    let mut text = Text::default();
    let (mut at, mut has_body) = (start, false);
    for line in content.split('\n') {
        let lead = line.len() - line.trim_start().len();
        has_body |= line.trim().is_empty();
        let vanishes = read(&line[lead..], at + lead, words, faults, &mut text);
        if vanishes {
            text.parts.push(Part::Break)
        } else {
            text.push(b"\r\n")
        }
        at += line.len() + 1;
    }
    if !has_body {
        text.push(b"\r\n");
    }
    text
}

/// Reads the value of an attribute.
pub fn inline(raw: &str, words: &mut Words<'_>) -> Result<Text, String> {
    let (mut text, mut faults) = (Text::default(), Vec::new());
    read(raw, 0, words, &mut faults, &mut text);
    match faults.pop() {
        Some((_, sentence)) => Err(sentence),
        None => Ok(text),
    }
}

/// Appends a line without its end; true if nothing may remain of it.
fn read(line: &str, at: usize, words: &mut Words<'_>, faults: &mut Vec<Fault>, text: &mut Text) -> bool {
    let (mut rest, mut offset, mut vanishes, mut plain) = (line, at, false, false);
    while let Some(first) = rest.chars().next() {
        let used = match first {
            '[' => {
                let Some(end) = closing(rest) else {
                    faults.push((
                        offset,
                        "'[' begins a keyword that is not closed; write \\x5b for the character".into(),
                    ));
                    return false;
                };
                match keyword::read(&rest[1..end], words).and_then(|word| resolve(word, words)) {
                    Ok(Part::Bytes(bytes)) => text.push(&bytes),
                    Ok(part) => {
                        let may_vanish = matches!(&part, Part::Key(key) if key.may_vanish());
                        vanishes |= may_vanish;
                        plain |= !may_vanish;
                        text.parts.push(part);
                    }
                    Err(sentence) => faults.push((offset, sentence)),
                }
                end + 1
            }
            '\\' if hex(rest).is_some() => {
                text.push(&[hex(rest).unwrap_or_default()]);
                plain = true;
                4
            }
            _ => {
                let next = first.len_utf8();
                let end = rest[next..].find(['[', '\\']).map_or(rest.len(), |at| next + at);
                text.push(&rest.as_bytes()[..end]);
                plain |= !rest[..end].trim().is_empty();
                end
            }
        };
        offset += used;
        rest = &rest[used..];
    }
    vanishes && !plain
}

/// Reads the texts inside a keyword.
fn resolve(word: Word, words: &mut Words<'_>) -> Result<Part, String> {
    let mut inner = |text: Option<String>| text.map(|text| inline(&text, words)).transpose();
    let key = match word {
        Word::Bytes(bytes) => return Ok(Part::Bytes(bytes)),
        Word::Key(key) => key,
        Word::Field { field, file, line } => Key::Field { field, file, line: inner(line)? },
        Word::Authentication { user, password } => Key::Authentication(inner(user)?, inner(password)?),
    };
    Ok(Part::Key(key))
}

/// `\x5b`.
fn hex(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("\\x")?.get(..2)?;
    u8::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The bracket that closes the one at the front.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    text.char_indices().find_map(|(at, c)| {
        depth += i32::from(c == '[') - i32::from(c == ']');
        (depth == 0).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::variable::Variables;
    use proptest::prelude::*;

    fn with<T>(test: impl FnOnce(&mut Words<'_>) -> T) -> T {
        let keys = [("mine".to_string(), "value".to_string())];
        let files = ["dir/a.csv".to_string()];
        let mut variables = Variables::default();
        let load =
            |name: &str| if name == "there" { Ok(b"inside".to_vec()) } else { Err(format!("{name}: no such file")) };
        test(&mut Words { variables: &mut variables, keys: &keys, files: &files, load: &load })
    }

    fn read_message(raw: &str) -> (Text, Vec<Fault>) {
        let mut faults = Vec::new();
        let text = with(|words| message(raw, words, &mut faults));
        (text, faults)
    }

    fn bytes(text: &str) -> Part {
        Part::Bytes(text.as_bytes().to_vec())
    }

    #[test]
    fn lines_lose_their_lead_and_end_in_crlf() {
        let (text, faults) = read_message("\n\n   A [mine] \\x5bx]\n   B: [call_id]\n \n   body\n\n  ");
        assert_eq!(faults, []);
        let expected = [bytes("A value [x]\r\nB: "), Part::Key(Key::CallId), bytes("\r\n\r\nbody\r\n")];
        assert_eq!(text.parts, expected);
        assert_eq!(read_message("A\nB\n").0.parts, [bytes("A\r\nB\r\n\r\n")], "no body");
    }

    #[test]
    fn a_line_of_one_keyword_may_vanish() {
        let (text, _) = read_message("A\n[routes]\nTo[last_To:]\n");
        let last = Key::Last("To".into(), false);
        assert_eq!(
            text.parts,
            [bytes("A\r\n"), Part::Key(Key::Routes), Part::Break, bytes("To"), Part::Key(last), bytes("\r\n\r\n")]
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (raw, place, said) in [
            ("A [remote_prot]", 2, "did you mean remote_port?"),
            ("A\n   [foo", 5, "not closed"),
            ("A [foo bar]", 2, "--key foo VALUE"),
            ("[field0 file=b.csv]", 0, "no --inf b.csv was given"),
            ("[field0 lines=1]", 0, "did you mean line?"),
            ("x[fill]", 1, "variable=NAME"),
            ("[file name=gone]", 0, "no such file"),
            ("[$]", 0, "name of a variable"),
            ("[tdmmap]", 0, "not supported"),
            ("[authentication user=x]", 0, "did you mean username?"),
        ] {
            let faults = read_message(raw).1;
            assert_eq!(faults.len(), 1, "{raw}: {faults:?}");
            assert!(faults[0].0 == place && faults[0].1.contains(said), "{raw}: {faults:?}");
        }
        assert_eq!(read_message("[field3 file=a.csv line=[$n]] [file name=there]").1, []);
    }

    proptest! {
        #[test]
        fn no_text_panics(raw in "[\\[\\]$a-f\\\\x0-9= \"\n+é-]{0,40}", other: String) {
            read_message(&raw);
            read_message(&other);
        }
    }
}
