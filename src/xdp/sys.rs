//! bpf(2), as much of it as the fast path needs: maps, programs, links, pins, and test runs. Every object is a descriptor,
//! so that it can be handed to another process as it is.
//!
//! The system call is used directly. A loader crate would bring BTF, CO-RE and feature probes for programs that need none of
//! them, and keep the descriptors, the mapped memory and the test runs that are needed here to itself.

use std::ffi::CString;
use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Kinds of maps, as in `linux/bpf.h`.
pub mod map_type {
    /// Values at 0..n.
    pub const ARRAY: u32 = 2;
    /// Programs to go on with.
    pub const PROG_ARRAY: u32 = 3;
    /// Keyed values; the one not used for longest makes room.
    pub const LRU_HASH: u32 = 9;
    /// Devices to redirect to.
    pub const DEVMAP: u32 = 14;
}

/// The program may not write this map.
pub const RDONLY_PROG: u32 = 1 << 7;
/// The map can be mapped.
pub const MMAPABLE: u32 = 1 << 10;

/// A program for frames that arrive.
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_TYPE_XDP: u32 = 37;

/// Where in the kernel a program sees frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver.
    Native,
    /// Above it, on socket buffers: any device, at about the price of the stack's first steps.
    Generic,
}

impl Mode {
    const fn flags(self) -> u32 {
        match self {
            Self::Generic => 1 << 1,
            Self::Native => 1 << 2,
        }
    }
}

const LOG_BYTES: usize = 1 << 20;

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

/// A map.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
}

/// What a new map is to be.
#[derive(Clone, Copy, Debug)]
pub struct MapOptions<'a> {
    /// For `bpftool map`.
    pub name: &'a str,
    /// See [`map_type`].
    pub kind: u32,
    /// Octets.
    pub key_size: u32,
    /// Octets.
    pub value_size: u32,
    /// Entries at most.
    pub max_entries: u32,
    /// [`RDONLY_PROG`], [`MMAPABLE`].
    pub flags: u32,
}

#[repr(C)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    inner_map: u32,
    numa_node: u32,
    name: [u8; 16],
}

#[repr(C)]
struct MapElement {
    map: u32,
    spare: u32,
    key: u64,
    value: u64,
    flags: u64,
}

impl Map {
    /// Makes a map.
    ///
    /// # Errors
    /// The kernel's: `EPERM` without the capability, `ENOMEM`, `E2BIG`, `EINVAL` for a kind it does not know.
    pub fn create(options: &MapOptions<'_>) -> Result<Self> {
        let &MapOptions { kind, key_size, value_size, max_entries, flags, .. } = options;
        let name = name(options.name);
        let mut create = MapCreate { kind, key_size, value_size, max_entries, flags, inner_map: 0, numa_node: 0, name };
        // SAFETY: as `bpf_attr` for BPF_MAP_CREATE begins; it has no pointers.
        let fd = owned(unsafe { bpf(Command::MapCreate, &mut create) }?);
        Ok(Self { fd })
    }

    /// Puts an entry in. Both lengths must be the map's own.
    ///
    /// # Errors
    /// The kernel's.
    pub fn update(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut element = self.element(key);
        element.value = value.as_ptr() as u64;
        // SAFETY: the kernel reads as many octets as the map's key and value have, which the callers in this room pass.
        unsafe { bpf(Command::MapUpdate, &mut element) }.map(drop)
    }

    /// Takes an entry out.
    ///
    /// # Errors
    /// The kernel's: `ENOENT`.
    pub fn delete(&self, key: &[u8]) -> Result<()> {
        // SAFETY: the kernel reads as many octets as the map's key has, which the callers in this room pass.
        unsafe { bpf(Command::MapDelete, &mut self.element(key)) }.map(drop)
    }

    /// From now on user space cannot change it, and the verifier may count on its contents.
    ///
    /// # Errors
    /// The kernel's.
    pub fn freeze(&self) -> Result<()> {
        // SAFETY: no pointers.
        unsafe { bpf(Command::MapFreeze, &mut number(self.as_fd())) }.map(drop)
    }

    fn element(&self, key: &[u8]) -> MapElement {
        MapElement { map: number(self.as_fd()), spare: 0, key: key.as_ptr() as u64, value: 0, flags: 0 }
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for Map {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    u32::try_from(fd.as_raw_fd()).expect("descriptors are not negative")
}

/// A verified program.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
}

/// Why a program was not accepted.
#[derive(Debug)]
pub struct Rejected {
    /// The kernel's.
    pub error: Error,
    /// What the verifier said, its last lines.
    pub log: String,
}

#[repr(C)]
struct ProgLoad {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    ifindex: u32,
    expected_attach_type: u32,
}

#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    verdict: u32,
    in_size: u32,
    out_size: u32,
    in_data: u64,
    out_data: u64,
    repeat: u32,
    duration: u32,
    context_in_size: u32,
    context_out_size: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    spare: u32,
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
}

