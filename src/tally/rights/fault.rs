//! The bugs that the simulator plants, one for each rule of the protocol, to show that the rule matters.

/// A planted bug. Only the simulator sets one: see [`Settings::fault`](super::Settings::fault).
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
    /// A new process does not know what the one before had borrowed.
    ThawForgetsLoansIn,
    /// A new process does not know what the one before had lent.
    ThawForgetsLoansOut,
    /// A new process counts the loans that it goes on with from its own beginning.
    ThawRenewsLoans,
    /// A new process that goes on with loans says that it is another incarnation.
    ThawRestarts,
    /// A new process takes all sites for linked.
    ThawKeepsLinks,
    /// A new process counts its loans from one again.
    ThawCountsLoansAnew,
    /// A new process counts its questions from one again.
    ThawCountsRequestsAnew,
    /// A new process does not wait for media of the process that died before the last one.
    ThawEndsHold,
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
        ("thaw_forgets_loans_in", Self::ThawForgetsLoansIn),
        ("thaw_forgets_loans_out", Self::ThawForgetsLoansOut),
        ("thaw_renews_loans", Self::ThawRenewsLoans),
        ("thaw_restarts", Self::ThawRestarts),
        ("thaw_keeps_links", Self::ThawKeepsLinks),
        ("thaw_counts_loans_anew", Self::ThawCountsLoansAnew),
        ("thaw_counts_requests_anew", Self::ThawCountsRequestsAnew),
        ("thaw_ends_hold", Self::ThawEndsHold),
    ];

    /// Seen only where sites change their process.
    #[must_use]
    pub const fn is_of_thaw(self) -> bool {
        matches!(
            self,
            Self::ThawForgetsLoansIn
                | Self::ThawForgetsLoansOut
                | Self::ThawRenewsLoans
                | Self::ThawRestarts
                | Self::ThawKeepsLinks
                | Self::ThawCountsLoansAnew
                | Self::ThawCountsRequestsAnew
                | Self::ThawEndsHold
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_a_name_of_its_own() {
        for (at, (name, fault)) in Fault::ALL.iter().enumerate() {
            assert!(Fault::ALL[at + 1..].iter().all(|(other, same)| other != name && same != fault));
        }
    }
}
