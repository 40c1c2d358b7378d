//! A shard: the tables of one core, and the steering that brings every message to the shard that owns it.
//!
//! Pure: what comes in and goes out is in [`boundary`]; what shards say to each other is in [`mailbox`]; who scans is
//! found out by [`guard`].
#![forbid(unsafe_code)]

pub mod boundary;
mod effects;
mod frozen;
pub mod guard;
mod guarding;
mod handle;
mod letters;
pub mod mailbox;
mod options;
mod steer;
mod streams;
mod trust;

pub use crate::media::Waiting;
pub use boundary::{Input, Output};
pub use frozen::Frozen;
pub use handle::Shard;
pub use mailbox::{Answer, Mail, Query, ShardInfo};
pub use options::ShardOptions;
pub use steer::Steering;
