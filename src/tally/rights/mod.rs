//! The rights machine: how an account's limit N holds over all sites while each call is admitted without asking anyone.
//!
//! Owned by the one task of a node that speaks with the other sites (the keeper); pure: time and randomness are
//! arguments, everything to be done comes out of [`Rights::poll_output`].
//!
//! # The story
//!
//! A *right* is the permission to have one call up. Rights are made at one place only, the account's **home**, and
//! never more than N of them: `issued`. A site admits a call when it has a right that no other call uses; nobody is
//! asked. So the promise is about rights, not about calls: **at each instant the sum over all sites of
//! max(calls up, usable rights) is at most `issued`**. Everything here moves rights so that this sum never grows.
//!
//! *Placing.* The home gives each site that it is linked with an equal share of a large account, for good (`home`). A
//! small one stays at home. Both directions are totals that never shrink, of one home, one site and one account; the
//! receiver adds what is news. Lost, doubled, late, reordered: no difference.
//!
//! *Lending.* A site that needs more asks another one; the loan lasts D unless it is renewed (`borrow`, `loans`, `lend`). The
//! borrower counts D from when *it* asked, which is before the lender decided; the lender waits D·f from when it decided,
//! f = (1+ρ)/(1−ρ) for clocks that run apart, and what else it takes until no call on that right can be heard: M·f, the
//! longest call, if calls may finish (*keep*); X·f, how long media of a dead process flows; and slop for late timers
//! and hang-ups (`rules`). So a borrower's time ends before its lender's, whatever the network does, and no wall clock
//! is read.
//!
//! *The order of each step* is what the rest of the argument needs:
//!
//! 1. Who gives takes the right out of its shards' hands first ([`Cell::withdraw`](super::Cell::withdraw): atomic, never
//!    one that a call uses), writes that down, and tells the other once it is **on disk** (`outbox`). A crash at any
//!    point leaves the right with the giver or away from it, never in both places.
//! 2. Who receives adds it once: a loan only for a question of this very process that is still open, a placement only
//!    by how much its total grew. It may use it before its own record is durable: after a crash it merely has less than
//!    it could have, and records keep their order, so that whatever it gave on was written later than what it got.
//! 3. Who returns forgets first and tells then. A loan that answers no question goes back: it was never used.
//!
//! *Crash.* A new incarnation is durable before the process speaks. Loans in are forgotten. Loans out wait their whole
//! time again (`replay`): renewals were not written down, but each of them ended less than a whole wait after the crash.
//! Nothing is admitted, lent or returned until X has passed, because calls of the process before may be heard so long.
//! A lender that sees its borrower in a later incarnation waits X only: the process that used the loan is dead.
//! A lender that has not heard of a loan for a while repeats it, which brings lost loans and lost returns to light.
//!
//! *Change of process* (`frozen`). The machine is written down whole and goes on in another process as the same
//! incarnation: for all other sites that is a pause and a cut link. Before it, shards stand still, links are cut, outputs
//! are taken and all records are on disk, so that nothing is on its way; what a letter says that a shard has not read is
//! as if it had not been said, and a right in it is free. Both processes read one clock, so that each time stays what it
//! is (`frozen` goes through them): a lender counts no less, a borrower no more. Numbers of loans and questions go on,
//! since a number means one thing for ever; questions stay open as over any cut link, since a lender may have written down
//! the answer. Calls that come along hold their rights in new cells, above any limit, and the books say the rest:
//!
//! - An account has one cell, in which all its calls count, whatever cells they held before: f calls on former cells and
//!   l on the last one, with u rights, were f + max(l, u − f) at the worst and are max(f + l, u), which is the same.
//!   What the new configuration lacks keeps such a cell while calls stand on it, and is dropped then as by a reload.
//! - What is usable is not read from the old cell but worked out anew, less what has ended meanwhile, with allowances as
//!   for a site that is cut off.
//! - The machine gives back and lends what no call uses: nothing, not even the time, is told to it until all calls hold
//!   their rights; and no shard admits before its first turn is over and the pulse beats.
//!
//! *Loss of a site* (`site`, `founding`). A name with a disk is an identity; a lost disk is another one, with zero
//! rights. Base rights at an identity that is gone stay there until an operator has fenced and retired it; the home
//! then waits a loan's whole time before it uses them, since what the dead site had lent may be in use elsewhere. A home
//! that lost its disk does not know what it had issued: it issues nothing until all peers have said, twice, that nothing
//! of it is in use.
//!
//! *Changing N.* Raised: issued at the home. Lowered: lenders grant and renew nothing, free rights are unmade, placed
//! ones recalled; until that is done the limit in force is `issued`, and the gap is shown.
//!
//! *Following users.* Notes of shards ask ahead of need; lenders keep only what their own calls needed a moment ago;
//! those who asked in vain are told when something comes free; idle loans go back; a lender that refuses calls of its own
//! calls loans in one by one, and each ends with the calls on it, not they with it. Hints (`Figures`) decide whom to
//! ask, never what is right.
//!
//! # What the keeper must do
//!
//! - Hand in a message only if it came over a link that was greeted as that identity, and was meant for this one: a
//!   peer's new disk counts its loans from one again.
//! - Be at [`Rights::handle_timeout`] in time, and beat the [`Pulse`](super::Pulse) after each turn: a shard that admits
//!   while the keeper stands still would use rights that have ended.
//! - Keep the order of records, and never put one behind a gap: after a failed write, a whole [`Rights::snapshot`]
//!   (taken when all outputs are drained) comes first.
//! - Run one process on a ledger at a time, and let no machine go on once another has been thawed from it.
//!
//! The simulator (`tests/sim/limits`) holds all this against true time, and plants a [`Fault`] for each of these reasons.

