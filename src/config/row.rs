//! A setting: its name, unit, range, default, whether it can reload, and its documentation, in one place.

use crate::base::time::Duration;

/// What a value must look like; also its unit and range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A name of letters, digits, `-`, `_`, `.`.
    Name,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer {
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// `"auto"` or a whole number.
    AutoOr {
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// A time span with its unit.
    Span {
        /// Shortest.
        min: Duration,
        /// Longest.
        max: Duration,
    },
    /// A number of bytes with its unit.
    Size {
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// IP address and port.
    Socket,
    /// IP address.
    Ip,
    /// Host name or IP address, and a port where it differs.
    HostPort,
    /// A path; relative ones are relative to where the process was started.
    Path,
    /// Text that is never shown.
    Secret,
    /// So many hexadecimal digits that are never shown.
    Hex(usize),
    /// A list of texts.
    Texts,
    /// A list of numbers or prefixes: `+` and digits.
    Numbers,
    /// A list of networks.
    Nets,
}

/// One setting.
#[derive(Debug, PartialEq)]
pub struct Row {
    /// Full name; tables in a list stand by their bare name: `trunk.prefixes`.
    pub key: &'static str,
    /// What a value must look like.
    pub kind: Kind,
    /// Used when the key is missing, as TOML; empty for one that may be missing or must be given.
    pub default: &'static str,
    /// Must be given whenever its table is.
    pub required: bool,
    /// A value for the example file, as TOML; empty = the default.
    pub example: &'static str,
    /// `strowger reload` applies it; otherwise a restart does.
    pub reload: bool,
    /// What it does, for a person.
    pub docs: &'static str,
    /// Accepted and checked, but does nothing yet: why.
    pub no_effect: &'static str,
}

impl Eq for Row {}
