//! Patterns of the flow files: `*` is any text, `{name}` what that name stood for the first time, `!` turns round.

use std::collections::BTreeMap;

/// What names stand for.
pub type Names = BTreeMap<String, String>;

/// True when `text` is as `pattern` says; names met for the first time are learnt.
pub fn matches(pattern: &str, text: &str, names: &mut Names) -> bool {
    if let Some(pattern) = pattern.strip_prefix('!') {
        return !fits(pattern, text, &mut names.clone());
    }
    let mut learnt = names.clone();
    let fits = fits(pattern, text, &mut learnt);
    if fits {
        *names = learnt;
    }
    fits
}

fn fits(pattern: &str, text: &str, names: &mut Names) -> bool {
    let Some(first) = pattern.chars().next() else { return text.is_empty() };
    if first == '*' {
        let rest = &pattern[1..];
        return places(text).any(|at| {
            let mut learnt = names.clone();
            let fits = fits(rest, &text[at..], &mut learnt);
            if fits {
                *names = learnt;
            }
            fits
        });
    }
    if let Some((name, rest)) = pattern.strip_prefix('{').and_then(|pattern| pattern.split_once('}')) {
        if let Some(known) = names.get(name) {
            return text.strip_prefix(known.as_str()).is_some_and(|text| fits(rest, text, &mut names.clone()));
        }
        return places(text).skip(1).any(|at| {
            let mut learnt = names.clone();
            learnt.insert(name.to_owned(), text[..at].to_owned());
            let fits = fits(rest, &text[at..], &mut learnt);
            if fits {
                *names = learnt;
            }
            fits
        });
    }
    text.strip_prefix(first).is_some_and(|text| fits(&pattern[first.len_utf8()..], text, names))
}

fn places(text: &str) -> impl Iterator<Item = usize> {
    text.char_indices().map(|(at, _)| at).chain(std::iter::once(text.len()))
}

/// Puts in what names stand for.
pub fn fill(text: &str, names: &Names) -> String {
    names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

/// Says what is wrong with this file's own work, if anything.
pub fn self_test() -> Result<(), String> {
    let mut names = Names::from([("bob".to_owned(), "10.0.0.2:5060".to_owned())]);
    let cases = [
        ("<sip:bob@{bob}>*expires=*", "<sip:bob@10.0.0.2:5060>;q=1;expires=60", true),
        ("<sip:bob@{bob}>", "<sip:bob@10.0.0.3:5060>", false),
        ("*;tag={tag}", "<sip:a@b>;tag=77", true),
        ("!*;tag={tag}", "<sip:a@b>;tag=77", false),
        ("!*;tag={tag}", "<sip:a@b>;tag=78", true),
        ("{tag}", "77", true),
        ("", "x", false),
    ];
    for (pattern, text, expected) in cases {
        if matches(pattern, text, &mut names) != expected {
            return Err(format!("pattern {pattern:?} on {text:?} is not {expected}"));
        }
    }
    Ok(())
}
