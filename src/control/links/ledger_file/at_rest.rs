//! A ledger that nobody writes to, as one process gives it and another one takes it.
//!
//! Owned by the keeper.

use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;

/// Where a ledger stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Octets that are on disk, and all that there are.
    pub(super) bytes: u64,
    pub(super) next_batch: u64,
    /// The last record that is on disk.
    pub(super) durable: u64,
    /// Records, batches and failed tries so far.
    pub(super) counts: [u64; 3],
}

/// A ledger that nobody writes to.
#[derive(Debug)]
pub struct AtRest {
    /// Where it stands.
    pub position: Position,
    /// The file, open for appending.
    pub file: OwnedFd,
    /// What keeps others away.
    pub lock: OwnedFd,
}
