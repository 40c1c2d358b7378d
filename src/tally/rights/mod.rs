//! The rights machine: how an account's limit holds over all sites while each call is admitted without asking anyone.
//!
//! Owned by the one task of a node that speaks with the other sites; pure.

mod output;
#[allow(dead_code)] // until the behaviour lands
mod rules;
mod settings;
mod view;

pub use output::{Event, Output};
#[doc(hidden)]
pub use rules::Fault;
pub use settings::{Home, Policy, Settings, Terms};
pub use view::{LoanView, PlacedView, Refusal, SiteView, Totals, View};

use super::{Cell, Identity, Message, Note, Record, SiteId};
use crate::base::time::Duration;
use crate::base::{Instant, Random};
use std::collections::VecDeque;
use std::sync::Arc;

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
    #[allow(dead_code)]
    rules: rules::Rules,
    me: Identity,
    peers: Vec<Arc<str>>,
    random: Random,
    outputs: VecDeque<Output>,
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
        let _ = (ledger, now);
        Self { rules: rules::Rules::new(&settings), me, peers, random, outputs: VecDeque::new() }
    }

    /// The configuration has the account, anew or otherwise than before. From now on only the machine sets the cell.
    pub fn set_account(&mut self, now: Instant, name: Arc<str>, terms: Terms, cell: Arc<Cell>) {
        let _ = (now, name, terms, cell, self.rules.hold);
    }

    /// The configuration has the account no more: its rights go home, and are unmade there.
    pub fn drop_account(&mut self, now: Instant, name: &str) {
        let _ = (now, name);
    }

    /// A link to a peer stands. The number that is answered is what messages and records call this identity.
    ///
    /// # Errors
    /// When it is fenced: the link is closed again.
    pub fn link_up(&mut self, now: Instant, peer: Identity) -> Result<SiteId, Fenced> {
        let _ = (now, peer, &self.peers);
        Ok(SiteId(0))
    }

    /// The link is gone.
    pub fn link_down(&mut self, now: Instant, site: SiteId) {
        let _ = (now, site, &self.me);
    }

    /// A message of a linked site.
    pub fn handle(&mut self, now: Instant, from: SiteId, message: Message) {
        let _ = (now, from, message, &mut self.random);
    }

    /// A note of a shard. `Began` and `Ended` are for the session database and mean nothing here.
    pub fn note(&mut self, now: Instant, note: Note) {
        let _ = (now, note);
    }

    /// Every `Output::Persist` up to this is on disk.
    pub fn durable(&mut self, now: Instant, up_to: u64) {
        let _ = (now, up_to);
    }

    /// The ledger takes records, or does not: then nothing is lent or placed, and everything else goes on.
    pub fn ledger_works(&mut self, now: Instant, works: bool) {
        let _ = (now, works);
    }

    /// An operator says that this site is fenced and will not come back with this disk. `incarnation` is the last one
    /// that this site has seen, so that nobody retires another than he means.
    ///
    /// # Errors
    /// Says why not.
    pub fn retire(&mut self, now: Instant, name: &str, incarnation: u32) -> Result<Retired, String> {
        let _ = now;
        Err(format!("site {name}, incarnation {incarnation}, is not known"))
    }

    /// An operator says that nothing of this home's old ledger is in use anywhere.
    ///
    /// # Errors
    /// Says why not.
    pub fn found(&mut self, now: Instant) -> Result<(), String> {
        let _ = now;
        Ok(())
    }

    /// Does what is due. To be called at [`Self::next_deadline`], and never later than the settings' slop after it.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// When to call [`Self::handle_timeout`] next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// One account, for people.
    #[must_use]
    pub fn view(&self, now: Instant, account: &str) -> Option<View> {
        let _ = (now, account);
        None
    }

    /// The names of all accounts that this site knows.
    pub fn accounts(&self) -> impl Iterator<Item = &Arc<str>> {
        self.peers.iter().take(0)
    }

    /// The whole machine, for metrics.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals::default()
    }

    /// Everything that must not be forgotten, as the records of a new ledger.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Record> {
        vec![Record::Disk { name: Arc::clone(&self.me.name), disk: self.me.disk }]
    }
}
