//! What must hold at every moment, and what must be left when everybody has gone home: nothing.

use crate::station::Station;
use crate::world::World;
use std::collections::BTreeMap;
use strowger::call::Audit;
use strowger::phone::{Event, Report};

/// Pairs of ports of one stream: one a side.
const PAIRS_PER_STREAM: usize = 2;

/// At every step.
pub fn every_step(world: &World) -> Result<(), String> {
    let Some(appliance) = &world.appliance else { return Ok(()) };
    let audit = appliance.audit();
    let claim = |holds: bool, what: &str| if holds { Ok(()) } else { Err(format!("{what}: {audit:?}")) };
    claim(audit.ports == PAIRS_PER_STREAM * audit.streams, "ports and streams disagree")?;
    claim(audit.calls_live <= audit.calls, "more live calls than calls")?;
    claim(audit.calls > 0 || audit.streams == 0, "media without a call")?;
    claim(audit.calls > 0 || audit.timers == 0, "timers without a call")?;
    let held = cells(world);
    claim(held <= 2 * audit.calls as u64, "accounts count more calls than there are")?;
    claim(audit.calls > 0 || held == 0, "accounts count calls and there are none")
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
                **heard != report.ssrc
                    && reports.get(heard).is_some_and(|(_, third)| third.heard.iter().any(|other| *other != peer.ssrc))
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
