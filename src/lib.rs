//! Strowger carries telephone calls. The rooms, one line each; the arrows between them are held by `tests/tidy.rs`.

pub mod base;
pub mod call;
pub mod config;
pub mod media;
pub mod observe;
pub mod phone;
pub mod sdp;
pub mod shard;
pub mod sip;
pub mod tally;

// EDGE
pub mod cli;
pub mod control;
pub mod demo;
pub mod io;
pub mod worker;
pub mod xdp;
