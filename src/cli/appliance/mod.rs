//! A whole appliance in this process: shards on their threads, the control plane, the sinks. `run` supervises one;
//! `demo` calls through one and drops it.

mod ending;
mod ground;
mod plan;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, bounded};

use super::fast_path::Below;
use super::fault::{Fault, path};
use super::hand_over::Giver;
use super::host::shards;
use super::sites;
use crate::base::ShardId;
use crate::call::Directory;
use crate::config::{Config, Limits};
use crate::control::limits::Desk;
use crate::control::links::Links;
use crate::control::records::RecordSink;
use crate::control::state::{Answers, REQUESTS_MAX};
use crate::control::{self, Control, LogSettings, Request, State, log, records};
use crate::io::Choice;
use crate::observe::Counters;
use crate::shard::mailbox::{Answer, Mail, Query};
use crate::tally::Pulse;
use crate::worker::{Outlets, Post};
use ground::{Ground, bearer, prepare};
use plan::{Made, Plan, Threads};

/// Letters that may wait for one shard.
const LETTERS_MAX: usize = 16_384;

/// The shards' mailboxes as the control plane knows them.
struct Mailboxes(Arc<Post>);

impl control::Post for Mailboxes {
    fn shards(&self) -> u8 {
        self.0.shards()
    }

    fn post(&self, to: ShardId, mail: Mail) -> bool {
        self.0.post(to, mail)
    }
}

/// A running appliance. Dropping it ends its calls and stops it.
pub struct Appliance {
    started: Config,
    current: Config,
    directory: Arc<Directory>,
    pulse: Arc<Pulse>,
    state: Arc<State>,
    requests: Receiver<Request>,
    post: Arc<Post>,
    giver: Giver,
    shards: Threads,
    links: Option<Links>,
    control: Option<Control>,
    sinks: Vec<JoinHandle<()>>,
    /// Detached last: until then the shards' rules are in it.
    below: Option<Below>,
}

impl Appliance {
    /// Starts everything that the configuration says; its secrets must have been loaded.
    ///
    /// # Errors
    /// What is in the way, and what to do about it.
    pub fn start(config: Config) -> Result<Self, Fault> {
        Self::begin(config, false)
    }

    /// Goes on where a running process stops.
    ///
    /// # Errors
    /// There is none, or it cannot be taken over: it goes on then.
    pub fn take_over(config: Config) -> Result<Self, Fault> {
        Self::begin(config, true)
    }

    fn begin(config: Config, take_over: bool) -> Result<Self, Fault> {
        let settings = Arc::new(LogSettings::new(&config.log));
        log::install(&settings);
        let Ground { before, mut below, choice, clock: shards_clock } = prepare(&config, take_over)?;
        let clock = control::Clock::at(shards_clock.origin());
        let is_draining = before.is_draining();
        let no_thread = |error: std::io::Error| Fault::runtime(format!("no thread could be started: {error}"));
        let (events, log_thread) = log::start(clock, Arc::clone(&settings)).map_err(no_thread)?;
        let RecordSink { sender: records, status, thread: record_thread } =
            records::start(&config.records, &config.node.name, clock)
                .map_err(|error| Fault::runtime(path(&error, "make", &config.records.dir, "records.dir")))?;
        let count = shards(config.shards.count);
        let post = Post::new(count, LETTERS_MAX);
        let counters: Vec<Arc<Counters>> = (0..count).map(|_| Arc::default()).collect();
        let pulse = Arc::new(Pulse::waiting());
        let directory = Arc::new(sites::directory(&config, None, &pulse));
        let accounts = Arc::new(sites::accounts(&config, &directory));
        let mailboxes: Arc<dyn control::Post> = Arc::new(Mailboxes(Arc::clone(&post)));
        let (notes, links) =
            sites::prepare(&config, &accounts, &pulse, Arc::clone(&mailboxes), clock, below.dead_man())?.unzip();
        let plan = Plan {
            config: &config,
            choice: &choice,
            below: &mut below,
            directory: &directory,
            post: &post,
            outlets: Outlets { records, events, verbosity: settings.verbosity.clone(), notes },
            clock: shards_clock,
        };
        let Made { shards, links, giver, totals } = plan.start(&counters, before, links)?;
        let doors = giver.doors().map_err(no_thread)?;
        let (requests_in, requests) = bounded(REQUESTS_MAX);
        let state = Arc::new(State {
            node: config.node.name.clone(),
            backend: choice.name().to_owned(),
            fast_path: below.name().to_owned(),
            limits: Desk::new(accounts, links.as_ref().map(|links| links.handle().clone())),
            bearer: bearer(&config)?,
            counters,
            post: mailboxes,
            clock,
            log: settings,
            records: status,
            before: totals,
            requests: requests_in,
            started: AtomicBool::new(false),
            draining: AtomicBool::new(is_draining),
            shards_answer: AtomicBool::new(true),
        });
        let control = Some(control::start(doors.0, doors.1, Arc::clone(&state)).map_err(no_thread)?);
        let sinks = vec![record_thread, log_thread];
        let this = Self {
            started: config.clone(),
            current: config,
            directory,
            pulse,
            state,
            requests,
            post,
            giver,
            shards,
            links,
            control,
            sinks,
            below: Some(below),
        };
        this.check_shards()?;
        this.announce(&choice);
        Ok(this)
    }

