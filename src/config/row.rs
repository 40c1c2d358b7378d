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
    /// A path; a relative one is relative to where the process was started.
    Path,
    /// Text that is never shown.
    Secret,
    /// So many hexadecimal digits that are never shown.
    Hex(usize),
    /// A list of host names or IP addresses.
    Hosts,
    /// A list of codec names.
    Codecs,
    /// A list of numbers: `+` and digits.
    Numbers,
    /// A list of prefixes of numbers; `""` is one.
    Prefixes,
    /// A list of networks.
    Nets,
    /// A list of network devices.
    Devices,
}

impl Kind {
    /// Unit and range for a person.
    #[must_use]
    pub fn describe(&self) -> String {
        use super::value::{size_text, span_text};
        match self {
            Self::Text => "text".into(),
            Self::Name => "name of letters, digits, `-`, `_`, `.`".into(),
            Self::Bool => "true or false".into(),
            Self::Integer { min, max } => format!("whole number, {min} to {max}"),
            Self::AutoOr { min, max } => format!("\"auto\" or a whole number, {min} to {max}"),
            Self::Span { min, max } => format!("time span with unit, {} to {}", span_text(*min), span_text(*max)),
            Self::Size { min, max } => format!("size with unit, {} to {}", size_text(*min), size_text(*max)),
            Self::Choice(words) => words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", "),
            Self::Socket => "IP address and port".into(),
            Self::Ip => "IP address".into(),
            Self::HostPort => "host name or IP address, with or without a port".into(),
            Self::Path => "path".into(),
            Self::Secret => "text, never shown".into(),
            Self::Hex(digits) => format!("{digits} hexadecimal digits, never shown"),
            Self::Hosts => "list of host names or IP addresses".into(),
            Self::Codecs => "list of codec names".into(),
            Self::Numbers => "list of numbers, `+` and digits".into(),
            Self::Prefixes => "list of number prefixes".into(),
            Self::Nets => "list of networks, such as \"192.0.2.0/24\"".into(),
            Self::Devices => "list of network devices, such as \"eth0\"".into(),
        }
    }

    /// True when the value must not be shown.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        matches!(self, Self::Secret | Self::Hex(_))
    }
}

/// One setting.
#[derive(Debug, PartialEq)]
pub struct Row {
    /// Full name; tables in a list stand by their bare name: `trunk.prefixes`.
    pub key: &'static str,
    /// What a value must look like.
    pub kind: Kind,
    /// Used when the key is missing, as TOML; `""` means off; no text at all means that another setting decides.
    pub default: &'static str,
    /// Must be given whenever its table is.
    pub required: bool,
    /// A value for the example file, as TOML; no text = the default.
    pub example: &'static str,
    /// `strowger reload` applies it; otherwise a restart does.
    pub reload: bool,
    /// What it does, for a person.
    pub docs: &'static str,
    /// Accepted and checked, but without effect in this version: what is missing.
    pub no_effect: &'static str,
}

impl Eq for Row {}

impl Row {
    /// A setting that a restart applies.
    #[must_use]
    pub const fn new(key: &'static str, kind: Kind, default: &'static str, docs: &'static str) -> Self {
        Self { key, kind, default, required: false, example: "", reload: false, docs, no_effect: "" }
    }

    /// A setting that must be given, with an example.
    #[must_use]
    pub const fn required(key: &'static str, kind: Kind, example: &'static str, docs: &'static str) -> Self {
        Self { key, kind, default: "", required: true, example, reload: false, docs, no_effect: "" }
    }

    /// With another example than the default.
    #[must_use]
    pub const fn example(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }

    /// `strowger reload` applies it.
    #[must_use]
    pub const fn reloads(mut self) -> Self {
        self.reload = true;
        self
    }

    /// It has no effect in this version.
    #[must_use]
    pub const fn no_effect(mut self, why: &'static str) -> Self {
        self.no_effect = why;
        self
    }

    /// The table it stands in: `trunk` of `trunk.prefixes`.
    #[must_use]
    pub fn table(&self) -> &'static str {
        self.key.rsplit_once('.').map_or("", |(table, _)| table)
    }

    /// Its bare name: `prefixes` of `trunk.prefixes`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.key.rsplit_once('.').map_or(self.key, |(_, name)| name)
    }

    /// What stands in the example file.
    #[must_use]
    pub fn shown(&self) -> &'static str {
        if self.example.is_empty() { self.default } else { self.example }
    }
}
