//! Codecs by payload type, and the filter that an account's list of codecs is.
//!
//! RFC 3551 §6 (static types), RFC 8866 §6.6 (`rtpmap`), §6.15 (`fmtp`), RFC 4588 (`apt`), RFC 2198 (`red`).

use super::FORMATS_MAX;
use super::line::{self, lines, number, word, words};
use super::parse::{Media, MediaKind};
use arrayvec::ArrayVec;

/// One codec of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codec<'a> {
    /// RTP payload type, 0–127.
    pub payload_type: u8,
    /// Encoding name as written; empty for a dynamic type that nothing explains.
    pub name: &'a [u8],
    /// RTP clock in Hz.
    pub clock_rate: u32,
    /// Channels; one where not said.
    pub channels: u8,
    /// The parameters of `a=fmtp`.
    pub fmtp: Option<&'a [u8]>,
}

// RFC 3551 §6, tables 4 and 5.
const STATIC: [(u8, &[u8], u32, u8); 23] = [
    (0, b"PCMU", 8000, 1),
    (3, b"GSM", 8000, 1),
    (4, b"G723", 8000, 1),
    (5, b"DVI4", 8000, 1),
    (6, b"DVI4", 16000, 1),
    (7, b"LPC", 8000, 1),
    (8, b"PCMA", 8000, 1),
    (9, b"G722", 8000, 1),
    (10, b"L16", 44100, 2),
    (11, b"L16", 44100, 1),
    (12, b"QCELP", 8000, 1),
    (13, b"CN", 8000, 1),
    (14, b"MPA", 90000, 1),
    (15, b"G728", 8000, 1),
    (16, b"DVI4", 11025, 1),
    (17, b"DVI4", 22050, 1),
    (18, b"G729", 8000, 1),
    (25, b"CelB", 90000, 1),
    (26, b"JPEG", 90000, 1),
    (31, b"H261", 90000, 1),
    (32, b"MPV", 90000, 1),
    (33, b"MP2T", 90000, 1),
    (34, b"H263", 90000, 1),
];

/// Not codecs of their own: they accompany one and go when it goes.
const COMPANIONS: [&str; 8] = ["telephone-event", "CN", "rtx", "red", "ulpfec", "flexfec", "flexfec-03", "parityfec"];
/// Names that mean pictures, so that an audio list of an account does not reject its video.
const VIDEO: [&str; 12] =
    ["H261", "H263", "H263-1998", "H263-2000", "H264", "H265", "VP8", "VP9", "AV1", "JPEG", "MPV", "MP4V-ES"];

/// The clock rate of a payload type that no description explains.
#[must_use]
pub fn static_clock_rate(payload_type: u8) -> Option<u32> {
    STATIC.iter().find(|row| row.0 == payload_type).map(|row| row.2)
}

pub(super) fn find(section: &[u8], payload_type: u8) -> Option<Codec<'_>> {
    if payload_type > 127 {
        return None;
    }
    let mut codec = Codec { payload_type, name: b"", clock_rate: 0, channels: 1, fmtp: None };
    for line in lines(section) {
        if let Some(value) = value_for(line.named("rtpmap"), payload_type) {
            (codec.name, codec.clock_rate, codec.channels) = rtpmap(value).unwrap_or((b"", 0, 1));
        } else if let Some(value) = value_for(line.named("fmtp"), payload_type) {
            codec.fmtp = Some(value);
        }
    }
    if codec.name.is_empty()
        && let Some((_, name, rate, channels)) = STATIC.iter().find(|row| row.0 == payload_type)
    {
        (codec.name, codec.clock_rate, codec.channels) = (name, *rate, *channels);
    }
    Some(codec)
}

fn value_for(attribute: Option<&[u8]>, payload_type: u8) -> Option<&[u8]> {
    let (format, value) = word(attribute?);
    (number(format) == Some(payload_type)).then_some(value)
}

fn rtpmap(value: &[u8]) -> Option<(&[u8], u32, u8)> {
    let mut parts = value.trim_ascii().split(|byte| *byte == b'/');
    let name = parts.next().filter(|name| !name.is_empty())?;
    let rate = number(parts.next()?)?;
    Some((name, rate, parts.next().and_then(number).unwrap_or(1)))
}

impl Codec<'_> {
    /// True for what only accompanies a codec: `telephone-event`, `CN`, `rtx`, `red`, forward error correction.
    #[must_use]
    pub fn is_companion(&self) -> bool {
        is_one_of(self.name, &COMPANIONS)
    }

    /// The payload types that `rtx` (`apt=`) and `red` (`a/b/c`) refer to.
    fn refers_to(&self) -> ArrayVec<u8, 8> {
        let parameters = self.fmtp.unwrap_or(b"");
        if self.name.eq_ignore_ascii_case(b"rtx") {
            let of = parameters.split(|byte| *byte == b';').find_map(|part| part.trim_ascii().strip_prefix(b"apt="));
            return of.and_then(number).into_iter().collect();
        }
        if self.name.eq_ignore_ascii_case(b"red") {
            return word(parameters).0.split(|byte| *byte == b'/').filter_map(number).take(8).collect();
        }
        ArrayVec::new()
    }
}

fn is_one_of(name: &[u8], names: &[&str]) -> bool {
    names.iter().any(|have| name.eq_ignore_ascii_case(have.as_bytes()))
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    name: Box<[u8]>,
    clock_rate: Option<u32>,
}

impl Wanted {
    fn matches(&self, codec: &Codec<'_>) -> bool {
        codec.name.eq_ignore_ascii_case(&self.name) && self.clock_rate.is_none_or(|rate| rate == codec.clock_rate)
    }

    fn is_video(&self) -> bool {
        is_one_of(&self.name, &VIDEO)
    }
}

