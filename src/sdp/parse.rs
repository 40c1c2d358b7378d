//! Reading a description in place: one pass finds the sections and what a relay must know; the rest stays text.
//!
//! RFC 8866 (grammar), RFC 3605 (`a=rtcp`), RFC 5761 (`a=rtcp-mux`). Lenient where peers are known to differ (line ends,
//! missing `s=` and `t=`, empty lines at the end), strict where two readers could see different addresses.

mod connection;
mod error;
mod media;

pub use connection::Connection;
pub use error::SdpError;
pub use media::{Media, MediaKind};

use super::line::{self, Line, lines, words};
use super::{BYTES_MAX, LINES_MAX, MEDIA_MAX};
use connection::parse_connection;
use media::shared_of;

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

#[cfg(test)]
mod tests;
