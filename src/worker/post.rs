//! The mailboxes of all shards: bounded lock-free queues, each with the waker of the shard that reads it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam::queue::ArrayQueue;

use crate::base::ShardId;
use crate::io::Waker;
use crate::shard::Mail;

struct Mailbox {
    letters: ArrayQueue<Mail>,
    waker: OnceLock<Waker>,
    closed: AtomicBool,
}

/// Delivers letters to shards, from any thread.
pub struct Post {
    boxes: Box<[Mailbox]>,
}

impl std::fmt::Debug for Post {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_list().entries(self.boxes.iter().map(|mailbox| mailbox.letters.len())).finish()
    }
}

impl Post {
    /// Mailboxes for so many shards, each for at most `letters_max` letters.
    #[must_use]
    pub fn new(shards: u8, letters_max: usize) -> Arc<Self> {
        let mailbox = |_| Mailbox {
            letters: ArrayQueue::new(letters_max.max(1)),
            waker: OnceLock::new(),
            closed: AtomicBool::new(false),
        };
        Arc::new(Self { boxes: (0..shards).map(mailbox).collect() })
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> u8 {
        u8::try_from(self.boxes.len()).unwrap_or(u8::MAX)
    }

    fn mailbox(&self, shard: ShardId) -> Option<&Mailbox> {
        self.boxes.get(usize::from(shard.0))
    }

    /// Delivers and wakes; false when the mailbox is full or its shard is gone.
    pub fn post(&self, to: ShardId, mail: Mail) -> bool {
        self.post_by(to, mail, Waker::wake)
    }

    /// The same, waking by other means.
    pub(super) fn post_by(&self, to: ShardId, mail: Mail, wake: impl FnOnce(&Waker)) -> bool {
        let Some(mailbox) = self.mailbox(to) else { return false };
        if mailbox.closed.load(Ordering::Acquire) || mailbox.letters.push(mail).is_err() {
            return false;
        }
        if let Some(waker) = mailbox.waker.get() {
            wake(waker);
        }
        true
    }

    /// The shard ended, in whatever way.
    #[must_use]
    pub fn is_closed(&self, shard: ShardId) -> bool {
        self.mailbox(shard).is_none_or(|mailbox| mailbox.closed.load(Ordering::Acquire))
    }

    /// Names the waker of the shard that reads this box.
    pub(super) fn attach(&self, shard: ShardId, waker: Waker) {
        if let Some(mailbox) = self.mailbox(shard) {
            // A letter may have come before its reader.
            if !mailbox.letters.is_empty() {
                waker.wake();
            }
            let _ = mailbox.waker.set(waker);
        }
    }

    /// Ends the shard's wait.
    pub(super) fn wake(&self, shard: ShardId) {
        if let Some(waker) = self.mailbox(shard).and_then(|mailbox| mailbox.waker.get()) {
            waker.wake();
        }
    }

    /// The oldest letter: for its shard, or for whoever empties the box of one that stands still.
    pub fn take(&self, shard: ShardId) -> Option<Mail> {
        self.mailbox(shard)?.letters.pop()
    }

    pub(super) fn len(&self, shard: ShardId) -> usize {
        self.mailbox(shard).map_or(0, |mailbox| mailbox.letters.len())
    }

    pub(super) fn is_empty(&self, shard: ShardId) -> bool {
        self.mailbox(shard).is_none_or(|mailbox| mailbox.letters.is_empty())
    }

    /// Closes the box when dropped, also by a panic.
    pub(super) fn leaving(self: &Arc<Self>, shard: ShardId) -> impl Drop + use<> {
        struct Leaving(Arc<Post>, ShardId);
        impl Drop for Leaving {
            fn drop(&mut self) {
                if let Some(mailbox) = self.0.mailbox(self.1) {
                    mailbox.closed.store(true, Ordering::Release);
                    // Whoever waits for an answer learns that none will come.
                    while mailbox.letters.pop().is_some() {}
                }
            }
        }
        Leaving(Arc::clone(self), shard)
    }
}
