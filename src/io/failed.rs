//! Sends that failed for good and wait to be told to the handler, which cannot hear of them while it is being called.
//! Each driver has one of these. What comes back by ICMP lies in a socket's error queue until it is taken from there.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::RawFd;

use super::{Counters, Handler, socket};
use crate::base::SocketKey;

/// Failures remembered until they can be told; further ones are only counted.
const MAX: usize = 256;

pub(super) struct Failed(Vec<(SocketKey, SocketAddr, ErrorKind)>);

impl Failed {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(MAX))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Remembers one, which its finder has counted.
    pub(super) fn push(&mut self, key: SocketKey, to: SocketAddr, kind: ErrorKind) {
        if self.0.len() < MAX {
            self.0.push((key, to, kind));
        }
    }

    /// Empties the socket's error queue; true if there was something in it.
    pub(super) fn take_errors(&mut self, key: SocketKey, fd: RawFd, counters: &mut Counters) -> bool {
        let mut any = false;
        while let Some((to, error)) = socket::take_error(fd) {
            any = true;
            counters.send_failed += 1;
            self.push(key, to, error.kind());
        }
        any
    }

    /// Tells the handler of each, in the order they came.
    pub(super) fn hand_over(&mut self, handler: &mut dyn Handler) {
        for (key, to, kind) in self.0.drain(..) {
            handler.on_send_error(key, to, kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Forward;

    #[derive(Default)]
    struct Heard(Vec<SocketKey>);

    impl Handler for Heard {
        fn on_datagram(&mut self, _: SocketKey, _: SocketAddr, _: &mut [u8]) -> Option<Forward> {
            None
        }

        fn on_send_error(&mut self, socket: SocketKey, _: SocketAddr, _: ErrorKind) {
            self.0.push(socket);
        }
    }

    #[test]
    fn each_is_told_once_in_order_and_the_rest_is_let_go() {
        let to = SocketAddr::from(([192, 0, 2, 1], 5060));
        let mut failed = Failed::new();
        for key in 0..MAX as u32 + 10 {
            failed.push(SocketKey(key), to, ErrorKind::ConnectionRefused);
        }
        let mut heard = Heard::default();
        failed.hand_over(&mut heard);
        assert_eq!(heard.0, (0..MAX as u32).map(SocketKey).collect::<Vec<_>>());
        assert!(failed.is_empty());
        failed.hand_over(&mut heard);
        assert_eq!(heard.0.len(), MAX);
    }
}
