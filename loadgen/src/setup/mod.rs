//! From the command line to threads ready to run: the plan, its ports and sockets.
//!
//! `calls.rs`, `register.rs` and `rtp.rs` make the plan of each command, [`open`] its sockets.

mod calls;
mod register;
mod rtp;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use strowger::base::{Random, Transport};
use strowger::io::{self, Choice, Driver};

use crate::cli;
use crate::core::distribution::Distribution;
use crate::core::flow::Flow;
use crate::core::pattern::Pattern;
use crate::core::retransmit::Timers;
use crate::core::schedule::{Arrivals, Load};
use crate::core::{Job, Plan, Role};
use crate::machine::{clock_domain, now};
use crate::ng;
use crate::preflight::{self, Trouble};
use crate::scenario::engine::Environment;
use crate::sockets::Sockets;
use crate::station::{Options, Station};
use crate::units::Addresses;

pub use calls::{calls, calls_measured, ramp};
pub use register::register;
pub use rtp::rtp;

/// Arrivals per second when nothing is said.
pub const RATE: f64 = 10.0;
/// How long when nothing is said.
pub const DURATION: Duration = Duration::from_secs(10);
/// The length of ticks when nothing is said, and the arrivals per second and thread from which on there are any.
const TICK: Duration = Duration::from_millis(1);
const TICK_RATE_MIN: f64 = 500.0;
/// Time a call may take besides ringing and hold before it counts on top of the calls up at once.
const SLACK: Duration = Duration::from_secs(2);

/// One thread's sockets and calls.
pub struct Core {
    /// Its driver, sockets opened.
    pub driver: Box<dyn Driver>,
    /// How many sockets.
    pub sockets: usize,
    /// Its calls.
    pub station: Station,
}

/// Everything before the first packet.
pub struct Setup {
    /// What all threads share.
    pub plan: Arc<Plan>,
    /// One per thread.
    pub cores: Vec<Core>,
    /// Where the threads are pinned.
    pub pins: Vec<Option<core_affinity::CoreId>>,
    /// Which driver.
    pub backend: &'static str,
    /// Our address.
    pub local: SocketAddr,
    /// Where the answering side listens.
    pub uas: Option<SocketAddr>,
    /// Longest time a run may take; none for an answering side alone.
    pub timeout: Option<Duration>,
    /// Calls or registrations at once, over all threads.
    pub concurrent: u32,
    /// Sentences worth saying before the start.
    pub notes: Vec<String>,
    /// The relay that media alone goes through.
    pub relay: Option<ng::Client>,
}

/// What some runs have besides their plan.
pub enum Besides {
    /// Nothing.
    Nothing,
    /// A relay that media alone goes through.
    Relay(ng::Client),
    /// What each call does, instead of what calls do here.
    Scenario(Arc<Environment>),
}

/// The two ends.
pub struct Place {
    /// The target as it was written.
    pub host: String,
    /// Its address.
    pub target: SocketAddr,
    /// Our addresses.
    pub local: Addresses,
}

fn place(common: &cli::Common, otherwise: Option<SocketAddr>) -> Result<Place, Trouble> {
    if common.bind.is_some_and(|bind| bind.count > 1) && common.transport == cli::Transport::Tcp {
        return Err(Trouble::usage("--bind: a range of addresses is for UDP; give one address with --transport tcp"));
    }
    place_of(common.target.as_deref(), common.bind, otherwise)
}

/// Resolves `target`; without one, what is called and calls is at `otherwise`.
pub fn place_of(
    target: Option<&str>,
    bind: Option<Addresses>,
    otherwise: Option<SocketAddr>,
) -> Result<Place, Trouble> {
    let Some(target) = target else {
        let local = otherwise.ok_or_else(|| Trouble::usage("--target HOST:PORT is missing: the server under test"))?;
        let own = bind.unwrap_or(Addresses { first: SocketAddr::new(local.ip(), 0), count: 1 });
        return Ok(Place { host: local.ip().to_string(), target: local, local: own });
    };
    let (host, target) = preflight::resolve(target, bind.map(|bind| bind.first.ip()))?;
    let local = match bind {
        Some(bind) => bind,
        None => Addresses { first: SocketAddr::new(preflight::local_address(target)?, 0), count: 1 },
    };
    Ok(Place { host, target, local })
}

