//! Sites, their hosts and the network between them, in true time; every step is looked at by the checker.

use super::check::Checker;
use super::clock::Clock;
use super::plan::{Around, MILLI, Mutant, Plan, SECOND};
use super::site::{self, Boot, Host, Process};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use strowger::base::time::Duration;
use strowger::base::{Instant, Random, ShardId, Slot};
use strowger::tally::rights::Output;
use strowger::tally::{Cell, Identity, Message, Note, Permit};

mod calls;
mod host;
mod keeper;
mod post;
mod take_over;

pub use take_over::{TakeOvers, Taking};

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
    HangUp { post: u64, account: usize, calls: u32 },
    Unlink { life: u64, peer: usize },
    Goodbye { from: usize, identity: Identity },
    Thaw { life: u64 },
    Silenced { account: usize },
    Configure { account: usize, limit: u32 },
    Remove { account: usize },
    Restore { account: usize },
    Reload { account: usize },
    Phones { account: usize, phones: u32 },
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
    Found { site: usize, tries: u32 },
    TakeOver { site: Option<usize> },
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
    pub take_overs: TakeOvers,
    pub calm: bool,
    at_once: bool,
    /// The site that most calls are at.
    pub busiest: usize,
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
            take_overs: TakeOvers::default(),
            calm: false,
            at_once: false,
            busiest: 1,
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
        if world.plan.take_overs {
            world.after(3 * SECOND, Event::TakeOver { site: None });
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
                Event::Found { site, tries } => self.found(site, tries),
                Event::TakeOver { site: None } => self.take_over_some_site(),
                Event::TakeOver { site: Some(site) } => self.take_over(site),
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
        let goes_on = match step {
            Step::Resume | Step::Silenced { .. } | Step::Boot => true,
            Step::Synced { .. } | Step::Thaw { .. } => self.hosts[site].taking.is_some(),
            _ => false,
        };
        if standing && !goes_on {
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
            Step::Synced { life } => {
                self.synced(site, life);
                self.come_to_rest(site);
            }
            Step::Repaired { life } => self.repaired(site, life),
            Step::HangUp { post, account, calls } => self.hang_up(site, post, account, calls),
            Step::Unlink { life, peer } => self.unlink(site, life, peer),
            Step::Goodbye { from, identity } => self.goodbye(site, from, &identity),
            Step::Thaw { life } => self.thaw(site, life),
            Step::Silenced { account } => {
                let dead = &mut self.hosts[site].dead[account];
                *dead = dead.saturating_sub(1);
            }
            Step::Configure { account, limit } => self.configure(site, account, limit),
            Step::Remove { account } => self.remove(site, account),
            Step::Restore { account } => self.configure(site, account, self.plan.limits[account]),
            Step::Reload { account } => self.reload(site, account),
            Step::Phones { account, phones } => self.registered(site, account, phones),
            Step::Boot => self.boot(site),
            // Who is being taken over goes on by itself.
            Step::Resume if self.hosts[site].taking.is_some() => {}
            Step::Resume => self.resume(site),
        }
    }

    pub fn process(&mut self, site: usize, life: u64) -> Option<&mut Process> {
        self.hosts[site].process.as_mut().filter(|process| process.life == life)
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
