//! Options of `register`.

use clap::Args;

use super::Common;
use crate::core::pattern::Pattern;

/// `register`.
#[derive(Debug, Args)]
pub struct Register {
    /// Options of all commands.
    #[command(flatten)]
    pub common: Common,
    /// Registered user; {} stands for its number [default: the user of --auth]
    #[arg(long, value_name = "USER", value_parser = Pattern::parse)]
    pub user: Option<Pattern>,
    /// Registrations in all [default: each user once, unless --duration is given]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Registrations open at once
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub concurrent: u32,
    /// Answer an old challenge again instead of waiting for a new one each time
    #[arg(long)]
    pub reuse_nonce: bool,
}
