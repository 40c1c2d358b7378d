//! Who scans: points for what only scanners do much of, and what follows at the threshold.
//!
//! Anybody can write anybody's address into a datagram. So there are two measures, and which one a source meets depends on
//! how sure it is that what comes from there is its own:
//!
//! - **Blocked**: nothing from there is read, in the kernel where there is a fast path, before parsing where not, and its
//!   connections are closed. Only *proven* evidence counts: what came by a connection, or with a nonce that was sent to
//!   that very source (`sip::digest`). A forger of addresses has neither.
//! - **Muted**: requests from there get no answer, but for what `call::mute` still hears. All other evidence counts. Nothing
//!   that belongs to a call, and no media, is touched.
//!
//! Neither ever meets a trunk, another site, an allowed network, nor a source from where working credentials were shown
//! within the longest call or a contact is registered (*vouched*): an office with one scanner among its phones keeps its
//! phones. Credentials that work end a mute or a block and wipe the points.
//!
//! Points wear off evenly, from the threshold to none in `guard.forget_after`; a source's score is therefore one instant,
//! that at which it has none (a leaky bucket, GCRA). Each source has a home shard, which keeps its points; the others tell
//! it what they see, at most `TOLD_MAX` times a second, and hear from it who is muted or blocked. All tables have
//! bounds; suspects with the fewest points make room first.

mod table;
#[cfg(test)]
mod tests;

use crate::base::time::Duration;
use crate::base::{Flow, Instant, Random, Source};
use crate::config;
use crate::observe::Suspicion;
use serde::{Deserialize, Serialize};
use table::{Lapses, Rows, Table};

/// Suspects whose points one shard keeps.
const SUSPECTS_MAX: usize = 32_768;
/// Sources blocked or muted, in all.
pub const STANDINGS_MAX: usize = 65_536;
/// What a shard tells the others in a second.
const TOLD_MAX: u16 = 1_000;
/// A vouch is kept so much longer than it was given for, so that not each request of a phone is news.
const GRACE: Duration = Duration::from_secs(300);

/// The points of a suspicion.
const fn weight(reason: Suspicion) -> u32 {
    match reason {
        Suspicion::Options => 1,
        Suspicion::Unauthenticated | Suspicion::Unsolicited => 2,
        Suspicion::Unparsable => 4,
        Suspicion::WrongDigest => 10,
        Suspicion::ScannerAgent => 50,
    }
}

/// What is done about a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measure {
    /// Its requests are not answered.
    Muted,
    /// Nothing from it is read.
    Blocked,
}

impl Measure {
    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Muted => "muted",
            Self::Blocked => "blocked",
        }
    }
}

/// A source that has reached the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// What is done.
    pub measure: Measure,
    /// What it did last.
    pub reason: Suspicion,
    /// From then on.
    pub since: Instant,
    /// Until then.
    pub until: Instant,
}

impl Lapses for Standing {
    fn lapses(&self) -> Instant {
        self.until
    }
}

/// What one shard tells another about a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// To its home: it behaved like a scanner.
    Suspect {
        /// What it did.
        reason: Suspicion,
        /// Nobody else did it in its name.
        proven: bool,
    },
    /// To its home: working credentials were shown there, and vouch for it until then.
    Vouch(Instant),
    /// To its home: an operator says to forget it.
    Forgive,
    /// From its home: what is done about it now.
    Stands(Option<Standing>),
}

/// When a suspect's points have worn off: the proven ones, and the others. One sort does not add to the other, so that who
/// really guesses is blocked before the requests between two guesses have it muted.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Points {
    unproven: Instant,
    proven: Instant,
}

impl Lapses for Points {
    fn lapses(&self) -> Instant {
        self.unproven.max(self.proven)
    }
}

/// Until when a source is vouched for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Vouched(Instant);

impl Lapses for Vouched {
    fn lapses(&self) -> Instant {
        self.0
    }
}

/// What one shard knows. See the head of this file.
#[derive(Debug)]
pub struct Guard {
    suspects: Table<Points>,
    vouched: Table<Vouched>,
    standings: Table<Standing>,
    random: Random,
    told_until: Instant,
    told: u16,
}

/// How much has been said of mutes.
#[derive(Debug, Default)]
pub(super) struct MuteLog {
    /// When the second ends.
    pub until: Instant,
    /// Lines in it.
    pub logged: u16,
    /// Mutes without a line since the last one.
    pub silent: u64,
}

/// A [`Guard`] at rest.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Frozen {
    suspects: Rows<Points>,
    vouched: Rows<Vouched>,
    standings: Rows<Standing>,
    /// Who goes where there is no room is drawn alike in both lives.
    random: Option<Random>,
    told: (Instant, u16),
}

/// What evidence led to.
#[derive(Debug, PartialEq, Eq)]
pub struct Judgement {
    /// A new measure.
    pub standing: Option<Standing>,
    /// Another suspect was forgotten for want of room.
    pub forgot: bool,
}

