//! What exists only until a call is up: the caller's INVITE, the branches that are tried, and the best failure so far.

use super::routing::Target;
use crate::base::{Flow, TimerKey};
use crate::sip::transaction::{ClientKey, ServerKey};
use crate::sip::wire::OwnedMessage;
use crate::tally::Permit;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// How far a branch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BranchState {
    /// Nothing came yet.
    Calling,
    /// 100.
    Proceeding,
    /// 101–199.
    Early,
    /// CANCEL was asked for; its final response is awaited.
    Cancelled,
    /// 2xx.
    Answered,
    /// Anything else that is final.
    Failed,
}

impl BranchState {
    /// True while it may still answer.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Calling | Self::Proceeding | Self::Early)
    }

    /// True when no more is awaited from it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Answered | Self::Failed)
    }
}

/// One INVITE of ours.
#[derive(Debug, Serialize, Deserialize)]
pub struct Branch {
    /// The leg it will be.
    pub number: u8,
    /// Where it went.
    pub target: Target,
    /// The path it went by.
    pub flow: Flow,
    /// Its transaction.
    pub client: ClientKey,
    /// The request as sent.
    pub request: OwnedMessage,
    /// How far it has come.
    pub state: BranchState,
    /// Silence of a trunk, or the end of a serial step.
    pub timer: Option<TimerKey>,
    /// The trunk's right.
    #[serde(skip)]
    pub permit: Option<Permit>,
    /// A challenge was answered; a second one is a refusal.
    pub authenticated: bool,
}

/// The best failure so far (RFC 3261 §16.7 step 6), kept as the message that will be passed on.
#[derive(Debug, Serialize, Deserialize)]
pub struct Failure {
    /// Its status, mapped.
    pub status: u16,
    /// The response, if there was one.
    pub response: Option<OwnedMessage>,
}

/// What exists only until the call is up.
#[derive(Debug, Serialize, Deserialize)]
pub struct Setup {
    /// The caller's INVITE.
    pub invite: OwnedMessage,
    /// Its transaction.
    pub server: ServerKey,
    /// INVITEs of ours.
    pub branches: Vec<Branch>,
    /// Targets still to be tried; each group at once.
    pub groups: VecDeque<Vec<Target>>,
    /// Best failure so far.
    pub failure: Option<Failure>,
    /// Redirections followed.
    pub redirects: u8,
    /// The caller's INVITE had no offer.
    pub late_offer: bool,
    /// A final response went to the caller.
    pub answered: bool,
}
