//! SIPp's XML scenarios: read and checked (`read/`), and run by an engine without sockets (`engine/`).
//!
//! Written from SIPp's documentation and behaviour; `docs/scenarios.md` says what is supported and what differs. The same
//! rules as in `core/`: time, randomness and input are arguments, what should be sent is polled.
#![forbid(unsafe_code)]

pub mod clip;
pub mod distribution;
pub mod engine;
pub mod inject;
pub mod keyword;
pub mod parse;
pub mod problem;
pub mod program;
pub mod read;
pub mod regexp;
#[cfg(test)]
mod tests;
pub mod text;
pub mod variable;
pub mod xml;
