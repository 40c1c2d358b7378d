//! What goes along when the links change their process.
//!
//! Owned by the supervisor, which sends it and gets it.

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use super::ledger_file::Position;
use super::status::Counted;
use crate::tally::{Identity, rights, sessions};

/// What the links of another process go on from.
#[derive(Debug, Serialize, Deserialize)]
pub struct Frozen {
    /// Its keeper.
    pub(super) keeper: FrozenKeeper,
    /// In its greetings. With another one peers would take the new process for a copy of the disk.
    pub(super) start: u64,
    /// Where its ledger stands.
    pub(super) ledger: Position,
    /// What it has counted.
    pub(super) counted: Counted,
}

/// The same with what cannot be written down.
#[derive(Debug)]
pub struct Packed {
    /// Everything else.
    pub frozen: Frozen,
    /// The ledger, its lock, the socket of the links.
    pub descriptors: [OwnedFd; 3],
}

/// What a keeper goes on from.
#[derive(Debug, Serialize, Deserialize)]
pub struct FrozenKeeper {
    /// Accounts and their dealings.
    pub rights: rights::Frozen,
    /// The calls of all sites, and the numbers that peers have them under.
    pub sessions: sessions::Frozen,
    /// Who has greeted, and with which start of his process: a copy of his disk is known by another one.
    pub starts: Vec<(Identity, u64)>,
}
