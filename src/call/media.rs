//! The media of one call: its streams in the relay, and the descriptions that each side is shown.
//!
//! Owned by the [`Call`](super::state::Call). What A offers to us we offer to B with our ports in it, and so back (RFC 3264). An offer that
//! changes a session takes effect with its answer, so that a refused one changes nothing (RFC 3264 §8).

mod lines;
mod report;

pub use report::drop_label;

use super::content::session_body;
use super::core::Core;
use super::directory::Peer;
use super::routing::Target;
use crate::base::{Side, Slot};
use crate::media::StreamReport;
use crate::sdp::parse::streams_of;
use crate::sdp::{Author, CodecFilter, MediaKind, MediaPlan, Negotiation, SdpError, Session};
use crate::sip::wire::Message;
use bytes::Bytes;
use lines::Line;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Values of Warning (RFC 3261 §20.43) for what is refused here.
mod warning {
    pub const ADDRESSES: &str = "301 - \"Incompatible network address formats\"";
    pub const FORMATS: &str = "305 - \"Incompatible media format\"";
    pub const MULTICAST: &str = "330 - \"Multicast not available\"";
}

/// Where a side's signalling comes from and how far its descriptions are believed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// Where its messages come from.
    pub remote: SocketAddr,
    /// Who it is.
    pub peer: Peer,
}

/// See the head of this file.
#[derive(Debug, Serialize, Deserialize)]
pub struct MediaSession {
    owner: Slot,
    lines: Vec<Line>,
    /// While it rings at phones of both families: the streams towards the other one.
    spare: Vec<Line>,
    v6: [bool; 2],
    negotiation: Negotiation,
    authors: [Option<Author>; 2],
    pending: Option<(Side, Bytes)>,
    /// The open offer as its party wrote it.
    offered: Option<Bytes>,
    /// Why the last description was refused.
    #[serde(skip)]
    warning: Option<&'static str>,
    origins: [Option<Origin>; 2],
    ended: Vec<(StreamReport, MediaKind, Arc<str>)>,
}

impl MediaSession {
    /// Every place where an account or a trunk is named.
    pub fn each_peer(&mut self, visit: &mut dyn FnMut(&mut Peer)) {
        self.origins.iter_mut().flatten().for_each(|origin| visit(&mut origin.peer));
    }

    /// No streams yet.
    #[must_use]
    pub fn new(owner: Slot) -> Self {
        Self {
            owner,
            lines: Vec::new(),
            spare: Vec::new(),
            v6: [false; 2],
            negotiation: Negotiation::new(),
            authors: [None, None],
            pending: None,
            offered: None,
            warning: None,
            origins: [None, None],
            ended: Vec::new(),
        }
    }

    /// The caller's offer as this target is shown it; none when the INVITE had none.
    ///
    /// # Errors
    /// The status with which the call fails.
    pub fn offer_towards_b(
        &mut self,
        core: &mut Core,
        a: Origin,
        target: &Target,
        invite: &Message<'_>,
        codecs: &CodecFilter,
    ) -> Result<Option<Vec<u8>>, u16> {
        self.origins[Side::A.index()] = Some(a);
        self.origins[Side::B.index()] = Some(Origin { remote: target.flow.remote, peer: target.peer });
        self.v6[Side::A.index()] = is_v6(a.remote);
        self.towards(target.flow.remote);
        let Some(sdp) = session_body(invite) else { return Ok(None) };
        let session = self.read(sdp)?;
        self.v6[Side::A.index()] = session.is_v6().unwrap_or(is_v6(a.remote));
        self.offered.get_or_insert_with(|| Bytes::copy_from_slice(sdp));
        if self.negotiation.open() != Some(Side::A) {
            self.negotiation.offer(Side::A).map_err(|refusal| refusal.status())?;
        }
        self.open_lines(core, &session)?;
        self.apply(core, Side::A, &session, true);
        self.write(core, Side::B, &session, codecs, true).map(Some)
    }

    /// An early answer of a branch, as the caller is shown it; the offer stays open.
    ///
    /// # Errors
    /// The status that says what is wrong with it.
    pub fn preview_from_b(
        &mut self,
        core: &mut Core,
        b: Origin,
        sdp: &[u8],
        codecs: &CodecFilter,
    ) -> Result<Vec<u8>, u16> {
        self.origins[Side::B.index()] = Some(b);
        self.towards(b.remote);
        let session = self.read(sdp)?;
        self.check_family(Side::B, &session)?;
        self.apply(core, Side::B, &session, false);
        self.write(core, Side::A, &session, codecs, false)
    }

    /// The winner's answer, as the caller is shown it.
    ///
    /// # Errors
    /// The status that says what is wrong with it.
    pub fn answer_from_b(
        &mut self,
        core: &mut Core,
        b: Origin,
        sdp: &[u8],
        codecs: &CodecFilter,
    ) -> Result<Vec<u8>, u16> {
        self.origins[Side::B.index()] = Some(b);
        self.towards(b.remote);
        self.close_spare(core);
        self.answer(core, Side::B, sdp, codecs)
    }

    /// Each family has sockets of its own: a call that rings at phones of both has streams for both until one answers.
    fn towards(&mut self, callee: SocketAddr) {
        if self.v6[Side::B.index()] != is_v6(callee) {
            self.v6[Side::B.index()] = is_v6(callee);
            std::mem::swap(&mut self.lines, &mut self.spare);
        }
    }

