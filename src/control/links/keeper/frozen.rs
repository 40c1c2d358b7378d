//! The keeper at rest, to go on in another process as the same incarnation: what it knows, but for its links.
//!
//! Owned by the links. To all other sites a change of process is a pause and a cut link, which the rights allow for. A replay
//! of the ledger would not do: it forgets loans in, on which calls stand that come along.

use std::io;

use crossbeam::channel::Receiver;

use super::Keeper;
use crate::base::Instant;
use crate::control::links::inbox::Freeze;
use crate::control::links::ledger_file::AtRest;
use crate::control::links::packed::FrozenKeeper;

impl Keeper {
    /// Somebody wants it to stand still.
    pub fn asked_to_freeze(&mut self) -> Option<Freeze> {
        self.freeze.take()
    }

    /// Takes all turns that it needs no disk for. True when there is nothing that the disk does not have.
    ///
    /// # Errors
    /// The disk refuses: a sentence.
    pub fn settle_down(&mut self, now: Instant) -> Result<bool, String> {
        self.configure(now, usize::MAX);
        self.turn(now);
        self.ledger.is_settled().map_err(|why| {
            format!(
                "the ledger of the rights cannot be written ({why}): what this site has lent and returned must be on disk \
                 before its process changes; see `readyz`, and try again when it can"
            )
        })
    }

    /// Asks where the ledger stands. None: its thread is gone.
    pub fn rest_ledger(&self) -> Option<Receiver<io::Result<AtRest>>> {
        self.ledger.rest()
    }

    /// Everything that it knows; it has settled down, and does nothing more unless it goes on itself.
    ///
    /// # Errors
    /// A sentence.
    pub fn freeze(&self) -> Result<FrozenKeeper, String> {
        let starts = self.starts.iter().flatten().cloned().collect();
        Ok(FrozenKeeper { rights: self.rights.freeze()?, sessions: self.sessions.freeze(), starts })
    }
}
