//! Messages out of a stream: by Content-Length (RFC 3261 §18.3), with the keepalives of RFC 5626 §3.5.1 between them.

use bytes::{Buf as _, Bytes, BytesMut};

use super::scan::{decimal, is_blank, octet, trim};
use super::{HeaderName, MESSAGE_BYTES_MAX};
use serde::{Deserialize, Serialize};

/// What a stream carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The octets of one message, to be read with [`super::Framing::Stream`].
    Message(Bytes),
    /// A double CRLF: to be answered by a single one.
    Ping,
    /// A single CRLF: the answer to our own ping, or a stray one.
    Pong,
}

/// Why a stream cannot go on; its connection is to be closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// More octets than [`MESSAGE_BYTES_MAX`] without a whole message, or announced by Content-Length.
    TooLarge,
    /// Content-Length is not there, not readable, or there twice. The octets up to the empty line, so that a 400 can be
    /// written before the connection closes (RFC 4475 §3.1.2.3, §3.3.9).
    Length(Bytes),
}

/// Cuts one connection's stream into messages. Holds at most what was pushed since the last whole message.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Framer {
    buffer: BytesMut,
    /// Octets already searched for the empty line.
    searched: usize,
    /// Length of the message at the start of the buffer, once known.
    length: Option<usize>,
    pongs_expected: u32,
    /// A single CRLF was passed on that may be the first half of a ping.
    half_ping: bool,
    failed: bool,
}

impl Framer {
    /// At the start of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes octets as they came. Call [`Self::next`] until it has no more before pushing again.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.failed {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// To be called when our own double CRLF is sent, so that its answer is not taken for half a ping.
    pub fn ping_sent(&mut self) {
        self.pongs_expected = self.pongs_expected.saturating_add(1);
    }

    /// True while a message has begun and not ended: the connection deserves a deadline.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next message or keepalive; `None` until more octets come.
    ///
    /// # Errors
    /// Once, after which the stream has nothing more.
    #[expect(clippy::should_implement_trait, reason = "an iterator would end where this one waits")]
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.failed {
            return Ok(None);
        }
        let result = self.step();
        if result.is_err() {
            self.failed = true;
            self.buffer = BytesMut::new();
        }
        result
    }

    fn step(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.length.is_none() {
            if let Some(frame) = self.keepalive() {
                return Ok(Some(frame));
            }
            if self.buffer[..] == b"\r"[..] {
                return Ok(None);
            }
            let Some(headers) = self.headers_end() else {
                return if self.buffer.len() > MESSAGE_BYTES_MAX { Err(FrameError::TooLarge) } else { Ok(None) };
            };
            let Some(body) = content_length(&self.buffer[..headers]) else {
                return Err(FrameError::Length(self.buffer.split_to(headers).freeze()));
            };
            let length = usize::try_from(body).ok().and_then(|body| headers.checked_add(body));
            self.length = Some(length.filter(|length| *length <= MESSAGE_BYTES_MAX).ok_or(FrameError::TooLarge)?);
        }
        let Some(length) = self.length.filter(|length| *length <= self.buffer.len()) else { return Ok(None) };
        self.length = None;
        self.searched = 0;
        Ok(Some(Frame::Message(self.buffer.split_to(length).freeze())))
    }

    /// CRLFs between messages (RFC 3261 §7.5, RFC 5626 §3.5.1). A half that came alone is passed on as a pong; if its other
    /// half follows and no pong of ours is due, that one is the ping.
    fn keepalive(&mut self) -> Option<Frame> {
        if !self.buffer.starts_with(b"\r\n") {
            self.half_ping &= matches!(self.buffer.first(), None | Some(b'\r'));
            return None;
        }
        if self.buffer.starts_with(b"\r\n\r\n") && self.pongs_expected == 0 && !self.half_ping {
            self.buffer.advance(4);
            return Some(Frame::Ping);
        }
        self.buffer.advance(2);
        if self.pongs_expected > 0 {
            self.pongs_expected -= 1;
            return Some(Frame::Pong);
        }
        self.half_ping = !self.half_ping;
        Some(if self.half_ping { Frame::Pong } else { Frame::Ping })
    }

    /// The position behind the empty line, searched from where the last search ended.
    fn headers_end(&mut self) -> Option<usize> {
        let from = self.searched.saturating_sub(3);
        match memchr::memmem::find(&self.buffer[from..], b"\r\n\r\n") {
            Some(at) => Some(from + at + 4),
            None => {
                self.searched = self.buffer.len();
                None
            }
        }
    }
}

