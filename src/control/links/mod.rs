//! Links to the other sites: QUIC with mutual TLS, and the keeper of the rights that speaks over them.

pub mod keygen;
pub mod ledger_file;
pub mod tls;
