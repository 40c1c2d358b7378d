//! The copy of another site's rows: takes operations and snapshots, notices what is missing and asks for it.
//!
//! Owned by [`super::Sessions`], one per site and disk.

use super::message::{Digest, Row, SessionMessage};
use super::replica::{Applied, Replica};
use super::{Counters, Fenced, SiteView};
use crate::base::Instant;
use crate::tally::message::Identity;
use std::collections::BTreeSet;

/// A snapshot of which some parts are still to come.
#[derive(Debug)]
struct Pending {
    replica: Replica,
    parts: u32,
    got: BTreeSet<u32>,
}

#[derive(Debug)]
pub(super) struct Site {
    identity: Identity,
    linked: bool,
    heard: Option<Instant>,
    /// The highest number that it has spoken of.
    spoken: u64,
    unlisted: u32,
    replica: Replica,
    pending: Option<Pending>,
}

impl Site {
    pub(super) fn new(identity: Identity, replica: Replica) -> Self {
        Self { identity, linked: true, heard: None, spoken: 0, unlisted: 0, replica, pending: None }
    }

    pub(super) fn link_up(&mut self, peer: &Identity) -> Result<(), Fenced> {
        let seen = self.incarnation();
        if peer.incarnation < seen {
            return Err(Fenced { seen });
        }
        if peer.incarnation > seen {
            *self = Self::new(peer.clone(), self.replica.restarted(peer.incarnation));
        }
        self.linked = true;
        self.pending = None;
        Ok(())
    }

    pub(super) fn link_down(&mut self) {
        self.linked = false;
        self.pending = None;
    }

    /// Says what to ask for: everything after this operation.
    pub(super) fn handle(&mut self, now: Instant, message: SessionMessage, counters: &mut Counters) -> Option<u64> {
        self.heard = Some(now);
        match message {
            SessionMessage::Operations { first, operations } => {
                self.spoken = self.spoken.max(first.saturating_add(operations.len() as u64).saturating_sub(1));
                match self.replica.apply(self.identity.incarnation, first, operations) {
                    Applied::New(news) => counters.operations += news as u64,
                    Applied::Gap => {
                        counters.gaps += 1;
                        return Some(self.replica.sequence());
                    }
                    Applied::Fenced => counters.fenced += 1,
                }
                None
            }
            SessionMessage::Snapshot { at, part, parts, rows } => {
                self.spoken = self.spoken.max(at);
                self.part(at, part, parts, rows, counters);
                None
            }
            SessionMessage::Digest(digest) => self.compare(digest, counters),
            SessionMessage::Want { .. } => None,
        }
    }

    fn part(&mut self, at: u64, part: u32, parts: u32, rows: Vec<(u64, Row)>, counters: &mut Counters) {
        if at <= self.replica.sequence() {
            return;
        }
        let newer = self.pending.as_ref().is_none_or(|pending| pending.replica.sequence() < at);
        if newer {
            let replica = self.replica.from_snapshot(self.identity.incarnation, at, []);
            self.pending = Some(Pending { replica, parts, got: BTreeSet::new() });
        }
        let Some(pending) = &mut self.pending else { return };
        if pending.replica.sequence() != at {
            return;
        }
        let beyond = rows.iter().any(|(number, _)| *number == 0 || *number > at);
        if pending.parts != parts || part >= parts || parts as usize > self.replica.rows_max() + 1 || beyond {
            counters.odd += 1;
            self.pending = None;
            return;
        }
        if !pending.got.insert(part) {
            return;
        }
        pending.replica.add(rows);
        if pending.got.len() == parts as usize
            && let Some(whole) = self.pending.take()
        {
            counters.snapshots += u64::from(self.replica.merge(whole.replica));
        }
    }

    fn compare(&mut self, digest: Digest, counters: &mut Counters) -> Option<u64> {
        self.spoken = self.spoken.max(digest.sequence);
        self.unlisted = digest.unlisted;
        if digest.sequence > self.replica.sequence() {
            counters.gaps += 1;
            return Some(self.replica.sequence());
        }
        let differs = digest.sequence == self.replica.sequence()
            && self.replica.missing() == 0
            && (digest.hash != self.replica.hash() || digest.rows as usize != self.replica.len());
        if differs {
            counters.diverged += 1;
            self.replica = self.replica.restarted(self.identity.incarnation);
            return Some(0);
        }
        None
    }

    pub(super) const fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) const fn incarnation(&self) -> u32 {
        self.identity.incarnation
    }

    pub(super) const fn linked(&self) -> bool {
        self.linked
    }

    pub(super) const fn heard(&self) -> Option<Instant> {
        self.heard
    }

    pub(super) const fn replica(&self) -> &Replica {
        &self.replica
    }

    pub(super) fn view(&self) -> SiteView<'_> {
        SiteView {
            identity: &self.identity,
            linked: self.linked,
            heard: self.heard,
            behind: self.spoken > self.replica.sequence(),
            rows: self.replica.len(),
            unlisted: self.unlisted.saturating_add(self.replica.missing()),
            sequence: self.replica.sequence(),
        }
    }
}
