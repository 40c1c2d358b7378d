//! What goes wrong, and what an operator does about it.

use super::plan::{Around, SECOND};
use super::site::{self, Host};
use super::world::{Event, Step, World};
use strowger::tally::Identity;

impl World {
    /// One thing goes wrong; another one will.
    pub fn fault(&mut self) {
        if self.calm {
            return;
        }
        let next = self.about(self.plan.calm);
        self.after(next, Event::Fault);
        if self.plan.quiet {
            return self.reconfigure();
        }
        let sites = self.plan.sites as u64;
        let site = self.random.below(sites) as usize;
        let other = self.random.below(sites) as usize;
        match self.random.below(100) {
            0..30 => {
                let mut edges = vec![(site, other)];
                if self.random.below(10) < 6 {
                    edges.push((other, site));
                }
                self.cut_for(edges);
            }
            30..42 => {
                let others = (0..self.plan.sites).filter(|other| *other != site);
                self.cut_for(others.flat_map(|other| [(site, other), (other, site)]).collect());
            }
            42..55 => self.pause(site),
            55..80 => {
                let down = [SECOND / 5, 3 * SECOND, 30 * SECOND][self.random.below(3) as usize];
                self.kill(site, down);
            }
            80..88 => self.lose_disk(site),
            _ => self.reconfigure(),
        }
    }

    /// What people change while nothing is wrong.
    fn reconfigure(&mut self) {
        let account = self.random.below(self.accounts.len() as u64) as usize;
        match self.random.below(10) {
            0..5 => self.change_limit(account),
            5..7 => self.move_phones(account),
            7..9 => {
                let site = self.random.below(self.plan.sites as u64) as usize;
                self.say(|| format!("{site} reads its configuration again: another cell for account {account}"));
                self.after(0, Event::At(site, Step::Reload { account }));
            }
            _ => self.remove_account(account),
        }
    }

    fn move_phones(&mut self, account: usize) {
        let to = self.random.below(self.plan.sites as u64) as usize;
        let phones = [1, 5, 100][self.random.below(3) as usize];
        self.say(|| format!("{phones} phones of account {account} move to {to}"));
        for site in 0..self.plan.sites {
            let after = self.random.below(2 * SECOND);
            let phones = if site == to { phones } else { 0 };
            self.after(after, Event::At(site, Step::Phones { account, phones }));
        }
    }

    /// From all configurations, and back into them after a while.
    fn remove_account(&mut self, account: usize) {
        self.say(|| format!("account {account} is removed"));
        for site in 0..self.plan.sites {
            let gone = self.random.below(5 * SECOND);
            let back = 10 * SECOND + self.random.below(20 * SECOND);
            self.after(gone, Event::At(site, Step::Remove { account }));
            self.after(back, Event::At(site, Step::Restore { account }));
        }
    }

    fn cut_for(&mut self, edges: Vec<(usize, usize)>) {
        for (from, to) in &edges {
            self.cut[*from][*to] += 1;
        }
        self.say(|| format!("cut {edges:?}"));
        let after = [SECOND, 10 * SECOND, 40 * SECOND, 90 * SECOND][self.random.below(4) as usize];
        self.after(after, Event::Heal(edges));
    }

    pub fn heal(&mut self, edges: &[(usize, usize)]) {
        for (from, to) in edges {
            self.cut[*from][*to] = self.cut[*from][*to].saturating_sub(1);
        }
    }

    fn pause(&mut self, site: usize) {
        if self.hosts[site].paused.is_some() || self.hosts[site].process.is_none() {
            return;
        }
        let long = [SECOND / 10, 2 * SECOND, 20 * SECOND, 60 * SECOND][self.random.below(4) as usize];
        self.say(|| format!("{site} stands still for {} s", long as f64 / 1e9));
        self.hosts[site].paused = Some((self.now, self.now + long));
        self.after(long, Event::At(site, Step::Resume));
    }

    /// The process dies at once; its media flows on for a while, at most X.
    fn kill(&mut self, site: usize, down: u64) {
        let host = &mut self.hosts[site];
        let Some(process) = host.process.take() else { return };
        let silent_by = host.clock.truly(self.plan.settings.dead_man);
        host.taking = None;
        let silent_by = match host.paused.take() {
            Some((since, _)) => silent_by.saturating_sub(self.now - since),
            None => silent_by,
        };
        self.say(|| format!("{site} dies"));
        self.forget_deferred(site);
        for (account, _permit) in process.calls.into_values() {
            let after = if silent_by == 0 { 0 } else { self.random.below(silent_by) };
            if after > 0 {
                self.hosts[site].dead[account] += 1;
                self.after(after, Event::At(site, Step::Silenced { account }));
            }
        }
        self.hosts[site].disk.tear(&mut self.random);
        self.after(down, Event::At(site, Step::Boot));
        self.check.site(site, &self.hosts, self.now, &self.plan);
    }

    /// The host burns down. Another one takes its name, and an operator retires the disk, sooner or later.
    fn lose_disk(&mut self, site: usize) {
        let down = [SECOND, 5 * SECOND, 30 * SECOND][self.random.below(3) as usize];
        self.kill(site, down);
        let Some(identity) = self.hosts[site].last.take() else { return };
        self.say(|| format!("{site} loses its disk"));
        let disk = site::new_disk(&mut self.random);
        let rebuilt = self.mutant.is(Around::RebuiltFromNothing);
        self.hosts[site].disk = super::disk::Disk::new(if rebuilt { identity.disk } else { disk });
        if !rebuilt {
            let after = self.random.below(20 * SECOND);
            self.after(after, Event::Retire { identity });
            self.after(down, Event::Found { site, tries: 100 });
        }
    }