    /// The offer in the 2xx of an INVITE that had none, as the caller is shown it.
    ///
    /// # Errors
    /// The status with which the call fails.
    pub fn offer_from_b(
        &mut self,
        core: &mut Core,
        a: Origin,
        b: Origin,
        sdp: &[u8],
        codecs: &CodecFilter,
    ) -> Result<Vec<u8>, u16> {
        self.origins = [Some(a), Some(b)];
        let session = self.read(sdp)?;
        self.v6 = [is_v6(a.remote), session.is_v6().unwrap_or(is_v6(b.remote))];
        self.offered = Some(Bytes::copy_from_slice(sdp));
        self.negotiation.offer(Side::B).map_err(|refusal| refusal.status())?;
        self.open_lines(core, &session)?;
        self.apply(core, Side::B, &session, true);
        self.write(core, Side::A, &session, codecs, true)
    }

    /// An offer that changes the session, as the other side is shown it.
    ///
    /// # Errors
    /// The status with which it is refused: 491 for glare (RFC 3261 §14.2), 500 while the side's own is open, 503 without a media port, or 488.
    pub fn reoffer(&mut self, core: &mut Core, from: Side, sdp: &[u8], codecs: &CodecFilter) -> Result<Vec<u8>, u16> {
        let session = self.read(sdp)?;
        self.negotiation.close();
        self.negotiation.offer(from).map_err(|refusal| refusal.status())?;
        self.check_family(from, &session)
            .and_then(|()| self.open_lines(core, &session))
            .inspect_err(|_| self.withdraw())?;
        let offer = Bytes::copy_from_slice(sdp);
        self.pending = Some((from, offer.clone()));
        self.offered = Some(offer);
        self.write(core, from.other(), &session, codecs, true)
    }

    /// The answer to the open offer, as the side that offered is shown it.
    ///
    /// # Errors
    /// The status that says what is wrong with it.
    pub fn answer(&mut self, core: &mut Core, from: Side, sdp: &[u8], codecs: &CodecFilter) -> Result<Vec<u8>, u16> {
        let session = self.read(sdp)?;
        self.negotiation.body(from).map_err(|refusal| refusal.status())?;
        self.check_family(from, &session)?;
        if let Some((side, offer)) = self.pending.take()
            && let Ok(offer) = Session::parse(&offer)
        {
            self.apply(core, side, &offer, true);
        }
        self.apply(core, from, &session, false);
        let shown = self.write(core, from.other(), &session, codecs, false);
        self.settle(core, &session);
        self.offered = None;
        shown
    }

    fn read<'a>(&mut self, sdp: &'a [u8]) -> Result<Session<'a>, u16> {
        self.warning = None;
        Session::parse(sdp).map_err(|fault| {
            self.warning = (fault == SdpError::Multicast).then_some(warning::MULTICAST);
            fault.status()
        })
    }

    /// A side's sockets are of one family, that of its offer, or where we offered, that of its signalling; a description
    /// of the other family leads nowhere.
    fn check_family(&mut self, side: Side, session: &Session<'_>) -> Result<(), u16> {
        if session.is_v6().is_none_or(|v6| v6 == self.v6[side.index()]) {
            return Ok(());
        }
        self.warning = Some(warning::ADDRESSES);
        Err(488)
    }

    /// The Warning that belongs to the last refusal.
    pub fn take_warning(&mut self) -> Option<&'static str> {
        self.warning.take()
    }

    /// The open offer was refused: what was agreed before holds.
    pub fn withdraw(&mut self) {
        self.negotiation.withdraw();
        self.pending = None;
        self.offered = None;
    }

    /// Shows `to` the description of the other side, with our ports towards `to`.
    fn write(
        &mut self,
        core: &mut Core,
        to: Side,
        session: &Session<'_>,
        codecs: &CodecFilter,
        is_offer: bool,
    ) -> Result<Vec<u8>, u16> {
        let mut plan = Vec::with_capacity(session.media.len());
        for (line, media) in self.lines.iter().zip(&session.media) {
            let local = line.slot.and_then(|slot| core.relay.local(slot, to));
            plan.push(match local {
                Some((rtp, rtcp)) if !media.is_rejected() && codecs.accepts(media) => {
                    // RFC 5761 §5.1.1: an answer says mux where the offer did, whatever the other leg does.
                    let mux = if is_offer { media.rtcp_mux } else { line.mux_offered };
                    MediaPlan::relayed(rtp, rtcp).with_mux(mux).with_codecs(codecs)
                }
                _ => MediaPlan::rejected(),
            });
        }
        let address = plan.iter().find(|plan| plan.port != 0).map_or(IpAddr::from([0; 4]), |plan| plan.address);
        let author = self.authors[to.index()].get_or_insert_with(|| Author::new(core.random.next_u64(), address));
        let mut out = Vec::with_capacity(512);
        // An answer with as many streams as the offer needs nothing from it.
        let offer = self.offered.as_deref().filter(|offer| !is_offer && streams_of(offer) != session.media.len());
        let written = match offer.and_then(|offer| Session::parse(offer).ok()) {
            Some(offer) => author.write_answer(session, &offer, &plan, &mut out),
            None => author.write(session, &plan, &mut out),
        };
        if written.live == 0 && session.media.iter().any(|media| !media.is_rejected()) {
            self.warning = Some(warning::FORMATS);
            return Err(488);
        }
        Ok(out)
    }
}

fn is_v6(remote: SocketAddr) -> bool {
    !matches!(remote.ip().to_canonical(), IpAddr::V4(_))
}
