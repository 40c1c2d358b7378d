//! Any octets as a stream, in pieces of any size: the messages are the same as when all come at once.

use strowger::sip::wire::{Frame, FrameError, Framer, Framing, Index, MESSAGE_BYTES_MAX, parse};

/// The first octet is the size of the pieces.
pub fn run(octets: &[u8]) {
    let Some((size, stream)) = octets.split_first() else { return };
    let whole = messages(stream, stream.len().max(1));
    assert_eq!(messages(stream, usize::from(*size).max(1)), whole);
}

/// The messages, and how the stream failed if it did.
fn messages(stream: &[u8], size: usize) -> (Vec<Vec<u8>>, Option<FrameError>) {
    let mut framer = Framer::new();
    let mut found = Vec::new();
    for piece in stream.chunks(size) {
        framer.push(piece);
        loop {
            match framer.next() {
                Ok(Some(Frame::Message(bytes))) => {
                    assert!(!bytes.is_empty() && bytes.len() <= MESSAGE_BYTES_MAX);
                    if let Ok(message) = parse(&bytes, &mut Index::new(), Framing::Stream) {
                        assert_eq!(message.raw(), bytes);
                    }
                    found.push(bytes.to_vec());
                }
                Ok(Some(Frame::Ping | Frame::Pong)) => {}
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}
