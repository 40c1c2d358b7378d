//! What the layer keeps of a client transaction, and which of the two client machines it is fed to (RFC 3261 §17.1).

use super::action::{Action, Timer};
use super::clock::Clock;
use super::path::Link;
use super::{ict, nict};
use crate::base::Flow;
use crate::sip::wire::Method;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Client<U> {
    pub(super) flow: Flow,
    /// The request while it may have to be sent again, then the ACK.
    pub(super) bytes: Option<Bytes>,
    /// `None` for the layer's own CANCELs, of which the user hears nothing.
    pub(super) user: Option<U>,
    /// A CANCEL that waits for a provisional response (§9.1).
    pub(super) cancel: Option<Box<Bytes>>,
    pub(super) cancelled: bool,
    pub(super) acknowledged: bool,
    pub(super) clock: Clock,
    pub(super) machine: Machine,
    /// Set while an error on the path would end the transaction.
    pub(super) link: Option<Link>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Machine {
    Invite(ict::State),
    Other(nict::State),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Input {
    Response(u16),
    Cancelled,
    Timer(Timer),
    TransportError,
}

/// What [`Layer::cancel`](super::Layer::cancel) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelling {
    /// The CANCEL is on its way.
    Sent,
    /// No response has come yet, so it waits for one (§9.1).
    Held,
    /// A final response has come, or there is no such transaction: nothing to cancel.
    TooLate,
    /// There was no room for its transaction; the INVITE is given up after 64*T1 as if it had been sent.
    Full,
}

impl Machine {
    /// True while an error on the path ends the transaction.
    pub(super) const fn is_waiting(self) -> bool {
        matches!(self, Self::Invite(ict::State::Calling) | Self::Other(nict::State::Trying | nict::State::Proceeding))
    }

    /// True in the one state that no timer ends: the user does.
    pub(super) const fn is_proceeding_invite(self) -> bool {
        matches!(self, Self::Invite(ict::State::Proceeding))
    }

    pub(super) const fn is_terminated(self) -> bool {
        matches!(self, Self::Invite(ict::State::Terminated) | Self::Other(nict::State::Terminated))
    }

    pub(super) const fn start(method: Method) -> (Self, &'static [Action]) {
        match method {
            Method::Invite => (Self::Invite(ict::START.next), ict::START.actions),
            _ => (Self::Other(nict::START.next), nict::START.actions),
        }
    }

    pub(super) fn step(self, input: Input) -> (Self, &'static [Action]) {
        match self {
            Self::Invite(state) => ict_event(input).map_or((self, &[]), |event| {
                let step = ict::step(state, event);
                (Self::Invite(step.next), step.actions)
            }),
            Self::Other(state) => nict_event(input).map_or((self, &[]), |event| {
                let step = nict::step(state, event);
                (Self::Other(step.next), step.actions)
            }),
        }
    }
}

const fn ict_event(input: Input) -> Option<ict::Event> {
    Some(match input {
        Input::Response(..200) => ict::Event::Provisional,
        Input::Response(..300) => ict::Event::Success,
        Input::Response(_) => ict::Event::Failure,
        Input::Cancelled => ict::Event::Cancelled,
        Input::TransportError => ict::Event::TransportError,
        Input::Timer(Timer::A) => ict::Event::TimerA,
        Input::Timer(Timer::B) => ict::Event::TimerB,
        Input::Timer(Timer::D) => ict::Event::TimerD,
        Input::Timer(Timer::M) => ict::Event::TimerM,
        Input::Timer(Timer::Cancelled) => ict::Event::TimerCancelled,
        Input::Timer(_) => return None,
    })
}

const fn nict_event(input: Input) -> Option<nict::Event> {
    Some(match input {
        Input::Response(..200) => nict::Event::Provisional,
        Input::Response(_) => nict::Event::Final,
        Input::TransportError => nict::Event::TransportError,
        Input::Timer(Timer::E | Timer::SlowE) => nict::Event::TimerE,
        Input::Timer(Timer::F) => nict::Event::TimerF,
        Input::Timer(Timer::K) => nict::Event::TimerK,
        Input::Timer(_) | Input::Cancelled => return None,
    })
}
