//! What the layer keeps of a server transaction, and which of the two server machines it is fed to (RFC 3261 §17.2).

use super::action::{Action, Timer};
use super::clock::Clock;
use super::table::ServerKey;
use super::{ist, nist};
use crate::base::Flow;
use crate::sip::wire::Method;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Server<U> {
    pub(super) flow: Flow,
    /// The latest response while it may have to be sent again.
    pub(super) response: Option<Bytes>,
    pub(super) user: Option<U>,
    /// The request's From tag, Call-ID and CSeq, where this transaction is the one found by them.
    pub(super) request_id: Option<[u64; 2]>,
    /// The To tag of the final response, where the client is of RFC 2543 and its ACK is told by it (§17.2.3).
    #[serde(with = "serde_bytes")]
    pub(super) to_tag: Option<Box<[u8]>>,
    pub(super) without_cookie: bool,
    /// A 100 to a non-INVITE request may now be sent on any transport (RFC 4320 §4.1).
    pub(super) trying_due: bool,
    pub(super) unacknowledged: bool,
    pub(super) clock: Clock,
    pub(super) machine: Machine,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Machine {
    Invite(ist::State),
    Other(nist::State),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Input {
    Request,
    Ack,
    Acknowledged,
    Response(u16),
    Timer(Timer),
    TransportError,
}

/// What a request is to the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A new transaction: answer it with [`Layer::respond`](super::layer::Layer::respond).
    New(ServerKey),
    /// The request again, answered with what was answered before, or an ACK that means nothing any more.
    Retransmission,
    /// The ACK to a final response other than 2xx; nothing is left to do.
    AckToFailure(ServerKey),
    /// An ACK for the dialog: to a 2xx. Say so with [`Layer::ack_received`](super::layer::Layer::ack_received) once the dialog knows it.
    AckToSuccess {
        /// The INVITE's transaction, if its 2xx is still kept.
        server: Option<ServerKey>,
    },
    /// A CANCEL: answer it with 200 if it has an INVITE, else with 481, and that INVITE with 487 if it has no final
    /// response yet (§9.2).
    Cancel {
        /// The CANCEL's own transaction.
        cancel: ServerKey,
        /// That of the INVITE it means.
        invite: Option<ServerKey>,
    },
    /// A new transaction, but the request came by another path before: answer it with 482 (§8.2.2.2).
    Merged(ServerKey),
    /// No room for another transaction: answer it with 503 without one.
    Full,
}

impl Machine {
    pub(super) const fn is_proceeding_invite(self) -> bool {
        matches!(self, Self::Invite(ist::State::Proceeding))
    }

    pub(super) const fn is_terminated(self) -> bool {
        matches!(self, Self::Invite(ist::State::Terminated) | Self::Other(nist::State::Terminated))
    }

    pub(super) const fn start(method: Method) -> (Self, &'static [Action]) {
        match method {
            Method::Invite => (Self::Invite(ist::START.next), ist::START.actions),
            _ => (Self::Other(nist::START.next), nist::START.actions),
        }
    }

    pub(super) fn step(self, input: Input) -> (Self, &'static [Action]) {
        match self {
            Self::Invite(state) => ist_event(input).map_or((self, &[]), |event| {
                let step = ist::step(state, event);
                (Self::Invite(step.next), step.actions)
            }),
            Self::Other(state) => nist_event(input).map_or((self, &[]), |event| {
                let step = nist::step(state, event);
                (Self::Other(step.next), step.actions)
            }),
        }
    }
}

const fn ist_event(input: Input) -> Option<ist::Event> {
    Some(match input {
        Input::Request => ist::Event::Request,
        Input::Ack => ist::Event::Ack,
        Input::Acknowledged => ist::Event::Acknowledged,
        Input::Response(..=100) => ist::Event::Trying,
        Input::Response(..200) => ist::Event::Provisional,
        Input::Response(..300) => ist::Event::Success,
        Input::Response(_) => ist::Event::Failure,
        Input::TransportError => ist::Event::TransportError,
        Input::Timer(Timer::G) => ist::Event::TimerG,
        Input::Timer(Timer::H) => ist::Event::TimerH,
        Input::Timer(Timer::I) => ist::Event::TimerI,
        Input::Timer(Timer::L) => ist::Event::TimerL,
        Input::Timer(Timer::Success) => ist::Event::TimerSuccess,
        Input::Timer(Timer::Ringing) => ist::Event::TimerRinging,
        Input::Timer(_) => return None,
    })
}

const fn nist_event(input: Input) -> Option<nist::Event> {
    Some(match input {
        Input::Request => nist::Event::Request,
        Input::Response(..200) => nist::Event::Provisional,
        // RFC 4320 §4.2.
        Input::Response(408) => nist::Event::Silence,
        Input::Response(_) => nist::Event::Final,
        Input::TransportError => nist::Event::TransportError,
        Input::Timer(Timer::Trying) => nist::Event::TimerTrying,
        Input::Timer(Timer::Abandon) => nist::Event::TimerAbandon,
        Input::Timer(Timer::J) => nist::Event::TimerJ,
        Input::Timer(_) | Input::Ack | Input::Acknowledged => return None,
    })
}
