//! Writing a description again for the other leg: our addresses and ports, our origin, the codecs that pass; every other
//! line byte for byte, in its place.
//!
//! Taken out: ICE (RFC 8839), since we do not speak it and its candidates would lead media around us; BUNDLE (RFC 9143),
//! since every stream has ports of its own here; source filters (RFC 4570), since the source is now us. Keys (`a=crypto`,
//! fingerprints) pass untouched: the parties encrypt end to end through the relay.

use super::FORMATS_MAX;
use super::filter::CodecFilter;
use super::line::{Line, lines, number, word, words};
use super::parse::{Media, Session};
use crate::base::Direction;
use crate::base::text::{push_ip, push_number};
use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// What one stream shall say.
#[derive(Clone, Copy, Debug)]
pub struct MediaPlan<'a> {
    /// Where we want its media.
    pub address: IpAddr,
    /// Where we want its RTP; zero rejects the stream.
    pub port: u16,
    /// Where we want its RTCP; written only where it is not `port + 1`.
    pub rtcp_port: u16,
    /// True to say `a=rtcp-mux`: only in an offer, or in the answer to an offer that said so (RFC 5761 §5.1.1).
    pub rtcp_mux: bool,
    /// Which codecs pass, and in which order.
    pub codecs: Option<&'a CodecFilter>,
    /// A direction to say instead of the peer's. Without one a hold by address is told as a direction.
    pub direction: Option<Direction>,
}

impl<'a> MediaPlan<'a> {
    /// A stream through a pair of our ports, as [`media::Relay::local`](crate::media) gives them.
    #[must_use]
    pub fn relayed(rtp: SocketAddr, rtcp: SocketAddr) -> Self {
        Self {
            address: rtp.ip(),
            port: rtp.port(),
            rtcp_port: rtcp.port(),
            rtcp_mux: false,
            codecs: None,
            direction: None,
        }
    }

    /// A stream that is not wanted.
    #[must_use]
    pub fn rejected() -> Self {
        Self::relayed(SocketAddr::from(([0; 4], 0)), SocketAddr::from(([0; 4], 0)))
    }

    /// The same with `a=rtcp-mux`.
    #[must_use]
    pub fn with_mux(mut self, mux: bool) -> Self {
        self.rtcp_mux = mux;
        self
    }

    /// The same with a filter.
    #[must_use]
    pub fn with_codecs(mut self, codecs: &'a CodecFilter) -> Self {
        self.codecs = Some(codecs);
        self
    }
}

/// Our `o=` line: the peers never see each other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnOrigin {
    /// Session id: random, fixed for the leg.
    pub id: u64,
    /// Rises by one with every change (RFC 3264 §8).
    pub version: u64,
    /// Our address.
    pub address: IpAddr,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// Streams with a port; none means that nothing was acceptable (488).
    pub live: usize,
}

/// Appends `session` to `out` as `plan` says, one entry per stream; streams beyond the plan are rejected.
pub fn rewrite(session: &Session<'_>, plan: &[MediaPlan<'_>], origin: OwnOrigin, out: &mut Vec<u8>) -> Rewritten {
    rewrite_as(session, None, plan, origin, out)
}

/// As [`rewrite`]. `offer` is what `session` answers, as its receiver wrote it: the answer gets as many streams as that
/// has (RFC 3264 §6), those that the peer left out being rejected, those that it added left out.
fn rewrite_as(
    session: &Session<'_>,
    offer: Option<&Session<'_>>,
    plan: &[MediaPlan<'_>],
    origin: OwnOrigin,
    out: &mut Vec<u8>,
) -> Rewritten {
    let streams_max = offer.map_or(usize::MAX, |offer| offer.media.len());
    let rejected = MediaPlan::rejected();
    let plan_for = |index: usize| plan.get(index).unwrap_or(&rejected);
    let streams = || session.media.iter().take(streams_max).enumerate().map(|(index, media)| (media, plan_for(index)));
    let shared = session
        .connection
        .is_some()
        .then(|| streams().find(|(media, plan)| is_live(media, plan)).map_or(origin.address, |(_, plan)| plan.address));
    write_session(session, origin, shared, out);
    let mut rewritten = Rewritten::default();
    for (media, plan) in streams() {
        rewritten.live += usize::from(write_stream(media, plan, shared, out));
    }
    for media in offer.iter().flat_map(|offer| &offer.media).skip(session.media.len()) {
        write_rejected(media, out);
    }
    rewritten
}

type Formats<'a> = ArrayVec<&'a [u8], FORMATS_MAX>;

/// The formats that pass; none where the peer, the plan or the filter rejects the stream.
fn live_formats<'a>(media: &Media<'a>, plan: &MediaPlan<'_>) -> Option<Formats<'a>> {
    if plan.port == 0 || media.is_rejected() {
        return None;
    }
    let formats = plan.codecs.map_or_else(|| all_formats(media), |filter| filter.select(media));
    (!formats.is_empty()).then_some(formats)
}

/// The same without making the list.
fn is_live(media: &Media<'_>, plan: &MediaPlan<'_>) -> bool {
    plan.port != 0 && !media.is_rejected() && plan.codecs.is_none_or(|filter| filter.accepts(media))
}

fn all_formats<'a>(media: &Media<'a>) -> Formats<'a> {
    words(media.formats).take(FORMATS_MAX).collect()
}

