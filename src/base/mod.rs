//! The vocabulary every other room speaks: instants, keys, bounded containers, datagrams.
//!
//! Owned by nobody in particular and therefore kept small: a type belongs here only when two rooms need it and neither
//! may import the other. Pure: no sockets, clocks, threads or globals.
#![forbid(unsafe_code)]

pub mod id;
pub mod keyed;
pub mod leg;
pub mod net;
pub mod queue;
pub mod random;
pub mod slab;
pub mod source;
pub mod text;
pub mod time;
pub mod unusable;
pub mod wheel;

pub use id::ShardId;
pub use keyed::Keyed;
pub use leg::{Direction, Side};
pub use net::{Flow, Forward, SocketKey, StreamKey, Transmit, Transport};
pub use queue::Queue;
pub use random::Random;
pub use slab::{Slab, Slot};
pub use source::Source;
pub use time::Instant;
pub use unusable::Unusable;
pub use wheel::{TimerKey, Wheel};
