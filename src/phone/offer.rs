//! Session descriptions as a phone writes and reads them (RFC 4566, RFC 3264), apart from the `sdp` room on purpose.

use std::net::{IpAddr, SocketAddr};

/// Payload type this phone gives to `telephone-event` in its own offers.
pub const EVENT_PAYLOAD_TYPE: u8 = 101;
/// Most m-lines read.
const MEDIA_MAX: usize = 16;

/// Which way media goes, seen from who says it (RFC 3264 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// Only from the speaker of the word: hold with music.
    SendOnly,
    /// Only towards the speaker of the word.
    RecvOnly,
    /// Neither way.
    Inactive,
}

impl Direction {
    /// The attribute's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive].into_iter().find(|way| way.as_str() == text)
    }

    /// True where the speaker sends.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// True where the speaker listens.
    #[must_use]
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    const fn of(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// The answer to an offer with this direction by a side that would like `own` (RFC 3264 §6.1).
    #[must_use]
    pub const fn answered_by(self, own: Self) -> Self {
        Self::of(own.sends() && self.receives(), own.receives() && self.sends())
    }
}

/// One m-line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Media {
    /// `audio`, `video`, …
    pub kind: String,
    /// Zero: refused.
    pub port: u16,
    /// Transport profile.
    pub profile: String,
    /// Payload types in order of preference.
    pub formats: Vec<u8>,
    /// Payload type of `telephone-event`.
    pub event: Option<u8>,
    /// Where it is wanted.
    pub address: Option<IpAddr>,
    /// RTCP port, when said by `a=rtcp`.
    pub rtcp_port: Option<u16>,
    /// Whether RTCP comes on the RTP port.
    pub mux: bool,
    /// Which way.
    pub direction: Direction,
}

/// What this phone needs of a session description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Version in the o-line.
    pub version: u64,
    /// The m-lines in order.
    pub media: Vec<Media>,
}

impl Description {
    /// Reads a description.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let mut session = Self::default();
        let (mut address, mut direction) = (None, Direction::SendRecv);
        for line in text.lines() {
            let (kind, value) = line.trim_end().split_once('=')?;
            let full = session.media.len() == MEDIA_MAX;
            match (kind, session.media.last_mut()) {
                ("v", _) if value != "0" => return None,
                ("o", _) => session.version = value.split(' ').nth(2)?.parse().ok()?,
                ("c", Some(media)) => media.address = Some(connection(value)?),
                ("c", None) => address = Some(connection(value)?),
                ("m", _) if full => return None,
                ("m", _) => session.media.push(media_line(value, address, direction)?),
                ("a", Some(media)) => attribute(value, media),
                ("a", None) => direction = Direction::parse(value).unwrap_or(direction),
                _ => {}
            }
        }
        (text.starts_with("v=0")).then_some(session)
    }

    /// The first audio line that is not refused.
    #[must_use]
    pub fn audio(&self) -> Option<&Media> {
        self.media.iter().find(|media| media.kind == "audio" && media.port != 0)
    }
}

impl Media {
    /// Where RTP is wanted.
    #[must_use]
    pub fn rtp(&self) -> Option<SocketAddr> {
        self.address.filter(|address| !address.is_unspecified()).map(|address| SocketAddr::new(address, self.port))
    }

    /// Where RTCP is wanted (RFC 3605, RFC 5761).
    #[must_use]
    pub fn rtcp(&self) -> Option<SocketAddr> {
        let port = if self.mux { self.port } else { self.rtcp_port.unwrap_or(self.port.wrapping_add(1)) };
        self.rtp().map(|rtp| SocketAddr::new(rtp.ip(), port))
    }
}

fn connection(value: &str) -> Option<IpAddr> {
    value.split(' ').nth(2)?.split('/').next()?.parse().ok()
}

fn media_line(value: &str, address: Option<IpAddr>, direction: Direction) -> Option<Media> {
    let mut words = value.split(' ');
    let (kind, port, profile) = (words.next()?, words.next()?, words.next()?);
    Some(Media {
        kind: kind.to_owned(),
        port: port.split('/').next()?.parse().ok()?,
        profile: profile.to_owned(),
        formats: words.filter_map(|word| word.parse().ok()).collect(),
        address,
        direction,
        ..Media::default()
    })
}

