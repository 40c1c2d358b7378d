//! Who may call and where calls go: an immutable snapshot that the control plane publishes and every shard reads.
//!
//! Owned by the control plane. The cells that count calls live on from one snapshot to the next, by name, so that a
//! reload neither forgets nor invents a call.

use crate::base::Instant;
use crate::base::time::Duration;
use crate::base::{SocketKey, Source, Transport};
use crate::config::{self, Config, Forking, Qos};
use crate::sdp::CodecFilter;
use crate::sip::digest::Ha1;
use crate::tally::{Cell, Pace, Pulse};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// An account and what it may do.
#[derive(Debug)]
pub struct Account {
    /// User part of its AOR.
    pub name: Arc<str>,
    /// Its first number, if it has one.
    pub number: Option<String>,
    /// Calls at once, over all sites.
    pub limit: u32,
    /// Calls at once, here and now.
    pub cell: Arc<Cell>,
    /// Codecs it may use, in its order.
    pub codecs: CodecFilter,
    /// How its devices are called.
    pub forking: Forking,
    /// DSCP towards it.
    pub qos: Qos,
}

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

/// One of our listening sockets, as every shard has it.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its key in every shard.
    pub socket: SocketKey,
    /// Over what.
    pub transport: Transport,
    /// Bound address.
    pub bind: SocketAddr,
    /// `host:port` for Via and Contact.
    pub advertise: String,
}

/// Who is on the other side of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Peer {
    /// A place in [`Directory::accounts`].
    Account(u32),
    /// A place in [`Directory::trunks`].
    Trunk(u32),
}

/// The snapshot.
#[derive(Debug)]
pub struct Directory {
    /// Digest realm.
    pub realm: String,
    /// Domains served, lower case.
    pub domains: Vec<String>,
    /// Accounts, in the order of the configuration.
    pub accounts: Vec<Account>,
    /// Trunks, in the order of the configuration.
    pub trunks: Vec<Trunk>,
    /// Listening sockets.
    pub listeners: Vec<Listener>,
    /// A call takes a right of the account that it reaches, too.
    pub count_called: bool,
    /// Whether the cells may be believed.
    pub pulse: Arc<Pulse>,
    /// When a source is blocked.
    pub guard: config::Guard,
    /// Other sites.
    sites: Vec<IpAddr>,
    emergency: Vec<String>,
    /// Cells of accounts that a reload has removed, while a call or an older snapshot may still use them.
    lapsed: Vec<(Arc<str>, Weak<Cell>)>,
    by_name: HashMap<Vec<u8>, u32>,
    by_device: HashMap<Vec<u8>, (u32, Ha1)>,
    prefixes: BTreeMap<Vec<u8>, Vec<u32>>,
    prefix_len_max: usize,
}

impl Directory {
    /// Builds the snapshot of a configuration whose secrets have been loaded; cells of `previous` are kept.
    #[must_use]
    pub fn new(config: &Config, previous: Option<&Self>) -> Self {
        Self::build(config, previous, None)
    }

    /// The same where a keeper of rights decides with other sites: cells of accounts begin without a right, only the
    /// keeper changes what is usable, and `pulse` says whether it is awake.
    #[must_use]
    pub fn kept(config: &Config, previous: Option<&Self>, pulse: &Arc<Pulse>) -> Self {
        Self::build(config, previous, Some(pulse))
    }

    fn build(config: &Config, previous: Option<&Self>, keeper: Option<&Arc<Pulse>>) -> Self {
        let realm = config.sip.realm.clone();
        let mut directory = Self {
            domains: config.sip.domains.iter().map(|domain| domain.to_ascii_lowercase()).collect(),
            accounts: Vec::with_capacity(config.accounts.len()),
            trunks: config.trunks.iter().map(|trunk| new_trunk(trunk, previous)).collect(),
            count_called: config.limits.count_called,
            pulse: keeper.map_or_else(|| Arc::new(Pulse::steady()), Arc::clone),
            guard: config.guard.clone(),
            sites: config.link.iter().flat_map(|link| &link.peers).map(|peer| peer.address.ip()).collect(),
            emergency: config.limits.emergency_numbers.clone(),
            lapsed: Vec::new(),
            listeners: config.sip.listen.iter().enumerate().map(new_listener).collect(),
            by_name: HashMap::new(),
            by_device: HashMap::new(),
            prefixes: BTreeMap::new(),
            prefix_len_max: 0,
            realm,
        };
        for account in &config.accounts {
            directory.add_account(account, previous, keeper.is_some());
        }
        if let Some(previous) = previous {
            directory.remember(previous);
        }
        for (place, trunk) in (0u32..).zip(&config.trunks) {
            for prefix in &trunk.prefixes {
                directory.prefix_len_max = directory.prefix_len_max.max(prefix.len());
                directory.prefixes.entry(prefix.clone().into_bytes()).or_default().push(place);
            }
        }
        directory
    }

