//! One stream between two sides: where each packet goes, what it says about its sender, and who has fallen silent.

use super::dtmf::{self, Detector, Event};
use super::learning::{Evidence, Judgement, Latch, Signal};
use super::options::{CLOCK_RATES_MAX, RemoteOptions, SideOptions, StreamKind};
use super::quality::{Impairment, Quality, mouth_to_ear, opinion_score};
use super::relay::{Applied, DropReason, Rule, Verdict, apply};
use super::report::{MediaEvent, SideReport, StreamReport, StreamSlot};
use super::rtcp::{Compound, Item};
use super::rtp::{self, Header, Packet};
use crate::base::time::Duration;
use crate::base::{Direction, Instant, Queue, Side, Slot, SocketKey};
use arrayvec::ArrayVec;
use std::net::SocketAddr;

/// Comfort noise (RFC 3389): who sends it may then say nothing for long.
const COMFORT_NOISE: u8 = 13;
/// A pause longer than this ends a run of packets.
const RUN_GAP: Duration = Duration::from_secs(1);

/// The port by which a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Component {
    Rtp,
    Rtcp,
}

/// What one side of a stream knows and has counted.
#[derive(Debug)]
pub(super) struct Half {
    rule: Option<Rule>,
    quality: Quality,
    last_rtp: Option<Instant>,
    run_started: Instant,
    last_payload_type: Option<u8>,
    /// Of the last payload type; none after a new description.
    clock_rate: Option<u32>,
    paused: bool,
    one_way_told: bool,
    rtp: Latch,
    rtcp: Latch,
    pub(super) rtp_socket: SocketKey,
    pub(super) rtcp_socket: SocketKey,
    mux: bool,
    encrypted: bool,
    known: bool,
    direction: Direction,
    telephone_event: Option<u8>,
    clock_rates: ArrayVec<(u8, u32), CLOCK_RATES_MAX>,
    expected_since: Option<Instant>,
    last_any: Instant,
    detector: Detector,
    sender_report: Option<(u32, Instant)>,
    signalled: Option<SocketAddr>,
    report: SideReport,
    pub(super) options: SideOptions,
    /// The even port of the pair towards this side.
    pub(super) port: u16,
}

impl Half {
    pub(super) fn new(now: Instant, options: SideOptions, port: u16, sockets: (SocketKey, SocketKey)) -> Self {
        Self {
            rule: None,
            quality: Quality::default(),
            last_rtp: None,
            run_started: now,
            last_payload_type: None,
            clock_rate: None,
            paused: false,
            one_way_told: false,
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
            last_any: now,
            detector: Detector::default(),
            sender_report: None,
            signalled: None,
            report: SideReport { dscp: options.dscp, ..SideReport::default() },
            options,
            port,
        }
    }

    /// Where and by which socket this side gets RTCP.
    fn rtcp_way(&self) -> (SocketKey, Option<SocketAddr>) {
        if self.mux { (self.rtp_socket, self.rtp.destination()) } else { (self.rtcp_socket, self.rtcp.destination()) }
    }

    /// Measures an RTP packet. `far` has declared the payload types that this side uses (RFC 3264 §5.1).
    fn note(&mut self, now: Instant, header: &Header, len: usize, far: &FarSide<'_>) {
        let clock_rate = match self.clock_rate {
            Some(rate) if self.last_payload_type == Some(header.payload_type) => rate,
            _ => far.clock_rate(header.payload_type, &self.clock_rates),
        };
        self.clock_rate = Some(clock_rate);
        self.last_payload_type = Some(header.payload_type);
        if self.last_rtp.is_none_or(|last| now.since(last) > RUN_GAP) {
            self.run_started = now;
        }
        self.last_rtp = Some(now);
        self.last_any = now;
        self.paused = header.payload_type == COMFORT_NOISE;
        self.report.packets += 1;
        self.report.bytes += len as u64;
        self.quality.handle_packet(now, header, clock_rate);
    }

    fn read_rtcp(&mut self, now: Instant, packet: &[u8], far_report: Option<(u32, Instant)>) {
        for item in Compound::parse(packet).into_iter().flatten() {
            let blocks = match item {
                Item::Sender { info, blocks, .. } => {
                    self.sender_report = Some((info.middle(), now));
                    blocks
                }
                Item::Receiver { blocks, .. } => blocks,
                Item::Other(..) | Item::Goodbye => continue,
            };
            // RFC 3550 §6.4.1: the far side's sender report went through us then, and this is its echo.
            for block in blocks {
                let Some((middle, sent)) = far_report.filter(|(middle, _)| *middle == block.last_sender_report) else {
                    continue;
                };
                let waited = Duration::from_nanos(u64::from(block.delay_since_last) * 1_000_000_000 / 65_536);
                if middle != 0 {
                    self.report.round_trip_ms = Some(now.since(sent).saturating_sub(waited).as_secs_f64() * 1000.0);
                }
            }
        }
    }

