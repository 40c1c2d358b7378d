//! How a life ends: everybody goes home and nothing may be left, or the appliance is switched off in the middle of things.

use super::{Life, Mood};
use crate::balance;
use strowger::base::time::Duration;
use strowger::base::{Instant, ShardId};
use strowger::phone::{Answering, Then};
use strowger::shard::Mail;

/// Longest that a town may need to come to rest after everybody has hung up: a ring timeout and two transactions.
const REST: Duration = Duration::from_secs(300);
/// Longest time for the last registrations to be taken back.
const GOODBYE: Duration = Duration::from_secs(300);
/// A shard told to stop says goodbye to its calls and ends within this.
const STOP: Duration = Duration::from_secs(5);

impl Life {
    /// Most lives end with everybody going home, some with the appliance being switched off in the middle of things.
    pub(super) fn close(&mut self) -> Result<(), String> {
        if self.chance(80) {
            self.go_home()?;
        }
        let Some(appliance) = &mut self.world.appliance else { return Ok(()) };
        appliance.paused_until.fill(Instant::ZERO);
        let shards = appliance.shards.len();
        for shard in (0..shards).map(|shard| ShardId(shard as u8)) {
            self.world.post(shard, Mail::Drain);
            self.world.post(shard, Mail::Stop);
        }
        let end = self.world.now + STOP;
        while self.world.step(end) {}
        let stopped = self.world.appliance.as_ref().map_or(0, |appliance| appliance.stopped.len());
        if let Some(appliance) = &self.world.appliance {
            balance::below(appliance)?;
        }
        if stopped == shards { Ok(()) } else { Err(format!("{stopped} of {shards} shards stopped")) }
    }

    /// The network heals, everybody hangs up; then nothing may be left.
    fn go_home(&mut self) -> Result<(), String> {
        self.world.network.heal();
        let wait = self.world.stations.iter().map(|station| station.paused_until.max(station.off_until)).max();
        let pauses = self.world.appliance.as_ref().and_then(|appliance| appliance.paused_until.iter().max().copied());
        let until = wait.max(pauses).unwrap_or_default();
        self.run(until.since(self.world.now) + Duration::from_secs(1))?;
        let end = self.world.now + REST;
        while self.world.now < end && !balance::is_quiet(&self.world) {
            self.hang_up_all();
            self.run(Duration::from_secs(2))?;
        }
        if self.world.stations.iter().any(|station| station.life > 0) {
            self.hang_up_orphans()?;
        }
        if !balance::is_quiet(&self.world) {
            let audit = self.world.appliance.as_ref().map(|appliance| appliance.audit());
            return Err(format!("no rest {} s after everybody hung up: {audit:?}", REST.as_secs()));
        }
        let now = self.world.now;
        for station in &mut self.world.stations {
            if station.phone.options().login.is_some() {
                station.phone.unregister_all(now);
            }
        }
        self.world.drain();
        self.run(GOODBYE)?;
        balance::at_the_end(&self.world)?;
        if self.mood == Mood::Good && !self.small { balance::after_good_times(&self.world) } else { Ok(()) }
    }

    /// A call on hold whose two phones were both switched off and on is known to nobody but the appliance; silence
    /// is what hold is, so that only the operator can tell.
    fn hang_up_orphans(&mut self) -> Result<(), String> {
        if let Some(appliance) = &mut self.world.appliance {
            self.orphans = appliance.hang_up_all(self.world.now);
            self.world.drain();
            self.run(Duration::from_secs(70))?;
        }
        Ok(())
    }

    fn hang_up_all(&mut self) {
        let now = self.world.now;
        for station in &mut self.world.stations {
            station.phone.set_answering(Answering { then: Then::Reject(486), ..Answering::default() });
            for call in station.phone.lines() {
                station.phone.hang_up(now, call);
            }
        }
        self.world.drain();
    }
}
