//! What fuzzing found, and what it started from, through the same functions in plain `cargo test`.

#[path = "../fuzz/src/lib.rs"]
mod fuzz;
#[allow(dead_code, reason = "the messages go in by the lot")]
mod torture;

use std::fs;
use std::path::Path;

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

#[test]
fn every_corpus_is_replayed() {
    for (name, run) in fuzz::TARGETS {
        let corpus = folder("corpus").join(name);
        let files: Vec<_> =
            fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display())).collect();
        assert!(!files.is_empty(), "{name} has no corpus");
        for file in files {
            let path = file.expect("a file").path();
            println!("{}", path.display());
            run(&fs::read(path).expect("a readable file"));
        }
    }
}

#[test]
fn every_target_takes_the_torture_messages_and_their_stumps() {
    let messages = torture::rfc4475::CASES.iter().chain(torture::rfc5118::CASES);
    for case in messages {
        for (_, run) in fuzz::TARGETS {
            run(case.bytes);
            for end in (0..case.bytes.len()).step_by(7) {
                run(&case.bytes[..end]);
            }
        }
    }
}

#[test]
fn every_target_has_its_door() {
    let manifest = fs::read_to_string(folder("Cargo.toml")).expect("the manifest");
    for (name, _) in fuzz::TARGETS {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not in fuzz/Cargo.toml");
        assert!(folder("fuzz_targets").join(format!("{name}.rs")).is_file(), "{name} has no file in fuzz_targets");
    }
}
