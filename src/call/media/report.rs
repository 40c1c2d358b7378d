//! What is told of a call's media: while it is up to whoever asks, at its end to its record.

use super::super::core::Core;
use super::MediaSession;
use crate::base::Side;
use crate::media::{SideReport, Way};
use crate::observe::{self, Counter, DropReason, MediaPath, MediaReport};
use crate::sdp::MediaKind;
use std::sync::Arc;

impl MediaSession {
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
