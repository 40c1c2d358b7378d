//! The non-INVITE server transaction: RFC 3261 §17.2.2 with RFC 4320.
//!
//! ```text
//!                      | request
//!                      V pass, start the RFC 4320 wait
//!   request:      +--------+ still no answer after T1+2*T1+.. < T2 (3.5 s): tell the user, who sends 100
//!   absorbed  +---| Trying |-------+ (stays; the wait now runs to 64*T1)
//!             +-->+--------+<------+
//!                  |      | 100 from the user
//!                  |      | send
//!                  |      V
//!                  |  +------------+ request: send
//!                  |  | Proceeding |----+ 100 from the user: send
//!                  |  +------------+<---+
//!      200-699 from|      | 200-699 from the user           64*T1 since the request, no answer
//!      the user    |      | send, start J                   (RFC 4320 §4.2: none could arrive)
//!      send,start J|      |                        Trying, Proceeding ----------------------+
//!                  V      V                                                                |
//!                +-----------+ request: send                                               |
//!                | Completed |----+                                                        |
//!                +-----------+<---+                                                        |
//!                      | J fires                                                           V
//!                      +-------------------------------------------------------------> Terminated
//! ```
//!
//! A 408 is never sent (RFC 4320 §4.2): the transaction completes in silence, so that retransmissions are absorbed.
//! Transport errors leave the state alone for the same reason; the timers end it.

use super::action::{Action, Action::*, Report, Step, Timer};
use serde::{Deserialize, Serialize};

/// Where the transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// No response was sent.
    Trying,
    /// A 100 was sent.
    Proceeding,
    /// The final response was sent.
    Completed,
    /// Over.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The request again.
    Request,
    /// The user sends a 100 that RFC 4320 §4.1 allows.
    Provisional,
    /// The user sends a final response.
    Final,
    /// The user ends it with a 408, which is not sent.
    Silence,
    /// The wait of RFC 4320 §4.1 is over.
    TimerTrying,
    /// The client's timer F has fired.
    TimerAbandon,
    /// Timer J.
    TimerJ,
    /// What was sent last could not be sent.
    TransportError,
}

/// What the layer does when a request arrives that matches no transaction.
pub const START: Step<State> = Step { next: State::Trying, actions: &[Start(Timer::Trying), Pass] };

/// One transition.
#[must_use]
pub const fn step(state: State, event: Event) -> Step<State> {
    use Event as E;
    use State as S;
    let (next, actions): (S, &'static [Action]) = match (state, event) {
        (S::Trying, E::Provisional) => (S::Proceeding, &[Send]),
        (S::Trying, E::TimerTrying) => (S::Trying, &[Start(Timer::Abandon), Report(Report::Unanswered)]),
        (S::Proceeding, E::Request | E::Provisional) => (S::Proceeding, &[Send]),
        // An early 100, as reliable transports may carry it: only the end of the wait is left.
        (S::Proceeding, E::TimerTrying) => (S::Proceeding, &[Start(Timer::Abandon)]),
        (S::Trying | S::Proceeding, E::Final) => (S::Completed, &[Send, Start(Timer::J)]),
        (S::Trying | S::Proceeding, E::Silence) => (S::Completed, &[Forget, Start(Timer::J)]),
        (S::Trying | S::Proceeding, E::TimerAbandon) => (S::Terminated, &[]),
        (S::Trying, E::Request | E::TimerJ | E::TransportError) => (S::Trying, &[]),
        (S::Proceeding, E::TransportError) => (S::Proceeding, &[Report(Report::Transport)]),
        (S::Proceeding, E::TimerJ) => (S::Proceeding, &[]),

        (S::Completed, E::Request) => (S::Completed, &[Send]),
        (S::Completed, E::TimerJ) => (S::Terminated, &[]),
        (S::Completed, E::TransportError) => (S::Completed, &[Report(Report::Transport)]),
        (S::Completed, E::Provisional | E::Final | E::Silence) => (S::Completed, &[]),
        (S::Completed, E::TimerTrying | E::TimerAbandon) => (S::Completed, &[]),

        (S::Terminated, _) => (S::Terminated, &[]),
    };
    Step { next, actions }
}

#[cfg(test)]
mod tests {
    use super::{Event as E, State as S, *};
    use crate::sip::transaction::action::assert_transitions;

    const STATES: [S; 4] = [S::Trying, S::Proceeding, S::Completed, S::Terminated];
    const EVENTS: [E; 8] = [
        E::Request,
        E::Provisional,
        E::Final,
        E::Silence,
        E::TimerTrying,
        E::TimerAbandon,
        E::TimerJ,
        E::TransportError,
    ];

    /// Every transition that does anything; all others must leave everything as it is.
    const TABLE: &[(S, E, S, &[Action])] = &[
        (S::Trying, E::Provisional, S::Proceeding, &[Send]),
        (S::Trying, E::Final, S::Completed, &[Send, Start(Timer::J)]),
        (S::Trying, E::Silence, S::Completed, &[Forget, Start(Timer::J)]),
        (S::Trying, E::TimerTrying, S::Trying, &[Start(Timer::Abandon), Report(Report::Unanswered)]),
        (S::Trying, E::TimerAbandon, S::Terminated, &[]),
        (S::Proceeding, E::Request, S::Proceeding, &[Send]),
        (S::Proceeding, E::Provisional, S::Proceeding, &[Send]),
        (S::Proceeding, E::Final, S::Completed, &[Send, Start(Timer::J)]),
        (S::Proceeding, E::Silence, S::Completed, &[Forget, Start(Timer::J)]),
        (S::Proceeding, E::TimerTrying, S::Proceeding, &[Start(Timer::Abandon)]),
        (S::Proceeding, E::TimerAbandon, S::Terminated, &[]),
        (S::Proceeding, E::TransportError, S::Proceeding, &[Report(Report::Transport)]),
        (S::Completed, E::Request, S::Completed, &[Send]),
        (S::Completed, E::TimerJ, S::Terminated, &[]),
        (S::Completed, E::TransportError, S::Completed, &[Report(Report::Transport)]),
    ];

    #[test]
    fn every_transition() {
        assert_transitions(&STATES, &EVENTS, TABLE, step);
    }
}
