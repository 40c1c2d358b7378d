//! What a shard tells the keeper of the rights: bounded notes, none of which a call waits for, except one that asked.

use crate::base::id::Token;
use crate::base::{Instant, ShardId, Slot};
use std::sync::Arc;

/// A call and an account that has given it a right: one row of the session database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The account.
    pub account: Arc<str>,
    /// Names the call within the incarnation.
    pub call: Token,
    /// The right was taken; on the shards' clock.
    pub started: Instant,
}

/// One note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A call has taken a right of this account. With two accounts of ours there are two such notes.
    Began {
        /// Which account.
        account: Arc<str>,
        /// Names the call within the incarnation.
        call: Token,
        /// On the shards' clock.
        started: Instant,
    },
    /// The right is back.
    Ended {
        /// Which account.
        account: Arc<str>,
        /// The call.
        call: Token,
    },
    /// All that this shard has begun and not ended, in the place of everything that it has said of it before: the queue
    /// was full for a while and notes were lost, or somebody asked.
    Calls {
        /// Which shard.
        shard: ShardId,
        /// Its calls, in no order.
        calls: Vec<Session>,
    },
    /// So many phones of this account are registered here now, in the place of what was said before: its calls will come
    /// here, too.
    Phones {
        /// Which account.
        account: Arc<str>,
        /// How many.
        phones: u32,
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
