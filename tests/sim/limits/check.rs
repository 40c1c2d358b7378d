//! The invariants, looked at from outside and in true time by one who sees all sites at once.

use super::plan::{Plan, SECOND};
use super::site::Host;
use std::collections::HashMap;
use strowger::tally::rights::Policy;
use strowger::tally::{LoanId, Message, SiteId};

/// What has been seen.
pub struct Checker {
    /// What each site could have up of each account, at the worst.
    parts: Vec<Vec<u32>>,
    sums: Vec<u32>,
    /// Rights that there may be, of each account.
    in_force: Vec<u32>,
    /// The highest limit that was ever configured.
    highest: Vec<u32>,
    wrong: Option<String>,
    /// Steps at which a sum was over what is in force.
    pub over: u64,
    live: u32,
    usable: u32,
}

impl Checker {
    pub fn new(plan: &Plan) -> Self {
        let accounts = plan.limits.len();
        Self {
            parts: vec![vec![0; accounts]; plan.sites],
            sums: vec![0; accounts],
            in_force: plan.limits.clone(),
            highest: plan.limits.clone(),
            wrong: None,
            over: 0,
            live: 0,
            usable: 0,
        }
    }

    pub fn verdict(&mut self, now: u64) -> Result<(), String> {
        match self.wrong.take() {
            Some(why) => Err(format!("at {:.4} s: {why}", now as f64 / 1e9)),
            None => Ok(()),
        }
    }

    fn accuse(&mut self, what: impl FnOnce() -> String) {
        if self.wrong.is_none() {
            self.wrong = Some(what());
        }
    }

    /// Live and usable of the site that was looked at last: for the trace.
    pub fn sums(&self) -> (u32, u32) {
        (self.live, self.usable)
    }

    /// The operator has set another limit.
    pub fn limit(&mut self, account: usize, limit: u32) {
        self.highest[account] = self.highest[account].max(limit);
    }

    /// I1: the sum over all sites of what is up or could be admitted now is within the rights in force. I5: as many
    /// rights are in use as calls hold.
    pub fn site(&mut self, site: usize, hosts: &[Host], now: u64, plan: &Plan) {
        let host = &hosts[site];
        (self.live, self.usable) = (0, 0);
        for account in 0..plan.limits.len() {
            let mut part = host.dead[account];
            if let Some(process) = &host.process {
                let (mut live, usable) = process.cells[account].read();
                let mut worst = live.max(usable);
                for (up, may) in process.former[account].iter().map(|cell| cell.read()) {
                    (live, worst) = (live + up, worst + up.max(may));
                }
                (self.live, self.usable) = (self.live + live, self.usable + usable);
                if live != process.counts[account] {
                    self.accuse(|| format!("I5: {live} rights in use and {} calls", process.counts[account]));
                }
                let silent =
                    host.paused.is_some_and(|(since, _)| now > since + host.clock.truly(plan.settings.dead_man));
                part += if silent { 0 } else { worst };
                if plan.homes[account] == site {
                    self.issued(account, process.rights.issued(&Plan::name(account)), host.dead[account]);
                }
            }
            self.sums[account] = self.sums[account] - self.parts[site][account] + part;
            self.parts[site][account] = part;
            let bound = self.in_force[account] + plan.allowances[account] * plan.sites as u32;
            if self.sums[account] > bound {
                let (sum, parts) = (self.sums[account], &self.parts);
                let parts: Vec<u32> = parts.iter().map(|site| site[account]).collect();
                self.over += 1;
                self.accuse(|| format!("I1: account {account}: {sum} of {bound} in force, by site {parts:?}"));
            }
        }
    }

    fn issued(&mut self, account: usize, issued: u32, dead: u32) {
        if issued > self.highest[account] {
            self.accuse(|| format!("I1: {issued} rights issued of account {account}"));
        }
        if issued > 0 {
            // Calls of the process before may have been admitted on rights whose making was never written down.
            let before = if dead > 0 { self.in_force[account] } else { 0 };
            self.in_force[account] = issued.max(before);
        }
    }

    /// I2: what a message tells of is durable.
    pub fn sent(&mut self, site: usize, host: &Host, to: SiteId, message: &Message, now: u64) {
        let _ = now;
        let durable = match message {
            // One that is not out any more can be taken by nobody: its time is over.
            Message::Loan { loan, .. } => host.disk.knows_loan(*loan) || !is_out(host, *loan),
            Message::Placed { account, total } => host.disk.knows_total(account, to.0, false) >= *total,
            Message::Ceded { account, total } => host.disk.knows_total(account, to.0, true) >= *total,
            _ => true,
        };
        if !durable {
            self.accuse(|| format!("I2: site {site} says what is not written down: {message:?}"));
        }
    }

