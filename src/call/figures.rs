//! Once a second: what the tables hold and what the lower rooms have counted, into the shard's cells.

use super::core::Core;
use crate::media::{PassReason, PathTotals, RelayCounts, Waiting};
use crate::observe::{Counter, Counters, DropReason, FastPathPass, Gauge, MediaPath};
use serde::{Deserialize, Serialize};

/// What was told last, of counts that only grow.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    retransmitted: u64,
    absorbed: u64,
    relay: RelayCounts,
    #[serde(default)]
    below: PathTotals,
}

impl Figures {
    /// For the next life: another fast path counts from zero.
    pub fn handed_on(&self, waiting: Waiting) -> Self {
        match waiting {
            Waiting::Below => self.clone(),
            Waiting::OnSockets => Self { below: PathTotals::default(), ..self.clone() },
        }
    }

    /// Writes the levels, and what came since the last time.
    pub fn publish(&mut self, core: &mut Core) {
        let (counts, cells) = (core.layer.counts(), &core.counters);
        cells.set(Gauge::TransactionsActive, (counts.clients + counts.servers) as u64);
        cells.set(Gauge::StreamsActive, core.relay.len() as u64);
        cells.set(Gauge::PortPairsFree, core.relay.port_counts().free as u64);
        cells.add(Counter::SipRetransmissionsOut, counts.retransmitted.wrapping_sub(self.retransmitted));
        cells.add(Counter::SipRetransmissionsIn, counts.absorbed.wrapping_sub(self.absorbed));
        (self.retransmitted, self.absorbed) = (counts.retransmitted, counts.absorbed);
        let (now, then) = (core.relay.counts(), std::mem::replace(&mut self.relay, core.relay.counts()));
        cells.media_many(MediaPath::Xdp, now.below - then.below, now.bytes_below - then.bytes_below);
        cells.add(Counter::FastPathDown, now.moves_down - then.moves_down);
        cells.add(Counter::FastPathUp, now.moves_up - then.moves_up);
        cells.add(Counter::FastPathRefused, now.moves_refused - then.moves_refused);
        cells.set(Gauge::FastPathSides, core.relay.sides_below() as u64);
        if let Some(totals) = core.relay.totals_below() {
            tell(&core.counters, &totals, &std::mem::replace(&mut self.below, totals));
        }
    }
}

fn tell(cells: &Counters, now: &PathTotals, then: &PathTotals) {
    cells.count_drops(DropReason::MediaNoStream, now.closed.saturating_sub(then.closed));
    cells.count_drops(DropReason::SourceBlocked, now.blocked.saturating_sub(then.blocked));
    for reason in PassReason::ALL {
        let news = now.passed[reason.index()].saturating_sub(then.passed[reason.index()]);
        cells.count_passes(pass_label(reason), news);
    }
}

const fn pass_label(reason: PassReason) -> FastPathPass {
    match reason {
        PassReason::Open => FastPathPass::Open,
        PassReason::Source => FastPathPass::Source,
        PassReason::NotRtp => FastPathPass::NotRtp,
        PassReason::Unexpected => FastPathPass::Unexpected,
        PassReason::Expired => FastPathPass::Expired,
        PassReason::NoHop => FastPathPass::NoHop,
        PassReason::TooBig => FastPathPass::TooBig,
        PassReason::Odd => FastPathPass::Odd,
        PassReason::Torn => FastPathPass::Torn,
    }
}
