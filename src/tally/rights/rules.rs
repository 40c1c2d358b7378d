//! The arithmetic of time that the promise rests on.

use super::fault::Fault;
use super::settings::{Policy, Settings};
use crate::base::Instant;
use crate::base::time::Duration;

/// The times of the protocol, worked out once.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// D.
    pub lease: Duration,
    /// Longest that a lender waits for a loan: D·f + X·f + slop, and M·f under *keep*.
    pub reclaim: Duration,
    /// How long calls of a peer's process that has died may be heard: X·f + slop.
    pub dead: Duration,
    /// How long a new process of ours admits nothing.
    pub hold: Duration,
    fault: Option<Fault>,
}

impl Rules {
    pub fn new(settings: &Settings) -> Self {
        let fault = settings.fault;
        let stretched = |time: Duration| match fault {
            Some(Fault::NoDriftMargin) => time,
            _ => stretch(time, settings.drift_ppm),
        };
        let calls = match settings.policy {
            Policy::Keep if fault != Some(Fault::KeepCallsNoWait) => stretched(settings.max_call),
            _ => Duration::ZERO,
        };
        let dead = stretched(settings.dead_man) + settings.slop;
        let no_hold = fault == Some(Fault::NoAdoptHold) || settings.dead_man == Duration::ZERO;
        Self {
            lease: settings.lease,
            reclaim: stretched(settings.lease) + calls + dead,
            dead: if fault == Some(Fault::RestartNoWait) { Duration::ZERO } else { dead },
            hold: if no_hold { Duration::ZERO } else { stretched(settings.dead_man) },
            fault,
        }
    }

    pub fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// When a loan ends that was asked for, or renewed, by a message sent at `sent_at` and answered at `now`.
    pub fn expiry(&self, sent_at: Instant, now: Instant) -> Instant {
        let from = if self.has(Fault::LeaseFromReceipt) { now } else { sent_at };
        from + self.lease
    }
}

/// f = (1 + ρ) / (1 − ρ): what one clock may count while another counts `time`.
fn stretch(time: Duration, drift_ppm: u32) -> Duration {
    let drift = u128::from(drift_ppm.min(500_000));
    let nanos = time.as_nanos() * (1_000_000 + drift) / (1_000_000 - drift) + 1;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lender_waits_longer_than_any_borrower() {
        let settings = Settings { drift_ppm: 100_000, policy: Policy::Drop, ..Settings::default() };
        let rules = Rules::new(&settings);
        // Thirty seconds of a slow borrower are 33.3 s; a fast lender counts 36.7 s meanwhile.
        assert!(rules.reclaim >= Duration::from_millis(36_666) + settings.slop);
        let keep = Rules::new(&Settings { policy: Policy::Keep, ..settings.clone() });
        assert!(keep.reclaim > rules.reclaim + settings.max_call);
    }
}