    /// An account that comes back finds the cell that its last calls still hold.
    fn remember(&mut self, previous: &Self) {
        let removed =
            previous.accounts.iter().map(|account| (Arc::clone(&account.name), Arc::downgrade(&account.cell)));
        let earlier = previous.lapsed.iter().cloned();
        let known = |name: &str| {
            let place = self.by_name.get(name.as_bytes()).and_then(|place| self.accounts.get(*place as usize));
            place.is_some_and(|account| *account.name == *name)
        };
        let gone = |(name, cell): &(Arc<str>, Weak<Cell>)| cell.strong_count() > 0 && !known(name);
        self.lapsed = removed.chain(earlier).filter(gone).collect();
    }

    pub(super) fn cell_of(&self, name: &str) -> Option<Arc<Cell>> {
        let known = self.by_name.get(name.as_bytes()).and_then(|place| self.accounts.get(*place as usize));
        let known = known.filter(|account| &*account.name == name).map(|account| Arc::clone(&account.cell));
        known.or_else(|| self.lapsed.iter().find(|lapsed| &*lapsed.0 == name)?.1.upgrade())
    }

    /// Numbers that no limit may refuse, as dialled; the first one stands for `urn:service:sos`.
    #[must_use]
    pub fn emergency_numbers(&self) -> &[String] {
        &self.emergency
    }

    fn add_account(&mut self, account: &config::Account, previous: Option<&Self>, kept: bool) {
        let place = u32::try_from(self.accounts.len()).expect("accounts fit u32");
        let cell = previous.and_then(|old| old.cell_of(&account.name)).unwrap_or_else(|| Cell::new(0));
        if !kept {
            cell.set_usable(account.max_calls);
        }
        self.by_name.insert(account.name.clone().into_bytes(), place);
        for number in &account.numbers {
            self.by_name.insert(number.clone().into_bytes(), place);
        }
        for device in &account.devices {
            let ha1 = match &device.secret {
                config::Secret::Password(password) => {
                    Ha1::new(device.username.as_bytes(), self.realm.as_bytes(), password.as_bytes())
                }
                config::Secret::Ha1 { md5, sha256 } => Ha1 { md5: *md5, sha256: *sha256 },
                config::Secret::File(_) => continue,
            };
            self.by_device.insert(device.username.clone().into_bytes(), (place, ha1));
        }
        self.accounts.push(Account {
            name: account.name.as_str().into(),
            number: account.numbers.first().cloned(),
            limit: account.max_calls,
            cell,
            codecs: CodecFilter::new(&account.codecs),
            forking: account.forking,
            qos: account.qos,
        });
    }

    /// The limit of an account; none for one that a reload has removed.
    #[must_use]
    pub fn limit_of(&self, account: &str) -> u32 {
        self.by_name.get(account.as_bytes()).and_then(|place| self.account(*place)).map_or(0, |account| account.limit)
    }

    /// The account at a place; none for one that a reload has removed.
    #[must_use]
    pub fn account(&self, place: u32) -> Option<&Account> {
        self.accounts.get(place as usize)
    }

    /// The trunk at a place; none for one that a reload has removed.
    #[must_use]
    pub fn trunk(&self, place: u32) -> Option<&Trunk> {
        self.trunks.get(place as usize)
    }