/// Which codecs may pass, and in which order. Made once per account; empty means "as offered".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodecFilter {
    wanted: Vec<Wanted>,
    offered: Option<Vec<Wanted>>,
}

impl CodecFilter {
    /// From names in the order wanted, each `NAME` or `NAME/RATE`, in any case. Names of video codecs order video,
    /// all others audio; a kind of media that no name speaks of passes as offered.
    #[must_use]
    pub fn new<Name: AsRef<str>>(names: &[Name]) -> Self {
        let wanted = names
            .iter()
            .map(|name| {
                let (name, rate) = line::split_at(name.as_ref().trim().as_bytes(), b'/');
                Wanted { name: name.into(), clock_rate: number(word_before_slash(rate)) }
            })
            .filter(|wanted| !wanted.name.is_empty())
            .collect();
        Self { wanted, offered: None }
    }

    /// What passes both: this one's order where it has one, without what the other does not want.
    #[must_use]
    pub fn also(&self, other: &Self) -> Self {
        if self.wanted.is_empty() || other.wanted.is_empty() {
            let wanted = if self.wanted.is_empty() { &other.wanted } else { &self.wanted };
            return Self { wanted: wanted.clone(), offered: self.offered.clone() };
        }
        let agreed = |wanted: &&Wanted| {
            other.wanted.iter().any(|theirs| {
                theirs.name.eq_ignore_ascii_case(&wanted.name)
                    && (theirs.clock_rate.is_none()
                        || wanted.clock_rate.is_none()
                        || theirs.clock_rate == wanted.clock_rate)
            })
        };
        let mut wanted: Vec<Wanted> = self.wanted.iter().filter(agreed).cloned().collect();
        if wanted.is_empty() {
            // Nothing in common is not "as offered": a name that no codec has.
            wanted.push(Wanted { name: Box::default(), clock_rate: None });
        }
        Self { wanted, offered: self.offered.clone() }
    }

    /// This filter for the answer to `offer`: what was not offered does not pass (RFC 3264 §6.1).
    #[must_use]
    pub fn restricted_to(&self, offer: &Media<'_>) -> Self {
        let offered = offer
            .codecs()
            .map(|codec| Wanted { name: codec.name.into(), clock_rate: Some(codec.clock_rate) })
            .collect();
        Self { wanted: self.wanted.clone(), offered: Some(offered) }
    }

    /// True where it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.offered.is_none()
    }

    /// True where at least one real codec of the stream passes; a stream of which none does is to be rejected.
    #[must_use]
    pub fn accepts(&self, media: &Media<'_>) -> bool {
        !self.select(media).is_empty()
    }

    /// The formats that pass, in order. Streams that are not RTP pass whole.
    pub(super) fn select<'a>(&self, media: &Media<'a>) -> ArrayVec<&'a [u8], FORMATS_MAX> {
        let offered = words(media.formats).take(FORMATS_MAX);
        if !media.is_rtp() || self.is_empty() {
            return offered.collect();
        }
        let codecs: ArrayVec<(&[u8], Codec<'_>), FORMATS_MAX> =
            offered.filter_map(|format| Some((format, media.codec(number(format)?)?))).collect();
        let mut kept = ArrayVec::<(&[u8], Codec<'_>), FORMATS_MAX>::new();
        for (format, codec) in self.ordered(media.kind, &codecs) {
            if !kept.iter().any(|(_, have)| have.payload_type == codec.payload_type) {
                kept.push((format, codec));
            }
        }
        if kept.is_empty() {
            return ArrayVec::new();
        }
        let first_companion = kept.len();
        for (format, codec) in &codecs {
            let known = kept.iter().any(|(_, have)| have.payload_type == codec.payload_type);
            if codec.is_companion() && !known && self.was_offered(codec) && goes_with(codec, &kept[..first_companion]) {
                kept.push((format, *codec));
            }
        }
        kept.iter().map(|(format, _)| *format).collect()
    }

    fn ordered<'a>(
        &self,
        kind: MediaKind,
        codecs: &[(&'a [u8], Codec<'a>)],
    ) -> ArrayVec<(&'a [u8], Codec<'a>), FORMATS_MAX> {
        let mut real = codecs.iter().copied().filter(|(_, codec)| !codec.is_companion() && self.was_offered(codec));
        let wanted = || self.wanted.iter().filter(|wanted| wanted.is_video() == (kind == MediaKind::Video));
        if wanted().next().is_none() {
            return real.by_ref().collect();
        }
        let real: ArrayVec<_, FORMATS_MAX> = real.collect();
        wanted()
            .flat_map(|wanted| real.iter().copied().filter(|(_, codec)| wanted.matches(codec)))
            .take(FORMATS_MAX)
            .collect()
    }

    fn was_offered(&self, codec: &Codec<'_>) -> bool {
        self.offered.as_ref().is_none_or(|offered| offered.iter().any(|wanted| wanted.matches(codec)))
    }
}

fn word_before_slash(text: &[u8]) -> &[u8] {
    line::split_at(text, b'/').0
}

/// A companion stays with the codecs it refers to, or with one of its own clock rate (RFC 4733 §2.1, RFC 3389 §4).
fn goes_with(companion: &Codec<'_>, kept: &[(&[u8], Codec<'_>)]) -> bool {
    let refers_to = companion.refers_to();
    if !refers_to.is_empty() {
        return refers_to.iter().all(|of| kept.iter().any(|(_, codec)| codec.payload_type == *of));
    }
    let same_rate = kept.iter().any(|(_, codec)| codec.clock_rate == companion.clock_rate);
    // An 8000 Hz telephone-event beside wideband codecs is common and works: the clock is the event's own.
    same_rate || (companion.name.eq_ignore_ascii_case(b"telephone-event") && companion.clock_rate == 8000)
}
