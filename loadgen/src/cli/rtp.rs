//! Options of `rtp`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Audio, Common, Parties};
use crate::units;

/// What joins the two ends of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Via {
    /// An rtpengine-compatible relay whose ng control port is --target.
    Ng,
    /// A SIP server: each pair of streams is a call from us to us through --target.
    Sip,
    /// Nothing: the floor, each end sends to the other.
    Nothing,
}

/// `rtp`.
#[derive(Debug, Args)]
pub struct Rtp {
    /// Options of all commands.
    #[command(flatten)]
    pub common: Common,
    /// What joins the two ends of a stream
    #[arg(long, value_enum, default_value = "ng")]
    pub via: Via,
    /// Pairs of streams, each with 50 packets a second in both directions
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub streams: u32,
    /// Delays and lateness count only after so long, once all streams are up
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = units::duration)]
    pub settle: Duration,
    /// Ports for RTP; even ones are used
    #[arg(long, value_name = "LOW-HIGH", default_value = "10000-29999", value_parser = units::ports)]
    pub rtp_ports: (u16, u16),
    /// Lost RTP that still counts as good
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = units::percent)]
    pub rtp_loss_max: f64,
    /// What the RTP carries.
    #[command(flatten)]
    pub audio: Audio,
    /// How the calls are set up whose media `rtp --via sip` measures.
    #[command(
        flatten,
        next_help_heading = "With --via sip (calls are set up at --rate, 100 a second if it is not given)"
    )]
    pub sip: Parties,
}
