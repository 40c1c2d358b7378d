//! Programs: loaded through the verifier, run for a test, attached to devices by links.

use super::{Command, bpf, name, number, owned};
use std::ffi::CString;
use std::io::{Error, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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
