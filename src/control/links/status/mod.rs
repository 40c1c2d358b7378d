//! What is known of the links at any moment: `/metrics`, `/readyz` and `strowger show links` read it, the links write it.
//!
//! A peer's fault is counted by its reason, said once in the log, and shown until the link stands.

mod counted;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

pub use counted::Counted;

use super::agree::Disagreement;
use crate::base::Instant;
use crate::base::time::Duration;
use crate::tally::rights::Totals;

/// Why a link was refused or cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No certificate of our authority, or ours is none of theirs.
    Certificate,
    /// Not a configured peer, or not the one that its certificate names.
    Stranger,
    /// No version that both speak.
    Version,
    /// Octets that are no frame, or a frame out of turn.
    Garbage,
    /// An incarnation that is over, or a retired site.
    Fenced,
    /// No greeting in time.
    Silent,
    /// It does not read: the queue towards it was full.
    Overflow,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Certificate, Self::Stranger, Self::Version, Self::Garbage, Self::Fenced, Self::Silent, Self::Overflow];

    /// As a label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Stranger => "stranger",
            Self::Version => "version",
            Self::Garbage => "garbage",
            Self::Fenced => "fenced",
            Self::Silent => "silent",
            Self::Overflow => "overflow",
        }
    }
}

/// Foreign addresses of which the log has been told; further ones are only counted.
const STRANGERS_SAID_MAX: usize = 64;

/// A link that stands for so long after a refusal is a good one.
const FORGIVEN: Duration = Duration::from_secs(15);

/// A link that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Up {
    /// Since when.
    pub since: Instant,
    /// The peer's.
    pub incarnation: u32,
    /// Of the frames.
    pub version: u8,
    /// We have dialled.
    pub dialled: bool,
}

#[derive(Debug, Default)]
struct Inner {
    up: Option<Up>,
    heard: Option<Instant>,
    round_trip: Option<Duration>,
    /// The oldest ping that has not come back.
    unanswered: Option<Instant>,
    refusal: Option<(Reason, String, Instant)>,
    connections: u64,
    /// What it has configured otherwise; the outer none: it has not said.
    terms: Option<Option<Disagreement>>,
}

/// One configured peer.
#[derive(Debug)]
pub struct Peer {
    /// Its `node.name`.
    pub name: Arc<str>,
    /// Where it is dialled.
    pub address: SocketAddr,
    inner: Mutex<Inner>,
}

/// All of them, and the keeper's own state.
#[derive(Debug)]
pub struct LinkStatus {
    /// In the order of the configuration.
    pub peers: Vec<Peer>,
    started: Instant,
    refusals: [AtomicU64; Reason::ALL.len()],
    /// Frames sent and received, and their octets.
    pub traffic: Traffic,
    strangers: Mutex<HashSet<(Reason, IpAddr)>>,
    totals: Mutex<Totals>,
}

