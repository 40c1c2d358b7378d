//! From the command line to threads ready to run: the plan, its ports and sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use strowger::base::{Random, Transport};
use strowger::io::{self, Choice, Driver};

use crate::cli;
use crate::core::digest::Secret;
use crate::core::distribution::Distribution;
use crate::core::flow::Flow;
use crate::core::pattern::Pattern;
use crate::core::retransmit::Timers;
use crate::core::schedule::{Arrivals, Load};
use crate::core::station::{Options, Station};
use crate::core::steps::shape;
use crate::core::{Job, Plan, Role};
use crate::flow;
use crate::machine::{clock_domain, now};
use crate::ng;
use crate::preflight::{self, Trouble};
use crate::sockets::Sockets;
use crate::sound::g711::Codec;
use crate::units::Addresses;

/// Arrivals per second when nothing is said.
pub const RATE: f64 = 10.0;
/// How long when nothing is said.
pub const DURATION: Duration = Duration::from_secs(10);
/// Calls at once when only answering.
const CONCURRENT_UAS: u32 = 1000;
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
        scenario: None,
    })
}

/// Room for the calls that are up at once: the mean, and where their number varies five standard deviations of its Poisson
/// distribution.
fn calls_up(mean: f64, hold: Distribution) -> u32 {
    let varying = if matches!(hold, Distribution::Fixed(_)) { 0.0 } else { 5.0 * mean.sqrt() };
    ((mean + varying).ceil().min(1e7) as u32).saturating_add(10)
}

/// How long the load itself goes on.
pub fn load_time(load: &Load) -> Duration {
    let by_count = load.count.map(|count| Duration::from_secs_f64((count as f64 / load.rate).min(1e9)));
    [by_count, load.duration].into_iter().flatten().min().unwrap_or(DURATION)
}

/// Prepares `calls`.
pub fn calls(options: &cli::Calls) -> Result<Setup, Trouble> {
    calls_shaped(options, Vec::new(), Duration::ZERO)
}

/// Prepares `calls` whose figures begin anew after `settle`.
pub fn calls_measured(options: &cli::Calls, settle: Duration) -> Result<Setup, Trouble> {
    calls_shaped(options, Vec::new(), settle)
}

/// Prepares a ramp.
pub fn ramp(options: &cli::Ramp) -> Result<Setup, Trouble> {
    let common = &options.calls.common;
    if common.rate.is_some() || common.duration.is_some() || options.calls.calls.is_some() || options.calls.uas {
        return Err(Trouble::usage(
            "ramp chooses load and length itself and must call: leave out --rate, --duration, --calls and --uas; give --low, \
             --high, --steps and --step",
        ));
    }
    let top = options.top.unwrap_or(options.step);
    let steps = shape(options.low, options.high, options.steps, options.step, top);
    let mut calls = options.calls.clone();
    calls.common.rate = Some(options.low.max(options.high));
    calls.common.duration = Some(steps.iter().map(|&(_, length)| length).sum());
    calls_shaped(&calls, steps, Duration::ZERO)
}

fn calls_shaped(options: &cli::Calls, steps: Vec<(f64, Duration)>, settle: Duration) -> Result<Setup, Trouble> {
    let common = &options.common;
    let answers = !options.uac;
    if answers && !options.uas && options.uas_listen.is_none() && options.register_uas.is_none() {
        return Err(Trouble::usage(
            "who answers the calls? Say where the answering side listens (--uas-listen IP:PORT, with a route to it in \
             the target), or register it (--register-uas USER:PASSWORD), or leave it out (--uac)",
        ));
    }
    if options.uas && options.uas_listen.is_none() && options.register_uas.is_none() {
        return Err(Trouble::usage("--uas needs --uas-listen IP:PORT, or --register-uas USER:PASSWORD"));
    }
    let place = place(common, options.uas_listen.filter(|_| options.uas && options.register_uas.is_none()))?;
    let register_uas = secret(&options.register_uas, "--register-uas")?
        .map(|(user, password)| Secret { user: user.fill(0), password: password.fill(0) });
    let up = (options.hold.mean() + options.ring).max(Duration::from_millis(10));
    let kept_up = options.concurrent.filter(|_| common.rate.is_none()).map(|calls| f64::from(calls) / up.as_secs_f64());
    let rate = common.rate.or(kept_up).unwrap_or(RATE);
    let duration = common.duration.or(options.calls.is_none().then_some(DURATION));
    let load = load(common, rate, options.calls, duration);
    let job = Job::Calls { uac: !options.uas, uas: answers };
    let mut plan = base_plan(common, &place, job, load)?;
    (plan.steps, plan.settle) = (steps, settle);
    let most = options.calls.map_or(u32::MAX, |calls| u32::try_from(calls).unwrap_or(u32::MAX));
    let derived = calls_up(rate * (up + SLACK).as_secs_f64(), options.hold);
    let concurrent = match options.concurrent {
        Some(calls) if common.rate.is_some() => calls,
        Some(calls) if options.uas => calls,
        Some(_) => derived,
        None if options.uas => CONCURRENT_UAS,
        None => derived,
    };
    let concurrent = concurrent.min(most);
    plan.concurrent = concurrent.div_ceil(u32::from(common.threads)) as usize;
    plan.concurrent_uas = if answers { concurrent as usize + concurrent as usize / 10 + 10 } else { 0 };
    plan.hold = options.hold;
    plan.ring = options.ring;
    plan.setup_max = options.setup_max;
    plan.rtp = options.rtp != cli::Codec::Off;
    plan.flow = flow::plan(options)?;
    plan.hangup = if options.hangup == cli::Side::Uac { Role::Uac } else { Role::Uas };
    if let Some((user, _)) = &plan.secret {
        plan.from = user.clone();
    }
    if let Some(user) = &options.from {
        plan.from = user.clone();
    }
    let registered = register_uas.as_ref().and_then(|secret| Pattern::parse(&secret.user).ok());
    if let Some(user) = options.to.clone().or(registered) {
        plan.to = user;
    }
    plan.register_uas = register_uas;
    let longest =
        load_time(&plan.load) + options.hold.longest() + options.ring + options.setup_max + common.t1 * 128 + SLACK * 5;
    let mut setup = open(common, plan, &place, options.uas_listen, options.rtp_ports, concurrent, None)?;
    setup.timeout = common.timeout.or((!options.uas).then_some(longest));
    Ok(setup)
}

