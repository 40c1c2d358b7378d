//! User names with a number in them: `user{}`, `user{:05}`.

use bytes::BufMut;
use strowger::base::Random;

/// Text with at most one hole for a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    before: String,
    hole: Option<(usize, String)>,
}

impl Pattern {
    /// Reads `user{}` or `user{:05}`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((before, rest)) = text.split_once('{') else {
            return Ok(Self { before: text.to_string(), hole: None });
        };
        let (inside, after) = rest.split_once('}').ok_or_else(|| format!("'{text}': '{{' without '}}'"))?;
        let width = inside.strip_prefix(':').unwrap_or(inside).trim_start_matches('0');
        let width = if width.is_empty() { 0 } else { width.parse().map_err(|_| bad(text))? };
        if width > 20 || after.contains('{') {
            return Err(bad(text));
        }
        Ok(Self { before: before.to_string(), hole: Some((width, after.to_string())) })
    }

    /// The text for one number.
    pub fn fill(&self, number: u64) -> String {
        let mut out = Vec::with_capacity(64);
        self.write(&mut out, number);
        String::from_utf8(out).expect("a name and digits are text")
    }

    /// Appends the text for one number.
    pub fn write(&self, out: &mut impl BufMut, number: u64) {
        out.put_slice(self.before.as_bytes());
        let Some((width, after)) = &self.hole else { return };
        let digits = number.checked_ilog10().map_or(1, |log| log as usize + 1);
        out.put_bytes(b'0', width.saturating_sub(digits));
        let mut text = [0; 20];
        let mut left = number;
        for place in text[..digits].iter_mut().rev() {
            *place = b'0' + (left % 10) as u8;
            left /= 10;
        }
        out.put_slice(&text[..digits]);
        out.put_slice(after.as_bytes());
    }

    /// True when every number gives another text.
    pub fn is_numbered(&self) -> bool {
        self.hole.is_some()
    }
}

fn bad(text: &str) -> String {
    format!("'{text}': write one {{}} or {{:05}} where the user's number goes")
}

/// A random lower-case hexadecimal word.
pub fn word(random: &mut Random) -> [u8; 16] {
    random.hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_filled_in() {
        let fill = |text| Pattern::parse(text).map(|pattern| pattern.fill(7));
        assert_eq!(fill("alice"), Ok("alice".into()));
        assert_eq!(fill("u{}x"), Ok("u7x".into()));
        assert_eq!(fill("+1555{:05}"), Ok("+155500007".into()));
        let long = |number| Pattern::parse("u{:03}").map(|pattern| pattern.fill(number));
        assert_eq!([long(0), long(u64::MAX)], ["u000", "u18446744073709551615"].map(|text| Ok(text.into())));
        assert!(fill("u{").is_err() && fill("u{x}").is_err() && fill("u{}{}").is_err() && fill("{:99}").is_err());
    }
}
