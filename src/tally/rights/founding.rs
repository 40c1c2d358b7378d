//! Homes that lost their disk, and sites that will not come back.
//!
//! Owned by the rights machine. A home with a new ledger does not know what its old one had issued. It asks all peers,
//! twice: the first round makes sure that nobody holds base rights of the old ledger, so that no new loans of them can
//! be made; the second that no loans of them are left either. A peer that agrees has written down the new identity, and
//! never hears the old one again.

use super::fault::Fault;
use super::turn::{PIECE, Sweep, What};
use super::{Event, Retired, Rights, TURN};
use crate::base::Instant;
use crate::base::time::Duration;
use crate::tally::{Message, Record, SiteId};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

/// Rounds of questions before a new ledger issues.
pub(super) const ROUNDS: u8 = 2;
/// Between two questions to one peer.
const AGAIN: Duration = TURN;

/// Where the founding of a home's new ledger stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Founding {
    /// Rounds that all peers have agreed in.
    pub rounds: u8,
    /// Names the round at hand; drawn anew for each, never 0.
    pub round: u64,
    /// Who has agreed in this round.
    pub clear: Vec<Arc<str>>,
    pub ask_at: Instant,
    pub told: bool,
    /// Homes that have asked here; one whose link is cut asks again.
    #[serde(skip)]
    pub asked: VecDeque<Asked>,
}

/// A home that has asked, and how many accounts have been looked at for it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    home: SiteId,
    round: u64,
    next: usize,
}

impl Rights {
    /// Asks those who have not agreed yet.
    pub(super) fn look_after_founding(&mut self, now: Instant) {
        if self.founded || now < self.founding.ask_at {
            return;
        }
        self.founding.ask_at = now + AGAIN;
        let (round, clear) = (self.founding.round, &self.founding.clear);
        for (site, _) in self.sites.linked().filter(|(_, row)| !clear.contains(&row.name)) {
            self.outbox.send(site, Message::Founding { round });
        }
    }

    /// Questions of an earlier round, or of an earlier try, are answered by nobody's word for this one.
    pub(super) fn next_round(&mut self) {
        self.founding.round = self.random.next_u64() | 1;
        self.founding.clear.clear();
    }

    /// A home with a new ledger asks. All accounts are looked at, some at a time; asking again changes nothing.
    pub(super) fn asked_to_found(&mut self, now: Instant, from: SiteId, round: u64) {
        let asked = &mut self.founding.asked;
        if asked.iter().any(|asked| asked.home == from && asked.round == round) {
            return;
        }
        asked.retain(|asked| asked.home != from);
        asked.push_back(Asked { home: from, round, next: 0 });
        self.look_for_old_rights(now);
    }

    /// Looks at some accounts for the first home that has asked. What was clear stays clear until the answer: its old
    /// disk is never heard again, so no base comes, and a loan of its rights finds no question open.
    pub(super) fn look_for_old_rights(&mut self, _now: Instant) {
        let Some(mut asked) = self.founding.asked.pop_front() else { return };
        if !self.sites.is_linked(asked.home) {
            return;
        }
        let (home, round) = (asked.home, asked.round);
        let name = self.sites.name(home);
        let end = (asked.next + PIECE).min(self.accounts.len());
        for index in asked.next..end {
            if self.holding || !self.is_clear_of(index, home, &name) {
                return self.outbox.send_after(home, Message::Founded { clear: false, round });
            }
            self.forget_questions(index, &name);
        }
        asked.next = end;
        if end < self.accounts.len() {
            return self.founding.asked.push_front(asked);
        }
        self.outbox.send_after(home, Message::Founded { clear: !self.holding, round });
    }

    /// Nothing of this account here stems from rights that the asker's earlier ledgers issued: no base, no loan either
    /// way, no call.
    fn is_clear_of(&self, index: usize, home: SiteId, name: &str) -> bool {
        let account = &self.accounts[index];
        let earlier = |site: SiteId| site != home && !self.sites.is_retired(site) && *self.sites.name(site) == *name;
        let stranded = account.received.iter().any(|row| row.net() > 0 && earlier(row.home));
        let in_use = account.usable() > 0 || account.lent() > 0 || account.live() > 0;
        let loans = account.busy.as_ref().is_some_and(|busy| !busy.loans.is_empty());
        !stranded && !(account.lives_at(name) && (in_use || loans))
    }

