//! One leg of a call, and the requests within its dialog that await their answers.

use super::directory::Peer;
use super::media::Origin;
use crate::base::{Flow, Side};
use crate::sip::dialog::Dialog;
use crate::sip::transaction::{ClientKey, ServerKey};
use crate::sip::wire::{Method, OwnedMessage};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One leg with its dialog.
#[derive(Debug, Serialize, Deserialize)]
pub struct Leg {
    /// 0 called us; others count the branches.
    pub number: u8,
    /// Who it is.
    pub peer: Peer,
    /// Our half of the peer relationship.
    pub dialog: Dialog,
    /// The path by which it is known to be reached.
    pub flow: Flow,
    /// CSeq of our latest INVITE to it.
    pub invite_cseq: u32,
    /// The ACK that we sent for its last 2xx, to be sent again when that comes again (RFC 3261 §13.2.2.4).
    pub ack: Option<(Flow, Bytes)>,
    /// Our 2xx to its INVITE, until it is acknowledged.
    pub unacknowledged: Option<ServerKey>,
}

impl Leg {
    /// Where its descriptions come from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin { remote: self.flow.remote, peer: self.peer }
    }
}

/// Exchanges that may be open at once in one call; more are refused with 500 and Retry-After.
pub const EXCHANGES_MAX: usize = 8;

/// Why a request went from one leg to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Carried from the other leg.
    Relay,
    /// Carried INVITE: session change.
    Reinvite,
    /// Ours: ends the leg.
    Bye,
}

/// A request of ours within a dialog that awaits its final response.
#[derive(Debug, Serialize, Deserialize)]
pub struct Exchange {
    /// Why.
    pub purpose: Purpose,
    /// The method sent.
    pub method: Method,
    /// The leg it went to.
    pub to: Side,
    /// Its transaction.
    pub client: ClientKey,
    /// The request as sent, to be read for an answer to a challenge and for CANCEL.
    pub sent: Bytes,
    /// The request that is carried and its transaction, until answered.
    pub carried: Option<(OwnedMessage, ServerKey)>,
    /// The carried request has an offer.
    pub has_offer: bool,
    /// The final 2xx of an INVITE arrived; the ACK is awaited from the other side.
    pub answered: bool,
    /// A challenge was answered.
    pub authenticated: bool,
}