impl Guard {
    /// Knows nobody; at most `vouched_max` sources are vouched for.
    #[must_use]
    pub fn new(vouched_max: usize, mut random: Random) -> Self {
        Self {
            suspects: Table::new(SUSPECTS_MAX, &mut random),
            vouched: Table::new(vouched_max, &mut random),
            standings: Table::new(STANDINGS_MAX, &mut random),
            random,
            told_until: Instant::ZERO,
            told: 0,
        }
    }

    /// What is done about a source. Costs a comparison while nobody is.
    #[must_use]
    pub fn measure(&self, now: Instant, source: impl FnOnce() -> Source) -> Option<Measure> {
        if self.standings.is_empty() {
            return None;
        }
        self.standings.get(now, source()).map(|standing| standing.measure)
    }

    /// True when a request along this flow gets an answer only if it must. A connection shows by itself whose it is.
    #[must_use]
    pub fn mutes(&self, now: Instant, flow: &Flow) -> bool {
        let source = || Source::of(flow.remote.ip());
        !flow.transport.is_reliable() && self.measure(now, source) == Some(Measure::Muted)
    }

    /// All who are muted or blocked.
    pub fn standings(&self, now: Instant) -> impl Iterator<Item = &(Source, Standing)> {
        self.standings.rows().iter().filter(move |(_, standing)| standing.until > now)
    }

    /// Whether working credentials were shown there lately, as far as this shard knows.
    #[must_use]
    pub fn is_vouched(&self, now: Instant, source: Source) -> bool {
        self.vouched.get(now, source).is_some()
    }

    /// Whether another letter may be sent in this second.
    pub fn may_tell(&mut self, now: Instant) -> bool {
        if now >= self.told_until {
            (self.told_until, self.told) = (now + Duration::from_secs(1), 0);
        }
        self.told = self.told.saturating_add(1);
        self.told <= TOLD_MAX
    }

    /// At its home: notes what a source did, and says what follows.
    pub fn judge(
        &mut self,
        now: Instant,
        rules: &config::Guard,
        source: Source,
        reason: Suspicion,
        proven: bool,
    ) -> Judgement {
        let mut judgement = Judgement { standing: None, forgot: false };
        let held = self.standings.get(now, source).map(|standing| standing.measure);
        if self.is_vouched(now, source) || held == Some(Measure::Blocked) {
            return judgement;
        }
        let full = now + rules.forget_after;
        let per_point = rules.forget_after / rules.threshold.max(1);
        let more = |worn_off: Instant| (worn_off.max(now) + per_point * weight(reason)).min(full);
        let mut points = self.suspects.get(now, source).copied().unwrap_or(Points { unproven: now, proven: now });
        let sort = if proven { &mut points.proven } else { &mut points.unproven };
        *sort = more(*sort);
        judgement.forgot = self.suspects.put(now, &mut self.random, source, points);
        // Points that do not divide evenly may leave less than one missing.
        let reached = |worn_off: Instant| worn_off + per_point > full;
        let measure = match (reached(points.proven), reached(points.unproven)) {
            (true, _) => Measure::Blocked,
            (false, true) => Measure::Muted,
            (false, false) => return judgement,
        };
        if held != Some(measure) {
            judgement.standing = Some(Standing { measure, reason, since: now, until: now + rules.block_time });
        }
        judgement
    }

    /// Notes that working credentials were shown; true when that is news.
    pub fn vouch(&mut self, now: Instant, source: Source, until: Instant) -> bool {
        let known = self.vouched.get(now, source).map_or(now, |vouched| vouched.0);
        if until <= known {
            return false;
        }
        self.vouched.put(now, &mut self.random, source, Vouched(until + GRACE));
        true
    }

    /// Notes what is done about a source from now on.
    pub fn stand(&mut self, now: Instant, source: Source, standing: Option<Standing>) {
        match standing {
            Some(standing) => drop(self.standings.put(now, &mut self.random, source, standing)),
            None => drop(self.standings.remove(source)),
        }
    }

    /// Wipes the points of a source; true when something was done about it.
    pub fn forgive(&mut self, now: Instant, source: Source) -> bool {
        self.suspects.remove(source);
        self.standings.get(now, source).is_some()
    }

    /// About once a second.
    pub fn sweep(&mut self, now: Instant) {
        self.suspects.sweep(now);
        self.vouched.sweep(now);
        self.standings.sweep(now);
    }

    /// Everything it knows.
    #[must_use]
    pub fn freeze(&self) -> Frozen {
        Frozen {
            suspects: self.suspects.freeze(),
            vouched: self.vouched.freeze(),
            standings: self.standings.freeze(),
            random: Some(self.random.clone()),
            told: (self.told_until, self.told),
        }
    }

    /// Goes on with what another life knew; bounds stay ours.
    pub fn thaw(&mut self, frozen: Frozen) {
        self.suspects.thaw(frozen.suspects);
        self.vouched.thaw(frozen.vouched);
        self.standings.thaw(frozen.standings);
        (self.told_until, self.told) = frozen.told;
        if let Some(random) = frozen.random {
            self.random = random;
        }
    }
}
