//! A disk that keeps what was synced, and perhaps some of the rest.

use std::collections::{HashMap, HashSet};
use strowger::base::Random;
use strowger::tally::{LoanId, Record};

/// One disk with one ledger on it.
#[derive(Debug)]
pub struct Disk {
    pub identity: u128,
    synced: Vec<Record>,
    waiting: Vec<Record>,
    /// Sequence number of the last of `waiting`, of the process at hand.
    written: u64,
    syncing: Option<u64>,
    loans: HashSet<LoanId>,
    totals: HashMap<(String, u16, bool), u64>,
}

impl Disk {
    pub fn new(identity: u128) -> Self {
        let (synced, waiting) = (Vec::new(), Vec::new());
        let (loans, totals) = (HashSet::new(), HashMap::new());
        Self { identity, synced, waiting, written: 0, syncing: None, loans, totals }
    }

    /// A process begins: what it finds, its own incarnation durable already.
    pub fn boot(&mut self, name: &str) -> (Vec<Record>, u32) {
        let last = self.synced.iter().rev().find_map(|record| match record {
            Record::Incarnation(number) => Some(*number),
            _ => None,
        });
        if last.is_none() {
            self.synced.push(Record::Disk { name: name.into(), disk: self.identity });
        }
        let incarnation = last.unwrap_or(0) + 1;
        self.synced.push(Record::Incarnation(incarnation));
        (self.written, self.syncing) = (0, None);
        (self.synced.clone(), incarnation)
    }

    pub fn append(&mut self, seq: u64, record: Record) {
        assert_eq!(seq, self.written + 1, "records are numbered one by one");
        self.written = seq;
        self.waiting.push(record);
    }

    /// Begins a sync, unless one is under way or nothing waits.
    pub fn sync(&mut self) -> bool {
        let begins = self.syncing.is_none() && !self.waiting.is_empty();
        if begins {
            self.syncing = Some(self.written);
        }
        begins
    }

    /// The sync is over: everything up to this is durable.
    pub fn synced(&mut self) -> u64 {
        let up_to = self.syncing.take().unwrap_or(0);
        let rest = (self.written - up_to) as usize;
        for record in self.waiting.drain(..self.waiting.len() - rest) {
            note(&mut self.loans, &mut self.totals, &record);
            self.synced.push(record);
        }
        up_to
    }

    /// The sync has failed: nothing is known of what was under way.
    pub fn fail(&mut self) {
        self.syncing = None;
    }

    /// A whole new ledger takes the place of the old one.
    pub fn replace(&mut self, records: Vec<Record>) -> u64 {
        for record in &records {
            note(&mut self.loans, &mut self.totals, record);
        }
        self.synced = records;
        self.waiting.clear();
        self.syncing = None;
        self.written
    }

    /// The process is gone. Some of what was not synced may have reached the disk.
    pub fn tear(&mut self, random: &mut Random) {
        let kept = random.below(self.waiting.len() as u64 + 1) as usize;
        for record in self.waiting.drain(..).take(kept) {
            note(&mut self.loans, &mut self.totals, &record);
            self.synced.push(record);
        }
        self.syncing = None;
    }

    /// The loan is written down for good.
    pub fn knows_loan(&self, loan: LoanId) -> bool {
        self.loans.contains(&loan)
    }

    /// The total that has been written down for good: of placements at a site, or of what was ceded to one.
    pub fn knows_total(&self, account: &str, site: u16, ceded: bool) -> u64 {
        self.totals.get(&(account.to_owned(), site, ceded)).copied().unwrap_or(0)
    }
}

fn note(loans: &mut HashSet<LoanId>, totals: &mut HashMap<(String, u16, bool), u64>, record: &Record) {
    match record {
        Record::Lent { loan, .. } => {
            loans.insert(*loan);
        }
        Record::Placed { account, site, total, .. } => {
            totals.insert((account.to_string(), site.0, false), *total);
        }
        Record::Received { account, home, ceded, .. } => {
            totals.insert((account.to_string(), home.0, true), *ceded);
        }
        _ => {}
    }
}
