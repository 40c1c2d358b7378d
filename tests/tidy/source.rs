//! Rust source as the rules see it: comments and literals blanked out, tokens with their lines, paths unrolled.
//!
//! Not a compiler's parser: it understands exactly as much as the rules of `tests/tidy.rs` ask about.

/// One token of the blanked source: a word, `::`, or a single character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// A `mod name { … }` written inside a file, and where it begins and ends (token indices).
#[derive(Clone, Debug)]
pub struct Inline {
    pub from: usize,
    pub to: usize,
    /// Stands below `#[cfg(test)]`.
    pub test: bool,
}

/// The same text with every comment, string and character literal replaced by blanks; line breaks stay.
pub fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end > at {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `at` itself when none begins there.
fn literal_end(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1).copied();
    let word_before = at > 0 && is_word(chars[at - 1]);
    match chars[at] {
        '/' if next == Some('/') => chars[at..].iter().position(|&c| c == '\n').map_or(chars.len(), |n| at + n),
        '/' if next == Some('*') => block_comment_end(chars, at),
        '"' => quoted_end(chars, at),
        'r' | 'b' | 'c' if !word_before => prefixed_end(chars, at),
        '\'' => character_end(chars, at),
        _ => at,
    }
}

fn block_comment_end(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

fn quoted_end(chars: &[char], open: usize) -> usize {
    let mut at = open + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// `r"…"`, `r#"…"#`, `b"…"`, `br#"…"#`, `b'…'`; a plain word that begins with these letters ends where it begins.
fn prefixed_end(chars: &[char], start: usize) -> usize {
    let mut at = start;
    while matches!(chars.get(at), Some('b' | 'c' | 'r')) && at - start < 2 {
        at += 1;
    }
    let raw = chars[start..at].contains(&'r');
    let hashes = chars[at..].iter().take_while(|&&c| raw && c == '#').count();
    match chars.get(at + hashes) {
        Some('"') if raw => {
            let body = at + hashes + 1;
            let closes = |from: usize| {
                chars[from] == '"' && chars[from + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes
            };
            (body..chars.len()).find(|&from| closes(from)).map_or(chars.len(), |from| from + 1 + hashes)
        }
        Some('"') => quoted_end(chars, at),
        Some('\'') if hashes == 0 && chars[start] == 'b' => character_end(chars, at),
        _ => start,
    }
}

/// A character literal, told apart from a lifetime by its closing quote.
fn character_end(chars: &[char], at: usize) -> usize {
    if chars.get(at + 1) == Some(&'\\') {
        return chars[at + 3..].iter().position(|&c| c == '\'').map_or(chars.len(), |n| at + 4 + n);
    }
    if chars.get(at + 2) == Some(&'\'') { at + 3 } else { at }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Splits blanked text into tokens.
pub fn tokens(blanked: &str) -> Vec<Token> {
    let mut out = Vec::new();
    for (number, row) in blanked.lines().enumerate() {
        let chars: Vec<char> = row.chars().collect();
        let mut at = 0;
        while at < chars.len() {
            let length = match chars[at] {
                c if c.is_whitespace() => 0,
                c if is_word(c) => chars[at..].iter().take_while(|&&c| is_word(c)).count(),
                ':' if chars.get(at + 1) == Some(&':') => 2,
                _ => 1,
            };
            if length > 0 {
                out.push(Token { text: chars[at..at + length].iter().collect(), line: number + 1 });
            }
            at += length.max(1);
        }
    }
    out
}

/// Every path that begins with the word `root`, groups unrolled: `crate::{a, b::{c, d}}` gives `a`, `b::c` and `b::d`.
pub fn paths(tokens: &[Token], root: &str) -> Vec<(Vec<String>, usize)> {
    let mut out = Vec::new();
    for at in 0..tokens.len() {
        let inside = at > 0 && tokens[at - 1].text == "::";
        if tokens[at].text == root && !inside && text(tokens, at + 1) == "::" {
            unroll(tokens, at + 2, &[], &mut out);
        }
    }
    out
}

/// Reads one use-tree at `at` below `prefix`; returns the token after it.
fn unroll(tokens: &[Token], mut at: usize, prefix: &[String], out: &mut Vec<(Vec<String>, usize)>) -> usize {
    let Some(token) = tokens.get(at) else { return at };
    if token.text == "{" {
        at += 1;
        while at < tokens.len() && text(tokens, at) != "}" {
            at = if text(tokens, at) == "," { at + 1 } else { unroll(tokens, at, prefix, out).max(at + 1) };
        }
        return at + 1;
    }
    let mut path = prefix.to_vec();
    path.push(token.text.clone());
    if text(tokens, at + 1) == "::" && (text(tokens, at + 2) == "{" || is_name(text(tokens, at + 2))) {
        return unroll(tokens, at + 2, &path, out);
    }
    out.push((path, token.line));
    at += 1;
    if text(tokens, at) == "as" { at + 2 } else { at }
}

fn is_name(text: &str) -> bool {
    text == "*" || text.chars().all(is_word) && !text.is_empty()
}

/// The text of token `at`, or nothing behind the end.
pub fn text(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| token.text.as_str())
}

/// The token that closes the brace opened at `open`.
pub fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len().saturating_sub(1)
}

/// Each function with a body: its name, the line of `fn`, and how many lines it takes.
pub fn functions(tokens: &[Token]) -> Vec<(String, usize, usize)> {
    let mut out = Vec::new();
    for at in 0..tokens.len() {
        let name = text(tokens, at + 1);
        if tokens[at].text != "fn" || !is_name(name) {
            continue;
        }
        let mut nesting = 0_i32;
        for open in at + 2..tokens.len() {
            match text(tokens, open) {
                "(" | "[" => nesting += 1,
                ")" | "]" => nesting -= 1,
                ";" if nesting == 0 => break,
                "{" if nesting == 0 => {
                    let last = tokens[closing(tokens, open)].line;
                    out.push((name.to_owned(), tokens[at].line, last - tokens[at].line + 1));
                    break;
                }
                _ => {}
            }
        }
    }
    out
}

/// The modules written inside this file.
pub fn inline_modules(tokens: &[Token]) -> Vec<Inline> {
    (0..tokens.len())
        .filter(|&at| tokens[at].text == "mod" && is_name(text(tokens, at + 1)) && text(tokens, at + 2) == "{")
        .map(|at| {
            let above: Vec<&str> = tokens[at.saturating_sub(7)..at].iter().map(|t| t.text.as_str()).collect();
            Inline {
                from: at + 2,
                to: closing(tokens, at + 2),
                test: above == ["#", "[", "cfg", "(", "test", ")", "]"],
            }
        })
        .collect()
}
