//! A whole appliance in this process: shards on their threads, the control plane, the sinks. `run` supervises one;
//! `demo` calls through one and drops it.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, bounded};

use super::client::is_running;
use super::fast_path::{self, Below};
use super::fault::{Fault, bind, path};
use super::hand_over::{Conversation, Giver, Standing, Taken, TakenShard};
use super::host::shards;
use super::{privileges, sites};
use crate::base::{Random, ShardId, SocketKey, Transport};
use crate::call::Directory;
use crate::config::{Backend, Config, Limits, Listen};
use crate::control::limits::Desk;
use crate::control::links::Links;
use crate::control::records::RecordSink;
use crate::control::state::{Answers, REQUESTS_MAX};
use crate::control::token::{self, Bearer, Token};
use crate::control::{self, Control, LogSettings, Request, State, log, records, socket};
use crate::io::{self, Choice, Driver, UdpOptions, limits};
use crate::media::RelayConfig;
use crate::observe::{Counters, MediaPath};
use crate::shard::mailbox::{Answer, Mail, Query};

use crate::shard::{Shard, ShardOptions, Steering};
use crate::tally::Pulse;
use crate::worker::{self, Barrier, Gate, Outlets, Post, Worker};

/// Letters that may wait for one shard.
const LETTERS_MAX: usize = 16_384;
/// How long a stopping shard gets: it says goodbye to its calls for at most two seconds.
const STOP_WAIT: Duration = Duration::from_secs(10);

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
            sites::start(&config, &accounts, &pulse, Arc::clone(&mailboxes), clock, below.dead_man())?.unzip();
        let plan = Plan {
            config: &config,
            choice: &choice,
            below: &mut below,
            directory: &directory,
            post: &post,
            outlets: Outlets { records, events, verbosity: settings.verbosity.clone(), notes },
            clock: shards_clock,
        };
        let (shards, giver) = plan.start(&counters, before)?;
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
            requests: requests_in,
            started: AtomicBool::new(false),
            draining: AtomicBool::new(is_draining),
            shards_answer: AtomicBool::new(true),
        });
        let control = Some(control::start(doors.0, doors.1, Arc::clone(&state)).map_err(no_thread)?);
        let sinks = vec![record_thread, log_thread];
        let started = config.clone();
        let this = Self {
            started,
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

    /// Hands everything over to another process; [`leave`](Self::leave) must follow.
    ///
    /// # Errors
    /// Why not: everything goes on here.
    pub fn give(&self, stream: &UnixStream, asked: &serde_json::Value, busy: Option<&str>) -> Result<i32, String> {
        let draining = self.state.draining.load(Relaxed);
        let xdp = self.below.as_ref().and_then(Below::xdp);
        self.giver.give(stream, asked, Standing { config: &self.started, draining, busy, xdp })
    }

    /// Ends after everything was handed over: nothing is hung up, and the last records are written. True when everything
    /// ended well.
    pub fn leave(&mut self) -> bool {
        // Its ports are the other's now: nothing of ours may stand before them, but what it went on with.
        self.below = None;
        let mut good = true;
        for thread in self.shards.drain(..) {
            good &= matches!(thread.join(), Ok(Ok(())));
        }
        if let Some(control) = self.control.take() {
            control.stop();
        }
        self.sinks.drain(..).for_each(|thread| good &= thread.join().is_ok());
        good && self.state.records.lost.load(Relaxed) == 0
    }

    /// Ends what is left and waits for the last record. True when everything ended well.
    pub fn stop(&mut self) -> bool {
        self.state.draining.store(true, Relaxed);
        self.post_all(|| Mail::Stop);
        let deadline = Instant::now() + STOP_WAIT;
        let mut good = true;
        for (shard, thread) in self.shards.drain(..).enumerate() {
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
            if !thread.is_finished() {
                tracing::error!(shard, "a shard does not end");
                good = false;
                continue;
            }
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(shard, %error, "a shard's driver failed");
                    good = false;
                }
                Err(_) => {
                    tracing::error!(shard, "a shard panicked");
                    good = false;
                }
            }
        }
        // A shard that hangs holds its end of the notes; the keeper would never end.
        if let Some(links) = self.links.take().filter(|_| good) {
            good = links.stop();
        }
        if let Some(control) = self.control.take() {
            control.stop();
            let _ = std::fs::remove_file(&self.started.control.socket);
        }
        // A shard that hangs holds its senders; the sinks would never end.
        if good {
            self.sinks.drain(..).for_each(|thread| good &= thread.join().is_ok());
        }
        good && self.state.records.lost.load(Relaxed) == 0
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        if self.control.is_some() {
            let _ = self.stop();
        }
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

