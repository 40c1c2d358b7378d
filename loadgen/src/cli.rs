//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::assertion::Assertion;
use crate::core::distribution::Distribution;
use crate::core::flow;
use crate::core::pattern::Pattern;
use crate::units::{self, Addresses};

const AFTER: &str = "\
Exit codes: 0 all good; 1 some calls, registrations or packets failed, or the target cannot be reached; 2 usage;
3 an --assert failed; 4 the generator itself was saturated, so the figures say little about the target;
97 --timeout came first; 99 there was not one call.

Examples:
  The floor, our own two ends without anything between them:
    strowger-loadgen calls --target 127.0.0.1:5070 --uas-listen 127.0.0.1:5070 --rate 100 --duration 10s
  Through an appliance that routes to a trunk at 127.0.0.1:5070:
    strowger-loadgen calls --target 127.0.0.1:5060 --uas-listen 127.0.0.1:5070 --rate 200 --hold 5s --assert 'srd_p99<20ms'
  Through a registrar, to a user registered for the purpose:
    strowger-loadgen calls --target sbc:5060 --register-uas bob:secret --auth alice:secret --concurrent 100
  Five thousand users register, each once:
    strowger-loadgen register --target sbc:5060 --auth 'user{}:pass{}' --users 5000 --rate 500
  Five hundred streams each way through an rtpengine (--listen-ng=127.0.0.1:2223), without a SIP server:
    strowger-loadgen rtp --target 127.0.0.1:2223 --streams 500 --duration 30s";

/// Open-loop SIP and RTP load generator: latency counts from when a call was due, not from when it was sent.
#[derive(Debug, Parser)]
#[command(name = "strowger-loadgen", version, after_help = AFTER, max_term_width = 120)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Place calls, answer them, or both; with RTP each way, verified where it arrives
    Calls(Box<Calls>),
    /// Media alone through a relay that is asked for its ports, verified where it arrives
    Rtp(Box<Rtp>),
    /// Search for the highest rate, or number of calls at once, that stays within bounds
    FindMax(Box<FindMax>),
    /// Overload: up in steps, hold, and down again; what is answered at each
    Ramp(Box<Ramp>),
    /// Register users, again and again until the duration is over
    Register(Box<Register>),
    /// Run a SIPp XML scenario, calling or answering as it says
    Sipp(Box<Sipp>),
}

impl Command {
    /// The options of all commands.
    pub fn common(&self) -> &Common {
        match self {
            Self::Calls(calls) => &calls.common,
            Self::FindMax(find) => &find.calls.common,
            Self::Ramp(ramp) => &ramp.calls.common,
            Self::Rtp(rtp) => &rtp.common,
            Self::Register(register) => &register.common,
            Self::Sipp(sipp) => &sipp.common,
        }
    }
}

/// UDP or TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Connections.
    Tcp,
}

/// Spacing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Arrivals {
    /// Evenly spaced.
    Uniform,
    /// As independent callers: exponentially distributed gaps.
    Poisson,
}

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Side {
    /// The calling side.
    Uac,
    /// The answering side.
    Uas,
}

/// What joins the two ends of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Via {
    /// An rtpengine-compatible relay whose ng control port is --target.
    Ng,
    /// Nothing: the floor, each end sends to the other.
    Nothing,
}

/// Driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// io_uring where it works, epoll elsewhere.
    Auto,
    /// io_uring or an error.
    #[value(name = "io_uring")]
    IoUring,
    /// epoll.
    Epoll,
}

/// When there is a live screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// Where standard output is a terminal.
    Auto,
    /// Or an error.
    On,
    /// A line per second instead.
    Off,
}