#[repr(C)]
struct LinkUpdate {
    link: u32,
    program: u32,
    flags: u32,
    old_program: u32,
}

#[repr(C)]
struct Pin {
    path: u64,
    fd: u32,
    flags: u32,
}

/// What a test run gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The program's verdict.
    pub verdict: u32,
    /// Octets of the frame afterwards.
    pub len: usize,
    /// Nanoseconds a run, on average.
    pub duration: u32,
}

impl Program {
    /// Loads an XDP program: whole instructions of eight octets, its maps filled in.
    ///
    /// # Errors
    /// The kernel's, with the verifier's words.
    pub fn load(label: &str, code: &[u8], license: &str) -> std::result::Result<Self, Rejected> {
        let license = CString::new(license).unwrap_or_default();
        let attempt = |log: &mut [u8]| {
            let mut load = ProgLoad {
                kind: PROG_TYPE_XDP,
                instruction_count: u32::try_from(code.len() / 8).unwrap_or(u32::MAX),
                instructions: code.as_ptr() as u64,
                license: license.as_ptr() as u64,
                log_level: u32::from(!log.is_empty()),
                log_size: u32::try_from(log.len()).unwrap_or(0),
                log: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
                kernel_version: 0,
                flags: 0,
                name: name(label),
                ifindex: 0,
                expected_attach_type: ATTACH_TYPE_XDP,
            };
            // SAFETY: as `bpf_attr` for BPF_PROG_LOAD begins; code, licence and log live until it returns, and their lengths
            // are true.
            unsafe { bpf(Command::ProgLoad, &mut load) }
        };
        let error = match attempt(&mut []) {
            Ok(fd) => return Ok(Self { fd: owned(fd) }),
            Err(error) => error,
        };
        let mut log = vec![0; LOG_BYTES];
        if attempt(&mut log).is_ok() {
            return Err(Rejected { error, log: "accepted when asked again".into() });
        }
        let text: Vec<u8> = log.into_iter().take_while(|byte| *byte != 0).collect();
        Err(Rejected { error, log: String::from_utf8_lossy(&text).trim_end().into() })
    }

    /// Runs the program `repeat` times over one frame, which the next run sees as the one before left it.
    /// `device` is the one that the frame is said to have come by; the loopback device without it.
    ///
    /// # Errors
    /// The kernel's: `EINVAL` for a frame below 14 octets or above about 3,500.
    pub fn test_run(&self, frame: &[u8], device: Option<u32>, repeat: u32, out: &mut [u8]) -> Result<Ran> {
        let mut context = [0u32; 6];
        context[1] = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        context[3] = device.unwrap_or(0);
        let mut run = TestRun {
            program: number(self.as_fd()),
            in_size: u32::try_from(frame.len()).unwrap_or(u32::MAX),
            out_size: u32::try_from(out.len()).unwrap_or(0),
            in_data: frame.as_ptr() as u64,
            out_data: if out.is_empty() { 0 } else { out.as_mut_ptr() as u64 },
            repeat,
            ..TestRun::default()
        };
        if device.is_some() {
            run.context_in = context.as_ptr() as u64;
            run.context_in_size = size_of_val(&context) as u32;
        }
        // SAFETY: as `bpf_attr` for BPF_PROG_TEST_RUN begins; frame, context and `out` live until it returns, and their
        // lengths are true.
        unsafe { bpf(Command::ProgTestRun, &mut run) }?;
        Ok(Ran { verdict: run.verdict, len: run.out_size as usize, duration: run.duration })
    }

    /// Attaches the program to a device, until the descriptor is closed.
    ///
    /// # Errors
    /// The kernel's: `EOPNOTSUPP`, `EBUSY` where a program is attached, `EINVAL` and others from drivers.
    pub fn attach(&self, ifindex: u32, mode: Mode) -> Result<OwnedFd> {
        let mut create =
            LinkCreate { program: number(self.as_fd()), ifindex, attach_type: ATTACH_TYPE_XDP, flags: mode.flags() };
        // SAFETY: as `bpf_attr` for BPF_LINK_CREATE begins; it has no pointers.
        unsafe { bpf(Command::LinkCreate, &mut create) }.map(owned)
    }

    /// Puts the program in the place of the one that `link` has attached: no frame meets neither.
    ///
    /// # Errors
    /// The kernel's: `ENOLINK` where the device is gone.
    pub fn replace(&self, link: BorrowedFd<'_>) -> Result<()> {
        let mut update = LinkUpdate { link: number(link), program: number(self.as_fd()), flags: 0, old_program: 0 };
        // SAFETY: as `bpf_attr` for BPF_LINK_UPDATE begins; it has no pointers.
        unsafe { bpf(Command::LinkUpdate, &mut update) }.map(drop)
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for Program {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
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
