//! Options of what is made of several loads: `find-max` and `ramp`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::Calls;
use crate::assertion::Assertion;
use crate::units;

/// What is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Calls per second.
    Rate,
    /// Calls at once.
    Concurrent,
}

/// `find-max`.
#[derive(Debug, Args)]
pub struct FindMax {
    /// Options of `calls`.
    #[command(flatten)]
    pub calls: Calls,
    /// What is searched: calls per second, or calls at once
    #[arg(long, value_enum, default_value = "rate")]
    pub by: By,
    /// Where the search begins
    #[arg(long, value_name = "N", default_value = "10", value_parser = units::rate)]
    pub low: f64,
    /// Where it ends at the latest
    #[arg(long, value_name = "N", default_value = "100000", value_parser = units::rate)]
    pub high: f64,
    /// A condition that a step must hold, as --assert takes it; may be repeated [default: nothing fails and nothing is lost]
    #[arg(long, value_name = "CONDITION", value_parser = Assertion::parse)]
    pub within: Vec<Assertion>,
    /// Length of a step: so long calls begin that count
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::duration)]
    pub step: Duration,
    /// Before that, calls that do not count
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::duration)]
    pub settle: Duration,
    /// Done when what passes and what fails are so near
    #[arg(long, value_name = "PERCENT", default_value = "2%", value_parser = units::percent)]
    pub precision: f64,
    /// How often the result must pass again
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(..=20))]
    pub confirm: u32,
}

/// `ramp`.
#[derive(Debug, Args)]
pub struct Ramp {
    /// Options of `calls`.
    #[command(flatten)]
    pub calls: Calls,
    /// Rate of the first step and of the last
    #[arg(long, value_name = "N", value_parser = units::rate)]
    pub low: f64,
    /// Rate at the top
    #[arg(long, value_name = "N", value_parser = units::rate)]
    pub high: f64,
    /// Steps from --low to --high, both included
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=100))]
    pub steps: u32,
    /// Length of a step
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::duration)]
    pub step: Duration,
    /// Length of the top [default: that of a step]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub top: Option<Duration>,
}
