//! What all calls of a core share.

use std::sync::Arc;

use strowger::base::Instant;
use time::OffsetDateTime;

use super::environment::Environment;
use super::player::Player;
use super::value::{Store, Value};
use crate::core::Role;
use crate::scenario::program::Stop;

/// `[dynamic_id]` begins here; SIPp's default.
const DYNAMIC_ID_FIRST: u32 = 10_000;
/// And begins anew beyond this.
const DYNAMIC_ID_LAST: u32 = 12_000;
/// In such steps.
const DYNAMIC_ID_STEP: u32 = 4;

/// What all calls of a core share.
pub struct Shared {
    /// The same on all cores.
    pub env: Arc<Environment>,
    /// Variables that outlive a call.
    pub store: Store,
    /// Media ports.
    pub player: Player,
    /// When the engine was made, for `[clock_tick]`.
    pub began: Instant,
    /// `int_cmd` that is still to be obeyed.
    pub stop: Option<Stop>,
    dynamic_id: u32,
}

impl Shared {
    /// At the beginning; `--set` is done.
    pub fn new(now: Instant, env: Arc<Environment>, player: Player) -> Self {
        let mut store = Store::new(&env.program);
        for (id, text) in &env.set {
            store.set(&mut [], 0, *id, Value::Text(text.clone().into_bytes()));
        }
        Self { env, store, player, began: now, stop: None, dynamic_id: DYNAMIC_ID_FIRST }
    }

    /// The scenario waits for calls.
    pub fn is_answering(&self) -> bool {
        self.env.program.role == Role::Uas
    }

    /// The time of day.
    pub fn wall(&self, now: Instant) -> OffsetDateTime {
        let nanos = self.env.wall_nanos_at_zero + i128::from(now.as_nanos());
        OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// The next `[dynamic_id]`.
    pub fn dynamic_id(&mut self) -> u32 {
        let id = self.dynamic_id;
        let next = id + DYNAMIC_ID_STEP;
        self.dynamic_id = if next > DYNAMIC_ID_LAST { DYNAMIC_ID_FIRST } else { next };
        id
    }
}
