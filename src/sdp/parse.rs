//! Reading a description in place: one pass finds the sections and what a relay must know; the rest stays text.
//!
//! RFC 8866 (grammar), RFC 3605 (`a=rtcp`), RFC 5761 (`a=rtcp-mux`). Lenient where peers are known to differ (line ends,
//! missing `s=` and `t=`, empty lines at the end), strict where two readers could see different addresses.

use super::codec::{Codec, Table, table_of};
use super::line::{self, Line, lines, number, words};
use super::{BYTES_MAX, CLOCK_RATES_MAX, FORMATS_MAX, LINES_MAX, MEDIA_MAX};
use crate::base::Direction;
use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// Why a description was refused. All are the peer's fault: 400 for an unreadable one, 488 for the last two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SdpError {
    /// Longer than [`BYTES_MAX`] or more than [`LINES_MAX`] lines.
    TooLong,
    /// The first line is not `v=0`.
    Version,
    /// A line that is not `x=value`.
    Line,
    /// The `o=` line is missing, doubled or unreadable.
    Origin,
    /// A `c=` line is unreadable, or there is none for a stream that is not rejected.
    Connection,
    /// An `m=` line is unreadable.
    Media,
    /// More than [`MEDIA_MAX`] streams or [`FORMATS_MAX`] formats.
    TooManyMedia,
    /// A multicast address: a relay has two parties.
    Multicast,
}

impl SdpError {
    /// For the reason phrase of a reply.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "SDP too long",
            Self::Version => "Bad SDP version",
            Self::Line => "Bad SDP line",
            Self::Origin => "Bad SDP origin",
            Self::Connection => "Bad SDP connection",
            Self::Media => "Bad SDP media",
            Self::TooManyMedia => "Too many SDP streams",
            Self::Multicast => "SDP multicast not supported",
        }
    }

    /// The status that fits: what cannot be read is a bad request, what can but will not do is not acceptable here.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::TooManyMedia | Self::Multicast => 488,
            _ => 400,
        }
    }
}

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

/// The `o=` line of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// User name or `-`.
    pub user: &'a [u8],
    /// Session id, as text: peers send more digits than fit a word.
    pub id: &'a [u8],
    /// Version, as text.
    pub version: &'a [u8],
}

/// A `c=` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection<'a> {
    /// The host as written.
    pub host: &'a [u8],
    /// The address; none where a name was given, which we do not resolve.
    pub address: Option<IpAddr>,
}

impl Connection<'_> {
    /// `0.0.0.0` or `::`: the old way to hold (RFC 3264 §8.4), and where a late party has no address yet.
    #[must_use]
    pub fn is_unspecified(&self) -> bool {
        self.address.is_some_and(|address| address.is_unspecified())
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
    pub(super) section: &'a [u8],
}

/// A description, read.
#[derive(Clone, Debug)]
pub struct Session<'a> {
    /// The peer's `o=`.
    pub origin: Origin<'a>,
    /// The session's `c=`.
    pub connection: Option<Connection<'a>>,
    /// The streams, in order; at most [`MEDIA_MAX`].
    pub media: Vec<Media<'a>>,
    pub(super) section: &'a [u8],
}

impl<'a> Session<'a> {
    /// Reads a description without copying.
    ///
    /// # Errors
    /// The first thing wrong; see [`SdpError`].
    pub fn parse(text: &'a [u8]) -> Result<Self, SdpError> {
        check_lines(text)?;
        let (section, mut rest) = next_section(text);
        let mut session = Self::parse_session(section)?;
        let shared = shared_of(section, session.connection);
        while !rest.is_empty() {
            let (section, after) = next_section(rest);
            let media = Media::parse(section, shared)?;
            if session.media.len() >= MEDIA_MAX {
                return Err(SdpError::TooManyMedia);
            }
            session.media.push(media);
            rest = after;
        }
        Ok(session)
    }

    fn parse_session(section: &'a [u8]) -> Result<Self, SdpError> {
        let mut origin = None;
        let mut connection = None;
        for line in lines(section) {
            match line.kind {
                b'o' if origin.is_some() => return Err(SdpError::Origin),
                b'o' => origin = Some(parse_origin(line.value).ok_or(SdpError::Origin)?),
                // Two different session addresses: two readers could choose differently.
                b'c' if connection.is_some() => return Err(SdpError::Connection),
                b'c' => connection = Some(parse_connection(line.value)?),
                _ => {}
            }
        }
        let origin = origin.ok_or(SdpError::Origin)?;
        Ok(Self { origin, connection, media: Vec::with_capacity(1), section })
    }

