//! Telephone calls: who may call whom, by which legs, with which media, until when.
//!
//! Owned by the shard, which gives it the time, the messages and the packets, and does what it returns.
#![forbid(unsafe_code)]

mod admission;
mod answer;
mod begin;
mod branch;
mod compose;
pub mod contacts;
mod content;
mod core;
mod directory;
mod engine;
mod failure;
mod figures;
mod frozen;
mod gate;
mod info;
mod inspect;
mod leg;
mod letters;
mod media;
mod mute;
mod registrar;
mod release;
mod retry;
mod routing;
mod setup;
mod state;
mod teardown;
mod watch;
mod within;

pub use self::core::{Effect, Owner, Settings};
pub use directory::{Account, Directory, Listener, Peer, Trunk};
pub use engine::{Engine, EngineOptions};
pub use frozen::Frozen;
pub use info::{CallInfo, LimitInfo, RegistrationInfo, TrunkInfo};
pub use inspect::Audit;
pub use media::drop_label;
