//! What went wrong, as a sentence that says what to do, and the exit code.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

/// Exit codes of `strowger`.
pub mod exit {
    /// All good.
    pub const OK: u8 = 0;
    /// It failed while running.
    pub const RUNTIME: u8 = 1;
    /// The command line is wrong.
    pub const USAGE: u8 = 2;
    /// The configuration is wrong (`EX_CONFIG`).
    pub const CONFIG: u8 = 78;
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What the process returns.
    pub exit: u8,
    /// For a person; several lines are fine. Nothing when it has been printed already.
    pub message: String,
}

impl Fault {
    /// It failed while running.
    #[must_use]
    pub fn runtime(message: impl Into<String>) -> Self {
        Self { exit: exit::RUNTIME, message: message.into() }
    }

    /// The configuration is wrong.
    #[must_use]
    pub fn config(message: impl Into<String>) -> Self {
        Self { exit: exit::CONFIG, message: message.into() }
    }

    /// Prints it and gives the exit code.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            eprintln!("strowger: {}", self.message.trim_end());
        }
        ExitCode::from(self.exit)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

/// Why a socket could not be bound, and which setting changes that.
#[must_use]
pub fn bind(error: &io::Error, address: SocketAddr, udp: bool, setting: &str) -> String {
    let (protocol, flag) = if udp { ("UDP", "u") } else { ("TCP", "t") };
    let head = format!("cannot listen on {address} ({protocol})");
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "{head}: the port is in use.\n  `ss -l{flag}np 'sport = :{port}'` shows by whom; stop that, or change `{setting}`"
        ),
        io::ErrorKind::PermissionDenied if port < 1024 => format!(
            "{head}: ports below 1024 need CAP_NET_BIND_SERVICE.\n  Run under the systemd unit, or give `{setting}` a higher port"
        ),
        io::ErrorKind::PermissionDenied => {
            format!(
                "{head}: not permitted.\n  SELinux or another security module forbids it; `{setting}` sets the address"
            )
        }
        io::ErrorKind::AddrNotAvailable => format!(
            "{head}: this host has no such address.\n  `ip addr` shows what it has; change `{setting}` (to advertise another one, use `advertise`)"
        ),
        _ if error.raw_os_error() == Some(libc::EMFILE) => {
            format!("{head}: no descriptors are left.\n  Raise LimitNOFILE= in the unit, or `ulimit -n`")
        }
        _ => format!("{head}: {error}.\n  `{setting}` sets the address"),
    }
}

/// Why a file or folder could not be used, and which setting names it.
#[must_use]
pub fn path(error: &io::Error, what: &str, path: &Path, setting: &str) -> String {
    let head = format!("cannot {what} {}", path.display());
    match error.kind() {
        io::ErrorKind::NotFound => format!("{head}: there is no such file or folder; `{setting}` names it"),
        io::ErrorKind::PermissionDenied => {
            format!("{head}: this user may not; change its owner or mode, or `{setting}`")
        }
        io::ErrorKind::IsADirectory => format!("{head}: it is a folder; `{setting}` is to name a file"),
        io::ErrorKind::StorageFull => format!("{head}: the disk is full; make room, or change `{setting}`"),
        io::ErrorKind::ReadOnlyFilesystem => {
            format!("{head}: read-only; name a writable folder in `{setting}` (under systemd: StateDirectory=)")
        }
        _ => format!("{head}: {error}; `{setting}` names it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_names_its_setting_and_what_to_do() {
        let address: SocketAddr = "192.0.2.1:5060".parse().unwrap();
        let said = |kind: io::ErrorKind| bind(&kind.into(), address, true, "sip.listen.address");
        assert!(said(io::ErrorKind::AddrInUse).contains("ss -lunp 'sport = :5060'"));
        assert!(said(io::ErrorKind::AddrNotAvailable).contains("ip addr"));
        for kind in [io::ErrorKind::AddrInUse, io::ErrorKind::PermissionDenied, io::ErrorKind::Other] {
            assert!(said(kind).contains("`sip.listen.address`"));
        }
        let low: SocketAddr = "192.0.2.1:80".parse().unwrap();
        let denied = bind(&io::ErrorKind::PermissionDenied.into(), low, false, "control.listen");
        assert!(denied.contains("CAP_NET_BIND_SERVICE"));
        let full = path(&io::ErrorKind::StorageFull.into(), "write", Path::new("/d"), "node.data_dir");
        assert!(full.contains("disk is full") && full.contains("node.data_dir"));
        let folder = path(&io::ErrorKind::IsADirectory.into(), "read", Path::new("/etc"), "--config");
        assert!(folder.contains("it is a folder") && folder.contains("`--config`"), "{folder}");
    }
}
