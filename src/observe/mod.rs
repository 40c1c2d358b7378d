//! What the house tells about itself: counters, a histogram, events, call records. Values, never sinks.
//!
//! A shard writes, `control` reads; nothing here formats text for a person, opens a file or knows the wall clock.
#![forbid(unsafe_code)]

pub mod counters;
pub mod event;
pub mod histogram;
pub mod labels;
pub mod record;

pub use counters::Counters;
pub use event::{Event, Level, Value, Verbosity};
pub use histogram::Histogram;
pub use labels::{
    CallResult, Counter, Direction, DropReason, FastPathPass, Gauge, LimitReason, MediaPath, MethodLabel, Suspicion,
};
pub use record::{CallId, CallRecord, EndCause, Leg, LegReport, MediaKind, MediaReport};