    /// Where a peer of an older snapshot stands in this one; a place of nobody when it was removed.
    #[must_use]
    pub fn same_peer(&self, old: &Self, peer: Peer) -> Peer {
        self.peer_named(peer, old.peer_name(peer))
    }

    /// The account or trunk of that name, whichever `peer` is; a place of nobody when there is none.
    #[must_use]
    pub fn peer_named(&self, peer: Peer, name: &str) -> Peer {
        let place = |found: Option<usize>| found.and_then(|place| u32::try_from(place).ok()).unwrap_or(u32::MAX);
        match peer {
            Peer::Account(_) => Peer::Account(place(self.accounts.iter().position(|account| &*account.name == name))),
            Peer::Trunk(_) => Peer::Trunk(place(self.trunks.iter().position(|trunk| &*trunk.name == name))),
        }
    }

    /// The account whose AOR or number this user part is; a number also without its `+`.
    #[must_use]
    pub fn account_of_user(&self, user: &[u8]) -> Option<u32> {
        self.by_name.get(user).copied().or_else(|| {
            let dialled = user.first().is_some_and(u8::is_ascii_digit);
            dialled.then(|| self.by_name.get(&[b"+", user].concat()).copied()).flatten()
        })
    }

    /// The account and HA1 of a digest user.
    #[must_use]
    pub fn device(&self, username: &[u8]) -> Option<(u32, &Ha1)> {
        self.by_device.get(username).map(|(account, ha1)| (*account, ha1))
    }

    /// True for a host that is ours: a served domain or an address we listen on or advertise.
    #[must_use]
    pub fn is_our_host(&self, host: &[u8]) -> bool {
        self.domains.iter().any(|domain| domain.as_bytes().eq_ignore_ascii_case(host))
            || self.listeners.iter().any(|listener| {
                let (advertised, _) = split_host_port(&listener.advertise);
                advertised.as_bytes().eq_ignore_ascii_case(host)
                    || std::str::from_utf8(host).is_ok_and(|host| host.parse() == Ok(listener.bind.ip()))
            })
    }

    /// The trunks for a number: longest matching prefix first, the order of the configuration within one prefix, those
    /// that rest last; never `except`.
    #[must_use]
    pub fn route(&self, number: &[u8], except: Option<u32>, now: Instant) -> Vec<u32> {
        let longest = self.prefix_len_max.min(number.len());
        let mut found: Vec<u32> = Vec::new();
        for len in (0..=longest).rev() {
            for &trunk in self.prefixes.get(&number[..len]).into_iter().flatten() {
                if Some(trunk) != except && !found.contains(&trunk) {
                    found.push(trunk);
                }
            }
        }
        found.sort_by_key(|&trunk| self.trunks[trunk as usize].is_resting(now));
        found
    }

    /// The trunk that a request from `source` belongs to. With several trunks at one address the port decides: the
    /// packet's own, or the one the peer names in its Via.
    #[must_use]
    pub fn trunk_of_source(&self, source: SocketAddr, via_port: u16) -> Option<u32> {
        let ip = source.ip().to_canonical();
        let mut by_address = None;
        for (place, trunk) in (0u32..).zip(&self.trunks) {
            if !trunk_allows(trunk, ip) {
                continue;
            }
            let port = trunk.address.port();
            if trunk.address.ip() == ip && (port == source.port() || port == via_port) {
                return Some(place);
            }
            by_address = by_address.or(Some(place));
        }
        by_address
    }

    /// True when the request comes from the very address and port that the trunk has in the configuration.
    #[must_use]
    pub fn is_exact_source(&self, trunk: u32, source: SocketAddr, via_port: u16) -> bool {
        let address = self.trunks[trunk as usize].address;
        address.ip() == source.ip().to_canonical() && [source.port(), via_port].contains(&address.port())
    }

    /// True for a source that is never blocked: a trunk, another site, ourselves, or what the configuration allows.
    #[must_use]
    pub fn is_exempt(&self, source: Source) -> bool {
        let is_it = |address: IpAddr| Source::of(address) == source;
        let is_trunk =
            |trunk: &Trunk| is_it(trunk.address.ip()) || trunk.allow_from.iter().any(|net| net.touches(source));
        self.guard.allow.iter().any(|net| net.touches(source))
            || self.sites.iter().copied().any(is_it)
            || self.listeners.iter().any(|listener| is_it(listener.bind.ip()))
            || self.trunks.iter().any(is_trunk)
    }

