//! The UDP sockets and listeners of the epoll driver, by key.

use std::io::{ErrorKind, Result};
use std::os::fd::{AsRawFd, RawFd};

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};
use socket2::Socket;

use crate::base::SocketKey;
use crate::io::socket::Extras;
use crate::io::{Counters, ReleasedSocket, Traffic, released, socket};

/// Set in tokens of sockets; what is below is the key. Tokens of streams are their names.
pub(super) const TOKEN_SOCKET: u64 = 1 << 62;

pub(super) struct Open {
    pub(super) socket: Socket,
    pub(super) v6: bool,
    pub(super) role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// With the drops that the kernel had counted when it was last asked.
    Udp(Traffic, Extras, u32),
    Listener,
}

impl Open {
    /// What the kernel has dropped since it was last asked.
    fn take_drops(&mut self) -> u64 {
        let Role::Udp(_, _, seen) = &mut self.role else { return 0 };
        let drops = socket::kernel_drops(self.socket.as_raw_fd());
        u64::from(drops.wrapping_sub(std::mem::replace(seen, drops)))
    }
}

pub(super) struct Sockets {
    places: Vec<Option<Open>>,
    most: usize,
    sampled: usize,
}

impl Sockets {
    /// At most so many.
    pub(super) fn new(most: usize) -> Self {
        Self { places: Vec::new(), most, sampled: 0 }
    }

    /// Whether a socket can be opened under this key.
    pub(super) fn check(&self, key: SocketKey) -> Result<()> {
        match self.get(key) {
            _ if key.0 as usize >= self.most => Err(ErrorKind::InvalidInput.into()),
            Some(_) => Err(ErrorKind::AlreadyExists.into()),
            None => Ok(()),
        }
    }

    pub(super) fn insert(&mut self, key: SocketKey, open: Open, poll: &Poll) -> Result<()> {
        let token = Token((TOKEN_SOCKET | u64::from(key.0)) as usize);
        poll.registry().register(&mut SourceFd(&open.socket.as_raw_fd()), token, Interest::READABLE)?;
        let index = key.0 as usize;
        if index >= self.places.len() {
            self.places.resize_with(index + 1, || None);
        }
        self.places[index] = Some(open);
        Ok(())
    }

    #[inline]
    pub(super) fn get(&self, key: SocketKey) -> Option<&Open> {
        self.places.get(key.0 as usize)?.as_ref()
    }

    #[inline]
    pub(super) fn udp(&self, key: SocketKey) -> Option<(RawFd, Traffic, Extras)> {
        match self.get(key) {
            Some(Open { socket, role: Role::Udp(traffic, extras, _), .. }) => {
                Some((socket.as_raw_fd(), *traffic, *extras))
            }
            _ => None,
        }
    }

    /// Runs by this socket are to be of shorter datagrams.
    pub(super) fn bound_runs(&mut self, key: SocketKey, segment_max: u16) {
        if let Some(Some(Open { role: Role::Udp(_, extras, _), .. })) = self.places.get_mut(key.0 as usize) {
            extras.segment_max = segment_max;
        }
    }

    pub(super) fn close(&mut self, key: SocketKey, poll: &Poll, counters: &mut Counters) {
        if let Some(mut open) = self.places.get_mut(key.0 as usize).and_then(Option::take) {
            counters.kernel_dropped += open.take_drops();
            let _ = poll.registry().deregister(&mut SourceFd(&open.socket.as_raw_fd()));
        }
    }

    /// Gives up all of them.
    pub(super) fn release(&mut self, poll: &Poll, counters: &mut Counters) -> Result<Vec<ReleasedSocket>> {
        let mut out = Vec::new();
        for (key, place) in (0..).map(SocketKey).zip(&mut self.places) {
            let Some(mut open) = place.take() else { continue };
            counters.kernel_dropped += open.take_drops();
            let Open { socket, v6, role } = open;
            let role = match role {
                Role::Listener => released::Role::Listener { v6 },
                Role::Udp(traffic, ..) => released::Role::Udp { traffic, v6 },
            };
            poll.registry().deregister(&mut SourceFd(&socket.as_raw_fd()))?;
            out.push(ReleasedSocket { key, role, descriptor: socket.into() });
        }
        Ok(out)
    }

    /// Takes those of another process. An edge comes at once for whatever waits in a socket.
    pub(super) fn adopt(&mut self, released: Vec<ReleasedSocket>, poll: &Poll) -> Result<()> {
        for ReleasedSocket { key, role, descriptor } in released {
            self.check(key)?;
            let socket = Socket::from(descriptor);
            let (v6, role) = match role {
                released::Role::Listener { v6 } => (v6, Role::Listener),
                released::Role::Udp { traffic, v6 } => {
                    (v6, Role::Udp(traffic, socket::extras(&socket), socket::kernel_drops(socket.as_raw_fd())))
                }
            };
            self.insert(key, Open { socket, v6, role }, poll)?;
        }
        Ok(())
    }

    /// Asks the kernel for the drops of so many sockets, in turn.
    pub(super) fn sample_drops(&mut self, sockets: usize, counters: &mut Counters) {
        for _ in 0..sockets.min(self.places.len()) {
            self.sampled = (self.sampled + 1) % self.places.len();
            if let Some(open) = &mut self.places[self.sampled] {
                counters.kernel_dropped += open.take_drops();
            }
        }
    }
}
