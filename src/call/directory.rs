//! Who may call and where calls go: an immutable snapshot that the control plane publishes and every shard reads.
//!
//! Owned by the control plane. The cells that count calls live on from one snapshot to the next, by name, so that a
//! reload neither forgets nor invents a call.

mod find;
mod listener;
mod trunk;

pub use listener::{Listener, split_host_port};
pub use trunk::Trunk;

use crate::config::{self, Config, Forking, Qos};
use crate::sdp::CodecFilter;
use crate::sip::digest::Ha1;
use crate::tally::{Cell, Pulse};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

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
    /// Cells of accounts that this configuration lacks, while a call or an older snapshot may still use them.
    lapsed: Mutex<BTreeMap<Arc<str>, Weak<Cell>>>,
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
            trunks: config
                .trunks
                .iter()
                .map(|trunk| Trunk::new(trunk, previous.and_then(|old| old.trunk_named(&trunk.name))))
                .collect(),
            count_called: config.limits.count_called,
            pulse: keeper.map_or_else(|| Arc::new(Pulse::steady()), Arc::clone),
            guard: config.guard.clone(),
            sites: config.link.iter().flat_map(|link| &link.peers).map(|peer| peer.address.ip()).collect(),
            emergency: config.limits.emergency_numbers.clone(),
            lapsed: Mutex::default(),
            listeners: (0u32..).zip(&config.sip.listen).map(|(place, listen)| Listener::new(place, listen)).collect(),
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
        let known = |name: &str| {
            let place = self.by_name.get(name.as_bytes()).and_then(|place| self.accounts.get(*place as usize));
            place.is_some_and(|account| *account.name == *name)
        };
        let gone = |(name, cell): &(Arc<str>, Weak<Cell>)| cell.strong_count() > 0 && !known(name);
        let lapsed = removed.chain(previous.lapsed().clone()).filter(gone).collect();
        self.lapsed = Mutex::new(lapsed);
    }

    fn lapsed(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Weak<Cell>>> {
        self.lapsed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn cell_of(&self, name: &str) -> Option<Arc<Cell>> {
        let known = self.by_name.get(name.as_bytes()).and_then(|place| self.accounts.get(*place as usize));
        let known = known.filter(|account| &*account.name == name).map(|account| Arc::clone(&account.cell));
        known.or_else(|| self.lapsed().get(name)?.upgrade())
    }

    /// The cell that calls of an account stand on that come from another process. Those of one that this configuration lacks
    /// share one, which has no right to give.
    #[must_use]
    pub fn cell_of_call(&self, name: &str) -> Arc<Cell> {
        self.cell_of(name).unwrap_or_else(|| {
            let cell = Cell::new(0);
            self.lapsed().insert(name.into(), Arc::downgrade(&cell));
            cell
        })
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

    fn trunk_named(&self, name: &str) -> Option<&Trunk> {
        self.trunks.iter().find(|trunk| &*trunk.name == name)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_an_account_that_is_gone_stand_on_one_cell_until_it_comes_back() {
        let config = |text: &str| config::parse(text, "t").unwrap();
        let without = Directory::new(&config(""), None);
        let calls = ["alice", "alice"].map(|name| without.cell_of_call(name).hold());
        assert_eq!(without.cell_of("alice").unwrap().read(), (2, 0));
        assert!(without.cell_of_call("alice").admit().is_none());
        let with = Directory::new(&config("[[account]]\nname = 'alice'\nmax_calls = 3\n"), Some(&without));
        assert_eq!(with.accounts[0].cell.read(), (2, 3), "a reload brings it back");
        drop((calls, with));
        assert!(without.cell_of("alice").is_none(), "nobody stands on it");
    }
}
