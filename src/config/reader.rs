//! Walks the parsed file table by table, collects every finding, and remembers what was written.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::check::{Checked, check, nearest};
use super::diagnostic::{Diagnostic, Severity, place};
use super::diff::Values;
use super::row::Row;
use super::rows::{ROWS, TABLES};

/// Most findings of one severity; the rest is counted.
const FINDINGS_MAX: usize = 100;

/// One table of the file, or an absent one that gives only defaults.
#[derive(Clone, Copy)]
pub(super) struct Section<'t, 's> {
    table: Option<&'t DeTable<'s>>,
    /// Key in [`TABLES`].
    key: &'static str,
}

/// A section with its place and its full name.
pub(super) struct Place<'t, 's> {
    section: Section<'t, 's>,
    /// Where an error about the whole table points.
    pub span: Range<usize>,
    /// As in [`Values`].
    path: String,
}

/// The state of one reading.
pub(super) struct Reader<'s> {
    source: &'s str,
    file: &'s str,
    rows: BTreeMap<&'static str, &'static Row>,
    pub errors: Vec<Diagnostic>,
    pub notes: Vec<Diagnostic>,
    /// Errors beyond the bound.
    pub uncounted: usize,
    pub values: Values,
}

impl<'s> Reader<'s> {
    pub fn new(source: &'s str, file: &'s str) -> Self {
        let rows = ROWS.iter().map(|row| (row.key, row)).collect();
        Self { source, file, rows, errors: Vec::new(), notes: Vec::new(), uncounted: 0, values: Values::default() }
    }

    /// Adds a finding; all of them, up to a bound.
    pub fn say(&mut self, severity: Severity, span: Range<usize>, message: String, label: String) -> Said<'_> {
        let list = if severity == Severity::Error { &mut self.errors } else { &mut self.notes };
        if list.len() >= FINDINGS_MAX {
            self.uncounted += usize::from(severity == Severity::Error);
            return Said(None);
        }
        let (line, column) = place(self.source, span.start);
        let file = self.file.to_owned();
        list.push(Diagnostic { severity, message, file, line, column, span, label, help: None, related: None });
        Said(list.last_mut())
    }

    pub fn error(&mut self, span: Range<usize>, message: impl Into<String>, label: impl Into<String>) -> Said<'_> {
        self.say(Severity::Error, span, message.into(), label.into())
    }

    pub fn note(&mut self, span: Range<usize>, message: impl Into<String>, label: impl Into<String>) -> Said<'_> {
        self.say(Severity::Note, span, message.into(), label.into())
    }

    /// The top of the file.
    pub fn root<'t>(&mut self, table: &'t DeTable<'s>) -> Place<'t, 's> {
        let place = Place { section: Section { table: Some(table), key: "" }, span: 0..0, path: String::new() };
        self.unknown_keys(&place);
        place
    }

    /// The table `key` (its last part is the name) in `parent`; absent ones give defaults.
    pub fn table<'t>(&mut self, parent: &Place<'t, 's>, key: &'static str) -> Place<'t, 's> {
        let name = last(key);
        let path = joined(&parent.path, name);
        let found = parent.section.table.and_then(|table| table.get(name));
        let absent = Place { section: Section { table: None, key }, span: parent.span.clone(), path: path.clone() };
        let Some(value) = found else { return absent };
        let Some(table) = value.get_ref().as_table() else {
            let help = value.get_ref().as_array().map(|_| format!("write [{key}] once"));
            self.error(self.short(value), format!("`{key}` is one table"), "not a table").help_if_any(help);
            return absent;
        };
        let place = Place { section: Section { table: Some(table), key }, span: self.short(value), path };
        self.unknown_keys(&place);
        place
    }

    /// The tables of the list `key` in `parent`.
    pub fn list<'t>(&mut self, parent: &Place<'t, 's>, key: &'static str) -> Vec<Place<'t, 's>> {
        let name = last(key);
        let Some(value) = parent.section.table.and_then(|table| table.get(name)) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.error(self.short(value), format!("`{key}` is a list of tables"), "not a list")
                .help_if_any(Some(format!("write [[{key}]], with two brackets, once for each")));
            return Vec::new();
        };
        let mut out = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let Some(table) = item.get_ref().as_table() else {
                self.error(self.short(item), format!("`{key}` is a list of tables"), "not a table")
                    .help_if_any(Some(format!("write [[{key}]] once for each")));
                continue;
            };
            let label = label(table).unwrap_or_else(|| format!("#{}", index + 1));
            let path = format!("{}.{label}", joined(&parent.path, name));
            let place = Place { section: Section { table: Some(table), key }, span: self.short(item), path };
            self.unknown_keys(&place);
            self.values.add_element(&place.path, key);
            out.push(place);
        }
        out
    }

    /// [`Self::table`] a second time: nothing is said again.
    pub fn quiet_table<'t>(&mut self, parent: &Place<'t, 's>, key: &'static str) -> Place<'t, 's> {
        self.quietly(|reader| reader.table(parent, key))
    }

    /// [`Self::list`] a second time: nothing is said again.
    pub fn quiet_list<'t>(&mut self, parent: &Place<'t, 's>, key: &'static str) -> Vec<Place<'t, 's>> {
        self.quietly(|reader| reader.list(parent, key))
    }

    fn quietly<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let (errors, uncounted) = (self.errors.len(), self.uncounted);
        let out = read(self);
        self.errors.truncate(errors);
        self.uncounted = uncounted;
        out
    }

    /// The value of `name` in the table: read, or its default.
    pub fn get(&mut self, place: &Place<'_, 's>, name: &str) -> Checked {
        let key = joined(place.section.key, name);
        let row = *self.rows.get(key.as_str()).expect("every setting that is read has a row");
        let Some(value) = place.section.table.and_then(|table| table.get(name)) else {
            if row.required && place.section.table.is_some() {
                self.error(place.span.clone(), format!("`{name}` is missing"), "in this table")
                    .help_if_any(Some(format!("{name} = {}", row.shown())));
            }
            return default(row);
        };
        match check(row, value.get_ref()) {
            Ok(checked) => {
                if !row.no_effect.is_empty() {
                    let message = format!("`{}` has no effect yet", row.key);
                    self.note(value.span(), message, row.no_effect);
                }
                self.values.add(joined(&place.path, name), row, checked.to_string());
                checked
            }
            Err(problem) => {
                let span = problem.span.unwrap_or_else(|| value.span());
                self.error(span, problem.message, problem.label).help_if_any(problem.help);
                default(row)
            }
        }
    }

    /// Where the value of `name` stands, else the table.
    pub fn span(&self, place: &Place<'_, 's>, name: &str) -> Range<usize> {
        let value = place.section.table.and_then(|table| table.get(name));
        value.map_or_else(|| place.span.clone(), Spanned::span)
    }

    /// A key that nobody reads would be silently ignored: always an error.
    fn unknown_keys(&mut self, place: &Place<'_, 's>) {
        let Some(table) = place.section.table else { return };
        let parent = place.section.key;
        for key in table.keys() {
            let name: &str = key.get_ref();
            if children(parent).any(|child| child == name) {
                continue;
            }
            let known = children(parent);
            let help = match nearest(name, known) {
                Some(word) => Some(format!("did you mean `{word}`?")),
                None => elsewhere(parent, name),
            };
            let shown = if parent.is_empty() { "at the top of the file".to_owned() } else { format!("in `{parent}`") };
            self.error(key.span(), format!("unknown key `{name}` {shown}"), "not a setting").help_if_any(help);
        }
    }

    /// The first line of a value's span: a whole table would drown its error.
    fn short(&self, value: &Spanned<DeValue<'s>>) -> Range<usize> {
        let span = value.span();
        let text = self.source.get(span.clone()).unwrap_or_default();
        span.start..span.start + text.find('\n').unwrap_or(text.len())
    }
}

