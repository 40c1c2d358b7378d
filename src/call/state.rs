//! One call: two legs (`leg.rs`), what is being set up (`branch.rs`) or changed between them, and the promises that end with
//! it.
//!
//! Owned by the [`Engine`](super::Engine). `setup.rs` brings it up, `within.rs` carries what happens while it is up,
//! `teardown.rs` ends it; each takes the call and the [`Core`].

use super::branch::Setup;
use super::core::{Core, Owner};
use super::directory::{Directory, Peer};
use super::info::CallInfo;
use super::leg::{Exchange, Leg};
use super::media::MediaSession;
use crate::base::id::Token;
use crate::base::time::Duration;
use crate::base::{Instant, Side, Slot, TimerKey};
use crate::observe::{CallId, EndCause, LimitReason};
use crate::sdp::CodecFilter;
use crate::sip::wire::OwnedMessage;
use crate::tally::Permit;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Waits for a right from another site.
    Waiting,
    /// Another shard is asked for the contacts.
    Locating,
    /// Branches are being tried.
    Ringing,
    /// The caller was sent a 2xx and has not acknowledged it.
    Answered,
    /// Up.
    Up,
    /// Ended; last answers are awaited.
    Ending,
}

impl Phase {
    /// In `show calls`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Locating => "locating",
            Self::Ringing => "ringing",
            Self::Answered => "answered",
            Self::Up => "up",
            Self::Ending => "ending",
        }
    }
}

/// What the record will say.
#[derive(Debug, Serialize, Deserialize)]
pub struct Facts {
    /// Calling number or user.
    pub from: Arc<str>,
    /// Called number or user.
    pub to: Arc<str>,
    /// INVITE came.
    pub started: Instant,
    /// First 18x went.
    pub ringing: Option<Instant>,
    /// First 2xx went.
    pub answered: Option<Instant>,
    /// The other leg's Call-ID.
    pub caller_call_id: Arc<str>,
    /// Last leg called: who, where, Call-ID.
    pub callee: Option<(Peer, std::net::SocketAddr, Arc<str>)>,
    /// Why it ended and who ended it, once known.
    pub end: Option<(EndCause, Option<Side>)>,
    /// Final status of the INVITE.
    pub status: u16,
    /// The limit that refused or ended it.
    pub limit: Option<LimitReason>,
    /// How long it has waited for rights.
    pub limit_wait: Option<Duration>,
    /// What our refusal or BYE says in its Reason header (RFC 3326).
    pub reason: Option<Box<str>>,
}

/// A right in use; dropping it gives it back.
#[derive(Debug)]
pub struct Right {
    /// The right.
    pub permit: Permit,
    /// The account that gave it; none: a trunk.
    pub account: Option<Arc<str>>,
}

/// A call that waits for a right.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Waiting {
    /// Whose; follows the account over reloads.
    pub account: u32,
    /// Since when.
    pub since: Instant,
}

/// A call.
#[derive(Debug, Serialize, Deserialize)]
pub struct Call {
    /// Its place in the table.
    pub slot: Slot,
    /// Makes its tags unguessable.
    pub token: Token,
    /// How far it has come.
    pub phase: Phase,
    /// The leg that called us.
    pub a: Leg,
    /// The leg that answered.
    pub b: Option<Leg>,
    /// What exists only until it is up.
    pub setup: Option<Box<Setup>>,
    /// Its streams.
    pub media: MediaSession,
    /// Codecs that both sides may use, in the called side's order.
    pub codecs: CodecFilter,
    /// Requests of ours within the dialogs.
    pub exchanges: Vec<Exchange>,
    /// Rights in use; given back when the call ends.
    #[serde(skip)]
    pub rights: Vec<Right>,
    /// The right it waits for, in its first phase.
    pub waiting: Option<Waiting>,
    /// To an emergency number: no limit applies.
    pub emergency: bool,
    /// Its row in the session database, when no account's right has made one.
    pub listed: Option<Arc<str>>,
    /// What the record will say.
    pub facts: Box<Facts>,
    /// Borrow, ring, longest or linger.
    pub timer: Option<TimerKey>,
    /// Legs made so far.
    pub legs_made: u8,
    /// The call has ended, and the caller is told once it has acknowledged our 2xx.
    pub bye_at_ack: bool,
    /// The BYE of the side that hung up: what it says beside its dialog goes to the other side.
    pub farewell: Option<OwnedMessage>,
    /// The account whose contacts have been asked for.
    pub locating: Option<u32>,
}

