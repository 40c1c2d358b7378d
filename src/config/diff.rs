//! What a reload would change, key by key, and which keys need a restart.

use std::collections::BTreeMap;

use super::row::Row;

/// A value as it was read or defaulted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The row it belongs to.
    pub row: &'static Row,
    /// As TOML text; a secret never leaves this room.
    pub(super) text: String,
}

/// All values by their full key; of tables in a list, the key carries the name: `trunk.carrier-a.prefixes`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values(pub(super) BTreeMap<String, Read>);
