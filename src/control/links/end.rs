//! Why a connection between sites came to nothing, or to its end: for the count, for people, for the peer.

use quinn::{ConnectionError, ReadError, WriteError};

use super::status::Reason;
use crate::tally::wire::{Bye, WireError};

/// Why a connection came to nothing, or to its end.
#[derive(Debug)]
pub struct End {
    /// To be counted; none for what happens to any link.
    pub reason: Option<Reason>,
    /// A sentence.
    pub what: String,
    /// Our last word; none to who has said his.
    pub bye: Option<Bye>,
}

impl End {
    /// Refused, and to be counted.
    pub fn refuse(reason: Reason, bye: Bye, what: impl Into<String>) -> Self {
        Self { reason: Some(reason), what: what.into(), bye: Some(bye) }
    }

    /// What happens to any link.
    pub fn lost(what: impl Into<String>) -> Self {
        Self::close(Bye::Stopping, what)
    }

    /// We close it, for a reason that is nobody's fault.
    pub fn close(bye: Bye, what: impl Into<String>) -> Self {
        Self { reason: None, what: what.into(), bye: Some(bye) }
    }

    /// The other side's last word.
    pub fn said(bye: Bye) -> Self {
        let (reason, what) = match bye {
            Bye::Version => (Some(Reason::Version), "it speaks no version of the link that this site speaks"),
            Bye::Fenced => (Some(Reason::Fenced), "it has seen a later incarnation of this site, or retired it"),
            Bye::Stranger => (Some(Reason::Stranger), "it knows no peer of this site's name"),
            Bye::Garbage => (Some(Reason::Garbage), "it could not read what this site said"),
            Bye::Redundant => (None, "another connection is kept"),
            Bye::Stopping => (None, "it stops"),
            Bye::Pausing => (None, "it changes its process"),
            Bye::Other(code) => {
                return Self { reason: None, what: format!("it closes the link for reason {code}"), bye: None };
            }
        };
        Self { reason, what: what.to_owned(), bye: None }
    }
}

impl From<WireError> for End {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Version(_) => Self::refuse(Reason::Version, Bye::Version, error.to_string()),
            other => Self::refuse(Reason::Garbage, Bye::Garbage, other.to_string()),
        }
    }
}

impl From<ConnectionError> for End {
    fn from(error: ConnectionError) -> Self {
        let what = error.to_string();
        let plain = |reason: &str| reason.trim_start_matches("invalid peer certificate: ").to_owned();
        let crypto = |code: u64| (0x100..0x200).contains(&code);
        match error {
            ConnectionError::TransportError(error) if crypto(error.code.into()) => {
                let why = plain(&error.reason);
                Self::refuse(Reason::Certificate, Bye::Stranger, format!("its certificate is not accepted here: {why}"))
            }
            ConnectionError::ConnectionClosed(close) if crypto(close.error_code.into()) => {
                let reason = String::from_utf8_lossy(&close.reason).into_owned();
                let why = reason.rsplit_once(": ").map_or(reason.as_str(), |(_, why)| why);
                Self::refuse(Reason::Certificate, Bye::Stranger, format!("it does not accept our certificate: {why}"))
            }
            _ => Self::lost(what),
        }
    }
}

impl From<ReadError> for End {
    fn from(error: ReadError) -> Self {
        if let ReadError::ConnectionLost(error) = error { error.into() } else { Self::lost(error.to_string()) }
    }
}

impl From<WriteError> for End {
    fn from(error: WriteError) -> Self {
        if let WriteError::ConnectionLost(error) = error { error.into() } else { Self::lost(error.to_string()) }
    }
}
