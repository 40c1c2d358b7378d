//! The INVITE server transaction: RFC 3261 §17.2.1 as corrected by RFC 6026 §7.1 and §8.5, with the 2xx
//! retransmission of the UAS core (§13.3.1.4) and its minute for 1xx (§13.3.1.1) taken in, since the transaction lives as
//! long anyway.
//!
//! ```text
//!                          | INVITE
//!                          V pass
//!   INVITE: send     +------------+ 100 from the user: send
//!        +-----------| Proceeding |-----------+ 101-199: send, start the minute
//!        +---------->+------------+<----------+ a minute is over: send, start the minute
//!      300-699 from the user |  | 2xx from the user
//!      send, start G and H   |  | send, start L and 2xx retransmission
//!        +-------------------+  +---------------------+
//!        V                                            V
//!   +-----------+ INVITE: send                  +----------+ 2xx from the user: send
//!   | Completed |----+                          | Accepted |----+ due again: send
//!   +-----------+<---+ G fires: send, start G   +----------+<---+ INVITE: absorbed
//!     |       | H fires                          |        |       ACK: pass
//!     | ACK   | no ACK: tell the user            |        | acknowledged (the user says so)
//!     V       |                                  |        V
//!  +-----------+                                 |  +--------------+ INVITE: absorbed
//!  | Confirmed | (INVITE, ACK absorbed)          |  | Acknowledged | ACK: pass
//!  +-----------+                                 |  +--------------+
//!     | I fires                          L fires |        | L fires
//!     |                  no ACK: tell the user   |        |
//!     +------------------------------------------+--------+----------> Terminated
//! ```
//!
//! Transport errors leave the state alone, so that retransmissions of the INVITE are still recognised (RFC 6026 §7.1).

use super::action::{Action, Action::*, Report, Slot, Step, Timer};
use serde::{Deserialize, Serialize};

/// Where the transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// No final response was sent.
    Proceeding,
    /// A final response other than 2xx was sent; its ACK is awaited.
    Completed,
    /// The ACK to it has come.
    Confirmed,
    /// A 2xx was sent; its ACK is awaited.
    Accepted,
    /// The 2xx was acknowledged; only retransmissions of the INVITE are awaited (RFC 6026's "Accepted" still).
    Acknowledged,
    /// Over.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The INVITE again.
    Request,
    /// An ACK that matches this transaction.
    Ack,
    /// The user sends a 100.
    Trying,
    /// The user sends another 1xx.
    Provisional,
    /// The user sends a 2xx.
    Success,
    /// The user sends a response from 300 on.
    Failure,
    /// The user has seen the ACK to its 2xx.
    Acknowledged,
    /// Timer G.
    TimerG,
    /// Timer H.
    TimerH,
    /// Timer I.
    TimerI,
    /// Timer L.
    TimerL,
    /// The 2xx is due again.
    TimerSuccess,
    /// The 1xx is due again.
    TimerRinging,
    /// What was sent last could not be sent.
    TransportError,
}

/// What the layer does when an INVITE arrives that matches no transaction.
pub const START: Step<State> = Step { next: State::Proceeding, actions: &[Pass] };

