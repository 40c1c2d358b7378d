//! The plan of `calls`, and of what is made of calls: the trials of `find-max`, `ramp`, `rtp --via sip`.

use std::time::Duration;

use super::{Besides, DURATION, RATE, SLACK, Setup, base_plan, load, load_time, open, place, secret};
use crate::cli;
use crate::core::digest::Secret;
use crate::core::distribution::Distribution;
use crate::core::pattern::Pattern;
use crate::core::{Job, Role, steps};
use crate::flow;
use crate::preflight::Trouble;

/// Calls at once when only answering.
const CONCURRENT_UAS: u32 = 1000;

/// Room for the calls that are up at once: the mean, and where their number varies five standard deviations of its Poisson
/// distribution.
fn calls_up(mean: f64, hold: Distribution) -> u32 {
    let varying = if matches!(hold, Distribution::Fixed(_)) { 0.0 } else { 5.0 * mean.sqrt() };
    ((mean + varying).ceil().min(1e7) as u32).saturating_add(10)
}

/// Prepares `calls`.
pub fn calls(options: &cli::Calls) -> Result<Setup, Trouble> {
    calls_shaped(options, Shape::default())
}

/// Prepares `calls` whose figures begin anew after `settle`.
pub fn calls_measured(options: &cli::Calls, settle: Duration) -> Result<Setup, Trouble> {
    calls_shaped(options, Shape { settle, ..Shape::default() })
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
    let steps = steps::shape(options.low, options.high, options.steps, options.step, top);
    let mut calls = options.calls.clone();
    calls.common.rate = Some(options.low.max(options.high));
    calls.common.duration = Some(steps.iter().map(|&(_, length)| length).sum());
    calls_shaped(&calls, Shape { steps, ..Shape::default() })
}

/// What other commands ask of calls besides.
#[derive(Default)]
pub(super) struct Shape {
    /// Rates one after the other, each for so long.
    pub steps: Vec<(f64, Duration)>,
    /// Figures begin anew after so long.
    pub settle: Duration,
    /// All media ends then, counted from the first arrival.
    pub media_end: Option<Duration>,
}

/// Prepares calls.
pub(super) fn calls_shaped(options: &cli::Calls, shape: Shape) -> Result<Setup, Trouble> {
    let common = &options.common;
    let answers = !options.uac;
    if answers && !options.uas && options.parties.uas_listen.is_none() && options.parties.register_uas.is_none() {
        return Err(Trouble::usage(
            "who answers the calls? Say where the answering side listens (--uas-listen IP:PORT, with a route to it in \
             the target), or register it (--register-uas USER:PASSWORD), or leave it out (--uac)",
        ));
    }
    if options.uas && options.parties.uas_listen.is_none() && options.parties.register_uas.is_none() {
        return Err(Trouble::usage("--uas needs --uas-listen IP:PORT, or --register-uas USER:PASSWORD"));
    }
    let place =
        place(common, options.parties.uas_listen.filter(|_| options.uas && options.parties.register_uas.is_none()))?;
    let register_uas = secret(&options.parties.register_uas, "--register-uas")?
        .map(|(user, password)| Secret { user: user.fill(0), password: password.fill(0) });
    let up = (options.hold.mean() + options.ring).max(Duration::from_millis(10));
    let kept_up = options.concurrent.filter(|_| common.rate.is_none()).map(|calls| f64::from(calls) / up.as_secs_f64());
    let rate = common.rate.or(kept_up).unwrap_or(RATE);
    let duration = common.duration.or(options.calls.is_none().then_some(DURATION));
    let load = load(common, rate, options.calls, duration);
    let job = Job::Calls { uac: !options.uas, uas: answers };
    let mut plan = base_plan(common, &place, job, load)?;
    (plan.steps, plan.settle, plan.media_end) = (shape.steps, shape.settle, shape.media_end);
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
    plan.setup_max = options.parties.setup_max;
    plan.rtp = options.rtp != cli::Codec::Off;
    plan.flow = flow::plan(options)?;
    plan.hangup = if options.hangup == cli::Side::Uac { Role::Uac } else { Role::Uas };
    if let Some((user, _)) = &plan.secret {
        plan.from = user.clone();
    }
    if let Some(user) = &options.parties.from {
        plan.from = user.clone();
    }
    let registered = register_uas.as_ref().and_then(|secret| Pattern::parse(&secret.user).ok());
    if let Some(user) = options.parties.to.clone().or(registered) {
        plan.to = user;
    }
    plan.register_uas = register_uas;
    let longest = load_time(&plan.load)
        + options.hold.longest()
        + options.ring
        + options.parties.setup_max
        + common.t1 * 128
        + SLACK * 5;
    let mut setup =
        open(common, plan, &place, options.parties.uas_listen, options.rtp_ports, concurrent, Besides::Nothing)?;
    setup.timeout = common.timeout.or((!options.uas).then_some(longest));
    Ok(setup)
}
