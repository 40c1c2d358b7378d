//! Frames between sites as octets: a length, a version, a kind, a body. Two versions are spoken; a newer one is refused by
//! its number and never misread.
//!
//! Owned by [`crate::tally`]. A frame: `u32` length of what follows it (at most [`FRAME_BYTES_MAX`]), `u8` version, `u8`
//! kind, body. [`Hello`] and [`Bye`] have version 0: their form is the same for ever (later versions may only append to a
//! `Hello`), so that two sites that share no version can still say so. All else has the version that both agreed on
//! ([`Hello::agree`]). Version 2 has no [`Frame::Terms`], no round of a founding (read as 0), and every request is urgent.

mod octets;
mod rights;
mod sessions;
mod terms;
#[cfg(test)]
mod tests;

pub use octets::{Malformed, Oversize};
pub(super) use octets::{Reader, put_name, put_u16, put_u32, put_u64, put_u128};
pub(super) use rights::{loan, put_loan, put_request, request};

use super::message::{Identity, Message};
use super::sessions::SessionMessage;
use super::terms::TermsMessage;
use crate::base::Instant;
use std::fmt;

/// The oldest version that is spoken here.
pub const VERSION_OLDEST: u8 = 2;
/// The newest.
pub const VERSION_NEWEST: u8 = 3;
/// Since then there are frames about what is configured.
pub const TERMS_SINCE: u8 = 3;
/// Most octets of a frame after its length.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Octets of the length before a frame.
pub const LENGTH_BYTES: usize = 4;

/// What a frame without an agreed version says.
const TIMELESS: u8 = 0;
const MAGIC: [u8; 4] = *b"SWLK";

/// The first frame in each direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The oldest version that the writer speaks.
    pub oldest: u8,
    /// The newest.
    pub newest: u8,
    /// Who it is. The name must be the one in its certificate.
    pub identity: Identity,
    /// Its own clock now: what `started` of its rows counts on.
    pub clock: Instant,
    /// Its calendar now, milliseconds since 1970, for people only.
    pub calendar_ms: u64,
    /// A random number of this start of the process: two starts with one incarnation are a disk that came back. 0: not
    /// said, as in the first greetings that were written.
    pub start: u64,
}

impl Hello {
    /// What this software says.
    #[must_use]
    pub const fn new(identity: Identity, clock: Instant, calendar_ms: u64) -> Self {
        Self { oldest: VERSION_OLDEST, newest: VERSION_NEWEST, identity, clock, calendar_ms, start: 0 }
    }

    /// The newest version that both ends speak.
    ///
    /// # Errors
    /// There is none: what to tell the operator.
    pub fn agree(&self) -> Result<u8, NoCommonVersion> {
        let version = self.newest.min(VERSION_NEWEST);
        if version < VERSION_OLDEST || version < self.oldest {
            return Err(NoCommonVersion { oldest: self.oldest, newest: self.newest });
        }
        Ok(version)
    }
}

/// The other site speaks only versions that this one does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoCommonVersion {
    /// Its oldest.
    pub oldest: u8,
    /// Its newest.
    pub newest: u8,
}

impl fmt::Display for NoCommonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let behind = if self.oldest > VERSION_NEWEST { "this site" } else { "the other site" };
        write!(
            f,
            "it speaks versions {} to {} of the link, this site {VERSION_OLDEST} to {VERSION_NEWEST}; upgrade {behind}, one \
             version at a time",
            self.oldest, self.newest
        )
    }
}

impl std::error::Error for NoCommonVersion {}

/// Why a site closes a link; the last frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bye {
    /// It stops or restarts.
    Stopping,
    /// No common version.
    Version,
    /// The other's incarnation is lower than one that was seen, or an operator has retired it.
    Fenced,
    /// The name is not that of a configured peer, or not that of the certificate.
    Stranger,
    /// Another link between the two is kept.
    Redundant,
    /// A frame could not be read, or came out of turn.
    Garbage,
    /// It changes its process: it will be back at once, as the same incarnation.
    Pausing,
    /// A reason that this version does not have.
    Other(u8),
}

impl Bye {
    const NAMED: [Self; 7] =
        [Self::Stopping, Self::Version, Self::Fenced, Self::Stranger, Self::Redundant, Self::Garbage, Self::Pausing];

    fn code(self) -> u8 {
        match self {
            Self::Other(code) => code,
            named => Self::NAMED.iter().position(|one| *one == named).map_or(0, |at| at as u8 + 1),
        }
    }

    fn from_code(code: u8) -> Self {
        let named = usize::from(code).checked_sub(1).and_then(|at| Self::NAMED.get(at));
        named.copied().unwrap_or(Self::Other(code))
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Who I am.
    Hello(Hello),
    /// Are you there, and how far away?
    Ping {
        /// The writer's clock.
        stamp: Instant,
    },
    /// Here.
    Pong {
        /// From the ping.
        stamp: Instant,
        /// The writer's clock.
        clock: Instant,
    },
    /// About rights.
    Rights(Message),
    /// About sessions.
    Sessions(SessionMessage),
    /// About what is configured; from version 3 on.
    Terms(TermsMessage),
    /// I close this link.
    Bye(Bye),
}

/// Why octets are not a frame. The link is closed with [`Bye::Garbage`] or [`Bye::Version`]: what follows is not looked
/// for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// Longer than a frame may be.
    TooLong(u32),
    /// A version that was not agreed on and is not spoken here.
    Version(u8),
    /// A kind that this version does not have.
    Kind(u8),
    /// Its body is not what its kind says.
    Malformed(Malformed),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(bytes) => write!(f, "a frame of {bytes} octets; {FRAME_BYTES_MAX} are allowed"),
            Self::Version(version) => {
                write!(f, "a frame of version {version}; this site speaks {VERSION_OLDEST} to {VERSION_NEWEST}")
            }
            Self::Kind(kind) => write!(f, "a frame of unknown kind {kind}"),
            Self::Malformed(what) => write!(f, "a broken frame: {what}"),
        }
    }
}

