//! Request methods (RFC 3261 §7.1 and the extensions Strowger knows by name).

use serde::{Deserialize, Serialize};

/// A request method. Case-sensitive on the wire (RFC 3261 §7.1); all unknown ones are `Other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Method {
    /// RFC 3261 §13.
    Invite,
    /// RFC 3261 §13.2.2.4.
    Ack,
    /// RFC 3261 §15.
    Bye,
    /// RFC 3261 §9.
    Cancel,
    /// RFC 3261 §11.
    Options,
    /// RFC 3261 §10.
    Register,
    /// RFC 3262.
    Prack,
    /// RFC 3311.
    Update,
    /// RFC 6086.
    Info,
    /// RFC 6665.
    Subscribe,
    /// RFC 6665.
    Notify,
    /// RFC 3515.
    Refer,
    /// RFC 3428.
    Message,
    /// RFC 3903.
    Publish,
    /// Any other token; the message keeps its bytes.
    Other,
}

impl Method {
    /// Every method known by name.
    pub const ALL: [Self; 14] = [
        Self::Invite,
        Self::Ack,
        Self::Bye,
        Self::Cancel,
        Self::Options,
        Self::Register,
        Self::Prack,
        Self::Update,
        Self::Info,
        Self::Subscribe,
        Self::Notify,
        Self::Refer,
        Self::Message,
        Self::Publish,
    ];

    /// The token on the wire; empty for `Other`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Bye => "BYE",
            Self::Cancel => "CANCEL",
            Self::Options => "OPTIONS",
            Self::Register => "REGISTER",
            Self::Prack => "PRACK",
            Self::Update => "UPDATE",
            Self::Info => "INFO",
            Self::Subscribe => "SUBSCRIBE",
            Self::Notify => "NOTIFY",
            Self::Refer => "REFER",
            Self::Message => "MESSAGE",
            Self::Publish => "PUBLISH",
            Self::Other => "",
        }
    }

    /// The token on the wire as octets; empty for `Other`.
    #[must_use]
    pub const fn as_bytes(self) -> &'static [u8] {
        self.as_str().as_bytes()
    }

    /// Reads a token; `Other` for what is not known.
    #[must_use]
    pub fn from_token(token: &[u8]) -> Self {
        if token == b"SUBSCRIBE" {
            return Self::Subscribe;
        }
        let window = token.iter().take(8).rev().fold(0, |window, octet| window << 8 | u64::from(*octet));
        Self::from_window(window, token.len())
    }

    /// Finds the method that is the first `len` octets of the window, if it has no more than eight.
    #[inline(always)]
    pub(super) const fn from_window(window: u64, len: usize) -> Self {
        const fn text<const N: usize>(token: &[u8; N]) -> u64 {
            let mut octets = [0; 8];
            let mut at = 0;
            while at < N {
                octets[at] = token[at];
                at += 1;
            }
            u64::from_le_bytes(octets)
        }
        const INVITE: u64 = text(b"INVITE");
        const ACK: u64 = text(b"ACK");
        const BYE: u64 = text(b"BYE");
        const CANCEL: u64 = text(b"CANCEL");
        const OPTIONS: u64 = text(b"OPTIONS");
        const REGISTER: u64 = text(b"REGISTER");
        const PRACK: u64 = text(b"PRACK");
        const UPDATE: u64 = text(b"UPDATE");
        const INFO: u64 = text(b"INFO");
        const NOTIFY: u64 = text(b"NOTIFY");
        const REFER: u64 = text(b"REFER");
        const MESSAGE: u64 = text(b"MESSAGE");
        const PUBLISH: u64 = text(b"PUBLISH");
        if len == 0 || len > 8 {
            return Self::Other;
        }
        match window & u64::MAX >> (64 - 8 * len) {
            INVITE => Self::Invite,
            ACK => Self::Ack,
            BYE => Self::Bye,
            CANCEL => Self::Cancel,
            OPTIONS => Self::Options,
            REGISTER => Self::Register,
            PRACK => Self::Prack,
            UPDATE => Self::Update,
            INFO => Self::Info,
            NOTIFY => Self::Notify,
            REFER => Self::Refer,
            MESSAGE => Self::Message,
            PUBLISH => Self::Publish,
            _ => Self::Other,
        }
    }
}

impl AsRef<[u8]> for Method {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_reads_back_and_case_matters() {
        for method in Method::ALL {
            assert_eq!(Method::from_token(method.as_bytes()), method);
            assert_eq!(Method::from_token(&method.as_bytes().to_ascii_lowercase()), Method::Other);
        }
        assert_eq!(Method::from_token(b""), Method::Other);
    }
}
