//! What goes to one linked site: frames in batches, and the session database's news as fast as the site takes them.
//!
//! Owned by the keeper, one for each link that stands. Bounded: a site that does not read loses its link and starts anew
//! with what it wants to know.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::agree::Agreement;
use super::inbox::Line;
use crate::base::Instant;
use crate::tally::sessions::{News, Sessions, Snapshot};
use crate::tally::terms::TermsMessage;
use crate::tally::wire::{self, Frame, Hello, TERMS_SINCE};
use crate::tally::{Identity, SiteId};

/// Batches and octets on their way to one site.
const BATCHES_MAX: usize = 1_024;
const QUEUED_BYTES_MAX: usize = 8 << 20;
/// Beyond this, news of sessions wait: what is about rights goes first.
const NEWS_BYTES_MAX: usize = 512 << 10;

/// The queue is full: the link must be cut.
#[derive(Debug, PartialEq, Eq)]
pub struct Overflow;

/// A link that stands.
#[derive(Debug)]
pub struct Feed {
    /// Names the connection.
    pub line: u64,
    /// Who is there.
    pub identity: Identity,
    /// As the ledger numbers it.
    pub site: SiteId,
    /// Dialled by the site with the smaller name: such a link is kept.
    pub preferred: bool,
    /// The peer's clock and ours, when it greeted.
    clocks: (Instant, Instant),
    version: u8,
    outbox: mpsc::Sender<Bytes>,
    queued: Arc<AtomicUsize>,
    batch: Vec<u8>,
    /// Up to where the site has been sent our sessions; none before it has said what it has.
    cursor: Option<u64>,
    snapshot: Option<Snapshot>,
    /// What has been found out about its configuration.
    pub agreement: Agreement,
}

impl Feed {
    /// A feed, and the connection's end of it.
    #[must_use]
    pub fn new(line: u64, site: SiteId, hello: Hello, version: u8, preferred: bool, now: Instant) -> (Self, Line) {
        let (outbox, receiver) = mpsc::channel(BATCHES_MAX);
        let queued = Arc::new(AtomicUsize::new(0));
        let end = Line { id: line, outbox: receiver, queued: Arc::clone(&queued) };
        let (identity, clocks) = (hello.identity, (hello.clock, now));
        let this = Self {
            line,
            identity,
            site,
            preferred,
            clocks,
            version,
            outbox,
            queued,
            batch: Vec::new(),
            cursor: None,
            snapshot: None,
            agreement: Agreement::default(),
        };
        (this, end)
    }

    /// An instant of the site's clock on ours, but for the way of its greeting and the drift since.
    #[must_use]
    pub fn here(&self, theirs: Instant) -> Instant {
        let (their, our) = self.clocks;
        let shifted = i128::from(theirs.as_nanos()) - i128::from(their.as_nanos()) + i128::from(our.as_nanos());
        Instant::from_nanos(u64::try_from(shifted.max(0)).unwrap_or(u64::MAX))
    }

    /// Puts a frame into the batch. What has no form on the wire is dropped: names are checked where they come from.
    pub fn push(&mut self, frame: &Frame) {
        let put = wire::encode(self.version, frame, &mut self.batch);
        debug_assert!(put.is_ok(), "{frame:?}");
    }

    /// Says what is configured here, if the site's version has words for it.
    pub fn push_terms(&mut self, message: TermsMessage) {
        if self.version >= TERMS_SINCE {
            self.push(&Frame::Terms(message));
        }
    }

    /// The site has our sessions up to `after`.
    pub fn owes(&mut self, after: u64) {
        (self.cursor, self.snapshot) = (Some(after), None);
    }

    /// True while the site has not been sent all of our sessions.
    #[must_use]
    pub fn is_behind(&self, sessions: &Sessions) -> bool {
        self.snapshot.is_some() || self.cursor.is_some_and(|cursor| cursor < sessions.sequence())
    }

