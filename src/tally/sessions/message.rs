//! What sites tell each other about their calls: rows that only their own site writes, as operations with a number each.
//!
//! Owned by [`super::Sessions`]. Messages may be lost, doubled or out of order; the site at the other end of the link is
//! the writer of what a message says, so that no message names a site.

use crate::base::Instant;
use crate::base::id::Token;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A call that is up, as its own site knows it. A call that took a right of two accounts has two rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Whose limit it counts for.
    pub account: Arc<str>,
    /// Names the call within the incarnation of its site.
    pub call: Token,
    /// On the clock of its own site.
    pub started: Instant,
}

/// One change of a site's rows. Operations of an incarnation are numbered from 1 without a gap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// A row appears; its number is that of this operation.
    Began(Row),
    /// A row goes.
    Ended {
        /// Its number.
        row: u64,
    },
}

/// What a site says of its rows, so that a copy can be compared with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// The last operation.
    pub sequence: u64,
    /// Rows.
    pub rows: u32,
    /// Of all rows in any order.
    pub hash: u64,
    /// Calls that are up without a row, because the table was full.
    pub unlisted: u32,
}

/// One message about sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionMessage {
    /// I have your operations up to this one: tell me what comes after it.
    Want {
        /// 0: nothing at all.
        after: u64,
    },
    /// Operations without a gap.
    Operations {
        /// Number of the first one; at least 1.
        first: u64,
        /// They.
        operations: Vec<Operation>,
    },
    /// A part of all rows as they were after one operation.
    Snapshot {
        /// After this one.
        at: u64,
        /// Counts from 0.
        part: u32,
        /// How many parts there are; at least 1.
        parts: u32,
        /// Each with its number.
        rows: Vec<(u64, Row)>,
    },
    /// How it stands.
    Digest(Digest),
}

/// Octets that an operation or a row takes on the wire besides the account's name, at most.
const ROW_BYTES: usize = 40;

impl Row {
    /// At least as many octets as it takes on the wire.
    #[must_use]
    pub fn cost(&self) -> usize {
        ROW_BYTES + self.account.len()
    }
}

impl Operation {
    /// At least as many octets as it takes on the wire.
    #[must_use]
    pub fn cost(&self) -> usize {
        match self {
            Self::Began(row) => row.cost(),
            Self::Ended { .. } => ROW_BYTES,
        }
    }
}
