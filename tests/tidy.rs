//! The rules of the house, as a test: rooms and the arrows between them, sizes, unsafe, purity, words left for later, and
//! pages that name what is not there.
//!
//! The plan they come from is `docs/ARCHITECTURE.md`. Every rule is proved by `tidy/proof.rs` to fail on bad input.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/pages.rs"]
mod pages;
#[path = "tidy/proof.rs"]
mod proof;
#[path = "tidy/source.rs"]
mod source;

use source::Token;

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
const SAFETY_REACH_LINES: usize = 8;

/// What a room may name besides itself.
enum Arrows {
    To(&'static [&'static str]),
    Everything,
}

struct Room {
    name: &'static str,
    pure: bool,
    arrows: Arrows,
}

const fn pure(name: &'static str, to: &'static [&'static str]) -> Room {
    Room { name, pure: true, arrows: Arrows::To(to) }
}

const fn edge(name: &'static str, to: &'static [&'static str]) -> Room {
    Room { name, pure: false, arrows: Arrows::To(to) }
}

/// The whole house. A new room is a new row; `room::part` lets in that part only.
const ROOMS: &[Room] = &[
    pure("base", &[]),
    pure("observe", &["base"]),
    pure("config", &["base"]),
    pure("sip", &["base"]),
    pure("sdp", &["base"]),
    pure("media", &["base"]),
    pure("tally", &["base"]),
    pure("call", &["sip", "sdp", "media", "tally", "config", "observe", "base"]),
    pure("shard", &["call", "sip", "sdp", "media", "tally", "config", "observe", "base"]),
    pure("phone", &["sip", "sdp", "media", "base"]),
    edge("io", &["base"]),
    edge("xdp", &["media", "base"]),
    edge("worker", &["shard", "io", "xdp", "tally", "observe", "base"]),
    edge("store", &["config", "observe", "base"]),
    edge("control", &["store", "config", "tally", "observe", "base", "shard::mailbox"]),
    Room { name: "cli", pure: false, arrows: Arrows::Everything },
    Room { name: "demo", pure: false, arrows: Arrows::Everything },
    edge("main", &["cli", "demo", "worker", "control", "store", "config"]),
];

/// The rooms that may hold `unsafe`.
const UNSAFE_ROOMS: &[&str] = &["io", "xdp"];

/// Words a pure room may not say, as prefixes of `std` paths.
const IMPURE_STD: &[&str] = &[
    "time::Instant",
    "time::SystemTime",
    "time::UNIX_EPOCH",
    "time::*",
    "net::UdpSocket",
    "net::TcpStream",
    "net::TcpListener",
    "net::ToSocketAddrs",
    "net::*",
    "thread",
    "fs",
    "env",
    "process",
    "os",
    "io::stdin",
    "io::stdout",
    "io::stderr",
];

/// What only the tests inside a pure room may name: what claims to be lock-free is shown so by threads.
const PURE_TEST_MAY: &str = "thread::scope";

/// Crates a pure room may not touch, and macros it may not call.
const IMPURE_CRATES: &[&str] = &[
    "tokio",
    "mio",
    "libc",
    "socket2",
    "io_uring",
    "getrandom",
    "core_affinity",
    "axum",
    "quinn",
    "rustls",
    "rcgen",
    "rustix",
];
const IMPURE_MACROS: &[&str] = &["println", "eprintln", "print", "eprint", "dbg", "thread_local"];

/// Files that hold prose, code or settings, by the end of their name.
const TEXT: &[&str] = &["rs", "py", "sh", "c", "h", "toml", "md", "xml", "yml", "yaml", "service", "tmpl"];
const CODE: &[&str] = &["rs", "py", "sh", "c", "h"];
/// Top folders of the repository that are looked at.
const FOLDERS: &[&str] =
    &["src", "tests", "benches", "loadgen", "fuzz", "docs", "tuning", "systemd", "examples", "tools", ".ci"];
const SKIPPED: &[&str] = &["target", "artifacts", "corpus", "corpus-run", "vectors", "data", "__pycache__"];

/// One broken rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// A file under inspection.
struct File<'a> {
    path: &'a str,
    text: &'a str,
    tokens: Vec<Token>,
}

impl File<'_> {
    /// `src/sip/wire/mod.rs` → `sip`; `src/main.rs` → `main`; nothing for `src/lib.rs` and outside `src/`.
    fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let first = inside.split('/').next()?;
        let name = first.strip_suffix(".rs").unwrap_or(first);
        (name != "lib").then_some(name)
    }

    /// How many modules deep the file itself is: `src/sip/mod.rs` 1, `src/sip/wire/via.rs` 3.
    fn depth(&self) -> usize {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let parts = inside.split('/').count();
        if inside.ends_with("/mod") { parts - 1 } else { parts }
    }

    fn finding(&self, line: usize, what: impl Into<String>) -> Finding {
        Finding { file: self.path.to_owned(), line, what: what.into() }
    }
}

