//! A shard at rest: everything it knows, as octets that name their fields, for a process that takes over.
//!
//! Unknown fields are passed over and a missing one is an error unless it says `#[serde(default)]`, so that a later
//! version reads what an earlier one wrote where that is honest. `src/cli/hand_over` says for whom.

use super::guard;
use super::handle::Shard;
use super::options::ShardOptions;
use super::steer::Steering;
use super::streams::Streams;
use crate::base::{Instant, Random};
use crate::call;
use crate::media::Waiting;
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct Out<'a, E> {
    now: Instant,
    engine: E,
    steering: &'a Steering,
    streams: &'a Streams,
    idle_check: Instant,
    trust: (Instant, Instant),
    guard: guard::Frozen,
    guard_sweep: Instant,
    random: &'a Random,
    draining: bool,
    stopping: Option<Instant>,
    unreachable_until: Instant,
    unreachable_told: u16,
}

/// A [`Shard`] that has been read and not been given a life yet.
#[derive(Debug, Deserialize)]
pub struct Frozen {
    now: Instant,
    engine: call::Frozen,
    steering: Steering,
    streams: Streams,
    idle_check: Instant,
    trust: (Instant, Instant),
    /// An earlier version knew of no scanners.
    #[serde(default)]
    guard: guard::Frozen,
    #[serde(default)]
    guard_sweep: Instant,
    random: Random,
    draining: bool,
    stopping: Option<Instant>,
    unreachable_until: Instant,
    unreachable_told: u16,
}

impl Frozen {
    /// Reads what [`Shard::freeze`] wrote.
    ///
    /// # Errors
    /// What cannot be understood, in words.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        rmp_serde::from_slice(bytes).map_err(|error| error.to_string())
    }

    /// How the node's messages find their shards.
    #[must_use]
    pub fn steering(&self) -> &Steering {
        &self.steering
    }
}

impl Shard {
    /// Everything it knows. Outputs must have been drained: they are not part of it. The shard itself may go on as before,
    /// with its media where it waits.
    ///
    /// # Panics
    /// Outputs wait.
    #[must_use]
    pub fn freeze(&mut self, now: Instant, waiting: Waiting) -> Vec<u8> {
        assert!(self.outputs.is_empty(), "outputs are drained first");
        let out = Out {
            now: self.now,
            engine: self.engine.freeze(now, waiting),
            steering: &self.steering,
            streams: &self.streams,
            idle_check: self.idle_check,
            trust: self.trust.times(),
            guard: self.guard.freeze(),
            guard_sweep: self.guard_sweep,
            random: &self.random,
            draining: self.draining,
            stopping: self.stopping,
            unreachable_until: self.unreachable_until,
            unreachable_told: self.unreachable_told,
        };
        rmp_serde::to_vec_named(&out).expect("values without maps of odd keys can be written")
    }

    /// A shard that goes on where another stopped. Bounds, times and the directory are those of the options.
    ///
    /// # Errors
    /// The options do not fit what is frozen.
    pub fn thaw(options: ShardOptions, frozen: Frozen) -> Result<Self, &'static str> {
        if options.steering.shards() != frozen.steering.shards() {
            return Err("its number of shards is another");
        }
        let mut shard = Self::new(options, frozen.random.clone(), frozen.now);
        shard.engine.thaw(frozen.engine)?;
        shard.streams.thaw(frozen.streams);
        shard.steering = frozen.steering;
        shard.trust.resume(frozen.trust);
        shard.guard.thaw(frozen.guard);
        shard.guard_sweep = frozen.guard_sweep;
        (shard.now, shard.idle_check, shard.random) = (frozen.now, frozen.idle_check, frozen.random);
        (shard.draining, shard.stopping) = (frozen.draining, frozen.stopping);
        (shard.unreachable_until, shard.unreachable_told) = (frozen.unreachable_until, frozen.unreachable_told);
        shard.spare_due = true;
        shard.outputs.clear();
        Ok(shard)
    }
}
