//! The keeper of a site: its turns, its pulse, what its machine wants done, its disk.

use super::*;

impl World {
    /// The keeper's turn.
    pub fn keep(&mut self, site: usize) {
        let now = self.hosts[site].clock(self.now);
        let trust = self.plan.settings.slop / 2;
        let Some(process) = &mut self.hosts[site].process else { return };
        process.wake = (process.wake.0, u64::MAX);
        while process.rights.next_deadline().is_some_and(|at| at <= now) {
            process.rights.handle_timeout(now);
        }
        process.pulse.beat(now, trust);
    }

    pub fn next_beat(&mut self, site: usize) {
        let Some(process) = &self.hosts[site].process else { return };
        let life = process.life;
        if !self.calm {
            let turn = self.hosts[site].clock.truly(self.plan.settings.slop / 4);
            self.after(turn, Event::At(site, Step::Beat { life }));
        }
    }

    /// Does what the machine wants done.
    pub fn pump(&mut self, site: usize) {
        loop {
            let Some(process) = &mut self.hosts[site].process else { return };
            let post = process.post;
            let Some(output) = process.rights.poll_output() else { break };
            match output {
                Output::Persist { seq, record } => {
                    self.say(|| format!("{site} writes {record:?}"));
                    self.hosts[site].disk.append(seq, record);
                    self.sync(site);
                }
                Output::Send { to, message } => {
                    let Some(&peer) = process.numbers.get(&to) else { continue };
                    let sender = process.identity.clone();
                    let Some((number, identity)) = &process.links[peer] else { continue };
                    assert_eq!(*number, to, "a message for an identity that is not linked");
                    let disk = identity.disk;
                    self.check.sent(site, &self.hosts[site], to, &message, self.now);
                    self.send(site, peer, &sender, disk, &message);
                }
                Output::Right { call, permit, .. } => {
                    let account = process.waiting.remove(&call.index);
                    self.check.answered(account.is_some(), self.now);
                    // A letter to a shard that stands still and is taken over stays behind, and its call hears nothing.
                    let arrives = self.hosts[site].taking.is_none();
                    if let (Some(account), Some(permit), true) = (account, permit, arrives) {
                        self.begin(site, account, permit);
                    }
                }
                Output::HangUp { account, calls } => {
                    let account = self.accounts.iter().position(|name| *name == account).unwrap_or(0);
                    self.check.hung_up(site, account, calls, &self.plan);
                    if self.at_once {
                        self.hang_up(site, post, account, calls);
                        continue;
                    }
                    let latest = self.plan.settings.slop.as_nanos() as u64 / 4;
                    let after = self.random.below(latest);
                    self.after(after, Event::At(site, Step::HangUp { post, account, calls }));
                }
                Output::Event(event) => self.say(|| format!("{site} says: {event}")),
            }
        }
        self.set_alarm(site);
    }

    /// Wakes the keeper when its machine wants it, or a little later.
    pub fn set_alarm(&mut self, site: usize) {
        let late = self.random.below(20 * MILLI);
        let host = &mut self.hosts[site];
        let Some(process) = &mut host.process else { return };
        let Some(deadline) = process.rights.next_deadline() else { return };
        let at = host.clock.when(deadline).max(self.now);
        if process.wake.1 <= at + 20 * MILLI {
            return;
        }
        process.wake = (process.wake.0 + 1, at + late);
        let (life, wake) = (process.life, process.wake.0);
        self.after(at + late - self.now, Event::At(site, Step::Wake { life, wake }));
    }

    /// Begins a sync, if there is something to sync and the disk is well.
    pub fn sync(&mut self, site: usize) {
        let Some(process) = &self.hosts[site].process else { return };
        let life = process.life;
        if process.ledger_works && self.hosts[site].disk.sync() {
            let slow = if !self.plan.good && self.random.below(50) == 0 { SECOND } else { 5 * MILLI };
            let after = self.random.below(slow);
            self.after(after, Event::At(site, Step::Synced { life }));
        }
    }

    pub fn synced(&mut self, site: usize, life: u64) {
        let now = self.hosts[site].clock(self.now);
        if self.process(site, life).is_none() {
            return;
        }
        if !self.calm && !self.plan.good && self.random.below(300) == 0 {
            self.say(|| format!("{site} cannot sync"));
            self.hosts[site].disk.fail();
            let repair = self.about(2 * SECOND);
            if let Some(process) = self.process(site, life) {
                process.ledger_works = false;
                process.rights.ledger_works(now, false);
            }
            return self.after(repair, Event::At(site, Step::Repaired { life }));
        }
        let up_to = self.hosts[site].disk.synced();
        if let Some(process) = self.process(site, life) {
            process.rights.durable(now, up_to);
        }
        if self.random.below(200) == 0 {
            self.rewrite(site);
        }
        self.sync(site);
    }

    /// A compact ledger takes the place of the long one.
    pub fn rewrite(&mut self, site: usize) {
        let now = self.hosts[site].clock(self.now);
        let host = &mut self.hosts[site];
        let Some(process) = &mut host.process else { return };
        let records = process.rights.snapshot();
        let up_to = host.disk.replace(records);
        process.rights.durable(now, up_to);
    }

    pub fn repaired(&mut self, site: usize, life: u64) {
        let now = self.hosts[site].clock(self.now);
        if self.process(site, life).is_none() {
            return;
        }
        self.rewrite(site);
        if let Some(process) = self.process(site, life) {
            process.ledger_works = true;
            process.rights.ledger_works(now, true);
        }
        self.sync(site);
    }
}
