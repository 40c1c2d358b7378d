//! Why the fast path cannot be had, as a value: what stands in the way, and what would remove it. `strowger check` says it
//! beforehand, the log once at the start.

use super::sys::{Mode, Rejected};
use crate::base::Unusable;
use std::io::Error;

/// There is no fast path, for this reason.
pub(super) fn no_xdp(reason: impl Into<String>, remedy: &'static str) -> Unusable {
    Unusable::new("XDP", reason, remedy)
}

/// What of this host bears on loading programs.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    pub(super) release: String,
    /// Effective capabilities of this process.
    pub(super) capabilities: u64,
    /// A seccomp filter is on.
    pub(super) filtered: bool,
}

/// The bits of what is needed, by `linux/capability.h`.
const NEEDED: [(u32, &str); 3] = [(39, "CAP_BPF"), (NET_ADMIN, "CAP_NET_ADMIN"), (38, "CAP_PERFMON")];
const NET_ADMIN: u32 = 12;
const SYS_ADMIN: u32 = 21;

impl Host {
    pub(super) fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        Self {
            release: std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().into(),
            capabilities: value("CapEff:").and_then(|bits| u64::from_str_radix(bits, 16).ok()).unwrap_or(0),
            filtered: value("Seccomp:") == Some("2"),
        }
    }

    /// Neighbours in use may be kept fresh.
    pub(super) fn may_freshen(&self) -> bool {
        self.capabilities >> NET_ADMIN & 1 == 1
    }

    /// `CAP_SYS_ADMIN` stands for those that were split from it; `CAP_NET_ADMIN` never was part of it.
    fn missing(&self) -> Vec<&'static str> {
        let has = |bit: u32| self.capabilities >> bit & 1 == 1;
        let lacks = |bit: u32| !has(bit) && (bit == NET_ADMIN || !has(SYS_ADMIN));
        NEEDED.iter().filter(|(bit, _)| lacks(*bit)).map(|(_, name)| *name).collect()
    }

    /// The kernel would not make the arrays.
    pub(super) fn explain_memory(&self, error: &Error, bytes: usize) -> Unusable {
        let missing = self.missing();
        match error.raw_os_error() {
            Some(libc::ENOSYS) => no_xdp(
                format!("this kernel is built without bpf(2), or a filter forbids it ({error})"),
                "use a kernel with CONFIG_BPF_SYSCALL, and allow bpf in the SystemCallFilter",
            ),
            Some(libc::EPERM | libc::EACCES) if !missing.is_empty() => no_xdp(
                format!("this process lacks {}", missing.join(", ")),
                "run as root, or with AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_PERFMON in the unit",
            ),
            Some(libc::EPERM | libc::EACCES) if self.filtered => no_xdp(
                format!("a seccomp filter forbids bpf(2) ({error})"),
                "allow bpf in the container's seccomp profile or the unit's SystemCallFilter",
            ),
            Some(libc::EPERM | libc::EACCES) => no_xdp(
                format!("the kernel refuses it ({error})"),
                "raise LimitMEMLOCK= in the unit (kernels before 5.11), or look for a security module or lockdown",
            ),
            Some(libc::ENOMEM | libc::E2BIG) => no_xdp(
                format!("the arrays would take {} MiB, which may not be had ({error})", bytes >> 20),
                "use a smaller range of media ports, or raise the memory limit of the control group",
            ),
            _ => no_xdp(format!("the arrays cannot be made ({error})"), "use fast_path = \"off\" and report this"),
        }
    }

    /// The verifier would not have the program.
    pub(super) fn explain_program(&self, rejected: &Rejected) -> Unusable {
        if matches!(rejected.error.raw_os_error(), Some(libc::EPERM)) {
            return self.explain_memory(&rejected.error, 0);
        }
        let last = rejected.log.lines().rev().find(|line| !line.starts_with("processed")).unwrap_or("").trim();
        let reason = format!("Linux {} does not take the program: {} ({last})", self.release, rejected.error);
        let missing = self.missing();
        if missing.contains(&"CAP_PERFMON") {
            return no_xdp(reason, "give the process CAP_PERFMON too: the verifier is stricter without it");
        }
        no_xdp(reason, "run Linux 6.1 or newer")
    }
}

