//! A message that outlives the buffer it came in: a request kept for its transaction, a response kept for retransmission.

use bytes::Bytes;

use super::index::{Facts, Line};
use super::{Framing, Index, Message, ParseError, parse};

/// Octets and their index, to be sent to another thread or kept in a table. Two allocations at most: the octets, if they
/// have to be copied, and one block with the offsets.
#[derive(Clone, Debug)]
pub struct OwnedMessage {
    bytes: Bytes,
    index: Box<(Facts, Box<[Line]>)>,
}

impl OwnedMessage {
    /// Reads a message that is already owned. Octets behind it are cut without copying.
    ///
    /// # Errors
    /// As [`parse`].
    pub fn parse(bytes: Bytes, framing: Framing) -> Result<Self, ParseError> {
        let mut index = Index::new();
        let message = parse(&bytes, &mut index, framing)?;
        Ok(Self { bytes: bytes.slice_ref(message.raw()), index: Self::keep(message) })
    }

    fn keep(message: Message<'_>) -> Box<(Facts, Box<[Line]>)> {
        Box::new((*message.facts(), message.lines().into()))
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
