//! What an engine says of itself: for `show`, for metrics, and for the simulator, which checks that everything balances.

use super::contacts::Binding;
use super::engine::Engine;
use super::state::Phase;
use super::{CallInfo, LimitInfo, RegistrationInfo, TrunkInfo};
use crate::base::Instant;
use crate::tally::Session;
use std::sync::Arc;

/// Everything that must balance: all zero when no call, no registration and no transaction is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Calls in the table.
    pub calls: usize,
    /// Of them, those that have not ended.
    pub calls_live: usize,
    /// Client and server transactions.
    pub transactions: usize,
    /// Timers of calls, the sweep not counted.
    pub timers: usize,
    /// Rights of accounts that calls hold.
    pub rights: usize,
    /// Calls that are listed without one: to emergency numbers.
    pub listed: usize,
    /// Media streams.
    pub streams: usize,
    /// Media ports in use.
    pub ports: usize,
    /// Registered contacts.
    pub contacts: usize,
}

impl Engine {
    /// No call is left, and every BYE and every other request within a dialog has been answered.
    #[must_use]
    pub fn owes_nothing(&self) -> bool {
        self.calls.iter().all(|(_, call)| call.phase == Phase::Ending && call.exchanges.is_empty())
    }

    /// What must balance.
    #[must_use]
    pub fn audit(&self) -> Audit {
        Audit {
            calls: self.calls.len(),
            calls_live: self.calls.iter().filter(|(_, call)| call.phase != Phase::Ending).count(),
            transactions: self.transactions(),
            timers: self.core.timers.len().saturating_sub(1),
            rights: self.calls.iter().map(|(_, call)| call.accounts().count()).sum(),
            listed: self.calls.iter().filter(|(_, call)| call.listed.is_some()).count(),
            streams: self.core.relay.len(),
            ports: self.core.relay.port_counts().used,
            contacts: self.store.len(),
        }
    }

    fn transactions(&self) -> usize {
        let counts = self.core.layer.counts();
        counts.clients + counts.servers
    }

    /// Every call and account that has given it a right; a call that needs none under a name of its own.
    #[must_use]
    pub fn sessions(&self) -> Vec<Session> {
        let rows = self.calls.iter().flat_map(|(_, call)| {
            call.accounts().chain(call.listed.as_ref()).map(move |account| (call, Arc::clone(account)))
        });
        rows.map(|(call, account)| Session { account, call: call.token, started: call.facts.started }).collect()
    }

    /// Calls for `show calls`.
    #[must_use]
    pub fn list_calls(&self, limit: usize) -> Vec<CallInfo> {
        self.calls.iter().take(limit).map(|(_, call)| call.info(&self.core)).collect()
    }

    /// Contacts for `show registrations`.
    #[must_use]
    pub fn list_registrations(&self, now: Instant, limit: usize) -> Vec<RegistrationInfo> {
        let one = |(account, binding): (&[u8], &Binding)| RegistrationInfo {
            account: String::from_utf8_lossy(account).into_owned(),
            contact: String::from_utf8_lossy(&binding.uri).into_owned(),
            remote: binding.flow.remote,
            transport: binding.flow.transport.uri_token(),
            expires: binding.expires,
            q: binding.q,
        };
        self.store.list(now, limit).into_iter().map(one).collect()
    }

    /// Trunks for `show trunks`.
    #[must_use]
    pub fn list_trunks(&self, now: Instant) -> Vec<TrunkInfo> {
        let one = |trunk: &super::Trunk| TrunkInfo {
            name: trunk.name.to_string(),
            address: trunk.address,
            transport: trunk.transport.uri_token(),
            calls: trunk.cell.as_ref().map(|cell| cell.read().0),
            calls_max: trunk.cell.as_ref().map(|cell| cell.read().1),
            resting: trunk.is_resting(now),
        };
        self.core.directory.trunks.iter().map(one).collect()
    }

    /// At most `limit` limits: trunks, then accounts.
    #[must_use]
    pub fn list_limits(&self, limit: usize) -> Vec<LimitInfo> {
        let directory = &self.core.directory;
        let info = |of, name: &str, (used, max)| LimitInfo { of, name: name.to_owned(), used, max };
        let trunks =
            directory.trunks.iter().filter_map(|trunk| Some(info("trunk", &trunk.name, trunk.cell.as_ref()?.read())));
        let accounts = directory.accounts.iter().map(|account| info("account", &account.name, account.cell.read()));
        trunks.chain(accounts).take(limit).collect()
    }
}
