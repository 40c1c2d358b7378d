//! The keeper's side of the ledger: records in order to the thread that writes them, and its word back to the machine.
//!
//! Owned by the keeper. What finds no room waits here; the machine moves no right while too much waits.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crossbeam::channel::Receiver;

use super::ledger_file::{AtRest, LedgerStatus, LedgerWriter, NotTaken};
use crate::base::Instant;
use crate::tally::Record;
use crate::tally::rights::Rights;

/// See the [module](self).
#[derive(Debug)]
pub struct Ledger {
    writer: LedgerWriter,
    waiting: VecDeque<(u64, Record)>,
    /// The last record that was to be written.
    written: u64,
    durable: u64,
    works: bool,
}

impl Ledger {
    /// A ledger that is open and works.
    #[must_use]
    pub fn new(writer: LedgerWriter) -> Self {
        let durable = writer.status().durable();
        Self { writer, waiting: VecDeque::new(), written: durable, durable, works: true }
    }

    /// What metrics and readiness read.
    #[must_use]
    pub fn status(&self) -> Arc<LedgerStatus> {
        Arc::clone(self.writer.status())
    }

    /// Every record up to this is on disk.
    #[must_use]
    pub const fn durable(&self) -> u64 {
        self.durable
    }

    /// Nothing will be written any more.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.writer.is_dead()
    }

    /// To be written, behind everything before it.
    pub fn append(&mut self, seq: u64, record: Record) {
        self.written = seq;
        self.waiting.push_back((seq, record));
    }

    /// Whether everything is on disk.
    ///
    /// # Errors
    /// The disk refuses: its word.
    pub fn is_settled(&self) -> Result<bool, String> {
        match self.writer.status().failing() {
            Some(why) => Err(why),
            None => Ok(self.durable == self.written),
        }
    }

    /// Asks where the file stands, for another process. None: not now, there is no room.
    pub fn rest(&self) -> Option<Receiver<io::Result<AtRest>>> {
        self.writer.rest().ok()
    }

    /// Hands over what there is room for, and tells the machine what the disk has done since. All outputs of the machine
    /// must have been taken. True when it was told something.
    pub fn turn(&mut self, now: Instant, rights: &mut Rights) -> bool {
        while let Some((seq, record)) = self.waiting.pop_front() {
            if let Err(NotTaken(record)) = self.writer.append(seq, record) {
                self.waiting.push_front((seq, record));
                break;
            }
        }
        let (works, durable) = (self.writer.status().works(), self.writer.status().durable());
        let news = (works, durable) != (self.works, self.durable);
        if self.works != works {
            self.works = works;
            rights.ledger_works(now, works);
        }
        if self.durable < durable {
            self.durable = durable;
            rights.durable(now, durable);
        }
        if self.waiting.is_empty() && works && self.writer.status().wants_compaction() {
            // Not taken: it is offered again when the disk has said something.
            let _ = self.writer.compact(rights.snapshot());
        }
        news
    }
}
