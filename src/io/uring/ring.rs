//! The ring itself: set-up, pushing requests, entering the kernel, taking completions.

use std::io::{Error, Result};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::squeue::Flags;
use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, Submitter, cqueue, opcode, squeue};

use super::tag::{Kind, tag};

/// Requests that fit before the kernel must be entered.
const REQUESTS: u32 = 1024;
/// Completions that fit before the kernel must keep them for us.
const COMPLETIONS: u32 = 8192;
/// Completions that end gathering.
const GATHERED: usize = 64;

/// One completion, copied out so that handling it may push new requests.
#[derive(Clone, Copy)]
pub(super) struct Completion {
    pub(super) tag: u64,
    pub(super) result: i32,
    pub(super) flags: u32,
}

pub(super) struct Ring {
    ring: IoUring,
    /// The kernel ties the ring to the thread that enables it; it stays disabled until the first use.
    enabled: bool,
    /// The kernel can wait for several completions for a while, and then for one.
    can_gather: bool,
}

impl Ring {
    pub(super) fn new() -> Result<Self> {
        let ring = IoUring::builder()
            .setup_cqsize(COMPLETIONS)
            .setup_clamp()
            .setup_submit_all()
            // One thread issues, and completions are made only while that thread waits: no interrupts of the handler,
            // and whole batches.
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_r_disabled()
            .dontfork()
            .build(REQUESTS)?;
        let can_gather = ring.params().is_feature_min_timeout();
        Ok(Self { ring, enabled: false, can_gather })
    }

    pub(super) fn submitter(&self) -> Submitter<'_> {
        self.ring.submitter()
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    fn enable(&mut self) -> Result<()> {
        if !self.enabled {
            self.ring.submitter().register_enable_rings()?;
            self.enabled = true;
        }
        Ok(())
    }

    /// Queues a request; enters the kernel when there is no room. False if even that made none.
    ///
    /// # Safety
    /// What the request points to must stay valid until the kernel has taken it, and what it is to write to, or is
    /// sent without copying, until its last completion.
    pub(super) unsafe fn push(&mut self, request: &squeue::Entry) -> bool {
        // SAFETY: passed on to the caller.
        if unsafe { self.ring.submission().push(request) }.is_ok() {
            return true;
        }
        // SAFETY: as above.
        self.submit().is_ok() && unsafe { self.ring.submission().push(request) }.is_ok()
    }

    /// Nothing pushed is still waiting to be taken.
    pub(super) fn all_taken(&mut self) -> bool {
        self.ring.submission().is_empty()
    }

    /// Hands over what was pushed and lets completions happen, without waiting for any.
    pub(super) fn submit(&mut self) -> Result<()> {
        self.enable()?;
        let count = self.ring.submission().len() as u32;
        let flags = EnterFlags::GETEVENTS.bits();
        // SAFETY: `count` requests are in the queue, and no further argument is passed.
        let entered = unsafe { self.ring.submitter().enter::<libc::sigset_t>(count, 0, flags, None) };
        tolerate(entered)
    }

    /// Hands over what was pushed and waits: until `gather` is over or many completions are there, and then for one.
    pub(super) fn wait(&mut self, timeout: Option<Duration>, gather: Duration) -> Result<()> {
        if timeout == Some(Duration::ZERO) || !self.ring.completion().is_empty() {
            return self.submit();
        }
        self.enable()?;
        let (mut args, mut want, mut timeout) = (SubmitArgs::new(), 1, timeout);
        if self.can_gather && !gather.is_zero() {
            (args, want) = (args.min_wait_usec(u32::try_from(gather.as_micros()).unwrap_or(u32::MAX)), GATHERED);
            timeout = timeout.map(|timeout| timeout.max(gather));
        }
        let timespec = timeout.map(Timespec::from);
        if let Some(timespec) = &timespec {
            args = args.timespec(timespec);
        }
        tolerate(self.ring.submitter().submit_with_args(want, &args))
    }

    /// Hands over what was pushed and sleeps for `span`, or until there are `many` completions.
    pub(super) fn rest(&mut self, span: Duration, many: usize) -> Result<()> {
        if span.is_zero() || !self.ring.completion().is_empty() {
            return self.submit();
        }
        self.enable()?;
        let timespec = Timespec::from(span);
        tolerate(self.ring.submitter().submit_with_args(many, &SubmitArgs::new().timespec(&timespec)))
    }

    /// Some wait to be taken.
    pub(super) fn has_completions(&mut self) -> bool {
        !self.ring.completion().is_empty()
    }

    /// Takes the next completion.
    pub(super) fn take(&mut self) -> Option<Completion> {
        let entry: cqueue::Entry = self.ring.completion().next()?;
        Some(Completion { tag: entry.user_data(), result: entry.result(), flags: entry.flags() })
    }

    /// Has the kernel end the request of this name; its completion follows. Asked for all at once, the kernel looks again
    /// through those that it has ended for each of the others, which takes long for thousands; a name it finds by its hash.
    pub(super) fn cancel(&mut self, name: u64) {
        let request = opcode::AsyncCancel2::new(CancelBuilder::user_data(name)).build().flags(Flags::SKIP_SUCCESS);
        // SAFETY: a cancellation points to nothing.
        unsafe { self.push(&request.user_data(tag(Kind::Ignored, 0, 0))) };
    }

    /// Ends every request and lets go of all files, so that ports are free when this returns. On another thread than
    /// the ring's own the kernel does so only a little later.
    pub(super) fn shut_down(&mut self) {
        if self.enabled {
            let _ = self.ring.submitter().register_sync_cancel(Some(Timespec::new().sec(1)), CancelBuilder::any());
            let _ = self.submit();
        }
        let _ = self.ring.submitter().unregister_files();
    }
}

/// A timeout, a signal and a full completion queue are no failures: the caller takes what there is and comes again.
fn tolerate(entered: Result<usize>) -> Result<()> {
    match entered {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
            _ => Err(Error::new(error.kind(), format!("io_uring_enter: {error}"))),
        },
    }
}