/// Everything that is wrong with one file.
fn inspect(path: &str, text: &str) -> Vec<Finding> {
    let rust = path.ends_with(".rs");
    let tokens = if rust { source::tokens(&source::blank(text)) } else { Vec::new() };
    let file = File { path, text, tokens };
    let mut out = Vec::new();
    words(&file, &mut out);
    if CODE.iter().any(|end| path.ends_with(&format!(".{end}"))) {
        sizes(&file, &mut out);
    }
    if rust {
        if !text.starts_with("//!") {
            out.push(file.finding(1, "a file begins with `//!`: why it exists, who owns it, which RFC it obeys"));
        }
        unsafe_code(&file, &mut out);
        if let Some(name) = file.room() {
            room(&file, name, &mut out);
        }
    }
    out.sort();
    out
}

fn sizes(file: &File<'_>, out: &mut Vec<Finding>) {
    let lines = file.text.lines().count();
    if lines > FILE_LINES_MAX {
        out.push(file.finding(lines, format!("{lines} lines, more than {FILE_LINES_MAX}")));
    }
    for (name, line, length) in source::functions(&file.tokens) {
        if length > FUNCTION_LINES_MAX {
            out.push(file.finding(line, format!("fn {name} has {length} lines, more than {FUNCTION_LINES_MAX}")));
        }
    }
}

/// Words for later, and paths that exist on one machine only.
fn words(file: &File<'_>, out: &mut Vec<Finding>) {
    let later = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("to", "do!"), concat!("unimple", "mented!")];
    let places = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];
    for (number, row) in file.text.lines().enumerate() {
        for word in later.iter().filter(|word| contains_word(row, word)) {
            out.push(file.finding(number + 1, format!("`{word}`: do it, or write an issue")));
        }
        for place in places.iter().filter(|place| contains_place(row, place)) {
            out.push(file.finding(number + 1, format!("`{place}…` exists on one machine only")));
        }
    }
}

/// An absolute path: what stands before it is no part of a longer one.
fn contains_place(row: &str, place: &str) -> bool {
    row.match_indices(place).any(|(at, _)| !row[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}/".contains(c)))
}

fn contains_word(row: &str, word: &str) -> bool {
    let edge = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    row.match_indices(word).any(|(at, _)| {
        edge(row[..at].chars().next_back()) && (word.ends_with('!') || edge(row[at + word.len()..].chars().next()))
    })
}

/// `unsafe` only in its rooms (and in tests and benches), each with its reason in reach above it.
fn unsafe_code(file: &File<'_>, out: &mut Vec<Finding>) {
    let rows: Vec<&str> = file.text.lines().collect();
    let outside = match file.room() {
        Some(room) => !UNSAFE_ROOMS.contains(&room),
        None => file.path.starts_with("src/"),
    };
    let lines: BTreeSet<usize> = file.tokens.iter().filter(|t| t.text == "unsafe").map(|t| t.line).collect();
    for line in lines {
        if outside {
            out.push(file.finding(line, format!("`unsafe` outside {UNSAFE_ROOMS:?}")));
        }
        let from = line.saturating_sub(SAFETY_REACH_LINES + 1);
        if !rows[from..line].iter().any(|row| row.contains("SAFETY:") || row.contains("# Safety")) {
            out.push(file.finding(line, "`unsafe` without its `SAFETY:` reason"));
        }
    }
}

fn room(file: &File<'_>, name: &str, out: &mut Vec<Finding>) {
    let Some(room) = ROOMS.iter().find(|room| room.name == name) else {
        out.push(file.finding(1, format!("room `{name}` has no row in ROOMS of tests/tidy.rs")));
        return;
    };
    arrows(file, room, out);
    if room.pure {
        purity(file, name, out);
    }
}

fn arrows(file: &File<'_>, room: &Room, out: &mut Vec<Finding>) {
    let Arrows::To(allowed) = room.arrows else { return };
    let root = if room.name == "main" { "strowger" } else { "crate" };
    let mut named = source::paths(&file.tokens, root);
    named.extend(climbing(file));
    for (path, line) in named {
        let full = path.join("::");
        let first = path.first().map_or("", String::as_str);
        let may = first == room.name
            || allowed.iter().any(|to| full == *to || full.strip_prefix(to).is_some_and(|rest| rest.starts_with("::")));
        if !may {
            out.push(file.finding(line, format!("`{}` may not name `crate::{full}`", room.name)));
        }
    }
}

/// `super::super::…` paths that climb out of their room, as paths from the crate's root.
fn climbing(file: &File<'_>) -> Vec<(Vec<String>, usize)> {
    let inline = source::inline_modules(&file.tokens);
    let mut out = Vec::new();
    for at in 0..file.tokens.len() {
        let begins = file.tokens[at].text == "super" && (at == 0 || file.tokens[at - 1].text != "::");
        if !begins {
            continue;
        }
        let steps = (0..).take_while(|n| source::text(&file.tokens, at + 2 * n) == "super").count();
        let depth = file.depth() + inline.iter().filter(|module| module.from < at && at < module.to).count();
        if steps >= depth {
            let climbed = source::paths(&file.tokens[at + 2 * (steps - 1)..], "super");
            out.extend(climbed.into_iter().take(1));
        }
    }
    out
}

fn purity(file: &File<'_>, name: &str, out: &mut Vec<Finding>) {
    let top = file.path == format!("src/{name}/mod.rs") || file.path == format!("src/{name}.rs");
    if top && !file.text.contains("#![forbid(unsafe_code)]") {
        out.push(file.finding(1, "a pure room says `#![forbid(unsafe_code)]`"));
    }
    let tests: Vec<(usize, usize)> = source::inline_modules(&file.tokens)
        .iter()
        .filter(|module| module.test)
        .map(|module| (file.tokens[module.from].line, file.tokens[module.to].line))
        .collect();
    for root in ["std", "core"] {
        for (path, line) in source::paths(&file.tokens, root) {
            let full = path.join("::");
            let whole_module = matches!(full.as_str(), "time" | "net" | "time::self" | "net::self" | "*");
            let impure = IMPURE_STD
                .iter()
                .any(|word| full == *word || full.strip_prefix(word).is_some_and(|rest| rest.starts_with("::")));
            let tested = tests.iter().any(|&(from, to)| from <= line && line <= to);
            let lock_free_test = tested && full.starts_with(PURE_TEST_MAY);
            if (impure || whole_module) && !lock_free_test {
                out.push(file.finding(line, format!("a pure room may not name `{root}::{full}`")));
            }
        }
    }
    for (at, token) in file.tokens.iter().enumerate() {
        let next = source::text(&file.tokens, at + 1);
        let before = if at == 0 { "" } else { source::text(&file.tokens, at - 1) };
        let foreign = IMPURE_CRATES.contains(&token.text.as_str()) && next == "::" && before != "::";
        let spoken = IMPURE_MACROS.contains(&token.text.as_str()) && next == "!";
        let global = token.text == "static" && next == "mut";
        if foreign || spoken || global {
            out.push(file.finding(token.line, format!("a pure room may not say `{}{next}`", token.text)));
        }
    }
}

/// All files of the repository that hold text, relative to its root.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut waiting: Vec<PathBuf> = FOLDERS.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && !SKIPPED.contains(&name.as_str()) {
                waiting.push(entry.path());
            } else if !is_folder && is_text(&name) {
                out.push(entry.path());
            }
        }
    }
    let top = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    out.extend(top.filter(|path| path.is_file() && is_text(&path.to_string_lossy())));
    out.sort();
    out
}

