//! What the links have counted, for the process that takes over: totals must not fall.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

use super::{LinkStatus, Reason, lock};
use crate::base::Instant;

/// Totals, by name: a later version may have other reasons, and a configuration other peers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counted {
    refusals: BTreeMap<String, u64>,
    sent_bytes: u64,
    received_frames: u64,
    /// Connections, and the last word.
    peers: BTreeMap<String, (u64, Option<Instant>)>,
}

impl LinkStatus {
    /// So far.
    #[must_use]
    pub fn counted(&self) -> Counted {
        let peers = self.peers.iter().map(|peer| {
            let inner = lock(&peer.inner);
            (peer.name.to_string(), (inner.connections, inner.heard))
        });
        Counted {
            refusals: Reason::ALL.iter().map(|&reason| (reason.as_str().to_owned(), self.refusals(reason))).collect(),
            sent_bytes: self.traffic.sent_bytes.load(Relaxed),
            received_frames: self.traffic.received_frames.load(Relaxed),
            peers: peers.collect(),
        }
    }

    /// Goes on from another process; before the first link.
    pub fn take_on(&self, counted: Counted) {
        for reason in Reason::ALL {
            let before = counted.refusals.get(reason.as_str()).copied().unwrap_or(0);
            self.refusals[reason as usize].store(before, Relaxed);
        }
        self.traffic.sent_bytes.store(counted.sent_bytes, Relaxed);
        self.traffic.received_frames.store(counted.received_frames, Relaxed);
        for peer in &self.peers {
            if let Some(&(connections, heard)) = counted.peers.get(&*peer.name) {
                let mut inner = lock(&peer.inner);
                (inner.connections, inner.heard) = (connections, heard);
            }
        }
    }
}
