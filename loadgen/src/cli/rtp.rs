//! Options of `rtp`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Audio, Common};
use crate::core::pattern::Pattern;
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
    /// How calls are set up.
    #[command(flatten)]
    pub sip: MediaCalls,
}

/// How the calls are set up whose media `rtp --via sip` measures.
#[derive(Debug, Args)]
#[command(next_help_heading = "With --via sip (calls are set up at --rate, 100 a second if it is not given)")]
pub struct MediaCalls {
    /// Where the answering side listens; the target is expected to route calls there
    #[arg(long, value_name = "HOST:PORT")]
    pub uas_listen: Option<SocketAddr>,
    /// Register the answering side with the target as this user, and call that user
    #[arg(long, value_name = "USER:PASSWORD")]
    pub register_uas: Option<String>,
    /// Calling user; {} stands for its number [default: the user of --auth, or loadgen]
    #[arg(long, value_name = "USER", value_parser = Pattern::parse)]
    pub from: Option<Pattern>,
    /// Called user; {} stands for its number [default: the user of --register-uas, or service]
    #[arg(long, value_name = "USER", value_parser = Pattern::parse)]
    pub to: Option<Pattern>,
    /// Longest wait for an answer to a call that rings; then it is cancelled
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::duration)]
    pub setup_max: Duration,
}

impl MediaCalls {
    /// One that was given.
    pub fn named(&self) -> Option<&'static str> {
        let given = [
            (self.uas_listen.is_some(), "--uas-listen"),
            (self.register_uas.is_some(), "--register-uas"),
            (self.from.is_some(), "--from"),
            (self.to.is_some(), "--to"),
        ];
        given.into_iter().find(|(given, _)| *given).map(|(_, name)| name)
    }
}
