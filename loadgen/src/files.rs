//! The files that reports go to: refused before anything is sent where they cannot be written.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::cli::Common;
use crate::preflight::Trouble;

/// Refuses, before anything is sent, what could not be written in the end.
pub fn examine_files(common: &Common) -> Result<(), Trouble> {
    let files =
        [("--json", &common.json), ("--html", &common.html), ("--junit", &common.junit), ("--hgrm", &common.hgrm)];
    for (option, path) in files {
        let Some(path) = path.as_deref().filter(|path| path.as_os_str() != "-") else { continue };
        if path.exists() && !path.is_file() && !path.is_dir() {
            continue; // a pipe or a device: to open it is already to use it
        }
        let is_new = !path.exists();
        // The name given to --hgrm is only the beginning of the names of its files.
        let tried = fs::OpenOptions::new().create(true).append(true).open(path);
        let cannot = |error| Trouble::usage(format!("{option} {}: it cannot be written: {error}", path.display()));
        tried.map_err(cannot)?;
        if is_new {
            fs::remove_file(path).map_err(cannot)?;
        }
    }
    Ok(())
}

/// Writes a text to a file.
pub fn put_text(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Writes JSON to a file, or to standard output for `-`.
pub fn put(path: &Path, document: &Value) -> Result<(), String> {
    let text = format!("{document:#}\n");
    let done =
        if path.as_os_str() == "-" { std::io::stdout().write_all(text.as_bytes()) } else { fs::write(path, text) };
    done.map_err(|error| format!("cannot write {}: {error}", path.display()))
}
