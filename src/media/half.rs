//! One side of a stream: what signalling says of it, what its packets said, what is reported of it.

use super::dtmf::Detector;
use super::learning::{Latch, Signal};
use super::options::{CLOCK_RATES_MAX, RemoteOptions, SideOptions, StreamKind};
use super::path::{FastCounts, SETTLE};
use super::quality::{Impairment, Quality, mouth_to_ear, opinion_score};
use super::relay::{Expect, Rule};
use super::report::{SideReport, Way};
use super::rtcp::{Compound, Item};
use super::rtp::{self, Header};
use crate::base::time::Duration;
use crate::base::{Direction, Instant, SocketKey};
use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Comfort noise (RFC 3389): who sends it may then say nothing for long.
const COMFORT_NOISE: u8 = 13;
/// A pause longer than this ends a run of packets.
pub(super) const RUN_GAP: Duration = Duration::from_secs(1);

/// What every packet of a settled stream touches, kept together for the cache.
#[derive(Debug, Serialize, Deserialize)]
#[repr(C, align(64))]
pub(super) struct Track {
    pub(super) rule: Option<Rule>,
    /// The last payload type and its clock rate; none after a new description.
    clock: Option<(u8, u32)>,
    /// Told silent: the next packet is news.
    pub(super) one_way_told: bool,
    paused: bool,
    last_rtp: Option<Instant>,
    run_started: Instant,
    packets: u64,
    bytes: u64,
    quality: Quality,
}

/// By which way a side's packets go now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lane {
    /// The payload type that goes down, while any does.
    pub(super) down: Option<u8>,
    /// What is down is not the rule any more.
    pub(super) stale: bool,
    /// Not down before.
    pub(super) ready: Instant,
}

/// What one side of a stream knows and has counted.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Half {
    pub(super) track: Track,
    /// Whoever thaws it is told apart what is down.
    #[serde(skip)]
    pub(super) lane: Lane,
    /// What its voice looks like.
    pub(super) expect: Option<Expect>,
    pub(super) rtp: Latch,
    pub(super) rtcp: Latch,
    pub(super) rtp_socket: SocketKey,
    pub(super) rtcp_socket: SocketKey,
    mux: bool,
    pub(super) encrypted: bool,
    pub(super) known: bool,
    pub(super) direction: Direction,
    pub(super) telephone_event: Option<u8>,
    clock_rates: ArrayVec<(u8, u32), CLOCK_RATES_MAX>,
    pub(super) expected_since: Option<Instant>,
    pub(super) detector: Detector,
    last_other: Instant,
    last_payload_type: Option<u8>,
    pub(super) sender_report: Option<(u32, Instant)>,
    signalled: Option<SocketAddr>,
    pub(super) report: SideReport,
    pub(super) options: SideOptions,
    /// The even port of the pair towards this side.
    pub(super) port: u16,
}

impl Half {
    pub(super) fn new(now: Instant, options: SideOptions, port: u16, sockets: (SocketKey, SocketKey)) -> Self {
        let track = Track {
            rule: None,
            clock: None,
            one_way_told: false,
            paused: false,
            last_rtp: None,
            run_started: now,
            packets: 0,
            bytes: 0,
            quality: Quality::default(),
        };
        Self {
            track,
            lane: Lane::default(),
            expect: None,
            rtp: Latch::default(),
            rtcp: Latch::default(),
            rtp_socket: sockets.0,
            rtcp_socket: sockets.1,
            mux: false,
            encrypted: false,
            known: false,
            direction: Direction::default(),
            telephone_event: None,
            clock_rates: ArrayVec::new(),
            expected_since: None,
            detector: Detector::default(),
            last_other: now,
            last_payload_type: None,
            sender_report: None,
            signalled: None,
            report: SideReport { dscp: options.dscp, ..SideReport::default() },
            options,
            port,
        }
    }

