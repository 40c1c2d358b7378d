//! The keeper of the rights, as a shard sees one: it sets what is usable, grants, denies, delays or never answers, and
//! writes down what it is told, so that every right that has begun is seen to end, once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use strowger::base::id::Token;
use strowger::base::time::Duration;
use strowger::base::{Instant, Random, ShardId};
use strowger::call::Directory;
use strowger::shard::Mail;
use strowger::tally::{Note, Pulse};

/// A letter, and when it arrives.
pub type Letter = (Instant, ShardId, Mail);

/// See the head of this file.
pub struct Keeper {
    /// Shared with the directory.
    pub pulse: Arc<Pulse>,
    sessions: BTreeSet<(Arc<str>, [u8; 27])>,
    /// What went wrong; told at the next step.
    pub fault: Option<String>,
    /// Calls that waited, and calls that waited and got a right.
    pub waited: usize,
    pub granted: usize,
    random: Random,
}

impl Keeper {
    pub fn new(random: Random) -> Self {
        let pulse = Arc::new(Pulse::waiting());
        pulse.beat(Instant::ZERO, Duration::from_secs(1 << 30));
        Self { pulse, sessions: BTreeSet::new(), fault: None, waited: 0, granted: 0, random }
    }

    /// The beginning: some rights are here, more may come.
    pub fn open(&mut self, directory: &Directory) {
        for account in &directory.accounts {
            account.cell.set_usable(self.random.below(u64::from(account.limit) + 1) as u32);
            account.cell.set_may_borrow(true);
        }
    }

    /// Rights in use, by what the shards have told.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    fn session(&mut self, account: Arc<str>, call: Token, begins: bool) {
        let key = (account, call.encode());
        let fresh = if begins { self.sessions.insert(key.clone()) } else { self.sessions.remove(&key) };
        if !fresh {
            self.fault = Some(format!("{call:?} of {} begins or ends twice: {begins}", key.0));
        }
    }

    /// A note of a shard; the answer of one that asks.
    pub fn note(&mut self, now: Instant, directory: &Directory, note: Note) -> Option<Letter> {
        match note {
            Note::Began { account, call, .. } => self.session(account, call, true),
            Note::Ended { account, call } => self.session(account, call, false),
            Note::Calls { shard, calls } => self.compare(shard, calls.into_iter().map(|one| (one.account, one.call))),
            Note::Wanted { .. } | Note::Phones { .. } => {}
            Note::Borrow { account, shard, call, deadline } => {
                self.waited += 1;
                if deadline < now {
                    self.fault = Some(format!("{call:?} asks for a right that it cannot wait for"));
                }
                let answers = self.random.below(10);
                let held = directory.accounts.iter().find(|held| held.name == account)?;
                let permit = match answers {
                    0..=5 if held.cell.read().1 < held.limit => {
                        held.cell.set_usable(held.cell.read().1 + 1);
                        held.cell.admit()
                    }
                    0..=5 => held.cell.admit(),
                    6 | 7 => None,
                    _ => return None,
                };
                self.granted += usize::from(permit.is_some());
                // Some come long after the call has given up.
                let delay = Duration::from_millis(self.random.below(if answers.is_multiple_of(2) { 300 } else { 700 }));
                return Some((now + delay, shard, Mail::Right { call, permit }));
            }
        }
        None
    }

    fn compare(&mut self, shard: ShardId, calls: impl Iterator<Item = (Arc<str>, Token)>) {
        let told: BTreeSet<_> = calls.map(|(account, call)| (account, call.encode())).collect();
        let mine = |key: &&(Arc<str>, [u8; 27])| Token::decode(&key.1).is_some_and(|call| call.shard == shard);
        if !told.iter().eq(self.sessions.iter().filter(mine)) {
            self.fault = Some(format!("shard {} names other calls than have begun there", shard.0));
        }
    }

    /// Something happens to an account's rights; letters to all shards may follow.
    pub fn act(&mut self, directory: &Directory, shards: usize) -> Vec<(ShardId, Mail)> {
        let all = (0..shards).map(|shard| ShardId(shard as u8));
        let Some(account) = directory.accounts.get(self.random.below(directory.accounts.len().max(1) as u64) as usize)
        else {
            return Vec::new();
        };
        match self.random.below(6) {
            0 => account.cell.set_usable(self.random.below(u64::from(account.limit) + 1) as u32),
            1 => {
                let _ = account.cell.withdraw(1);
            }
            2 => account.cell.set_may_borrow(self.random.below(4) > 0),
            3 => return all.map(|shard| (shard, Mail::TellCalls)).collect(),
            _ => {
                // A loan has lapsed, and the policy is to drop.
                let (live, usable) = account.cell.read();
                account.cell.set_usable(usable.saturating_sub(1));
                let budget = Arc::new(AtomicU32::new((live + 1).saturating_sub(usable).min(live)));
                let letter = |shard| {
                    (shard, Mail::HangUpSome { account: Arc::clone(&account.name), budget: Arc::clone(&budget) })
                };
                return all.map(letter).collect();
            }
        }
        Vec::new()
    }

    /// It stands still until then, or is awake.
    pub fn sleep(&mut self, until: Option<Instant>) {
        match until {
            Some(now) => self.pulse.beat(now, Duration::ZERO),
            None => self.pulse.beat(Instant::ZERO, Duration::from_secs(1 << 30)),
        }
    }
}
