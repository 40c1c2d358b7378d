//! The command line: what users type. Exit codes: 0 good, 1 failed while running, 2 wrong usage, 78 bad configuration.

pub mod appliance;
mod check;
mod client;
mod fast_path;
pub mod fault;
mod finding;
mod hand_over;
mod host;
mod limit;
mod link;
mod load;
mod notify;
mod privileges;
mod run;
mod sites;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::print;
use crate::demo;
use client::Target;
use fault::{Fault, exit};

/// Carries telephone calls: SIP and RTP.
#[derive(Debug, Parser)]
#[command(name = "strowger", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the appliance
    Run {
        #[command(flatten)]
        config: ConfigFile,
        /// Take the sockets, calls and media of the one that runs with this configuration; it ends without ending a call
        #[arg(long)]
        take_over: bool,
    },
    /// Place calls through an appliance of its own on loopback and account for every packet
    Demo(Demo),
    /// Say everything that is wrong with a configuration, and whether this host can carry it
    Check {
        #[command(flatten)]
        config: ConfigFile,
        /// One machine-readable line
        #[arg(long)]
        json: bool,
    },
    /// Print the commented default file, or explain a setting
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// List something of the running appliance
    Show {
        /// What to list
        what: What,
        /// With `limits`: only this account, and where its rights are
        account: Option<String>,
        /// With `calls`: those of the other sites, too, as far as they are known here
        #[arg(long)]
        all_sites: bool,
        /// Machine-readable rows
        #[arg(long)]
        json: bool,
        /// Most rows
        #[arg(long, default_value_t = 1_000, value_name = "N")]
        limit: usize,
        #[command(flatten)]
        target: Target,
    },
    /// Have the running appliance read its configuration again; prints what changed and what needs a restart
    Reload {
        #[command(flatten)]
        target: Target,
    },
    /// Take no new calls, and say how many remain
    Drain {
        /// Until none remains
        #[arg(long)]
        wait: bool,
        /// End the appliance then, or when node.drain_timeout has passed
        #[arg(long)]
        stop: bool,
        /// Take new calls again, unless it is already ending
        #[arg(long, conflicts_with_all = ["wait", "stop"])]
        cancel: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Prepare links to other sites
    Link {
        #[command(subcommand)]
        command: LinkCommand,
    },
    /// Say what only an operator can know of another site
    Site {
        #[command(subcommand)]
        command: SiteCommand,
    },
    /// Hear a source again that is blocked or muted for scanning
    Unblock {
        /// Its address, as `strowger show blocked` has it
        source: String,
        #[command(flatten)]
        target: Target,
    },
    /// End one call
    Hangup {
        /// Its name, as `strowger show calls` has it
        call: String,
        #[command(flatten)]
        target: Target,
    },
}

/// `run` and `check` take the same words, so that one becomes the other by its verb alone.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration; without one, the defaults: everything is on 127.0.0.1
    file: Option<PathBuf>,
    /// The same
    #[arg(long, short, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    fn path(&self) -> Option<&Path> {
        self.file.as_deref().or(self.config.as_deref())
    }
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// The commented default file
    Defaults,
    /// One setting, one table, or every setting of a name
    Explain {
        /// Such as sip.t1, trunk or max_calls
        key: String,
    },
    /// docs/configuration.md
    #[command(hide = true)]
    Reference,
}

#[derive(Debug, Subcommand)]
enum LinkCommand {
    /// Make a private authority, and a certificate and key for each site; run again with the same --out to add sites
    Keygen {
        /// Where the files go
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// The sites' `node.name`s
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
enum SiteCommand {
    /// A site that is lost, with its disk, will not come back: its rights may be given out again
    Retire {
        /// Its `node.name`
        name: String,
        /// The last one seen of it, as `strowger show limits ACCOUNT` has it
        #[arg(long, value_name = "N")]
        incarnation: u32,
        /// It is off, and stays off: no call of it is up
        #[arg(long, required = true)]
        i_have_fenced_it: bool,
        #[command(flatten)]
        target: Target,
    },
    /// This home has lost its disk, and nothing of what it had made is in use anywhere: make rights anew
    Found {
        /// No other site holds rights of the old disk
        #[arg(long, required = true)]
        i_have_fenced_it: bool,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    Calls,
    Registrations,
    Trunks,
    Shards,
    Limits,
    Links,
    Blocked,
}

#[derive(Debug, Args)]
struct Demo {
    /// Calls at once
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(demo::CALLS_MAX)))]
    calls: u32,
    /// How long each one talks
    #[arg(long, default_value_t = 5, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// One machine-readable line
    #[arg(long)]
    json: bool,
    /// How the phones speak SIP
    #[arg(long, value_enum, default_value_t = Over::Udp)]
    transport: Over,
    /// What moves packets
    #[arg(long, value_enum, default_value_t = Backend::Auto)]
    backend: Backend,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Over {
    Udp,
    Tcp,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Backend {
    Auto,
    #[value(name = "io_uring")]
    IoUring,
    Epoll,
}

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli.command) {
        Ok(true) => ExitCode::from(exit::OK),
        Ok(false) => ExitCode::from(exit::RUNTIME),
        Err(fault) => fault.report(),
    }
}

