//! What waits to be sent. Datagrams leave sorted by what they are, so that those of a kind, which are equally long, follow
//! each other and can cross the network as one (`UDP_SEGMENT`).
//!
//! Of one call nothing overtakes what it follows: an ACK goes before all, a BYE after all but what else ends a call, and
//! whatever is of one kind stays in order. Connections and everything about them stay in order too.

use std::collections::VecDeque;

use super::Output;

/// Kinds of datagrams, in the order in which they leave.
const KINDS: usize = 5;

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Outbox {
    others: VecDeque<Output>,
    datagrams: [VecDeque<Output>; KINDS],
}

impl Outbox {
    /// Adds one.
    pub fn push(&mut self, output: Output) {
        match &output {
            Output::Datagram(_, _, bytes) => self.datagrams[kind(bytes)].push_back(output),
            _ => self.others.push_back(output),
        }
    }

    /// The next.
    pub fn pop(&mut self) -> Option<Output> {
        self.others.pop_front().or_else(|| self.datagrams.iter_mut().find_map(VecDeque::pop_front))
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.others.is_empty() && self.datagrams.iter().all(VecDeque::is_empty)
    }
}

fn kind(message: &[u8]) -> usize {
    match message {
        [b'A', b'C', b'K', ..] => 0,
        [b'S', b'I', b'P', b'/', b'2', b'.', b'0', b' ', b'1', ..] => 1,
        [b'S', b'I', b'P', b'/', ..] => 2,
        [b'B', b'Y', b'E', ..] => 4,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use strowger::base::{SocketKey, StreamKey};

    fn datagram(text: &'static str) -> Output {
        Output::Datagram(SocketKey(0), ([127, 0, 0, 1], 5060).into(), Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn kinds_leave_together_and_each_in_order() {
        let mut outbox = Outbox::default();
        let stream = StreamKey(1);
        let said = Output::Stream(stream, Bytes::from_static(b"ACK on a connection"));
        let came = ["BYE 0", "ACK 1", "BYE 1", "SIP/2.0 200 a", "SIP/2.0 180 b", "SIP/2.0 200 b", "INVITE 3", "ACK 2"];
        came.map(datagram).into_iter().for_each(|output| outbox.push(output));
        [Output::Connect(stream), said.clone()].into_iter().for_each(|output| outbox.push(output));
        assert_eq!((outbox.pop(), outbox.pop()), (Some(Output::Connect(stream)), Some(said)));
        let left = ["ACK 1", "ACK 2", "SIP/2.0 180 b", "SIP/2.0 200 a", "SIP/2.0 200 b", "INVITE 3", "BYE 0", "BYE 1"];
        for text in left {
            assert_eq!(outbox.pop(), Some(datagram(text)));
        }
        assert!(outbox.is_empty() && outbox.pop().is_none());
    }
}
