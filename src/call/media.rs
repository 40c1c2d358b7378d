//! The media of one call: its streams in the relay, and the descriptions that each side is shown.
//!
//! Owned by the [`Call`]. What A offers to us we offer to B with our ports in it, and so back (RFC 3264). An offer that
//! changes a session takes effect with its answer, so that a refused one changes nothing (RFC 3264 §8).

use super::content::{session_body, text};
use super::core::Core;
use super::directory::Peer;
use super::routing::Target;
use crate::base::{Side, Slot};
use crate::media::{
    Refused, RemoteOptions, SideOptions, SideReport, StreamKind, StreamOptions, StreamReport, StreamSlot, Way,
};
use crate::observe::{self, Counter, DropReason, Event, Level, MediaPath, MediaReport};
use crate::sdp::parse::streams_of;
use crate::sdp::{Author, CodecFilter, Media, MediaKind, MediaPlan, Negotiation, SdpError, Session};
use crate::sip::wire::Message;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Streams of one call; further `m=` lines are rejected.
const LINES_MAX: usize = 8;

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    slot: Option<StreamSlot>,
    kind: MediaKind,
    /// The side whose offer is open, or was answered last, said `a=rtcp-mux`.
    mux_offered: bool,
    codec: Arc<str>,
}

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

    /// The answer stands: silence means something from now on, and rejected streams give their ports back.
    fn settle(&mut self, core: &mut Core, answer: &Session<'_>) {
        for (at, line) in self.lines.iter_mut().enumerate() {
            let Some(slot) = line.slot else { continue };
            // An answer that leaves a stream out has rejected it.
            let Some(media) = answer.media.get(at).filter(|media| !media.is_rejected()) else {
                line.slot = None;
                if let Some(report) = core.relay.close(core.now, slot)
                    && report.sides.iter().any(|side| side.packets > 0)
                {
                    self.ended.push((report, line.kind, std::mem::take(&mut line.codec)));
                }
                continue;
            };
            core.relay.set_answered(core.now, slot);
            if let Some(codec) = media.codecs().find(|codec| !codec.name.eq_ignore_ascii_case(b"telephone-event")) {
                line.codec = text(codec.name);
            }
        }
    }

    fn open_lines(&mut self, core: &mut Core, session: &Session<'_>) -> Result<(), u16> {
        for (at, media) in session.media.iter().enumerate().take(LINES_MAX) {
            if at >= self.lines.len() {
                self.lines.push(Line { slot: None, kind: media.kind, mux_offered: false, codec: "".into() });
            }
            let wanted = media.is_relayable() && !media.is_rejected();
            if !wanted || self.lines[at].slot.is_some() {
                continue;
            }
            let options = StreamOptions {
                kind: match media.kind {
                    _ if !media.is_rtp() => StreamKind::Raw,
                    MediaKind::Audio => StreamKind::Audio,
                    _ => StreamKind::Video,
                },
                owner: self.owner,
                a: self.side_options(core, Side::A, media.kind),
                b: self.side_options(core, Side::B, media.kind),
            };
            match core.relay.open(core.now, options) {
                Ok(slot) => (self.lines[at].slot, self.lines[at].kind) = (Some(slot), media.kind),
                Err(refused) => {
                    if refused != Refused::Family {
                        core.counters.limit(observe::LimitReason::PortsFull);
                    }
                    core.event(
                        Event::new(core.now, core.shard, Level::Error, "no media stream")
                            .word("reason", refused.as_str()),
                    );
                    if refused == Refused::Family {
                        self.warning = Some(warning::ADDRESSES);
                        return Err(488);
                    }
                    return Err(503);
                }
            }
        }
        Ok(())
    }

    fn side_options(&self, core: &Core, side: Side, kind: MediaKind) -> SideOptions {
        let qos = self.origins[side.index()].and_then(|origin| core.directory.peer_qos(origin.peer));
        let dscp = qos.map_or(0, |qos| if kind == MediaKind::Video { qos.dscp_video } else { qos.dscp_audio });
        SideOptions { v6: self.v6[side.index()], dscp }
    }

    /// Tells the relay what a side's description says.
    fn apply(&mut self, core: &mut Core, side: Side, session: &Session<'_>, is_offer: bool) {
        let origin = self.origins[side.index()];
        for (line, media) in self.lines.iter_mut().zip(&session.media) {
            if is_offer {
                line.mux_offered = media.rtcp_mux;
            }
            let Some(slot) = line.slot else { continue };
            let trunk = match origin.map(|origin| origin.peer) {
                Some(Peer::Trunk(trunk)) => core.directory.trunk(trunk),
                _ => None,
            };
            let symmetric = trunk.is_some_and(|trunk| trunk.rtp_symmetric);
            let mux = media.rtcp_mux && (is_offer || line.mux_offered);
            let options = remote_options(media, origin, mux, symmetric);
            core.relay.set_remote(core.now, slot, side, &options);
        }
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

    fn close_lines(&mut self, core: &mut Core) {
        self.ended.reserve_exact(self.lines.len());
        for line in self.lines.drain(..) {
            let Some(report) = line.slot.and_then(|slot| core.relay.close(core.now, slot)) else { continue };
            self.ended.push((report, line.kind, line.codec));
        }
    }

    /// What was not chosen is told of only where something was heard.
    fn close_spare(&mut self, core: &mut Core) {
        for line in self.spare.drain(..) {
            let Some(report) = line.slot.and_then(|slot| core.relay.close(core.now, slot)) else { continue };
            if report.sides.iter().any(|side| side.packets > 0) {
                self.ended.push((report, line.kind, line.codec));
            }
        }
    }

    /// Ends all streams; what the record says of the caller's and of the called side's.
    pub fn close(&mut self, core: &mut Core) -> (Vec<MediaReport>, Vec<MediaReport>) {
        self.close_lines(core);
        self.close_spare(core);
        let path = core.settings.path;
        let ended = std::mem::take(&mut self.ended);
        for (report, ..) in &ended {
            core.counters.add(Counter::MediaLost, report.sides.iter().map(|side| side.lost).sum());
        }
        let of = |side: Side| {
            ended.iter().map(|(report, kind, codec)| media_report(report.side(side), *kind, codec, path)).collect()
        };
        (of(Side::A), of(Side::B))
    }

    /// True while any stream has a reason to go on.
    #[must_use]
    pub fn is_alive(&self, core: &Core) -> bool {
        self.lines.iter().any(|line| line.slot.is_some_and(|slot| core.relay.is_alive(core.now, slot)))
    }

    /// RTP packets so far from the caller, from the called side.
    #[must_use]
    pub fn packets(&self, core: &Core) -> (u64, u64) {
        let reports = self.lines.iter().filter_map(|line| core.relay.report(core.now, line.slot?));
        reports.fold((0, 0), |(a, b), report| (a + report.sides[0].packets, b + report.sides[1].packets))
    }

    /// What carries the first stream's packets from the caller, and those from the called side.
    #[must_use]
    pub fn paths(&self, core: &Core) -> (Option<MediaPath>, Option<MediaPath>) {
        let Some(report) = self.lines.iter().find_map(|line| core.relay.report(core.now, line.slot?)) else {
            return (None, None);
        };
        let of = |side: Side| match report.side(side).way {
            Way::Below => MediaPath::Xdp,
            Way::Socket => core.settings.path,
        };
        (Some(of(Side::A)), Some(of(Side::B)))
    }
}

