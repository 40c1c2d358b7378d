//! Homes that lost their disk, and sites that will not come back.
//!
//! Owned by the rights machine. A home with a new ledger does not know what its old one had issued. It asks all peers,
//! twice: the first round makes sure that nobody holds base rights of the old ledger, so that no new loans of them can
//! be made; the second that no loans of them are left either. A peer that agrees has written down the new identity, and
//! never hears the old one again.

use super::rules::Fault;
use super::{Event, Retired, Rights, TURN};
use crate::base::Instant;
use crate::base::time::Duration;
use crate::tally::{Message, Record, SiteId};
use std::sync::Arc;

/// Rounds of questions before a new ledger issues.
const ROUNDS: u8 = 2;
/// Between two questions to one peer.
const AGAIN: Duration = TURN;

/// Where the founding of a home's new ledger stands.
#[derive(Debug, Default)]
pub(super) struct Founding {
    pub round: u8,
    /// Who has agreed in this round.
    pub clear: Vec<Arc<str>>,
    pub ask_at: Instant,
    pub told: bool,
}

impl Rights {
    /// Asks those who have not agreed yet.
    pub(super) fn look_after_founding(&mut self, now: Instant) {
        if self.founded || now < self.founding.ask_at {
            return;
        }
        self.founding.ask_at = now + AGAIN;
        let clear = &self.founding.clear;
        for (site, _) in self.sites.linked().filter(|(_, row)| !clear.contains(&row.name)) {
            self.outbox.send(site, Message::Founding);
        }
    }

    /// A home with a new ledger asks.
    pub(super) fn asked_to_found(&mut self, from: SiteId) {
        let clear = self.is_clear_of(from);
        if clear {
            self.forget_questions(from);
        }
        self.outbox.send_after(from, Message::Founded { clear });
    }

    /// Nothing here stems from rights that the asker's earlier ledgers issued: no base, no loan either way, no call.
    fn is_clear_of(&self, from: SiteId) -> bool {
        let name = self.sites.name(from);
        let earlier = |site: SiteId| site != from && !self.sites.is_retired(site) && self.sites.name(site) == name;
        !self.holding
            && self.accounts.iter().all(|account| {
                let stranded = account.received.iter().any(|row| row.net() > 0 && earlier(row.home));
                let in_use = account.usable() > 0 || account.lent() > 0 || account.live() > 0;
                let loans = account.busy.as_ref().is_some_and(|busy| !busy.loans.is_empty());
                !stranded && !(account.lives_at(&name) && (in_use || loans))
            })
    }

    /// What is on its way here in answer to them would be rights of the old ledger: it finds no question open.
    fn forget_questions(&mut self, home: SiteId) {
        let name = self.sites.name(home);
        let indices: Vec<u32> = self.asked_for.values().copied().collect();
        for index in indices {
            let account = &mut self.accounts[index as usize];
            if account.lives_at(&name) {
                for open in account.busy().open.drain(..) {
                    self.asked_for.remove(&open.number);
                }
            }
        }
    }

    /// A peer's answer.
    pub(super) fn founded_by(&mut self, now: Instant, from: SiteId, clear: bool) {
        let name = self.sites.name(from);
        if self.founded {
            return;
        }
        if !clear {
            self.founding.clear.clear();
            self.founding.round = 0;
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
        self.founding.round += 1;
        self.founding.clear.clear();
        self.founding.ask_at = now;
        if self.founding.round == ROUNDS {
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
        let (mut rights, mut dropped) = (0, 0);
        for account in &self.accounts {
            rights +=
                account.placed.iter().filter(|row| row.site == id).map(super::account::Placement::net).sum::<u64>();
            dropped +=
                account.received.iter().filter(|row| row.home == id).map(super::account::Receipt::net).sum::<u64>();
        }
        let name = std::sync::Arc::clone(&site.name);
        if let Some(site) = self.sites.get_mut(id) {
            site.retired = true;
            site.returns_at = Some(now + wait);
            self.outbox.persist(site.record(id));
        }
        for index in 0..self.accounts.len() {
            if self.accounts[index].received.iter().any(|row| row.home == id) {
                self.accounts[index].work_out_base(&self.sites);
                self.settle(now, index);
            }
        }
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
        for id in over {
            for index in 0..self.accounts.len() {
                if self.accounts[index].placed.iter().any(|row| row.site == id && row.net() > 0) {
                    self.write_off(index, id);
                    self.settle(now, index);
                }
            }
        }
        next
    }
}
