//! Sites, their hosts and the network between them, in true time; every step is looked at by the checker.

use super::check::Checker;
use super::clock::Clock;
use super::plan::{Around, MILLI, Mutant, Plan, SECOND};
use super::site::{self, Boot, Host, Process};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use strowger::base::time::Duration;
use strowger::base::{Random, ShardId, Slot};
use strowger::tally::rights::Output;
use strowger::tally::{Identity, Message, Note, Permit};

/// A call waits so long for a right.
const BORROW: Duration = Duration::from_millis(400);

/// What happens to one site.
#[derive(Clone, Debug)]
pub enum Step {
    Arrive,
    End { life: u64, call: u64 },
    Wake { life: u64, wake: u64 },
    Beat { life: u64 },
    Deliver { from: usize, sender: Identity, to: u128, message: Message },
    Synced { life: u64 },
    Repaired { life: u64 },
    HangUp { life: u64, account: usize, calls: u32 },
    Unlink { life: u64, peer: usize },
    Silenced { account: usize },
    Configure { account: usize, limit: u32 },
    Boot,
    Resume,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Event {
    At(usize, Step),
    Dial,
    Fault,
    Heal(Vec<(usize, usize)>),
    Retire { identity: Identity },
    Look,
}

struct Entry {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// How the calls of a run went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calls {
    pub offered: u64,
    pub admitted: u64,
    pub waited: u64,
}

impl Calls {
    pub fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.admitted += other.admitted;
        self.waited += other.waited;
    }
}

/// Everything there is.
pub struct World {
    pub plan: Plan,
    pub mutant: Mutant,
    pub random: Random,
    pub now: u64,
    pub order: u64,
    pub hosts: Vec<Host>,
    pub accounts: Vec<Arc<str>>,
    /// By sender and receiver: how many faults keep messages from passing.
    pub cut: Vec<Vec<u32>>,
    pub check: Checker,
    pub calls: Calls,
    pub calm: bool,
    at_once: bool,
    pub verbose: bool,
    pub hash: u64,
    queue: BinaryHeap<Reverse<Entry>>,
    deferred: Vec<Vec<Step>>,
    lives: u64,
}

impl World {
    pub fn new(plan: Plan, mutant: Mutant, mut random: Random, verbose: bool) -> Self {
        let sites = plan.sites;
        let hosts = (0..sites).map(|number| Host::new(number, plan.limits.clone(), &mut random)).collect();
        let accounts: Vec<Arc<str>> = (0..plan.limits.len()).map(|account| Plan::name(account).into()).collect();
        let mut world = Self {
            check: Checker::new(&plan),
            mutant,
            random,
            now: SECOND,
            order: 0,
            hosts,
            accounts,
            cut: vec![vec![0; sites]; sites],
            calls: Calls::default(),
            calm: false,
            at_once: false,
            verbose,
            hash: 0xcbf2_9ce4_8422_2325,
            queue: BinaryHeap::new(),
            deferred: vec![Vec::new(); sites],
            lives: 0,
            plan,
        };
        for site in 0..sites {
            let speed = world.random_speed();
            let offset = world.random.below(1_000_000 * SECOND);
            world.hosts[site].clock = Clock::new(speed, offset);
            let after = world.random.below(2 * SECOND);
            world.after(after, Event::At(site, Step::Boot));
        }
        world.after(0, Event::Dial);
        if !world.plan.good || world.plan.quiet {
            world.after(3 * SECOND, Event::Fault);
        }
        let calls_from = world.plan.calls_from - world.now;
        world.after(calls_from, Event::At(0, Step::Arrive));
        world.after(SECOND, Event::Look);
        world
    }

    fn random_speed(&mut self) -> u64 {
        let drift = self.plan.drift_ppm;
        match self.random.below(3) {
            0 => 1_000_000 - drift,
            1 => 1_000_000 + drift,
            _ => 1_000_000 - drift + self.random.below(2 * drift + 1),
        }
    }