mod account;
mod borrow;
mod configured;
mod fault;
mod founding;
mod frozen;
mod hear;
mod home;
mod lend;
mod loans;
mod outbox;
mod output;
mod replay;
mod rules;
mod settings;
mod site;
#[cfg(test)]
mod tests;
mod turn;
mod view;
mod wait;

#[doc(hidden)]
pub use fault::Fault;
pub use frozen::Frozen;
pub use output::{Event, Output};
pub use settings::{Home, Policy, Settings, Terms};
pub use view::{LoanEnd, LoanView, PeerView, PlacedView, Refusal, SiteView, Totals, View};

use super::{Cell, Identity, LoanId, Record, SiteId};
use crate::base::time::Duration;
use crate::base::{Instant, Random, Wheel};
use account::Account;
use ahash::RandomState;
use founding::Founding;
use hashbrown::HashMap;
use outbox::Outbox;
use rules::Rules;
use site::Sites;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use turn::Sweep;

/// The pace of whatever has no exact time of its own.
const TURN: Duration = Duration::from_secs(1);
/// Most accounts.
const ACCOUNTS_MAX: usize = 1 << 24;

/// The site may not come back: a later incarnation has been seen, or an operator has retired its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fenced {
    /// The last incarnation seen.
    pub seen: u32,
    /// True when it was retired.
    pub retired: bool,
}

/// What retiring a site will bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retired {
    /// Base rights of ours there, over all accounts, that come back.
    pub rights: u64,
    /// After this time.
    pub wait: Duration,
    /// Base rights here that its ledger had issued, and which are void now.
    pub dropped: u64,
    /// Durable once the ledger has reached this.
    pub seq: u64,
}

/// The machine.
#[derive(Debug)]
pub struct Rights {
    settings: Settings,
    rules: Rules,
    me: Identity,
    peers: Vec<Arc<str>>,
    random: Random,
    sites: Sites,
    accounts: Vec<Account>,
    by_name: HashMap<Arc<str>, u32, RandomState>,
    /// The cell of accounts that the configuration does not name.
    nothing: Arc<Cell>,
    /// Accounts of loans out, loans in and open questions.
    lent_to: BTreeMap<LoanId, u32>,
    borrowed_from: BTreeMap<(SiteId, LoanId), u32>,
    asked_for: BTreeMap<u64, u32>,
    refusals: BTreeMap<u32, (Refusal, Instant)>,
    loan_number: u64,
    request_number: u64,
    founded: bool,
    founding: Founding,
    ledger_works: bool,
    /// Media of the process before may flow until `hold_until`: nothing is admitted, lent or given back.
    holding: bool,
    hold_until: Instant,
    /// Sites linked now; with none, allowances are in force.
    links: usize,
    cut_off: bool,
    waiters: usize,
    granted: u64,
    denied: u64,
    refused: u64,
    retired_at: Instant,
    wheel: Wheel<u32>,
    sweeps: VecDeque<Sweep>,
    outbox: Outbox,
}

