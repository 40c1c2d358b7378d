//! Telephone calls: who may call whom, by which legs, with which media, until when.
//!
//! Owned by the shard, which gives it the time, the messages and the packets, and does what it returns.
#![forbid(unsafe_code)]

mod info;
pub mod registrar;

pub use info::{CallInfo, RegistrationInfo, TrunkInfo};

/// Accounts, trunks and routes: an immutable snapshot that every shard reads.
#[derive(Debug)]
pub struct Directory {
    /// Digest realm.
    pub realm: String,
}