fn write_session(session: &Session<'_>, origin: OwnOrigin, shared: Option<IpAddr>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"v=0\r\n");
    out.extend_from_slice(b"o=- ");
    push_number(out, origin.id);
    out.push(b' ');
    push_number(out, origin.version);
    out.push(b' ');
    push_host(out, origin.address);
    out.extend_from_slice(b"\r\ns=-\r\n");
    let mut timed = false;
    for line in lines(session.section) {
        match line.kind {
            b'v' | b'o' | b's' => continue,
            b't' => timed = true,
            // RFC 8866 §5: zone, key and attribute lines follow the time.
            b'r' | b'z' | b'k' | b'a' if !timed => {
                out.extend_from_slice(b"t=0 0\r\n");
                timed = true;
            }
            _ => {}
        }
        match (line.kind, shared) {
            (b'c', Some(address)) => write_connection(address, out),
            (b'a', _) if is_not_ours(line) => {}
            _ => write_line(line, out),
        }
    }
    if !timed {
        out.extend_from_slice(b"t=0 0\r\n");
    }
}

/// True where the stream stays alive.
fn write_stream(media: &Media<'_>, plan: &MediaPlan<'_>, shared: Option<IpAddr>, out: &mut Vec<u8>) -> bool {
    let Some(formats) = live_formats(media, plan) else { return write_rejected(media, out) };
    write_media_line(media, plan.port, &formats, out);
    let mut connected = !media.own_connection && shared == Some(plan.address);
    let hold = media.is_held_by_address().then(|| media.effective_direction());
    let direction = plan.direction.or(hold);
    for line in lines(media.section).skip(1) {
        if !connected && line.kind != b'i' {
            write_connection(plan.address, out);
            connected = true;
        }
        match line.kind {
            // Ours is written already; the others belong to the session (RFC 8866 §5) and would be read two ways here.
            b'c' | b'v' | b'o' | b's' | b'u' | b'e' | b'p' | b't' | b'r' | b'z' => {}
            b'a' if is_not_ours(line) || is_replaced(line, direction) || is_of_dropped(line, media, &formats) => {}
            _ => write_line(line, out),
        }
    }
    if !connected {
        write_connection(plan.address, out);
    }
    write_own_attributes(plan, direction, out);
    true
}

/// RFC 3264 §6: a rejected stream keeps its line, its port zero and at least one format. `a=mid` keeps its name.
fn write_rejected(media: &Media<'_>, out: &mut Vec<u8>) -> bool {
    write_media_line(media, 0, &all_formats(media), out);
    for line in lines(media.section).filter(|line| line.named("mid").is_some()) {
        write_line(line, out);
    }
    false
}

fn write_media_line(media: &Media<'_>, port: u16, formats: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(b"m=");
    out.extend_from_slice(media.kind_name);
    out.push(b' ');
    push_number(out, port);
    out.push(b' ');
    out.extend_from_slice(media.protocol);
    for format in formats {
        out.push(b' ');
        out.extend_from_slice(format);
    }
    out.extend_from_slice(b"\r\n");
}

fn write_own_attributes(plan: &MediaPlan<'_>, direction: Option<Direction>, out: &mut Vec<u8>) {
    if let Some(direction) = direction {
        write_line(Line { kind: b'a', value: direction.as_str().as_bytes() }, out);
    }
    if plan.rtcp_mux {
        out.extend_from_slice(b"a=rtcp-mux\r\n");
    }
    // RFC 5761 §5.1.3: an offer of mux names the port for peers that do not take it.
    if Some(plan.rtcp_port) != plan.port.checked_add(1) && plan.rtcp_port != 0 {
        out.extend_from_slice(b"a=rtcp:");
        push_number(out, plan.rtcp_port);
        out.extend_from_slice(b"\r\n");
    }
}

