//! What a reload would change, key by key, and which keys need a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::row::Row;
use super::rows::ROWS;

/// A value as it was written, in canonical form.
#[derive(Clone, PartialEq, Eq)]
struct Written {
    row: &'static Row,
    text: String,
}

/// All written values by their full key; of tables in a list, the key carries the name: `trunk.carrier-a.prefixes`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Values {
    written: BTreeMap<String, Written>,
    /// Tables in lists, with the key of their list.
    elements: BTreeMap<String, &'static str>,
}

impl fmt::Debug for Values {
    /// Never the values: some are secrets.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Values({} written)", self.written.len())
    }
}

impl Values {
    pub(super) fn add(&mut self, path: String, row: &'static Row, text: String) {
        self.written.insert(path, Written { row, text });
    }

    pub(super) fn add_element(&mut self, path: &str, list: &'static str) {
        self.elements.insert(path.to_owned(), list);
    }

    fn text(&self, path: &str, row: &'static Row) -> String {
        let text = self.written.get(path).map_or(row.default, |written| written.text.as_str());
        if text.is_empty() { "unset".to_owned() } else { text.to_owned() }
    }

    /// True when `path` lies in an element that `other` lacks: the element's own line says it all.
    fn inside_missing(&self, path: &str, other: &Self) -> bool {
        let inside = |element: &String| path.strip_prefix(element.as_str()).is_some_and(|rest| rest.starts_with('.'));
        let mut ends = path.match_indices('.').map(|(at, _)| path[..at].to_owned());
        ends.any(|prefix| {
            self.elements.contains_key(&prefix) && !other.elements.contains_key(&prefix) && inside(&prefix)
        })
    }
}

/// How a key changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// From one value to another; secrets are not shown.
    Changed(String, String),
    /// A table of a list appears.
    Added,
    /// A table of a list goes.
    Removed,
}

/// One line of the diff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Full key.
    pub key: String,
    /// How it changes.
    pub what: What,
    /// `strowger reload` does not apply it.
    pub restart: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Changed(old, new) => write!(out, "~ {}: {old} -> {new}", self.key)?,
            What::Added => write!(out, "+ {}", self.key)?,
            What::Removed => write!(out, "- {}", self.key)?,
        }
        if self.restart { out.write_str("   (needs a restart)") } else { Ok(()) }
    }
}

/// What differs, sorted by key.
#[must_use]
pub fn diff(old: &Values, new: &Values) -> Vec<Change> {
    let mut out = Vec::new();
    for (from, to, what) in [(old, new, What::Removed), (new, old, What::Added)] {
        for (path, list) in &from.elements {
            if to.elements.contains_key(path) || from.inside_missing(path, to) {
                continue;
            }
            let reload = ROWS.iter().filter(|row| row.table() == *list).all(|row| row.reload);
            out.push(Change { key: path.clone(), what: what.clone(), restart: !reload });
        }
    }
    let paths: BTreeSet<&String> = old.written.keys().chain(new.written.keys()).collect();
    for path in paths {
        if old.inside_missing(path, new) || new.inside_missing(path, old) {
            continue;
        }
        let Some(row) = old.written.get(path).or_else(|| new.written.get(path)).map(|written| written.row) else {
            continue;
        };
        let (before, after) = (old.text(path, row), new.text(path, row));
        if before != after {
            let hidden = || ("(secret)".to_owned(), "(another secret)".to_owned());
            let (before, after) = if row.kind.is_secret() { hidden() } else { (before, after) };
            out.push(Change { key: path.clone(), what: What::Changed(before, after), restart: !row.reload });
        }
    }
    out.sort_by(|a, b| a.key.cmp(&b.key));
    out
}