fn transport(common: &cli::Common) -> Transport {
    match common.transport {
        cli::Transport::Udp => Transport::Udp,
        cli::Transport::Tcp => Transport::Tcp,
    }
}

fn secret(text: &Option<String>, option: &str) -> Result<Option<(Pattern, Pattern)>, Trouble> {
    let Some(text) = text else { return Ok(None) };
    let wrong = |why| Trouble::usage(format!("{option}: {why}"));
    let (user, password) =
        text.split_once(':').ok_or_else(|| wrong(format!("'{text}' has no ':' before the password")))?;
    Ok(Some((Pattern::parse(user).map_err(wrong)?, Pattern::parse(password).map_err(wrong)?)))
}

/// What the options say of the load.
pub fn load(common: &cli::Common, rate: f64, count: Option<u64>, duration: Option<Duration>) -> Load {
    let arrivals = match common.arrivals {
        cli::Arrivals::Uniform => Arrivals::Uniform,
        cli::Arrivals::Poisson => Arrivals::Poisson,
    };
    Load { rate, duration, count, arrivals }
}

/// A plan of which only the job's own part is missing.
pub fn base_plan(common: &cli::Common, place: &Place, job: Job, load: Load) -> Result<Plan, Trouble> {
    let name = |text: &str| Pattern::parse(text).map_err(Trouble::usage);
    Ok(Plan {
        job,
        target: place.target,
        transport: transport(common),
        domain: common.domain.clone().unwrap_or_else(|| place.host.clone()),
        load,
        steps: Vec::new(),
        settle: Duration::ZERO,
        media_end: None,
        tick: tick(common, job, load.rate),
        hold: Distribution::Fixed(Duration::ZERO),
        ring: Duration::ZERO,
        hangup: Role::Uac,
        flow: Flow::default(),
        from: name("loadgen")?,
        to: name("service")?,
        users: common.users,
        secret: secret(&common.auth, "--auth")?,
        register_uas: None,
        rtp: false,
        timers: Timers { t1: common.t1, t2: common.t1 * 8, unreliable: true },
        setup_max: Duration::from_secs(60),
        concurrent: 0,
        concurrent_uas: 0,
        expires: common.expires,
        reuse_nonce: false,
        check: common.check,
        clock_domain: clock_domain(),
    })
}

/// Where it goes, for people: media that goes through nothing has no target.
pub fn shown_target(common: &cli::Common, plan: &Plan) -> String {
    match plan.job {
        Job::Streams if common.target.is_none() => "nothing between the two ends".into(),
        _ => plan.target.to_string(),
    }
}

/// The length of ticks. Unless asked otherwise there are none where they would be felt: on connections, whose octets have no
/// arrival times; where calls are answered, since an answer that waits for a tick is late at the caller; and at low rates.
fn tick(common: &cli::Common, job: Job, rate: f64) -> Duration {
    let answers = matches!(job, Job::Calls { uas: true, .. });
    match common.gather {
        _ if common.transport == cli::Transport::Tcp => Duration::ZERO,
        Some(tick) => tick,
        None if answers || rate < TICK_RATE_MIN * f64::from(common.threads) => Duration::ZERO,
        None => TICK,
    }
}

/// How long the load itself goes on.
pub fn load_time(load: &Load) -> Duration {
    let by_count = load.count.map(|count| Duration::from_secs_f64((count as f64 / load.rate).min(1e9)));
    [by_count, load.duration].into_iter().flatten().min().unwrap_or(DURATION)
}

