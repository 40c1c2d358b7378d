//! What must hold at every moment, and what must be left when everybody has gone home: nothing.

use crate::appliance::Appliance;
use crate::station::Station;
use crate::world::World;
use std::collections::BTreeMap;
use strowger::base::time::Duration;
use strowger::base::{Instant, Slot};
use strowger::call::Audit;
use strowger::media::model::Kernel;
use strowger::phone::{Event, Report};

/// Pairs of ports of one stream: one a side.
const PAIRS_PER_STREAM: usize = 2;

/// At every step.
pub fn every_step(world: &World) -> Result<(), String> {
    let Some(appliance) = &world.appliance else { return Ok(()) };
    if let Some(fault) = &appliance.fault {
        return Err(fault.clone());
    }
    let audit = appliance.audit();
    let claim = |holds: bool, what: &str| if holds { Ok(()) } else { Err(format!("{what}: {audit:?}")) };
    claim(audit.ports == PAIRS_PER_STREAM * audit.streams, "ports and streams disagree")?;
    claim(audit.calls_live <= audit.calls, "more live calls than calls")?;
    claim(audit.calls > 0 || audit.streams == 0, "media without a call")?;
    claim(audit.calls > 0 || audit.timers == 0, "timers without a call")?;
    let below: usize = appliance.kernels.iter().map(Kernel::below).sum();
    claim(below <= audit.ports, "the kernel relays for more ports than are in use")?;
    rights(world, audit)?;
    let held = cells(world);
    let posted = world.rights_posted as u64;
    claim(held <= 2 * audit.calls as u64 + posted, "accounts count more calls than there are")?;
    claim(audit.calls > 0 || held == posted, "accounts count calls and there are none")
}

/// After the last call: the kernel has nothing open, and what it relayed stands in the records, no more and no less.
pub fn below(appliance: &Appliance) -> Result<(), String> {
    let audit = appliance.audit();
    let (below, open) =
        appliance.kernels.iter().fold((0, 0), |sum, kernel| (sum.0 + kernel.below(), sum.1 + kernel.open()));
    if audit.streams > 0 || below > 0 || open > appliance.ports_refused {
        return Err(format!("{below} ports go on in the kernel, {open} are open there: {audit:?}"));
    }
    let legs = appliance.records.iter().flat_map(|record| [Some(&record.caller), record.callee.as_ref()]).flatten();
    let told: u64 = legs.flat_map(|leg| &leg.media).map(|media| media.packets_xdp).sum();
    if told != appliance.relayed_below {
        return Err(format!("the kernel relayed {} packets, records say {told}", appliance.relayed_below));
    }
    Ok(())
}

/// Each right that an account's cell counts is held by a call, or lies in a letter; and the keeper, where there is one,
/// has been told of each that a call holds, and of none that has gone back.
fn rights(world: &World, audit: Audit) -> Result<(), String> {
    let Some(appliance) = &world.appliance else { return Ok(()) };
    let counted: u32 = appliance.directory.accounts.iter().map(|account| account.cell.read().0).sum();
    if counted as usize != audit.rights + world.rights_posted {
        let posted = world.rights_posted;
        return Err(format!("accounts count {counted} rights, {posted} are in letters, calls hold: {audit:?}"));
    }
    let Some(keeper) = &world.keeper else { return Ok(()) };
    if let Some(fault) = &keeper.fault {
        return Err(fault.clone());
    }
    if keeper.sessions() == audit.rights + audit.listed {
        return Ok(());
    }
    Err(format!("the keeper knows of {} rights in use: {audit:?}", keeper.sessions()))
}

/// Calls counted by all accounts and trunks.
fn cells(world: &World) -> u64 {
    let Some(appliance) = &world.appliance else { return 0 };
    let accounts = appliance.directory.accounts.iter().map(|account| &account.cell);
    let trunks = appliance.directory.trunks.iter().filter_map(|trunk| trunk.cell.as_ref());
    accounts.chain(trunks).map(|cell| u64::from(cell.read().0)).sum()
}

/// True when nothing is left but registrations and what refreshes them.
pub fn is_quiet(world: &World) -> bool {
    let audit = world.appliance.as_ref().map(|appliance| appliance.audit()).unwrap_or_default();
    let left = Audit { contacts: 0, transactions: 0, ..audit };
    left == Audit::default() && world.stations.iter().all(|station| station.phone.is_idle())
}

/// At the end, after unregistering.
pub fn at_the_end(world: &World) -> Result<(), String> {
    every_step(world)?;
    let audit = world.appliance.as_ref().map(|appliance| appliance.audit()).unwrap_or_default();
    if audit != Audit::default() {
        return Err(format!("something is left in the appliance: {audit:?}"));
    }
    if let Some(appliance) = &world.appliance {
        below(appliance)?;
    }
    for station in &world.stations {
        if !station.phone.is_idle() || !station.ports.is_empty() {
            return Err(format!("{} is not idle: {:?}, ports {:?}", station.name, station.phone, station.ports));
        }
    }
    media(world)
}

