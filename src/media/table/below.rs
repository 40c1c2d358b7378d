//! The relay's dealings with the fast path: who goes down and when, who comes up, and what is read of those below.

use super::Relay;
use crate::base::{Instant, Side, Slot, SocketKey};
use crate::media::path::{FastPath, FastRule, PathRequest, PathTotals, REFUSED_REST, SETTLE, SWEEP, Swept};
use crate::media::stream::Component;
use crate::media::table::frozen::LeftBelow;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

impl Relay {
    /// From now on what is settled goes by `fast`; pairs that nobody has are closed to all. What the life before has left
    /// below is adopted: `fast` has its rules already.
    pub fn set_fast_path(&mut self, now: Instant, mut fast: Box<dyn FastPath>) {
        let left = std::mem::take(&mut self.left_below);
        let adopted: BTreeSet<_> = left.iter().filter_map(|left| self.adopt(now, &mut *fast, left)).collect();
        for (v6, pool) in [false, true].into_iter().zip(&self.pools) {
            for (port, is_failed) in pool.iter().flat_map(|pool| pool.all()) {
                let key = self.key(v6, port);
                if adopted.contains(&key) {
                    continue;
                }
                let is_used = self.index(key).is_some_and(|index| self.places[index].is_some());
                let is_open = is_used || is_failed;
                fast.apply(now, if is_open { PathRequest::Opened { key } } else { PathRequest::Closed { key } });
            }
        }
        self.fast = Some(fast);
        self.sweep_at = now + SWEEP;
    }

    fn adopt(&mut self, now: Instant, fast: &mut dyn FastPath, left: &LeftBelow) -> Option<SocketKey> {
        let LeftBelow { slot, side, payload_type, mark } = *left;
        let tenant = self.streams.get_mut(slot)?;
        let to = tenant.stream.rule_below(side)?.0.to.ip();
        let half = &mut tenant.stream.halves[side.index()];
        let key = half.rtp_socket;
        if !fast.apply(now, PathRequest::Adopted { key, to, mark }) {
            return None;
        }
        half.adopt(payload_type);
        self.below += 1;
        Some(key)
    }

