//! What the operator sets, and the times that follow from it. Owned by the rights machine.

use super::fault::Fault;
use crate::base::time::Duration;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What becomes of calls whose right has run out because the lender could not be reached in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// They may finish; the lender waits a call's longest life more before it takes the right back.
    #[default]
    Keep,
    /// They are hung up when the loan ends.
    Drop,
}

/// Settings of the whole machine; the same at every site.
#[derive(Clone, Debug)]
pub struct Settings {
    /// D: how long a loan lasts unless it is renewed, on the borrower's clock.
    pub lease: Duration,
    /// M: the longest a call lasts, kept by a timer of the call.
    pub max_call: Duration,
    /// X: media of a process that has died stops by itself within this.
    pub dead_man: Duration,
    /// ρ: the most by which a site's monotonic clock runs fast or slow, in parts per million.
    pub drift_ppm: u32,
    /// How late timers, hang-ups and a shard's last admission on an expired right may be.
    pub slop: Duration,
    /// What becomes of calls whose right has run out.
    pub policy: Policy,
    /// Accounts' allowances hold while this site is cut off from all others.
    pub allowance: bool,
    /// Most calls that wait for a right at once, over all accounts.
    pub waiters_max: usize,
    /// Most loans out, and most loans in, over all accounts.
    pub loans_max: usize,
    /// Most messages that wait for the disk; beyond it nothing more is lent or placed.
    pub undurable_max: usize,
    /// A planted bug, so that the simulator can show that it would be seen. Nothing that reads a configuration names it.
    #[doc(hidden)]
    pub fault: Option<Fault>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            max_call: Duration::from_secs(4 * 3600),
            dead_man: Duration::ZERO,
            drift_ppm: 1_000,
            slop: Duration::from_secs(2),
            policy: Policy::Keep,
            allowance: false,
            waiters_max: 16_384,
            loans_max: 1 << 20,
            undurable_max: 65_536,
            fault: None,
        }
    }
}

/// Where an account's rights are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Home {
    /// Here.
    Here,
    /// At the site of that name.
    At(Arc<str>),
}

/// What the configuration promises for one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// N: calls at once over all sites.
    pub limit: u32,
    /// Who issues its rights.
    pub home: Home,
    /// d: calls more while cut off, where [`Settings::allowance`] is set.
    pub allowance: u32,
}
