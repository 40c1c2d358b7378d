//! The ledger on disk: what this site must never forget, appended and synced in groups by a thread of its own.
//!
//! Owned by the keeper of the rights, the only one that offers records; [`crate::tally::ledger`] says what the octets
//! mean. The file is `ledger` in `node.data_dir`, mode 0600; a lock beside it keeps a second process away, but for one that
//! takes over and gets both ([`AtRest`]).

mod at_rest;
mod hand_on;
mod open;
mod storage;
#[cfg(test)]
mod tests;
mod writer;

pub use at_rest::{AtRest, Position};
pub use open::{FILE_NAME, LedgerFile, OpenError, Opened, open};
pub use storage::{Disk, Storage};
pub use writer::{LedgerStatus, LedgerWriter, NotTaken, QUEUE_MAX};

use std::io;

/// Starts the thread that appends. `changed` is called after each batch, and when the disk begins or ceases to refuse;
/// it must not block.
///
/// # Errors
/// No thread.
pub fn start(file: LedgerFile, changed: impl Fn() + Send + 'static) -> io::Result<LedgerWriter> {
    writer::start(file.appender, Some(file.lock), file.from, changed)
}

/// The same on a disk of a test.
///
/// # Errors
/// No thread.
#[cfg(test)]
pub(super) fn start_on(storage: impl Storage, changed: impl Fn() + Send + 'static) -> io::Result<LedgerWriter> {
    let appender = writer::Appender::new(storage, 0, crate::tally::ledger::BATCH_FIRST);
    writer::start(appender, None, Position::default(), changed)
}
