//! Whose offer is open on a call: RFC 3264 §4 allows one at a time, RFC 6337 lists the pitfalls.
//!
//! A B2BUA passes offers through, so that one machine serves both legs: what A offers to us we offer to B. A body means
//! what the state says it means; the SIP message alone does not tell (a 200 may carry an offer or an answer).
//!
//! ```text
//!            body from X                       body from Y
//!   Idle ───────────────────> Offered by X ───────────────────> Idle (settled)
//!                │  withdraw (the transaction failed)  │
//!                └──────────────> Idle <───────────────┘
//! ```

use crate::base::Side;
use serde::{Deserialize, Serialize};

/// What a body turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A new offer.
    Offer,
    /// The answer to the open offer.
    Answer,
    /// The answer said again: a 200 after a 183 that already answered (RFC 6337 §3.1.1), or another fork's.
    Repeat,
}

/// Why an offer cannot be taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The other party's offer is open: 491 (RFC 3261 §14.2, RFC 3311 §5.2).
    Glare,
    /// The same party's earlier offer is still open: 500 with Retry-After (RFC 3261 §14.2, RFC 3311 §5.2).
    Busy,
}

impl Refusal {
    /// The status of the reply.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Glare => 491,
            Self::Busy => 500,
        }
    }
}

/// The offer/answer state of one pair of dialogs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Negotiation {
    open: Option<Side>,
    answered_by: Option<Side>,
    rounds: u32,
}

impl Negotiation {
    /// Nothing offered yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A request with a body came from `from`: an INVITE or UPDATE can only offer.
    ///
    /// # Errors
    /// When an offer is open already; the request is to be answered with [`Refusal::status`].
    pub fn offer(&mut self, from: Side) -> Result<(), Refusal> {
        match self.open {
            Some(side) if side == from => Err(Refusal::Busy),
            Some(_) => Err(Refusal::Glare),
            None => {
                self.open = Some(from);
                self.answered_by = None;
                Ok(())
            }
        }
    }

    /// A response, ACK or PRACK with a body came from `from`: what it means depends on what is open. In the late-offer
    /// case (an INVITE without a body) the first response offers and the ACK or PRACK answers (RFC 3261 §13.2.1).
    ///
    /// # Errors
    /// [`Refusal::Busy`] for a second body of the party whose own offer is still open; it is to be ignored.
    pub fn body(&mut self, from: Side) -> Result<Role, Refusal> {
        match self.open {
            Some(side) if side == from => Err(Refusal::Busy),
            Some(_) => {
                self.open = None;
                self.answered_by = Some(from);
                self.rounds = self.rounds.saturating_add(1);
                Ok(Role::Answer)
            }
            None if self.answered_by == Some(from) => Ok(Role::Repeat),
            None => self.offer(from).map(|()| Role::Offer),
        }
    }

    /// The transaction that carried the open offer failed, or ended without an answer: what was agreed before holds.
    pub fn withdraw(&mut self) {
        self.open = None;
    }

    /// The transaction of the last answer is over: the next body of that party offers anew.
    pub fn close(&mut self) {
        self.answered_by = None;
    }

    /// Whose offer waits for its answer.
    #[must_use]
    pub fn open(&self) -> Option<Side> {
        self.open
    }

    /// True where at least one offer was answered and none is open.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.rounds > 0 && self.open.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_early_answer_is_repeated_by_the_final_one() {
        let mut state = Negotiation::new();
        assert_eq!(state.offer(Side::A), Ok(()));
        assert_eq!(state.body(Side::B), Ok(Role::Answer));
        assert_eq!(state.body(Side::B), Ok(Role::Repeat));
        assert!(state.is_settled());
    }

    #[test]
    fn a_late_offer_is_answered_in_the_ack() {
        let mut state = Negotiation::new();
        assert_eq!(state.body(Side::B), Ok(Role::Offer));
        assert_eq!(state.body(Side::B), Err(Refusal::Busy));
        assert_eq!(state.body(Side::A), Ok(Role::Answer));
        assert!(state.is_settled());
    }

    #[test]
    fn crossing_offers_glare_and_a_failed_one_leaves_the_old_agreement() {
        let mut state = Negotiation::new();
        state.offer(Side::A).unwrap();
        state.body(Side::B).unwrap();
        state.close();
        assert_eq!(state.offer(Side::B), Ok(()));
        assert_eq!(state.offer(Side::A), Err(Refusal::Glare));
        assert_eq!(state.offer(Side::B), Err(Refusal::Busy));
        assert_eq!((Refusal::Glare.status(), Refusal::Busy.status()), (491, 500));
        assert!(!state.is_settled());
        state.withdraw();
        assert!(state.is_settled());
        assert_eq!(state.body(Side::B), Ok(Role::Offer), "the old answer's transaction was closed");
    }
}
