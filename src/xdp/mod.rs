//! The relay in the kernel: settled streams of RTP are forwarded where their frames arrive (XDP), and everything else goes up
//! to the sockets. What is done to a packet is `media::relay::apply`'s to say; `prog/relay.bpf.c` does the same.
//!
//! [`memory`] is what program and appliance share, [`table`] one shard's part of it.

pub mod layout;
pub mod memory;
pub mod object;
pub mod shared;
pub mod sys;
pub mod table;
pub mod ticks;

pub use table::{ShardTable, Slice, TableOptions};

/// The program, as `prog/build` made it.
pub const OBJECT: &[u8] = include_bytes!("prog/relay.bpf.o");
