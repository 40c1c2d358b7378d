//! Files that name each other in a circle can only be understood all at once. No folder has any.

use super::source::{self, Token};
use std::collections::{BTreeMap, BTreeSet};

/// Which file (or folder) of a folder names which others.
#[derive(Debug, Default)]
pub struct Names(BTreeMap<String, BTreeSet<String>>);

impl Names {
    /// Reads a file; `folder` is a path within the crate: `call`, `control/links`, nothing for the crate's root; `inside` is
    /// the file's own within that: `media.rs`, `compose/path.rs`. The folder's `mod.rs` lists them all and does not count, nor
    /// do tests, which may look at what stands above what they test.
    pub fn read(&mut self, folder: &str, inside: &str, text: &str) {
        let parts: Vec<&str> = inside.trim_end_matches(".rs").split('/').collect();
        let me = parts[0].to_owned();
        if me == "mod" || parts.contains(&"tests") {
            return;
        }
        let climbs = parts.len() - usize::from(parts.last() == Some(&"mod"));
        let tokens = without_tests(source::tokens(&source::blank(text)));
        let by_climbing = source::paths(&tokens, "super").into_iter().filter_map(|(path, _)| {
            let supers = path.iter().take_while(|part| *part == "super").count();
            (supers + 1 == climbs).then(|| path.get(supers).cloned()).flatten()
        });
        let above: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
        let by_root = source::paths(&tokens, "crate").into_iter().filter_map(|(path, _)| {
            (path.len() > above.len() && path.iter().zip(&above).all(|(part, name)| part == name))
                .then(|| path[above.len()].clone())
        });
        let named: Vec<String> = by_climbing.chain(by_root).filter(|name| *name != me).collect();
        self.0.entry(me).or_default().extend(named);
    }

    /// What is left after taking away, again and again, each file that names none of the others: every circle, and what
    /// leads into one.
    pub fn circles(&self) -> Vec<&str> {
        let mut left: BTreeSet<&str> = self.0.keys().map(String::as_str).collect();
        loop {
            let free = |name: &&str| !self.0[*name].iter().any(|to| left.contains(to.as_str()));
            let done: Vec<&str> = left.iter().copied().filter(free).collect();
            if done.is_empty() {
                return left.into_iter().collect();
            }
            left.retain(|name| !done.contains(name));
        }
    }
}

fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let tests: Vec<_> = source::inline_modules(&tokens).into_iter().filter(|module| module.test).collect();
    let outside = |at: usize| !tests.iter().any(|module| module.from <= at && at <= module.to);
    tokens.into_iter().enumerate().filter(|(at, _)| outside(*at)).map(|(_, token)| token).collect()
}

#[test]
fn a_circle_is_found_and_a_line_is_not() {
    let read_in = |folder: &str, files: &[(&str, &str)]| {
        let mut names = Names::default();
        for (inside, text) in files {
            names.read(folder, inside, text);
        }
        names.circles().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let read = |files: &[(&str, &str)]| read_in("call", files);
    let line =
        [("begin.rs", "use super::{setup, state::Call};"), ("setup.rs", "use super::state::Call;"), ("state.rs", "")];
    assert!(read(&line).is_empty());
    let circle =
        [("setup.rs", "use super::end;"), ("end.rs", "use super::media;"), ("media.rs", "use crate::call::setup;")];
    assert_eq!(read(&circle), ["end", "media", "setup"]);
    let folder = [("compose/path.rs", "use super::super::gate;\nuse super::SDP;"), ("gate.rs", "use super::compose;")];
    assert_eq!(read(&folder), ["compose", "gate"]);
    let tested = [("a.rs", "use super::b;"), ("b.rs", "#[cfg(test)]\nmod tests { use super::super::a; }")];
    assert!(read(&tested).is_empty());
    let rooms = [("core/uac.rs", "use super::super::station;"), ("station.rs", "use crate::core::uac::Uac;")];
    assert_eq!(read_in("", &rooms), ["core", "station"]);
    let tests = [("core/tests/flows.rs", "use crate::station;"), ("station.rs", "use crate::core::uac::Uac;")];
    assert!(read_in("", &tests).is_empty());
}