/// True when it went well; false when it failed and has said so.
fn dispatch(command: Command) -> Result<bool, Fault> {
    match command {
        Command::Run { config, take_over } => run::run(config.path(), take_over).map(|()| true),
        Command::Demo(options) => demonstrate(&options),
        Command::Check { config, json } => match check::check(config.path(), json)? {
            true => Ok(true),
            false => Err(Fault::config("")),
        },
        Command::Config { command } => configuration(command).map(|()| true),
        Command::Show { what, account, all_sites, json, limit, target } => {
            let word = what.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
            let usage = |message: &str| Err(Fault { exit: exit::USAGE, message: message.to_owned() });
            match (what, account) {
                (_, None) if all_sites && !matches!(what, What::Calls) => usage("--all-sites goes with `show calls`"),
                (_, None) => client::show(&target, &word, limit, all_sites, json).map(|()| true),
                (What::Limits, Some(account)) => client::limit(&target, &account, json).map(|()| true),
                (_, Some(_)) => usage("an account goes with `show limits`"),
            }
        }
        Command::Site { command: SiteCommand::Retire { name, incarnation, target, .. } } => {
            client::retire(&target, &name, incarnation).map(|()| true)
        }
        Command::Site { command: SiteCommand::Found { target, .. } } => client::found(&target).map(|()| true),
        Command::Reload { target } => client::reload(&target).map(|()| true),
        Command::Drain { cancel: true, target, .. } => client::undrain(&target).map(|()| true),
        Command::Drain { wait, stop, target, .. } => client::drain(&target, wait, stop).map(|()| true),
        Command::Link { command: LinkCommand::Keygen { out, names } } => link::keygen(&out, &names).map(|()| true),
        Command::Unblock { source, target } => client::unblock(&target, &source).map(|()| true),
        Command::Hangup { call, target } => client::hangup(&target, &call).map(|()| true),
    }
}

fn configuration(command: ConfigCommand) -> Result<(), Fault> {
    match command {
        ConfigCommand::Defaults => print!("{}", print::defaults()),
        ConfigCommand::Reference => print!("{}", print::reference()),
        ConfigCommand::Explain { key } => {
            let text = print::explain(&key).map_err(|message| Fault { exit: exit::USAGE, message })?;
            print!("{text}");
        }
    }
    Ok(())
}

fn demonstrate(options: &Demo) -> Result<bool, Fault> {
    let options = demo::Options {
        calls: options.calls,
        seconds: options.seconds,
        json: options.json,
        transport: match options.transport {
            Over::Udp => crate::base::Transport::Udp,
            Over::Tcp => crate::base::Transport::Tcp,
        },
        backend: match options.backend {
            Backend::Auto => "auto",
            Backend::IoUring => "io_uring",
            Backend::Epoll => "epoll",
        },
    };
    let start = |config| appliance::Appliance::start(config).map_err(|fault| fault.message);
    demo::run(&options, start).map_err(Fault::runtime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        assert!(parse("strowger show calls --json --limit 5").is_ok());
        for line in
            ["strowger run --config x.toml", "strowger run x.toml", "strowger check -c x.toml", "strowger check x.toml"]
        {
            let (Command::Run { config, .. } | Command::Check { config, .. }) = parse(line).unwrap().command else {
                panic!("{line}")
            };
            assert_eq!(config.path(), Some(Path::new("x.toml")), "{line}");
        }
        assert!(parse("strowger run x.toml --config y.toml").is_err());
        assert!(parse("strowger link keygen --out keys phx-1 lon-1").is_ok());
        assert!(parse("strowger show limits alice").is_ok() && parse("strowger show calls --all-sites").is_ok());
        assert!(parse("strowger site retire lon-1 --incarnation 7 --i-have-fenced-it").is_ok());
        assert!(parse("strowger site retire lon-1 --incarnation 7").is_err() && parse("strowger site found").is_err());
        assert_eq!(parse("strowger link keygen --out keys").unwrap_err().exit_code(), i32::from(exit::USAGE));
        assert!(parse("strowger demo --calls 100 --seconds 10 --json --backend io_uring").is_ok());
        assert_eq!(parse("strowger show nothing").unwrap_err().exit_code(), i32::from(exit::USAGE));
        assert_eq!(parse("strowger demo --calls 0").unwrap_err().exit_code(), i32::from(exit::USAGE));
    }

    /// Lines of code blocks that begin with our name; usage with alternatives (`a|b`, `[c]`) is left out.
    fn commands(page: &str) -> Vec<&str> {
        let blocks = page.split("```").skip(1).step_by(2);
        let lines = blocks.flat_map(str::lines).map(|line| line.split(" #").next().unwrap_or(line));
        let ours = |line: &str| line.trim_start_matches("$ ").starts_with("strowger ") && !line.contains(['|', '[']);
        lines
            .filter(|line| ours(line))
            .map(|line| line.trim_start_matches("$ ").split('>').next().unwrap_or(line))
            .collect()
    }

    #[test]
    fn every_command_that_the_pages_show_is_understood() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        let mut count = 0;
        for page in std::fs::read_dir(docs).unwrap().map(|entry| entry.unwrap().path()) {
            let Ok(text) = std::fs::read_to_string(&page) else { continue };
            for line in commands(&text) {
                let parsed = Cli::try_parse_from(line.split_whitespace());
                assert!(parsed.is_ok(), "{}: {line}: {}", page.display(), parsed.unwrap_err());
                count += 1;
            }
        }
        assert!(count >= 8, "only {count} commands were found");
    }
}
