//! The arithmetic of time that the promise rests on, and the bugs that the simulator plants to show that each matters.

use super::settings::{Policy, Settings};
use crate::base::Instant;
use crate::base::time::Duration;

/// A planted bug. Only the simulator sets one: see [`Settings::fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A loan's end is counted from its receipt instead of from the request.
    LeaseFromReceipt,
    /// Loans out are not written down.
    LoansNotDurable,
    /// After a restart the rest of a loan's time is guessed from the clock of the life before.
    OldReclaimTime,
    /// A loan is taken whenever it arrives, however often.
    GrantReplay,
    /// The lender does not wait for calls that may finish.
    KeepCallsNoWait,
    /// The lender's wait has no margin for clocks.
    NoDriftMargin,
    /// A new process admits while media of the old one flows.
    NoAdoptHold,
    /// Rights are lent that are only borrowed.
    LendLeased,
    /// A loan is told before it is written down.
    SendBeforeDurable,
    /// A placement is added whenever it arrives, however often.
    PlacedTwice,
    /// A home with a new ledger issues without asking.
    FoundingSkipped,
    /// A lower incarnation is taken for a live one.
    FencedAccepted,
    /// Rights of a retired site are given out before what it had lent has ended.
    RetiredNoWait,
    /// A borrower that restarted is believed to have no calls up at once.
    RestartNoWait,
    /// A loan that its lender wants back ends with the calls on it, also under *drop*.
    CalledInEnds,
    /// Calls that hold an account's cell of before a reload are forgotten.
    FormerForgotten,
}

impl Fault {
    /// All of them, by the name that the command line takes.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("lease_from_receipt", Self::LeaseFromReceipt),
        ("loans_not_durable", Self::LoansNotDurable),
        ("old_reclaim_time", Self::OldReclaimTime),
        ("grant_replay", Self::GrantReplay),
        ("keep_calls_no_wait", Self::KeepCallsNoWait),
        ("no_drift_margin", Self::NoDriftMargin),
        ("no_adopt_hold", Self::NoAdoptHold),
        ("lend_leased", Self::LendLeased),
        ("send_before_durable", Self::SendBeforeDurable),
        ("placed_twice", Self::PlacedTwice),
        ("founding_skipped", Self::FoundingSkipped),
        ("fenced_incarnation_accepted", Self::FencedAccepted),
        ("retired_no_wait", Self::RetiredNoWait),
        ("restart_no_wait", Self::RestartNoWait),
        ("called_in_ends", Self::CalledInEnds),
        ("former_forgotten", Self::FormerForgotten),
    ];
}

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

    #[test]
    fn each_fault_has_a_name_of_its_own() {
        for (at, (name, fault)) in Fault::ALL.iter().enumerate() {
            assert!(Fault::ALL[at + 1..].iter().all(|(other, same)| other != name && same != fault));
        }
    }
}
