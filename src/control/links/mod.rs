//! Links to the other sites: QUIC with mutual TLS, and the keeper of the rights that speaks over them.
//!
//! Everything runs on one thread of its own: the endpoint, a task for each connection, and the keeper, which alone
//! decides. Two more threads wait for what blocks: shards' notes, and the disk ([`ledger_file`]).

mod accounts;
mod agree;
mod dial;
mod end;
mod feed;
mod handle;
mod inbox;
mod keeper;
pub mod keygen;
mod ledger;
pub mod ledger_file;
pub(super) mod metrics;
mod packed;
mod pause;
mod run;
mod start;
mod status;
mod talk;
#[cfg(test)]
mod tests;
pub mod tls;

pub use accounts::{AccountTerms, Accounts};
pub use handle::{Handle, Links};
pub use inbox::Question;
pub use packed::{Frozen, Packed};
pub use pause::Resting;
pub use run::Ready;
pub use start::{Options, Prepared, prepare};
pub use status::{LinkStatus, Reason};

use crate::base::time::Duration;

/// How late a timer, a hang-up and a shard's last admission on an expired right may be: lenders allow for it.
const SLOP: Duration = Duration::from_secs(2);

/// The calendar in milliseconds since 1970; for people only.
fn calendar_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