    /// I4: a lower incarnation is refused.
    pub fn fenced(&mut self, refused: bool, _now: u64) {
        if !refused {
            self.accuse(|| "I4: a site of before was let in".to_owned());
        }
    }

    /// I5: a call that waits is answered once.
    pub fn answered(&mut self, waited: bool, _now: u64) {
        if !waited {
            self.accuse(|| "I5: an answer to a call that does not wait".to_owned());
        }
    }

    /// I7: while nothing goes wrong, no call ends for want of a right elsewhere.
    pub fn hung_up(&mut self, site: usize, account: usize, calls: u32, plan: &Plan) {
        if plan.quiet {
            self.accuse(|| {
                format!("I7: site {site} hangs up {calls} calls of account {account}, and all links are up")
            });
        }
    }

    /// I8: a process goes on with what the one before it had.
    pub fn thawed(&mut self, outcome: Result<(), String>) {
        if let Err(why) = outcome {
            self.accuse(|| format!("I8: {why}"));
        }
    }

    /// I8: nobody takes a site for linked that is not.
    fn links(&mut self, hosts: &[Host]) {
        for host in hosts.iter().filter(|host| host.paused.is_none()) {
            let Some(process) = &host.process else { continue };
            let there_is = |site: SiteId| process.links.iter().flatten().any(|(number, _)| *number == site);
            if let Some(peer) = process.rights.peers().find(|peer| peer.linked && !there_is(peer.site)) {
                self.accuse(|| format!("I8: {} takes {} for linked", host.name, peer.name));
            }
        }
    }

    /// I3: no loan lasts longer at its borrower, calls included, than its lender waits.
    pub fn look(&mut self, hosts: &[Host], _now: u64, plan: &Plan) {
        self.links(hosts);
        let mut out: HashMap<(u128, LoanId), u64> = HashMap::new();
        for host in hosts {
            if let Some(process) = &host.process {
                for end in process.rights.loans_out() {
                    out.insert((host.disk.identity, end.loan), host.clock.when(end.until));
                }
            }
        }
        for host in hosts {
            let Some(process) = &host.process else { continue };
            for end in process.rights.loans_in() {
                let Some(peer) = process.rights.peers().find(|peer| peer.site == end.site) else { continue };
                let lender = hosts.iter().find(|host| host.disk.identity == peer.disk);
                let Some(lender) = lender.filter(|host| host.process.is_some()) else { continue };
                let expiry = host.clock.when(end.until);
                let calls = if plan.settings.policy == Policy::Keep { plan.settings.max_call } else { SECOND_OF_NONE };
                let heard = expiry + host.clock.truly(calls);
                let reclaimed = out.get(&(peer.disk, end.loan)).copied();
                if reclaimed.is_none_or(|at| at < heard) && host.paused.is_none() {
                    let name = &lender.name;
                    self.accuse(|| {
                        let seconds = |at: u64| at as f64 / SECOND as f64;
                        let taken = reclaimed.map_or("already".to_owned(), |at| format!("at {:.3} s", seconds(at)));
                        format!("I3: {name} takes back at {taken} what may be used until {:.3} s", seconds(heard))
                    });
                }
            }
        }
    }

    /// I6: everything is home, and as many rights as the limit says.
    pub fn all_home(&mut self, hosts: &[Host], plan: &Plan) -> Result<(), String> {
        for account in 0..plan.limits.len() {
            let name = Plan::name(account);
            let (mut base, mut usable) = (0, 0);
            for host in hosts {
                let Some(process) = &host.process else { return Err(format!("I6: {} is down", host.name)) };
                let Some(view) = process.rights.view(host.clock(0), &name) else {
                    return Err(format!("I6: {} does not know {name}", host.name));
                };
                base += view.base;
                usable += process.cells[account].read().1;
                if view.lent > 0 || view.borrowed > 0 || view.running_off > 0 || view.live > 0 {
                    return Err(format!("I6: {} still has dealings in {name}: {view:?}", host.name));
                }
            }
            let limit = plan.limits[account];
            if (base, usable) != (limit, limit) {
                let issued = hosts[plan.homes[account]].process.as_ref().map(|process| process.rights.issued(&name));
                return Err(format!("I6: {name}: {base} base rights, {usable} usable, {issued:?} issued of {limit}"));
            }
        }
        Ok(())
    }
}

const SECOND_OF_NONE: strowger::base::time::Duration = strowger::base::time::Duration::ZERO;

fn is_out(host: &Host, loan: LoanId) -> bool {
    host.process.iter().flat_map(|process| process.rights.loans_out()).any(|end| end.loan == loan)
}