    pub fn after(&mut self, nanos: u64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Entry { at: self.now + nanos, order: self.order, event }));
    }

    /// About so long, as waiting times are.
    pub fn about(&mut self, nanos: u64) -> u64 {
        let uniform = (self.random.below(1 << 30) + 1) as f64 / (1u64 << 30) as f64;
        (-uniform.ln() * nanos as f64) as u64
    }

    pub fn chance(&mut self, in_a_thousand: u64) -> bool {
        self.random.below(1_000) < in_a_thousand
    }

    pub fn say(&self, text: impl FnOnce() -> String) {
        if self.verbose {
            println!("{:>10.4} s  {}", self.now as f64 / 1e9, text());
        }
    }

    fn mix(&mut self, number: u64) {
        self.hash = (self.hash ^ number).wrapping_mul(0x0100_0000_01b3).rotate_left(5);
    }

    /// Lives until then.
    pub fn run(&mut self, until: u64) -> Result<(), String> {
        while let Some(Reverse(entry)) = self.queue.peek() {
            if entry.at > until {
                break;
            }
            let Some(Reverse(entry)) = self.queue.pop() else { break };
            self.now = entry.at;
            self.mix(entry.at);
            match entry.event {
                Event::At(site, step) => self.at(site, step),
                Event::Dial => self.dial(),
                Event::Fault => self.fault(),
                Event::Heal(edges) => self.heal(&edges),
                Event::Retire { identity } => self.retire(&identity),
                Event::Look => {
                    self.after(SECOND / 2, Event::Look);
                    self.check.look(&self.hosts, self.now, &self.plan);
                }
            }
            self.check.verdict(self.now)?;
        }
        self.now = until;
        Ok(())
    }

    /// One step of a site, unless it stands still.
    fn at(&mut self, site: usize, step: Step) {
        self.mix(site as u64);
        let standing = self.hosts[site].paused.is_some();
        if standing && !matches!(step, Step::Resume | Step::Silenced { .. } | Step::Boot) {
            if !matches!(step, Step::Arrive) {
                return self.deferred[site].push(step);
            }
            return self.next_call();
        }
        self.step(site, step);
        self.pump(site);
        self.check.site(site, &self.hosts, self.now, &self.plan);
        let (live, usable) = self.check.sums();
        self.mix(u64::from(live) << 32 | u64::from(usable));
    }

    fn step(&mut self, site: usize, step: Step) {
        match step {
            Step::Arrive => {
                self.next_call();
                self.arrive(site);
            }
            Step::End { life, call } => self.end(site, life, call),
            Step::Wake { life, wake } => {
                if self.process(site, life).is_some_and(|process| process.wake.0 == wake) {
                    self.keep(site);
                }
            }
            Step::Beat { life } => {
                if self.process(site, life).is_some() {
                    self.keep(site);
                    self.next_beat(site);
                }
            }
            Step::Deliver { from, sender, to, message } => {
                // A link leads to one identity: another disk behind the same name never hears what was meant for it.
                if to == self.hosts[site].disk.identity {
                    self.deliver(site, from, &sender, message);
                }
            }
            Step::Synced { life } => self.synced(site, life),
            Step::Repaired { life } => self.repaired(site, life),
            Step::HangUp { life, account, calls } => self.hang_up(site, life, account, calls),
            Step::Unlink { life, peer } => self.unlink(site, life, peer),
            Step::Silenced { account } => {
                let dead = &mut self.hosts[site].dead[account];
                *dead = dead.saturating_sub(1);
            }
            Step::Configure { account, limit } => self.configure(site, account, limit),
            Step::Boot => self.boot(site),
            Step::Resume => self.resume(site),
        }
    }

    pub fn process(&mut self, site: usize, life: u64) -> Option<&mut Process> {
        self.hosts[site].process.as_mut().filter(|process| process.life == life)
    }

    /// The keeper's turn.
    fn keep(&mut self, site: usize) {
        let now = self.hosts[site].clock(self.now);
        let trust = self.plan.settings.slop / 2;
        let Some(process) = &mut self.hosts[site].process else { return };
        process.wake = (process.wake.0, u64::MAX);
        while process.rights.next_deadline().is_some_and(|at| at <= now) {
            process.rights.handle_timeout(now);
        }
        process.pulse.beat(now, trust);
    }

    fn next_beat(&mut self, site: usize) {
        let Some(process) = &self.hosts[site].process else { return };
        let life = process.life;
        if !self.calm {
            let turn = self.hosts[site].clock.truly(self.plan.settings.slop / 4);
            self.after(turn, Event::At(site, Step::Beat { life }));
        }
    }

    fn next_call(&mut self) {
        if self.calm {
            return;
        }
        let after = self.about(self.plan.between_calls);
        let busiest = self.random.below(100) < self.plan.skew;
        let site = if busiest { 1 } else { self.random.below(self.plan.sites as u64) as usize };
        self.after(after, Event::At(site, Step::Arrive));
    }

    /// A call comes in at a site: what a shard does with it.
    fn arrive(&mut self, site: usize) {
        let account = self.random.below(self.accounts.len() as u64) as usize;
        let now = self.hosts[site].clock(self.now);
        let stale = self.mutant.is(Around::StaleKeeper);
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

    fn begin(&mut self, site: usize, account: usize, permit: Permit) {
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

    fn end(&mut self, site: usize, life: u64, call: u64) {
        let Some(process) = self.process(site, life) else { return };
        if let Some((account, _permit)) = process.calls.remove(&call) {
            process.counts[account] -= 1;
        }
    }

    fn hang_up(&mut self, site: usize, life: u64, account: usize, calls: u32) {
        let Some(process) = self.process(site, life) else { return };
        let named = process.calls.iter().filter(|(_, (of, _))| *of == account).map(|(call, _)| *call);
        let ending: Vec<u64> = named.take(calls as usize).collect();
        for call in ending {
            self.end(site, life, call);
        }
    }

    /// Does what the machine wants done.
    fn pump(&mut self, site: usize) {
        loop {
            let Some(process) = &mut self.hosts[site].process else { return };
            let life = process.life;
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
                    if let (Some(account), Some(permit)) = (account, permit) {
                        self.begin(site, account, permit);
                    }
                }
                Output::HangUp { account, calls } => {
                    let account = self.accounts.iter().position(|name| *name == account).unwrap_or(0);
                    self.check.hung_up(site, account, calls, &self.plan);
                    if self.at_once {
                        self.hang_up(site, life, account, calls);
                        continue;
                    }
                    let latest = self.plan.settings.slop.as_nanos() as u64 / 4;
                    let after = self.random.below(latest);
                    self.after(after, Event::At(site, Step::HangUp { life, account, calls }));
                }
                Output::Event(event) => self.say(|| format!("{site} says: {event}")),
            }
        }
        self.set_alarm(site);
    }

    /// Wakes the keeper when its machine wants it, or a little later.
    fn set_alarm(&mut self, site: usize) {
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

    fn send(&mut self, from: usize, peer: usize, sender: &Identity, to: u128, message: &Message) {
        let copies = 1 + u64::from(!self.calm && self.chance(self.plan.doubled));
        for _ in 0..copies {
            if !self.calm && self.chance(self.plan.loss) {
                self.say(|| format!("{from} -> {peer} lost {message:?}"));
                continue;
            }
            let late = if self.calm || self.plan.good { 0 } else { self.random.below(40) };
            let delay = match late {
                38 => self.random.below(5 * SECOND),
                39 => self.random.below(60 * SECOND),
                30..38 => 80 * MILLI + self.random.below(200 * MILLI),
                _ => 10 * MILLI + self.random.below(30 * MILLI),
            };
            let (sender, message) = (sender.clone(), message.clone());
            self.after(delay, Event::At(peer, Step::Deliver { from, sender, to, message }));
        }
    }

    fn deliver(&mut self, site: usize, from: usize, sender: &Identity, message: Message) {
        if self.cut[from][site] > 0 {
            return;
        }
        let now = self.hosts[site].clock(self.now);
        let Some(process) = &mut self.hosts[site].process else { return };
        let Some((number, identity)) = process.links[from].clone() else { return };
        if identity == *sender {
            if self.verbose {
                println!("{:>10.4} s  {from} -> {site} {message:?}", self.now as f64 / 1e9);
            }
            process.rights.handle(now, number, message);
        } else if identity.disk == sender.disk && identity.incarnation > sender.incarnation {
            let answer = process.rights.link_up(now, sender.clone());
            self.check.fenced(answer.is_err(), self.now);
        }
    }

    /// Begins a sync, if there is something to sync and the disk is well.
    fn sync(&mut self, site: usize) {
        let Some(process) = &self.hosts[site].process else { return };
        let life = process.life;
        if process.ledger_works && self.hosts[site].disk.sync() {
            let slow = if !self.plan.good && self.random.below(50) == 0 { SECOND } else { 5 * MILLI };
            let after = self.random.below(slow);
            self.after(after, Event::At(site, Step::Synced { life }));
        }
    }

    fn synced(&mut self, site: usize, life: u64) {
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
    fn rewrite(&mut self, site: usize) {
        let now = self.hosts[site].clock(self.now);
        let host = &mut self.hosts[site];
        let Some(process) = &mut host.process else { return };
        let records = process.rights.snapshot();
        let up_to = host.disk.replace(records);
        process.rights.durable(now, up_to);
    }

    fn repaired(&mut self, site: usize, life: u64) {
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

    fn configure(&mut self, site: usize, account: usize, limit: u32) {
        self.hosts[site].limits[account] = limit;
        let now = self.hosts[site].clock(self.now);
        let (settings, accounts) = (self.plan.settings.clone(), self.accounts.clone());
        let (homes, allowances) = (self.plan.homes.clone(), self.plan.allowances.clone());
        let (sites, life) = (self.plan.sites, 0);
        let about =
            Boot { settings: &settings, homes: &homes, allowances: &allowances, accounts: &accounts, sites, life };
        let terms = site::terms(&self.hosts[site], site, account, &about);
        if let Some(process) = &mut self.hosts[site].process {
            let cell = Arc::clone(&process.cells[account]);
            process.rights.set_account(now, Arc::clone(&accounts[account]), terms, cell);
        }
    }

    fn boot(&mut self, site: usize) {
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
        self.keep(site);
        self.next_beat(site);
    }

    /// The process runs again: the clock has gone on, and everything is late.
    fn resume(&mut self, site: usize) {
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
        for step in std::mem::take(&mut self.deferred[site]) {
            if let Step::Configure { account, limit } = step {
                self.hosts[site].limits[account] = limit;
            }
        }
    }

    /// After something other than a step has touched a site.
    pub fn pump_and_check(&mut self, site: usize) {
        if self.hosts[site].paused.is_none() {
            self.pump(site);
        }
        self.check.site(site, &self.hosts, self.now, &self.plan);
    }

    /// After peace: is every right home?
    pub fn all_home(&mut self) -> Result<(), String> {
        let (hosts, plan) = (&self.hosts, &self.plan);
        self.check.all_home(hosts, plan)
    }
}
