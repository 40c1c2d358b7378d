//! Strowger.
fn main() {}
