//! What the machine wants done. The keeper drains it after every call; order matters and is kept.

use crate::base::time::Duration;
use crate::base::{ShardId, Slot};
use crate::tally::{Message, Permit, Record, SiteId};
use std::fmt;
use std::sync::Arc;

/// One thing to do.
#[derive(Debug)]
pub enum Output {
    /// Append to the ledger, in this order, and say so by `Rights::durable`. After a failed write the keeper writes a
    /// whole `Rights::snapshot` before it says that the ledger works again: a gap must never be followed by a record.
    Persist {
        /// Counts up by one.
        seq: u64,
        /// What.
        record: Record,
    },
    /// Send; whatever had to be durable first is.
    Send {
        /// To whom.
        to: SiteId,
        /// What.
        message: Message,
    },
    /// The answer to a call that waits.
    Right {
        /// Who asked.
        shard: ShardId,
        /// Which of its calls.
        call: Slot,
        /// The right, or the news that there is none.
        permit: Option<Permit>,
    },
    /// End this many calls of the account: their rights have run out (policy *drop*).
    HangUp {
        /// Which account.
        account: Arc<str>,
        /// How many.
        calls: u32,
    },
    /// For the log.
    Event(Event),
}

/// What an operator may want to read. `Display` is the sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A site's incarnation or disk is one that may not come back.
    Fenced {
        /// Its name.
        name: Arc<str>,
        /// What it said of itself.
        incarnation: u32,
    },
    /// The home waits for the word of these sites before it issues rights on a new ledger.
    NotFounded {
        /// Who has not answered, or holds rights of the old ledger still.
        waiting_for: Arc<str>,
    },
    /// This home issues rights now.
    Founded,
    /// A site has come back with another disk: what its old one held is stranded until it is retired.
    Stranded {
        /// Its name.
        name: Arc<str>,
        /// The last incarnation of the old disk.
        incarnation: u32,
    },
    /// An operator has retired it; base rights placed there come back after `wait`.
    Retired {
        /// Its name.
        name: Arc<str>,
        /// Until then nothing of it is given out again.
        wait: Duration,
    },
    /// A peer said something that its rights do not cover: counted, said once a site.
    Refused {
        /// Who.
        name: Arc<str>,
        /// What.
        what: &'static str,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fenced { name, incarnation } => {
                write!(
                    f,
                    "site {name}, incarnation {incarnation}, is fenced: a later one has been seen, or it was retired"
                )
            }
            Self::NotFounded { waiting_for } => {
                write!(
                    f,
                    "no rights are issued on this new ledger until {waiting_for} says that none of the old one are in use"
                )
            }
            Self::Founded => f.write_str("this home issues the rights of its accounts"),
            Self::Stranded { name, incarnation } => {
                write!(
                    f,
                    "site {name} has a new disk: rights of its old one are stranded until `strowger site retire {name} --incarnation {incarnation}`"
                )
            }
            Self::Retired { name, wait } => {
                write!(f, "site {name} is retired; its rights come back in {} s", wait.as_secs())
            }
            Self::Refused { name, what } => write!(f, "site {name} sent {what}: refused"),
        }
    }
}
