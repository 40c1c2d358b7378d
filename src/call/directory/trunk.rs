//! A trunk: how it is reached, what it may do, and whether it answers.

use crate::base::time::Duration;
use crate::base::{Instant, Transport};
use crate::config::{self, Qos};
use crate::sdp::CodecFilter;
use crate::tally::{Cell, Pace};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A trunk and how to reach it.
#[derive(Debug)]
pub struct Trunk {
    /// Unique.
    pub name: Arc<str>,
    /// Where requests go.
    pub address: SocketAddr,
    /// Over what.
    pub transport: Transport,
    /// Calls at once; none = no cap.
    pub cell: Option<Arc<Cell>>,
    /// New calls a second; none = no cap.
    pub pace: Option<Arc<Pace>>,
    /// No response at all for this long: the next trunk.
    pub timeout: Duration,
    /// After such a failure it is asked last for this long.
    pub retry_after: Duration,
    /// Its media is learnt from its packets, wherever its descriptions say that it is.
    pub rtp_symmetric: bool,
    /// Digest user and password towards it.
    pub login: Option<(String, String)>,
    /// Codecs it may use, in its order.
    pub codecs: CodecFilter,
    /// DSCP towards it.
    pub qos: Qos,
    /// Where its requests come from.
    pub allow_from: Vec<config::Net>,
    health: Arc<Health>,
}

/// Until when a trunk that failed is asked last; shared by the shards.
#[derive(Debug, Default)]
struct Health {
    resting_until_ns: AtomicU64,
    refuses_tcp: AtomicBool,
}

impl Trunk {
    /// Of the configuration; what counts and what is known of it goes on where there was one of that name.
    pub(super) fn new(trunk: &config::Trunk, old: Option<&Self>) -> Self {
        let cell = trunk.max_calls.map(|max| {
            let cell = old.and_then(|old| old.cell.clone()).unwrap_or_else(|| Cell::new(max));
            cell.set_usable(max);
            cell
        });
        let login = trunk.login.as_ref().and_then(|login| match &login.secret {
            config::Secret::Password(password) => Some((login.username.clone(), password.clone())),
            config::Secret::File(_) | config::Secret::Ha1 { .. } => None,
        });
        Self {
            name: trunk.name.as_str().into(),
            address: trunk.address,
            transport: trunk.transport,
            cell,
            pace: trunk.max_cps.map(|rate| Arc::new(Pace::new(rate))),
            timeout: trunk.timeout,
            retry_after: trunk.retry_after,
            rtp_symmetric: trunk.rtp_symmetric,
            login,
            codecs: CodecFilter::new(&trunk.codecs),
            qos: trunk.qos,
            allow_from: trunk.allow_from.clone(),
            health: old.map_or_else(Arc::default, |old| Arc::clone(&old.health)),
        }
    }

    /// True when requests from there are its own.
    pub(super) fn allows(&self, source: IpAddr) -> bool {
        self.address.ip() == source || self.allow_from.iter().any(|net| net.contains(source))
    }

    /// Notes that it did not answer, refused the connection or said 503.
    pub fn rest(&self, now: Instant) {
        self.health.resting_until_ns.store((now + self.retry_after).as_nanos(), Ordering::Relaxed);
    }

    /// Notes that it answers.
    pub fn revive(&self) {
        self.health.resting_until_ns.store(0, Ordering::Relaxed);
    }

    /// Notes that a large request over TCP found nobody there (RFC 3261 §18.1.1).
    pub fn refuse_tcp(&self) {
        self.health.refuses_tcp.store(true, Ordering::Relaxed);
    }

    /// True while a large request is worth a connection.
    #[must_use]
    pub fn may_take_tcp(&self) -> bool {
        !self.health.refuses_tcp.load(Ordering::Relaxed)
    }

    /// True while others are asked first.
    #[must_use]
    pub fn is_resting(&self, now: Instant) -> bool {
        self.health.resting_until_ns.load(Ordering::Relaxed) > now.as_nanos()
    }
}
