//! Cuts messages out of a byte stream by Content-Length. RFC 3261 §18.3, RFC 5626 §3.5.1 (keep-alives).

use super::scan;

/// Longest message taken from a stream.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// One connection's unread bytes.
#[derive(Debug, Default)]
pub struct Framer {
    bytes: Vec<u8>,
    read: usize,
}

/// What stands at the front of a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// One whole message.
    Message(Vec<u8>),
    /// A double CRLF, to be answered with one.
    Ping,
}

/// The stream cannot be read any further.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken;

impl Framer {
    /// Adds what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.read));
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message or ping.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Broken> {
        let mut rest = &self.bytes[self.read..];
        if rest.starts_with(b"\r\n\r\n") {
            self.read += 4;
            return Ok(Some(Frame::Ping));
        }
        if rest == b"\r\n\r" {
            return Ok(None);
        }
        if rest.len() > 2 && rest.starts_with(b"\r\n") {
            self.read += 2; // a lone CRLF is an answer to our ping
            rest = &rest[2..];
        }
        match scan::head(rest) {
            Some((head, Some(body))) if head + body <= MESSAGE_BYTES_MAX => {
                let Some(message) = rest.get(..head + body) else { return Ok(None) };
                let message = message.to_vec();
                self.read += head + body;
                Ok(Some(Frame::Message(message)))
            }
            Some(_) => Err(Broken), // RFC 3261 §18.3: Content-Length is a must on streams
            None if rest.len() > MESSAGE_BYTES_MAX => Err(Broken),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_and_pings_come_out_however_the_bytes_are_cut() {
        let text = b"\r\n\r\nA b SIP/2.0\r\nl: 3\r\n\r\nxyz\r\nB\r\nContent-Length: 0\r\n\r\n\r\n\r\n";
        for step in 1..text.len() {
            let (mut framer, mut seen) = (Framer::default(), Vec::new());
            for part in text.chunks(step) {
                framer.push(part);
                while let Some(frame) = framer.next_frame().unwrap() {
                    seen.push(frame);
                }
            }
            assert_eq!(seen.len(), 4, "step {step}: {seen:?}");
            assert!(matches!(&seen[1], Frame::Message(message) if message.ends_with(b"xyz")));
            assert_eq!((&seen[0], &seen[3]), (&Frame::Ping, &Frame::Ping));
        }
    }

    #[test]
    fn no_length_or_too_much_of_it_ends_the_stream() {
        for text in ["A\r\nB: c\r\n\r\n", "A\r\nl: 99999999\r\n\r\n"] {
            let mut framer = Framer::default();
            framer.push(text.as_bytes());
            assert_eq!(framer.next_frame(), Err(Broken));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(parts: Vec<Vec<u8>>) {
            let mut framer = Framer::default();
            for part in parts {
                framer.push(&part);
                while let Ok(Some(_)) = framer.next_frame() {}
            }
        }
    }
}
