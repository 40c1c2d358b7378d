//! Files of values (`--inf`): the first line says how lines are chosen, the others hold fields between semicolons.
//!
//! `SEQUENTIAL`, `RANDOM`, `USER`; `,PRINTF=N` makes N lines out of the ones given, with `%d` as their number.

use strowger::base::Random;

use super::keyword::{Load, Words};
use super::parse::inline;
use super::text::Text;
use super::variable::Variables;

/// How the line of a call is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// One after the other.
    Sequential,
    /// Any.
    Random,
    /// By the number of the call's user.
    User,
}

#[derive(Clone, Debug, PartialEq)]
enum Field {
    Plain(Vec<u8>),
    Numbered(String),
    Keywords(Text),
}

/// What a field holds.
#[derive(Debug, PartialEq)]
pub enum Value<'a> {
    /// Bytes.
    Bytes(std::borrow::Cow<'a, [u8]>),
    /// Keywords to be written in their turn.
    Text(&'a Text),
}

/// One file.
#[derive(Clone, Debug, PartialEq)]
pub struct Injection {
    /// As it was given.
    pub name: String,
    /// How lines are chosen.
    pub order: Order,
    lines: Vec<Vec<Field>>,
    made: Option<Made>,
}

/// Lines made by PRINTF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Made {
    count: u64,
    multiple: u64,
    offset: u64,
}

impl Injection {
    /// Reads a file; an error begins with name and line.
    pub fn parse(name: &str, bytes: &[u8], keys: &[(String, String)], load: &Load<'_>) -> Result<Self, String> {
        let text = super::xml::decode(bytes);
        let mut lines = text.lines().zip(1u32..).filter(|(line, _)| !line.starts_with('#'));
        let (head, _) =
            lines.next().ok_or_else(|| format!("{name}: is empty; its first line says SEQUENTIAL, RANDOM or USER"))?;
        let (order, made) = header(head).map_err(|why| format!("{name}:1:1: {why}"))?;
        let mut variables = Variables::default();
        let mut out = Self { name: name.to_string(), order, lines: Vec::new(), made };
        for (line, number) in lines.filter(|(line, _)| !line.trim().is_empty()) {
            let mut words = Words { variables: &mut variables, keys, files: &[], load };
            let mut column = 1;
            let mut fields = Vec::new();
            for part in line.split(';') {
                fields.push(
                    field(part, made.is_some(), &mut words)
                        .map_err(|why| format!("{name}:{number}:{column}: {why}"))?,
                );
                column += part.chars().count() + 1;
            }
            out.lines.push(fields);
        }
        if let Some(variable) = variables.list.first() {
            return Err(format!("{name}: [${}]: variables cannot stand in a file of values", variable.name));
        }
        if out.lines.is_empty() {
            return Err(format!("{name}: has no line of values after its first"));
        }
        Ok(out)
    }

    /// How many lines there are.
    pub fn len(&self) -> u64 {
        self.made.map_or(self.lines.len() as u64, |made| made.count)
    }

    /// The line of a call.
    pub fn line(&self, call: u64, user: u64, random: &mut Random) -> u64 {
        match self.order {
            Order::Sequential => call % self.len(),
            Order::Random => random.below(self.len()),
            Order::User => user % self.len(),
        }
    }

    /// A field of a line; nothing if there is none.
    pub fn field(&self, line: u64, field: usize) -> Option<Value<'_>> {
        let row = &self.lines[(line % self.lines.len() as u64) as usize];
        Some(match row.get(field)? {
            Field::Plain(bytes) => Value::Bytes(bytes.into()),
            Field::Keywords(text) => Value::Text(text),
            Field::Numbered(format) => {
                let made = self.made.unwrap_or_default();
                let number = (line % self.len()).wrapping_mul(made.multiple).wrapping_add(made.offset);
                Value::Bytes(printf(format, number).unwrap_or_default().into_bytes().into())
            }
        })
    }
}

fn header(line: &str) -> Result<(Order, Option<Made>), String> {
    let mut words = line.trim().trim_end_matches(';').split(',').map(str::trim);
    let order = match words.next().unwrap_or_default() {
        "SEQUENTIAL" => Order::Sequential,
        "RANDOM" => Order::Random,
        "USER" | "USERS" => Order::User,
        other => return Err(format!("'{other}' says not how lines are chosen: write SEQUENTIAL, RANDOM or USER")),
    };
    let (mut made, mut any) = (Made { count: 0, multiple: 1, offset: 0 }, false);
    for word in words {
        let (name, value) = word.split_once('=').ok_or_else(|| format!("'{word}' is no NAME=NUMBER"))?;
        let value: u64 = value.trim().parse().map_err(|_| format!("{name}: '{value}' is no number"))?;
        any = true;
        match name.trim() {
            "PRINTF" => made.count = value,
            "PRINTFMULTIPLE" => made.multiple = value,
            "PRINTFOFFSET" => made.offset = value,
            other => return Err(format!("'{other}' is not known: use PRINTF, PRINTFMULTIPLE, PRINTFOFFSET")),
        }
    }
    if any && made.count == 0 {
        return Err("PRINTF=N says how many lines there are; N must be above 0".into());
    }
    Ok((order, any.then_some(made)))
}

