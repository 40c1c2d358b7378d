//! What a page names is there: files and folders, headings that links lead to, benches and tests of commands.
//!
//! A word counts as a path when it stands in a code span, a code block or a link and begins with a folder of the repository
//! (`src/…`), with a room (`media/table/below.rs`), or is a source file's own name: `fields.rs` beside `src/sip/wire/message.rs`.

use super::{FOLDERS, Finding, ROOMS};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Made by builds and runs.
const SKIPPED: &[&str] = &["target", "artifacts", "corpus-run", "__pycache__"];
/// What a source file's name ends with.
const SOURCE: &[&str] = &[".rs", ".py"];

/// Every file and folder, by its path from the repository's root.
#[derive(Debug, Default)]
pub struct Tree(BTreeSet<String>);

impl Tree {
    /// Of the folders that the rules know, and of the root's own files.
    pub fn read(root: &Path) -> Self {
        let mut tree = Self::default();
        let own = fs::read_dir(root).into_iter().flatten().flatten();
        tree.0.extend(own.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        let mut waiting: Vec<String> = FOLDERS.iter().map(|&folder| folder.to_owned()).collect();
        while let Some(folder) = waiting.pop() {
            for entry in fs::read_dir(root.join(&folder)).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = format!("{folder}/{name}");
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !SKIPPED.contains(&name.as_str()) {
                    waiting.push(path.clone());
                }
                tree.0.insert(path);
            }
        }
        tree
    }

    /// The same of a list.
    pub fn of(paths: &[&str]) -> Self {
        let folders = paths.iter().flat_map(|path| path.match_indices('/').map(|(at, _)| &path[..at]));
        Self(folders.chain(paths.iter().copied()).map(str::to_owned).collect())
    }

    /// `*` stands for anything.
    fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        match path.split_once('*') {
            None => self.0.contains(path),
            Some((front, end)) => self.0.iter().any(|each| {
                each.strip_prefix(front).is_some_and(|rest| rest.len() >= end.len() && rest.ends_with(end))
            }),
        }
    }

    fn has_name(&self, name: &str) -> bool {
        self.0.iter().any(|path| path.strip_suffix(name).is_some_and(|front| front.ends_with('/')))
    }

    fn has_bench_or_test(&self, kind: &str, name: &str) -> bool {
        let folder = if kind == "--bench" { "benches" } else { "tests" };
        ["", "loadgen/"].iter().any(|member| {
            self.has(&format!("{member}{folder}/{name}.rs")) || self.has(&format!("{member}{folder}/{name}/main.rs"))
        })
    }
}

/// Names in `text` of what is not there; `headings` are those of a page by its path.
pub fn inspect(page: &str, text: &str, tree: &Tree, headings: &dyn Fn(&str) -> Vec<String>) -> Vec<Finding> {
    let rust = page.ends_with(".rs");
    let mut out = Vec::new();
    let (mut block, mut beside) = (false, None);
    for (number, row) in text.lines().enumerate() {
        let row = if rust {
            let Some((_, comment)) = row.split_once("//") else { continue };
            comment.trim_start_matches(['/', '!'])
        } else {
            row
        };
        let mut missing = |what: String| {
            out.push(Finding { file: page.to_owned(), line: number + 1, what: format!("`{what}` is not there") });
        };
        if row.trim_start().starts_with("```") {
            block = !block;
            continue;
        }
        if row.trim().is_empty() || row.starts_with('|') {
            beside = None;
        }
        let spans: Vec<&str> = if block { vec![row] } else { row.split('`').skip(1).step_by(2).collect() };
        for span in spans {
            words(span, rust || block, tree, &mut beside).into_iter().for_each(&mut missing);
        }
        if !block && !rust {
            links(page, row, tree, headings).into_iter().for_each(&mut missing);
        }
    }
    out
}

/// What a span or a line of a block names that is not there. `beside` is the folder last named.
fn words(span: &str, whole_paths_only: bool, tree: &Tree, beside: &mut Option<String>) -> Vec<String> {
    let mut out = Vec::new();
    let mut before = "";
    for word in span.split_whitespace() {
        let word = word.trim_matches(|c: char| "(),;:'\"".contains(c)).trim_end_matches('.');
        let is_name =
            !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if matches!(before, "--bench" | "--test") && is_name && !tree.has_bench_or_test(before, word) {
            out.push(format!("{before} {word}"));
        }
        before = word;
        if !whole_paths_only && ROOMS.iter().any(|room| room.name == span) {
            *beside = Some(format!("src/{word}"));
        }
        for path in braces(word.split('#').next().unwrap_or(word)) {
            let full = match placed(&path, whole_paths_only, beside.as_deref()) {
                Place::At(full) => full,
                Place::Anywhere if tree.has_name(&path) => continue,
                Place::Anywhere => path.clone(),
                Place::NoPath => continue,
            };
            if !tree.has(&full) {
                out.push(full);
                continue;
            }
            let own = full.trim_end_matches('/');
            let folder = if full.ends_with('/') { Some(own) } else { own.rsplit_once('/').map(|(folder, _)| folder) };
            *beside = folder.map(str::to_owned);
        }
    }
    out
}

