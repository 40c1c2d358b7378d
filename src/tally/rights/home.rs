//! The home's books and the books that other sites keep of it: rights are made here only, travel as totals that never
//! shrink, and come back here to be unmade.
//!
//! Owned by the rights machine. A total may be lost, doubled, late or out of order: what counts is only how much more it
//! is than the last one. Each side lowers its own part, writes that down, and tells the other then.

use super::fault::Fault;
use super::settings::Home;
use super::{Rights, TURN};
use crate::base::Instant;
use crate::base::time::Duration;
use crate::tally::{Message, Record, SiteId};
use std::sync::Arc;

/// How long a home's wish to have rights back holds unless it is said again.
const RECALL_HOLDS: Duration = Duration::from_secs(3);

impl Rights {
    /// Makes rights up to the limit, unmakes those above it, places shares. Tells when to look again.
    pub(super) fn look_after_home(&mut self, now: Instant, index: usize) -> Instant {
        if !self.accounts[index].at_home() || self.holding {
            return Instant::MAX;
        }
        if self.may_write() {
            self.issue(index);
            self.unmake(index);
            self.place(index);
        }
        let next = self.recall(now, index);
        next.min(self.repeat_placements(now, index))
    }

    fn issue(&mut self, index: usize) {
        let account = &mut self.accounts[index];
        let foreign = account.received.iter().any(|row| row.net() > 0 && !self.sites.is_retired(row.home));
        if !self.founded || foreign || account.issued >= account.limit() {
            return;
        }
        account.issued = account.limit();
        account.work_out_base(&self.sites);
        self.outbox.persist(Record::Issued { account: Arc::clone(&account.name), limit: account.issued });
        self.push(index);
    }

    fn unmake(&mut self, index: usize) {
        let account = &mut self.accounts[index];
        let gap = account.gap();
        if gap == 0 {
            return;
        }
        let unmade = account.withdraw(gap);
        if unmade > 0 {
            account.issued -= unmade;
            account.work_out_base(&self.sites);
            self.outbox.persist(Record::Issued { account: Arc::clone(&account.name), limit: account.issued });
        }
    }

    /// Each linked site gets an equal share, where there is enough to share.
    fn place(&mut self, index: usize) {
        let account = &self.accounts[index];
        let sites = self.site_count();
        if account.gap() > 0 || account.limit() < 2 * sites {
            return;
        }
        let share = account.limit() / sites;
        let linked: Vec<SiteId> = self.sites.linked().map(|(site, _)| site).collect();
        for site in linked {
            let account = &mut self.accounts[index];
            let there = account.placed.iter().find(|row| row.site == site).map_or(0, |row| row.net());
            let missing = share.saturating_sub(u32::try_from(there).unwrap_or(u32::MAX));
            let taken = if missing == 0 { 0 } else { account.withdraw(missing) };
            if taken == 0 {
                continue;
            }
            account.placement(site).total += u64::from(taken);
            self.write_placement(index, site, i64::from(taken));
            let account = &mut self.accounts[index];
            let (name, total) = (Arc::clone(&account.name), account.placement(site).total);
            self.outbox.send_after(site, Message::Placed { account: name, total });
        }
    }

    fn write_placement(&mut self, index: usize, site: SiteId, more: i64) {
        if let Some(site) = self.sites.get_mut(site) {
            site.placed_there = site.placed_there.saturating_add_signed(more);
        }
        let account = &mut self.accounts[index];
        account.work_out_base(&self.sites);
        let base = account.base;
        let row = account.placement(site);
        let (total, ceded) = (row.total, row.ceded);
        self.outbox.persist(Record::Placed { account: Arc::clone(&account.name), site, total, ceded, base });
    }

