//! The two timers a transaction has at most, as keys into the layer's wheel.

use super::action::{Slot, Timer, Timers};
use crate::base::time::Duration;
use crate::base::{self, Instant, TimerKey, Wheel};
use serde::{Deserialize, Serialize};

/// What the wheel hands back: whose timer it is, and which.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Fire {
    Client(base::Slot, Timer),
    Server(base::Slot, Timer),
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Clock {
    retry: Option<TimerKey>,
    limit: Option<TimerKey>,
    /// What ran last in the retry slot, and for how long: repeated, it grows.
    repeated: Option<Timer>,
    interval_millis: u32,
}

impl Clock {
    /// Starts a timer; true if it is of length zero and fires at once.
    pub(super) fn start(
        &mut self,
        wheel: &mut Wheel<Fire>,
        now: Instant,
        length: Option<Duration>,
        timer: Timer,
        fire: Fire,
    ) -> bool {
        self.stop(wheel, timer.slot());
        let Some(length) = length else { return false };
        if length.is_zero() {
            return true;
        }
        // The wheel has room for two timers of every transaction.
        let key = wheel.schedule(now + length, fire).ok();
        match timer.slot() {
            Slot::Retry => {
                self.retry = key;
                self.repeated = Some(timer);
                self.interval_millis = u32::try_from(length.as_millis()).unwrap_or(u32::MAX);
            }
            Slot::Limit => self.limit = key,
        }
        false
    }

    pub(super) fn length(&self, timers: &Timers, timer: Timer, reliable: bool) -> Option<Duration> {
        let previous = Duration::from_millis(self.interval_millis.into());
        timers.length(timer, reliable, (self.repeated == Some(timer)).then_some(previous))
    }

    pub(super) fn stop(&mut self, wheel: &mut Wheel<Fire>, slot: Slot) {
        let key = match slot {
            Slot::Retry => self.retry.take(),
            Slot::Limit => self.limit.take(),
        };
        if let Some(key) = key {
            wheel.cancel(key);
        }
    }

    /// Notes that a timer has left the wheel.
    pub(super) fn fired(&mut self, timer: Timer) {
        match timer.slot() {
            Slot::Retry => self.retry = None,
            Slot::Limit => self.limit = None,
        }
    }

    /// Timers in the wheel.
    pub(super) fn running(&self) -> usize {
        usize::from(self.retry.is_some()) + usize::from(self.limit.is_some())
    }
}
