//! Transactions: RFC 3261 §17 with RFC 6026 and RFC 4320.
pub mod action;
pub mod ict;
pub mod ist;
pub mod nict;
pub mod nist;
