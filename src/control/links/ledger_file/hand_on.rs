//! The ledger in a change of process: the new one goes on in the same open file, where the old one rests.
//!
//! Owned by the keeper. A lock belongs to the open file and not to a process: as long as either process has its descriptor it
//! is held, so that no third one finds the ledger free in between, and two never write, since one of them rests.

use super::at_rest::AtRest;
use super::open::{FILE_NAME, LedgerFile};
use super::storage::Disk;
use super::writer::Appender;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

impl LedgerFile {
    /// The ledger in `folder`, which another process has given away.
    ///
    /// # Errors
    /// It lies elsewhere, or is not as it was said to be; nothing was changed.
    pub fn take_on(folder: &Path, at_rest: AtRest) -> Result<Self, String> {
        let AtRest { position, file, lock } = at_rest;
        let (path, file) = (folder.join(FILE_NAME), File::from(file));
        let here = path.metadata().map_err(|error| elsewhere(&path, &error))?;
        let there = file.metadata().map_err(|error| elsewhere(&path, &error))?;
        if (here.dev(), here.ino()) != (there.dev(), there.ino()) {
            return Err(elsewhere(&path, &io::Error::other("it is another file")));
        }
        if there.len() != position.bytes {
            let (path, bytes) = (path.display(), position.bytes);
            return Err(format!("{path} has {} octets, where the running process has written {bytes}", there.len()));
        }
        let appender = Appender::new(Disk::adopt(&path, file), position.bytes, position.next_batch);
        Ok(Self { appender, lock: lock.into(), from: position })
    }
}

fn elsewhere(path: &Path, error: &io::Error) -> String {
    format!(
        "{} is not the ledger of the running process ({error}): set node.data_dir to the same folder, or drain and restart",
        path.display()
    )
}