/// A finding that was just added, for its help and related place.
pub(super) struct Said<'d>(Option<&'d mut Diagnostic>);

impl Said<'_> {
    pub fn help(self, help: impl Into<String>) -> Self {
        self.help_if_any(Some(help.into()))
    }

    pub fn help_if_any(mut self, help: Option<String>) -> Self {
        if let Some(finding) = &mut self.0 {
            finding.help = help;
        }
        self
    }

    pub fn related(mut self, span: Range<usize>, label: &str) -> Self {
        if let Some(finding) = &mut self.0 {
            finding.related = Some((span, label.to_owned()));
        }
        self
    }
}

impl Place<'_, '_> {
    /// True when the table was written.
    pub fn is_written(&self) -> bool {
        self.section.table.is_some()
    }

    /// True when the key was written.
    pub fn has(&self, name: &str) -> bool {
        self.section.table.is_some_and(|table| table.contains_key(name))
    }
}

/// The default of a row, checked by the same rules as a written value.
pub(super) fn default(row: &Row) -> Checked {
    if row.default.is_empty() {
        return Checked::Absent;
    }
    let value = DeValue::parse(row.default).expect("a default is TOML");
    match check(row, value.get_ref()) {
        // A default stands nowhere in the file.
        Ok(Checked::Texts(texts)) => Checked::Texts(texts.into_iter().map(|(text, _)| (text, 0..0)).collect()),
        Ok(checked) => checked,
        Err(problem) => panic!("the default of `{}` is not usable: {}", row.key, problem.label),
    }
}

/// Names directly below a table: settings and tables.
fn children(parent: &str) -> impl Iterator<Item = &'static str> {
    let of = move |key: &'static str| {
        let rest = if parent.is_empty() { key } else { key.strip_prefix(parent)?.strip_prefix('.')? };
        (!rest.contains('.')).then_some(rest)
    };
    ROWS.iter().filter_map(move |row| of(row.key)).chain(TABLES.iter().filter_map(move |table| of(table.key)))
}

/// A key in the wrong table.
fn elsewhere(parent: &str, name: &str) -> Option<String> {
    let row = ROWS.iter().find(|row| row.name() == name && row.table() != parent)?;
    let list = TABLES.iter().any(|table| table.key == row.table() && table.list);
    let (open, close) = if list { ("[[", "]]") } else { ("[", "]") };
    Some(format!("`{name}` belongs into {open}{}{close}", row.table()))
}

/// What names an element of a list: its name, its user, or its address.
fn label(table: &DeTable<'_>) -> Option<String> {
    let text = |key: &str| table.get(key).and_then(|value| value.get_ref().as_str());
    if let Some(name) = text("name").or_else(|| text("username")) {
        return Some(name.to_owned());
    }
    Some(format!("{}/{}", text("address")?, text("transport").unwrap_or("udp")))
}

fn last(key: &'static str) -> &'static str {
    key.rsplit_once('.').map_or(key, |(_, name)| name)
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
