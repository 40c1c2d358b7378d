//! What other sites do and say: links that come and go, messages, and words that no right covers.
//!
//! Owned by the rights machine.

use super::fault::Fault;
use super::lend::Asked;
use super::loans::Offered;
use super::turn::{Sweep, What};
use super::{Event, Fenced, Rights};
use crate::base::Instant;
use crate::tally::{Identity, Message, SiteId};
use std::sync::Arc;

impl Rights {
    /// A link to a peer stands. The number that is answered is what messages and records call this identity.
    ///
    /// # Errors
    /// When it is fenced: the link is closed again.
    pub fn link_up(&mut self, now: Instant, peer: Identity) -> Result<SiteId, Fenced> {
        let fenced = |name| Event::Fenced { name, incarnation: peer.incarnation };
        if peer.name == self.me.name {
            self.outbox.event(fenced(Arc::clone(&peer.name)));
            return Err(Fenced { seen: self.me.incarnation, retired: false });
        }
        let greeting = match self.sites.greet(&peer, self.rules.has(Fault::FencedAccepted)) {
            Ok(greeting) => greeting,
            Err(why) => {
                self.outbox.event(fenced(peer.name));
                return Err(why);
            }
        };
        let id = greeting.site;
        if greeting.news
            && let Some(site) = self.sites.get(id)
        {
            self.outbox.persist(site.record(id));
        }
        if let Some(old) = greeting.instead_of.and_then(|old| self.sites.get(old)) {
            let (name, incarnation) = (Arc::clone(&old.name), old.incarnation);
            self.outbox.event(Event::Stranded { name, incarnation });
        }
        self.count_links();
        self.sweeps.push_back(Sweep { next: 0, what: What::Greet(id) });
        self.founding.ask_at = now;
        self.look_after_founding(now);
        self.sweep(now);
        Ok(id)
    }

    /// The link is gone.
    pub fn link_down(&mut self, now: Instant, site: SiteId) {
        let _ = now;
        if let Some(row) = self.sites.get_mut(site) {
            row.linked = false;
        }
        self.count_links();
        self.sweep_all();
    }

    pub(super) fn count_links(&mut self) {
        self.links = self.sites.linked().count();
        self.cut_off = self.links == 0;
    }

    /// A message of a linked site.
    pub fn handle(&mut self, now: Instant, from: SiteId, message: Message) {
        if !self.sites.is_linked(from) || self.sites.is_retired(from) {
            self.refused += 1;
            return;
        }
        match message {
            Message::Request { request, account, wanted, urgent, sent_at } => {
                self.asked(now, &account, &Asked { from, request, wanted, urgent, sent_at });
            }
            Message::Loan { request, loan, account, amount, sent_at: _ } => {
                self.offered(now, &account, &Offered { from, request, loan, amount });
            }
            Message::Denied { request } => self.denied_by(now, from, request),
            Message::Renew { loan, sent_at } => self.asked_to_renew(now, from, loan, sent_at),
            Message::Renewed { loan, sent_at } => self.renewed(now, from, loan, sent_at),
            Message::Closed { loan } => self.closed(now, from, loan),
            Message::Return { loan } => self.returned(now, from, loan),
            Message::Placed { account, total } => self.placed_by(now, from, &account, total),
            Message::Received { account, total } => self.received_by(from, &account, total),
            Message::Ceded { account, total } => self.ceded_by(now, from, &account, total),
            Message::Settled { account, total } => self.settled_by(from, &account, total),
            Message::Recall { account, amount } => self.recalled_by(now, from, &account, amount),
            Message::Founding { round } => self.asked_to_found(now, from, round),
            Message::Founded { clear, round } => self.founded_by(now, from, clear, round),
            Message::Figures { account, figures } => self.figures_of(now, from, &account, figures),
        }
    }

    /// A peer said what its rights do not cover: counted, told once a site.
    pub(super) fn accuse(&mut self, from: SiteId, what: &'static str) {
        self.refused += 1;
        let Some(site) = self.sites.get_mut(from) else { return };
        if !std::mem::replace(&mut site.accused, true) {
            let name = Arc::clone(&site.name);
            self.outbox.event(Event::Refused { name, what });
        }
    }
}