/// Nobody hears a damaged packet, or somebody who talks with somebody else. A phone that was switched off and on is
/// excused: calls of its last life may still speak to its ports.
fn media(world: &World) -> Result<(), String> {
    let mut reports: BTreeMap<u32, (&Station, &Report)> = BTreeMap::new();
    for station in &world.stations {
        for (_, event) in &station.events {
            if let Event::Ended { report, .. } = event {
                reports.insert(report.ssrc, (station, report));
            }
        }
    }
    for (station, report) in reports.values() {
        if report.corrupt > 0 {
            return Err(format!("{} heard damaged packets: {report:?}", station.name));
        }
        for (other, peer) in report.heard.iter().filter_map(|ssrc| reports.get(ssrc)) {
            // A caller may hear several callees before one answers; they have heard nobody but the caller.
            let strange = |heard: &&u32| {
                let known = reports.get(heard).filter(|(third, _)| third.life == 0);
                **heard != report.ssrc
                    && known.is_some_and(|(_, third)| third.heard.iter().any(|other| *other != peer.ssrc))
            };
            let excused = station.life + other.life > 0;
            if let Some(stranger) = peer.heard.iter().find(strange).filter(|_| !excused) {
                let who = reports.get(stranger).map_or("?", |(third, _)| third.name.as_str());
                return Err(format!("{} hears {}, who hears {who}: {report:?} {peer:?}", station.name, other.name));
            }
        }
    }
    Ok(())
}

/// How far apart the two ends of a call may notice its end over a good network.
const PARTING: Duration = Duration::from_secs(1);

/// Of the phones that a call rings at, one that answers silences the others. They are known by the tag of the caller,
/// which is the call's own name and the number of the leg.
fn others_are_silenced(world: &World) -> Result<(), String> {
    let mut ringing: BTreeMap<&str, Vec<(Instant, Instant, bool, &Station)>> = BTreeMap::new();
    for station in &world.stations {
        for (began, event) in &station.events {
            let Event::Incoming { call, from, .. } = event else { continue };
            let at = |wanted: fn(&Event) -> Option<Slot>| {
                station.events.iter().find(|(_, event)| wanted(event) == Some(*call)).map(|(at, _)| *at)
            };
            let answered = at(|event| if let Event::Established { call, .. } = event { Some(*call) } else { None });
            let ended = at(|event| if let Event::Ended { call, .. } = event { Some(*call) } else { None });
            let silent = answered.or(ended).unwrap_or(Instant::MAX);
            let name = from.rsplit_once('-').map_or(from.as_str(), |(name, _)| name);
            ringing.entry(name).or_default().push((*began, silent, answered.is_some(), station));
        }
    }
    for legs in ringing.values() {
        let Some(answered) = legs.iter().filter(|leg| leg.2).map(|leg| leg.1).min() else { continue };
        if let Some(late) = legs.iter().find(|leg| leg.0 < answered && leg.1.since(answered) > PARTING) {
            return Err(format!("{} rings on {:?} after another phone answered", late.3.name, late.1.since(answered)));
        }
    }
    Ok(())
}

/// Over a good network without interference: nothing lost, nothing sent again, nobody talks into the void.
pub fn after_good_times(world: &World) -> Result<(), String> {
    let mut ends: BTreeMap<u32, (Instant, &Station, &Report)> = BTreeMap::new();
    for station in &world.stations {
        let again = station.phone.counters().retransmitted;
        if again > 0 {
            return Err(format!("{} had to send {again} messages again", station.name));
        }
        for (at, event) in &station.events {
            match event {
                Event::RegistrationFailed { status } => {
                    return Err(format!("{} could not register: {status}", station.name));
                }
                Event::Ended { call, report, .. } => {
                    let is_own = |event: &&(Instant, Event)| matches!(event.1, Event::Established { call: own, .. } if own == *call);
                    let answered = station.events.iter().find(is_own).map(|(at, _)| *at);
                    let held =
                        |event: &(Instant, Event)| matches!(event.1, Event::Changed { call: own, .. } if own == *call);
                    let talked = answered.map_or(Duration::ZERO, |answered| at.since(answered));
                    if talked > PARTING && report.heard.is_empty() && !station.events.iter().any(held) {
                        return Err(format!("{} heard nobody for {talked:?}: {report:?}", station.name));
                    }
                    // Of several phones with early media one is heard at a time.
                    if report.lost + report.duplicated > 0 && report.heard.len() < 2 {
                        return Err(format!("{} missed packets: {report:?}", station.name));
                    }
                    ends.insert(report.ssrc, (*at, station, report));
                }
                _ => {}
            }
        }
    }
    others_are_silenced(world)?;
    for (at, station, report) in ends.values() {
        for (other_at, other, peer) in report.heard.iter().filter_map(|ssrc| ends.get(ssrc)) {
            if peer.heard.contains(&report.ssrc) && at.since(*other_at).max(other_at.since(*at)) > PARTING {
                return Err(format!("{} and {} did not part together: {at:?} {other_at:?}", station.name, other.name));
            }
        }
    }
    Ok(())
}