    pub(super) fn set_remote(&mut self, options: &RemoteOptions) {
        let RemoteOptions { rtp, rtcp, behind_nat, symmetric, signalled_from, .. } = *options;
        self.rtp.signal(Signal { address: rtp, signalled_from, behind_nat, symmetric });
        let above = || rtp.and_then(|rtp| Some(SocketAddr::new(rtp.ip(), rtp.port().checked_add(1)?)));
        self.rtcp.signal(Signal { address: rtcp.or_else(above), signalled_from, behind_nat, symmetric });
        self.known = true;
        self.mux = options.mux;
        self.encrypted = options.encrypted;
        self.direction = options.direction;
        self.telephone_event = options.telephone_event;
        self.clock_rates.clone_from(&options.clock_rates);
        self.signalled = rtp;
    }

    /// Puts another rule in place; the old one's packets stay counted.
    pub(super) fn set_rule(&mut self, now: Instant, rule: Option<Rule>) {
        let is_same = match (&self.track.rule, &rule) {
            (Some(old), Some(new)) => old.is_same(new),
            (old, new) => old.is_none() && new.is_none(),
        };
        if is_same {
            return;
        }
        if let Some(old) = std::mem::replace(&mut self.track.rule, rule) {
            self.report.forwarded += old.packets;
        }
        self.lane.stale = self.lane.down.is_some();
        self.lane.ready = now + SETTLE;
    }

    /// True for telephone events and comfort noise, which come between voice and change nothing about it.
    pub(super) fn is_aside(&self, payload_type: u8, far: &Self) -> bool {
        payload_type == COMFORT_NOISE || far.telephone_event.or(self.telephone_event) == Some(payload_type)
    }

    /// Takes what a fast path has relayed of this side.
    pub(super) fn take(&mut self, counts: &FastCounts) {
        if counts.packets == 0 {
            return;
        }
        let track = &mut self.track;
        track.packets += counts.packets;
        track.bytes += counts.bytes;
        track.quality.take(counts);
        self.report.forwarded += counts.packets;
        self.report.packets_below += counts.packets;
        let Some(last) = counts.last.filter(|last| track.last_rtp.is_none_or(|known| *last > known)) else { return };
        if track.last_rtp.is_none_or(|known| last.since(known) > RUN_GAP) {
            track.run_started = last;
        }
        track.last_rtp = Some(last);
        // Voice again after comfort noise, or after an event.
        track.paused = false;
        track.clock = None;
        self.last_payload_type = self.lane.down.or(self.last_payload_type);
    }

    /// Its packets go down from now on.
    pub(super) fn lower(&mut self, payload_type: u8) {
        self.lane = Lane { down: Some(payload_type), stale: false, ..self.lane };
        self.track.quality.begin_series();
    }

    /// They have been down in the life before, and go on: one series.
    pub(super) fn adopt(&mut self, payload_type: u8) {
        self.lane = Lane { down: Some(payload_type), stale: false, ..self.lane };
    }

    /// They come up again, and may go down once `ready`.
    pub(super) fn raise(&mut self, ready: Instant) {
        self.lane = Lane { down: None, stale: false, ready };
    }

    /// Where and by which socket this side gets RTCP.
    pub(super) fn rtcp_way(&self) -> (SocketKey, Option<SocketAddr>) {
        if self.mux { (self.rtp_socket, self.rtp.destination()) } else { (self.rtcp_socket, self.rtcp.destination()) }
    }

    /// Measures an RTP packet. `far` has declared the payload types that this side uses (RFC 3264 §5.1).
    #[inline]
    pub(super) fn note(&mut self, now: Instant, header: &Header, len: usize, far: &Self) {
        let clock_rate = match self.track.clock {
            Some((payload_type, rate)) if payload_type == header.payload_type => rate,
            _ => self.change_clock(header.payload_type, far),
        };
        let track = &mut self.track;
        if track.last_rtp.is_none_or(|last| now.since(last) > RUN_GAP) {
            track.run_started = now;
        }
        track.last_rtp = Some(now);
        track.packets += 1;
        track.bytes += len as u64;
        track.quality.handle_packet(now, header, clock_rate);
    }

