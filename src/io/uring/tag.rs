//! What a completion is about: 8 bits of kind, 24 of generation, 32 of index, in a request's user data.

/// The kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Cancellations and others whose completion says nothing.
    Ignored = 0,
    /// The eventfd was written.
    Wake,
    /// Another ring's message.
    Message,
    /// Our message to another ring. Index: to which. Completes only if it failed.
    Messaged,
    /// Into a media buffer. Index: the socket.
    Packet,
    /// Into a signalling buffer. Index: the socket.
    Signal,
    /// Index: the socket.
    Accept,
    /// Generation: the length; index: the socket it left by. Completes only if it failed.
    Forward,
    /// Index: the number of the send. Completes only if it failed.
    Send,
    /// Several as one. Generation: how many; index: the number of the first send. Completes only if it failed.
    Run,
    /// Index: the stream's place.
    Connect,
    /// Index: the stream's place.
    Read,
    /// Index: the stream's place.
    Write,
}

const KINDS: [Kind; 13] = [
    Kind::Ignored,
    Kind::Wake,
    Kind::Message,
    Kind::Messaged,
    Kind::Packet,
    Kind::Signal,
    Kind::Accept,
    Kind::Forward,
    Kind::Send,
    Kind::Run,
    Kind::Connect,
    Kind::Read,
    Kind::Write,
];

/// Generations that can be told apart.
pub(super) const GENERATION_MASK: u32 = (1 << 24) - 1;

pub(super) const fn tag(kind: Kind, generation: u32, index: u32) -> u64 {
    (kind as u64) << 56 | ((generation & GENERATION_MASK) as u64) << 32 | index as u64
}

pub(super) fn untag(tag: u64) -> (Kind, u32, u32) {
    let kind = KINDS.get((tag >> 56) as usize).copied().unwrap_or(Kind::Ignored);
    (kind, (tag >> 32) as u32 & GENERATION_MASK, tag as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_read_back() {
        for (number, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
            assert_eq!(untag(tag(kind, 0xff_ffff, u32::MAX)), (kind, 0xff_ffff, u32::MAX));
        }
        assert_eq!(untag(u64::MAX).0, Kind::Ignored);
    }
}