/// Octets of IP in a page with XDP's headroom, as drivers without multi-buffer XDP have it.
pub(super) const MTU_ALWAYS_TAKEN: u32 = 3498;

/// A device would not take the program.
pub(super) fn explain_attach(device: &str, mtu: u32, mode: Mode, error: &Error) -> Unusable {
    let (reason, remedy): (String, _) = match error.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => (
            format!("{device} already has an XDP program"),
            "detach it (ip link set dev NAME xdp off), or name other devices; bpftool net shows whose it is",
        ),
        Some(libc::EOPNOTSUPP) if mode == Mode::Native => (
            format!("{device} has no XDP in its driver"),
            "use a device whose driver has it, or leave it to generic XDP",
        ),
        Some(libc::EPERM) => (
            format!("{device} may not be given a program"),
            "give the process CAP_NET_ADMIN in the device's name space",
        ),
        _ if mode == Mode::Native && mtu > MTU_ALWAYS_TAKEN => (
            format!("the MTU of {device} is {mtu}, too large for its driver's XDP ({error})"),
            "use an MTU of 3498 or less (1500 is always taken)",
        ),
        Some(libc::ENOSPC | libc::ENOMEM | libc::EINVAL) if mode == Mode::Native => (
            format!("the driver of {device} refuses it ({error})"),
            "give it fewer queues (ethtool -L NAME combined N), switch LRO off (ethtool -K NAME lro off), or an MTU of 1500",
        ),
        _ => (format!("{device} refuses the program ({error})"), "use fast_path = \"off\" and report this"),
    };
    no_xdp(reason, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(errno: i32) -> Error {
        Error::from_raw_os_error(errno)
    }

    #[test]
    fn a_missing_capability_is_named() {
        let nobody = Host { release: "6.1.0".into(), ..Host::default() };
        let said = nobody.explain_memory(&error(libc::EPERM), 0).to_string();
        assert!(said.contains("CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON") && said.contains("AmbientCapabilities"), "{said}");
        let admin = Host { capabilities: 1 << SYS_ADMIN, ..nobody.clone() };
        assert_eq!(admin.missing(), ["CAP_NET_ADMIN"]);
        let all = Host { capabilities: 1 << 39 | 1 << 12 | 1 << 38, ..nobody };
        assert!(all.missing().is_empty());
        let said = all.explain_memory(&error(libc::EPERM), 0).to_string();
        assert!(said.contains("LimitMEMLOCK"), "{said}");
        let filtered = Host { filtered: true, ..all };
        let said = filtered.explain_memory(&error(libc::EPERM), 0).to_string();
        assert!(said.contains("seccomp"), "{said}");
    }

    #[test]
    fn each_obstacle_has_its_remedy() {
        let host = Host { release: "5.4.0".into(), capabilities: u64::MAX, ..Host::default() };
        let said = host.explain_memory(&error(libc::ENOMEM), 5 << 20).to_string();
        assert!(said.contains("5 MiB") && said.contains("media ports"), "{said}");
        let said = host.explain_memory(&error(libc::ENOSYS), 0).to_string();
        assert!(said.contains("CONFIG_BPF_SYSCALL"), "{said}");
        let rejected =
            Rejected { error: error(libc::EINVAL), log: "0: r0 = 1\nunknown func 118\nprocessed 1 insns".into() };
        let said = host.explain_program(&rejected).to_string();
        assert!(said.contains("Linux 5.4.0") && said.contains("unknown func 118") && said.contains("6.1"), "{said}");
        let attach = |mtu, mode, errno| explain_attach("eth7", mtu, mode, &error(errno)).to_string();
        let said = attach(1500, Mode::Native, libc::EBUSY);
        assert!(said.contains("eth7 already") && said.contains("xdp off"), "{said}");
        let said = attach(1500, Mode::Native, libc::EOPNOTSUPP);
        assert!(said.contains("driver"), "{said}");
        let said = attach(9000, Mode::Native, libc::EINVAL);
        assert!(said.contains("MTU of eth7 is 9000"), "{said}");
        let said = attach(1500, Mode::Native, libc::ENOSPC);
        assert!(said.contains("ethtool -L"), "{said}");
        let said = attach(1500, Mode::Generic, libc::EIO);
        assert!(said.contains("fast_path"), "{said}");
    }
}
