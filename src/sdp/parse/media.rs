//! One stream of a description: its `m=` line and what belongs to it, read once and asked often.
//!
//! RFC 8866 §5.14, RFC 3264 (directions, hold, rejected streams), RFC 3605 (`a=rtcp`), RFC 5761 (`a=rtcp-mux`).

use super::super::codec::{Codec, Table, table_of};
use super::super::line::{self, Line, lines, number, words};
use super::super::{CLOCK_RATES_MAX, FORMATS_MAX};
use super::SdpError;
use super::connection::{Connection, parse_connection, parse_rtcp};
use crate::base::Direction;
use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// What an `m=` line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaKind {
    /// `audio`.
    Audio,
    /// `video`.
    Video,
    /// `image`: T.38 fax.
    Image,
    /// Anything else: `application`, `text`, `message`.
    Other,
}

impl MediaKind {
    fn from_token(token: &[u8]) -> Self {
        [(&b"audio"[..], Self::Audio), (b"video", Self::Video), (b"image", Self::Image)]
            .into_iter()
            .find(|(name, _)| token.eq_ignore_ascii_case(name))
            .map_or(Self::Other, |(_, kind)| kind)
    }
}

/// One stream: an `m=` line and what belongs to it.
#[derive(Clone, Copy, Debug)]
pub struct Media<'a> {
    /// What it is about.
    pub kind: MediaKind,
    /// The word that said so.
    pub kind_name: &'a [u8],
    /// Where RTP goes; zero where the stream is rejected or disabled.
    pub port: u16,
    /// `RTP/AVP` and the like.
    pub protocol: &'a [u8],
    /// The formats as they stand, separated by spaces.
    pub formats: &'a [u8],
    /// Its own `c=` line, or else the session's.
    pub connection: Option<Connection<'a>>,
    /// True where `connection` stands in this section.
    pub own_connection: bool,
    /// The port of `a=rtcp` and its address where given (RFC 3605).
    pub rtcp: Option<(u16, Option<IpAddr>)>,
    /// `a=rtcp-mux` (RFC 5761).
    pub rtcp_mux: bool,
    /// Its own direction, or else the session's.
    pub direction: Direction,
    /// `a=crypto` or a fingerprint stands here or at session level, or the protocol says so.
    pub encrypted: bool,
    /// Milliseconds per packet, where said.
    pub ptime_ms: Option<u16>,
    pub(in crate::sdp) section: &'a [u8],
}

/// What the session level says for all streams.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    connection: Option<Connection<'a>>,
    direction: Direction,
    encrypted: bool,
}

pub(super) fn shared_of<'a>(section: &'a [u8], connection: Option<Connection<'a>>) -> Shared<'a> {
    let mut shared = Shared { connection, direction: Direction::default(), encrypted: false };
    for (name, _) in lines(section).filter_map(|line| line.attribute()) {
        if let Some(direction) = Direction::from_token(name) {
            shared.direction = direction;
        }
        shared.encrypted |= is_keying(name);
    }
    shared
}

impl<'a> Media<'a> {
    pub(super) fn parse(section: &'a [u8], shared: Shared<'a>) -> Result<Self, SdpError> {
        let mut all = lines(section);
        let first = all.next().ok_or(SdpError::Media)?;
        let mut media = parse_media_line(first.value, section, shared)?;
        for line in all {
            match line.kind {
                // RFC 8866 §5.7 allows several only for multicast layers; the first is what unicast readers take.
                b'c' if media.own_connection => {
                    parse_connection(line.value)?;
                }
                b'c' => {
                    media.connection = Some(parse_connection(line.value)?);
                    media.own_connection = true;
                }
                b'a' => media.read_attribute(line),
                _ => {}
            }
        }
        if media.port != 0 && media.connection.is_none() {
            return Err(SdpError::Connection);
        }
        Ok(media)
    }

    fn read_attribute(&mut self, line: Line<'a>) {
        let Some((name, value)) = line.attribute() else { return };
        if let Some(direction) = Direction::from_token(name) {
            self.direction = direction;
        } else if name.eq_ignore_ascii_case(b"rtcp-mux") {
            self.rtcp_mux = true;
        } else if name.eq_ignore_ascii_case(b"rtcp") {
            self.rtcp = parse_rtcp(value);
        } else if name.eq_ignore_ascii_case(b"ptime") {
            self.ptime_ms = words(value).next().and_then(number);
        } else if is_keying(name) {
            self.encrypted = true;
        }
    }

