//! What all shards have of the program together: the sources it drops, and why packets passed it by.

use super::layout::Reason;
use super::memory::Memory;
use super::table::Commons;
use crate::media::path::{PassReason, PathTotals};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

/// The blocklist and the totals.
#[derive(Debug)]
pub(super) struct Shared {
    memory: Arc<Memory>,
    is_ours: Arc<AtomicBool>,
}

impl Shared {
    /// Of a program; `is_ours` is false while another process has it.
    pub(super) fn new(memory: Arc<Memory>, is_ours: Arc<AtomicBool>) -> Self {
        Self { memory, is_ours }
    }
}

impl Commons for Shared {
    fn block(&self, source: IpAddr, ticks: u64) {
        let mut key = [0; 16];
        match source {
            IpAddr::V4(source) => key = source.to_ipv6_mapped().octets(),
            // A host has a whole /64 to send from.
            IpAddr::V6(source) => key[..8].copy_from_slice(&source.octets()[..8]),
        }
        if let Some(blocked) = &self.memory.blocked {
            // Refused after capabilities were dropped, on old kernels: then the sockets see the source as before.
            let _ = blocked.update(&key, &ticks.to_ne_bytes());
        }
    }

    fn is_ours(&self) -> bool {
        self.is_ours.load(Acquire)
    }

    fn totals(&self) -> PathTotals {
        let count =
            |reason: Reason| self.memory.totals.iter().map(|cpu| cpu.count[reason as usize].load(Relaxed)).sum::<u64>();
        let mut totals =
            PathTotals { closed: count(Reason::Closed), blocked: count(Reason::Blocked), ..PathTotals::default() };
        for reason in Reason::ALL {
            let as_told = match reason {
                Reason::Closed | Reason::Blocked => continue,
                Reason::Open | Reason::Control => PassReason::Open,
                Reason::Expired => PassReason::Expired,
                Reason::Source => PassReason::Source,
                Reason::NotRtp => PassReason::NotRtp,
                Reason::Stream => PassReason::Unexpected,
                Reason::NoHop => PassReason::NoHop,
                Reason::TooBig | Reason::NoRoom => PassReason::TooBig,
                Reason::Unusual => PassReason::Odd,
                Reason::Torn => PassReason::Torn,
            };
            totals.passed[as_told.index()] += count(reason);
        }
        totals
    }
}
