//! Codecs by payload type.
//!
//! RFC 3551 §6 (static types), RFC 8866 §6.6 (`rtpmap`), §6.15 (`fmtp`), RFC 4588 (`apt`), RFC 2198 (`red`).

use super::FORMATS_MAX;
use super::line::{lines, number, word};
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
/// The clock rate of a payload type that no description explains.
#[must_use]
pub fn static_clock_rate(payload_type: u8) -> Option<u32> {
    STATIC.iter().find(|row| row.0 == payload_type).map(|row| row.2)
}

/// Formats as written, each with what it stands for. At most [`FORMATS_MAX`]; most descriptions have three, and room for
/// all would be copied with each move.
pub(super) type Table<'a> = Vec<(&'a [u8], Codec<'a>)>;

const TABLE_ROOM: usize = 8;

/// What each of these payload types stands for in a section of a description.
pub(super) fn table_of<'a>(section: &'a [u8], formats: impl IntoIterator<Item = (&'a [u8], u8)>) -> Table<'a> {
    let formats = formats.into_iter().filter(|(_, payload_type)| *payload_type < 128);
    let mut table = Table::with_capacity(TABLE_ROOM);
    table.extend(formats.map(|(format, payload_type)| (format, of_type(payload_type))).take(FORMATS_MAX));
    for (name, value) in lines(section).filter_map(|line| line.attribute()) {
        let is_map = name.eq_ignore_ascii_case(b"rtpmap");
        if !is_map && !name.eq_ignore_ascii_case(b"fmtp") {
            continue;
        }
        let (format, value) = word(value);
        let Some(payload_type) = number::<u8>(format) else { continue };
        for (_, codec) in table.iter_mut().filter(|(_, codec)| codec.payload_type == payload_type) {
            if !is_map {
                codec.fmtp = Some(value);
            } else if let Some(map) = rtpmap(value) {
                (codec.name, codec.clock_rate, codec.channels) = map;
            }
        }
    }
    table
}

/// What RFC 3551 says of a payload type.
fn of_type(payload_type: u8) -> Codec<'static> {
    let row = STATIC.iter().find(|row| row.0 == payload_type);
    let (_, name, clock_rate, channels) = row.copied().unwrap_or((payload_type, b"", 0, 1));
    Codec { payload_type, name, clock_rate, channels, fmtp: None }
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
    pub(super) fn refers_to(&self) -> ArrayVec<u8, 8> {
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

/// Is it one of them, in any case?
pub(super) fn is_one_of(name: &[u8], names: &[&str]) -> bool {
    names.iter().any(|have| name.eq_ignore_ascii_case(have.as_bytes()))
}