/// What is there before the first thread.
struct Ground {
    before: Before,
    below: Below,
    choice: Choice,
    clock: worker::Clock,
}

/// Does what takes capabilities, gives most of them away, and finds out what is in the way.
fn prepare(config: &Config, take_over: bool) -> Result<Ground, Fault> {
    if let Err(error) = limits::raise_descriptors() {
        tracing::warn!(%error, "the limit of descriptors could not be raised");
    }
    folder(config)?;
    let mut before = Before::new(config, take_over)?;
    let below = match &mut before {
        Before::Nothing(_) => fast_path::start(config)?,
        Before::Running(conversation) => {
            let (below, wish) = fast_path::take_over(config, conversation.below())?;
            conversation.wish(wish);
            below
        }
    };
    privileges::keep_for_sockets();
    let choice = choose(config.shards.backend)?;
    let clock = before.clock(config)?;
    Ok(Ground { before, below, choice, clock })
}

fn folder(config: &Config) -> Result<(), Fault> {
    let dir = &config.node.data_dir;
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(dir)
        .map_err(|error| Fault::runtime(path(&error, "make", dir, "node.data_dir")))?;
    let file = &config.control.admin_token_file;
    let token =
        token::ensure(file).map_err(|error| Fault::runtime(path(&error, "make", file, "control.admin_token_file")))?;
    match token {
        Token::Made => tracing::info!(file = %file.display(), "made the admin token"),
        Token::Exposed => {
            tracing::warn!(file = %file.display(), "the admin token can be read by others: `chmod 600` it");
        }
        Token::Found => {}
    }
    Ok(())
}

fn bearer(config: &Config) -> Result<Bearer, Fault> {
    let file = &config.control.admin_token_file;
    Bearer::load(file).map_err(|error| Fault::runtime(path(&error, "read", file, "control.admin_token_file")))
}

/// HTTP and the Unix socket.
fn doors(config: &Config) -> Result<(TcpListener, UnixListener), Fault> {
    if is_running(&config.control.socket) {
        let socket = config.control.socket.display();
        return Err(Fault::runtime(format!(
            "a strowger runs already with this configuration: it answers at {socket}.\n  Stop it, or give this one its own `node.data_dir`, ports and `control.listen`"
        )));
    }
    let http = TcpListener::bind(config.control.listen)
        .map_err(|error| Fault::runtime(bind(&error, config.control.listen, false, "control.listen")))?;
    let unix = socket::bind(&config.control.socket)
        .map_err(|error| Fault::runtime(path(&error, "listen on", &config.control.socket, "control.socket")))?;
    Ok((http, unix))
}

fn choose(backend: Backend) -> Result<Choice, Fault> {
    let wanted = match backend {
        Backend::Auto => io::Backend::Auto,
        Backend::IoUring => io::Backend::IoUring,
        Backend::Epoll => io::Backend::Epoll,
    };
    Choice::new(wanted).map_err(|why| Fault::runtime(format!("{why}; or use shards.backend = \"auto\"")))
}

/// How long a port in use may still belong to one who has just ended: the kernel takes io_uring apart after the process.
const PORT_WAIT: Duration = Duration::from_secs(2);

