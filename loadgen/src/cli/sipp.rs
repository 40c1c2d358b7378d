//! Options of `sipp`.
#![allow(rustdoc::broken_intra_doc_links, reason = "[keywords] of scenarios, in what `--help` prints")]

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Common;
use crate::units;

const AFTER_SIPP: &str = "\
The scenario that `sipp -sd uac` prints, as SIPp itself would be called (its spelling of options is understood):
    strowger-loadgen sipp -sf uac.xml 127.0.0.1:5060 -r 50 -m 1000 -s bob
    strowger-loadgen sipp uas.xml --bind 127.0.0.1:5060
Without --rate, as many calls as -l says are kept up. docs/scenarios.md lists what scenarios may hold.";

/// `sipp`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_SIPP)]
pub struct Sipp {
    /// Options of all commands.
    #[command(flatten)]
    pub common: Common,
    /// The scenario's file (or --sf), and the server it calls (or --target)
    #[arg(value_name = "SCENARIO [HOST:PORT]")]
    pub words: Vec<String>,
    /// The scenario's file
    #[arg(long, value_name = "FILE")]
    pub sf: Option<PathBuf>,
    /// Only read the scenario and say what is wrong with it
    #[arg(long)]
    pub parse: bool,
    /// Calls up at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub concurrent: Option<u32>,
    /// Calls in all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub calls: Option<u64>,
    /// Values for [field0], [field1], …; may be repeated
    #[arg(long, value_name = "FILE")]
    pub inf: Vec<String>,
    /// A keyword of one's own; may be repeated
    #[arg(long = "key", num_args = 2, value_names = ["NAME", "VALUE"])]
    pub keys: Vec<String>,
    /// A global variable before the first call; may be repeated
    #[arg(long, num_args = 2, value_names = ["NAME", "VALUE"])]
    pub set: Vec<String>,
    /// What [service] stands for
    #[arg(long, value_name = "NAME", default_value = "service")]
    pub service: String,
    /// Our own port [default: of --bind; if the scenario answers 5060]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Length of a pause that says none
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = units::duration)]
    pub pause: Duration,
    /// First [cseq] of a call
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub base_cseq: u32,
    /// Longest wait for a message whose recv has no timeout [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub receive_timeout: Option<Duration>,
    /// How often a message is sent again [default: INVITE 5, others 7]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..1000))]
    pub retransmissions: Option<u32>,
    /// Never send a message again, whatever retrans= says
    #[arg(long)]
    pub no_retransmit: bool,
    /// Answer INFO, NOTIFY, OPTIONS and UPDATE that the scenario does not expect
    #[arg(long)]
    pub auto_answer: bool,
    /// Pass over messages that come in a pause
    #[arg(long)]
    pub ignore_in_pauses: bool,
    /// Say nothing to the peer when a call is given up (otherwise ACK, CANCEL or BYE)
    #[arg(long)]
    pub no_defaults: bool,
    /// Send all RTP back to where it comes from
    #[arg(long)]
    pub rtp_echo: bool,
    /// Ports for RTP of scenarios that play or echo it; even ones are used
    #[arg(long, value_name = "LOW-HIGH", default_value = "10000-29999", value_parser = units::ports)]
    pub rtp_ports: (u16, u16),
    /// What [media_port] stands for in other scenarios
    #[arg(long, value_name = "PORT", default_value_t = 6000)]
    pub media_port: u16,
    /// What [media_ip] stands for [default: our address]
    #[arg(long, value_name = "IP")]
    pub media_ip: Option<std::net::IpAddr>,
}
