//! A site changes its process, as the keeper does it: shards stand still, links are cut, everything is written down, and
//! another process goes on after a pause. Calls come along and hold their rights in new cells; letters stay behind.

use super::*;
use std::collections::HashMap;
use strowger::tally::Pulse;
use strowger::tally::rights::{Frozen, Rights};

/// How far it has got.
#[derive(Debug)]
pub enum Taking {
    /// What has been asked of the disk is not done yet.
    Draining,
    /// At rest, as octets.
    Frozen(Vec<u8>),
}

/// How take-overs of a run ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct TakeOvers {
    pub done: u64,
    /// The old process went on: its disk did not do its work, or the new one failed.
    pub declined: u64,
}

impl TakeOvers {
    pub fn add(&mut self, other: &Self) {
        self.done += other.done;
        self.declined += other.declined;
    }
}

/// In a quiet world nothing else happens while links come up again.
const QUIET_BETWEEN: u64 = 10 * SECOND;

impl World {
    /// Some site changes its process; another one will.
    pub fn take_over_some_site(&mut self) {
        if !self.calm {
            let next = self.about(self.plan.calm) + if self.plan.quiet { QUIET_BETWEEN } else { 0 };
            self.after(next, Event::TakeOver { site: None });
            let site = self.random.below(self.plan.sites as u64) as usize;
            self.take_over(site);
        }
    }

    /// This one does, if its disk does its work.
    pub fn take_over(&mut self, site: usize) {
        let host = &mut self.hosts[site];
        let Some(process) = &mut host.process else { return };
        if self.calm || host.paused.is_some() || !process.ledger_works {
            return;
        }
        let now = host.clock.read(self.now);
        (host.paused, host.taking) = (Some((self.now, u64::MAX)), Some(Taking::Draining));
        let mut peers = Vec::new();
        for (peer, link) in process.links.iter_mut().enumerate() {
            if let Some((number, _)) = link.take() {
                process.rights.link_down(now, number);
                peers.push(peer);
            }
        }
        let identity = process.identity.clone();
        self.say(|| format!("{site} is to be taken over"));
        for peer in peers.into_iter().filter(|peer| self.cut[site][*peer] == 0).collect::<Vec<_>>() {
            let after = 10 * MILLI + self.random.below(30 * MILLI);
            let identity = identity.clone();
            self.after(after, Event::At(peer, Step::Goodbye { from: site, identity }));
        }
        self.come_to_rest(site);
        self.pump_and_check(site);
    }

    /// A peer has said that it cuts the link.
    pub fn goodbye(&mut self, site: usize, from: usize, identity: &Identity) {
        let now = self.hosts[site].clock(self.now);
        let Some(process) = &mut self.hosts[site].process else { return };
        if let Some((number, _)) = process.links[from].take_if(|(_, known)| known == identity) {
            process.rights.link_down(now, number);
        }
    }

    /// Freezes once everything is on disk; declines if the disk does not do its work.
    pub fn come_to_rest(&mut self, site: usize) {
        if !matches!(self.hosts[site].taking, Some(Taking::Draining)) {
            return;
        }
        self.pump(site);
        let now = self.hosts[site].clock(self.now);
        let Some(process) = &mut self.hosts[site].process else { return };
        if !process.ledger_works {
            return self.decline(site);
        }
        if process.rights.may_freeze().is_ok() {
            while process.rights.next_deadline().is_some_and(|at| at <= now) {
                process.rights.handle_timeout(now);
            }
            self.pump(site);
        }
        let Some(process) = &self.hosts[site].process else { return };
        let Ok(frozen) = process.rights.freeze() else { return };
        let life = process.life;
        let octets = rmp_serde::to_vec_named(&frozen).expect("values without odd keys can be written");
        if process.rights.loans_in().all(|end| end.until > now) {
            let same = self.thaws_to_the_same(&octets, now);
            self.check.thawed(same);
        }
        self.hosts[site].taking = Some(Taking::Frozen(octets));
        let pauses = if self.plan.quiet { [20, 50, 100, 300] } else { [20, 300, 2_000, 20_000] };
        let longest = pauses[self.random.below(4) as usize] * MILLI;
        let pause = self.random.below(longest);
        self.after(pause, Event::At(site, Step::Thaw { life }));
    }

