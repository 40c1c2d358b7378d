//! What people ask the keeper, and its answers as JSON. Whatever another site has said comes with its age.
//!
//! Owned by the keeper. Nothing here decides anything, except what an operator says after fencing a site.

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::Keeper;
use crate::base::Instant;
use crate::base::time::Duration;
use crate::control::links::accounts::AccountTerms;
use crate::control::links::inbox::{Ask, Question};
use crate::control::links::status::Peer;
use crate::observe::CallId;
use crate::tally::Identity;
use crate::tally::rights::{Home, LoanView, View};
use crate::tally::sessions::RowView;

/// Answers that may wait for the disk.
const PENDING_MAX: usize = 16;

/// An answer that is true once the ledger has reached a record.
#[derive(Debug)]
pub struct Pending {
    seq: u64,
    answer: Value,
    reply: oneshot::Sender<Result<Value, String>>,
}

fn seconds(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e3).round() / 1e3
}

fn named(home: Option<&Home>, me: &Identity) -> Option<String> {
    home.map(|home| match home {
        Home::Here => me.name.to_string(),
        Home::At(name) => name.to_string(),
    })
}

impl Keeper {
    pub(super) fn answer(&mut self, now: Instant, ask: Ask) {
        let answer = match ask.question {
            Question::Links => Ok(self.links(now)),
            Question::Limits { limit } => Ok(self.limits(now, limit)),
            Question::Account { name } => self.account(now, &name).ok_or_else(|| format!("no account \"{name}\"")),
            Question::Calls { limit } => Ok(self.calls(now, limit)),
            Question::Retire { name, incarnation } => return self.retire(now, &name, incarnation, ask.reply),
            Question::Found => self.rights.found(now).map(|()| json!({})),
        };
        let _ = ask.reply.send(answer);
    }

    fn retire(&mut self, now: Instant, name: &str, incarnation: u32, reply: oneshot::Sender<Result<Value, String>>) {
        if self.pending.len() >= PENDING_MAX {
            let _ = reply.send(Err("too many answers wait for the ledger; see `readyz`".to_owned()));
            return;
        }
        match self.rights.retire(now, name, incarnation) {
            Ok(retired) => {
                self.sessions.forget(name, incarnation);
                let answer = json!({
                    "site": name, "incarnation": incarnation, "rights": retired.rights,
                    "wait_s": seconds(retired.wait), "dropped": retired.dropped,
                });
                self.pending.push(Pending { seq: retired.seq, answer, reply });
            }
            Err(why) => _ = reply.send(Err(why)),
        }
    }

    /// Sends the answers that have become true.
    pub(super) fn settle(&mut self, durable: u64) {
        let waiting = std::mem::take(&mut self.pending);
        let done = !self.rights.is_sweeping();
        let (true_now, waiting) = waiting.into_iter().partition(|pending| done && pending.seq <= durable);
        self.pending = waiting;
        let true_now: Vec<Pending> = true_now;
        for Pending { answer, reply, .. } in true_now {
            let _ = reply.send(Ok(answer));
        }
    }

    /// A peer that is down is shown with the last incarnation that the ledger knows: what retires it.
    fn links(&self, now: Instant) -> Value {
        let mut rows = self.status.rows(now);
        let known: Vec<_> = self.rights.peers().collect();
        for row in rows.iter_mut().filter(|row| row["incarnation"].is_null()) {
            let last = known.iter().rfind(|site| *site.name == *row["peer"].as_str().unwrap_or_default());
            if let Some(site) = last {
                row["incarnation"] = site.incarnation.into();
                row["retired"] = site.retired.into();
            }
        }
        let replaced = known.iter().filter(|site| site.replaced && !site.retired);
        let replaced = replaced.map(|site| json!({ "site": *site.name, "incarnation": site.incarnation }));
        json!({ "rows": rows, "cut": false, "replaced": replaced.collect::<Vec<_>>() })
    }

    fn limits(&self, now: Instant, limit: usize) -> Value {
        let row = |account: &AccountTerms| {
            let name = &account.name;
            let view = self.rights.view(now, name)?;
            let elsewhere: u32 =
                self.sessions.counts(name).filter(|(site, _)| **site != self.me).map(|(_, count)| count).sum();
            Some(json!({
                "of": "account", "name": **name, "used": view.live, "max": view.usable, "limit": view.limit,
                "home": named(view.home.as_ref(), &self.me), "elsewhere": elsewhere, "gap": view.gap,
            }))
        };
        let rows: Vec<Value> = self.accounts.iter().take(limit).filter_map(row).collect();
        json!({ "rows": rows, "cut": self.accounts.len() > limit })
    }

