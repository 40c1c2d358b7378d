//! One stream between two sides: where each packet goes, what it says about its sender, and who has fallen silent.

use super::dtmf::{self, Event};
use super::half::Half;
use super::learning::{Evidence, Judgement};
use super::options::{RemoteOptions, StreamKind};
use super::path::FastCounts;
use super::relay::{Applied, DropReason, Expect, Rule, Verdict, apply};
use super::report::{MediaEvent, StreamReport, StreamSlot};
use super::rtp::{self, Header, Packet};
use crate::base::time::Duration;
use crate::base::{Direction, Instant, Queue, Side, Slot, SocketKey};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The port by which a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Component {
    Rtp,
    Rtcp,
}

/// A stream.
#[derive(Debug, Serialize, Deserialize)]
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

/// What went below is counted before what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Nothing of this side's numbers.
    None,
    /// The side stays down; its counts are wanted.
    Read,
    /// The rule may change: it must come up first.
    Raise,
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
        self.halves[side.index()].set_remote(options);
        for half in &mut self.halves {
            half.forget_clock();
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
            half.set_rule(now, rule);
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
            expect: half.expect.filter(|expect| !half.is_aside(expect.payload_type(), far))?,
            packets: 0,
            bytes: 0,
        })
    }

    fn is_expected(&self, side: Side) -> bool {
        let (half, far) = (&self.halves[side.index()], &self.halves[side.other().index()]);
        let both_known = half.known && far.known;
        self.answered && both_known && half.direction.sends() && far.direction.receives()
    }

    /// Takes a packet that came to one of this stream's RTP ports, if a rule covers it.
    #[inline]
    pub(super) fn relay(
        &mut self,
        now: Instant,
        side: Side,
        from: SocketAddr,
        packet: &[u8],
        events: &mut Queue<MediaEvent>,
    ) -> Option<Verdict> {
        let (half, far) = pair(&mut self.halves, side);
        if let Some(rule) = &mut half.track.rule
            && let Applied::Forward { socket, to, len } = apply(rule, from, packet)
            && let Some(header) = Header::parse(packet)
        {
            half.note(now, &header, len, far);
            self.tell_recovery(side, events);
            return Some(Verdict::Forward { socket, to, len });
        }
        None
    }

    /// Takes any packet that no rule covers.
    pub(super) fn consider(
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
                half.note(now, &header, packet.len(), far);
                let telephone_event = far.telephone_event.or(half.telephone_event);
                let expect = Expect::new(header.payload_type, header.ssrc);
                if telephone_event == Some(header.payload_type) {
                    if !half.encrypted {
                        self.notice_event(side, &header, packet, events);
                    }
                } else if !half.is_aside(header.payload_type, far) && half.expect != expect {
                    half.expect = expect;
                    self.refresh(now);
                }
                self.tell_recovery(side, events);
                self.way_of_rtp(side)?
            }
            Content::Other if component == Component::Rtp => {
                half.note_other(now);
                self.way_of_rtp(side)?
            }
            Content::Rtcp => {
                half.note_other(now);
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

    /// What is to be done about a side that is down before it takes a packet that came up.
    pub(super) fn news(&self, side: Side, from: SocketAddr, packet: &[u8]) -> News {
        let (half, far) = (&self.halves[side.index()], &self.halves[side.other().index()]);
        let Some(header) = Header::parse(packet).filter(|_| half.lane.down.is_some() && !rtp::is_rtcp(packet)) else {
            return News::None;
        };
        let is_own = half.rtp.settled() == Some(from);
        if !is_own && !half.rtp.would_move(from) {
            return News::None;
        }
        let is_as_before = || half.expect == Expect::new(header.payload_type, header.ssrc);
        if is_own && (half.is_aside(header.payload_type, far) || is_as_before()) { News::Read } else { News::Raise }
    }

    /// Takes what a fast path has relayed of a side.
    pub(super) fn take(&mut self, side: Side, counts: &FastCounts, events: &mut Queue<MediaEvent>) {
        self.halves[side.index()].take(counts);
        if counts.packets > 0 {
            self.tell_recovery(side, events);
        }
    }

    /// The rule that would go down, with the clock of its payload type and the port that it leaves by; none where the
    /// fast path has no business: nothing settled, two families.
    pub(super) fn rule_below(&self, side: Side) -> Option<(&Rule, u32, &Half)> {
        let (half, far) = (&self.halves[side.index()], &self.halves[side.other().index()]);
        let rule = half.track.rule.as_ref()?;
        let of_one_family = half.options.v6 == far.options.v6 && rule.source.is_ipv6() == rule.to.is_ipv6();
        of_one_family.then(|| (rule, half.clock_rate(rule.expect.payload_type(), far), far))
    }

    fn notice_event(&mut self, side: Side, header: &Header, packet: &[u8], events: &mut Queue<MediaEvent>) {
        let (half, far) = pair(&mut self.halves, side);
        let event = Packet::parse(packet).and_then(|packet| Event::parse(packet.payload));
        let Some(noticed) = event.and_then(|event| half.detector.handle(header, event)) else { return };
        let Some(digit) = dtmf::digit_of(noticed.code) else { return };
        half.report.digits += 1;
        let rate = match half.clock_rate(header.payload_type, far) {
            0 => 8000,
            rate => rate,
        };
        let duration = Duration::from_nanos(u64::from(noticed.duration) * 1_000_000_000 / u64::from(rate));
        let _ = events.push(MediaEvent::Dtmf { slot: self.slot, owner: self.owner, side, digit, duration });
    }

    #[inline]
    fn tell_recovery(&mut self, side: Side, events: &mut Queue<MediaEvent>) {
        let half = &mut self.halves[side.index()];
        if half.track.one_way_told {
            half.track.one_way_told = false;
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
                half.track.one_way_told = true;
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
        if self.kind != StreamKind::Audio || half.is_paused() || half.track.one_way_told {
            return None;
        }
        let (expected, far_talks) = (half.expected_since?, far.talking_since(now)?);
        Some(half.last_rtp().unwrap_or(expected).max(expected).max(far_talks) + patience)
    }

    /// When the stream will have been silent for too long. Hold may last: then nothing is due.
    fn silent_due(&self, patience: Duration) -> Option<Instant> {
        let both = self.halves.iter().all(|half| half.known && half.direction == Direction::SendReceive);
        if !self.answered || !both {
            return None;
        }
        let heard = self.halves.iter().map(Half::last_heard).max()?;
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