/// Prepares `register`.
pub fn register(options: &cli::Register) -> Result<Setup, Trouble> {
    let common = &options.common;
    let place = place(common, None)?;
    let rate = common.rate.unwrap_or(RATE);
    let count = options.count.or(common.duration.is_none().then_some(common.users));
    let mut plan = base_plan(common, &place, Job::Register, load(common, rate, count, common.duration))?;
    let user = options.user.clone().or_else(|| plan.secret.as_ref().map(|(user, _)| user.clone()));
    plan.from =
        user.ok_or_else(|| Trouble::usage("who registers? Give --user 'user{}', or --auth 'user{}:password'"))?;
    if common.users > 1 && !plan.from.is_numbered() {
        return Err(Trouble::usage("--users: the user's name must hold {}, where its number goes, as in 'user{}'"));
    }
    plan.reuse_nonce = options.reuse_nonce;
    plan.concurrent = options.concurrent.div_ceil(u32::from(common.threads)) as usize;
    let longest = load_time(&plan.load) + common.t1 * 192 + SLACK * 5;
    let mut setup = open(common, plan, &place, None, (1, 1), options.concurrent, None)?;
    setup.timeout = common.timeout.or(Some(longest));
    Ok(setup)
}

/// Prepares `rtp`.
pub fn rtp(options: &cli::Rtp) -> Result<Setup, Trouble> {
    let common = &options.common;
    let place = place(common, (options.via == cli::Via::Nothing).then_some(SocketAddr::from(([127, 0, 0, 1], 9))))?;
    let duration = common.duration.unwrap_or(DURATION);
    let load = load(common, f64::from(options.streams), Some(u64::from(options.streams)), Some(duration));
    let mut plan = base_plan(common, &place, Job::Streams, load)?;
    plan.rtp = true;
    plan.flow.frames = flow::frames(&options.audio, Codec::Pcmu)?;
    plan.hold = Distribution::Fixed(duration);
    plan.concurrent = options.streams.div_ceil(u32::from(common.threads)) as usize;
    plan.concurrent_uas = plan.concurrent;
    let relay = match options.via {
        cli::Via::Ng => Some(ng::Client::connect(place.target, random()?.next_u64() as u32)?),
        cli::Via::Nothing => None,
    };
    let mut setup = open(common, plan, &place, None, options.rtp_ports, options.streams, relay)?;
    setup.timeout = common.timeout.or(Some(duration + SLACK * 5));
    Ok(setup)
}

/// Where the ends of each pair send: to the relay, or to each other.
fn join(
    relay: &mut Option<ng::Client>,
    first: usize,
    ports: &[(Role, SocketAddr)],
) -> Result<Vec<[SocketAddr; 2]>, Trouble> {
    let (uac, uas) = ports.split_at(ports.len() / 2);
    let ends = uac.iter().zip(uas).map(|(uac, uas)| [uac.1, uas.1]).enumerate();
    ends.map(|(number, ends)| match relay {
        Some(relay) => relay.pair(first + number, ends),
        None => Ok([ends[1], ends[0]]),
    })
    .collect()
}

/// Opens every socket.
pub fn open(
    common: &cli::Common,
    plan: Plan,
    place: &Place,
    uas_listen: Option<SocketAddr>,
    rtp_range: (u16, u16),
    concurrent: u32,
    mut relay: Option<ng::Client>,
) -> Result<Setup, Trouble> {
    let (uac, answers) = match plan.job {
        Job::Calls { uac, uas } => (uac, uas),
        Job::Register => (true, false),
        Job::Streams => (false, false),
    };
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
            Some(bind) => Some(sockets.uas(&plan, bind, threads > 1)?),
            None => None,
        };
        uas = uas_opened.map(|(_, local)| local);
        let media_base = sockets.count();
        let ips = [place.local.first.ip(), uas.map_or(place.local.first.ip(), |uas| uas.ip())];
        let media_ports = sockets.media(&mut ports, ips, rtp_per_core)?;
        let remotes = match plan.job {
            Job::Streams => join(&mut relay, usize::from(core) * plan.concurrent, &media_ports)?,
            _ => Vec::new(),
        };
        let (sockets, driver) = (sockets.count() as usize, sockets.driver);
        let (cores, random) = (common.threads, random()?);
        let options =
            Options { plan: plan.clone(), core, cores, uac, uas: uas_opened, media_base, media_ports, remotes, random };
        opened.push(Core { driver, sockets, station: Station::new(now(), options) });
    }
    let (backend, local) = (choice.name(), place.local.first);
    Ok(Setup { plan, cores: opened, pins, backend, local, uas, timeout: None, concurrent, notes, relay })
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
