//! The filter that an account's list of codecs is: what passes, and in which order.
//!
//! RFC 3264 §6.1 (an answer holds what was offered), RFC 4733 §2.1 and RFC 3389 §4 (what accompanies a codec goes with it).

use super::FORMATS_MAX;
use super::codec::{Codec, Table, is_one_of};
use super::line::{self, number, words};
use super::parse::{Media, MediaKind};
use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};

/// Names that mean pictures, so that an audio list of an account does not reject its video.
const VIDEO: [&str; 12] =
    ["H261", "H263", "H263-1998", "H263-2000", "H264", "H265", "VP8", "VP9", "AV1", "JPEG", "MPV", "MP4V-ES"];

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Wanted {
    #[serde(with = "serde_bytes")]
    name: Box<[u8]>,
    clock_rate: Option<u32>,
    is_video: bool,
}

impl Wanted {
    fn new(name: &[u8], clock_rate: Option<u32>) -> Self {
        Self { name: name.into(), clock_rate, is_video: is_one_of(name, &VIDEO) }
    }

    /// What both name; none where they differ in the name or in the clock that both say.
    fn narrowed_to(&self, other: &Self) -> Option<Self> {
        let same_rate = self.clock_rate.is_none() || other.clock_rate.is_none() || self.clock_rate == other.clock_rate;
        (same_rate && self.name.eq_ignore_ascii_case(&other.name))
            .then(|| Self { clock_rate: self.clock_rate.or(other.clock_rate), ..self.clone() })
    }

    fn matches(&self, codec: &Codec<'_>) -> bool {
        !self.name.is_empty()
            && codec.name.eq_ignore_ascii_case(&self.name)
            && self.clock_rate.is_none_or(|rate| rate == codec.clock_rate)
    }
}

/// Which codecs may pass, and in which order. Made once per account; empty means "as offered".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
                Wanted::new(name, number(line::split_at(rate, b'/').0))
            })
            .filter(|wanted| !wanted.name.is_empty())
            .collect();
        Self { wanted, offered: None }
    }

    /// What passes both, audio and video apart: this one's order where it has one, without what the other does not want.
    #[must_use]
    pub fn also(&self, other: &Self) -> Self {
        let mut wanted = Vec::new();
        for is_video in [false, true] {
            let of = |filter: &Self| -> Vec<Wanted> {
                filter.wanted.iter().filter(|wanted| wanted.is_video == is_video).cloned().collect()
            };
            let (ours, theirs) = (of(self), of(other));
            if ours.is_empty() || theirs.is_empty() {
                wanted.extend(ours.into_iter().chain(theirs));
                continue;
            }
            let agreed = wanted.len();
            wanted.extend(ours.iter().filter_map(|ours| theirs.iter().find_map(|theirs| ours.narrowed_to(theirs))));
            if wanted.len() == agreed {
                // Nothing in common is not "as offered": a name that no codec has.
                wanted.push(Wanted { name: Box::default(), clock_rate: None, is_video });
            }
        }
        Self { wanted, offered: self.offered.clone() }
    }

    /// This filter for the answer to `offer`: what was not offered does not pass (RFC 3264 §6.1).
    #[must_use]
    pub fn restricted_to(&self, offer: &Media<'_>) -> Self {
        let offered = offer.codecs().map(|codec| Wanted::new(codec.name, Some(codec.clock_rate))).collect();
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
        if !media.is_rtp() || self.is_empty() {
            return true;
        }
        !self.ordered(media.kind, &media.table()).is_empty()
    }

    /// The formats that pass, in order. Streams that are not RTP pass whole.
    pub(super) fn select<'a>(&self, media: &Media<'a>) -> ArrayVec<&'a [u8], FORMATS_MAX> {
        if !media.is_rtp() || self.is_empty() {
            return words(media.formats).take(FORMATS_MAX).collect();
        }
        let table = media.table();
        let mut kept = self.ordered(media.kind, &table);
        let real = kept.len();
        if real == 0 {
            return ArrayVec::new();
        }
        for (at, (_, codec)) in table.iter().enumerate() {
            let is_new = !is_among(codec, &kept, &table);
            if codec.is_companion() && is_new && self.was_offered(codec) && goes_with(codec, &kept[..real], &table) {
                kept.push(at);
            }
        }
        kept.iter().map(|at| table[*at].0).collect()
    }

    /// Where the real codecs stand that pass, in order.
    fn ordered(&self, kind: MediaKind, table: &Table<'_>) -> Kept {
        let mut kept = Kept::new();
        let mut keep = |wanted: Option<&Wanted>| {
            for (at, (_, codec)) in table.iter().enumerate() {
                let is_wanted = wanted.is_none_or(|wanted| wanted.matches(codec));
                if is_wanted && !codec.is_companion() && self.was_offered(codec) && !is_among(codec, &kept, table) {
                    kept.push(at);
                }
            }
        };
        let mut wanted = self.wanted.iter().filter(|wanted| wanted.is_video == (kind == MediaKind::Video)).peekable();
        if wanted.peek().is_none() {
            keep(None);
        }
        wanted.for_each(|wanted| keep(Some(wanted)));
        kept
    }

    fn was_offered(&self, codec: &Codec<'_>) -> bool {
        self.offered.as_ref().is_none_or(|offered| offered.iter().any(|wanted| wanted.matches(codec)))
    }
}

/// Places in a table.
type Kept = ArrayVec<usize, FORMATS_MAX>;

fn is_among(codec: &Codec<'_>, kept: &[usize], table: &Table<'_>) -> bool {
    kept.iter().any(|at| table[*at].1.payload_type == codec.payload_type)
}

/// A companion stays with the codecs it refers to, or with one of its own clock rate (RFC 4733 §2.1, RFC 3389 §4).
fn goes_with(companion: &Codec<'_>, kept: &[usize], table: &Table<'_>) -> bool {
    let codecs = || kept.iter().map(|at| &table[*at].1);
    let refers_to = companion.refers_to();
    if !refers_to.is_empty() {
        return refers_to.iter().all(|of| codecs().any(|codec| codec.payload_type == *of));
    }
    let same_rate = codecs().any(|codec| codec.clock_rate == companion.clock_rate);
    // An 8000 Hz telephone-event beside wideband codecs is common and works: the clock is the event's own.
    same_rate || (companion.name.eq_ignore_ascii_case(b"telephone-event") && companion.clock_rate == 8000)
}
