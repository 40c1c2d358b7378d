//! The fast path of an appliance: what its settings ask for, what the host can give, and a table for each shard.
//!
//! `auto` takes what there is and says once why it is less than native; `xdp` refuses to start without; `off` asks for
//! nothing. `strowger check` says the same beforehand.

use std::fmt;
use std::time::Duration;

use super::check::Finding;
use super::fault::Fault;
use crate::config::{Config, FastPath as Wanted};
use crate::media::{FastPath, RelayConfig};

/// Why the kernel cannot relay here, or not as well as it might, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// A sentence's beginning.
    pub reason: String,
    /// What helps.
    pub remedy: String,
}

impl fmt::Display for Why {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} (remedy: {})", self.reason, self.remedy)
    }
}

/// What a node has of it.
#[derive(Debug)]
pub struct Below {
    name: &'static str,
    dead_man: Duration,
}

impl Below {
    /// `xdp`, `xdp-generic`, `none` or `off`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// For so long media may go on without the process.
    #[must_use]
    pub const fn dead_man(&self) -> Duration {
        self.dead_man
    }

    /// The part of the shard that has this relay. The first shard tells the node's totals.
    #[must_use]
    pub fn table(&self, _relay: &RelayConfig, _is_first: bool) -> Option<Box<dyn FastPath>> {
        None
    }
}

/// Attaches what the configuration asks for. To be called while the process has its capabilities, and before its threads.
///
/// # Errors
/// `fast_path = "xdp"`, and it cannot be had.
pub fn start(config: &Config) -> Result<Below, Fault> {
    if config.media.fast_path == Wanted::Off {
        return Ok(Below { name: "off", dead_man: Duration::ZERO });
    }
    let why = missing(config);
    if config.media.fast_path == Wanted::Xdp {
        return Err(Fault::runtime(format!(
            "media.fast_path = \"xdp\": {}.\n  {}, or set media.fast_path = \"auto\"",
            why.reason, why.remedy
        )));
    }
    tracing::info!(reason = %why.reason, remedy = %why.remedy, "media goes through the sockets alone");
    Ok(Below { name: "none", dead_man: Duration::ZERO })
}

/// What `strowger check` says.
#[must_use]
pub fn findings(config: &Config) -> Vec<Finding> {
    let finding = |fatal, text: String| vec![Finding { what: "fast path", fatal, text }];
    match config.media.fast_path {
        Wanted::Off => finding(false, "off, as configured: media goes through the shards".into()),
        wanted => finding(wanted == Wanted::Xdp, missing(config).to_string()),
    }
}

fn missing(_: &Config) -> Why {
    Why {
        reason: "none: the loader of the XDP relay is not built yet, media goes through the shards".into(),
        remedy: "media.fast_path = \"off\" says so".into(),
    }
}
