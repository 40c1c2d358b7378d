//! The registrar: who is where (RFC 3261 §10).

mod register;
mod store;

pub use register::on_register;
pub use store::{Binding, Full, Lifetimes, Store};