/// The shards share their ports, and so might a stranger of the same user without anybody noticing: each address must be
/// free for one socket that does not share.
fn listenable(listen: &[Listen]) -> Result<(), Fault> {
    let deadline = Instant::now() + PORT_WAIT;
    for Listen { address, transport, .. } in listen {
        let udp = *transport == Transport::Udp;
        let bound = || if udp { UdpSocket::bind(address).map(drop) } else { TcpListener::bind(address).map(drop) };
        while let Err(error) = bound() {
            if error.kind() != ErrorKind::AddrInUse || Instant::now() >= deadline {
                return Err(Fault::runtime(bind(&error, *address, udp, "sip.listen.address")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// What there is before there are shards.
enum Before {
    /// Our own doors.
    Nothing(Doors),
    /// A process that will give us its.
    Running(Conversation),
}

/// HTTP and the Unix socket.
type Doors = (TcpListener, UnixListener);

impl Before {
    fn new(config: &Config, take_over: bool) -> Result<Self, Fault> {
        if take_over { Conversation::begin(config).map(Self::Running) } else { doors(config).map(Self::Nothing) }
    }

    fn clock(&self, config: &Config) -> Result<worker::Clock, Fault> {
        match self {
            Self::Running(conversation) => Ok(worker::Clock::at(conversation.origin)),
            Self::Nothing(_) => listenable(&config.sip.listen).map(|()| worker::Clock::new(Instant::now())),
        }
    }

    fn is_draining(&self) -> bool {
        matches!(self, Self::Running(Conversation { draining: true, .. }))
    }
}

/// The shards'.
type Threads = Vec<JoinHandle<std::io::Result<()>>>;

/// What all shards are made from.
struct Plan<'a> {
    config: &'a Config,
    choice: &'a Choice,
    below: &'a mut Below,
    directory: &'a Arc<Directory>,
    post: &'a Arc<Post>,
    outlets: Outlets,
    clock: worker::Clock,
}

impl Plan<'_> {
    /// Makes every shard and its sockets first, then starts them, so that a fault leaves nothing running.
    fn start(self, counters: &[Arc<Counters>], before: Before) -> Result<(Threads, Giver), Fault> {
        let drivers = (0..self.post.shards()).map(|shard| self.driver(shard)).collect::<Result<Vec<_>, Fault>>()?;
        let (barrier, gates) = Barrier::new(self.post);
        let parts: Vec<Part<'_>> = drivers.into_iter().zip(gates).zip(counters).map(|((a, b), c)| (a, b, c)).collect();
        let (workers, (http, unix), taken) = match before {
            Before::Nothing(doors) => (self.fresh(parts)?, doors, None),
            Before::Running(conversation) => {
                let mut taken = conversation.take()?;
                let got = self.clock.now().since(taken.paused);
                let shards = std::mem::take(&mut taken.shards);
                self.below.take_rows(std::mem::take(&mut taken.neighbours));
                let workers = self.thawed(parts, shards).inspect_err(|fault| taken.decline(&fault.message))?;
                let ready = self.clock.now().since(taken.paused);
                taken.commit()?;
                self.below.settle();
                let Taken { http, unix, paused, .. } = taken;
                (workers, (http, unix), Some((paused, got, ready)))
            }
        };
        privileges::keep_none();
        let cores = if self.config.shards.pin { worker::cores() } else { Vec::new() };
        let core = |shard: usize| cores.get(shard % cores.len().max(1)).copied();
        let spawn = |(shard, worker): (usize, Worker<Shard>)| {
            worker.spawn(core(shard)).map_err(|error| Fault::runtime(format!("no thread could be started: {error}")))
        };
        let shards = workers.into_iter().enumerate().map(spawn).collect::<Result<Vec<_>, Fault>>()?;
        if let Some((paused, got, ready)) = taken {
            let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
            let (pause_ms, got_ms, ready_ms) = (millis(self.clock.now().since(paused)), millis(got), millis(ready));
            tracing::info!(pause_ms, got_ms, ready_ms, "taken over from the process before");
        }
        Ok((shards, Giver { barrier, post: Arc::clone(self.post), clock: self.clock, http, unix }))
    }

    fn driver(&self, shard: u8) -> Result<Box<dyn Driver>, Fault> {
        let config = self.config;
        let media_ports = usize::from(config.media.port_max - config.media.port_min) + 1;
        let options = io::Options {
            sockets_max: config.sip.listen.len() + 2 * media_ports + 2,
            streams_max: config.shards.connections_max as usize,
            gather: config.shards.gather,
            ..io::Options::default()
        };
        self.choice.open(options).map_err(|error| {
            Fault::runtime(format!("{} could not be started for shard {shard}: {error}", self.choice.name()))
        })
    }

    /// Shards without calls, and their own sockets.
    fn fresh(&self, parts: Vec<Part<'_>>) -> Result<Vec<Worker<Shard>>, Fault> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| Fault::runtime(format!("the kernel has no randomness: {error}")))?;
        let mut random = Random::new(seed);
        let steering = Steering::new(self.post.shards(), std::array::from_fn(|_| random.next_u64()));
        let shared = self.post.shards() > 1;
        let mut workers = Vec::with_capacity(parts.len());
        for (id, (driver, gate, counters)) in (0u8..).map(ShardId).zip(parts) {
            let options = self.shard(id, counters, steering.clone());
            let relay = options.engine.relay;
            let mut core = Shard::new(options, random.fork(), self.clock.now());
            self.lower(&relay, id, &mut core);
            let mut worker = self.worker(id, counters, gate, driver, core);
            for (key, listen) in (0u32..).map(SocketKey).zip(&self.config.sip.listen) {
                open(&mut worker, key, listen, shared, self.config)?;
            }
            workers.push(worker);
        }
        Ok(workers)
    }

    /// Shards that go on where those of another process stopped, with its sockets.
    fn thawed(&self, parts: Vec<Part<'_>>, taken: Vec<TakenShard>) -> Result<Vec<Worker<Shard>>, Fault> {
        if taken.len() != parts.len() {
            return Err(Fault::runtime(format!("{} shards came instead of {}", taken.len(), parts.len())));
        }
        let mut workers = Vec::with_capacity(parts.len());
        for ((id, (driver, gate, counters)), taken) in (0u8..).map(ShardId).zip(parts).zip(taken) {
            let steering = taken.frozen.steering().clone();
            counters.take_on(&taken.counts);
            let options = self.shard(id, counters, steering);
            let relay = options.engine.relay;
            let mut core = Shard::thaw(options, taken.frozen)
                .map_err(|why| Fault::runtime(format!("shard {} cannot go on: {why}", id.0)))?;
            self.lower(&relay, id, &mut core);
            let mut worker = self.worker(id, counters, gate, driver, core);
            worker
                .adopt(taken.released, taken.lingering)
                .map_err(|error| Fault::runtime(format!("shard {} cannot take its sockets: {error}", id.0)))?;
            for mail in taken.mail {
                self.post.post(id, mail);
            }
            workers.push(worker);
        }
        Ok(workers)
    }

    /// After a shard was made or thawed: what is settled goes by the kernel.
    fn lower(&self, relay: &RelayConfig, id: ShardId, core: &mut Shard) {
        if let Some(table) = self.below.table(relay, id.0 == 0) {
            core.set_fast_path(self.clock.now(), table);
        }
    }

    fn shard(&self, id: ShardId, counters: &Arc<Counters>, steering: Steering) -> ShardOptions {
        let path = if self.choice.name() == "io_uring" { MediaPath::IoUring } else { MediaPath::Epoll };
        let mut options =
            ShardOptions::new(self.config, Arc::clone(self.directory), Arc::clone(counters), id.0, steering, path);
        options.engine.verbosity = self.outlets.verbosity.clone();
        options
    }

    fn worker(
        &self,
        shard: ShardId,
        counters: &Arc<Counters>,
        gate: Gate,
        driver: Box<dyn Driver>,
        core: Shard,
    ) -> Worker<Shard> {
        let options = worker::Options {
            shard,
            clock: self.clock,
            post: Arc::clone(self.post),
            outlets: self.outlets.clone(),
            counters: Arc::clone(counters),
            media_receive_buffer_bytes: self.config.media.receive_buffer_bytes,
            gate: Some(gate),
        };
        Worker::new(options, driver, core)
    }
}

/// What a worker is made from, whatever its shard goes on from.
type Part<'a> = (Box<dyn Driver>, Gate, &'a Arc<Counters>);

fn open(
    worker: &mut Worker<Shard>,
    key: SocketKey,
    listen: &Listen,
    shared: bool,
    config: &Config,
) -> Result<(), Fault> {
    let address: SocketAddr = listen.address;
    let udp = listen.transport == Transport::Udp;
    let opened = if udp {
        let options = UdpOptions {
            reuse_port: shared,
            dscp: config.sip.dscp,
            receive_buffer_bytes: config.media.receive_buffer_bytes,
            ..UdpOptions::signalling(address)
        };
        worker.open_udp(key, &options)
    } else {
        worker.listen(key, address, shared)
    };
    opened.map(drop).map_err(|error| Fault::runtime(bind(&error, address, udp, "sip.listen.address")))
}
