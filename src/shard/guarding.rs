//! What a shard does about scanners: tells each source's home what it saw, does what the home says, and keeps the kernel,
//! its connections and the log in step. Who meets which measure is [`guard`](super::guard)'s business.

use super::boundary::Output;
use super::guard::{Measure, Standing, Word};
use super::handle::Shard;
use super::mailbox::{BlockedInfo, Mail};
use crate::base::time::Duration;
use crate::base::{Instant, ShardId, Source};
use crate::observe::{Counter, DropReason, Event, Gauge, Level, Suspicion, Value};
use std::net::IpAddr;

/// Mutes that are logged in a second; others are counted. Who forges addresses can bring about as many as there are.
const MUTES_LOGGED_MAX: u16 = 1;

impl Shard {
    /// True when nothing from there is to be read.
    pub(super) fn is_blocked(&self, from: IpAddr) -> bool {
        self.guard.measure(self.now, || Source::of(from)) == Some(Measure::Blocked)
    }

    /// A source did what scanners do.
    pub(super) fn suspect(&mut self, source: Source, reason: Suspicion, proven: bool) {
        let nobody = self.directory.is_exempt(source) || self.guard.is_vouched(self.now, source);
        if nobody || !self.directory.guard.enabled {
            return;
        }
        self.counters.suspicion(reason);
        let home = self.steering.home_of_source(source);
        if home == self.id {
            self.hear(source, Word::Suspect { reason, proven });
        } else if self.guard.may_tell(self.now) {
            self.tell(home, source, Word::Suspect { reason, proven });
        } else {
            self.counters.count_drop(DropReason::EvidenceFull);
        }
    }

    /// Working credentials were shown.
    pub(super) fn vouch(&mut self, source: Source, until: Instant) {
        let home = self.steering.home_of_source(source);
        if home == self.id {
            self.hear(source, Word::Vouch(until));
        } else if self.guard.vouch(self.now, source, until) || self.guard.measure(self.now, || source).is_some() {
            self.tell(home, source, Word::Vouch(until));
        }
    }

    /// An operator says that a source is no scanner; false when nothing is done about it.
    pub(super) fn unblock(&mut self, source: Source) -> bool {
        let found = self.guard.measure(self.now, || source).is_some();
        match self.steering.home_of_source(source) {
            home if home == self.id => self.hear(source, Word::Forgive),
            home => self.tell(home, source, Word::Forgive),
        }
        found
    }

    fn tell(&mut self, to: ShardId, source: Source, word: Word) {
        self.outputs.push_back(Output::Mail { to, mail: Mail::Guard { source, word } });
    }

    /// Takes what another shard, or this one, says of a source.
    pub(super) fn hear(&mut self, source: Source, word: Word) {
        match word {
            Word::Suspect { reason, proven } => {
                let judgement = self.guard.judge(self.now, &self.directory.guard, source, reason, proven);
                self.counters.add(Counter::SuspectsForgotten, u64::from(judgement.forgot));
                if let Some(standing) = judgement.standing {
                    self.proclaim(source, Some(standing));
                }
            }
            Word::Vouch(until) => {
                self.guard.vouch(self.now, source, until);
                if self.guard.forgive(self.now, source) {
                    self.proclaim(source, None);
                }
            }
            Word::Forgive => {
                if self.guard.forgive(self.now, source) {
                    self.proclaim(source, None);
                }
            }
            Word::Stands(standing) => self.stand(source, standing),
        }
    }

    /// At its home: from now on this is done about a source, by all shards and the kernel.
    fn proclaim(&mut self, source: Source, standing: Option<Standing>) {
        let was_blocked = self.guard.measure(self.now, || source) == Some(Measure::Blocked);
        self.stand(source, standing);
        let home = self.id;
        for other in (0..self.steering.shards()).map(ShardId).filter(|other| *other != home) {
            self.tell(other, source, Word::Stands(standing));
        }
        match standing {
            Some(standing) if standing.measure == Measure::Blocked => {
                self.engine.block_below(self.now, source, standing.until);
                self.counters.count(Counter::SourcesBlocked);
                self.log_measure(Level::Warn, "source blocked", source, standing);
            }
            Some(standing) => {
                self.counters.count(Counter::SourcesMuted);
                self.log_mute(source, standing);
            }
            None if was_blocked => self.engine.block_below(self.now, source, self.now),
            None => {}
        }
    }