impl std::error::Error for WireError {}

impl From<Malformed> for WireError {
    fn from(what: Malformed) -> Self {
        Self::Malformed(what)
    }
}

/// Appends a frame to `out`, which stays as it was in case of an error. `version` is what [`Hello::agree`] said; a
/// [`Hello`] or [`Bye`] does not look at it.
///
/// # Errors
/// A name has no form on the wire, the frame would be too long, or the version has no such frame.
pub fn encode(version: u8, frame: &Frame, out: &mut Vec<u8>) -> Result<(), Oversize> {
    let start = out.len();
    put_u32(out, 0);
    let put = put_frame(version, frame, out).and_then(|()| {
        let len = out.len() - start - LENGTH_BYTES;
        if len > FRAME_BYTES_MAX { Err(Oversize) } else { u32::try_from(len).map_err(|_| Oversize) }
    });
    match put {
        Ok(len) => {
            out[start..start + LENGTH_BYTES].copy_from_slice(&len.to_be_bytes());
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

fn put_frame(version: u8, frame: &Frame, out: &mut Vec<u8>) -> Result<(), Oversize> {
    match frame {
        Frame::Hello(hello) => {
            out.extend_from_slice(&[TIMELESS, 1]);
            out.extend_from_slice(&MAGIC);
            out.extend_from_slice(&[hello.oldest, hello.newest]);
            put_name(out, &hello.identity.name)?;
            put_u128(out, hello.identity.disk);
            put_u32(out, hello.identity.incarnation);
            put_u64(out, hello.clock.as_nanos());
            put_u64(out, hello.calendar_ms);
            if hello.start != 0 {
                put_u64(out, hello.start);
            }
        }
        Frame::Bye(bye) => out.extend_from_slice(&[TIMELESS, 2, bye.code()]),
        Frame::Ping { stamp } => {
            out.extend_from_slice(&[version, 3]);
            put_u64(out, stamp.as_nanos());
        }
        Frame::Pong { stamp, clock } => {
            out.extend_from_slice(&[version, 4]);
            put_u64(out, stamp.as_nanos());
            put_u64(out, clock.as_nanos());
        }
        Frame::Rights(message) => {
            out.extend_from_slice(&[version, 5]);
            rights::put(out, version, message)?;
        }
        Frame::Sessions(message) => {
            out.extend_from_slice(&[version, 6]);
            sessions::put(out, message)?;
        }
        Frame::Terms(_) if version < TERMS_SINCE => return Err(Oversize),
        Frame::Terms(message) => {
            out.extend_from_slice(&[version, 7]);
            terms::put(out, message)?;
        }
    }
    Ok(())
}

/// Reads the frame at the start of `octets`: it and how many octets it took, or nothing while it is not all there.
///
/// # Errors
/// What is there can never become a frame.
pub fn decode(octets: &[u8]) -> Result<Option<(Frame, usize)>, WireError> {
    let Some((length, rest)) = octets.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length);
    if length as usize > FRAME_BYTES_MAX {
        return Err(WireError::TooLong(length));
    }
    match rest.get(..length as usize) {
        Some(frame) => Ok(Some((decode_one(frame)?, LENGTH_BYTES + frame.len()))),
        None => Ok(None),
    }
}

/// Reads one whole frame without its length.
///
/// # Errors
/// It is not one.
pub fn decode_one(octets: &[u8]) -> Result<Frame, WireError> {
    let mut reader = Reader::new(octets);
    let (version, kind) = (reader.u8()?, reader.u8()?);
    let frame = match (version, kind) {
        (TIMELESS, 1) => return hello(&mut reader).map(Frame::Hello).map_err(WireError::Malformed),
        (TIMELESS, 2) => Frame::Bye(Bye::from_code(reader.u8()?)),
        (TIMELESS, kind) => return Err(WireError::Kind(kind)),
        (version, _) if !(VERSION_OLDEST..=VERSION_NEWEST).contains(&version) => {
            return Err(WireError::Version(version));
        }
        (_, 3) => Frame::Ping { stamp: Instant::from_nanos(reader.u64()?) },
        (_, 4) => Frame::Pong { stamp: Instant::from_nanos(reader.u64()?), clock: Instant::from_nanos(reader.u64()?) },
        (_, 5) => Frame::Rights(rights::read(&mut reader, version)?),
        (_, 6) => Frame::Sessions(sessions::read(&mut reader)?),
        (TERMS_SINCE.., 7) => Frame::Terms(terms::read(&mut reader)?),
        (_, kind) => return Err(WireError::Kind(kind)),
    };
    reader.end()?;
    Ok(frame)
}

/// What later versions append is not looked at.
fn hello(reader: &mut Reader<'_>) -> Result<Hello, Malformed> {
    if [reader.u8()?, reader.u8()?, reader.u8()?, reader.u8()?] != MAGIC {
        return Err("not a greeting of a Strowger site");
    }
    let (oldest, newest) = (reader.u8()?, reader.u8()?);
    if oldest == 0 || oldest > newest {
        return Err("versions that make no sense");
    }
    Ok(Hello {
        oldest,
        newest,
        identity: Identity { name: reader.name()?, disk: reader.u128()?, incarnation: reader.u32()? },
        clock: Instant::from_nanos(reader.u64()?),
        calendar_ms: reader.u64()?,
        start: if reader.remaining() == 0 { 0 } else { reader.u64()? },
    })
}