    fn report(&self, kind: StreamKind) -> SideReport {
        let figures = self.quality.figures();
        let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let round_trip = self.report.round_trip_ms.map(|millis| Duration::from_secs_f64(millis / 1000.0));
        let codec = self.last_payload_type.map_or(Impairment::G711, Impairment::of);
        let is_heard = kind == StreamKind::Audio && figures.packets > 0;
        SideReport {
            forwarded: self.report.forwarded + self.rule.map_or(0, |rule| rule.packets),
            expected: figures.expected,
            lost: figures.lost,
            duplicates: figures.duplicates,
            reordered: figures.reordered,
            jitter_ms: millis(figures.jitter),
            jitter_ms_max: millis(figures.jitter_max),
            mos: is_heard.then(|| opinion_score(&figures, mouth_to_ear(round_trip, figures.jitter), codec)),
            payload_type: self.last_payload_type,
            ssrc: self.quality.ssrc(),
            signalled: self.signalled,
            source: self.rtp.settled(),
            ..self.report
        }
    }
}

/// What the measuring of one side asks of the other.
struct FarSide<'a> {
    clock_rates: &'a [(u8, u32)],
    telephone_event: Option<u8>,
}

impl FarSide<'_> {
    fn clock_rate(&self, payload_type: u8, own: &[(u8, u32)]) -> u32 {
        // An event's timestamp stands still while it lasts; comfort noise comes when it likes.
        if self.telephone_event == Some(payload_type) || payload_type == COMFORT_NOISE {
            return 0;
        }
        let of = |rates: &[(u8, u32)]| rates.iter().find(|(have, _)| *have == payload_type).map(|(_, rate)| *rate);
        of(self.clock_rates).or_else(|| of(own)).or_else(|| rtp::static_clock_rate(payload_type)).unwrap_or(0)
    }
}

/// A stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) halves: [Half; 2],
    pub(super) kind: StreamKind,
    pub(super) owner: Slot,
    slot: StreamSlot,
    opened: Instant,
    answered: bool,
    quiet_since: Instant,
    silent_told: bool,
}

/// The limits of patience.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) silent: Duration,
    pub(super) one_way: Duration,
}

impl Stream {
    pub(super) fn new(now: Instant, kind: StreamKind, owner: Slot, slot: StreamSlot, halves: [Half; 2]) -> Self {
        Self { halves, kind, owner, slot, opened: now, answered: false, quiet_since: now, silent_told: false }
    }

    pub(super) fn set_remote(&mut self, now: Instant, side: Side, options: &RemoteOptions) {
        let half = &mut self.halves[side.index()];
        let RemoteOptions { rtp, rtcp, behind_nat, symmetric, signalled_from, .. } = *options;
        half.rtp.signal(Signal { address: rtp, signalled_from, behind_nat, symmetric });
        let above = || rtp.and_then(|rtp| Some(SocketAddr::new(rtp.ip(), rtp.port().checked_add(1)?)));
        half.rtcp.signal(Signal { address: rtcp.or_else(above), signalled_from, behind_nat, symmetric });
        half.known = true;
        half.mux = options.mux;
        half.encrypted = options.encrypted;
        half.direction = options.direction;
        half.telephone_event = options.telephone_event;
        half.clock_rates.clone_from(&options.clock_rates);
        half.signalled = rtp;
        for half in &mut self.halves {
            half.clock_rate = None;
        }
        self.quiet_since = now;
        self.silent_told = false;
        self.refresh(now);
    }

    pub(super) fn set_answered(&mut self, now: Instant) {
        if !self.answered {
            self.answered = true;
            self.quiet_since = now;
            self.refresh(now);
        }
    }

    /// Derives what follows from the state of both sides: the rules, and who is expected to send.
    fn refresh(&mut self, now: Instant) {
        for side in Side::BOTH {
            let rule = self.rule_of(side);
            let is_expected = self.is_expected(side);
            let half = &mut self.halves[side.index()];
            if let Some(old) = std::mem::replace(&mut half.rule, rule) {
                half.report.forwarded += old.packets;
            }
            half.expected_since = if is_expected { half.expected_since.or(Some(now)) } else { None };
        }
    }

    fn rule_of(&self, side: Side) -> Option<Rule> {
        let (half, far) = (&self.halves[side.index()], &self.halves[side.other().index()]);
        if self.kind == StreamKind::Raw || !far.direction.receives() {
            return None;
        }
        Some(Rule {
            source: half.rtp.settled()?,
            socket: far.rtp_socket,
            to: far.rtp.destination()?,
            telephone_event: far.telephone_event.or(half.telephone_event),
            packets: 0,
            bytes: 0,
        })
    }

