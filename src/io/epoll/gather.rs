//! Gathering a batch where `epoll_wait` cannot: a busy driver sleeps a little before it looks, so that one wake-up
//! finds several datagrams. An idle one is woken by the first.

use std::time::{Duration, Instant};

/// How often it is decided anew whether the driver is busy.
const WINDOW: Duration = Duration::from_millis(10);

pub(super) struct Gather {
    span: Duration,
    start: Instant,
    received: u64,
    busy: bool,
}

impl Gather {
    pub(super) fn new(span: Duration) -> Self {
        Self { span, start: Instant::now(), received: 0, busy: false }
    }

    /// Sleeps if that pays and the owner can wait so long. `received` counts all datagrams so far.
    pub(super) fn wait(&mut self, timeout: Option<Duration>, received: u64) {
        if self.span.is_zero() {
            return;
        }
        let elapsed = self.start.elapsed();
        if elapsed >= WINDOW {
            self.busy = is_busy(self.span, elapsed, received - self.received);
            (self.start, self.received) = (Instant::now(), received);
        }
        if self.busy && timeout.is_none_or(|timeout| timeout > self.span) {
            std::thread::sleep(self.span);
        }
    }
}

/// Two datagrams or more are to be expected in a span.
fn is_busy(span: Duration, elapsed: Duration, received: u64) -> bool {
    u128::from(received) * span.as_nanos() >= 2 * elapsed.as_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_in_a_span_are_busy() {
        let (span, window) = (Duration::from_micros(100), Duration::from_millis(10));
        assert!(!is_busy(span, window, 199) && is_busy(span, window, 200));
        assert!(!is_busy(span, Duration::from_secs(60), 200));
    }
}
