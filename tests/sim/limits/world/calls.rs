//! Calls: what shards do with the cells, and what calls do with their rights.

use super::*;

impl World {
    pub fn next_call(&mut self) {
        if self.calm {
            return;
        }
        let after = self.about(self.plan.between_calls);
        let busiest = self.random.below(100) < self.plan.skew;
        let site = if busiest { self.busiest } else { self.random.below(self.plan.sites as u64) as usize };
        self.after(after, Event::At(site, Step::Arrive));
    }

    /// A call comes in at a site: what a shard does with it.
    pub fn arrive(&mut self, site: usize) {
        let account = self.random.below(self.accounts.len() as u64) as usize;
        let now = self.hosts[site].clock(self.now);
        let stale = self.mutant.is(Around::StaleKeeper);
        if !self.hosts[site].configured[account] {
            return;
        }
        let Some(process) = &mut self.hosts[site].process else { return };
        self.calls.offered += 1;
        if !stale && !process.pulse.beats(now) {
            return;
        }
        let name = Arc::clone(&self.accounts[account]);
        let cell = &process.cells[account];
        if let Some(permit) = cell.admit() {
            let (live, usable) = cell.read();
            if u64::from(live) * 5 >= u64::from(usable) * 4 {
                process.rights.note(now, Note::Wanted { account: name });
            }
            self.begin(site, account, permit);
        } else if cell.may_borrow() {
            self.order += 1;
            self.calls.waited += 1;
            let call = Slot { index: self.order as u32, generation: 0 };
            process.waiting.insert(call.index, account);
            let deadline = now + BORROW;
            process.rights.note(now, Note::Borrow { account: name, shard: ShardId(0), call, deadline });
        } else {
            cell.refuse();
            process.rights.note(now, Note::Wanted { account: name });
        }
    }

    pub fn begin(&mut self, site: usize, account: usize, permit: Permit) {
        self.order += 1;
        self.calls.admitted += 1;
        let call = self.order;
        let longest = self.hosts[site].clock.truly(self.plan.settings.max_call);
        let after = self.about(self.plan.call).min(longest);
        let Some(process) = &mut self.hosts[site].process else { return };
        process.counts[account] += 1;
        process.calls.insert(call, (account, permit));
        let life = process.life;
        self.after(after, Event::At(site, Step::End { life, call }));
    }

    pub fn end(&mut self, site: usize, life: u64, call: u64) {
        let Some(process) = self.process(site, life) else { return };
        if let Some((account, _permit)) = process.calls.remove(&call) {
            process.counts[account] -= 1;
        }
    }

    pub fn hang_up(&mut self, site: usize, post: u64, account: usize, calls: u32) {
        let Some(process) = self.hosts[site].process.as_mut().filter(|process| process.post == post) else { return };
        let life = process.life;
        let named = process.calls.iter().filter(|(_, (of, _))| *of == account).map(|(call, _)| *call);
        let ending: Vec<u64> = named.take(calls as usize).collect();
        for call in ending {
            self.end(site, life, call);
        }
    }
}
