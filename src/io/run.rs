//! Runs: datagrams queued one after the other that may cross the network as one (`UDP_SEGMENT`). Both drivers ask here
//! what may join; order is kept, so that what comes between two of a kind ends the run.

use std::io::Error;
use std::net::SocketAddr;

use crate::base::SocketKey;

/// Datagrams in one run (`UDP_MAX_SEGMENTS` before Linux 6.9).
pub(super) const RUN_MAX: usize = 64;
/// Their octets together: what UDP carries over IPv6.
const RUN_BYTES_MAX: usize = 65_487;

/// A run that may still grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) socket: SocketKey,
    pub(super) to: SocketAddr,
    /// How long each is, but for a shorter last one.
    pub(super) segment: u16,
    pub(super) count: usize,
    pub(super) bytes: usize,
}

impl Run {
    /// Begins one, unless a datagram of this length may have none behind it.
    pub(super) fn begin(socket: SocketKey, to: SocketAddr, len: usize, segment_max: u16) -> Option<Self> {
        let segment = u16::try_from(len).ok().filter(|&len| len > 0 && len <= segment_max && to.port() != 0)?;
        Some(Self { socket, to, segment, count: 1, bytes: len })
    }

    /// Takes one more; false if it cannot be of this run.
    pub(super) fn join(&mut self, socket: SocketKey, to: SocketAddr, len: usize) -> bool {
        let segment = usize::from(self.segment);
        let whole = self.bytes == segment * self.count;
        let fits = self.count < RUN_MAX && self.bytes + len <= RUN_BYTES_MAX && (1..=segment).contains(&len);
        let joins = whole && fits && (self.socket, self.to) == (socket, to);
        if joins {
            self.count += 1;
            self.bytes += len;
        }
        joins
    }
}

/// The longest datagram that may be tried in a run after one of `segment` octets each has failed; `None` if it did not
/// fail for being a run. The length was too much for the path, or nothing of this kind goes (no checksum by the device).
pub(super) fn refused(error: &Error, segment: u16) -> Option<u16> {
    match error.raw_os_error()? {
        libc::EMSGSIZE | libc::EINVAL => Some(segment.saturating_sub(1)),
        libc::EIO | libc::EOPNOTSUPP | libc::ENOPROTOOPT => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SocketKey = SocketKey(1);

    fn to(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn equal_ones_join_and_a_shorter_one_is_the_last() {
        let mut run = Run::begin(A, to(1), 400, u16::MAX).unwrap();
        assert!(run.join(A, to(1), 400) && !run.join(A, to(1), 401) && !run.join(A, to(1), 0));
        assert!(!run.join(SocketKey(2), to(1), 400) && !run.join(A, to(2), 400));
        assert!(run.join(A, to(1), 399) && !run.join(A, to(1), 399));
        assert_eq!((run.count, run.bytes), (3, 1199));
    }

    #[test]
    fn runs_are_bounded_in_number_and_octets() {
        for (len, count) in [(1, RUN_MAX), (1200, 54), (40_000, 1)] {
            let mut run = Run::begin(A, to(1), len, u16::MAX).unwrap();
            while run.join(A, to(1), len) {}
            assert_eq!(run.count, count);
        }
        assert_eq!(Run::begin(A, to(1), 0, u16::MAX), None);
        assert_eq!(Run::begin(A, to(1), 1401, 1400), None);
        assert_eq!(Run::begin(A, to(0), 1400, 1400), None);
    }

    #[test]
    fn a_refusal_lowers_the_bound_and_other_failures_do_not() {
        let after = |errno| refused(&Error::from_raw_os_error(errno), 1473);
        assert_eq!((after(libc::EMSGSIZE), after(libc::EIO)), (Some(1472), Some(0)));
        assert_eq!((after(libc::ECONNREFUSED), after(libc::EAGAIN)), (None, None));
    }
}
