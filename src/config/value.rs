//! Values with units, and their canonical text.

use std::fmt::Write as _;

use crate::base::time::Duration;

const SPANS: [(&str, u64); 6] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];

const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// Reads `20ms`, `5s`, `2m`, `1h`, `7d`, `250us`. The error says what is wrong.
///
/// # Errors
/// No number, no unit, an unknown one, or too long.
pub fn span(text: &str) -> Result<Duration, String> {
    with_unit(text, &SPANS).map(Duration::from_micros)
}

/// Reads `512B`, `64KiB`, `4MiB`, `1GiB`, `10MB`. The error says what is wrong.
///
/// # Errors
/// No number, no unit, an unknown one, or too many.
pub fn size(text: &str) -> Result<u64, String> {
    with_unit(text, &SIZES)
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim_start());
    let names = || units.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if number.is_empty() {
        return Err(format!("a whole number and a unit ({}) are expected", names()));
    }
    if unit.is_empty() {
        return Err(format!("the unit is missing: one of {}", names()));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("`{unit}` is not one of {}", names()));
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor)).ok_or_else(|| "too large".to_owned())
}

/// The shortest text that [`span`] reads back.
#[must_use]
pub fn span_text(span: Duration) -> String {
    let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    if micros == 0 {
        return "0s".to_owned();
    }
    largest(micros, &SPANS)
}

/// The shortest text that [`size`] reads back, in binary units.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    largest(bytes, &SIZES[..4])
}

fn largest(value: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, factor): &&(&str, u64)| value >= *factor && value.is_multiple_of(*factor);
    let (name, factor) = units.iter().rev().find(fits).unwrap_or(&units[0]);
    format!("{}{name}", value / factor)
}

/// A TOML basic string.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            letter if letter.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_asked_for() {
        assert_eq!(span("20ms"), Ok(Duration::from_millis(20)));
        assert_eq!(span("1 h"), Ok(Duration::from_secs(3600)));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert!(span("20").unwrap_err().starts_with("the unit is missing"));
        assert!(span("20msec").unwrap_err().starts_with("`msec` is not one of"));
        assert!(span("fast").unwrap_err().starts_with("a whole number"));
        assert_eq!(span("99999999999999999999d"), Err("too large".into()));
    }

    proptest! {
        #[test]
        fn text_reads_back(micros in 0u64..1 << 50, bytes: u64) {
            prop_assert_eq!(span(&span_text(Duration::from_micros(micros))), Ok(Duration::from_micros(micros)));
            prop_assert_eq!(size(&size_text(bytes)), Ok(bytes));
        }

        #[test]
        fn quoted_text_is_toml(text: String) {
            let document = format!("key = {}", quoted(&text));
            let table: toml::Table = toml::from_str(&document).unwrap();
            prop_assert_eq!(table["key"].as_str(), Some(text.as_str()));
        }
    }
}
