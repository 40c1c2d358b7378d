//! bpf(2), as much of it as the fast path needs: maps, programs, links, pins, and test runs. Every object is a descriptor,
//! so that it can be handed to another process as it is.
//!
//! The system call is used directly. A loader crate would bring BTF, CO-RE and feature probes for programs that need none of
//! them, and keep the descriptors, the mapped memory and the test runs that are needed here to itself.

mod map;
mod program;

pub use map::{MMAPABLE, Map, MapOptions, RDONLY_PROG, map_type};
pub use program::{Mode, Program, Ran, Rejected};

use std::ffi::CString;
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

#[derive(Clone, Copy)]
enum Command {
    MapCreate = 0,
    MapUpdate = 2,
    MapDelete = 3,
    ProgLoad = 5,
    ObjPin = 6,
    ObjGet = 7,
    ProgTestRun = 10,
    MapFreeze = 22,
    LinkCreate = 28,
    LinkUpdate = 29,
}

/// Calls bpf(2). `A` is the command's part of `union bpf_attr`.
///
/// # Safety
/// `A` must be laid out as the kernel's structure for `command` begins, without padding, and every pointer in it must be
/// valid for what the command does with it.
unsafe fn bpf<A>(command: Command, attributes: &mut A) -> Result<i64> {
    let size = size_of::<A>();
    // SAFETY: the kernel reads (and for some commands writes) `size` octets behind the pointer, which are `attributes`;
    // the caller vouches for what is in them.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_long, std::ptr::from_mut(attributes), size) };
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

/// Takes over a descriptor that the kernel has just made.
fn owned(descriptor: i64) -> OwnedFd {
    let descriptor = RawFd::try_from(descriptor).expect("a descriptor");
    // SAFETY: bpf(2) returned it for this process and nobody else has it yet.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// The kernel's names are at most 15 characters.
fn name(text: &str) -> [u8; 16] {
    let mut out = [0; 16];
    for (place, byte) in out.iter_mut().zip(text.bytes().take(15)) {
        *place = byte;
    }
    out
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    u32::try_from(fd.as_raw_fd()).expect("descriptors are not negative")
}

#[repr(C)]
struct Pin {
    path: u64,
    fd: u32,
    flags: u32,
}

fn pin_of(path: &Path, fd: u32) -> Result<(CString, Pin)> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let pin = Pin { path: path.as_ptr() as u64, fd, flags: 0 };
    Ok((path, pin))
}

/// Gives an object a name under a BPF file system, where it stays without a process.
///
/// # Errors
/// The kernel's: `EEXIST`, `EPERM`, `EINVAL` where the file system is another.
pub fn pin(object: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let (_path, mut pin) = pin_of(path, number(object))?;
    // SAFETY: as `bpf_attr` for BPF_OBJ_PIN begins; the path lives until it returns.
    unsafe { bpf(Command::ObjPin, &mut pin) }.map(drop)
}

/// Opens a pinned object.
///
/// # Errors
/// The kernel's: `ENOENT`, `EPERM`.
pub fn pinned(path: &Path) -> Result<OwnedFd> {
    let (_path, mut pin) = pin_of(path, 0)?;
    // SAFETY: as `bpf_attr` for BPF_OBJ_GET begins; the path lives until it returns.
    unsafe { bpf(Command::ObjGet, &mut pin) }.map(owned)
}
