//! Counting calls against a promise: how many at once, how many a second, over all sites. Pure.
//!
//! Owned by whoever publishes the limits; the cells are read by every shard of the node, everything else belongs to the
//! one task that speaks with the other sites.
#![forbid(unsafe_code)]

mod cell;
pub mod ledger;
pub mod message;
pub mod note;
mod pace;
mod pulse;
pub mod record;
pub mod rights;
pub mod sessions;
pub mod terms;
pub mod wire;

pub use cell::{Cell, Permit};
pub use message::{Figures, Identity, LoanId, Message, RequestId, SiteId};
pub use note::{Note, Session};
pub use pace::Pace;
pub use pulse::Pulse;
pub use record::Record;
