//! What leaves the machine, in order: nothing that depends on a record leaves before the record is on disk.
//!
//! Owned by the rights machine.

use super::output::{Event, Output};
use crate::tally::{Message, Record, SiteId};
use std::collections::VecDeque;

/// Outputs, and messages that wait for the disk.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    outputs: VecDeque<Output>,
    waiting: VecDeque<(u64, SiteId, Message)>,
    written: u64,
    durable: u64,
}

impl Outbox {
    /// Goes on where everything had been written: `written` of it.
    pub fn resumed(written: u64) -> Self {
        Self { written, durable: written, ..Self::default() }
    }

    /// What is on its way still, if anything.
    pub fn rests(&self) -> Result<(), &'static str> {
        match () {
            () if !self.outputs.is_empty() => Err("outputs wait"),
            () if self.durable < self.written || !self.waiting.is_empty() => Err("records are not on disk yet"),
            () => Ok(()),
        }
    }

    /// Asks for a record to be written.
    pub fn persist(&mut self, record: Record) {
        self.written += 1;
        self.outputs.push_back(Output::Persist { seq: self.written, record });
    }

    /// Sends what depends on no record.
    pub fn send(&mut self, to: SiteId, message: Message) {
        self.outputs.push_back(Output::Send { to, message });
    }

    /// Sends once everything that has been written so far is on disk.
    pub fn send_after(&mut self, to: SiteId, message: Message) {
        if self.durable >= self.written {
            self.send(to, message);
        } else {
            self.waiting.push_back((self.written, to, message));
        }
    }

    /// The disk has everything up to this.
    pub fn durable(&mut self, up_to: u64) {
        self.durable = self.durable.max(up_to.min(self.written));
        while self.waiting.front().is_some_and(|(seq, ..)| *seq <= self.durable) {
            let Some((_, to, message)) = self.waiting.pop_front() else { break };
            self.outputs.push_back(Output::Send { to, message });
        }
    }

    pub fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    pub fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub fn pop(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Messages that wait for the disk.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The last record asked for.
    pub fn written(&self) -> u64 {
        self.written
    }
}
