//! Why a description is refused.

#[cfg(doc)]
use super::super::{BYTES_MAX, FORMATS_MAX, LINES_MAX, MEDIA_MAX};

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
