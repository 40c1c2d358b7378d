//! `strowger-loadgen sipp`: from a scenario and its options to threads ready to run.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use time::OffsetDateTime;

use crate::cli;
use crate::core::{Job, Role};
use crate::machine::now;
use crate::preflight::Trouble;
use crate::scenario::engine::Environment;
use crate::scenario::inject::Injection;
use crate::scenario::program::Program;
use crate::scenario::read::{Given, read};
use crate::scenario::variable::{Scope, VarId};
use crate::scenario::xml::decode;
use crate::setup::{self, Besides, RATE, Setup};

/// Time a call may take besides its pauses before it counts on top of the calls up at once.
const SLACK: Duration = Duration::from_secs(4);
/// Calls at once where they cost no port.
const CONCURRENT: u32 = 5_000;
/// Calls at once when only answering, with a port each.
const CONCURRENT_WITH_MEDIA: u32 = 500;
/// Largest scenario, capture or file of values.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Prepares `sipp`; nothing to run where the scenario was only to be read.
pub fn sipp(options: &cli::Sipp) -> Result<Option<Setup>, Trouble> {
    let (file, target) = names(options)?;
    let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
    let load = |name: &str| load(&folder, name);
    let (keys, set) = (pairs(&options.keys), pairs(&options.set));
    let injections = options.inf.iter().map(|name| {
        let bytes = load(name).map_err(Trouble::usage)?;
        Injection::parse(name, &bytes, &keys, &load).map_err(Trouble::usage)
    });
    let injections = injections.collect::<Result<Vec<_>, _>>()?;
    let shown = file.display().to_string();
    let bytes = load_path(&file).map_err(Trouble::usage)?;
    let given = Given { keys: &keys, files: &options.inf, load: &load };
    let program = read(&shown, &decode(&bytes), given).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Trouble::usage(format!("the scenario cannot be run\n{}", lines.join("\n")))
    })?;
    let set = assign(&program, set)?;
    examine(options, &program)?;
    if options.parse {
        program.notes.iter().for_each(|note| eprintln!("{note}"));
        println!("{shown}: '{}', {} commands, nothing wrong", program.name, program.commands.len());
        return Ok(None);
    }
    run(options, target, program, injections, set).map(Some)
}

/// The scenario's file and the target, wherever they stand.
fn names(options: &cli::Sipp) -> Result<(PathBuf, Option<String>), Trouble> {
    let mut words = options.words.iter();
    let file = options.sf.clone().or_else(|| words.next().map(PathBuf::from));
    let file =
        file.ok_or_else(|| Trouble::usage("which scenario? Give its file: strowger-loadgen sipp SCENARIO.xml"))?;
    let target = options.common.target.clone().or_else(|| words.next().cloned());
    match words.next() {
        Some(word) => Err(Trouble::usage(format!("'{word}': a scenario and one target are enough"))),
        None => Ok((file, target)),
    }
}

fn pairs(words: &[String]) -> Vec<(String, String)> {
    words.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

/// A file named in a scenario: as it stands, or beside the scenario.
fn load(folder: &Path, name: &str) -> Result<Vec<u8>, String> {
    let direct = Path::new(name);
    if direct.exists() || direct.is_absolute() {
        return load_path(direct);
    }
    let beside = folder.join(name);
    if beside.exists() {
        return load_path(&beside);
    }
    Err(format!("{name}: there is no such file here or beside the scenario"))
}

fn load_path(path: &Path) -> Result<Vec<u8>, String> {
    let wrong = |error: std::io::Error| format!("{}: cannot be read: {error}", path.display());
    let size = fs::metadata(path).map_err(wrong)?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("{}: is larger than {FILE_BYTES_MAX} bytes", path.display()));
    }
    fs::read(path).map_err(wrong)
}

fn assign(program: &Program, set: Vec<(String, String)>) -> Result<Vec<(VarId, String)>, Trouble> {
    let find = |(name, value): (String, String)| {
        let variables = &program.variables.list;
        let index = variables.iter().position(|variable| variable.name == name && variable.scope == Scope::Global);
        index
            .map(|index| (VarId(index), value))
            .ok_or_else(|| Trouble::usage(format!("--set {name}: the scenario has no <Global variables=\"{name}\"/>")))
    };
    set.into_iter().map(find).collect()
}

/// What does not go together.
fn examine(options: &cli::Sipp, program: &Program) -> Result<(), Trouble> {
    let shared = program.variables.list.iter().find(|variable| variable.scope != Scope::Call);
    if let Some(variable) = shared.filter(|_| options.common.threads > 1) {
        return Err(Trouble::usage(format!(
            "variable {} outlives a call, and threads share nothing: leave --threads out",
            variable.name
        )));
    }
    for assertion in &options.common.asserts {
        for (name, known, attribute) in
            [(assertion.timer(), &program.timers, "rtd"), (assertion.counter(), &program.counters, "counter")]
        {
            let Some(name) = name.filter(|name| !known.iter().any(|known| known == name)) else { continue };
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let meant = crate::scenario::problem::instead(name, &known);
            return Err(Trouble::usage(format!(
                "--assert '{}': the scenario has no {attribute}=\"{name}\"{meant}",
                assertion.text
            )));
        }
    }
    Ok(())
}

