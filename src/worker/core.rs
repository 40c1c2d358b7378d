//! What a worker drives. There is one in the appliance, the shard; tests of the loop have another.

use crate::base::{Forward, Instant};
use crate::shard::{Input, Output, Shard, Waiting};

/// A sans-IO machine: inputs with the time, outputs to be drained, a deadline.
pub trait Core: Send {
    /// Takes one input; a datagram may be forwarded from where it lies.
    fn handle(&mut self, now: Instant, input: Input<'_>) -> Option<Forward>;

    /// Does what is due.
    fn handle_timeout(&mut self, now: Instant);

    /// The next thing to do outside.
    fn poll_output(&mut self) -> Option<Output>;

    /// When [`handle_timeout`](Self::handle_timeout) is wanted next.
    fn next_deadline(&self) -> Option<Instant>;

    /// So many records wait to be written.
    fn set_records_waiting(&mut self, count: usize);

    /// All that it knows, for another process; outputs have been drained.
    fn freeze(&mut self, now: Instant, waiting: Waiting) -> Vec<u8>;

    /// Until when the keeper's last beat holds; asked before mail is counted.
    fn last_beat(&self) -> Instant;

    /// All mail that was there when that beat was seen has been handed in.
    fn has_read_mail(&mut self, now: Instant, beat: Instant);
}

impl Core for Shard {
    fn handle(&mut self, now: Instant, input: Input<'_>) -> Option<Forward> {
        Self::handle(self, now, input)
    }

    fn handle_timeout(&mut self, now: Instant) {
        Self::handle_timeout(self, now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        Self::poll_output(self)
    }

    fn next_deadline(&self) -> Option<Instant> {
        Self::next_deadline(self)
    }

    fn freeze(&mut self, now: Instant, waiting: Waiting) -> Vec<u8> {
        Self::freeze(self, now, waiting)
    }

    fn set_records_waiting(&mut self, count: usize) {
        Self::set_records_waiting(self, count);
    }

    fn last_beat(&self) -> Instant {
        Self::last_beat(self)
    }

    fn has_read_mail(&mut self, now: Instant, beat: Instant) {
        Self::has_read_mail(self, now, beat);
    }
}