/// By its ending; a script such as `tests/run` has none.
fn is_text(name: &str) -> bool {
    let base = name.rsplit('/').next().unwrap_or(name);
    base == "run" || base.rsplit_once('.').is_some_and(|(_, end)| TEXT.contains(&end))
}

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut broken = Vec::new();
    let files = files(root);
    for path in &files {
        let text = fs::read_to_string(path).unwrap_or_default();
        let relative = path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
        broken.extend(inspect(&relative, &text));
    }
    assert!(files.iter().any(|path| path.ends_with("src/lib.rs")), "the files were not found");
    let list: Vec<String> = broken.iter().map(Finding::to_string).collect();
    assert!(list.is_empty(), "{} broken rules:\n{}", list.len(), list.join("\n"));
}

#[test]
fn what_pages_and_comments_name_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tree = pages::Tree::read(root);
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let mut broken = Vec::new();
    for path in files(root).iter().filter_map(|path| path.strip_prefix(root).ok()) {
        let path = path.to_string_lossy();
        let code = [".rs", ".md"].iter().any(|end| path.ends_with(end));
        if code && path != "tests/tidy/pages.rs" {
            broken.extend(pages::inspect(&path, &text(&path), &tree, &|page| pages::headings(&text(page))));
        }
    }
    let list: Vec<String> = broken.iter().map(Finding::to_string).collect();
    assert!(list.is_empty(), "{} names of what is not there:\n{}", list.len(), list.join("\n"));
}

#[test]
fn no_circle_comes_back() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: BTreeMap<(&str, String), circles::Names> = BTreeMap::new();
    for path in files(root).iter().filter(|path| path.extension().is_some_and(|end| end == "rs")) {
        let text = fs::read_to_string(path).unwrap_or_default();
        for source in ["src", "loadgen/src"] {
            let Ok(path) = path.strip_prefix(root.join(source)) else { continue };
            for folder in path.ancestors().skip(1) {
                let name = folder.to_string_lossy().into_owned();
                let inside = path.strip_prefix(folder).unwrap_or(path).to_string_lossy();
                folders.entry((source, name.clone())).or_default().read(&name, &inside, &text);
            }
        }
    }
    let circle = |((source, folder), names): (&(&str, String), &circles::Names)| {
        let circle = names.circles();
        (!circle.is_empty()).then(|| format!("{source}/{folder}: {circle:?}"))
    };
    let found: Vec<String> = folders.iter().filter_map(circle).collect();
    assert!(found.is_empty(), "these name each other in a circle, or lead into one:\n{}", found.join("\n"));
}
