//! Where a part of a message lies, in four octets instead of a reference.

/// A range of octets of the message. Offsets fit because a message is at most [`super::MESSAGE_BYTES_MAX`] long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u16,
    pub end: u16,
}

impl Span {
    /// Callers stay below the bound on a message.
    #[inline(always)]
    pub const fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= super::MESSAGE_BYTES_MAX);
        Self { start: start as u16, end: end as u16 }
    }

    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(usize::from(self.start)..usize::from(self.end)).unwrap_or_default()
    }

    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }
}