/// What has gone over the links.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Octets of frames that were queued.
    pub sent_bytes: AtomicU64,
    /// Frames that were read.
    pub received_frames: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LinkStatus {
    /// Nothing stands yet.
    #[must_use]
    pub fn new(peers: impl IntoIterator<Item = (Arc<str>, SocketAddr)>, now: Instant) -> Self {
        let peers = peers.into_iter().map(|(name, address)| Peer { name, address, inner: Mutex::default() });
        Self {
            peers: peers.collect(),
            started: now,
            refusals: Default::default(),
            traffic: Traffic::default(),
            strangers: Mutex::default(),
            totals: Mutex::default(),
        }
    }

    /// The peer of that name.
    #[must_use]
    pub fn peer(&self, name: &str) -> Option<usize> {
        self.peers.iter().position(|peer| *peer.name == *name)
    }

    /// The peer that is dialled at this address, or the only one at its host.
    #[must_use]
    pub fn peer_at(&self, from: SocketAddr) -> Option<usize> {
        let exact = self.peers.iter().position(|peer| peer.address == from);
        let mut here = (0..self.peers.len()).filter(|&peer| self.peers[peer].address.ip() == from.ip().to_canonical());
        exact.or_else(|| here.next().filter(|_| here.next().is_none()))
    }

    /// Counts a refusal, and says it unless the last one of this peer was for the same reason.
    pub fn refuse(&self, now: Instant, from: SocketAddr, peer: Option<usize>, reason: Reason, what: &str) {
        self.refusals[reason as usize].fetch_add(1, Relaxed);
        let reason_word = reason.as_str();
        if let Some(peer) = peer.and_then(|peer| self.peers.get(peer)) {
            let mut inner = lock(&peer.inner);
            let said = inner.refusal.as_ref().is_some_and(|(known, ..)| *known == reason);
            inner.refusal = Some((reason, what.to_owned(), now));
            drop(inner);
            if !said {
                tracing::warn!(peer = %peer.name, reason = reason_word, %what, "a link was refused");
            }
            return;
        }
        let mut said = lock(&self.strangers);
        if said.len() < STRANGERS_SAID_MAX && said.insert((reason, from.ip())) {
            tracing::warn!(%from, reason = reason_word, %what, "a link from a stranger was refused");
        }
    }

    /// Refusals so far.
    #[must_use]
    pub fn refusals(&self, reason: Reason) -> u64 {
        self.refusals[reason as usize].load(Relaxed)
    }

    /// A link stands. What was refused before is forgiven when it is `FORGIVEN` ago: a peer that refuses us when it has
    /// read our greeting lets us believe in a link each time.
    pub fn up(&self, peer: usize, up: Up) {
        let mut inner = lock(&self.peers[peer].inner);
        let (connections, terms) = (inner.connections + 1, inner.terms.take());
        let refusal = inner.refusal.take().filter(|(.., when)| up.since.since(*when) < FORGIVEN);
        let again = refusal.is_some();
        *inner = Inner { up: Some(up), heard: Some(up.since), connections, terms, refusal, ..Inner::default() };
        drop(inner);
        let (name, incarnation, version) = (&self.peers[peer].name, up.incarnation, up.version);
        if again {
            return tracing::debug!(peer = %name, "a link stands that was refused just before");
        }
        tracing::info!(peer = %name, incarnation, version, dialled = up.dialled, "a link stands");
    }

    /// It is gone.
    pub fn down(&self, peer: usize, why: &str) {
        let mut inner = lock(&self.peers[peer].inner);
        let (stood, said) = (inner.up.take().is_some(), inner.refusal.is_some());
        drop(inner);
        if stood && !said {
            tracing::warn!(peer = %self.peers[peer].name, %why, "a link is gone");
        }
    }

    /// How the peer's configuration compares with ours; said when it is news.
    pub fn judged(&self, peer: usize, found: Option<Disagreement>) {
        let name = &self.peers[peer].name;
        let before = lock(&self.peers[peer].inner).terms.replace(found.clone());
        match (before.flatten(), found) {
            (before, Some(found)) if before.as_ref() != Some(&found) => {
                tracing::warn!(peer = %name, differs = %found, "a peer has other limits in its configuration: limits may not hold until they agree");
            }
            (Some(_), None) => tracing::info!(peer = %name, "the peer has the same limits again"),
            _ => {}
        }
    }

    /// What a peer has configured otherwise.
    #[must_use]
    pub fn disagreement(&self, peer: usize) -> Option<Disagreement> {
        lock(&self.peers[peer].inner).terms.clone().flatten()
    }

    /// Why there is no link to a peer, if one was refused.
    #[must_use]
    pub fn refusal(&self, peer: usize) -> Option<String> {
        let inner = lock(&self.peers[peer].inner);
        let refusal = inner.refusal.as_ref().filter(|_| inner.up.is_none());
        refusal.map(|(reason, what, _)| format!("{}: {what}", reason.as_str()))
    }

    /// Something was heard.
    pub fn heard(&self, peer: usize, now: Instant) {
        lock(&self.peers[peer].inner).heard = Some(now);
    }

    /// A ping goes out.
    pub fn pinged(&self, peer: usize, now: Instant) {
        lock(&self.peers[peer].inner).unanswered.get_or_insert(now);
    }

    /// The ping of `stamp` came back.
    pub fn echoed(&self, peer: usize, now: Instant, stamp: Instant) {
        let mut inner = lock(&self.peers[peer].inner);
        if inner.unanswered.is_some_and(|oldest| stamp >= oldest && stamp <= now) {
            (inner.unanswered, inner.round_trip) = (None, Some(now.since(stamp)));
        }
    }

    /// Whether a link to the peer stands.
    #[must_use]
    pub fn is_up(&self, peer: usize) -> bool {
        lock(&self.peers[peer].inner).up.is_some()
    }

    /// How old what the peer has told may be: the round trip of the last stamp that came back, or the time since one that
    /// did not; without a link, the time since its last word.
    #[must_use]
    pub fn lag(&self, peer: usize, now: Instant) -> Duration {
        let inner = lock(&self.peers[peer].inner);
        match inner.up {
            Some(_) => {
                let waiting = inner.unanswered.map_or(Duration::ZERO, |since| now.since(since));
                waiting.max(inner.round_trip.unwrap_or(Duration::ZERO))
            }
            None => now.since(inner.heard.unwrap_or(self.started)),
        }
    }

    /// The machine's figures.
    #[must_use]
    pub fn totals(&self) -> Totals {
        *lock(&self.totals)
    }

    /// The keeper's word on them.
    pub fn set_totals(&self, totals: Totals) {
        *lock(&self.totals) = totals;
    }

    /// `show links`.
    #[must_use]
    pub fn rows(&self, now: Instant) -> Vec<Value> {
        let seconds = |span: Duration| (span.as_secs_f64() * 1e3).round() / 1e3;
        let row = |(at, peer): (usize, &Peer)| {
            let lag = seconds(self.lag(at, now));
            let inner = lock(&peer.inner);
            let refusal = inner.refusal.as_ref().filter(|_| inner.up.is_none()).map(|(reason, what, when)| {
                json!({ "reason": reason.as_str(), "what": what, "ago_s": seconds(now.since(*when)) })
            });
            json!({
                "peer": *peer.name, "address": peer.address.to_string(),
                "state": if inner.up.is_some() { "up" } else { "down" },
                "up_s": inner.up.map(|up| seconds(now.since(up.since))),
                "incarnation": inner.up.map(|up| up.incarnation), "version": inner.up.map(|up| up.version),
                "dialled": inner.up.map(|up| up.dialled),
                "round_trip_ms": inner.round_trip.map(|span| seconds(span * 1_000)),
                "lag_s": lag, "heard_s": inner.heard.map(|heard| seconds(now.since(heard))),
                "connections": inner.connections, "refusal": refusal,
                "terms": inner.terms.as_ref().map(|found| if found.is_some() { "differ" } else { "same" }),
                "differs": inner.terms.iter().flatten().map(ToString::to_string).next(),
            })
        };
        self.peers.iter().enumerate().map(row).collect()
    }
}
