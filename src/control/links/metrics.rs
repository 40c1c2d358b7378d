//! The links' part of `/metrics`. Peers are named, accounts never.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use super::handle::Handle;
use super::status::{LinkStatus, Reason};
use crate::base::Instant;
use crate::control::page::Page;

/// Writes it; without links, only the descriptions.
pub(in crate::control) fn write(page: &mut Page<'_, '_>, links: Option<&Handle>, now: Instant) -> fmt::Result {
    let status = links.map(Handle::status);
    let peers = || status.into_iter().flat_map(|status| status.peers.iter().enumerate().zip(std::iter::repeat(status)));
    let lag = peers().map(|((at, peer), status)| (&*peer.name, status.lag(at, now).as_secs_f64())).collect();
    let help =
        "How old what the peer has told may be, by the last stamp that came back; without a link, since its last word";
    page.levels("strowger_link_lag_seconds", help, "peer", lag)?;
    let up = peers().map(|((at, peer), status)| (&*peer.name, f64::from(u8::from(status.is_up(at))))).collect();
    page.levels("strowger_link_up", "1 while the link to the peer stands", "peer", up)?;
    let differ = |at, status: &LinkStatus| f64::from(u8::from(status.disagreement(at).is_some()));
    let differs = peers().map(|((at, peer), status)| (&*peer.name, differ(at, status))).collect();
    let help = "1 while the peer has other limits in its configuration than this site";
    page.levels("strowger_link_terms_differ", help, "peer", differs)?;
    let Some((links, status)) = links.zip(status) else { return Ok(()) };
    let totals = status.totals();
    let mut refusals: Vec<_> = Reason::ALL.iter().map(|&reason| (reason.as_str(), status.refusals(reason))).collect();
    refusals.push(("rights", totals.refused));
    page.labelled("strowger_link_refusals", "Links and messages of peers that were refused", "reason", refusals)?;
    let traffic = &status.traffic;
    page.counter("strowger_link_sent_bytes", "Octets of frames to peers", traffic.sent_bytes.load(Relaxed))?;
    let received = traffic.received_frames.load(Relaxed);
    page.counter("strowger_link_received_frames", "Frames of peers", received)?;
    let ledger = links.ledger();
    let writable = u64::from(ledger.works() && !links.is_closed());
    page.gauge("strowger_ledger_writable", "1 while rights that move can be written down", writable)?;
    page.gauge("strowger_ledger_bytes", "Size of the ledger", ledger.bytes())?;
    let [records, batches, failures] = ledger.counts();
    page.counter("strowger_ledger_records", "Records written", records)?;
    page.counter("strowger_ledger_batches", "Groups of them, one fsync each", batches)?;
    page.counter("strowger_ledger_failures", "Writes that the disk refused", failures)?;
    page.gauge("strowger_rights_founded", "1 once this home may make rights", u64::from(totals.founded))?;
    page.gauge("strowger_rights_loans_out", "Loans to other sites", totals.loans_out as u64)?;
    page.gauge("strowger_rights_loans_in", "Loans from other sites", totals.loans_in as u64)?;
    page.gauge("strowger_rights_waiters", "Calls that wait for a right", totals.waiters as u64)?;
    let answers = vec![("granted", totals.granted), ("denied", totals.denied)];
    page.labelled("strowger_rights_requests", "Requests of other sites that were answered", "answer", answers)
}
