//! Session descriptions (RFC 8866) as a B2BUA needs them: read in place, offered and answered (RFC 3264), written again
//! with our addresses and as few other changes as possible.
//!
//! Owned by the call; fed with the body of a SIP message. Never resolves names, never opens ports: ports come as a plan.
#![forbid(unsafe_code)]

pub mod codec;
pub mod compose;
pub mod filter;
pub mod line;
pub mod negotiation;
pub mod parse;
pub mod rewrite;

pub use codec::Codec;
pub use compose::{Description, MediaDescription};
pub use filter::CodecFilter;
pub use negotiation::{Negotiation, Refusal, Role};
pub use parse::{Connection, Media, MediaKind, Origin, SdpError, Session};
pub use rewrite::{Author, MediaPlan, OwnOrigin, Rewritten, rewrite};

/// Most `m=` lines in one description; more are refused.
pub const MEDIA_MAX: usize = 16;
/// Most formats on one `m=` line.
pub const FORMATS_MAX: usize = 64;
/// Most lines in one description.
pub const LINES_MAX: usize = 1024;
/// Most octets in one description: what fits a datagram.
pub const BYTES_MAX: usize = 65_535;
/// Most payload types whose clock rates are told to the relay.
pub const CLOCK_RATES_MAX: usize = 16;
