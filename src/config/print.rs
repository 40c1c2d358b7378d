//! The example file, the explanation of one key, and the reference page: all from the rows.

use std::fmt::Write as _;

use super::check::nearest;
use super::row::Row;
use super::rows::{ROWS, TABLES, Table, find};

const WIDTH: usize = 100;

fn wrapped(out: &mut String, prefix: &str, text: &str) {
    let mut line = String::from(prefix);
    for word in text.split_whitespace() {
        if line.len() > prefix.len() && line.chars().count() + word.chars().count() > WIDTH {
            out.push_str(line.trim_end());
            out.push('\n');
            line.clear();
            line.push_str(prefix);
        }
        line.push_str(word);
        line.push(' ');
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

fn header(table: &Table) -> String {
    if table.list { format!("[[{}]]", table.key) } else { format!("[{}]", table.key) }
}

fn of_table(table: &Table) -> impl Iterator<Item = &'static Row> {
    let key = table.key;
    ROWS.iter().filter(move |row| row.table() == key)
}

fn facts(row: &Row) -> String {
    let mut out = row.kind.describe();
    let default = match (row.required, row.default) {
        (true, _) => "must be given".to_owned(),
        (false, "") => "default: unset".to_owned(),
        (false, default) => format!("default: {default}"),
    };
    let _ = write!(out, "; {default}; {}", if row.reload { "reload" } else { "restart" });
    out
}

/// The commented default file. As it stands it changes nothing; a line takes effect once its `#` goes.
#[must_use]
pub fn defaults() -> String {
    let mut out = String::new();
    wrapped(
        &mut out,
        "# ",
        "Strowger: every setting with its default, or an example. A line takes effect once its `#` goes.",
    );
    wrapped(&mut out, "# ", "Time spans and sizes carry units: \"20ms\", \"64MiB\". Check with `strowger check FILE`.");
    for table in TABLES {
        out.push('\n');
        wrapped(&mut out, "## ", table.docs);
        let _ = writeln!(out, "{}{}", if table.optional { "#" } else { "" }, header(table));
        for row in of_table(table) {
            out.push('\n');
            wrapped(&mut out, "# ", row.docs);
            wrapped(&mut out, "# ", &format!("({})", facts(row)));
            if !row.no_effect.is_empty() {
                wrapped(&mut out, "# ", &format!("No effect yet: {}.", row.no_effect));
            }
            let _ = writeln!(out, "#{} = {}", row.name(), row.shown());
        }
    }
    out
}

/// One setting, or a whole table, for a person.
///
/// # Errors
/// A sentence that names the nearest key.
pub fn explain(key: &str) -> Result<String, String> {
    let key = key.replace(['[', ']'], "");
    if let Some(row) = find(&key) {
        return Ok(explain_row(row));
    }
    if let Some(table) = TABLES.iter().find(|table| table.key == key) {
        let mut out = format!("{}\n", header(table));
        wrapped(&mut out, "  ", table.docs);
        for row in of_table(table) {
            let _ = writeln!(out, "\n{}", explain_row(row).trim_end());
        }
        return Ok(out);
    }
    let named: Vec<&Row> = ROWS.iter().filter(|row| row.name() == key).collect();
    if !named.is_empty() {
        return Ok(named.into_iter().map(explain_row).collect::<Vec<_>>().join("\n"));
    }
    let known = ROWS.iter().map(|row| row.key).chain(TABLES.iter().map(|table| table.key));
    Err(match nearest(&key, known).or_else(|| nearest(&key, ROWS.iter().map(Row::name))) {
        Some(word) => format!("no setting `{key}`; did you mean `{word}`?"),
        None => format!("no setting `{key}`; `strowger config defaults` shows them all"),
    })
}

fn explain_row(row: &Row) -> String {
    let mut out = format!("{}\n", row.key);
    wrapped(&mut out, "  ", row.docs);
    let _ = writeln!(out, "  takes:    {}", row.kind.describe());
    let default = if row.required { "none, it must be given" } else { row.default };
    let _ = writeln!(out, "  default:  {}", if default.is_empty() { "unset" } else { default });
    if !row.example.is_empty() {
        let _ = writeln!(out, "  example:  {} = {}", row.name(), row.example);
    }
    let _ = writeln!(out, "  applied:  {}", if row.reload { "by `strowger reload`" } else { "by a restart" });
    if !row.no_effect.is_empty() {
        let _ = writeln!(out, "  note:     no effect yet: {}", row.no_effect);
    }
    out
}

/// `docs/configuration.md`.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(
        "# Configuration\n\nMade by `strowger config reference` from `src/config/rows.rs`; a test compares them.\n\n\
         One TOML file. An empty one, or none, means: SIP on 127.0.0.1:5060 over UDP and TCP, media on 127.0.0.1,\n\
         HTTP on 127.0.0.1:8080, everything kept in `./strowger-data`. Time spans and sizes carry units (`\"20ms\"`,\n\
         `\"64MiB\"`); an unknown key is an error; `strowger check FILE` says everything that is wrong at once.\n\
         `strowger config defaults` prints a commented file to begin with.\n",
    );
    for table in TABLES {
        let _ = writeln!(out, "\n## `{}`\n\n{}\n", header(table), table.docs);
        out.push_str("| key | takes | default | applied by | |\n|---|---|---|---|---|\n");
        for row in of_table(table) {
            let default = match (row.required, row.default) {
                (true, _) => "must be given".to_owned(),
                (false, "") => "unset".to_owned(),
                (false, default) => format!("`{default}`"),
            };
            let applied = if row.reload { "reload" } else { "restart" };
            let note =
                if row.no_effect.is_empty() { String::new() } else { format!(" *No effect yet: {}.*", row.no_effect) };
            let _ = writeln!(
                out,
                "| `{}` | {} | {default} | {applied} | {}{note} |",
                row.name(),
                row.kind.describe(),
                row.docs
            );
        }
    }
    out
}
