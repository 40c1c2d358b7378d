//! The two sides of a call and the direction of a stream: words that signalling, session descriptions and media share.

use serde::{Deserialize, Serialize};

/// One of the two legs of a call. `A` is the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Side {
    /// The caller.
    A,
    /// The called.
    B,
}

impl Side {
    /// Both, caller first.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The far side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// 0 or 1, for arrays of two.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }
}

/// Which way a stream flows, said by one party of itself (RFC 3264 §5.1, RFC 8866 §6.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// Both ways: the default where nothing is said.
    #[default]
    SendReceive,
    /// It sends and does not listen: how a party holds another.
    SendOnly,
    /// It listens and does not send: the answer of the held.
    ReceiveOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// True where the party that says this will send.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendReceive | Self::SendOnly)
    }

    /// True where the party that says this will listen.
    #[must_use]
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendReceive | Self::ReceiveOnly)
    }

    /// From the two halves.
    #[must_use]
    pub const fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendReceive,
            (true, false) => Self::SendOnly,
            (false, true) => Self::ReceiveOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// What the far party would say of the same flow: sending and receiving change places.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self::new(self.receives(), self.sends())
    }

    /// What both allow.
    #[must_use]
    pub const fn intersect(self, other: Self) -> Self {
        Self::new(self.sends() && other.sends(), self.receives() && other.receives())
    }

    /// The attribute's name in a session description.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SendReceive => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::ReceiveOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// Reads the attribute's name.
    #[must_use]
    pub fn from_token(token: &[u8]) -> Option<Self> {
        [Self::SendReceive, Self::SendOnly, Self::ReceiveOnly, Self::Inactive]
            .into_iter()
            .find(|direction| token.eq_ignore_ascii_case(direction.as_str().as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_turn_and_meet() {
        assert_eq!(Direction::SendOnly.reversed(), Direction::ReceiveOnly);
        assert_eq!(Direction::SendReceive.reversed(), Direction::SendReceive);
        assert_eq!(Direction::SendOnly.intersect(Direction::ReceiveOnly), Direction::Inactive);
        assert_eq!(Direction::from_token(b"SENDRECV"), Some(Direction::SendReceive));
        assert_eq!(Direction::from_token(b"sendrecv "), None);
        assert_eq!((Side::A.other(), Side::B.index()), (Side::B, 1));
    }
}
