//! Calls at rest, to go on in another process: the tables as they are, and by name what is found again there.
//!
//! Owned by the [`Engine`]. Accounts and trunks are handles: a call finds them in the new directory by their names, and
//! takes its rights again from their cells, above a lowered limit, too, since it is up. What is gone there is nobody's.

use super::contacts::Store;
use super::core::{Owner, Timer};
use super::directory::{Directory, Peer};
use super::engine::Engine;
use super::figures::Figures;
use super::state::{Call, Right};
use crate::base::{Instant, Random, Slab, Slot, Wheel};
use crate::media::{self, Waiting};
use crate::sip::digest;
use crate::sip::transaction::Layer;
use crate::tally::{Cell, Permit};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whose right it is.
#[derive(Debug, Serialize, Deserialize)]
enum Held {
    Account(String),
    Trunk(String),
}

/// The rights of one call; those of its branches with their places.
#[derive(Debug, Serialize, Deserialize)]
struct Rights {
    call: Slot,
    rights: Vec<Held>,
    branches: Vec<(u32, Held)>,
}

#[derive(Serialize)]
struct Out<'a, R> {
    now: Instant,
    layer: &'a Layer<Owner>,
    relay: R,
    timers: &'a Wheel<Timer>,
    random: &'a Random,
    digest: digest::Frozen,
    draining: bool,
    calls_live: usize,
    calls: &'a Slab<Call>,
    rights: Vec<Rights>,
    peers: Vec<(Peer, String)>,
    store: &'a Store,
    ended: &'a [Slot],
    figures: Figures,
}

/// An [`Engine`] at rest.
#[derive(Debug, Deserialize)]
pub struct Frozen {
    now: Instant,
    layer: Layer<Owner>,
    relay: media::Frozen,
    timers: Wheel<Timer>,
    random: Random,
    digest: digest::Frozen,
    draining: bool,
    calls_live: usize,
    calls: Slab<Call>,
    rights: Vec<Rights>,
    /// What the places of accounts and trunks were called.
    peers: Vec<(Peer, String)>,
    store: Store,
    ended: Vec<Slot>,
    figures: Figures,
}

impl Engine {
    /// Shows what is to be written. Effects must have been drained.
    pub fn freeze(&mut self, now: Instant, waiting: Waiting) -> impl Serialize {
        let directory = &self.core.directory;
        let mut peers = BTreeMap::new();
        let mut rights = Vec::new();
        for slot in self.calls.iter().map(|(slot, _)| slot).collect::<Vec<_>>() {
            let Some(call) = self.calls.get_mut(slot) else { continue };
            call.each_peer(&mut |peer| drop(peers.insert(*peer, directory.peer_name(*peer).to_owned())));
            rights.push(rights_of(slot, call, directory));
        }
        let digest = self.core.digest.freeze();
        if waiting == Waiting::OnSockets {
            self.core.relay.raise_all(now);
        }
        self.figures.publish(&mut self.core);
        let core = &self.core;
        Out {
            now: core.now,
            layer: &core.layer,
            relay: core.relay.freeze(),
            timers: &core.timers,
            random: &core.random,
            digest,
            draining: core.draining,
            calls_live: core.calls_live,
            calls: &self.calls,
            rights,
            peers: peers.into_iter().collect(),
            store: &self.store,
            ended: &self.ended,
            figures: self.figures.handed_on(waiting),
        }
    }

    /// Goes on with the calls of another life; bounds, times and the directory stay ours.
    ///
    /// # Errors
    /// The media ports are others.
    pub fn thaw(&mut self, frozen: Frozen) -> Result<(), &'static str> {
        let core = &mut self.core;
        core.relay.thaw(frozen.relay)?;
        core.layer.thaw(frozen.layer);
        core.digest.thaw(frozen.digest);
        self.store.thaw(frozen.store);
        let (calls_bound, timers_bound) = (self.calls.bound(), core.timers.bound());
        (self.calls, core.timers) = (frozen.calls, frozen.timers);
        self.calls.set_bound(calls_bound);
        core.timers.set_bound(timers_bound.max(core.timers.len()));
        (core.now, core.random, core.draining) = (frozen.now, frozen.random, frozen.draining);
        core.calls_live = frozen.calls_live;
        (self.ended, self.figures) = (frozen.ended, frozen.figures);
        let directory = &core.directory;
        let peers: BTreeMap<Peer, Peer> =
            frozen.peers.iter().map(|(peer, name)| (*peer, directory.peer_named(*peer, name))).collect();
        for slot in self.calls.iter().map(|(slot, _)| slot).collect::<Vec<_>>() {
            if let Some(call) = self.calls.get_mut(slot) {
                call.each_peer(&mut |peer| *peer = peers.get(peer).copied().unwrap_or(*peer));
            }
        }
        for rights in frozen.rights {
            if let Some(call) = self.calls.get_mut(rights.call) {
                take_again(call, rights, directory);
            }
        }
        Ok(())
    }
}

fn rights_of(slot: Slot, call: &Call, directory: &Directory) -> Rights {
    let trunk = |permit: &Permit| {
        let is_its = |cell: &std::sync::Arc<Cell>| permit.is_of(cell);
        let trunk = directory.trunks.iter().find(|trunk| trunk.cell.as_ref().is_some_and(is_its));
        trunk.map(|trunk| Held::Trunk(trunk.name.to_string()))
    };
    let right = |right: &Right| match &right.account {
        Some(name) => Some(Held::Account(name.to_string())),
        None => trunk(&right.permit),
    };
    let branches = call.setup.iter().flat_map(|setup| (0u32..).zip(&setup.branches));
    Rights {
        call: slot,
        rights: call.rights.iter().filter_map(right).collect(),
        branches: branches.filter_map(|(at, branch)| Some((at, trunk(branch.permit.as_ref()?)?))).collect(),
    }
}

fn take_again(call: &mut Call, rights: Rights, directory: &Directory) {
    let trunk = |name: &str| {
        let trunk = directory.trunks.iter().find(|trunk| *trunk.name == *name);
        trunk.and_then(|trunk| trunk.cell.as_ref()).map(Cell::hold)
    };
    for held in rights.rights {
        match held {
            Held::Account(name) => {
                let permit = directory.cell_of_call(&name).hold();
                call.rights.push(Right { permit, account: Some(name.into()) });
            }
            Held::Trunk(name) => call.rights.extend(trunk(&name).map(|permit| Right { permit, account: None })),
        }
    }
    for (at, held) in rights.branches {
        let branch = call.setup.as_mut().and_then(|setup| setup.branches.get_mut(at as usize));
        if let (Some(branch), Held::Trunk(name)) = (branch, held) {
            branch.permit = trunk(&name);
        }
    }
}