fn run(
    options: &cli::Sipp,
    target: Option<String>,
    program: Program,
    injections: Vec<Injection>,
    set: Vec<(VarId, String)>,
) -> Result<Setup, Trouble> {
    let common = &options.common;
    let calls_out = program.role == Role::Uac;
    if calls_out && target.is_none() {
        return Err(Trouble::usage(
            "this scenario calls; whom? Give --target HOST:PORT, or HOST:PORT after the scenario",
        ));
    }
    let listen = if calls_out { None } else { Some(listen(options, target.as_deref())?) };
    let mut place = setup::place_of(target.as_deref(), common.bind, listen)?;
    if let (Some(port), true) = (options.port, calls_out) {
        place.local.first.set_port(port);
    }
    let notes = program.notes.clone();
    let up = program.pauses(options.pause);
    let env = Environment {
        service: options.service.clone(),
        remote_host: target.map(|_| place.host.clone()),
        pid: std::process::id(),
        media_ip: options.media_ip.unwrap_or(listen.map_or(place.local.first.ip(), |listen| listen.ip())),
        media_port: options.media_port,
        pause: options.pause,
        base_cseq: options.base_cseq,
        receive_timeout: options.receive_timeout,
        retransmit: !options.no_retransmit,
        t2: common.t1 * 8,
        retransmissions_max: options.retransmissions.map_or([5, 7], |most| [most, most]),
        auto_answer: options.auto_answer,
        ignore_in_pauses: options.ignore_in_pauses,
        give_up_politely: !options.no_defaults,
        echo: options.rtp_echo,
        wall_nanos_at_zero: OffsetDateTime::now_utc().unix_timestamp_nanos() - i128::from(now().as_nanos()),
        program,
        injections,
        set,
    };
    let (rate, concurrent) = bounds(options, &env, up);
    let duration = common.duration.or((calls_out && options.calls.is_none()).then_some(setup::DURATION));
    let load = setup::load(common, rate, options.calls, duration);
    let job = Job::Calls { uac: calls_out, uas: !calls_out };
    let mut plan = setup::base_plan(common, &place, job, load)?;
    let per_core = concurrent.div_ceil(u32::from(common.threads)) as usize;
    (plan.concurrent, plan.concurrent_uas) = if calls_out { (per_core, 0) } else { (0, concurrent as usize) };
    plan.rtp = env.needs_media();
    // The last retransmission of a BYE is 32 T1 after the first.
    let longest = setup::load_time(&plan.load) + up + options.receive_timeout.unwrap_or_default() + common.t1 * 192;
    let scenario = Besides::Scenario(env.into());
    let mut setup = setup::open(common, plan, &place, listen, options.rtp_ports, concurrent, scenario)?;
    setup.timeout = common.timeout.or(calls_out.then_some(longest + SLACK * 5));
    setup.notes.extend(notes);
    Ok(setup)
}

/// Rate, and calls at once.
fn bounds(options: &cli::Sipp, env: &Environment, up: Duration) -> (f64, u32) {
    let calls_out = env.program.role == Role::Uac;
    let kept_up = options.concurrent.filter(|_| options.common.rate.is_none());
    let up_s = up.max(Duration::from_millis(10)).as_secs_f64();
    let kept_up = kept_up.map(|calls| f64::from(calls) / up_s);
    let rate = options.common.rate.or(kept_up).unwrap_or(RATE);
    let derived = ((rate * (up + SLACK).as_secs_f64()).ceil().min(1e6) as u32).saturating_add(10);
    let concurrent = match (options.concurrent, env.needs_media()) {
        (Some(calls), _) if options.common.rate.is_some() || !calls_out => calls,
        (_, true) if calls_out => derived,
        (None, true) => CONCURRENT_WITH_MEDIA,
        _ => derived.max(CONCURRENT),
    };
    let most = options.calls.map_or(u32::MAX, |calls| u32::try_from(calls).unwrap_or(u32::MAX));
    // Calls that have ended may still be in their timewait when as many again have come.
    (rate, if calls_out { concurrent.min(most) } else { concurrent })
}

/// Where a scenario that answers listens; port 5060 unless another is given, as with SIPp.
fn listen(options: &cli::Sipp, target: Option<&str>) -> Result<SocketAddr, Trouble> {
    let bind = options.common.bind;
    let port = options.port.or(bind.map(|bind| bind.first.port()).filter(|&port| port != 0)).unwrap_or(5060);
    let ip: IpAddr = match (bind, target) {
        (Some(bind), _) => bind.first.ip(),
        (None, Some(target)) => crate::preflight::local_address(crate::preflight::resolve(target, None)?.1)?,
        (None, None) => {
            return Err(Trouble::usage(
                "this scenario answers; where? Give --bind IP:PORT (SIPp's -i IP -p PORT is understood, too)",
            ));
        }
    };
    if ip.is_unspecified() {
        return Err(Trouble::usage(
            "--bind: give an address that can stand in Contact and SDP, not the unspecified one",
        ));
    }
    Ok(SocketAddr::new(ip, port))
}