    fn is_expected(&self, side: Side) -> bool {
        let (half, far) = (&self.halves[side.index()], &self.halves[side.other().index()]);
        let both_known = half.known && far.known;
        self.answered && both_known && half.direction.sends() && far.direction.receives()
    }

    /// Takes a packet that came to one of this stream's ports.
    #[inline]
    pub(super) fn handle_packet(
        &mut self,
        now: Instant,
        side: Side,
        component: Component,
        from: SocketAddr,
        packet: &[u8],
        events: &mut Queue<MediaEvent>,
    ) -> Verdict {
        if component == Component::Rtp {
            let (half, far) = pair(&mut self.halves, side);
            if let Some(rule) = &mut half.rule
                && let Applied::Forward { socket, to, len } = apply(rule, from, packet)
                && let Some(header) = Header::parse(packet)
            {
                half.note(now, &header, len, &far.as_far());
                self.tell_recovery(side, events);
                return Verdict::Forward { socket, to, len };
            }
        }
        match self.consider(now, side, component, from, packet, events) {
            Ok(verdict) => verdict,
            Err(reason) => Verdict::Drop(reason),
        }
    }

    /// Everything that no rule covers.
    fn consider(
        &mut self,
        now: Instant,
        side: Side,
        component: Component,
        from: SocketAddr,
        packet: &[u8],
        events: &mut Queue<MediaEvent>,
    ) -> Result<Verdict, DropReason> {
        let content = Content::of(self.kind, component, packet)?;
        self.admit(now, side, component, from, content, events)?;
        let (half, far) = pair(&mut self.halves, side);
        let (socket, to) = match content {
            Content::Rtp(header) => {
                half.note(now, &header, packet.len(), &far.as_far());
                let telephone_event = far.telephone_event.or(half.telephone_event);
                if telephone_event == Some(header.payload_type) && !half.encrypted {
                    self.notice_event(side, &header, packet, events);
                }
                self.tell_recovery(side, events);
                self.way_of_rtp(side)?
            }
            Content::Other if component == Component::Rtp => {
                half.last_any = now;
                self.way_of_rtp(side)?
            }
            Content::Rtcp => {
                half.last_any = now;
                half.report.rtcp_packets += 1;
                if !half.encrypted {
                    half.read_rtcp(now, packet, far.sender_report);
                }
                far.rtcp_way()
            }
            Content::Other => far.rtcp_way(),
        };
        let to = to.ok_or(DropReason::NoDestination)?;
        if matches!(content, Content::Rtp(_)) {
            self.halves[side.index()].report.forwarded += 1;
        }
        Ok(Verdict::Forward { socket, to, len: packet.len() })
    }

    fn way_of_rtp(&self, side: Side) -> Result<(SocketKey, Option<SocketAddr>), DropReason> {
        let far = &self.halves[side.other().index()];
        if far.known && !far.direction.receives() {
            return Err(DropReason::Held);
        }
        Ok((far.rtp_socket, far.rtp.destination()))
    }

    /// Asks the latch of that port whether the source may send here.
    fn admit(
        &mut self,
        now: Instant,
        side: Side,
        component: Component,
        from: SocketAddr,
        content: Content,
        events: &mut Queue<MediaEvent>,
    ) -> Result<(), DropReason> {
        let half = &mut self.halves[side.index()];
        let latch = match component {
            Component::Rtp => &mut half.rtp,
            Component::Rtcp => &mut half.rtcp,
        };
        let evidence = match content {
            Content::Rtp(header) => Evidence::from(&header),
            Content::Rtcp | Content::Other => Evidence::Other,
        };
        match latch.judge(from, evidence) {
            Judgement::Accept { settled: false } => Ok(()),
            Judgement::Accept { settled: true } => {
                if component == Component::Rtp {
                    half.rtcp.set_companion(from.ip());
                    let _ = events.push(MediaEvent::Settled { slot: self.slot, owner: self.owner, side });
                }
                self.refresh(now);
                Ok(())
            }
            Judgement::Wait => Err(DropReason::Unverified),
            Judgement::Stray => {
                half.report.strays += 1;
                Err(DropReason::WrongSource)
            }
        }
    }

