//! Counting calls against a promise: how many at once, how many a second. Pure and lock-free.
//!
//! Owned by whoever publishes the limits; read by every shard of the node.
#![forbid(unsafe_code)]

mod cell;
mod pace;

pub use cell::{Cell, Permit};
pub use pace::Pace;