    fn stand(&mut self, source: Source, standing: Option<Standing>) {
        self.guard.stand(self.now, source, standing);
        if standing.is_some_and(|standing| standing.measure == Measure::Blocked) {
            for stream in self.streams.of(source) {
                self.outputs.push_back(Output::CloseStream { stream });
                self.stream_gone(stream);
            }
        }
    }

    fn log_mute(&mut self, source: Source, standing: Standing) {
        if self.now >= self.mute_log.until {
            (self.mute_log.until, self.mute_log.logged) = (self.now + Duration::from_secs(1), 0);
        }
        if self.mute_log.logged >= MUTES_LOGGED_MAX {
            self.mute_log.silent += 1;
            return;
        }
        self.mute_log.logged += 1;
        self.log_measure(Level::Info, "source muted", source, standing);
    }

    fn log_measure(&mut self, level: Level, what: &'static str, source: Source, standing: Standing) {
        let mut event = Event::new(self.now, self.id, level, what)
            .text("source", source.to_string())
            .word("reason", standing.reason.as_str())
            .with("for", Value::Span(standing.until.since(standing.since)))
            .text("undo", format!("strowger unblock {source}"));
        if level == Level::Info && self.mute_log.silent > 0 {
            event = event.number("others_before", std::mem::take(&mut self.mute_log.silent));
        }
        self.outputs.push_back(Output::Event(Box::new(event)));
    }

    /// About once a second: forgets, and counts.
    pub(super) fn sweep_guard(&mut self) {
        if self.now < self.guard_sweep {
            return;
        }
        self.guard_sweep = self.now + Duration::from_secs(1);
        self.guard.sweep(self.now);
        // Not before the fast path is there, which may know them, too.
        if std::mem::take(&mut self.spare_due) {
            self.spare();
        }
        // Every shard knows the same of whom something is done about; one says it.
        if self.id == ShardId(0) {
            let count = |measure| self.guard.standings(self.now).filter(|row| row.1.measure == measure).count() as u64;
            self.counters.set(Gauge::BlockedSources, count(Measure::Blocked));
            self.counters.set(Gauge::MutedSources, count(Measure::Muted));
        }
    }

    /// With another configuration, which every shard gets: nothing is done any more about those that it spares.
    pub(super) fn spare(&mut self) {
        let directory = &self.directory;
        let is_spared = |source: &Source| !directory.guard.enabled || directory.is_exempt(*source);
        let spared: Vec<Source> = self.guard.standings(self.now).map(|row| row.0).filter(is_spared).collect();
        for source in spared {
            self.guard.forgive(self.now, source);
            self.guard.stand(self.now, source, None);
            if self.steering.home_of_source(source) == self.id {
                self.engine.block_below(self.now, source, self.now);
            }
        }
    }

    /// The kernel is told of all who are blocked.
    pub(super) fn block_all_below(&mut self) {
        let blocked = self.guard.standings(self.now).filter(|(_, standing)| standing.measure == Measure::Blocked);
        let blocked: Vec<_> = blocked.map(|(source, standing)| (*source, standing.until)).collect();
        for (source, until) in blocked {
            if self.steering.home_of_source(source) == self.id {
                self.engine.block_below(self.now, source, until);
            }
        }
    }

    /// Whom something is done about, at most so many.
    pub(super) fn list_blocked(&self, limit: usize) -> Vec<BlockedInfo> {
        let rows = self.guard.standings(self.now).take(limit);
        rows.map(|(source, standing)| BlockedInfo {
            source: source.to_string(),
            state: standing.measure.as_str(),
            reason: standing.reason.as_str(),
            since: standing.since,
            until: standing.until,
        })
        .collect()
    }
}
