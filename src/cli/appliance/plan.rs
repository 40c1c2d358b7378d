//! The shards of an appliance: each made with its driver and its sockets, its own or those of a process before.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::ground::{Before, Doors};
use crate::base::{Instant, Random, ShardId, SocketKey, Transport};
use crate::call::Directory;
use crate::cli::fast_path::Below;
use crate::cli::fault::{Fault, bind};
use crate::cli::hand_over::{Giver, Taken, TakenShard};
use crate::cli::{privileges, sites};
use crate::config::{Config, Listen};
use crate::control::Totals;
use crate::control::links::{Links, Prepared, Ready};
use crate::io::{self, Choice, Driver, GatherMax, UdpOptions};
use crate::media::RelayConfig;
use crate::observe::{Counters, MediaPath};
use crate::shard::{Mail, Shard, ShardOptions, Steering};
use crate::worker::{self, Barrier, Gate, Outlets, Post, Worker};

/// The shards'.
pub(super) type Threads = Vec<JoinHandle<std::io::Result<()>>>;

/// All shards and the links to other sites, running.
pub(super) struct Made {
    pub(super) shards: Threads,
    pub(super) links: Option<Links>,
    pub(super) giver: Giver,
    /// What the control plane of a process before had counted.
    pub(super) totals: Totals,
}

/// What has been made, and does not run yet.
struct Still {
    workers: Vec<Worker<Shard>>,
    links: Option<Ready>,
    doors: Doors,
    totals: Totals,
    /// When the pause of a process before began, when we had everything, and when it was in place.
    taken: Option<(Instant, Duration, Duration)>,
}

/// What all shards are made from.
pub(super) struct Plan<'a> {
    pub(super) config: &'a Config,
    pub(super) choice: &'a Choice,
    pub(super) below: &'a mut Below,
    pub(super) directory: &'a Arc<Directory>,
    pub(super) post: &'a Arc<Post>,
    pub(super) outlets: Outlets,
    pub(super) clock: worker::Clock,
}

impl Plan<'_> {
    /// Makes everything and its sockets first, then starts it, so that a fault leaves nothing running.
    pub(super) fn start(
        mut self,
        counters: &[Arc<Counters>],
        before: Before,
        links: Option<Prepared>,
    ) -> Result<Made, Fault> {
        let drivers = (0..self.post.shards()).map(|shard| self.driver(shard)).collect::<Result<Vec<_>, Fault>>()?;
        let (barrier, gates) = Barrier::new(self.post);
        let parts: Vec<Part<'_>> = drivers.into_iter().zip(gates).zip(counters).map(|((a, b), c)| (a, b, c)).collect();
        let Still { workers, links, doors: (http, unix), totals, taken } = match before {
            Before::Nothing(doors) => {
                let links = links.map(|links| sites::start(self.config, links)).transpose()?;
                Still { workers: self.fresh(parts)?, links, doors, totals: Totals::default(), taken: None }
            }
            Before::Running(conversation) => self.take_over(parts, conversation.take()?, links)?,
        };
        privileges::keep_none();
        // Before the shards: they believe their cells once its pulse beats.
        let links = links.map(Ready::run).transpose().map_err(Fault::runtime)?;
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
        let giver = Giver { barrier, post: Arc::clone(self.post), clock: self.clock, http, unix };
        Ok(Made { shards, links, giver, totals })
    }

    /// From the snapshot of a running process to the word that it is ours.
    fn take_over(&mut self, parts: Vec<Part<'_>>, mut taken: Taken, links: Option<Prepared>) -> Result<Still, Fault> {
        let got = self.clock.now().since(taken.paused);
        let (shards, packed) = (std::mem::take(&mut taken.shards), taken.links.take());
        self.below.take_rows(std::mem::take(&mut taken.neighbours));
        let made = self.thawed(parts, shards, links.is_some()).and_then(|workers| {
            // After the shards: before all calls hold their rights, the keeper would give away what none seems to use.
            sites::thaw(links, packed, self.directory).map(|links| (workers, links))
        });
        let (workers, links) = made.inspect_err(|fault| taken.decline(&fault.message))?;
        let ready = self.clock.now().since(taken.paused);
        taken.commit()?;
        self.below.settle();
        let Taken { http, unix, paused, totals, .. } = taken;
        Ok(Still { workers, links, doors: (http, unix), totals, taken: Some((paused, got, ready)) })
    }

    fn driver(&self, shard: u8) -> Result<Box<dyn Driver>, Fault> {
        let config = self.config;
        let media_ports = usize::from(config.media.port_max - config.media.port_min) + 1;
        let options = io::Options {
            sockets_max: config.sip.listen.len() + 2 * media_ports + 2,
            streams_max: config.shards.connections_max as usize,
            gather: GatherMax { signalling: config.shards.gather, media: config.media.gather },
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
    fn thawed(&self, parts: Vec<Part<'_>>, taken: Vec<TakenShard>, kept: bool) -> Result<Vec<Worker<Shard>>, Fault> {
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
            if kept {
                // Notes may have been lost before: the keeper hears of all calls anew.
                self.post.post(id, Mail::TellCalls);
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
