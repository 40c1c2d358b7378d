//! The relay in the kernel: settled streams of RTP are forwarded where their frames arrive (XDP), and everything else goes up
//! to the sockets. What is done to a packet is `media::relay::apply`'s to say; `prog/relay.bpf.c` does the same.
//!
//! [`Xdp`] loads and attaches the program; [`memory`] is what program and appliance share, [`table`] one shard's part of it
//! (the `FastPath` that its relay is given), [`hops`] the neighbours that frames are sent to, kept true by [`mirror`]. [`succession`] is how
//! all of it changes its process.

mod commons;
pub mod devices;
mod features;
pub mod hops;
pub mod kernel;
pub mod layout;
mod links;
mod load;
pub mod memory;
pub mod mirror;
pub mod netlink;
pub mod object;
mod options;
mod probe;
pub mod shared;
pub mod succession;
pub mod sys;
pub mod table;
pub mod ticks;

pub use kernel::Xdp;
pub use links::Attached;
pub use load::{Foreseen, probe};
pub use options::XdpOptions;
pub use succession::{Fit, Inventory, Left};
pub use table::{ShardTable, Slice, TableOptions};

/// The program, as `prog/build` made it.
pub const OBJECT: &[u8] = include_bytes!("prog/relay.bpf.o");
