//! Can this process use io_uring? If not: why, and what to do about it, in words for ops.

use std::io::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::epoll::Epoll;
use super::uring::Uring;
use super::{Driver, Forward, Handler, Options, UdpOptions};
use crate::base::{SocketKey, Unusable};

const WHAT: &str = "io_uring";

/// Sets up a small ring and sends itself a datagram through it, because some sandboxes allow one and not the other.
///
/// # Errors
/// The reason and the remedy.
pub fn probe() -> Result<(), Unusable> {
    let options = Options { sockets_max: 1, packet_buffers: 4, message_buffers: 1, ..Options::default() };
    // On a thread of its own: the end of a ring interrupts blocking calls of the thread that used it.
    let tried = std::thread::Builder::new().name("probe".into()).spawn(|| Uring::new(options).and_then(echo));
    match tried.and_then(|thread| thread.join().unwrap_or(Ok(false))) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Unusable::new(
            WHAT,
            "a datagram sent through it to ourselves did not come back",
            "use backend = \"epoll\", and check whether a sandbox emulates io_uring or blocks loopback",
        )),
        Err(error) => Err(explain(&error, &Host::read())),
    }
}

/// What the setting `shards.backend` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// io_uring where it can be used, otherwise epoll.
    #[default]
    Auto,
    /// io_uring or nothing.
    IoUring,
    /// epoll.
    Epoll,
}

/// The driver that this process will use; [`open`](Self::open) makes one for each shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    uring: bool,
    /// Set when io_uring was wanted and epoll is used instead; to be announced.
    pub fallback: Option<Unusable>,
}

impl Choice {
    /// Chooses by setting and probe.
    ///
    /// # Errors
    /// Why not, if the setting insists on io_uring.
    pub fn new(backend: Backend) -> Result<Self, Unusable> {
        match backend {
            Backend::Epoll => Ok(Self { uring: false, fallback: None }),
            Backend::IoUring => probe().map(|()| Self { uring: true, fallback: None }),
            Backend::Auto => {
                let fallback = probe().err();
                Ok(Self { uring: fallback.is_none(), fallback })
            }
        }
    }

    /// The driver's name, as in settings and metric labels.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        if self.uring { "io_uring" } else { "epoll" }
    }

    /// Makes a driver.
    ///
    /// # Errors
    /// The kernel's: too little memory, no descriptors left.
    pub fn open(&self, options: Options) -> std::io::Result<Box<dyn Driver>> {
        Ok(if self.uring { Box::new(Uring::new(options)?) } else { Box::new(Epoll::new(options)?) })
    }
}

struct Echoes(usize);

impl Handler for Echoes {
    fn on_datagram(&mut self, socket: SocketKey, to: SocketAddr, bytes: &mut [u8]) -> Option<Forward> {
        self.0 += 1;
        Some(Forward { socket, to, len: bytes.len() })
    }
}

/// One datagram goes round twice: sent from our memory, then forwarded from where it was received.
fn echo(mut driver: Uring) -> std::io::Result<bool> {
    let socket = SocketKey(0);
    let local = driver.open_udp(socket, &UdpOptions::media((Ipv4Addr::LOCALHOST, 0).into()))?;
    let _ = driver.send(socket, local, bytes::Bytes::from_static(b"probe"));
    let mut echoes = Echoes(0);
    for _ in 0..10 {
        driver.wait(Some(Duration::from_millis(20)), &mut echoes)?;
        if echoes.0 >= 2 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What of this host bears on io_uring.
struct Host {
    release: String,
    /// `kernel.io_uring_disabled`: 0, 1 (only for its group and CAP_SYS_ADMIN) or 2.
    disabled: Option<u8>,
    /// A seccomp filter is on.
    filtered: bool,
}

impl Host {
    fn read() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            release: read("/proc/sys/kernel/osrelease").trim().into(),
            disabled: read("/proc/sys/kernel/io_uring_disabled").trim().parse().ok(),
            filtered: read("/proc/self/status").lines().any(|line| line.split_whitespace().eq(["Seccomp:", "2"])),
        }
    }

    /// Before 6.1, which brought the last thing the driver needs (`IORING_SETUP_DEFER_TASKRUN`).
    fn is_too_old(&self) -> bool {
        let mut numbers = self.release.split(['.', '-']).map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < (6, 1),
            _ => false,
        }
    }
}

fn explain(error: &Error, host: &Host) -> Unusable {
    let (reason, remedy) = match error.raw_os_error() {
        Some(libc::EPERM) if matches!(host.disabled, Some(1 | 2)) => (
            format!("the setting kernel.io_uring_disabled is {}", host.disabled.unwrap_or(2)),
            "set it to 0 with sysctl, or to 1 and run in the group of kernel.io_uring_group",
        ),
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS) if host.filtered => (
            format!("a seccomp filter forbids it ({error})"),
            "allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile or the \
             unit's SystemCallFilter",
        ),
        Some(libc::EPERM | libc::EACCES) => (
            format!("a security module forbids it ({error})"),
            "allow io_uring for this process in SELinux, AppArmor or what else guards this host",
        ),
        _ if host.is_too_old() => (format!("Linux {} is too old ({error})", host.release), "run Linux 6.1 or newer"),
        Some(libc::ENOSYS) => {
            (format!("this kernel is built without it ({error})"), "use a kernel with CONFIG_IO_URING")
        }
        Some(libc::ENOMEM) => (
            format!("its memory may not be taken ({error})"),
            "raise the memory limit of the control group, or LimitMEMLOCK= in the unit",
        ),
        Some(libc::EMFILE | libc::ENFILE) => {
            (format!("no descriptors are left ({error})"), "raise LimitNOFILE= in the unit")
        }
        _ => (error.to_string(), "use backend = \"epoll\" and report this"),
    };
    Unusable::new(WHAT, reason, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(errno: i32, release: &str, disabled: Option<u8>, filtered: bool) -> String {
        let host = Host { release: release.into(), disabled, filtered };
        explain(&Error::from_raw_os_error(errno), &host).to_string()
    }

    #[test]
    fn the_setting_decides_and_the_name_says_so() {
        for backend in [Backend::Epoll, Backend::Auto] {
            let choice = Choice::new(backend).expect("epoll always works");
            assert_eq!(choice.open(Options::default()).expect("driver").name(), choice.name());
        }
    }

    #[test]
    fn each_obstacle_has_its_remedy() {
        let sysctl = said(libc::EPERM, "6.18.0", Some(2), true);
        assert!(sysctl.contains("kernel.io_uring_disabled is 2") && sysctl.contains("sysctl"), "{sysctl}");
        let seccomp = said(libc::EPERM, "6.18.0", Some(0), true);
        assert!(seccomp.contains("seccomp") && seccomp.contains("SystemCallFilter"), "{seccomp}");
        let module = said(libc::EPERM, "6.18.0", None, false);
        assert!(module.contains("security module"), "{module}");
        let old = said(libc::EINVAL, "5.15.0-105-generic", None, false);
        assert!(old.contains("5.15.0-105-generic is too old") && old.contains("6.1"), "{old}");
        let memory = said(libc::ENOMEM, "6.8.0", Some(0), false);
        assert!(memory.contains("LimitMEMLOCK"), "{memory}");
        let missing = said(libc::ENOSYS, "6.8.0", None, false);
        assert!(missing.contains("CONFIG_IO_URING"), "{missing}");
        let unknown = said(libc::EINVAL, "nonsense", None, false);
        assert!(unknown.contains("epoll"), "{unknown}");
    }
}