    /// Asks for what is above the limit, of each site that has some in proportion.
    fn recall(&mut self, now: Instant, index: usize) -> Instant {
        let account = &self.accounts[index];
        let gap = u64::from(account.gap());
        if gap == 0 {
            return Instant::MAX;
        }
        let linked = |site: SiteId| self.sites.is_linked(site);
        let there: u64 = account.placed.iter().filter(|row| linked(row.site)).map(|row| row.net()).sum();
        let due = account.busy.as_ref().and_then(|busy| busy.recalled_at).is_none_or(|at| at + TURN / 2 <= now);
        if due {
            for row in account.placed.iter().filter(|row| linked(row.site) && row.net() > 0) {
                let amount = u32::try_from((gap * row.net()).div_ceil(there)).unwrap_or(u32::MAX);
                self.outbox.send(row.site, Message::Recall { account: Arc::clone(&account.name), amount });
            }
            self.accounts[index].busy().recalled_at = Some(now);
        }
        now + TURN / 2
    }

    fn repeat_placements(&mut self, now: Instant, index: usize) -> Instant {
        let account = &mut self.accounts[index];
        let mut next = Instant::MAX;
        for row in account.placed.iter_mut().filter(|row| row.acknowledged < row.total) {
            if !self.sites.is_linked(row.site) {
                continue;
            }
            if row.again_at <= now {
                row.again_at = now + TURN;
                let name = Arc::clone(&account.name);
                self.outbox.send_after(row.site, Message::Placed { account: name, total: row.total });
            }
            next = next.min(row.again_at);
        }
        next
    }

    /// At another site: the home has placed rights here.
    pub(super) fn placed_by(&mut self, now: Instant, from: SiteId, account: &str, total: u64) {
        let Some(index) = self.find(account) else { return };
        let name = self.sites.name(from);
        if !self.accounts[index].lives_at(&name) {
            return self.accuse(from, "a placement of an account that does not live there");
        }
        let twice = self.rules.has(Fault::PlacedTwice);
        let row = self.accounts[index].receipt(from);
        if total > row.total || twice {
            let before = row.total;
            row.total = if twice { row.total + total } else { total };
            let more = row.total - before;
            self.write_receipt(index, from, more as i64);
            self.push(index);
        }
        let account = Arc::clone(&self.accounts[index].name);
        self.outbox.send_after(from, Message::Received { account, total });
        self.settle(now, index);
    }

    fn write_receipt(&mut self, index: usize, home: SiteId, more: i64) {
        if let Some(home) = self.sites.get_mut(home) {
            home.received_from = home.received_from.saturating_add_signed(more);
        }
        let account = &mut self.accounts[index];
        account.work_out_base(&self.sites);
        let base = account.base;
        let row = account.receipt(home);
        let (total, ceded) = (row.total, row.ceded);
        self.outbox.persist(Record::Received { account: Arc::clone(&account.name), home, total, ceded, base });
    }

    /// At the home: a site has written down what was placed there.
    pub(super) fn received_by(&mut self, from: SiteId, account: &str, total: u64) {
        let Some(index) = self.find(account) else { return };
        if let Some(row) = self.accounts[index].placed.iter_mut().find(|row| row.site == from) {
            row.acknowledged = row.acknowledged.max(total.min(row.total));
        }
    }

    /// At another site: the home wants rights back.
    pub(super) fn recalled_by(&mut self, now: Instant, from: SiteId, account: &str, amount: u32) {
        let Some(index) = self.find(account) else { return };
        if let Some(row) = self.accounts[index].received.iter_mut().find(|row| row.home == from) {
            row.recalled = Some((amount, now));
            self.settle(now, index);
        }
    }

