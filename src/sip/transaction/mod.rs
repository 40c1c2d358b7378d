//! Transactions: RFC 3261 §17 with RFC 6026 (2xx to INVITE) and RFC 4320 (non-INVITE).
//!
//! Four machines, one per file, are pure functions ([`ict`], [`nict`], [`ist`], [`nist`]); [`Layer`] owns the tables
//! and timers and feeds them. Owned by the shard, used by calls, the registrar and trunks.

mod ack;
pub mod action;
mod branch;
mod client;
mod clock;
pub mod ict;
pub mod ist;
mod layer;
mod matching;
pub mod nict;
pub mod nist;
mod path;
mod paths;
mod server;
mod table;
#[cfg(test)]
mod tests;

pub use action::Timers;
pub use branch::{BRANCH_LEN, Branch, owner_of_branch};
pub use client::Cancelling;
pub use layer::{Counts, Event, Full, Layer, Limits};
pub use path::Path;
pub use server::Incoming;
pub use table::{ClientKey, ServerKey};