    /// Puts news of our sessions into the batch, as much as is good.
    pub fn push_news(&mut self, sessions: &Sessions) {
        while self.batch.len() + self.queued.load(Relaxed) < NEWS_BYTES_MAX {
            if let Some(snapshot) = &mut self.snapshot {
                match snapshot.next() {
                    Some(part) => self.push(&Frame::Sessions(part)),
                    None => self.snapshot = None,
                }
                continue;
            }
            let Some(cursor) = self.cursor else { return };
            match sessions.news(cursor) {
                News::Nothing => return,
                News::Operations { message, up_to } => {
                    self.push(&Frame::Sessions(message));
                    self.cursor = Some(up_to);
                }
                News::Snapshot(snapshot) => {
                    self.cursor = Some(snapshot.up_to());
                    self.snapshot = Some(snapshot);
                }
            }
        }
    }

    /// Hands the batch to the connection; tells how many octets.
    ///
    /// # Errors
    /// There is no room.
    pub fn flush(&mut self) -> Result<usize, Overflow> {
        let length = self.batch.len();
        if length == 0 {
            return Ok(0);
        }
        if self.queued.fetch_add(length, Relaxed) + length > QUEUED_BYTES_MAX {
            return Err(Overflow);
        }
        match self.outbox.try_send(Bytes::from(std::mem::take(&mut self.batch))) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(Overflow),
            // Closed: the connection is about to say that it is down.
            _ => Ok(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Token;
    use crate::base::{Random, ShardId, Slot};
    use crate::tally::sessions::{Bounds, SessionMessage};

    fn feed() -> (Feed, Line) {
        let identity = Identity { name: "b".into(), disk: 2, incarnation: 1 };
        let hello = Hello::new(identity, Instant::from_millis(5_000), 0);
        Feed::new(1, SiteId(1), hello, 2, true, Instant::from_millis(1_000))
    }

    fn frames(line: &mut Line) -> Vec<Frame> {
        let (mut out, mut octets) = (Vec::new(), Vec::new());
        while let Ok(batch) = line.outbox.try_recv() {
            octets.extend_from_slice(&batch);
        }
        let mut rest = octets.as_slice();
        while let Some((frame, length)) = wire::decode(rest).unwrap() {
            out.push(frame);
            rest = &rest[length..];
        }
        out
    }

    #[test]
    fn news_goes_from_where_the_site_stands() {
        let me = Identity { name: "a".into(), disk: 1, incarnation: 1 };
        let mut sessions = Sessions::new(me, Bounds::default(), &mut Random::from_u64(1));
        let (mut feed, mut line) = feed();
        let token = |salt| Token { shard: ShardId(0), slot: Slot::default(), salt };
        (1..=3).for_each(|salt| sessions.began("alice".into(), token(salt), Instant::ZERO));
        feed.push_news(&sessions);
        assert_eq!((feed.flush(), feed.is_behind(&sessions)), (Ok(0), false), "it has not asked yet");
        feed.owes(1);
        assert!(feed.is_behind(&sessions));
        feed.push_news(&sessions);
        assert!(feed.flush().unwrap() > 0 && !feed.is_behind(&sessions));
        let sent = frames(&mut line);
        assert!(
            matches!(&sent[..], [Frame::Sessions(SessionMessage::Operations { first: 2, operations })] if operations.len() == 2)
        );
    }

    #[test]
    fn who_does_not_read_overflows() {
        let (mut feed, _line) = feed();
        let mut sent = 0;
        let full = loop {
            feed.batch = vec![0; 1 << 20];
            match feed.flush() {
                Ok(length) => sent += length,
                Err(full) => break full,
            }
        };
        assert_eq!((full, sent), (Overflow, QUEUED_BYTES_MAX));
    }

    #[test]
    fn clocks_are_translated() {
        let (feed, _line) = feed();
        assert_eq!(feed.here(Instant::from_millis(4_500)), Instant::from_millis(500));
        assert_eq!(feed.here(Instant::from_millis(1)), Instant::ZERO);
    }
}
