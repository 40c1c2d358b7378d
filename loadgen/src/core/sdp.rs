//! The one session description a generator needs: G.711 in 20 ms, with its direction. RFC 8866, RFC 3264, RFC 3551.

use std::net::{IpAddr, SocketAddr};

use super::octets::{decimal, ip};
use super::scan::{number, trim};
use crate::sound::g711::Codec;

/// Who sends (RFC 8866 §6.7), as the side sees it that says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both.
    #[default]
    Both,
    /// Only the side that says so.
    Send,
    /// Only the other side.
    Receive,
    /// Nobody.
    Neither,
}

impl Direction {
    /// We send.
    pub fn sends(self) -> bool {
        matches!(self, Self::Both | Self::Send)
    }

    /// The peer sends.
    pub fn receives(self) -> bool {
        matches!(self, Self::Both | Self::Receive)
    }

    /// As the other side sees it (RFC 3264 §6.1).
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::Send => Self::Receive,
            Self::Receive => Self::Send,
            same => same,
        }
    }

    fn attribute(self) -> &'static str {
        match self {
            Self::Both => "sendrecv",
            Self::Send => "sendonly",
            Self::Receive => "recvonly",
            Self::Neither => "inactive",
        }
    }
}

/// What we offer or answer.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Names the session; its highest bit is of no account, so that all names are equally long.
    pub session: u32,
    /// One more with each change (RFC 3264 §8).
    pub version: u32,
    /// Where we want RTP.
    pub local: SocketAddr,
    /// What we want.
    pub codec: Codec,
    /// Who sends.
    pub direction: Direction,
}

impl Description {
    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Self { session, version, local, codec, direction } = *self;
        let session = session | 1 << 31;
        let family: &[u8] = if local.is_ipv4() { b" IN IP4 " } else { b" IN IP6 " };
        out.extend_from_slice(b"v=0\r\no=- ");
        decimal(out, session);
        out.push(b' ');
        decimal(out, version);
        out.extend_from_slice(family);
        ip(out, local.ip());
        out.extend_from_slice(b"\r\ns=strowger-loadgen\r\nc=");
        out.extend_from_slice(&family[1..]);
        ip(out, local.ip());
        out.extend_from_slice(b"\r\nt=0 0\r\nm=audio ");
        decimal(out, local.port().into());
        out.extend_from_slice(b" RTP/AVP ");
        decimal(out, codec.payload_type().into());
        out.extend_from_slice(b"\r\na=rtpmap:");
        decimal(out, codec.payload_type().into());
        out.push(b' ');
        out.extend_from_slice(codec.name().as_bytes());
        out.extend_from_slice(b"/8000\r\na=ptime:20\r\na=");
        out.extend_from_slice(direction.attribute().as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// What the peer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Where it wants RTP.
    pub address: SocketAddr,
    /// Who sends, as we see it.
    pub direction: Direction,
}

/// Where the peer wants the codec, and who sends; `None` if it takes none.
pub fn remote(body: &[u8], codec: Codec) -> Option<Remote> {
    let (mut session, mut own, mut audio) = (None, None, None);
    let (mut whole, mut media) = (None, None);
    let mut in_media = false;
    for line in body.split(|&byte| byte == b'\n').map(trim) {
        match line.get(..2) {
            Some(b"c=") if !in_media => session = address(&line[2..]),
            Some(b"c=") if audio.is_some() => own = own.or_else(|| address(&line[2..])),
            Some(b"m=") if audio.is_some() => break,
            Some(b"m=") => {
                in_media = true;
                audio = port_of(&line[2..], codec);
            }
            Some(b"a=") if !in_media => whole = whole.or_else(|| direction(&line[2..])),
            Some(b"a=") if audio.is_some() => media = media.or_else(|| direction(&line[2..])),
            _ => {}
        }
    }
    let address = SocketAddr::new(own.or(session)?, audio?);
    let said = media.or(whole).unwrap_or_default();
    // RFC 3264 §8.4: the unspecified address is the old way to put on hold.
    let said = if address.ip().is_unspecified() && said == Direction::Both { Direction::Send } else { said };
    Some(Remote { address, direction: said.reversed() })
}

fn direction(attribute: &[u8]) -> Option<Direction> {
    [Direction::Both, Direction::Send, Direction::Receive, Direction::Neither]
        .into_iter()
        .find(|direction| direction.attribute().as_bytes() == attribute)
}

fn address(value: &[u8]) -> Option<IpAddr> {
    let last = value.split(|&byte| byte == b' ').rfind(|word| !word.is_empty())?;
    let host = last.split(|&byte| byte == b'/').next()?;
    std::str::from_utf8(host).ok()?.parse().ok()
}

fn port_of(media: &[u8], codec: Codec) -> Option<u16> {
    let mut words = media.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    let (kind, port, _protocol) = (words.next()?, words.next()?, words.next()?);
    let port = number(port).and_then(|port| u16::try_from(port).ok()).filter(|&port| port > 0)?;
    (kind == b"audio" && words.any(|format| number(format) == Some(codec.payload_type().into()))).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PCMU: Codec = Codec::Pcmu;

    #[test]
    fn our_own_description_reads_back() {
        for (local, codec) in [("192.0.2.1:4000", PCMU), ("[2001:db8::1]:65534", Codec::Pcma)] {
            for direction in [Direction::Both, Direction::Send, Direction::Receive, Direction::Neither] {
                let mut out = Vec::new();
                let address = local.parse().unwrap();
                Description { session: 7, version: 2, local: address, codec, direction }.write(&mut out);
                assert_eq!(remote(&out, codec), Some(Remote { address, direction: direction.reversed() }));
                assert_eq!(remote(&out, if codec == PCMU { Codec::Pcma } else { PCMU }), None);
            }
        }
    }

    #[test]
    fn the_nearest_address_counts_and_a_rejected_line_does_not() {
        let address = |body: &[u8]| remote(body, PCMU).map(|remote| remote.address.to_string());
        let body = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=video 9 RTP/AVP 31\r\nc=IN IP4 192.0.2.8\r\n\
            m=audio 4002 RTP/AVP 8 0\r\nc=IN IP4 192.0.2.9/127\r\nm=audio 5000 RTP/AVP 0\r\nc=IN IP4 192.0.2.7\r\n";
        assert_eq!(address(body), Some("192.0.2.9:4002".into()));
        assert_eq!(address(b"c=IN IP4 192.0.2.1\nm=audio 0 RTP/AVP 0\n"), None);
        assert_eq!(address(b"c=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 8\n"), None);
        assert_eq!(address(b"m=audio 4000 RTP/AVP 0\n"), None);
        assert_eq!(address(b""), None);
    }

    #[test]
    fn hold_is_understood_in_both_of_its_forms() {
        let direction = |body: &[u8]| remote(body, PCMU).unwrap().direction;
        let audio = b"c=IN IP4 192.0.2.1\na=sendonly\nm=audio 4000 RTP/AVP 0\n";
        assert_eq!(direction(audio), Direction::Receive);
        assert_eq!(direction(&[&audio[..], b"a=inactive\n"].concat()), Direction::Neither);
        assert_eq!(direction(b"c=IN IP4 0.0.0.0\nm=audio 4000 RTP/AVP 0\n"), Direction::Receive);
    }
}