    fn check_shards(&self) -> Result<(), Fault> {
        if self.calls().missing > 0 {
            return Err(Fault::runtime("a shard did not come up; see the log"));
        }
        self.state.started.store(true, Relaxed);
        Ok(())
    }

    fn announce(&self, choice: &Choice) {
        let config = &self.started;
        let version = env!("CARGO_PKG_VERSION");
        tracing::info!(version, node = %config.node.name, shards = self.shards.len(), backend = choice.name(), "strowger runs");
        if let Some(why) = &choice.fallback {
            tracing::warn!(reason = %why.reason, remedy = why.remedy, "epoll is used, since io_uring cannot be");
        }
        for listen in &config.sip.listen {
            tracing::info!(address = %listen.address, transport = listen.transport.uri_token(), "listening");
        }
        let ports = format!("{}-{}", config.media.port_min, config.media.port_max);
        tracing::info!(address = %config.media.address, %ports, fast_path = %self.state.fast_path, "media");
        tracing::info!(http = %config.control.listen, socket = %config.control.socket.display(), "control");
    }

    /// What was asked of the supervisor.
    #[must_use]
    pub fn requests(&self) -> &Receiver<Request> {
        &self.requests
    }

    /// The state that the control plane shows.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The configuration it was started with: what needs a restart is still as it says.
    #[must_use]
    pub fn started(&self) -> &Config {
        &self.started
    }

    /// The configuration in force.
    #[must_use]
    pub fn current(&self) -> &Config {
        &self.current
    }

    /// Publishes a new configuration to every shard; what needs a restart stays as it was.
    ///
    /// # Errors
    /// A shard could not be told in time; the others were.
    pub fn publish(&mut self, config: Config) -> Result<(), Fault> {
        let mut effective = config.clone();
        effective.sip = crate::config::Sip { domains: config.sip.domains.clone(), ..self.started.sip.clone() };
        // Whether there is a keeper, and who its peers are, needs a restart.
        (effective.link, effective.node) = (self.started.link.clone(), self.started.node.clone());
        let Limits { default_max_calls, count_called, emergency_numbers, .. } = effective.limits;
        let limits = self.started.limits.clone();
        effective.limits = Limits { default_max_calls, count_called, emergency_numbers, ..limits };
        let directory = Arc::new(sites::directory(&effective, Some(&self.directory), &self.pulse));
        self.state.log.apply(&config.log);
        self.state.limits.publish(Arc::new(sites::accounts(&effective, &directory)));
        self.directory = Arc::clone(&directory);
        self.current = config;
        let deadline = Instant::now() + Duration::from_secs(2);
        for shard in (0..self.post.shards()).map(ShardId) {
            while !self.post.post(shard, Mail::Directory(Arc::clone(&directory))) {
                if Instant::now() >= deadline {
                    return Err(Fault::runtime(format!("shard {} could not be told; reload again", shard.0)));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// No new calls.
    pub fn drain(&self) {
        self.state.draining.store(true, Relaxed);
        self.post_all(|| Mail::Drain);
    }

    /// New calls again.
    pub fn undrain(&self) {
        self.state.draining.store(false, Relaxed);
        self.post_all(|| Mail::Undrain);
    }

    fn post_all(&self, mail: impl Fn() -> Mail) {
        for shard in (0..self.post.shards()).map(ShardId) {
            if !self.post.post(shard, mail()) && !self.post.is_closed(shard) {
                tracing::error!(shard = shard.0, "a shard's mailbox is full");
            }
        }
    }

    /// Calls now, and shards that did not answer.
    #[must_use]
    pub fn calls(&self) -> Calls {
        let Answers { answers, missing } = self.state.ask(Query::Shard);
        let of = |answer: &Answer| if let Answer::Shard(shard) = answer { shard.calls } else { 0 };
        Calls { now: answers.iter().map(of).sum(), missing }
    }

    /// A shard that ended although nobody asked it to.
    #[must_use]
    pub fn dead_shard(&self) -> Option<usize> {
        self.shards.iter().position(JoinHandle::is_finished)
    }

    /// The keeper of the rights ended although nobody asked it to.
    #[must_use]
    pub fn is_keeper_dead(&self) -> bool {
        self.links.as_ref().is_some_and(Links::is_dead)
    }
}

/// What the shards are busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls {
    /// Calls being set up, up or ending.
    pub now: usize,
    /// Shards that did not answer in time.
    pub missing: usize,
}