    fn notice_event(&mut self, side: Side, header: &Header, packet: &[u8], events: &mut Queue<MediaEvent>) {
        let (half, far) = pair(&mut self.halves, side);
        let event = Packet::parse(packet).and_then(|packet| Event::parse(packet.payload));
        let Some(noticed) = event.and_then(|event| half.detector.handle(header, event)) else { return };
        let Some(digit) = dtmf::digit_of(noticed.code) else { return };
        half.report.digits += 1;
        let rates = [&far.clock_rates, &half.clock_rates];
        let rate = rates.iter().find_map(|rates| rates.iter().find(|(have, _)| *have == header.payload_type));
        let rate = rate.map_or(8000, |(_, rate)| (*rate).max(1));
        let duration = Duration::from_nanos(u64::from(noticed.duration) * 1_000_000_000 / u64::from(rate));
        let _ = events.push(MediaEvent::Dtmf { slot: self.slot, owner: self.owner, side, digit, duration });
    }

    #[inline]
    fn tell_recovery(&mut self, side: Side, events: &mut Queue<MediaEvent>) {
        let half = &mut self.halves[side.index()];
        if half.one_way_told {
            half.one_way_told = false;
            let _ = events.push(MediaEvent::Recovered { slot: self.slot, owner: self.owner, side });
        }
    }

    /// Tells what is due and returns when to look again.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        patience: Patience,
        events: &mut Queue<MediaEvent>,
    ) -> Instant {
        let (slot, owner) = (self.slot, self.owner);
        let mut next = now + patience.one_way;
        for side in Side::BOTH {
            let Some(due) = self.one_way_due(now, side, patience.one_way) else { continue };
            if due > now {
                next = next.min(due);
            } else if events.push(MediaEvent::OneWay { slot, owner, silent_side: side }).is_ok() {
                let half = &mut self.halves[side.index()];
                half.one_way_told = true;
                half.report.one_way = true;
            }
        }
        if let Some(due) = self.silent_due(patience.silent) {
            if due > now {
                next = next.min(due);
                self.silent_told = false;
            } else if !self.silent_told {
                self.silent_told = events.push(MediaEvent::Silent { slot, owner }).is_ok();
            }
        }
        next
    }

    /// When `side` will have been silent for too long beside a far side that talks.
    fn one_way_due(&self, now: Instant, side: Side, patience: Duration) -> Option<Instant> {
        let (half, far) = (&self.halves[side.index()], &self.halves[side.other().index()]);
        if self.kind != StreamKind::Audio || half.paused || half.one_way_told {
            return None;
        }
        let far_talks = far.last_rtp.is_some_and(|last| now.since(last) <= RUN_GAP);
        let expected = half.expected_since.filter(|_| far_talks)?;
        Some(half.last_rtp.unwrap_or(expected).max(expected).max(far.run_started) + patience)
    }

    /// When the stream will have been silent for too long. Hold may last: then nothing is due.
    fn silent_due(&self, patience: Duration) -> Option<Instant> {
        let both = self.halves.iter().all(|half| half.known && half.direction == Direction::SendReceive);
        if !self.answered || !both {
            return None;
        }
        let heard = self.halves.iter().map(|half| half.last_any).max()?;
        Some(heard.max(self.quiet_since) + patience)
    }

    /// True while somebody is heard, or held and need not be.
    pub(super) fn is_alive(&self, now: Instant, patience: Duration) -> bool {
        match self.silent_due(patience) {
            Some(due) => due > now,
            None => self.kind == StreamKind::Audio,
        }
    }

    pub(super) fn report(&self, now: Instant) -> StreamReport {
        StreamReport {
            kind: self.kind,
            owner: self.owner,
            duration: now.since(self.opened),
            sides: [self.halves[0].report(self.kind), self.halves[1].report(self.kind)],
        }
    }
}

impl Half {
    fn as_far(&self) -> FarSide<'_> {
        FarSide { clock_rates: &self.clock_rates, telephone_event: self.telephone_event }
    }
}

fn pair(halves: &mut [Half; 2], side: Side) -> (&mut Half, &mut Half) {
    let [a, b] = halves;
    match side {
        Side::A => (a, b),
        Side::B => (b, a),
    }
}

/// What a datagram is.
#[derive(Clone, Copy, Debug)]
enum Content {
    Rtp(Header),
    Rtcp,
    /// DTLS, or anything in a raw stream.
    Other,
}

impl Content {
    fn of(kind: StreamKind, component: Component, packet: &[u8]) -> Result<Self, DropReason> {
        if rtp::is_dtls(packet) || kind == StreamKind::Raw {
            return Ok(Self::Other);
        }
        if rtp::is_rtcp(packet) && packet.len() >= 8 {
            return Ok(Self::Rtcp);
        }
        match component {
            Component::Rtp => Header::parse(packet).map(Self::Rtp).ok_or(DropReason::Malformed),
            Component::Rtcp => Err(DropReason::Malformed),
        }
    }
}
