//! The non-INVITE client transaction: RFC 3261 §17.1.2.
//!
//! ```text
//!                       | request from the user
//!                       | send, start E and F
//!      E fires          V            F fires or transport error
//!      send, start E +--------+      tell the user
//!          +---------| Trying |---------------------------------+
//!          +-------->+--------+                                 |
//!                     |      | 1xx                              |
//!            200-699  |      | pass                             |
//!            pass     |      V                                  |
//!                     |  +------------+ F fires or transport err|
//!                     |  | Proceeding |------------------------>+
//!                     |  +------------+ tell the user           |
//!                     |    |  ^ | 1xx: pass                     |
//!                     |    |  +-+ E fires: send, start E with T2|
//!                     |    | 200-699                            |
//!                     V    V pass                               |
//!                   +-----------+                               |
//!                   | Completed | (responses are absorbed)      |
//!                   +-----------+                               |
//!                         | K fires                             V
//!                         +--------------------------------> Terminated
//! ```

use super::action::{Action, Action::*, Report, Slot, Step, Timer};
use serde::{Deserialize, Serialize};

/// Where the transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// The request is sent; nothing has come.
    Trying,
    /// A provisional response has come.
    Proceeding,
    /// The final response has come.
    Completed,
    /// Over.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A 1xx response.
    Provisional,
    /// A response from 200 on.
    Final,
    /// Timer E.
    TimerE,
    /// Timer F.
    TimerF,
    /// Timer K.
    TimerK,
    /// What was sent last could not be sent.
    TransportError,
}

/// What the layer does when the user hands over a request.
pub const START: Step<State> = Step { next: State::Trying, actions: &[Send, Start(Timer::E), Start(Timer::F)] };

/// One transition.
#[must_use]
pub const fn step(state: State, event: Event) -> Step<State> {
    use Event as E;
    use State as S;
    let (next, actions): (S, &'static [Action]) = match (state, event) {
        (S::Trying, E::Provisional) => (S::Proceeding, &[Start(Timer::SlowE), Pass]),
        (S::Trying, E::TimerE) => (S::Trying, &[Send, Start(Timer::E)]),
        (S::Proceeding, E::Provisional) => (S::Proceeding, &[Pass]),
        (S::Proceeding, E::TimerE) => (S::Proceeding, &[Send, Start(Timer::SlowE)]),
        (S::Trying | S::Proceeding, E::Final) => (S::Completed, &[Stop(Slot::Retry), Forget, Start(Timer::K), Pass]),
        (S::Trying | S::Proceeding, E::TimerF) => (S::Terminated, &[Report(Report::Timeout)]),
        (S::Trying | S::Proceeding, E::TransportError) => (S::Terminated, &[Report(Report::Transport)]),
        (S::Trying, E::TimerK) => (S::Trying, &[]),
        (S::Proceeding, E::TimerK) => (S::Proceeding, &[]),

        (S::Completed, E::TimerK) => (S::Terminated, &[]),
        (S::Completed, E::Provisional | E::Final | E::TransportError) => (S::Completed, &[]),
        (S::Completed, E::TimerE | E::TimerF) => (S::Completed, &[]),

        (S::Terminated, _) => (S::Terminated, &[]),
    };
    Step { next, actions }
}

#[cfg(test)]
mod tests {
    use super::{Event as E, State as S, *};
    use crate::sip::transaction::action::assert_transitions;

    const STATES: [S; 4] = [S::Trying, S::Proceeding, S::Completed, S::Terminated];
    const EVENTS: [E; 6] = [E::Provisional, E::Final, E::TimerE, E::TimerF, E::TimerK, E::TransportError];
    const COMPLETE: &[Action] = &[Stop(Slot::Retry), Forget, Start(Timer::K), Pass];

    /// Every transition that does anything; all others must leave everything as it is.
    const TABLE: &[(S, E, S, &[Action])] = &[
        (S::Trying, E::Provisional, S::Proceeding, &[Start(Timer::SlowE), Pass]),
        (S::Trying, E::Final, S::Completed, COMPLETE),
        (S::Trying, E::TimerE, S::Trying, &[Send, Start(Timer::E)]),
        (S::Trying, E::TimerF, S::Terminated, &[Report(Report::Timeout)]),
        (S::Trying, E::TransportError, S::Terminated, &[Report(Report::Transport)]),
        (S::Proceeding, E::Provisional, S::Proceeding, &[Pass]),
        (S::Proceeding, E::Final, S::Completed, COMPLETE),
        (S::Proceeding, E::TimerE, S::Proceeding, &[Send, Start(Timer::SlowE)]),
        (S::Proceeding, E::TimerF, S::Terminated, &[Report(Report::Timeout)]),
        (S::Proceeding, E::TransportError, S::Terminated, &[Report(Report::Transport)]),
        (S::Completed, E::TimerK, S::Terminated, &[]),
    ];

    #[test]
    fn every_transition() {
        assert_transitions(&STATES, &EVENTS, TABLE, step);
    }
}
