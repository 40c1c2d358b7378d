//! Which shard a message belongs to.
//!
//! Our own tags and branches carry their owner. What has none yet is hashed with a key that all shards of the node share:
//! a REGISTER by its AOR, so that an AOR's contacts have one home; everything else by its Call-ID, so that an INVITE, its
//! retransmissions, its CANCEL and the ACK of its failure meet. The key is random, so that nobody can aim at one shard.

use crate::base::id::Token;
use crate::base::{Keyed, ShardId, Source};
use crate::call::Directory;
use crate::sip::transaction::owner_of_branch;
use crate::sip::wire::{Message, Method};
use serde::{Deserialize, Serialize};

/// The same in every shard of the node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Steering {
    hasher: Keyed,
    shards: u8,
}

impl Steering {
    /// Steering between `shards` shards by a key of the node's own.
    #[must_use]
    pub fn new(shards: u8, key: [u64; 4]) -> Self {
        Self { hasher: Keyed::new(key), shards: shards.max(1) }
    }

    /// Between how many.
    #[must_use]
    pub fn shards(&self) -> u8 {
        self.shards
    }

    fn by_hash(&self, text: &[u8]) -> ShardId {
        let hash = self.hasher.hash_one(text);
        ShardId(((u128::from(hash) * u128::from(self.shards)) >> 64) as u8)
    }

    fn known(&self, token: Token) -> Option<ShardId> {
        (token.shard.0 < self.shards).then_some(token.shard)
    }

    /// The home of an account's contacts.
    #[must_use]
    pub fn home_of_account(&self, account: &[u8]) -> ShardId {
        self.by_hash(account)
    }

    /// Who keeps what is known of a source.
    #[must_use]
    pub fn home_of_source(&self, source: Source) -> ShardId {
        self.by_hash(&source.octets())
    }

    /// The owner of a message.
    #[must_use]
    pub fn owner(&self, directory: &Directory, message: &Message<'_>) -> ShardId {
        if self.shards == 1 {
            return ShardId(0);
        }
        if !message.is_request() {
            let token = message.via().branch().and_then(owner_of_branch);
            return token.and_then(|token| self.known(token)).unwrap_or_else(|| self.by_hash(message.call_id()));
        }
        if message.method() == Method::Register {
            let user = message.to().uri().user_unescaped().unwrap_or_default();
            let account = directory.account_of_user(&user).and_then(|place| directory.account(place));
            return self.by_hash(account.map_or(&*user, |account| account.name.as_bytes()));
        }
        let token = message.to().tag().and_then(Token::decode);
        token.and_then(|token| self.known(token)).unwrap_or_else(|| self.by_hash(message.call_id()))
    }
}
