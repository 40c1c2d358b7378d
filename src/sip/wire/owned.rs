//! A message that outlives the buffer it came in: a request kept for its transaction, a response kept for retransmission.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::index::{Facts, Line};
use super::{Framing, Index, Message, ParseError, parse};

/// Octets and their index, to be sent to another thread or kept in a table. A clone shares both.
#[derive(Clone, Debug)]
pub struct OwnedMessage {
    bytes: Bytes,
    index: Arc<(Facts, Box<[Line]>)>,
}

impl OwnedMessage {
    /// Reads a message that is already owned. Octets behind it are cut without copying.
    ///
    /// # Errors
    /// As [`parse`](fn@super::parse).
    pub fn parse(bytes: Bytes, framing: Framing) -> Result<Self, ParseError> {
        let mut index = Index::new();
        let message = parse(&bytes, &mut index, framing)?;
        Ok(Self { bytes: bytes.slice_ref(message.raw()), index: Self::keep(message) })
    }

    fn keep(message: Message<'_>) -> Arc<(Facts, Box<[Line]>)> {
        Arc::new((*message.facts(), message.lines().into()))
    }

    /// The octets.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The view.
    #[must_use]
    pub fn view(&self) -> Message<'_> {
        Message::new(&self.bytes, &self.index.0, &self.index.1)
    }
}

impl From<Message<'_>> for OwnedMessage {
    /// Copies the octets and the offsets; nothing is read again.
    fn from(message: Message<'_>) -> Self {
        Self { bytes: Bytes::copy_from_slice(message.raw()), index: Self::keep(message) }
    }
}

/// The octets; the index is made again.
impl Serialize for OwnedMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bytes.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for OwnedMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Bytes::deserialize(deserializer)?;
        // Exactly one message, however it came.
        Self::parse(bytes, Framing::Datagram)
            .map_err(|error| serde::de::Error::custom(format_args!("a message cannot be read: {}", error.reason)))
    }
}
