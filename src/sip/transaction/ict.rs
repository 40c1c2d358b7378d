//! The INVITE client transaction: RFC 3261 §17.1.1 as corrected by RFC 6026 §7.2 and §8.4.
//!
//! ```text
//!                        | INVITE from the user
//!                        | send, start A and B
//!      A fires           V                B fires or transport error
//!      send, start A +---------+          tell the user
//!          +---------| Calling |-------------------------------------------+
//!          +-------->+---------+                                           |
//!             300-699  |  |  | 2xx                                         |
//!             ACK,pass |  |  | pass                                        |
//!        +-------------+  |  +-----------------+                           |
//!        |                | 1xx                |                           |
//!        |    1xx         V pass               |                           |
//!        |    pass  +------------+             |                           |
//!        |      +---| Proceeding |-------------+--- 64*T1 after CANCEL --->+
//!        |      +-->+------------+             |    tell the user (§9.1)   |
//!        |  300-699       | | 2xx              |                           |
//!        |  ACK, pass     | | pass             |                           |
//!        +<---------------+ +----------------->+                           |
//!        V                                     V                           |
//!   +-----------+ 300-699                +----------+ 2xx                  |
//!   | Completed |----+ ACK               | Accepted |----+ pass            |
//!   +-----------+<---+                   +----------+<---+                 |
//!        | D fires or transport error          | M fires                   |
//!        |                                     |                           V
//!        +-------------------------------------+-------------------> Terminated
//! ```

use super::action::{Action, Action::*, Report, Slot, Step, Timer};
use serde::{Deserialize, Serialize};

/// Where the transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// The INVITE is sent; nothing has come.
    Calling,
    /// A provisional response has come.
    Proceeding,
    /// A final response other than 2xx has come and was acknowledged.
    Completed,
    /// A 2xx has come; others may follow from other branches of a fork.
    Accepted,
    /// Over.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A 1xx response.
    Provisional,
    /// A 2xx response.
    Success,
    /// A response from 300 on.
    Failure,
    /// The user's CANCEL went out.
    Cancelled,
    /// Timer A.
    TimerA,
    /// Timer B.
    TimerB,
    /// Timer D.
    TimerD,
    /// Timer M.
    TimerM,
    /// No final response came within 64*T1 of the CANCEL.
    TimerCancelled,
    /// What was sent last could not be sent.
    TransportError,
}

/// What the layer does when the user hands over an INVITE.
pub const START: Step<State> = Step { next: State::Calling, actions: &[Send, Start(Timer::A), Start(Timer::B)] };

/// One transition.
#[must_use]
pub const fn step(state: State, event: Event) -> Step<State> {
    use Event as E;
    use State as S;
    let (next, actions): (S, &'static [Action]) = match (state, event) {
        (S::Calling, E::Provisional) => (S::Proceeding, &[Stop(Slot::Retry), Stop(Slot::Limit), Pass]),
        (S::Calling | S::Proceeding, E::Success) => (S::Accepted, &[Stop(Slot::Retry), Forget, Start(Timer::M), Pass]),
        (S::Calling | S::Proceeding, E::Failure) => {
            (S::Completed, &[Stop(Slot::Retry), Acknowledge, Start(Timer::D), Pass])
        }
        (S::Calling, E::TimerA) => (S::Calling, &[Send, Start(Timer::A)]),
        (S::Calling, E::TimerB) => (S::Terminated, &[Report(Report::Timeout)]),
        (S::Calling, E::TransportError) => (S::Terminated, &[Report(Report::Transport)]),
        (S::Calling, E::Cancelled | E::TimerD | E::TimerM | E::TimerCancelled) => (S::Calling, &[]),

        (S::Proceeding, E::Provisional) => (S::Proceeding, &[Pass]),
        (S::Proceeding, E::Cancelled) => (S::Proceeding, &[Start(Timer::Cancelled)]),
        // §9.1: without a final response after 64*T1 the UAC considers the transaction cancelled and destroys it.
        (S::Proceeding, E::TimerCancelled) => (S::Terminated, &[Report(Report::Timeout)]),
        // Nothing is being sent in this state; a response may come by another connection (§18.2.2).
        (S::Proceeding, E::TransportError | E::TimerA | E::TimerB | E::TimerD | E::TimerM) => (S::Proceeding, &[]),

        (S::Completed, E::Failure) => (S::Completed, &[Acknowledge]),
        // The ACK could not be sent. The user has its final response and is only told that this is over.
        (S::Completed, E::TimerD | E::TransportError) => (S::Terminated, &[]),
        (S::Completed, E::Provisional | E::Success | E::Cancelled) => (S::Completed, &[]),
        (S::Completed, E::TimerA | E::TimerB | E::TimerM | E::TimerCancelled) => (S::Completed, &[]),

        (S::Accepted, E::Success) => (S::Accepted, &[Pass]),
        (S::Accepted, E::TimerM) => (S::Terminated, &[]),
        (S::Accepted, E::Provisional | E::Failure | E::Cancelled | E::TransportError) => (S::Accepted, &[]),
        (S::Accepted, E::TimerA | E::TimerB | E::TimerD | E::TimerCancelled) => (S::Accepted, &[]),

        (S::Terminated, _) => (S::Terminated, &[]),
    };
    Step { next, actions }
}

#[cfg(test)]
mod tests {
    use super::{Event as E, State as S, *};
    use crate::sip::transaction::action::assert_transitions;

    const STATES: [S; 5] = [S::Calling, S::Proceeding, S::Completed, S::Accepted, S::Terminated];
    const EVENTS: [E; 10] = [
        E::Provisional,
        E::Success,
        E::Failure,
        E::Cancelled,
        E::TimerA,
        E::TimerB,
        E::TimerD,
        E::TimerM,
        E::TimerCancelled,
        E::TransportError,
    ];
    const ACCEPT: &[Action] = &[Stop(Slot::Retry), Forget, Start(Timer::M), Pass];
    const COMPLETE: &[Action] = &[Stop(Slot::Retry), Acknowledge, Start(Timer::D), Pass];

    /// Every transition that does anything; all others must leave everything as it is.
    const TABLE: &[(S, E, S, &[Action])] = &[
        (S::Calling, E::Provisional, S::Proceeding, &[Stop(Slot::Retry), Stop(Slot::Limit), Pass]),
        (S::Calling, E::Success, S::Accepted, ACCEPT),
        (S::Calling, E::Failure, S::Completed, COMPLETE),
        (S::Calling, E::TimerA, S::Calling, &[Send, Start(Timer::A)]),
        (S::Calling, E::TimerB, S::Terminated, &[Report(Report::Timeout)]),
        (S::Calling, E::TransportError, S::Terminated, &[Report(Report::Transport)]),
        (S::Proceeding, E::Provisional, S::Proceeding, &[Pass]),
        (S::Proceeding, E::Success, S::Accepted, ACCEPT),
        (S::Proceeding, E::Failure, S::Completed, COMPLETE),
        (S::Proceeding, E::Cancelled, S::Proceeding, &[Start(Timer::Cancelled)]),
        (S::Proceeding, E::TimerCancelled, S::Terminated, &[Report(Report::Timeout)]),
        (S::Completed, E::Failure, S::Completed, &[Acknowledge]),
        (S::Completed, E::TimerD, S::Terminated, &[]),
        (S::Completed, E::TransportError, S::Terminated, &[]),
        (S::Accepted, E::Success, S::Accepted, &[Pass]),
        (S::Accepted, E::TimerM, S::Terminated, &[]),
    ];

    #[test]
    fn every_transition() {
        assert_transitions(&STATES, &EVENTS, TABLE, step);
    }
}