    /// An operator does not wait for the peers' word, once nothing of the old ledger is in use any more.
    pub fn found(&mut self, site: usize, tries: u32) {
        let now = self.hosts[site].clock(self.now);
        let clear = self.mutant.is(Around::FoundedUnfenced) || self.is_clear_of(site);
        if clear
            && self.hosts[site].taking.is_none()
            && let Some(process) = &mut self.hosts[site].process
        {
            let done = process.rights.found(now);
            self.say(|| format!("{site} is founded by hand: {done:?}"));
            return self.pump_and_check(site);
        }
        if tries > 0 && !self.calm {
            self.after(SECOND / 2, Event::Found { site, tries: tries - 1 });
        }
    }

    /// What the operator can know: all sites answer, and at none of them is a right of that home's accounts.
    fn is_clear_of(&self, home: usize) -> bool {
        let none_at = |host: &Host, account: usize| {
            let Some(process) = &host.process else { return false };
            let Some(view) = process.rights.view(host.clock(self.now), &self.accounts[account]) else { return true };
            let rights = view.base + view.lent + view.borrowed + view.running_off + view.usable + view.live;
            rights + host.dead[account] == 0 && host.paused.is_none()
        };
        let elsewhere = self.hosts.iter().enumerate().filter(|(site, _)| *site != home).map(|(_, host)| host);
        let homed = (0..self.accounts.len()).filter(|account| self.plan.homes[*account] == home);
        homed.into_iter().all(|account| elsewhere.clone().all(|host| none_at(host, account)))
    }

    /// At all sites that run; again for the others, and for those whose link to it has not died yet.
    pub fn retire(&mut self, identity: &Identity) {
        self.after(5 * SECOND, Event::Retire { identity: identity.clone() });
        for site in 0..self.plan.sites {
            if self.hosts[site].paused.is_none() {
                self.retire_at(site, identity);
                self.pump_and_check(site);
            }
        }
    }

    fn retire_at(&mut self, site: usize, identity: &Identity) {
        let now = self.hosts[site].clock(self.now);
        let Some(process) = &mut self.hosts[site].process else { return };
        let seen = process.rights.peers().find(|peer| peer.disk == identity.disk && !peer.retired);
        let Some(incarnation) = seen.map(|peer| peer.incarnation) else { return };
        if let Err(why) = process.rights.retire(now, &identity.name, incarnation) {
            self.say(|| format!("{site} does not retire {}: {why}", identity.name));
        }
    }

    fn change_limit(&mut self, account: usize) {
        let limit = [1, 2, 3, 5, 8, 10, 20, 30, 40][self.random.below(9) as usize];
        self.check.limit(account, limit);
        self.plan.limits[account] = limit;
        self.say(|| format!("the limit of account {account} becomes {limit}"));
        for site in 0..self.plan.sites {
            let after = self.random.below(5 * SECOND);
            self.after(after, Event::At(site, Step::Configure { account, limit }));
        }
    }

    /// Links that can be made are made; those that have died are noticed by and by.
    pub fn dial(&mut self) {
        self.after(SECOND / 2, Event::Dial);
        for site in 0..self.plan.sites {
            for peer in 0..self.plan.sites {
                if peer != site {
                    self.look_at_link(site, peer);
                }
            }
        }
        for site in 0..self.plan.sites {
            self.pump_and_check(site);
        }
    }

    fn look_at_link(&mut self, site: usize, peer: usize) {
        let Some(process) = &self.hosts[site].process else { return };
        let life = process.life;
        let known = process.links[peer].as_ref().map(|(_, identity)| identity.clone());
        let there = self.hosts[peer].process.as_ref().map(|process| process.identity.clone());
        let awake = self.hosts[site].paused.is_none() && self.hosts[peer].paused.is_none();
        let passes = self.cut[site][peer] == 0 && self.cut[peer][site] == 0 && awake;
        match (known, there) {
            (Some(known), there) if there.as_ref() != Some(&known) || !passes => {
                let idle = self.random.below(4 * SECOND);
                self.after(idle, Event::At(site, Step::Unlink { life, peer }));
            }
            (None, Some(identity)) if passes => self.link(site, peer, identity),
            _ => {}
        }
    }

    fn link(&mut self, site: usize, peer: usize, identity: Identity) {
        let now = self.hosts[site].clock(self.now);
        let Some(process) = &mut self.hosts[site].process else { return };
        if let Ok(number) = process.rights.link_up(now, identity.clone()) {
            process.links[peer] = Some((number, identity));
            process.numbers.insert(number, peer);
        }
    }

    pub fn unlink(&mut self, site: usize, life: u64, peer: usize) {
        let there = self.hosts[peer].process.as_ref().map(|process| process.identity.clone());
        let awake = self.hosts[peer].paused.is_none();
        let passes = self.cut[site][peer] == 0 && self.cut[peer][site] == 0 && awake;
        let now = self.hosts[site].clock(self.now);
        let Some(process) = self.process(site, life) else { return };
        let Some((number, identity)) = process.links[peer].clone() else { return };
        if there.as_ref() != Some(&identity) || !passes {
            process.links[peer] = None;
            process.rights.link_down(now, number);
        }
    }

    /// Peace: everything that is down comes up, and the operator has retired every lost disk.
    pub fn make_peace(&mut self) {
        self.calm = true;
        self.cut = vec![vec![0; self.plan.sites]; self.plan.sites];
        for site in 0..self.plan.sites {
            self.after(0, Event::At(site, Step::Resume));
            self.after(0, Event::At(site, Step::Boot));
            for account in 0..self.accounts.len() {
                self.after(6 * SECOND, Event::At(site, Step::Restore { account }));
                self.after(6 * SECOND, Event::At(site, Step::Phones { account, phones: 0 }));
            }
        }
    }
}