    /// Whether there is a fast path, and which.
    #[must_use]
    pub fn fast_path(&self) -> Option<&'static str> {
        self.fast.as_ref().map(|fast| fast.name())
    }

    /// Directions that are down.
    #[must_use]
    pub fn sides_below(&self) -> usize {
        self.below
    }

    /// Nothing of this source is to reach us until then, but what a rule covers.
    pub fn block(&mut self, now: Instant, source: IpAddr, until: Instant) {
        if let Some(fast) = &mut self.fast {
            fast.block(now, source, until);
        }
    }

    /// While it is held, nothing is relayed below: everything comes up and stays up.
    pub fn hold_fast_path(&mut self, now: Instant, held: bool) {
        if self.fast.is_none() || held == self.held {
            return;
        }
        self.held = held;
        let slots: Vec<Slot> = self.streams.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            if held {
                Side::BOTH.iter().for_each(|side| self.raise(now, slot, *side));
            } else {
                self.follow(now, slot);
            }
        }
    }

    /// What the fast path did with packets that no rule covers, on the whole node; one shard alone says it.
    pub fn totals_below(&mut self) -> Option<PathTotals> {
        self.fast.as_mut()?.totals()
    }

    pub(super) fn ask_below(&mut self, now: Instant, request: PathRequest) {
        if let Some(fast) = &mut self.fast {
            fast.apply(now, request);
        }
    }

    /// Takes a side up, and into its figures what it did below.
    pub(super) fn raise(&mut self, now: Instant, slot: Slot, side: Side) {
        let (Some(tenant), Some(fast)) = (self.streams.get_mut(slot), &mut self.fast) else { return };
        let half = &mut tenant.stream.halves[side.index()];
        if half.lane.down.is_none() {
            return;
        }
        let key = half.rtp_socket;
        fast.apply(now, PathRequest::Up { key });
        let counts = fast.read(now, key);
        tenant.stream.take(side, &counts, &mut self.events);
        tenant.stream.halves[side.index()].raise(now + SETTLE);
        self.counts.take(&counts);
        self.counts.moves_up += 1;
        self.below -= 1;
    }

    /// After anything that may have changed a rule: what is down and does not fit comes up, and the stream's timer comes
    /// as soon as something may go down.
    pub(super) fn follow(&mut self, now: Instant, slot: Slot) {
        if self.fast.is_none() {
            return;
        }
        for side in Side::BOTH {
            if self.streams.get(slot).is_some_and(|tenant| tenant.stream.halves[side.index()].lane.stale) {
                self.raise(now, slot, side);
            }
        }
        let Some(tenant) = self.streams.get_mut(slot).filter(|_| !self.held) else { return };
        let ready = |side: &Side| {
            let lane = tenant.stream.halves[side.index()].lane;
            (lane.down.is_none() && tenant.stream.rule_below(*side).is_some()).then_some(lane.ready)
        };
        let Some(due) = Side::BOTH.iter().filter_map(ready).min().filter(|due| *due < tenant.due) else { return };
        if let Some(timer) = tenant.timer.take() {
            self.timers.cancel(timer);
        }
        (tenant.timer, tenant.due) = (self.timers.schedule(due, slot).ok(), due);
    }

    /// Takes down each side whose rule has stood long enough; when to look again for one that has not.
    pub(super) fn lower_what_is_due(&mut self, now: Instant, slot: Slot) -> Option<Instant> {
        self.fast.as_ref().filter(|_| !self.held)?;
        let mut next = None;
        for side in Side::BOTH {
            let Some(tenant) = self.streams.get(slot) else { continue };
            let half = &tenant.stream.halves[side.index()];
            if half.lane.down.is_some() || tenant.stream.rule_below(side).is_none() {
                continue;
            }
            let mut ready = half.lane.ready;
            if ready <= now {
                match self.lower(now, slot, side) {
                    None => continue,
                    Some(later) => ready = later,
                }
            }
            next = Some(next.map_or(ready, |next: Instant| next.min(ready)));
        }
        next
    }

    /// None when it is down now; else when to ask again.
    fn lower(&mut self, now: Instant, slot: Slot, side: Side) -> Option<Instant> {
        let (Some(tenant), Some(fast)) = (self.streams.get_mut(slot), &mut self.fast) else { return None };
        let (rule, clock_rate, far) = tenant.stream.rule_below(side)?;
        let address = if far.options.v6 { self.config.v6 } else { self.config.v4 }?;
        let rule = FastRule {
            source: rule.source,
            to: rule.to,
            from: SocketAddr::new(address.bind, far.port),
            ssrc: rule.expect.ssrc(),
            payload_type: rule.expect.payload_type(),
            clock_rate,
            dscp: far.options.dscp,
        };
        let half = &mut tenant.stream.halves[side.index()];
        if !fast.apply(now, PathRequest::Down { key: half.rtp_socket, rule }) {
            self.counts.moves_refused += 1;
            half.lane.ready = now + REFUSED_REST;
            return Some(half.lane.ready);
        }
        half.lower(rule.payload_type);
        self.counts.moves_down += 1;
        if self.below == 0 {
            self.sweep_at = now + SWEEP;
        }
        self.below += 1;
        None
    }

    /// Reads a side that is down: before its silence is judged, and before a packet of its own that came up.
    pub(super) fn read(&mut self, now: Instant, slot: Slot, side: Side) {
        let (Some(tenant), Some(fast)) = (self.streams.get_mut(slot), &mut self.fast) else { return };
        let half = &tenant.stream.halves[side.index()];
        if half.lane.down.is_some() {
            let counts = fast.read(now, half.rtp_socket);
            tenant.stream.take(side, &counts, &mut self.events);
            self.counts.take(&counts);
        }
    }

    /// The last sweep before `due`, which a stream may as well look at its time with: where packets never come up, timers of
    /// their own are most of what wakes a shard. Earlier than asked is never wrong.
    pub(super) fn with_a_sweep(&self, due: Instant) -> Instant {
        if self.below == 0 || due < self.sweep_at {
            return due;
        }
        let beyond = due.since(self.sweep_at).as_nanos() % SWEEP.as_nanos();
        Instant::from_nanos(due.as_nanos().saturating_sub(u64::try_from(beyond).unwrap_or(0)))
    }

    /// Keeps what is down alive, and reads it all.
    pub(super) fn sweep(&mut self, now: Instant) {
        if self.below == 0 || now < self.sweep_at {
            return;
        }
        // In step, so that streams that look with a sweep wake nobody besides.
        let next = self.sweep_at + SWEEP;
        self.sweep_at = if next > now { next } else { now + SWEEP };
        let Some(mut fast) = self.fast.take() else { return };
        fast.sweep(now, &mut |key, swept| {
            let place = self.index(key).and_then(|index| self.places[index]);
            let Some(place) = place.filter(|place| place.component == Component::Rtp) else { return };
            let Some(tenant) = self.streams.get_mut(place.slot) else { return };
            match swept {
                Swept::Counts(counts) => {
                    tenant.stream.take(place.side, &counts, &mut self.events);
                    self.counts.take(&counts);
                }
                Swept::Refused => {
                    let half = &mut tenant.stream.halves[place.side.index()];
                    if half.lane.down.is_some() {
                        half.raise(now + REFUSED_REST);
                        self.counts.moves_refused += 1;
                        self.below -= 1;
                    }
                }
            }
        });
        self.fast = Some(fast);
    }
}

#[cfg(test)]
mod tests;