impl Rights {
    /// From a ledger's records. `me.incarnation` is later than the ledger's and durable by now; `peers` are the names of
    /// all other sites that the configuration knows.
    #[must_use]
    pub fn open(
        settings: Settings,
        me: Identity,
        peers: Vec<Arc<str>>,
        ledger: &[Record],
        random: Random,
        now: Instant,
    ) -> Self {
        let mut rights = Self::bare(settings, me, peers, random, now);
        rights.replay(ledger, now);
        rights
    }

    /// A new process that knows of no account.
    fn bare(settings: Settings, me: Identity, peers: Vec<Arc<str>>, mut random: Random, now: Instant) -> Self {
        let rules = Rules::new(&settings);
        let [a, b, c, d] = [(); 4].map(|()| random.next_u64());
        Self {
            hold_until: now + rules.hold,
            holding: rules.hold > Duration::ZERO,
            founded: peers.is_empty() || rules.has(Fault::FoundingSkipped),
            settings,
            rules,
            me,
            peers,
            random,
            sites: Sites::default(),
            accounts: Vec::new(),
            by_name: HashMap::with_hasher(RandomState::with_seeds(a, b, c, d)),
            nothing: Cell::new(0),
            lent_to: BTreeMap::new(),
            borrowed_from: BTreeMap::new(),
            asked_for: BTreeMap::new(),
            refusals: BTreeMap::new(),
            loan_number: 0,
            request_number: 0,
            founding: Founding::default(),
            ledger_works: true,
            links: 0,
            cut_off: true,
            waiters: 0,
            granted: 0,
            denied: 0,
            refused: 0,
            retired_at: Instant::MAX,
            wheel: Wheel::new(now, ACCOUNTS_MAX),
            sweeps: VecDeque::new(),
            outbox: Outbox::default(),
        }
    }

    /// Who this is.
    #[must_use]
    pub const fn me(&self) -> &Identity {
        &self.me
    }

    /// Every `Output::Persist` up to this is on disk.
    pub fn durable(&mut self, now: Instant, up_to: u64) {
        let _ = now;
        self.outbox.durable(up_to);
    }

    /// The ledger takes records, or does not: then nothing is lent or placed, and everything else goes on.
    pub fn ledger_works(&mut self, now: Instant, works: bool) {
        let _ = now;
        if works && !self.ledger_works {
            self.sweep_all();
        }
        self.ledger_works = works;
    }

    /// Sites that the configuration names, this one included.
    fn site_count(&self) -> u32 {
        self.peers.len() as u32 + 1
    }

    /// Rights may be moved: what moves them can be written down.
    fn may_write(&self) -> bool {
        self.ledger_works && self.outbox.waiting() < self.settings.undurable_max
    }

    /// An operator says that this site is fenced and will not come back with this disk. `incarnation` is the last one
    /// that this site has seen, so that nobody retires another than he means.
    ///
    /// # Errors
    /// Says why not.
    pub fn retire(&mut self, now: Instant, name: &str, incarnation: u32) -> Result<Retired, String> {
        let retired = self.retire_site(now, name, incarnation)?;
        self.retired_at = self.look_after_retired(now);
        Ok(retired)
    }

    /// An operator says that nothing of this home's old ledger is in use anywhere.
    ///
    /// # Errors
    /// Says why not.
    pub fn found(&mut self, now: Instant) -> Result<(), String> {
        let _ = now;
        if self.founded {
            return Err("this home issues its rights already".to_owned());
        }
        self.become_founded();
        Ok(())
    }

    /// Does what is due. To be called at [`Self::next_deadline`], and never later than the settings' slop after it.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.holding && self.hold_until <= now {
            self.holding = false;
            self.sweep_all();
        }
        self.timers(now);
        self.look_after_founding(now);
        self.look_for_old_rights(now);
        if self.retired_at <= now {
            self.retired_at = self.look_after_retired(now);
        }
        self.sweep(now);
    }

    /// When to call [`Self::handle_timeout`] next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if !self.sweeps.is_empty() || !self.founding.asked.is_empty() {
            return Some(Instant::ZERO);
        }
        let mut next = self.wheel.next_deadline().unwrap_or(Instant::MAX).min(self.retired_at);
        if self.holding {
            next = next.min(self.hold_until);
        }
        if !self.founded && self.links > 0 {
            next = next.min(self.founding.ask_at);
        }
        (next < Instant::MAX).then_some(next)
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        loop {
            match self.outbox.pop()? {
                // Its link has gone meanwhile, or leads to another disk now.
                Output::Send { to, .. } if !self.sites.is_linked(to) => {}
                output => return Some(output),
            }
        }
    }
}
