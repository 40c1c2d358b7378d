//! What a shard tells the keeper of the rights: bounded notes, none of which a call waits for, except one that asked.

use crate::base::id::Token;
use crate::base::{Instant, ShardId, Slot};
use std::sync::Arc;

/// One note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A call of this account has begun: a row of the session database.
    Began {
        /// Which account, or both when each has given a right.
        account: Arc<str>,
        /// Names the call within the incarnation.
        call: Token,
        /// On the shards' clock.
        started: Instant,
    },
    /// It is over.
    Ended {
        /// Which account.
        account: Arc<str>,
        /// The call.
        call: Token,
    },
    /// A call was refused for want of a right, or nearly so: more would be used.
    Wanted {
        /// Which account.
        account: Arc<str>,
    },
    /// A call waits for a right. Answered in any case, by a letter to the shard.
    Borrow {
        /// Which account.
        account: Arc<str>,
        /// Who asks.
        shard: ShardId,
        /// For which of its calls.
        call: Slot,
        /// The caller is answered by then.
        deadline: Instant,
    },
}