    /// Our listener for `transport` towards `remote`, preferring the address family of the peer.
    #[must_use]
    pub fn listener_towards(&self, transport: Transport, remote: SocketAddr) -> Option<&Listener> {
        let same_family = |listener: &&Listener| listener.bind.is_ipv4() == remote.is_ipv4();
        let mut candidates = self.listeners.iter().filter(|listener| listener.transport == transport);
        candidates.clone().find(same_family).or_else(|| candidates.find(|listener| listener.bind.ip().is_unspecified()))
    }

    /// The listener with this key.
    #[must_use]
    pub fn listener(&self, socket: SocketKey) -> Option<&Listener> {
        self.listeners.get(socket.0 as usize)
    }

    /// The peer's name for records and logs.
    #[must_use]
    pub fn peer_name(&self, peer: Peer) -> &str {
        match peer {
            Peer::Account(place) => self.accounts.get(place as usize).map_or("", |account| &account.name),
            Peer::Trunk(place) => self.trunks.get(place as usize).map_or("", |trunk| &trunk.name),
        }
    }

    /// The same to keep; none where the peer is gone.
    #[must_use]
    pub fn shared_name(&self, peer: Peer) -> Option<Arc<str>> {
        match peer {
            Peer::Account(place) => self.accounts.get(place as usize).map(|account| Arc::clone(&account.name)),
            Peer::Trunk(place) => self.trunks.get(place as usize).map(|trunk| Arc::clone(&trunk.name)),
        }
    }

    /// The peer's codecs.
    #[must_use]
    pub fn peer_codecs(&self, peer: Peer) -> Option<&CodecFilter> {
        match peer {
            Peer::Account(place) => self.accounts.get(place as usize).map(|account| &account.codecs),
            Peer::Trunk(place) => self.trunks.get(place as usize).map(|trunk| &trunk.codecs),
        }
    }

    /// The peer's DSCP values.
    #[must_use]
    pub fn peer_qos(&self, peer: Peer) -> Option<Qos> {
        match peer {
            Peer::Account(place) => self.accounts.get(place as usize).map(|account| account.qos),
            Peer::Trunk(place) => self.trunks.get(place as usize).map(|trunk| trunk.qos),
        }
    }
}

fn new_trunk(trunk: &config::Trunk, previous: Option<&Directory>) -> Trunk {
    let old = previous.and_then(|old| old.trunks.iter().find(|old| *old.name == *trunk.name));
    let cell = trunk.max_calls.map(|max| {
        let cell = old.and_then(|old| old.cell.clone()).unwrap_or_else(|| Cell::new(max));
        cell.set_usable(max);
        cell
    });
    let login = trunk.login.as_ref().and_then(|login| match &login.secret {
        config::Secret::Password(password) => Some((login.username.clone(), password.clone())),
        config::Secret::File(_) | config::Secret::Ha1 { .. } => None,
    });
    Trunk {
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

fn new_listener((place, listen): (usize, &config::Listen)) -> Listener {
    let advertise = match &listen.advertise {
        None => listen.address.to_string(),
        Some(advertise) => {
            let port = advertise.port.unwrap_or(listen.address.port());
            if advertise.host.contains(':') {
                format!("[{}]:{port}", advertise.host)
            } else {
                format!("{}:{port}", advertise.host)
            }
        }
    };
    let socket = SocketKey(u32::try_from(place).expect("listeners fit u32"));
    Listener { socket, transport: listen.transport, bind: listen.address, advertise }
}

fn trunk_allows(trunk: &Trunk, ip: IpAddr) -> bool {
    trunk.address.ip() == ip || trunk.allow_from.iter().any(|net| net.contains(ip))
}

/// Splits `host:port`; brackets of an IPv6 host are taken off.
#[must_use]
pub fn split_host_port(text: &str) -> (&str, Option<u16>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host.trim_start_matches('[').trim_end_matches(']'), port.parse().ok())
        }
        _ => (text, None),
    }
}
