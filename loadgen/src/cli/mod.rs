//! The command line: what all commands share here, each command's own in a file of its name.

mod calls;
mod register;
mod rtp;
mod search;
mod sipp;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::assertion::Assertion;
use crate::units::{self, Addresses};

pub use calls::{Audio, Calls, Codec, FlowOptions, Parties, Side};
pub use register::Register;
pub use rtp::{Rtp, Via};
pub use search::{By, FindMax, Ramp};
pub use sipp::Sipp;

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
    strowger-loadgen rtp --target 127.0.0.1:2223 --streams 500 --duration 30s
  The same through a SIP server that routes to a trunk at 127.0.0.1:5070:
    strowger-loadgen rtp --via sip --target 127.0.0.1:5060 --uas-listen 127.0.0.1:5070 --streams 500 --duration 30s";

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
    /// Media alone, through a relay or a SIP server, verified where it arrives
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
    /// Take what has come, and begin and end calls, at ticks so far apart; off: whatever comes wakes us [default: 1ms from
    /// 500 arrivals/s a thread on where nothing is answered here; off below, and over TCP always]
    #[arg(long, value_name = "TIME", value_parser = units::tick)]
    pub gather: Option<Duration>,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a line of shell, without quotes and without what follows `#`, `>` or `&`.
    fn shell_words(line: &str) -> Vec<String> {
        let (mut words, mut quoted, mut word) = (Vec::new(), false, String::new());
        for letter in line.chars().chain([' ']) {
            match letter {
                '\'' => quoted = !quoted,
                ' ' if !quoted && !word.is_empty() => words.push(std::mem::take(&mut word)),
                ' ' if !quoted => {}
                '#' | '>' | '&' if !quoted && word.is_empty() => break,
                _ => word.push(letter),
            }
        }
        words
    }

    #[test]
    fn every_command_that_the_pages_show_is_understood() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/");
        let pages =
            ["loadgen.md", "scenarios.md"].map(|name| std::fs::read_to_string(format!("{docs}{name}")).unwrap());
        let pages = [&pages[0], &pages[1], AFTER].map(|page| page.replace("\\\n", ""));
        let mut count = 0;
        for line in pages.iter().flat_map(|page| page.lines()).map(str::trim) {
            // A sentence may begin with our name, too; it goes on after a tick.
            if !line.starts_with("strowger-loadgen ") || line.contains('`') {
                continue;
            }
            let (words, _) = crate::sipp_options::translate(shell_words(line)).unwrap();
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{line}: {error}");
            }
            count += 1;
        }
        assert!(count >= 18, "only {count} commands were found");
    }
}
