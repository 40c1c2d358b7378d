//! SIP messages: one pass over the datagram into offsets, and writers that send spans of the old bytes with patches between.
//!
//! Obeys RFC 3261 §7, §18.3, §20 and §25, RFC 3581 (`rport`), RFC 5626 §3.5.1 (keepalives on streams) and RFC 4475 (verdicts
//! on odd messages). A peer's fault is a [`ParseError`] that says what to answer; no bytes make anything here panic.

mod address;
mod build;
mod error;
mod fields;
mod frame;
mod index;
mod lanes;
mod message;
mod method;
mod name;
mod owned;
mod params;
mod parse;
mod reject;
mod rewrite;
mod scan;
mod span;
#[cfg(test)]
mod tests;
mod uri;
mod values;
mod via;

pub use address::NameAddr;
pub use build::Builder;
pub use error::{ErrorKind, ParseError};
pub use frame::{Frame, FrameError, Framer};
pub use index::Index;
pub use message::{Contacts, Header, Headers, Message};
pub use method::Method;
pub use name::HeaderName;
pub use owned::OwnedMessage;
pub use params::{Params, unquote};
pub use parse::{Framing, parse};
pub use reject::{reject, reject_to};
pub use rewrite::{Key, Rewrite};
pub use uri::{Scheme, Uri};
pub use values::Values;
pub use via::Via;

/// Header lines one message may have; more is answered 400. Offsets of this many lines fit an [`Index`].
pub const HEADERS_MAX: usize = 128;

/// Octets one message may have, on a stream as in a datagram; more is answered 513. Offsets are therefore 16 bits wide.
pub const MESSAGE_BYTES_MAX: usize = u16::MAX as usize;

/// What a branch made by an RFC 3261 element begins with (RFC 3261 §8.1.1.7).
pub const BRANCH_COOKIE: &[u8] = b"z9hG4bK";