    /// What is on its way here in answer to them would be rights of the old ledger: it finds no question open.
    fn forget_questions(&mut self, index: usize, home: &str) {
        let account = &mut self.accounts[index];
        if let Some(busy) = account.busy.as_mut().filter(|busy| !busy.open.is_empty()).map(|busy| &mut busy.open) {
            let open = std::mem::take(busy);
            if account.lives_at(home) {
                open.iter().for_each(|open| _ = self.asked_for.remove(&open.number));
            } else {
                account.busy().open = open;
            }
        }
    }

    /// A peer's answer.
    pub(super) fn founded_by(&mut self, now: Instant, from: SiteId, clear: bool, round: u64) {
        let name = self.sites.name(from);
        // A peer of the version before names no round.
        if self.founded || (round != self.founding.round && round != 0) {
            return;
        }
        if !clear {
            self.founding.rounds = 0;
            self.next_round();
            if !self.founding.told {
                self.founding.told = true;
                self.outbox.event(Event::NotFounded { waiting_for: name });
            }
            return;
        }
        if !self.founding.clear.contains(&name) {
            self.founding.clear.push(name);
        }
        let clear = &self.founding.clear;
        if !self.peers.iter().all(|peer| clear.contains(peer)) {
            return;
        }
        self.founding.rounds += 1;
        self.next_round();
        self.founding.ask_at = now;
        if self.founding.rounds == ROUNDS {
            self.become_founded();
        } else {
            self.look_after_founding(now);
        }
    }

    pub(super) fn become_founded(&mut self) {
        self.founded = true;
        self.outbox.persist(Record::Founded);
        self.outbox.event(Event::Founded);
        self.sweep_all();
    }

    /// An operator's word that a disk is fenced. Its base rights come home when what it had lent of them has ended:
    /// other sites may count on its loans until then. Rights of its own making are void here at once.
    pub(super) fn retire_site(&mut self, now: Instant, name: &str, incarnation: u32) -> Result<Retired, String> {
        let mut seen = None;
        let matching = self.sites.iter().filter(|(_, site)| *site.name == *name && !site.retired).find(|(_, site)| {
            seen = seen.max(Some(site.incarnation));
            site.incarnation == incarnation
        });
        let Some((id, site)) = matching else {
            return Err(match seen {
                Some(seen) => format!("site {name} was last seen in incarnation {seen}, not {incarnation}"),
                None => format!("there is no site {name} that could be retired"),
            });
        };
        if site.linked {
            return Err(format!("site {name}, incarnation {incarnation}, is linked: fence it first"));
        }
        let wait = if self.rules.has(Fault::RetiredNoWait) { Duration::ZERO } else { self.rules.reclaim };
        let (rights, dropped) = (site.placed_there, site.received_from);
        let name = std::sync::Arc::clone(&site.name);
        if let Some(site) = self.sites.get_mut(id) {
            site.retired = true;
            site.returns_at = Some(now + wait);
            self.outbox.persist(site.record(id));
        }
        self.sweeps.push_front(Sweep { next: 0, what: What::Void(id) });
        self.sweep(now);
        self.outbox.event(Event::Retired { name, wait });
        Ok(Retired { rights, wait, dropped, seq: self.outbox.written() })
    }

    /// Takes home what was placed at sites whose retirement is complete. Tells when the next one is.
    pub(super) fn look_after_retired(&mut self, now: Instant) -> Instant {
        let mut next = Instant::MAX;
        let mut over = Vec::new();
        for (id, site) in self.sites.iter_mut() {
            match site.returns_at {
                Some(at) if at <= now => {
                    site.returns_at = None;
                    over.push(id);
                }
                Some(at) => next = next.min(at),
                None => {}
            }
        }
        self.sweeps.extend(over.into_iter().map(|id| Sweep { next: 0, what: What::WriteOff(id) }));
        next
    }
}
