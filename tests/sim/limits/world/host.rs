//! A site as a whole: its configuration, its process, its pauses.

use super::*;

impl World {
    pub fn configure(&mut self, site: usize, account: usize, limit: u32) {
        (self.hosts[site].limits[account], self.hosts[site].configured[account]) = (limit, true);
        let cell = self.hosts[site].process.as_ref().map(|process| Arc::clone(&process.cells[account]));
        cell.into_iter().for_each(|cell| self.set_account(site, account, cell));
    }

    pub fn set_account(&mut self, site: usize, account: usize, cell: Arc<Cell>) {
        let now = self.hosts[site].clock(self.now);
        let (settings, accounts) = (self.plan.settings.clone(), self.accounts.clone());
        let (homes, allowances) = (self.plan.homes.clone(), self.plan.allowances.clone());
        let (sites, life) = (self.plan.sites, 0);
        let about =
            Boot { settings: &settings, homes: &homes, allowances: &allowances, accounts: &accounts, sites, life };
        let terms = site::terms(&self.hosts[site], site, account, &about);
        let Some(process) = &mut self.hosts[site].process else { return };
        process.rights.set_account(now, Arc::clone(&accounts[account]), terms, cell);
    }

    /// The configuration names the account no more.
    pub fn remove(&mut self, site: usize, account: usize) {
        self.hosts[site].configured[account] = false;
        let now = self.hosts[site].clock(self.now);
        if let Some(process) = &mut self.hosts[site].process {
            process.rights.drop_account(now, &self.accounts[account]);
        }
    }

    /// The configuration is read again, and gives the account another cell; calls that are up hold the old one.
    pub fn reload(&mut self, site: usize, account: usize) {
        if !self.hosts[site].configured[account] {
            return;
        }
        let Some(process) = &mut self.hosts[site].process else { return };
        let cell = Cell::new(0);
        let before = std::mem::replace(&mut process.cells[account], Arc::clone(&cell));
        process.former[account].retain(|cell| cell.read().0 > 0);
        process.former[account].push(before);
        self.set_account(site, account, cell);
    }

    /// Phones of the account come or go.
    pub fn registered(&mut self, site: usize, account: usize, phones: u32) {
        let now = self.hosts[site].clock(self.now);
        let Some(process) = &mut self.hosts[site].process else { return };
        process.rights.note(now, Note::Phones { account: Arc::clone(&self.accounts[account]), phones });
    }

    pub fn boot(&mut self, site: usize) {
        if self.hosts[site].process.is_some() {
            return;
        }
        self.lives += 1;
        let life = self.lives;
        let offset = self.random.below(1_000_000 * SECOND);
        let speed = self.random_speed();
        self.hosts[site].clock = Clock::new(speed, offset);
        let (homes, allowances) = (self.plan.homes.clone(), self.plan.allowances.clone());
        let (settings, accounts) = (self.plan.settings.clone(), self.accounts.clone());
        let sites = self.plan.sites;
        let about =
            Boot { settings: &settings, homes: &homes, allowances: &allowances, accounts: &accounts, sites, life };
        site::boot(&mut self.hosts[site], site, &about, &mut self.random, self.now);
        self.say(|| format!("{site} boots"));
        if self.plan.take_overs && self.chance(300) {
            // While media of the process before may flow.
            self.after(50 * MILLI, Event::TakeOver { site: Some(site) });
        }
        self.keep(site);
        self.next_beat(site);
    }

    /// The process runs again: the clock has gone on, and everything is late.
    pub fn resume(&mut self, site: usize) {
        if self.hosts[site].paused.take().is_none() {
            return;
        }
        self.say(|| format!("{site} goes on"));
        let steps = std::mem::take(&mut self.deferred[site]);
        let (ends, rest): (Vec<Step>, Vec<Step>) =
            steps.into_iter().partition(|step| matches!(step, Step::End { .. } | Step::HangUp { .. }));
        for step in ends {
            self.step(site, step);
        }
        // Calls that came meanwhile are the first thing that shards see.
        for _ in 0..3 {
            self.arrive(site);
        }
        self.keep(site);
        // What has to be hung up after a long pause is hung up in the first turn.
        self.at_once = true;
        self.pump(site);
        self.at_once = false;
        for step in rest {
            self.step(site, step);
        }
    }

    /// Its process has died: what waited for it is lost, but for what stands in files.
    pub fn forget_deferred(&mut self, site: usize) {
        self.read_files(site);
        self.deferred[site].clear();
    }

    /// A new process reads what was configured while the old one stood still.
    pub fn read_files(&mut self, site: usize) {
        for step in std::mem::take(&mut self.deferred[site]) {
            let host = &mut self.hosts[site];
            match step {
                Step::Configure { account, limit } => (host.limits[account], host.configured[account]) = (limit, true),
                Step::Remove { account } => host.configured[account] = false,
                Step::Restore { account } => {
                    (host.limits[account], host.configured[account]) = (self.plan.limits[account], true);
                }
                step => self.deferred[site].push(step),
            }
        }
    }
}