/// Opens every socket.
pub fn open(
    common: &cli::Common,
    plan: Plan,
    place: &Place,
    uas_listen: Option<SocketAddr>,
    rtp_range: (u16, u16),
    concurrent: u32,
    besides: Besides,
) -> Result<Setup, Trouble> {
    let (mut relay, scenario) = match besides {
        Besides::Nothing => (None, None),
        Besides::Relay(relay) => (Some(relay), None),
        Besides::Scenario(scenario) => (None, Some(scenario)),
    };
    let (uac, answers) = sides(plan.job);
    let mut uas = answers.then(|| uas_listen.unwrap_or(SocketAddr::new(place.local.first.ip(), 0)));
    let threads = usize::from(common.threads);
    let pins = preflight::pins(common.pin.as_deref(), threads)?;
    let places_calls = uac || plan.job == Job::Streams;
    let rtp_per_core = match plan.rtp {
        true => [if places_calls { plan.concurrent } else { 0 }, plan.concurrent_uas],
        false => [0, 0],
    };
    let rtp_ports = preflight::rtp_ports(rtp_range, threads * rtp_per_core.iter().sum::<usize>())?;
    let sources = if uac { usize::from(common.sources).max(usize::from(place.local.count)) } else { 0 };
    examine(&plan, uas, threads * (sources + 8 + rtp_per_core.iter().sum::<usize>()))?;
    let choice = choose(common)?;
    let mut notes: Vec<String> = choice.fallback.iter().map(ToString::to_string).collect();
    notes.extend(preflight::receive_buffers(plan.load.rate));
    let plan = Arc::new(plan);
    let mut ports = rtp_ports.into_iter();
    let mut opened = Vec::with_capacity(threads);
    for core in 0..common.threads {
        let mut sockets = Sockets::new(&choice, sources + 2 + rtp_per_core.iter().sum::<usize>())?;
        let uac = sockets.uac(&plan, place.local, usize::from(core) * sources, sources)?;
        let uas_opened = match uas {
            Some(bind) => Some(sockets.uas(&plan, bind, threads > 1, scenario.is_some())?),
            None => None,
        };
        uas = uas_opened.map(|(_, local)| local);
        let media_base = sockets.count();
        // A scenario writes one address into all its descriptions.
        let one = Addresses { count: 1, ..place.local };
        let calling = if scenario.is_some() { one } else { place.local };
        let answering = uas.map_or(one, |first| Addresses { first, count: 1 });
        let media_ports = sockets.media(&mut ports, [calling, answering], rtp_per_core)?;
        let remotes = match plan.job {
            Job::Streams => rtp::join(&mut relay, usize::from(core) * plan.concurrent, &media_ports)?,
            _ => Vec::new(),
        };
        let (sockets, driver) = (sockets.count() as usize, sockets.driver);
        let options = Options {
            plan: plan.clone(),
            core,
            cores: common.threads,
            uac,
            uas: uas_opened,
            media_base,
            media_ports,
            remotes,
            scenario: scenario.clone(),
            random: random()?,
        };
        opened.push(Core { driver, sockets, station: Station::new(now(), options) });
    }
    let (backend, local) = (choice.name(), place.local.first);
    Ok(Setup { plan, cores: opened, pins, backend, local, uas, timeout: None, concurrent, notes, relay })
}

/// Whether requests go out from here, and whether calls are answered here.
fn sides(job: Job) -> (bool, bool) {
    match job {
        Job::Calls { uac, uas } => (uac, uas),
        Job::Register => (true, false),
        Job::Streams => (false, false),
    }
}

/// What stands in the way before anything is opened.
fn examine(plan: &Plan, uas: Option<SocketAddr>, sockets: usize) -> Result<(), Trouble> {
    if uas.is_some_and(|uas| uas.ip().is_unspecified()) {
        return Err(Trouble::usage(
            "--uas-listen: give an address that can stand in Contact and SDP, not the unspecified one",
        ));
    }
    preflight::open_files(sockets as u64)?;
    let calls_out = !matches!(plan.job, Job::Calls { uac: false, .. } | Job::Streams) || plan.register_uas.is_some();
    if calls_out && uas != Some(plan.target) {
        preflight::probe(plan.target, plan.transport)?;
    }
    Ok(())
}

fn choose(common: &cli::Common) -> Result<Choice, Trouble> {
    let wanted = match common.backend {
        cli::Backend::Auto => io::Backend::Auto,
        cli::Backend::IoUring => io::Backend::IoUring,
        cli::Backend::Epoll => io::Backend::Epoll,
    };
    Choice::new(wanted).map_err(|unusable| Trouble::usage(format!("--backend io_uring: {unusable}")))
}

fn random() -> Result<Random, Trouble> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| Trouble::outside(format!("the kernel gives no randomness: {error}")))?;
    Ok(Random::new(seed))
}
