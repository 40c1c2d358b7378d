//! The call session database: every site's calls that are up, copied to every other site. It answers people; it decides
//! nothing.

mod message;

pub use message::{Digest, Operation, Row, SessionMessage};
