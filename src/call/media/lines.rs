//! The `m=` lines of a call and their streams in the relay: opened with an offer, told what a description says, settled by
//! the answer, closed.

use super::super::content::text;
use super::super::core::Core;
use super::super::directory::Peer;
use super::{MediaSession, Origin, warning};
use crate::base::Side;
use crate::media::{Refused, RemoteOptions, SideOptions, StreamKind, StreamOptions, StreamSlot};
use crate::observe::{Event, Level, LimitReason};
use crate::sdp::{Media, MediaKind, Session};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Streams of one call; further `m=` lines are rejected.
const LINES_MAX: usize = 8;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) slot: Option<StreamSlot>,
    pub(super) kind: MediaKind,
    /// The side whose offer is open, or was answered last, said `a=rtcp-mux`.
    pub(super) mux_offered: bool,
    pub(super) codec: Arc<str>,
}

impl MediaSession {
    /// The answer stands: silence means something from now on, and rejected streams give their ports back.
    pub(super) fn settle(&mut self, core: &mut Core, answer: &Session<'_>) {
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

    pub(super) fn open_lines(&mut self, core: &mut Core, session: &Session<'_>) -> Result<(), u16> {
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
                        core.counters.limit(LimitReason::PortsFull);
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
    pub(super) fn apply(&mut self, core: &mut Core, side: Side, session: &Session<'_>, is_offer: bool) {
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

    pub(super) fn close_lines(&mut self, core: &mut Core) {
        self.ended.reserve_exact(self.lines.len());
        for line in self.lines.drain(..) {
            let Some(report) = line.slot.and_then(|slot| core.relay.close(core.now, slot)) else { continue };
            self.ended.push((report, line.kind, line.codec));
        }
    }

    /// What was not chosen is told of only where something was heard.
    pub(super) fn close_spare(&mut self, core: &mut Core) {
        for line in self.spare.drain(..) {
            let Some(report) = line.slot.and_then(|slot| core.relay.close(core.now, slot)) else { continue };
            if report.sides.iter().any(|side| side.packets > 0) {
                self.ended.push((report, line.kind, line.codec));
            }
        }
    }
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