fn attribute(value: &str, media: &mut Media) {
    if let Some(direction) = Direction::parse(value) {
        media.direction = direction;
    } else if value == "rtcp-mux" {
        media.mux = true;
    } else if let Some(port) = value.strip_prefix("rtcp:") {
        media.rtcp_port = port.split(' ').next().and_then(|port| port.parse().ok());
    } else if let Some((number, "telephone-event/8000")) =
        value.strip_prefix("rtpmap:").and_then(|map| map.split_once(' '))
    {
        media.event = number.parse().ok();
    }
}

/// What a phone puts into its own descriptions.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    /// User of the o-line.
    pub name: &'a str,
    /// Session id of the o-line.
    pub id: u64,
    /// Version of the o-line, one more each time (RFC 3264 §8).
    pub version: u64,
    /// Where RTP is wanted.
    pub rtp: SocketAddr,
    /// Which way.
    pub direction: Direction,
}

/// Writes an offer, or the answer to `offer`: refused lines keep their place with port zero (RFC 3264 §6).
#[must_use]
pub fn write(own: Own<'_>, formats: &[u8], offer: Option<&Description>) -> Vec<u8> {
    let family = if own.rtp.is_ipv4() { "IP4" } else { "IP6" };
    let ip = own.rtp.ip();
    let mut out = format!(
        "v=0\r\no={} {} {} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n",
        own.name, own.id, own.version
    );
    let Some(offer) = offer else {
        audio_line(&mut out, own, formats, Some(EVENT_PAYLOAD_TYPE));
        return out.into_bytes();
    };
    let mut taken = false;
    for media in &offer.media {
        let common: Vec<u8> = media.formats.iter().copied().filter(|format| formats.contains(format)).collect();
        if media.kind == "audio" && media.port != 0 && !taken && !common.is_empty() {
            taken = true;
            audio_line(&mut out, own, &common, media.event);
        } else {
            let first = media.formats.first().copied().unwrap_or(0);
            out.push_str(&format!("m={} 0 {} {first}\r\n", media.kind, media.profile));
        }
    }
    out.into_bytes()
}

fn audio_line(out: &mut String, own: Own<'_>, formats: &[u8], event: Option<u8>) {
    out.push_str(&format!("m=audio {} RTP/AVP", own.rtp.port()));
    for format in formats.iter().chain(&event) {
        out.push_str(&format!(" {format}"));
    }
    out.push_str("\r\n");
    for format in formats {
        let name = match format {
            0 => "PCMU",
            8 => "PCMA",
            9 => "G722",
            _ => continue,
        };
        out.push_str(&format!("a=rtpmap:{format} {name}/8000\r\n"));
    }
    if let Some(event) = event {
        out.push_str(&format!("a=rtpmap:{event} telephone-event/8000\r\na=fmtp:{event} 0-15\r\n"));
    }
    out.push_str(&format!("a=ptime:20\r\na={}\r\n", own.direction.as_str()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(direction: Direction) -> Own<'static> {
        Own { name: "a", id: 1, version: 2, rtp: "127.0.0.1:4000".parse().unwrap(), direction }
    }

    #[test]
    fn an_offer_reads_back_and_an_answer_keeps_refused_lines() {
        let mut text = write(own(Direction::SendOnly), &[0, 8], None);
        text.extend_from_slice(b"m=video 5000 RTP/AVP 97\r\nc=IN IP6 ::1\r\na=rtcp:5009\r\na=rtcp-mux\r\n");
        let offer = Description::parse(&text).unwrap();
        let audio = offer.audio().unwrap();
        assert_eq!((audio.rtp().unwrap().port(), audio.rtcp().unwrap().port()), (4000, 4001));
        assert_eq!((audio.event, audio.direction, offer.version), (Some(101), Direction::SendOnly, 2));
        assert_eq!((offer.media[1].rtcp_port, offer.media[1].mux), (Some(5009), true));
        let answer = Description::parse(&write(own(Direction::RecvOnly), &[8], Some(&offer))).unwrap();
        assert_eq!((answer.media[0].formats.as_slice(), answer.media[1].port), (&[8, 101][..], 0));
    }

    #[test]
    fn directions_meet() {
        use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
        assert_eq!(SendRecv.answered_by(SendRecv), SendRecv);
        assert_eq!(SendOnly.answered_by(SendRecv), RecvOnly);
        assert_eq!(SendOnly.answered_by(SendOnly), Inactive);
        assert_eq!(RecvOnly.answered_by(SendRecv), SendOnly);
    }

    proptest::proptest! {
        #[test]
        fn any_body_is_read_or_refused(body: Vec<u8>) {
            let _ = Description::parse(&body);
        }
    }
}
