//! Letters that lie in a mailbox while its shard is handed over.

use super::guard::Word;
use super::mailbox::Mail;
use crate::base::{Flow, ShardId, Slot, SocketKey, Source, Transmit};
use crate::call::contacts::Binding;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// What one shard says to another. The control plane's letters are of their process: it asks again.
#[derive(Debug, Serialize, Deserialize)]
pub enum FrozenMail {
    /// See [`Mail::Message`].
    Message {
        /// How it came.
        flow: Flow,
        /// One whole message.
        bytes: Bytes,
    },
    /// See [`Mail::Transmit`].
    Transmit(Transmit),
    /// See [`Mail::Unreachable`].
    Unreachable {
        /// By which socket it was sent.
        socket: SocketKey,
        /// Where it should have gone.
        to: SocketAddr,
    },
    /// See [`Mail::Locate`].
    Locate {
        /// The account's name.
        #[serde(with = "serde_bytes")]
        account: Box<[u8]>,
        /// Who asks.
        asker: ShardId,
        /// For which call of the asker.
        call: Slot,
    },
    /// See [`Mail::Contacts`].
    Contacts {
        /// For which call.
        call: Slot,
        /// What is registered now.
        contacts: Vec<Binding>,
    },
    /// See [`Mail::Guard`].
    Guard {
        /// Where it is.
        source: Source,
        /// What is said.
        word: Word,
    },
    /// See [`Mail::Drain`].
    Drain,
    /// See [`Mail::Undrain`].
    Undrain,
}

impl FrozenMail {
    /// A copy; none of a letter that means nothing in another process.
    #[must_use]
    pub fn of(mail: &Mail) -> Option<Self> {
        Some(match mail {
            Mail::Message { flow, bytes } => Self::Message { flow: *flow, bytes: bytes.clone() },
            Mail::Transmit(transmit) => Self::Transmit(transmit.clone()),
            Mail::Unreachable { socket, to } => Self::Unreachable { socket: *socket, to: *to },
            Mail::Locate { account, asker, call } => {
                Self::Locate { account: account.clone(), asker: *asker, call: *call }
            }
            Mail::Contacts { call, contacts } => Self::Contacts { call: *call, contacts: contacts.clone() },
            Mail::Guard { source, word } => Self::Guard { source: *source, word: *word },
            Mail::Drain => Self::Drain,
            Mail::Undrain => Self::Undrain,
            Mail::Directory(_)
            | Mail::Query { .. }
            | Mail::Hangup { .. }
            | Mail::Unblock { .. }
            | Mail::Right { .. }
            | Mail::HangUpSome { .. }
            | Mail::TellCalls
            | Mail::Stop => return None,
        })
    }
}

impl From<FrozenMail> for Mail {
    fn from(frozen: FrozenMail) -> Self {
        match frozen {
            FrozenMail::Message { flow, bytes } => Self::Message { flow, bytes },
            FrozenMail::Transmit(transmit) => Self::Transmit(transmit),
            FrozenMail::Unreachable { socket, to } => Self::Unreachable { socket, to },
            FrozenMail::Locate { account, asker, call } => Self::Locate { account, asker, call },
            FrozenMail::Contacts { call, contacts } => Self::Contacts { call, contacts },
            FrozenMail::Guard { source, word } => Self::Guard { source, word },
            FrozenMail::Drain => Self::Drain,
            FrozenMail::Undrain => Self::Undrain,
        }
    }
}
