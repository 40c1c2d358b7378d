//! A description from scratch: what a phone of our own offers and answers.

use super::rewrite::OwnOrigin;
use crate::base::Direction;
use std::io::Write as _;
use std::net::IpAddr;

/// One stream of a new description.
#[derive(Clone, Copy, Debug)]
pub struct MediaDescription<'a> {
    /// `audio`, `video`.
    pub kind: &'a str,
    /// The RTP port; zero rejects.
    pub port: u16,
    /// `RTP/AVP`.
    pub protocol: &'a str,
    /// Payload type, `rtpmap` value (`PCMU/8000`), `fmtp` parameters or an empty text.
    pub codecs: &'a [(u8, &'a str, &'a str)],
    /// Milliseconds per packet.
    pub ptime_ms: Option<u16>,
    /// Said always.
    pub direction: Direction,
    /// `a=rtcp-mux`.
    pub rtcp_mux: bool,
}

/// A new description.
#[derive(Clone, Copy, Debug)]
pub struct Description<'a> {
    /// The `o=` line.
    pub origin: OwnOrigin,
    /// The session's `c=`.
    pub address: IpAddr,
    /// The streams.
    pub media: &'a [MediaDescription<'a>],
}

/// An address with its family, as `o=` and `c=` want it.
struct Host(IpAddr);

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "IP4 {address}"),
            IpAddr::V6(address) => write!(f, "IP6 {address}"),
        }
    }
}

impl Description<'_> {
    /// Appends the text to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let OwnOrigin { id, version, address } = self.origin;
        let _ = write!(out, "v=0\r\no=- {id} {version} IN {}\r\ns=-\r\n", Host(address));
        let _ = write!(out, "c=IN {}\r\nt=0 0\r\n", Host(self.address));
        for media in self.media {
            media.write(out);
        }
    }
}

impl MediaDescription<'_> {
    /// An audio stream of G.711 mu-law with telephone events: what any phone speaks.
    #[must_use]
    pub const fn pcmu(port: u16) -> MediaDescription<'static> {
        MediaDescription {
            kind: "audio",
            port,
            protocol: "RTP/AVP",
            codecs: &[(0, "PCMU/8000", ""), (101, "telephone-event/8000", "0-16")],
            ptime_ms: Some(20),
            direction: Direction::SendReceive,
            rtcp_mux: false,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let _ = write!(out, "m={} {} {}", self.kind, self.port, self.protocol);
        for (payload_type, ..) in self.codecs {
            let _ = write!(out, " {payload_type}");
        }
        out.extend_from_slice(b"\r\n");
        for (payload_type, rtpmap, fmtp) in self.codecs {
            let _ = write!(out, "a=rtpmap:{payload_type} {rtpmap}\r\n");
            if !fmtp.is_empty() {
                let _ = write!(out, "a=fmtp:{payload_type} {fmtp}\r\n");
            }
        }
        if let Some(ptime) = self.ptime_ms {
            let _ = write!(out, "a=ptime:{ptime}\r\n");
        }
        let _ = write!(out, "a={}\r\n", self.direction.as_str());
        if self.rtcp_mux {
            out.extend_from_slice(b"a=rtcp-mux\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::Session;

    #[test]
    fn what_a_phone_says_reads_back() {
        let address = "2001:db8::7".parse().unwrap();
        let origin = OwnOrigin { id: 4, version: 1, address };
        let mut out = Vec::new();
        Description { origin, address, media: &[MediaDescription::pcmu(4000)] }.write(&mut out);
        let session = Session::parse(&out).unwrap();
        let audio = &session.media[0];
        assert_eq!(audio.rtp().unwrap().to_string(), "[2001:db8::7]:4000");
        assert_eq!(audio.rtcp().unwrap().port(), 4001);
        assert_eq!((audio.telephone_event(), audio.ptime_ms), (Some(101), Some(20)));
        assert_eq!(audio.codecs().next().unwrap().name, b"PCMU");
    }
}