/// Options of all commands.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// The server under test (port 5060 if none is given)
    #[arg(long, value_name = "HOST:PORT")]
    pub target: Option<String>,
    /// What carries SIP
    #[arg(long, value_enum, default_value = "udp")]
    pub transport: Transport,
    /// Calls or registrations begun per second, whatever the target does [default: 10]
    #[arg(long, value_name = "N", value_parser = units::rate)]
    pub rate: Option<f64>,
    /// How long to begin new ones [default: 10s, unless a count is given]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub duration: Option<Duration>,
    /// Spacing of arrivals
    #[arg(long, value_enum, default_value = "uniform")]
    pub arrivals: Arrivals,
    /// Host in From, To and the registrar's address [default: the host of --target]
    #[arg(long, value_name = "NAME")]
    pub domain: Option<String>,
    /// Digest user and password; {} stands for the user's number
    #[arg(long, value_name = "USER:PASSWORD")]
    pub auth: Option<String>,
    /// How many users {} runs through
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub users: u64,
    /// Our address [default: the one the kernel takes to reach the target], and the first port we call from
    /// over UDP; a range of addresses is called from in turn: 127.0.0.2-127.0.0.50
    #[arg(long, value_name = "IP[-IP][:PORT]", value_parser = Addresses::parse)]
    pub bind: Option<Addresses>,
    /// Ports (UDP) or connections (TCP) to the target, per thread [with a range in --bind at least one for each address]
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub sources: u16,
    /// Expires of registrations, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub expires: u32,
    /// Timer T1; T2 is eight times as long
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = units::duration)]
    pub t1: Duration,
    /// Read every message with a second parser (rsip) and count what the two read differently
    #[arg(long)]
    pub check: bool,
    /// Threads, each pinned to a core of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=128))]
    pub threads: u8,
    /// Cores to pin to, like 3,2; or off [default: from the last one down]
    #[arg(long, value_name = "CORES")]
    pub pin: Option<String>,
    /// How to talk to the kernel
    #[arg(long, value_enum, default_value = "auto")]
    pub backend: Backend,
    /// Never busy-wait the last millisecond before a send on epoll: less load, later sends
    #[arg(long)]
    pub no_spin: bool,
    /// Sends later than this count towards saturation (exit 4 when 1 % of them are)
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = units::duration)]
    pub late_max: Duration,
    /// Give up the whole run after this (exit 97) [default: what the longest failing call can take]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub timeout: Option<Duration>,
    /// Give up when the target says nothing at all for so long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    pub silence_max: Duration,
    /// Write the result as JSON; - is standard output
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write percentile distributions for HdrHistogram's plotter, one file a latency: FILE.srd.hgrm and so on
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    /// Write the result as a page with plots, a single file that needs nothing else
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the verdict and every --assert as test cases for build servers
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// A condition on the result, such as 'srd_p99<20ms', 'calls_failed==0', 'rtp_loss<0.1%'; may be repeated
    #[arg(long = "assert", value_name = "CONDITION", value_parser = Assertion::parse)]
    pub asserts: Vec<Assertion>,
    /// A live screen; its keys are SIPp's: + - * / change the rate, p pauses, q hangs up and ends, Q ends at once
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto")]
    pub screen: When,
    /// What + and - change the rate by; * and / change it by ten times as much
    #[arg(long, value_name = "N", default_value = "1", value_parser = units::rate)]
    pub rate_scale: f64,
    /// No line per second, and no screen
    #[arg(long, short)]
    pub quiet: bool,
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
    /// From 180 to 200 on the answering side
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = units::duration)]
    pub ring: Duration,
    /// Who hangs up when the hold is over (tell both sides when they run apart)
    #[arg(long, value_enum, default_value = "uac")]
    pub hangup: Side,
    /// Longest wait for an answer to a call that rings; then it is cancelled
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::duration)]
    pub setup_max: Duration,
    /// What some calls do besides.
    #[command(flatten)]
    pub flow: FlowOptions,
    /// What the RTP carries.
    #[command(flatten)]
    pub audio: Audio,
}

/// What some calls do besides the plain flow.
#[derive(Clone, Debug, Args)]
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
    /// Ports for RTP; even ones are used
    #[arg(long, value_name = "LOW-HIGH", default_value = "10000-29999", value_parser = units::ports)]
    pub rtp_ports: (u16, u16),
    /// Lost RTP that still counts as good
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = units::percent)]
    pub rtp_loss_max: f64,
    /// What the RTP carries.
    #[command(flatten)]
    pub audio: Audio,
}

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