    /// The old process goes on.
    fn decline(&mut self, site: usize) {
        self.say(|| format!("{site} is not taken over"));
        self.take_overs.declined += 1;
        self.hosts[site].taking = None;
        self.resume(site);
    }

    /// What is thawed is what was frozen.
    fn thaws_to_the_same(&self, octets: &[u8], now: Instant) -> Result<(), String> {
        if self.mutant != Mutant::None {
            return Ok(());
        }
        let frozen = read(octets)?;
        let standing: HashMap<Arc<str>, u32> = frozen.standing().map(|(name, up)| (Arc::clone(name), up)).collect();
        let mut permits = Vec::new();
        let mut cells = |name: &str| {
            let cell = Cell::new(0);
            permits.extend((0..standing.get(name).copied().unwrap_or(0)).map(|_| cell.hold()));
            Some(cell)
        };
        let (settings, random) = (self.plan.settings.clone(), Random::from_u64(1));
        let again = Rights::thaw(settings, Vec::new(), frozen, &mut cells, random, now)?;
        let again = rmp_serde::to_vec_named(&again.freeze()?).map_err(|error| error.to_string())?;
        if again == octets { Ok(()) } else { Err("what is thawed is not what was frozen".to_owned()) }
    }

    /// Another process goes on, or fails to.
    pub fn thaw(&mut self, site: usize, life: u64) {
        if self.process(site, life).is_none() {
            return;
        }
        let Some(Taking::Frozen(octets)) = self.hosts[site].taking.take() else { return };
        if self.random.below(8) == 0 {
            return self.decline(site);
        }
        self.read_files(site);
        if let Err(why) = self.replace_process(site, &octets) {
            return self.check.thawed(Err(why));
        }
        self.take_overs.done += 1;
        self.say(|| format!("{site} is taken over"));
        self.check.site(site, &self.hosts, self.now, &self.plan);
        for account in 0..self.accounts.len() {
            match self.hosts[site].configured[account] {
                true => self.configure(site, account, self.hosts[site].limits[account]),
                false => self.remove(site, account),
            }
        }
        self.resume(site);
    }

    /// Rights thaw, then calls hold theirs, then the keeper has its first turn.
    fn replace_process(&mut self, site: usize, octets: &[u8]) -> Result<(), String> {
        let now = self.hosts[site].clock(self.now);
        let peers = (0..self.plan.sites).filter(|peer| *peer != site).map(site::name).collect();
        let (settings, random) = (self.plan.settings.clone(), self.random.fork());
        let cells: Vec<Arc<Cell>> = self.accounts.iter().map(|_| Cell::new(0)).collect();
        let frozen = read(octets)?;
        let standing: Vec<Arc<str>> = frozen.standing().map(|(name, _)| Arc::clone(name)).collect();
        let nobodys = self.mutant.is(Around::CellsOfNobody);
        let mut cell_of = |name: &str| {
            let account = self.accounts.iter().position(|known| **known == *name)?;
            let lapsed = !self.hosts[site].configured[account];
            match lapsed {
                true if nobodys => Some(Cell::new(0)),
                true if standing.iter().all(|known| **known != *name) => None,
                _ => Some(Arc::clone(&cells[account])),
            }
        };
        let mut rights = Rights::thaw(settings, peers, frozen, &mut cell_of, random, now)?;
        if self.mutant.is(Around::TurnBeforeCalls) {
            while rights.next_deadline().is_some_and(|at| at <= now) {
                rights.handle_timeout(now);
            }
        }
        self.lives += 1;
        let post = self.lives;
        let Some(process) = &mut self.hosts[site].process else { return Ok(()) };
        (process.identity, process.post) = (rights.me().clone(), post);
        for (account, permit) in process.calls.values_mut() {
            *permit = cells[*account].hold();
        }
        (process.rights, process.cells, process.pulse) = (rights, cells, Pulse::waiting());
        process.former.iter_mut().for_each(Vec::clear);
        process.numbers.clear();
        process.wake.1 = u64::MAX;
        Ok(())
    }
}

fn read(octets: &[u8]) -> Result<Frozen, String> {
    rmp_serde::from_slice(octets).map_err(|error| error.to_string())
}