    fn account(&self, now: Instant, name: &str) -> Option<Value> {
        let view = self.rights.view(now, name)?;
        let strict = view.limit.unwrap_or(0);
        let (allowance, sites) = (self.accounts.allowance(), self.status.peers.len() as u32 + 1);
        let loans = |loans: &[LoanView]| -> Vec<Value> {
            let loan = |loan: &LoanView| json!({ "site": *loan.site, "amount": loan.amount, "left_s": seconds(loan.remaining) });
            loans.iter().map(loan).collect()
        };
        let placed = view.placed.iter();
        let placed = placed.map(|at| {
            json!({
                "site": *at.site, "incarnation": at.incarnation, "amount": at.amount, "stranded": at.stranded
            })
        });
        let refusal = view.refusal.map(|(why, ago)| json!({ "why": why.as_str(), "ago_s": seconds(ago) }));
        Some(json!({
            "account": name, "node": *self.me.name, "limit": view.limit,
            "bound": strict.saturating_add(allowance.saturating_mul(sites)),
            "home": named(view.home.as_ref(), &self.me), "issued": view.issued, "gap": view.gap,
            "usable": view.usable, "live": view.live, "base": view.base, "lent": view.lent, "borrowed": view.borrowed,
            "running_off": view.running_off, "allowance": view.allowance,
            "placed": placed.collect::<Vec<_>>(), "loans_out": loans(&view.loans_out), "loans_in": loans(&view.loans_in),
            "sites": self.elsewhere(now, name, &view), "refusal": refusal,
        }))
    }

    /// What the other sites have of an account, each with the age of its word.
    fn elsewhere(&self, now: Instant, name: &str, view: &View) -> Vec<Value> {
        let site = |(peer, status): (usize, &Peer)| {
            let said = view.sites.iter().find(|site| *site.site == *status.name);
            let figures = said.map(|said| said.figures);
            let heard = self.sessions.sites().filter(|site| *site.identity.name == *status.name);
            let newest = heard.filter_map(|site| site.heard).max();
            let calls: u32 = self
                .sessions
                .counts(name)
                .filter(|(identity, _)| *identity.name == *status.name)
                .map(|(_, count)| count)
                .sum();
            let terms = self.status.disagreement(peer);
            let differs = terms
                .and_then(|found| found.accounts.iter().find(|one| *one.account == *name).map(ToString::to_string));
            json!({
                "site": *status.name, "linked": self.status.is_up(peer), "calls": calls, "differs": differs,
                "calls_age_s": newest.map(|heard| seconds(now.since(heard))),
                "base": figures.map(|figures| figures.base), "lent": figures.map(|figures| figures.lent),
                "borrowed": figures.map(|figures| figures.borrowed), "live": figures.map(|figures| figures.live),
                "figures_age_s": said.map(|said| seconds(said.age)),
            })
        };
        self.status.peers.iter().enumerate().map(site).collect()
    }

    fn calls(&self, now: Instant, limit: usize) -> Value {
        let mut rows = Vec::new();
        let row = |site: &str, row: &RowView<'_>, started: Instant, stale: Option<Duration>| {
            json!({
                "site": site, "call": CallId(row.call).to_string(), "account": **row.account,
                "age_s": seconds(now.since(started)), "stale_s": stale.map(seconds),
            })
        };
        let mut unlisted = self.sessions.unlisted();
        rows.extend(
            self.sessions
                .own()
                .rows()
                .take(limit + 1)
                .map(|one| row(&self.me.name, &one, one.started, Some(Duration::ZERO))),
        );
        for site in self.sessions.sites() {
            unlisted = unlisted.saturating_add(site.unlisted);
            let feed = self.feeds.iter().flatten().find(|feed| feed.identity == *site.identity);
            let stale = site.heard.map(|heard| now.since(heard));
            let replica = self.sessions.replica(site.identity).into_iter().flat_map(|replica| replica.rows());
            for one in replica.take((limit + 1).saturating_sub(rows.len())) {
                // Without a link its clock is unknown: the age is that of its last word at least.
                let started = feed.map_or(site.heard.unwrap_or(now), |feed| feed.here(one.started));
                rows.push(row(&site.identity.name, &one, started, stale));
            }
        }
        let cut = rows.len() > limit;
        rows.truncate(limit);
        let sites: Vec<Value> = self.status.peers.iter().enumerate().map(|(peer, status)| {
            let heard = self.sessions.sites().filter(|site| *site.identity.name == *status.name).filter_map(|site| site.heard).max();
            json!({ "site": *status.name, "linked": self.status.is_up(peer), "stale_s": heard.map(|heard| seconds(now.since(heard))) })
        }).collect();
        json!({ "rows": rows, "cut": cut, "unlisted": unlisted, "sites": sites })
    }
}