enum Place {
    At(String),
    Anywhere,
    NoPath,
}

fn placed(path: &str, whole_paths_only: bool, beside: Option<&str>) -> Place {
    let first = path.split_once('/').map(|(first, _)| first);
    let is_source = SOURCE.iter().any(|end| path.ends_with(end)) && path.len() > 3 && !path.contains("://");
    match (first, beside) {
        _ if path.contains("NAME") => Place::NoPath,
        (Some(first), _) if FOLDERS.contains(&first) => Place::At(path.to_owned()),
        _ if whole_paths_only || path.starts_with(['/', '.', '-']) => Place::NoPath,
        (Some(first), _) if ROOMS.iter().any(|room| room.name == first) => Place::At(format!("src/{path}")),
        (_, Some(folder)) if is_source => Place::At(format!("{folder}/{path}")),
        _ if is_source => Place::Anywhere,
        _ => Place::NoPath,
    }
}

/// `a{b,c}d` is `abd` and `acd`.
fn braces(word: &str) -> Vec<String> {
    let parts = word.split_once('{').and_then(|(front, rest)| Some((front, rest.split_once('}')?)));
    match parts {
        Some((front, (inside, end))) => inside.split(',').map(|each| format!("{front}{each}{end}")).collect(),
        None => vec![word.to_owned()],
    }
}

/// Links of a row that lead nowhere within the repository.
fn links(page: &str, row: &str, tree: &Tree, headings: &dyn Fn(&str) -> Vec<String>) -> Vec<String> {
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    let targets = row.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let inside = targets.filter(|target| !target.contains("://"));
    let broken = |target: &&str| {
        let (path, heading) = target.split_once('#').map_or((*target, None), |(path, at)| (path, Some(at)));
        let full = if path.is_empty() { page.to_owned() } else { from_folder(folder, path) };
        !tree.has(&full) || heading.is_some_and(|heading| !headings(&full).iter().any(|each| each == heading))
    };
    inside.filter(broken).map(str::to_owned).collect()
}

/// A relative path as seen from the root.
fn from_folder(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// The headings of a page, as links name them.
pub fn headings(text: &str) -> Vec<String> {
    let titles = text.lines().filter_map(|row| row.strip_prefix('#')).map(|row| row.trim_start_matches('#').trim());
    let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
    titles.map(|title| title.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn what_a_page_names_in_vain_is_found() {
    let tree = Tree::of(&[
        "src/sip/wire/message.rs",
        "src/sip/wire/fields.rs",
        "src/media/table/below.rs",
        "tests/peers/sipp/a.uac.xml",
        "tests/sim.rs",
        "benches/xdp/main.rs",
        "docs/limits.md",
    ]);
    let found = |text: &str| {
        let headings = |_: &str| headings("# Limits\n## What a *refused* caller hears\n");
        inspect("docs/page.md", text, &tree, &headings)
            .into_iter()
            .map(|finding| finding.what.replace(" is not there", ""))
            .collect::<Vec<_>>()
    };
    for good in [
        "`src/sip/wire/message.rs` and `fields.rs` beside it, `src/sip/`, `src/sip/wire/{message,fields}.rs`",
        "`media/table/below.rs`; of `media` `table/below.rs`, `tests/peers/sipp/*.uac.xml`",
        "`cargo bench --bench xdp -- --hot`, `cargo test --test sim`, `fields.rs`, `/proc/stat`, `SIP/2.0`",
        "[limits](limits.md#what-a-refused-caller-hears) are [far](https://example.com/x.rs), [sim](../tests/sim.rs)",
        "src/gone.rs in no span",
        "```sh\ntests/sim.rs 1,2 &&\n```",
    ] {
        assert_eq!(found(good), Vec::<String>::new(), "{good}");
    }
    for (bad, what) in [
        ("`src/sip/wire/gone.rs`", "`src/sip/wire/gone.rs`"),
        ("`src/sip/wire/message.rs`, `gone.rs`", "`src/sip/wire/gone.rs`"),
        ("`src/sip/wire/{message,gone}.rs`", "`src/sip/wire/gone.rs`"),
        ("`media/gone`", "`src/media/gone`"),
        ("`media` has `gone.rs`", "`src/media/gone.rs`"),
        ("`gone.rs`", "`gone.rs`"),
        ("`tests/peers/sipp/*.uas.xml`", "`tests/peers/sipp/*.uas.xml`"),
        ("`cargo bench --bench gone`", "`--bench gone`"),
        ("[limits](gone.md)", "`gone.md`"),
        ("[limits](limits.md#gone)", "`limits.md#gone`"),
        ("```sh\ntests/gone --all\n```", "`tests/gone`"),
    ] {
        assert_eq!(found(bad), [what], "{bad}");
    }
    let comment = "//! See `docs/gone.md`.\nlet a = \"`docs/gone.md`\"; // of `fields.rs`\n";
    assert_eq!(inspect("src/sip/mod.rs", comment, &tree, &|_| Vec::new()).len(), 1);
}
