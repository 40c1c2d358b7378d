//! The parser and the writers on messages made up from seeds: what is emitted is read again the same, edits leave the rest
//! alone, nothing is allocated, and two other parsers read the same where all three are meant to.

#[path = "wire/allocation.rs"]
mod allocation;
mod counting;
#[path = "wire/differences.rs"]
mod differences;
#[path = "wire/generate.rs"]
mod generate;
#[path = "wire/round_trip.rs"]
mod round_trip;
mod torture;