fn field(text: &str, numbered: bool, words: &mut Words<'_>) -> Result<Field, String> {
    if text.contains('[') {
        return inline(text, words).map(Field::Keywords);
    }
    if numbered && text.contains('%') {
        printf(text, 0)?;
        return Ok(Field::Numbered(text.to_string()));
    }
    Ok(Field::Plain(text.as_bytes().to_vec()))
}

/// `%d`, `%03d`, `%5d`, `%x`, `%%`.
fn printf(format: &str, number: u64) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), format);
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let width: usize = if end == 0 { 0 } else { after[..end].parse().unwrap_or(usize::MAX) };
        let zeros = after.starts_with('0');
        let kind =
            after[end..].chars().next().filter(|kind| matches!(kind, 'd' | 'i' | 'u' | 'x')).filter(|_| width <= 64);
        let Some(kind) = kind else {
            return Err(format!("'%{after}' is no number: write %d, %03d or %x, and %% for a plain %"));
        };
        out += &match (kind, zeros) {
            ('x', true) => format!("{number:0width$x}"),
            ('x', false) => format!("{number:width$x}"),
            (_, true) => format!("{number:0width$}"),
            (_, false) => format!("{number:width$}"),
        };
        rest = &after[end + 1..];
    }
    Ok(out + rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Injection, String> {
        Injection::parse("u.csv", text.as_bytes(), &[], &|name| Err(format!("{name}: none")))
    }

    fn plain(injection: &Injection, line: u64, field: usize) -> String {
        match injection.field(line, field) {
            Some(Value::Bytes(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn lines_are_chosen_as_the_first_one_says() {
        let file = parse("SEQUENTIAL\n#no\nSarah;1\nBob;2\r\n\nFred;[authentication username=x]\n").unwrap();
        assert_eq!(file.len(), 3);
        let mut random = Random::from_u64(1);
        let of_call = |call| plain(&file, file.line(call, 0, &mut Random::from_u64(1)), 0);
        assert_eq!([0, 1, 2, 3].map(of_call), ["Sarah", "Bob", "Fred", "Sarah"]);
        assert!(matches!(file.field(2, 1), Some(Value::Text(_))));
        assert_eq!(file.field(0, 2), None);
        let user = parse("USER\na\nb").unwrap();
        assert_eq!(user.line(9, 1, &mut random), 1);
        let any = parse("RANDOM\na\nb\nc").unwrap();
        assert!((0..100).map(|call| any.line(call, 0, &mut random)).any(|line| line == 2));
    }

    #[test]
    fn printf_makes_lines() {
        let file = parse("USERS,PRINTF=4,PRINTFMULTIPLE=2,PRINTFOFFSET=100\nuser%03d;p%x%%\nU%6d;q\n").unwrap();
        assert_eq!((file.len(), plain(&file, 2, 0), plain(&file, 2, 1)), (4, "user104".into(), "p68%".into()));
        assert_eq!(plain(&file, 3, 0), "U   106");
    }

    #[test]
    fn what_is_wrong_has_a_line_and_a_column() {
        for (text, said) in [
            ("", "is empty"),
            ("Sarah;1", "u.csv:1:1: 'Sarah;1' says not"),
            ("SEQUENTIAL\n", "no line of values"),
            ("USER,PRINTF=0\nx", "above 0"),
            ("USER,PRINT=3\nx", "'PRINT' is not known"),
            ("USER,PRINTF=3\nab;%s", "u.csv:2:4: '%s' is no number"),
            ("USER\na;[bad]", "u.csv:2:3: [bad] is no keyword"),
            ("USER\n[$x]", "variables cannot stand"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(said), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(USER,PRINTF=3|RANDOM)\n[%0-9dx;a\\[\\]\n]{0,30}", other: String) {
            if let Ok(file) = parse(&text) {
                let _ = (file.field(1, 0), file.field(u64::MAX, 1));
            }
            let _ = parse(&other);
        }
    }
}
