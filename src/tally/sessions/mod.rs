//! The call session database: every site's calls that are up, copied to every other site. It answers people (`show calls`,
//! `show limits`); it decides nothing.
//!
//! Owned by the keeper of the site links. A row is written only by its own (site, incarnation); every begin and end of a
//! call is an operation with the next number. A copy ([`Replica`]) is a prefix of them, so that whatever is lost, doubled
//! or reordered is a gap that heals: the reader says what it [`SessionMessage::Want`]s, the writer sends operations or, to
//! who is too far behind, all rows ([`Snapshot`]). A [`Digest`] every few seconds finds what nobody noticed.
//!
//! *Change of process* (`frozen`): our own rows go along with the numbers of their operations, so that other sites go on
//! where they were. Copies of other sites stay behind.
//!
//! For each link the keeper holds a cursor: the operation up to which the peer has been sent everything. It is set by
//! [`Reaction::Owes`] and by what [`Sessions::news`] returns.

mod frozen;
mod message;
mod own;
mod replica;
mod rows;
mod site;
#[cfg(test)]
mod tests;

pub use frozen::Frozen;
pub use message::{Digest, Operation, Row, SessionMessage};
pub use own::{News, Snapshot};
pub use replica::{Applied, Replica};
pub use rows::RowView;

use crate::base::id::Token;
use crate::base::{Instant, Random};
use crate::tally::message::Identity;
use ahash::RandomState;
use own::Own;
use serde::{Deserialize, Serialize};
use site::Site;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Rows of one site. A call that finds it full is not listed, only counted.
    pub rows_max: usize,
    /// Operations kept for sites that are behind; who is further behind gets a snapshot.
    pub operations_max: usize,
    /// Other sites, dead ones included.
    pub sites_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { rows_max: 200_000, operations_max: 65_536, sites_max: 64 }
    }
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Calls here that began without a row, for want of room.
    pub rows_full: u64,
    /// Operations of others that were taken.
    pub operations: u64,
    /// Snapshots of others that were taken.
    pub snapshots: u64,
    /// Gaps that were found in what others said.
    pub gaps: u64,
    /// Copies that differed from their digest and were asked for anew.
    pub diverged: u64,
    /// Messages that make no sense, or of a site without a link; a peer's fault.
    pub odd: u64,
    /// Messages of incarnations that are over.
    pub fenced: u64,
    /// Sites that found no room.
    pub sites_full: u64,
}

impl Counters {
    /// Each of them.
    const fn all(&self) -> [u64; 8] {
        let Self { rows_full, operations, snapshots, gaps, diverged, odd, fenced, sites_full } = *self;
        [rows_full, operations, snapshots, gaps, diverged, odd, fenced, sites_full]
    }
}

/// The identity is that of an incarnation that is over: the link must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fenced {
    /// The incarnation that was seen.
    pub seen: u32,
}

/// What a message asks of the keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing.
    Nothing,
    /// Send this back.
    Reply(SessionMessage),
    /// Set the link's cursor to `after`: [`Sessions::news`] says what to send.
    Owes {
        /// What the peer has.
        after: u64,
    },
}

/// How current the copy of a site is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteView<'a> {
    /// Who.
    pub identity: &'a Identity,
    /// There is a link to it.
    pub linked: bool,
    /// Its last word about its sessions, on our clock; none since we started.
    pub heard: Option<Instant>,
    /// It has said that there is more than we have.
    pub behind: bool,
    /// Rows that we have.
    pub rows: usize,
    /// Its calls that have no row, there or here.
    pub unlisted: u32,
    /// Its last operation that we have.
    pub sequence: u64,
}

/// Our own rows, and the copies of those of the others.
#[derive(Debug)]
pub struct Sessions {
    identity: Identity,
    own: Own,
    /// By disk.
    sites: BTreeMap<u128, Site>,
    bounds: Bounds,
    seeds: [u64; 4],
    keyed: RandomState,
    counters: Counters,
}

impl Sessions {
    /// An empty database of the site `identity`.
    #[must_use]
    pub fn new(identity: Identity, bounds: Bounds, random: &mut Random) -> Self {
        let seeds = [(); 4].map(|()| random.next_u64());
        let [a, b, c, d] = seeds;
        let keyed = RandomState::with_seeds(a, b, c, d);
        let own = Own::new(identity.incarnation, bounds.rows_max, bounds.operations_max, keyed.clone());
        Self { identity, own, sites: BTreeMap::new(), bounds, seeds, keyed, counters: Counters::default() }
    }

    /// A call of ours has begun. The same call and account again change nothing.
    pub fn began(&mut self, account: Arc<str>, call: Token, started: Instant) {
        if !self.own.began(account, call, started) {
            self.counters.rows_full += 1;
        }
    }

