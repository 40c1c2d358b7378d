//! What waits to be written to one connection: whole buffers, the first one perhaps partly sent.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use super::Refused;

/// Buffers handed to the kernel in one write.
pub(super) const WRITE_BUFFERS: usize = 16;

/// A FIFO bounded in bytes.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Bytes>,
    bytes: usize,
}

impl Outbox {
    /// Adds all of `bytes` or nothing of it.
    pub(super) fn push(&mut self, bytes: Bytes, bytes_max: usize) -> Result<(), Refused> {
        if self.bytes + bytes.len() > bytes_max {
            return Err(Refused::Full);
        }
        if !bytes.is_empty() {
            self.bytes += bytes.len();
            self.waiting.push_back(bytes);
        }
        Ok(())
    }

    /// What the kernel has not taken.
    pub(super) fn into_unsent(self) -> Vec<Bytes> {
        self.waiting.into()
    }

    /// Goes on with what another had, whatever the bound.
    pub(super) fn from_unsent(unsent: Vec<Bytes>) -> Self {
        Self { bytes: unsent.iter().map(Bytes::len).sum(), waiting: unsent.into() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next stretches to write; returns how many.
    pub(super) fn slices<'a>(&'a self, out: &mut [IoSlice<'a>; WRITE_BUFFERS]) -> usize {
        let mut count = 0;
        for (slot, bytes) in out.iter_mut().zip(&self.waiting) {
            *slot = IoSlice::new(bytes);
            count += 1;
        }
        count
    }

    /// The kernel took `count` bytes.
    pub(super) fn advance(&mut self, mut count: usize) {
        while let Some(front) = self.waiting.front_mut() {
            let step = count.min(front.len());
            front.advance(step);
            self.bytes -= step;
            count -= step;
            if !front.is_empty() {
                break;
            }
            self.waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_writes_keep_order_and_bound() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push(Bytes::from_static(b"hello "), 11), Ok(()));
        assert_eq!(outbox.push(Bytes::from_static(b"world"), 11), Ok(()));
        assert_eq!(outbox.push(Bytes::from_static(b"!"), 11), Err(Refused::Full));
        outbox.advance(8);
        assert_eq!(outbox.push(Bytes::from_static(b"!"), 11), Ok(()));
        let mut slices = [IoSlice::new(&[]); WRITE_BUFFERS];
        assert_eq!(outbox.slices(&mut slices), 2);
        assert_eq!(&slices[0][..], b"rld");
        outbox.advance(4);
        assert!(outbox.is_empty());
    }
}
