//! Ending another thread's wait: an eventfd that every driver watches, and from ring to ring a message instead.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// Ends the `wait` of one driver from any thread. Cheap to clone; calls between two waits cost one system call.
#[derive(Clone, Debug)]
pub struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    event: OwnedFd,
    called: AtomicBool,
    /// The ring to which another ring may send its message; -1 where there is none.
    ring: AtomicI32,
}

impl Waker {
    /// A waker nobody has called yet.
    ///
    /// # Errors
    /// No descriptor left.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed; the result is checked before use.
        let raw = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `raw` was opened just above and nothing else owns it.
        let event = unsafe { OwnedFd::from_raw_fd(raw) };
        Ok(Self { shared: Arc::new(Shared { event, called: AtomicBool::new(false), ring: AtomicI32::new(-1) }) })
    }

    /// Ends the present wait, or else the next one. Never blocks.
    pub fn wake(&self) {
        if self.call() {
            self.write();
        }
    }

    /// True for the first call since the last wake-up: only that one has to reach the kernel.
    pub(super) fn call(&self) -> bool {
        !self.shared.called.swap(true, Ordering::AcqRel)
    }

    pub(super) fn write(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight readable bytes are passed to a descriptor this value owns. A full counter cannot happen:
        // it is written at most a few times between two reads by `take`, and would still be readable.
        unsafe { libc::write(self.shared.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// The message came, so that nothing has to be read; otherwise as [`take`](Self::take).
    pub(super) fn take_message(&self) {
        self.shared.called.swap(false, Ordering::AcqRel);
    }

    pub(super) fn ring(&self) -> Option<RawFd> {
        Some(self.shared.ring.load(Ordering::Relaxed)).filter(|fd| *fd >= 0)
    }

    pub(super) fn set_ring(&self, ring: RawFd) {
        self.shared.ring.store(ring, Ordering::Relaxed);
    }

    /// The driver woke: takes the call back, so that the next one counts. What was published before a call that this
    /// takes is visible afterwards.
    pub(super) fn take(&self) {
        let mut count = [0u8; 8];
        // SAFETY: eight writable bytes are passed; the descriptor does not block, so an empty counter is an error
        // that changes nothing.
        unsafe { libc::read(self.shared.event.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        self.shared.called.swap(false, Ordering::AcqRel);
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        self.shared.event.as_raw_fd()
    }
}