fn is_v6(remote: SocketAddr) -> bool {
    !matches!(remote.ip().to_canonical(), IpAddr::V4(_))
}

/// `symmetric`: a trunk whose media may come from elsewhere, by its setting.
fn remote_options(media: &Media<'_>, origin: Option<Origin>, mux: bool, symmetric: bool) -> RemoteOptions {
    let rtp = media.rtp();
    let (telephone_event, clock_rates) = media.event_and_clocks();
    let signalled_from = origin.map(|origin| origin.remote.ip().to_canonical());
    // A phone's media and signalling come from one host; where its description says otherwise, there is a NAT between.
    let phone = origin.is_some_and(|origin| matches!(origin.peer, Peer::Account(_)));
    let elsewhere = rtp.is_none_or(|rtp| Some(rtp.ip()) != signalled_from);
    // A name is not resolved: whoever is meant is found by its packets.
    let behind_nat = phone && elsewhere || symmetric || media.is_named();
    RemoteOptions {
        rtp,
        rtcp: media.rtcp(),
        mux,
        behind_nat,
        symmetric: phone || symmetric,
        signalled_from,
        direction: media.effective_direction(),
        telephone_event,
        encrypted: media.encrypted,
        clock_rates,
    }
}

fn media_report(side: &SideReport, kind: MediaKind, codec: &Arc<str>, path: MediaPath) -> MediaReport {
    MediaReport {
        kind: match kind {
            MediaKind::Audio => observe::MediaKind::Audio,
            MediaKind::Video => observe::MediaKind::Video,
            MediaKind::Image | MediaKind::Other => observe::MediaKind::Other,
        },
        codec: Arc::clone(codec),
        packets: side.packets,
        bytes: side.bytes,
        lost: side.lost,
        duplicates: side.duplicates,
        jitter_ms: side.jitter_ms as f32,
        mos: side.mos.map(|mos| mos as f32),
        one_way: side.one_way,
        dtmf_digits: side.digits,
        strays: side.strays,
        dscp: side.dscp,
        remote: side.source.or(side.signalled),
        path: if side.packets_below * 2 > side.packets { MediaPath::Xdp } else { path },
        packets_xdp: side.packets_below,
    }
}

/// The reason for a dropped packet in the words of the metrics.
#[must_use]
pub const fn drop_label(reason: crate::media::DropReason) -> DropReason {
    use crate::media::DropReason as Relay;
    match reason {
        Relay::UnknownSocket => DropReason::UnknownSocket,
        Relay::NoStream => DropReason::MediaNoStream,
        Relay::WrongSource | Relay::Unverified => DropReason::MediaStray,
        Relay::Malformed => DropReason::RtpMalformed,
        Relay::NoDestination => DropReason::MediaNoDestination,
        Relay::Held => DropReason::MediaDirection,
    }
}