/// Attributes that speak of the path between the peer and us.
fn is_not_ours(line: Line<'_>) -> bool {
    const ICE: [&str; 9] = [
        "candidate",
        "end-of-candidates",
        "ice-ufrag",
        "ice-pwd",
        "ice-options",
        "ice-lite",
        "ice-mismatch",
        "ice-pacing",
        "remote-candidates",
    ];
    const PATH: [&str; 5] = ["source-filter", "bundle-only", "rtcp-mux-only", "alt", "rtcp-mux"];
    let Some((name, value)) = line.attribute() else { return false };
    if !matches!(name.first(), Some(b'a'..=b'c' | b'e' | b'g' | b'i' | b'r' | b's' | b'A'..=b'Z')) {
        return false;
    }
    let is = |have: &&str| name.eq_ignore_ascii_case(have.as_bytes());
    let bundle = is(&"group") && word(value).0.eq_ignore_ascii_case(b"BUNDLE");
    bundle || is(&"rtcp") || ICE.iter().chain(&PATH).any(is)
}

fn is_replaced(line: Line<'_>, direction: Option<Direction>) -> bool {
    direction.is_some() && line.attribute().is_some_and(|(name, _)| Direction::from_token(name).is_some())
}

/// True for the attributes of a format that does not pass.
fn is_of_dropped(line: Line<'_>, media: &Media<'_>, kept: &[&[u8]]) -> bool {
    let Some((name, value)) = line.attribute() else { return false };
    let speaks_of_format =
        [&b"rtpmap"[..], b"fmtp", b"rtcp-fb"].iter().any(|attribute| name.eq_ignore_ascii_case(attribute));
    if !speaks_of_format || !media.is_rtp() {
        return false;
    }
    let Some(format) = number::<u16>(word(value).0) else { return false };
    !kept.iter().any(|have| number(have) == Some(format))
}

fn write_line(line: Line<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&[line.kind, b'=']);
    out.extend_from_slice(line.value);
    out.extend_from_slice(b"\r\n");
}

fn write_connection(address: IpAddr, out: &mut Vec<u8>) {
    out.extend_from_slice(b"c=");
    push_host(out, address);
    out.extend_from_slice(b"\r\n");
}

/// An address with its network and family, as `o=` and `c=` want it.
fn push_host(out: &mut Vec<u8>, address: IpAddr) {
    out.extend_from_slice(if address.is_ipv4() { b"IN IP4 " } else { b"IN IP6 " });
    push_ip(out, address);
}

/// Writes all descriptions of one leg under one origin, whose version rises only where the text differs from the last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Author {
    origin: OwnOrigin,
    last: Option<u64>,
}

impl Author {
    /// For a leg; `id` is random (RFC 8866 §5.2 wants it unique, hiding wants it meaningless).
    #[must_use]
    pub fn new(id: u64, address: IpAddr) -> Self {
        // RFC 3264 §5 keeps both numbers within 63 bits; peers parse the id as 32 or 63 bits, so it stays below 2^31.
        Self { origin: OwnOrigin { id: id & 0x7fff_ffff, version: 1, address }, last: None }
    }

    /// Appends the description to `out`, as [`rewrite`] does.
    pub fn write(&mut self, session: &Session<'_>, plan: &[MediaPlan<'_>], out: &mut Vec<u8>) -> Rewritten {
        self.write_as(session, None, plan, out)
    }

    /// As [`write`](Self::write), with as many streams as the offer has that is answered (RFC 3264 §6).
    pub fn write_answer(
        &mut self,
        session: &Session<'_>,
        offer: &Session<'_>,
        plan: &[MediaPlan<'_>],
        out: &mut Vec<u8>,
    ) -> Rewritten {
        self.write_as(session, Some(offer), plan, out)
    }

    fn write_as(
        &mut self,
        session: &Session<'_>,
        offer: Option<&Session<'_>>,
        plan: &[MediaPlan<'_>],
        out: &mut Vec<u8>,
    ) -> Rewritten {
        let start = out.len();
        let rewritten = rewrite_as(session, offer, plan, self.origin, out);
        let mut hash = fingerprint(&out[start..]);
        if self.last.is_some_and(|last| last != hash) {
            self.origin.version += 1;
            out.truncate(start);
            rewrite_as(session, offer, plan, self.origin, out);
            hash = fingerprint(&out[start..]);
        }
        self.last = Some(hash);
        rewritten
    }

    /// What the next description will carry unless it differs.
    #[must_use]
    pub fn origin(&self) -> OwnOrigin {
        self.origin
    }
}

/// Equality with the last text of the same author is all that is asked.
fn fingerprint(text: &[u8]) -> u64 {
    ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(text)
}

#[cfg(test)]
mod tests;