impl Call {
    /// Its name for people.
    #[must_use]
    pub fn id(&self) -> CallId {
        CallId(self.token)
    }

    /// The owner of a transaction on this leg.
    #[must_use]
    pub fn owner(&self, leg: u8) -> Owner {
        Owner { call: self.slot, leg }
    }

    /// The caller's INVITE, while the call is being set up.
    #[must_use]
    pub fn invite(&self) -> OwnedMessage {
        self.setup.as_ref().expect("called while the call is being set up").invite.clone()
    }

    /// The accounts that have given it a right.
    pub fn accounts(&self) -> impl Iterator<Item = &Arc<str>> {
        self.rights.iter().filter_map(|right| right.account.as_ref())
    }

    /// Our tag towards the caller.
    #[must_use]
    pub fn local_tag(&self, core: &Core) -> Vec<u8> {
        core.name_of_leg(self.token, 0)
    }

    /// The leg of a side, once there is one.
    #[must_use]
    pub fn leg(&self, side: Side) -> Option<&Leg> {
        match side {
            Side::A => Some(&self.a),
            Side::B => self.b.as_ref(),
        }
    }

    /// The leg of a side, once there is one.
    pub fn leg_mut(&mut self, side: Side) -> Option<&mut Leg> {
        match side {
            Side::A => Some(&mut self.a),
            Side::B => self.b.as_mut(),
        }
    }

    /// The side of a leg's number, if that leg is one of the two of the call.
    #[must_use]
    pub fn side_of(&self, number: u8) -> Option<Side> {
        if number == 0 {
            return Some(Side::A);
        }
        self.b.as_ref().filter(|leg| leg.number == number).map(|_| Side::B)
    }

    /// What `show calls` says.
    #[must_use]
    pub fn info(&self, core: &Core) -> CallInfo {
        let callee = self.facts.callee.as_ref().map(|(peer, ..)| *peer);
        CallInfo {
            call: self.id(),
            state: self.phase.as_str(),
            from: self.facts.from.to_string(),
            to: self.facts.to.to_string(),
            caller: core.directory.peer_name(self.a.peer).to_owned(),
            callee: callee.map_or("", |peer| core.directory.peer_name(peer)).to_owned(),
            started: self.facts.started,
            answered: self.facts.answered,
            packets: self.media.packets(core),
            paths: self.media.paths(core),
        }
    }

    /// After a reload: the same peers at their new places.
    pub fn renumber(&mut self, old: &Directory, new: &Directory) {
        self.each_peer(&mut |peer| *peer = new.same_peer(old, *peer));
    }

    /// Every place where an account or a trunk is named by its place in the directory.
    pub fn each_peer(&mut self, visit: &mut dyn FnMut(&mut Peer)) {
        visit(&mut self.a.peer);
        self.b.iter_mut().for_each(|leg| visit(&mut leg.peer));
        self.facts.callee.iter_mut().for_each(|(peer, ..)| visit(peer));
        self.media.each_peer(visit);
        if let Some(setup) = &mut self.setup {
            setup.branches.iter_mut().for_each(|branch| visit(&mut branch.target.peer));
            setup.groups.iter_mut().flatten().for_each(|target| visit(&mut target.peer));
        }
        for account in self.locating.iter_mut().chain(self.waiting.iter_mut().map(|waiting| &mut waiting.account)) {
            let mut peer = Peer::Account(*account);
            visit(&mut peer);
            if let Peer::Account(place) = peer {
                *account = place;
            }
        }
    }

    /// True when the slot can be given to another call.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let branches_final =
            self.setup.as_ref().is_none_or(|setup| setup.branches.iter().all(|branch| branch.state.is_final()));
        self.phase == Phase::Ending && self.exchanges.is_empty() && branches_final && !self.bye_at_ack
    }
}