    /// The value of a session-level attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&'a [u8]> {
        lines(self.section).find_map(|line| line.named(name))
    }

    /// True for IPv6, by the first live stream whose address is known.
    #[must_use]
    pub fn is_v6(&self) -> Option<bool> {
        self.media.iter().find_map(|media| Some(media.rtp()?.is_ipv6()))
    }

    /// True where every live stream is held by its sender: it listens to none.
    #[must_use]
    pub fn is_hold(&self) -> bool {
        let mut live = self.media.iter().filter(|media| !media.is_rejected()).peekable();
        live.peek().is_some() && live.all(|media| !media.effective_direction().receives())
    }
}

/// What the session level says for all streams.
#[derive(Clone, Copy)]
struct Shared<'a> {
    connection: Option<Connection<'a>>,
    direction: Direction,
    encrypted: bool,
}

fn shared_of<'a>(section: &'a [u8], connection: Option<Connection<'a>>) -> Shared<'a> {
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
    fn parse(section: &'a [u8], shared: Shared<'a>) -> Result<Self, SdpError> {
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
    pub(super) fn table(&self) -> Table<'a> {
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

fn check_lines(text: &[u8]) -> Result<(), SdpError> {
    if text.len() > BYTES_MAX {
        return Err(SdpError::TooLong);
    }
    // A CR ends a line only before LF, and NUL ends a text for some readers: neither may stand within a line.
    let ends_line = |at: usize| text.get(at + 1).is_none_or(|next| *next == b'\n');
    let is_split_two_ways = |at: usize| text[at] == 0 || !ends_line(at);
    if memchr::memchr2_iter(b'\r', 0, text).any(is_split_two_ways) {
        return Err(SdpError::Line);
    }
    let mut all = line::split(text);
    if all.next() != Some(b"v=0") {
        return Err(SdpError::Version);
    }
    let mut count = 1;
    for text in all {
        Line::parse(text).ok_or(SdpError::Line)?;
        count += 1;
    }
    if count > LINES_MAX { Err(SdpError::TooLong) } else { Ok(()) }
}

/// The text up to the next `m=` line, and the rest. A section that begins with one keeps it.
fn next_section(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(sections(text).next().unwrap_or(text.len()))
}

/// Where `m=` lines begin, but for one at the very start.
fn sections(text: &[u8]) -> impl Iterator<Item = usize> {
    memchr::memchr_iter(b'\n', text).map(|at| at + 1).filter(|at| text[*at..].starts_with(b"m="))
}

/// How many streams a description has that could be read.
#[must_use]
pub fn streams_of(text: &[u8]) -> usize {
    sections(text).count()
}

fn parse_origin(value: &[u8]) -> Option<Origin<'_>> {
    let mut words = words(value);
    let origin = Origin { user: words.next()?, id: words.next()?, version: words.next()? };
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    // Some peers leave out the network part; what counts are the numbers.
    (digits(origin.id) && digits(origin.version)).then_some(origin)
}

fn parse_connection(value: &[u8]) -> Result<Connection<'_>, SdpError> {
    let mut words = words(value);
    let (network, family, host) = (words.next(), words.next(), words.next().ok_or(SdpError::Connection)?);
    let (Some(network), Some(family), None) = (network, family, words.next()) else {
        return Err(SdpError::Connection);
    };
    if !network.eq_ignore_ascii_case(b"IN") {
        return Err(SdpError::Connection);
    }
    let (host, _ttl) = line::split_at(host, b'/');
    let address = parse_address(family, host)?;
    if address.is_some_and(|address| address.is_multicast()) {
        return Err(SdpError::Multicast);
    }
    Ok(Connection { host, address })
}

fn parse_address(family: &[u8], host: &[u8]) -> Result<Option<IpAddr>, SdpError> {
    let text = std::str::from_utf8(host).map_err(|_| SdpError::Connection)?;
    let address: Option<IpAddr> = text.parse().ok();
    let (v4, v6) = (family.eq_ignore_ascii_case(b"IP4"), family.eq_ignore_ascii_case(b"IP6"));
    match address {
        Some(IpAddr::V4(_)) if v4 => Ok(address),
        Some(IpAddr::V6(_)) if v6 => Ok(address.map(|address| address.to_canonical())),
        None if (v4 || v6) && is_host_name(host) => Ok(None),
        _ => Err(SdpError::Connection),
    }
}

fn is_host_name(host: &[u8]) -> bool {
    !host.is_empty() && host.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

fn parse_rtcp(value: &[u8]) -> Option<(u16, Option<IpAddr>)> {
    let mut words = words(value);
    let port = words.next().and_then(number).filter(|port| *port != 0)?;
    let address = match (words.next(), words.next(), words.next()) {
        (Some(_), Some(family), Some(host)) => parse_address(family, host).ok()?,
        _ => None,
    };
    Some((port, address.filter(|address| !address.is_unspecified() && !address.is_multicast())))
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

#[cfg(test)]
mod tests;
