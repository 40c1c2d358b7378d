//! SIP: messages on the wire, transactions, dialogs and digest authentication (RFC 3261 and its companions).
//!
//! Pure: bytes, instants and random values come in as arguments; bytes and events go out as values.
#![forbid(unsafe_code)]

pub mod dialog;
pub mod digest;
pub mod transaction;
pub mod wire;
