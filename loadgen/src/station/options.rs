//! What a station is made of: the load's plan, this core's number, its sockets and its randomness.

use std::net::SocketAddr;
use std::sync::Arc;

use strowger::base::{Instant, Random, SocketKey, StreamKey, Transport};

use crate::core::schedule::Schedule;
use crate::core::uac::Line;
use crate::core::{Path, Plan, Role};
use crate::scenario::engine::{self, Engine, Environment};

/// What a core is given.
pub struct Options {
    /// What all cores share.
    pub plan: Arc<Plan>,
    /// This core's number.
    pub core: u8,
    /// How many there are.
    pub cores: u8,
    /// The calling side's UDP sockets; with TCP, as many connections are opened as stand here.
    pub uac: Vec<(SocketKey, SocketAddr)>,
    /// The answering side's UDP socket or TCP listener.
    pub uas: Option<(SocketKey, SocketAddr)>,
    /// First of the sockets bound to `media_ports`.
    pub media_base: u32,
    /// RTP ports of this core.
    pub media_ports: Vec<(Role, SocketAddr)>,
    /// Media alone: where the two ends of each pair send.
    pub remotes: Vec<[SocketAddr; 2]>,
    /// What each call does, instead of what calls do here.
    pub scenario: Option<Arc<Environment>>,
    /// Randomness of this core.
    pub random: Random,
}

impl Options {
    /// The calling side's ends.
    pub(super) fn lines(&self) -> Vec<Line> {
        let plan = &self.plan;
        let path = |index: usize, socket| match plan.transport {
            Transport::Tcp => Path::Stream(StreamKey(index as u64)),
            _ => Path::Datagram(socket, plan.target),
        };
        let ends = self.uac.iter().enumerate();
        ends.map(|(index, &(socket, local))| Line { local, path: path(index, socket) }).collect()
    }

    /// The engine of a scenario, where there is one; it takes the media ports.
    pub(super) fn play(&mut self, now: Instant, lines: &[Line]) -> Option<Engine> {
        let env = self.scenario.take()?;
        let (plan, random) = (&self.plan, &mut self.random);
        let core = (u64::from(self.core), u64::from(self.cores));
        let mut key = || random.next_u64();
        let hasher = ahash::RandomState::with_seeds(key(), key(), key(), key());
        let engine = engine::Options {
            bound: if env.program.role == Role::Uac { plan.concurrent } else { plan.concurrent_uas },
            env,
            core,
            schedule: Schedule::new(plan.load, core.0, core.1, random.fork()).with_tick(plan.tick),
            lines: lines.to_vec(),
            local: self.uas.map(|(_, local)| local),
            hasher,
            media_base: self.media_base,
            media_ports: self.media_ports.drain(..).map(|(_, port)| port).collect(),
        };
        Some(Engine::new(now, engine))
    }
}