/// The one Content-Length of these headers; `None` if there is none, one that is no number, or two.
fn content_length(headers: &[u8]) -> Option<u64> {
    let mut found = None;
    let mut at = memchr::memchr(b'\n', headers)? + 1;
    while at < headers.len() {
        let mut end = at + memchr::memchr(b'\n', &headers[at..])?;
        while is_blank(octet(headers, end + 1)) {
            end = end + 1 + memchr::memchr(b'\n', &headers[end + 1..])?;
        }
        let line = &headers[at..end];
        if let Some(colon) = memchr::memchr(b':', line)
            && HeaderName::from_token(trim(&line[..colon])) == HeaderName::ContentLength
        {
            if found.is_some() {
                return None;
            }
            found = Some(decimal(trim(&line[colon + 1..]))?);
        }
        at = end + 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REQUEST: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nX: y\r\n z\r\nl :\r\n 4\r\n\r\nbody";
    const EMPTY: &[u8] = b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n";

    fn drain(framer: &mut Framer, frames: &mut Vec<Frame>) -> Result<(), FrameError> {
        while let Some(frame) = framer.next()? {
            frames.push(frame);
        }
        Ok(())
    }

    fn frames(chunks: &[&[u8]]) -> Vec<Frame> {
        let mut framer = Framer::new();
        let mut frames = Vec::new();
        for chunk in chunks {
            framer.push(chunk);
            drain(&mut framer, &mut frames).unwrap();
        }
        assert!(!framer.is_partial());
        frames
    }

    fn message(bytes: &'static [u8]) -> Frame {
        Frame::Message(Bytes::from_static(bytes))
    }

    #[test]
    fn messages_are_cut_by_their_length() {
        let both = [REQUEST, EMPTY].concat();
        assert_eq!(frames(&[&both]), [message(REQUEST), message(EMPTY)]);
        for cut in 0..both.len() {
            assert_eq!(frames(&[&both[..cut], &both[cut..]]), [message(REQUEST), message(EMPTY)], "{cut}");
        }
    }

    #[test]
    fn keepalives_between_messages() {
        assert_eq!(frames(&[b"\r\n\r\n", EMPTY]), [Frame::Ping, message(EMPTY)]);
        assert_eq!(frames(&[EMPTY, b"\r\n", EMPTY]), [message(EMPTY), Frame::Pong, message(EMPTY)]);
        assert_eq!(frames(&[b"\r\n", b"\r\n", b"\r\n\r\n"]), [Frame::Pong, Frame::Ping, Frame::Ping]);
        assert_eq!(frames(&[b"\r", b"\n\r", b"\n"]), [Frame::Pong, Frame::Ping]);
        let mut framer = Framer::new();
        let mut found = Vec::new();
        framer.ping_sent();
        framer.ping_sent();
        framer.push(b"\r\n\r\n\r\n\r\n");
        drain(&mut framer, &mut found).unwrap();
        assert_eq!(found, [Frame::Pong, Frame::Pong, Frame::Ping]);
    }

    #[test]
    fn a_length_that_cannot_be_had_ends_the_stream() {
        for length in ["l: -1", "l: 1\r\nContent-Length: 1", "l: x", "l:", "X: y"] {
            let mut framer = Framer::new();
            let headers = format!("OPTIONS sip:a SIP/2.0\r\n{length}\r\n\r\n");
            framer.push(headers.as_bytes());
            framer.push(b"rest");
            assert_eq!(framer.next(), Err(FrameError::Length(Bytes::from(headers))));
            framer.push(EMPTY);
            assert_eq!(framer.next(), Ok(None));
        }
    }

    #[test]
    fn a_message_has_a_bound() {
        let mut framer = Framer::new();
        framer.push(b"OPTIONS sip:a SIP/2.0\r\nl: 65536\r\n\r\n");
        assert_eq!(framer.next(), Err(FrameError::TooLarge));
        let mut framer = Framer::new();
        framer.push(b"OPTIONS sip:a SIP/2.0\r\nl: 99999999999999999999999\r\n\r\n");
        assert_eq!(framer.next(), Err(FrameError::TooLarge));
        let mut framer = Framer::new();
        let result = (0..=MESSAGE_BYTES_MAX / 1000).find_map(|_| {
            framer.push(&[b'x'; 1000]);
            framer.next().err()
        });
        assert_eq!(result, Some(FrameError::TooLarge));
        assert!(!framer.is_partial());
    }

    #[test]
    fn a_message_that_does_not_end_is_waited_for() {
        let mut framer = Framer::new();
        framer.push(&REQUEST[..REQUEST.len() - 1]);
        assert_eq!(framer.next(), Ok(None));
        assert!(framer.is_partial());
    }

    proptest! {
        #[test]
        fn how_the_octets_arrive_does_not_matter(sizes in proptest::collection::vec(1..90usize, 1..9)) {
            let stream = [REQUEST, b"\r\n\r\n", EMPTY, EMPTY, b"\r\n\r\n\r\n\r\n", REQUEST].concat();
            let mut framer = Framer::new();
            let mut found = Vec::new();
            let mut at = 0;
            for size in sizes.iter().cycle() {
                let end = (at + size).min(stream.len());
                framer.push(&stream[at..end]);
                drain(&mut framer, &mut found).unwrap();
                at = end;
                if at == stream.len() {
                    break;
                }
            }
            let pings = found.iter().filter(|frame| **frame == Frame::Ping).count();
            found.retain(|frame| matches!(frame, Frame::Message(_)));
            prop_assert_eq!(found, [message(REQUEST), message(EMPTY), message(EMPTY), message(REQUEST)]);
            prop_assert_eq!(pings, 3);
        }

        #[test]
        fn any_octets_are_survived(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..6)) {
            let mut framer = Framer::new();
            for chunk in chunks {
                framer.push(&chunk);
                let _ = drain(&mut framer, &mut Vec::new());
            }
        }
    }
}
