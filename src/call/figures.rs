//! Once a second: what the tables hold and what the lower rooms have counted, into the shard's cells.

use super::core::Core;
use crate::observe::{Counter, Gauge};

/// What was told last, of counts that only grow.
#[derive(Debug, Default)]
pub struct Figures {
    retransmitted: u64,
    absorbed: u64,
}

impl Figures {
    /// Writes the levels, and what came since the last time.
    pub fn publish(&mut self, core: &Core) {
        let (counts, cells) = (core.layer.counts(), &core.counters);
        cells.set(Gauge::TransactionsActive, (counts.clients + counts.servers) as u64);
        cells.set(Gauge::StreamsActive, core.relay.len() as u64);
        cells.set(Gauge::PortPairsFree, core.relay.port_counts().free as u64);
        cells.add(Counter::SipRetransmissionsOut, counts.retransmitted.wrapping_sub(self.retransmitted));
        cells.add(Counter::SipRetransmissionsIn, counts.absorbed.wrapping_sub(self.absorbed));
        (self.retransmitted, self.absorbed) = (counts.retransmitted, counts.absorbed);
    }
}