    /// At another site: gives back what the home wants, as it comes free, and repeats it until the home has it.
    pub(super) fn look_after_receipts(&mut self, now: Instant, index: usize) -> Instant {
        let mut next = Instant::MAX;
        for at in 0..self.accounts[index].received.len() {
            let account = &mut self.accounts[index];
            let row = &mut account.received[at];
            let home = row.home;
            if self.sites.is_retired(home) {
                continue;
            }
            let dropped = account.terms.as_ref().is_some_and(|terms| terms.limit == 0 && terms.home != Home::Here);
            row.recalled = row.recalled.filter(|(_, said_at)| now < *said_at + RECALL_HOLDS);
            let under_way = u32::try_from(row.ceded - row.settled).unwrap_or(u32::MAX);
            let asked = row.recalled.map_or(0, |(amount, _)| amount.saturating_sub(under_way));
            let due = if dropped { u32::MAX } else { asked }.min(u32::try_from(row.net()).unwrap_or(u32::MAX));
            if due > 0 {
                self.cede(index, home, due);
                next = next.min(now + TURN / 4);
            }
            let account = &mut self.accounts[index];
            let row = &mut account.received[at];
            if row.settled < row.ceded && self.sites.is_linked(home) {
                if row.again_at <= now {
                    row.again_at = now + TURN;
                    let (name, total) = (Arc::clone(&account.name), row.ceded);
                    self.outbox.send_after(home, Message::Ceded { account: name, total });
                }
                next = next.min(row.again_at);
            }
        }
        next
    }

    fn cede(&mut self, index: usize, home: SiteId, amount: u32) {
        if !self.may_write() || self.holding {
            return;
        }
        let account = &mut self.accounts[index];
        let taken = account.withdraw(amount);
        if taken > 0 {
            let row = account.receipt(home);
            row.ceded += u64::from(taken);
            row.again_at = Instant::ZERO;
            self.write_receipt(index, home, -i64::from(taken));
        }
    }

    /// At the home: a site has given rights back.
    pub(super) fn ceded_by(&mut self, now: Instant, from: SiteId, account: &str, total: u64) {
        let Some(index) = self.find(account) else { return };
        let Some(row) = self.accounts[index].placed.iter_mut().find(|row| row.site == from) else {
            return self.accuse(from, "rights back that were never placed there");
        };
        if total > row.total {
            return self.accuse(from, "more rights back than were placed there");
        }
        if total > row.ceded {
            let fewer = total - row.ceded;
            row.ceded = total;
            self.write_placement(index, from, -(fewer as i64));
            self.push(index);
        }
        let account = Arc::clone(&self.accounts[index].name);
        self.outbox.send_after(from, Message::Settled { account, total });
        self.settle(now, index);
    }

    /// At another site: the home has written down what was given back.
    pub(super) fn settled_by(&mut self, from: SiteId, account: &str, total: u64) {
        let Some(index) = self.find(account) else { return };
        if let Some(row) = self.accounts[index].received.iter_mut().find(|row| row.home == from) {
            row.settled = row.settled.max(total.min(row.ceded));
        }
    }

    /// A retired site's placements come back: what it had lent of them has ended by now.
    pub(super) fn write_off(&mut self, index: usize, site: SiteId) -> bool {
        let account = &mut self.accounts[index];
        let Some(row) = account.placed.iter_mut().find(|row| row.site == site && row.net() > 0) else { return false };
        let net = row.net();
        row.ceded = row.total;
        self.write_placement(index, site, -(net as i64));
        true
    }

    /// A home is retired: what it had placed here is void.
    pub(super) fn make_void(&mut self, index: usize, home: SiteId) -> bool {
        let account = &mut self.accounts[index];
        let concerned = account.received.iter().any(|row| row.home == home);
        if concerned {
            account.work_out_base(&self.sites);
        }
        concerned
    }

    /// The link to a site is new: what it may have missed is said again at once.
    pub(super) fn repeat_all(&mut self, index: usize, site: SiteId) {
        let account = &mut self.accounts[index];
        if let Some(row) = account.placed.iter_mut().find(|row| row.site == site) {
            (row.acknowledged, row.again_at) = (0, Instant::ZERO);
        }
        if let Some(row) = account.received.iter_mut().find(|row| row.home == site) {
            row.again_at = Instant::ZERO;
        }
        let Some(busy) = account.busy.as_mut() else { return };
        busy.ahead_at = Instant::ZERO;
        for lent in busy.lent.iter_mut().filter(|lent| lent.to == site) {
            lent.remind_at = Instant::ZERO;
        }
        for hint in busy.hints.iter_mut().filter(|hint| hint.site == site) {
            (hint.denied, hint.denied_at) = (false, None);
        }
    }
}