    /// It is over.
    pub fn ended(&mut self, account: &str, call: Token) {
        self.own.ended(account, call);
    }

    /// Our last operation: larger than a link's cursor when there is news for it.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.own.replica().sequence()
    }

    /// What to tell a site that has our operations up to `after`; one message at most, so that the keeper can wait for
    /// room in between.
    #[must_use]
    pub fn news(&self, after: u64) -> News {
        self.own.news(after)
    }

    /// How our rows stand; to every peer every few seconds, behind what [`Self::news`] has for it.
    #[must_use]
    pub fn digest(&self) -> SessionMessage {
        SessionMessage::Digest(self.own.digest())
    }

    /// A link to a site is up: what to send it first.
    ///
    /// # Errors
    /// A later incarnation of it has been seen.
    pub fn link_up(&mut self, peer: &Identity) -> Result<SessionMessage, Fenced> {
        if let Some(site) = self.sites.get_mut(&peer.disk) {
            site.link_up(peer)?;
        } else if self.make_room() {
            let replica = Replica::new(peer.incarnation, self.bounds.rows_max, self.keyed.clone());
            self.sites.insert(peer.disk, Site::new(peer.clone(), replica));
        } else {
            self.counters.sites_full += 1;
        }
        let after = self.sites.get(&peer.disk).map_or(u64::MAX, |site| site.replica().sequence());
        Ok(SessionMessage::Want { after })
    }

    /// Its link is down. The copy stays, and grows old.
    pub fn link_down(&mut self, peer: &Identity) {
        if let Some(site) = self.sites.get_mut(&peer.disk).filter(|site| site.incarnation() == peer.incarnation) {
            site.link_down();
        }
    }

    /// The site was retired: its rows go. One that is linked is another, on a new disk.
    pub fn forget(&mut self, name: &str, incarnation: u32) {
        let other = |site: &Site| *site.identity().name != *name || site.incarnation() > incarnation;
        self.sites.retain(|_, site| site.linked() || other(site));
    }

    /// A message of the site at the other end of a link.
    #[must_use]
    pub fn handle(&mut self, now: Instant, from: &Identity, message: SessionMessage) -> Reaction {
        if let SessionMessage::Want { after } = message {
            return Reaction::Owes { after };
        }
        match self.sites.get_mut(&from.disk) {
            Some(site) if site.incarnation() > from.incarnation => self.counters.fenced += 1,
            Some(site) if site.incarnation() == from.incarnation => {
                return match site.handle(now, message, &mut self.counters) {
                    Some(after) => Reaction::Reply(SessionMessage::Want { after }),
                    None => Reaction::Nothing,
                };
            }
            _ => self.counters.odd += 1,
        }
        Reaction::Nothing
    }

    /// Room for one more site: the one without a link that has been silent longest goes.
    fn make_room(&mut self) -> bool {
        if self.sites.len() >= self.bounds.sites_max {
            let idle = self.sites.iter().filter(|(_, site)| !site.linked());
            let Some(oldest) = idle.min_by_key(|(_, site)| site.heard()).map(|(disk, _)| *disk) else { return false };
            self.sites.remove(&oldest);
        }
        true
    }

    /// Who we are.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Our own rows.
    #[must_use]
    pub const fn own(&self) -> &Replica {
        self.own.replica()
    }

    /// Our own calls that have no row.
    #[must_use]
    pub const fn unlisted(&self) -> u32 {
        self.own.unlisted()
    }

    /// The other sites, in no particular order.
    pub fn sites(&self) -> impl Iterator<Item = SiteView<'_>> {
        self.sites.values().map(Site::view)
    }

    /// The copy of a site's rows.
    #[must_use]
    pub fn replica(&self, peer: &Identity) -> Option<&Replica> {
        self.sites.get(&peer.disk).map(Site::replica)
    }

    /// Calls of an account that are up at each site: ours first, then the others that have any.
    pub fn counts(&self, account: &str) -> impl Iterator<Item = (&Identity, u32)> {
        let others = self.sites.values().map(|site| (site.identity(), site.replica()));
        let all = std::iter::once((&self.identity, self.own.replica())).chain(others);
        all.map(|(identity, replica)| (identity, replica.count(account))).filter(|(_, count)| *count > 0)
    }

    /// Calls of an account at all sites; ours first, the newest of each site first.
    pub fn rows_of<'a>(&'a self, account: &'a str) -> impl Iterator<Item = (&'a Identity, RowView<'a>)> {
        let ours = self.own.rows_of(account).map(|row| (&self.identity, row));
        let others = self.sites.values();
        ours.chain(
            others.flat_map(move |site| site.replica().of_account(account).map(move |row| (site.identity(), row))),
        )
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }
}