/// One transition.
#[must_use]
pub const fn step(state: State, event: Event) -> Step<State> {
    use Event as E;
    use State as S;
    let (next, actions): (S, &'static [Action]) = match (state, event) {
        (S::Proceeding, E::Request | E::Trying) => (S::Proceeding, &[Send]),
        (S::Proceeding, E::Provisional | E::TimerRinging) => (S::Proceeding, &[Send, Start(Timer::Ringing)]),
        (S::Proceeding, E::Success) => (S::Accepted, &[Send, Start(Timer::Success), Start(Timer::L)]),
        (S::Proceeding, E::Failure) => (S::Completed, &[Send, Start(Timer::G), Start(Timer::H)]),
        (S::Proceeding, E::TransportError) => (S::Proceeding, &[Report(Report::Transport)]),
        (S::Proceeding, E::Ack | E::Acknowledged) => (S::Proceeding, &[]),
        (S::Proceeding, E::TimerG | E::TimerH | E::TimerI | E::TimerL | E::TimerSuccess) => (S::Proceeding, &[]),

        (S::Completed, E::Request) => (S::Completed, &[Send]),
        (S::Completed, E::TimerG) => (S::Completed, &[Send, Start(Timer::G)]),
        (S::Completed, E::Ack) => (S::Confirmed, &[Stop(Slot::Retry), Forget, Start(Timer::I), Pass]),
        (S::Completed, E::TimerH) => (S::Terminated, &[Report(Report::Unacknowledged)]),
        (S::Completed, E::TransportError) => (S::Completed, &[Report(Report::Transport)]),
        (S::Completed, E::Trying | E::Provisional | E::Success | E::Failure | E::Acknowledged) => (S::Completed, &[]),
        (S::Completed, E::TimerI | E::TimerL | E::TimerSuccess | E::TimerRinging) => (S::Completed, &[]),

        (S::Confirmed, E::TimerI) => (S::Terminated, &[]),
        (S::Confirmed, E::Request | E::Ack | E::TransportError) => (S::Confirmed, &[]),
        (S::Confirmed, E::Trying | E::Provisional | E::Success | E::Failure | E::Acknowledged) => (S::Confirmed, &[]),
        (S::Confirmed, E::TimerG | E::TimerH | E::TimerL | E::TimerSuccess | E::TimerRinging) => (S::Confirmed, &[]),

        (S::Accepted, E::Success) => (S::Accepted, &[Send]),
        (S::Accepted, E::TimerSuccess) => (S::Accepted, &[Send, Start(Timer::Success)]),
        (S::Accepted, E::Ack) => (S::Accepted, &[Pass]),
        (S::Accepted, E::Acknowledged) => (S::Acknowledged, &[Stop(Slot::Retry), Forget]),
        (S::Accepted, E::TimerL) => (S::Terminated, &[Report(Report::Unacknowledged)]),
        (S::Accepted, E::TransportError) => (S::Accepted, &[Report(Report::Transport)]),
        (S::Accepted, E::Request | E::Trying | E::Provisional | E::Failure) => (S::Accepted, &[]),
        (S::Accepted, E::TimerG | E::TimerH | E::TimerI | E::TimerRinging) => (S::Accepted, &[]),

        (S::Acknowledged, E::Ack) => (S::Acknowledged, &[Pass]),
        (S::Acknowledged, E::TimerL) => (S::Terminated, &[]),
        (S::Acknowledged, E::Request | E::Trying | E::Provisional | E::Success | E::Failure) => (S::Acknowledged, &[]),
        (S::Acknowledged, E::Acknowledged | E::TransportError) => (S::Acknowledged, &[]),
        (S::Acknowledged, E::TimerG | E::TimerH | E::TimerI | E::TimerSuccess | E::TimerRinging) => {
            (S::Acknowledged, &[])
        }

        (S::Terminated, _) => (S::Terminated, &[]),
    };
    Step { next, actions }
}

#[cfg(test)]
mod tests {
    use super::{Event as E, State as S, *};
    use crate::sip::transaction::action::assert_transitions;

    const STATES: [S; 6] = [S::Proceeding, S::Completed, S::Confirmed, S::Accepted, S::Acknowledged, S::Terminated];
    const EVENTS: [E; 14] = [
        E::Request,
        E::Ack,
        E::Trying,
        E::Provisional,
        E::Success,
        E::Failure,
        E::Acknowledged,
        E::TimerG,
        E::TimerH,
        E::TimerI,
        E::TimerL,
        E::TimerSuccess,
        E::TimerRinging,
        E::TransportError,
    ];

    /// Every transition that does anything; all others must leave everything as it is.
    const TABLE: &[(S, E, S, &[Action])] = &[
        (S::Proceeding, E::Request, S::Proceeding, &[Send]),
        (S::Proceeding, E::Trying, S::Proceeding, &[Send]),
        (S::Proceeding, E::Provisional, S::Proceeding, &[Send, Start(Timer::Ringing)]),
        (S::Proceeding, E::TimerRinging, S::Proceeding, &[Send, Start(Timer::Ringing)]),
        (S::Proceeding, E::Success, S::Accepted, &[Send, Start(Timer::Success), Start(Timer::L)]),
        (S::Proceeding, E::Failure, S::Completed, &[Send, Start(Timer::G), Start(Timer::H)]),
        (S::Proceeding, E::TransportError, S::Proceeding, &[Report(Report::Transport)]),
        (S::Completed, E::Request, S::Completed, &[Send]),
        (S::Completed, E::Ack, S::Confirmed, &[Stop(Slot::Retry), Forget, Start(Timer::I), Pass]),
        (S::Completed, E::TimerG, S::Completed, &[Send, Start(Timer::G)]),
        (S::Completed, E::TimerH, S::Terminated, &[Report(Report::Unacknowledged)]),
        (S::Completed, E::TransportError, S::Completed, &[Report(Report::Transport)]),
        (S::Confirmed, E::TimerI, S::Terminated, &[]),
        (S::Accepted, E::Ack, S::Accepted, &[Pass]),
        (S::Accepted, E::Success, S::Accepted, &[Send]),
        (S::Accepted, E::Acknowledged, S::Acknowledged, &[Stop(Slot::Retry), Forget]),
        (S::Accepted, E::TimerSuccess, S::Accepted, &[Send, Start(Timer::Success)]),
        (S::Accepted, E::TimerL, S::Terminated, &[Report(Report::Unacknowledged)]),
        (S::Accepted, E::TransportError, S::Accepted, &[Report(Report::Transport)]),
        (S::Acknowledged, E::Ack, S::Acknowledged, &[Pass]),
        (S::Acknowledged, E::TimerL, S::Terminated, &[]),
    ];

    #[test]
    fn every_transition() {
        assert_transitions(&STATES, &EVENTS, TABLE, step);
    }
}
