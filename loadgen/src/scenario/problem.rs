//! What is wrong with a scenario, where, and what could be meant instead.

use std::fmt;

use strsim::jaro_winkler;

/// Below this, a name is no likely slip for another.
const ALIKE: f64 = 0.8;

/// Line and column of a file, both from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Column, in characters.
    pub column: u32,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file it is in.
    pub file: String,
    /// Where in it.
    pub at: Position,
    /// What it is, and what to do.
    pub sentence: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.at.line, self.at.column, self.sentence)
    }
}

/// `; did you mean X?` for the most alike of `known`, otherwise `; supported here: …`.
pub fn instead(word: &str, known: &[&str]) -> String {
    let lower = word.to_ascii_lowercase();
    let score = |known: &str| jaro_winkler(&lower, &known.to_ascii_lowercase());
    let best = known.iter().max_by(|a, b| score(a).total_cmp(&score(b))).filter(|best| score(best) >= ALIKE);
    match best {
        Some(best) => format!("; did you mean {best}?"),
        None if known.is_empty() => String::new(),
        None => format!("; supported here: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_gets_the_word_that_was_meant_and_anything_else_the_list() {
        assert_eq!(instead("respnose", &["request", "response"]), "; did you mean response?");
        assert_eq!(instead("Retrans", &["lost", "retrans"]), "; did you mean retrans?");
        assert_eq!(instead("xyz", &["lost", "retrans"]), "; supported here: lost, retrans");
        assert_eq!(instead("xyz", &[]), "");
    }
}
