//! The plan of `rtp`: media alone, through nothing, through a relay that is asked for its ports, or through a SIP server.
//!
//! Through a SIP server the streams are calls that are all set up before anything is measured, and whose media ends in one
//! instant before the first of them is hung up: what is measured is media alone, as with the others.

use std::net::SocketAddr;
use std::time::Duration;

use super::calls::{Shape, calls_shaped};
use super::{Besides, DURATION, SLACK, Setup, base_plan, load, open, place, random};
use crate::cli;
use crate::core::distribution::Distribution;
use crate::core::{Job, Role};
use crate::flow;
use crate::ng;
use crate::preflight::Trouble;
use crate::sound::g711::Codec;

/// Calls set up per second when nothing is said.
const SET_UP_RATE: f64 = 100.0;
/// From the last packet of all streams to the first hang-up.
const TAIL: Duration = Duration::from_millis(500);

/// Prepares `rtp`.
pub fn rtp(options: &cli::Rtp) -> Result<Setup, Trouble> {
    if options.via == cli::Via::Sip {
        return through_a_server(options);
    }
    if let Some(option) = options.sip.named() {
        return Err(Trouble::usage(format!("{option} is about calls: give --via sip, or leave it out")));
    }
    let common = &options.common;
    let place = place(common, (options.via == cli::Via::Nothing).then_some(SocketAddr::from(([127, 0, 0, 1], 9))))?;
    let duration = common.duration.unwrap_or(DURATION);
    let load = load(common, f64::from(options.streams), Some(u64::from(options.streams)), Some(duration));
    let mut plan = base_plan(common, &place, Job::Streams, load)?;
    plan.rtp = true;
    plan.settle = settle(options, duration)?;
    plan.flow.frames = flow::frames(&options.audio, Codec::Pcmu)?;
    plan.hold = Distribution::Fixed(duration);
    plan.concurrent = options.streams.div_ceil(u32::from(common.threads)) as usize;
    plan.concurrent_uas = plan.concurrent;
    let besides = match options.via {
        cli::Via::Ng => Besides::Relay(ng::Client::connect(place.target, random()?.next_u64() as u32)?),
        cli::Via::Nothing | cli::Via::Sip => Besides::Nothing,
    };
    let mut setup = open(common, plan, &place, None, options.rtp_ports, options.streams, besides)?;
    setup.timeout = common.timeout.or(Some(duration + SLACK * 5));
    Ok(setup)
}

/// How long before figures count; something must be left.
fn settle(options: &cli::Rtp, duration: Duration) -> Result<Duration, Trouble> {
    if options.settle >= duration {
        return Err(Trouble::usage("--settle: nothing is left to measure; give a longer --duration"));
    }
    Ok(options.settle)
}

/// As many calls as streams, from one trunk to another.
fn through_a_server(options: &cli::Rtp) -> Result<Setup, Trouble> {
    if options.sip.uas_listen.is_none() && options.sip.register_uas.is_none() {
        return Err(Trouble::usage(
            "--via sip: who answers the calls that carry the streams? Say where the answering side listens (--uas-listen IP:PORT, \
             with a route to it in the target), or register it (--register-uas USER:PASSWORD)",
        ));
    }
    let common = &options.common;
    let rate = common.rate.unwrap_or(SET_UP_RATE);
    let duration = common.duration.unwrap_or(DURATION);
    let set_up = Duration::from_secs_f64(f64::from(options.streams) / rate);
    let settle = set_up + settle(options, duration)?;
    let media_end = set_up + duration;
    let calls = cli::Calls {
        common: cli::Common { rate: Some(rate), duration: None, ..common.clone() },
        hold: Distribution::Fixed(media_end + TAIL),
        concurrent: Some(options.streams),
        calls: Some(u64::from(options.streams)),
        rtp: cli::Codec::Pcmu,
        rtp_ports: options.rtp_ports,
        rtp_loss_max: options.rtp_loss_max,
        uac: false,
        uas: false,
        parties: options.sip.clone(),
        ring: Duration::ZERO,
        hangup: cli::Side::Uac,
        flow: cli::FlowOptions::default(),
        audio: options.audio.clone(),
    };
    calls_shaped(&calls, Shape { settle, media_end: Some(media_end), ..Shape::default() })
}

/// Where the ends of each pair send: to the relay, or to each other.
pub(super) fn join(
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
