//! Options of `calls`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::Common;
use crate::core::distribution::Distribution;
use crate::core::flow;
use crate::core::pattern::Pattern;
use crate::units;

/// Media of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Codec {
    /// G.711 µ-law, 20 ms, both ways.
    Pcmu,
    /// G.711 A-law, 20 ms, both ways.
    Pcma,
    /// Signalling only.
    Off,
}

/// Who hangs up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Side {
    /// The calling side.
    #[default]
    Uac,
    /// The answering side.
    Uas,
}

/// `calls`.
#[derive(Clone, Debug, Args)]
pub struct Calls {
    /// Options of all commands.
    #[command(flatten)]
    pub common: Common,
    /// From answer to hang-up: 5s, or drawn for each call from exp:5s (mean), uniform:2s-8s, normal:5s,1s or lognormal:5s,3s
    /// (mean, standard deviation)
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = Distribution::parse)]
    pub hold: Distribution,
    /// Calls up at once; without --rate, as many as this are kept up
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub concurrent: Option<u32>,
    /// Calls in all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub calls: Option<u64>,
    /// Media of each call
    #[arg(long, value_enum, default_value = "pcmu")]
    pub rtp: Codec,
    /// Ports for RTP; even ones are used
    #[arg(long, value_name = "LOW-HIGH", default_value = "10000-29999", value_parser = units::ports)]
    pub rtp_ports: (u16, u16),
    /// Lost RTP that still counts as good
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = units::percent)]
    pub rtp_loss_max: f64,
    /// Only place calls; something else answers them
    #[arg(long, conflicts_with_all = ["uas", "uas_listen", "register_uas"])]
    pub uac: bool,
    /// Only answer calls, until --duration, --calls or Ctrl-C
    #[arg(long)]
    pub uas: bool,
    /// Who calls whom.
    #[command(flatten)]
    pub parties: Parties,
    /// From 180 to 200 on the answering side
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = units::duration)]
    pub ring: Duration,
    /// Who hangs up when the hold is over (tell both sides when they run apart)
    #[arg(long, value_enum, default_value = "uac")]
    pub hangup: Side,
    /// What some calls do besides.
    #[command(flatten)]
    pub flow: FlowOptions,
    /// What the RTP carries.
    #[command(flatten)]
    pub audio: Audio,
}

/// Who calls whom, and for how long it may ring.
#[derive(Clone, Debug, Args)]
pub struct Parties {
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

impl Parties {
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

/// What some calls do besides the plain flow.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "What some calls do besides")]
pub struct FlowOptions {
    /// Calls that the calling side cancels while they ring; 487 is then as it should be
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = units::percent)]
    pub cancel: f64,
    /// From the first ringing to that CANCEL
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = units::duration)]
    pub cancel_after: Duration,
    /// Calls that the answering side refuses, as 486:5%; may be repeated. Tell the calling side too when it runs apart: these
    /// answers are then as they should be
    #[arg(long, value_name = "STATUS:PERCENT", value_parser = flow::parse_answer)]
    pub answer_with: Vec<(u16, f64)>,
    /// Calls with early media: 183 with SDP and RTP both ways until --ring is over
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = units::percent)]
    pub early_media: f64,
    /// Calls that are negotiated again by a re-INVITE, over which media must go on
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = units::percent)]
    pub reinvite: f64,
    /// From answer to re-INVITE
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::duration)]
    pub reinvite_after: Duration,
    /// Put the peer on hold for so long (sendonly), then take it back [default: offer the same again]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub on_hold: Option<Duration>,
    /// Who sends the re-INVITE (tell both sides when they run apart)
    #[arg(long, value_enum, default_value = "uac")]
    pub reinvite_by: Side,
}

/// What the RTP carries.
#[derive(Clone, Debug, Args)]
pub struct Audio {
    /// What the RTP carries: pattern (verifies most), silence, tone, or a file: WAV (8 kHz, mono) or pcap
    #[arg(long, value_name = "WHAT", default_value = "pattern")]
    pub rtp_from: String,
}
