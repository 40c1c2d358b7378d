//! Until when packets may be relayed. Where calls end with the loans that they were admitted on (`limits.policy =
//! "drop"`), media that goes on after a loan's end is a call too many: the keeper's hang-ups must reach a shard in time.
//! A process that stood still has packets in its sockets that waited with it, and they are read before any letter is.
//!
//! Owned by the shard; the worker says when all letters that the keeper wrote before its last beat have been read.

use crate::base::Instant;
use crate::base::time::Duration;
use crate::tally::Pulse;
use std::sync::Arc;

/// A shard without traffic looks at the pulse again so long before the last beat ends; the keeper beats more often.
const AHEAD: Duration = Duration::from_millis(350);
/// While the keeper stands still.
const AGAIN: Duration = Duration::from_millis(100);

/// See the head of this file. Costs a packet one comparison.
#[derive(Debug)]
pub(super) struct Trust {
    /// None where calls outlive their loans, or nobody lends: always.
    pulse: Option<Arc<Pulse>>,
    until: Instant,
    look_at: Instant,
}

impl Trust {
    pub fn always() -> Self {
        Self { pulse: None, until: Instant::MAX, look_at: Instant::MAX }
    }

    /// While that pulse beats, as far as its keeper's letters have been read.
    pub fn in_pulse(pulse: Arc<Pulse>) -> Self {
        Self { pulse: Some(pulse), until: Instant::ZERO, look_at: Instant::ZERO }
    }

    /// Until when the keeper's last beat holds.
    pub fn last_beat(&self) -> Instant {
        self.pulse.as_ref().map_or(Instant::MAX, |pulse| pulse.until())
    }

    /// Whatever the keeper wrote before that beat has been read.
    pub fn has_read(&mut self, now: Instant, beat: Instant) {
        self.until = beat;
        if self.pulse.is_some() {
            self.look_at =
                Instant::from_nanos(beat.as_nanos().saturating_sub(AHEAD.as_nanos() as u64)).max(now + AGAIN);
        }
    }

    /// When the pulse is to be looked at, whatever happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        (self.look_at < Instant::MAX).then_some(self.look_at)
    }

    /// It will be, in this turn.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.look_at <= now {
            self.look_at = now + AGAIN;
        }
    }

    /// What it remembers of a pulse.
    pub fn times(&self) -> (Instant, Instant) {
        (self.until, self.look_at)
    }

    /// Remembers it in another life, if there is a pulse in that.
    pub fn resume(&mut self, (until, look_at): (Instant, Instant)) {
        if self.pulse.is_some() {
            (self.until, self.look_at) = (until, look_at);
        }
    }

    pub fn holds(&self, now: Instant) -> bool {
        now <= self.until
    }
}
