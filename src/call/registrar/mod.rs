//! The registrar: who is where (RFC 3261 §10).

mod store;

pub use store::{Binding, Full, Lifetimes, Store};