    #[cold]
    fn change_clock(&mut self, payload_type: u8, far: &Self) -> u32 {
        self.track.paused = payload_type == COMFORT_NOISE;
        self.last_payload_type = Some(payload_type);
        // An event's timestamp stands still while it lasts; comfort noise comes when it likes.
        let is_untimed = far.telephone_event == Some(payload_type) || payload_type == COMFORT_NOISE;
        let rate = if is_untimed { 0 } else { self.clock_rate(payload_type, far) };
        self.track.clock = Some((payload_type, rate));
        rate
    }

    /// The clock of a payload type that this side sends; zero where nobody has said.
    pub(super) fn clock_rate(&self, payload_type: u8, far: &Self) -> u32 {
        let of = |rates: &[(u8, u32)]| rates.iter().find(|(have, _)| *have == payload_type).map(|(_, rate)| *rate);
        let said = of(&far.clock_rates).or_else(|| of(&self.clock_rates));
        said.or_else(|| rtp::static_clock_rate(payload_type)).unwrap_or(0)
    }

    /// Its next packet asks anew what its payload type means.
    pub(super) fn forget_clock(&mut self) {
        self.track.clock = None;
    }

    /// Something other than RTP came.
    pub(super) fn note_other(&mut self, now: Instant) {
        self.last_other = now;
    }

    /// When anything came last.
    pub(super) fn last_heard(&self) -> Instant {
        self.track.last_rtp.map_or(self.last_other, |last| last.max(self.last_other))
    }

    /// It has said that it will pause.
    pub(super) fn is_paused(&self) -> bool {
        self.track.paused
    }

    /// When its last RTP packet came.
    pub(super) fn last_rtp(&self) -> Option<Instant> {
        self.track.last_rtp
    }

    /// Since when it has been sending without a longer pause, while it does.
    pub(super) fn talking_since(&self, now: Instant) -> Option<Instant> {
        let last = self.track.last_rtp?;
        (now.since(last) <= RUN_GAP).then_some(self.track.run_started)
    }

    /// Reads reports: remembers a sender report, and measures the way to this side by the echo of the far one's
    /// (RFC 3550 §6.4.1), which went through us at the time given.
    pub(super) fn read_rtcp(&mut self, now: Instant, packet: &[u8], far_report: Option<(u32, Instant)>) {
        for item in Compound::parse(packet).into_iter().flatten() {
            let blocks = match item {
                Item::Sender { info, blocks, .. } => {
                    self.sender_report = Some((info.middle(), now));
                    blocks
                }
                Item::Receiver { blocks, .. } => blocks,
                Item::Other(..) | Item::Goodbye => continue,
            };
            for block in blocks {
                let echo = far_report.filter(|(middle, _)| *middle != 0 && *middle == block.last_sender_report);
                let Some((_, sent)) = echo else { continue };
                let waited = Duration::from_nanos(u64::from(block.delay_since_last) * 1_000_000_000 / 65_536);
                self.report.round_trip_ms = Some(now.since(sent).saturating_sub(waited).as_secs_f64() * 1000.0);
            }
        }
    }

    pub(super) fn report(&self, kind: StreamKind) -> SideReport {
        let Track { quality, rule, packets, bytes, .. } = &self.track;
        let figures = quality.figures();
        let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let round_trip = self.report.round_trip_ms.map(|millis| Duration::from_secs_f64(millis / 1000.0));
        let codec = self.last_payload_type.map_or(Impairment::G711, Impairment::of);
        let is_heard = kind == StreamKind::Audio && figures.packets > 0;
        SideReport {
            packets: *packets,
            bytes: *bytes,
            forwarded: self.report.forwarded + rule.map_or(0, |rule| rule.packets),
            expected: figures.expected,
            lost: figures.lost,
            duplicates: figures.duplicates,
            reordered: figures.reordered,
            jitter_ms: millis(figures.jitter),
            jitter_ms_max: millis(figures.jitter_max),
            mos: is_heard.then(|| opinion_score(&figures, mouth_to_ear(round_trip, figures.jitter), codec)),
            payload_type: self.last_payload_type,
            ssrc: quality.ssrc(),
            signalled: self.signalled,
            source: self.rtp.settled(),
            way: if self.lane.down.is_some() { Way::Below } else { Way::Socket },
            ..self.report
        }
    }
}
