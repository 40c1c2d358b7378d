//! The one TOML file: one row per setting, every error at once with its place, no key silently ignored.
//!
//! Pure: text in, a checked [`Config`] or diagnostics out. Reading files (the configuration itself, `password_file`)
//! is the caller's part.
#![forbid(unsafe_code)]

pub mod diff;
mod model;
pub mod net;
pub mod row;

pub use model::*;
pub use net::Net;
