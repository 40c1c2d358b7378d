//! The plan of `register`.

use super::{Besides, RATE, SLACK, Setup, base_plan, load, load_time, open, place};
use crate::cli;
use crate::core::Job;
use crate::preflight::Trouble;

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
    let mut setup = open(common, plan, &place, None, (1, 1), options.concurrent, Besides::Nothing)?;
    setup.timeout = common.timeout.or(Some(longest));
    Ok(setup)
}
