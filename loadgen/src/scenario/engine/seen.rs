//! Messages that a call has received, so that one that comes again is answered as before and means nothing else.

use std::hash::{BuildHasher as _, Hasher as _};

use bytes::Bytes;

use crate::core::Path;

/// Messages received, by their hash, and what was sent at once in answer to each.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    messages: Vec<(u64, Option<(Path, Bytes)>)>,
    answering: bool,
}

impl Seen {
    /// Messages remembered.
    const MAX: usize = 64;

    /// The answer to a message that was received before; `Some(None)` if it had none.
    pub fn find(&self, hash: u64) -> Option<Option<&(Path, Bytes)>> {
        self.messages.iter().rev().find(|seen| seen.0 == hash).map(|seen| seen.1.as_ref())
    }

    /// A message came; what is sent now answers it.
    pub fn received(&mut self, hash: u64) {
        if self.messages.len() == Self::MAX {
            self.messages.remove(0);
        }
        self.messages.push((hash, None));
        self.answering = true;
    }

    /// A message is sent.
    pub fn sent(&mut self, path: Path, bytes: &Bytes) {
        if let Some(last) = self.messages.last_mut().filter(|_| self.answering) {
            last.1 = Some((path, bytes.clone()));
        }
    }

    /// The call waits for something new: what it sends after that answers none of them.
    pub fn end_turn(&mut self) {
        self.answering = false;
    }
}

/// Stands for the bytes of a message.
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = ahash::RandomState::with_seeds(1, 2, 3, 4).build_hasher();
    hasher.write(bytes);
    hasher.finish()
}