    /// Port zero: rejected in an answer, disabled in an offer (RFC 3264 §5.1, §6).
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        self.port == 0
    }

    /// True where the stream runs over RTP.
    #[must_use]
    pub fn is_rtp(&self) -> bool {
        self.protocol.windows(4).any(|part| part == b"RTP/") && !self.protocol.starts_with(b"TCP/")
    }

    /// True where datagrams of this stream can be relayed: RTP, or raw over UDP (T.38). TCP streams cannot.
    #[must_use]
    pub fn is_relayable(&self) -> bool {
        self.is_rtp() || self.protocol.eq_ignore_ascii_case(b"udptl") || self.protocol.eq_ignore_ascii_case(b"udp")
    }

    /// Held by the address `0.0.0.0` or `::` rather than by a direction (RFC 3264 §8.4).
    #[must_use]
    pub fn is_held_by_address(&self) -> bool {
        self.connection.is_some_and(|connection| connection.is_unspecified())
    }

    /// The direction with a hold by address told the modern way: who has no address does not listen.
    #[must_use]
    pub fn effective_direction(&self) -> Direction {
        if self.is_held_by_address() {
            return Direction::new(self.direction.sends(), false);
        }
        self.direction
    }

    /// Where the peer wants RTP; none where rejected, held by address, or given by a name.
    #[must_use]
    pub fn rtp(&self) -> Option<SocketAddr> {
        let address = self.connection?.address.filter(|address| !address.is_unspecified())?;
        (self.port != 0).then(|| SocketAddr::new(address, self.port))
    }

    /// True where a name stands in place of the address (RFC 8866 §5.7), which nobody here resolves.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.port != 0 && self.connection.is_some_and(|connection| connection.address.is_none())
    }

    /// Where the peer wants RTCP: `a=rtcp`, or else the port above (RFC 3605 §2.1). With mux it is the RTP address.
    #[must_use]
    pub fn rtcp(&self) -> Option<SocketAddr> {
        let rtp = self.rtp()?;
        match self.rtcp {
            Some((port, address)) => Some(SocketAddr::new(address.unwrap_or(rtp.ip()), port)),
            None => Some(SocketAddr::new(rtp.ip(), rtp.port().checked_add(1)?)),
        }
    }

    /// The value of an attribute of this stream.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&'a [u8]> {
        lines(self.section).find_map(|line| line.named(name))
    }

    /// The formats that are payload types, in order, each with what it stands for.
    pub(in crate::sdp) fn table(&self) -> Table<'a> {
        let formats = words(self.formats).filter_map(|format| Some((format, number(format)?)));
        table_of(self.section, formats)
    }

    /// The codecs in the order offered; formats that are no payload types are passed over.
    pub fn codecs(&self) -> impl Iterator<Item = Codec<'a>> + '_ {
        self.table().into_iter().map(|(_, codec)| codec)
    }

    /// What a payload type stands for here.
    #[must_use]
    pub fn codec(&self, payload_type: u8) -> Option<Codec<'a>> {
        table_of(self.section, [(&b""[..], payload_type)]).pop().map(|(_, codec)| codec)
    }

    /// The payload type of `telephone-event` (RFC 4733), at 8000 Hz where there are several.
    #[must_use]
    pub fn telephone_event(&self) -> Option<u8> {
        self.event_and_clocks().0
    }

    /// Clock rates by payload type, for jitter; the first [`CLOCK_RATES_MAX`].
    #[must_use]
    pub fn clock_rates(&self) -> ArrayVec<(u8, u32), CLOCK_RATES_MAX> {
        self.event_and_clocks().1
    }

    /// [`telephone_event`](Self::telephone_event) and [`clock_rates`](Self::clock_rates), read at once.
    #[must_use]
    pub fn event_and_clocks(&self) -> (Option<u8>, ArrayVec<(u8, u32), CLOCK_RATES_MAX>) {
        let table = self.table();
        let codecs = || table.iter().map(|(_, codec)| codec);
        let clocks = codecs().map(|codec| (codec.payload_type, codec.clock_rate)).take(CLOCK_RATES_MAX).collect();
        (event_of(codecs()), clocks)
    }
}

/// See [`Media::telephone_event`].
fn event_of<'a>(codecs: impl Iterator<Item = &'a Codec<'a>>) -> Option<u8> {
    let mut events = codecs.filter(|codec| codec.name.eq_ignore_ascii_case(b"telephone-event"));
    let first = events.next()?;
    if first.clock_rate == 8000 {
        return Some(first.payload_type);
    }
    Some(events.find(|codec| codec.clock_rate == 8000).map_or(first.payload_type, |codec| codec.payload_type))
}

/// The attributes by which peers agree on keys; what follows them on the wire is encrypted (RFC 4568, RFC 8122).
fn is_keying(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"crypto") || name.eq_ignore_ascii_case(b"fingerprint")
}

fn parse_media_line<'a>(value: &'a [u8], section: &'a [u8], shared: Shared<'a>) -> Result<Media<'a>, SdpError> {
    let (kind_name, rest) = line::word(value);
    let (port, rest) = line::word(rest);
    let (protocol, formats) = line::word(rest);
    if formats.is_empty() {
        return Err(SdpError::Media);
    }
    if words(formats).count() > FORMATS_MAX {
        return Err(SdpError::TooManyMedia);
    }
    let (port, _count) = line::split_at(port, b'/');
    Ok(Media {
        kind: MediaKind::from_token(kind_name),
        kind_name,
        port: number(port).ok_or(SdpError::Media)?,
        protocol,
        formats,
        connection: shared.connection,
        own_connection: false,
        rtcp: None,
        rtcp_mux: false,
        direction: shared.direction,
        encrypted: shared.encrypted || protocol.windows(4).any(|part| part == b"SAVP"),
        ptime_ms: None,
        section,
    })
}
