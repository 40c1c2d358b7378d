//! The machine under the generator: the clock all processes share, limits, and the fingerprint that stands by figures.

use std::fs;

use rustix::process::{Resource, Rlimit, getppid, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use strowger::base::Instant;

/// Now, on the clock that all processes of this boot share.
pub fn now() -> Instant {
    nanos(ClockId::Monotonic)
}

/// Processor time of this process so far, in seconds.
pub fn cpu_seconds() -> f64 {
    nanos(ClockId::ProcessCPUTime).as_nanos() as f64 / 1e9
}

fn nanos(id: ClockId) -> Instant {
    let time = clock_gettime(id);
    Instant::from_nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Names the clock: a hash of the boot.
pub fn clock_domain() -> u32 {
    let boot = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    boot.iter().fold(0x811c_9dc5u32, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Raises the limit of open files to `wanted` where it may; returns the limit in force.
pub fn open_files(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current.unwrap_or(u64::MAX);
    if current >= wanted {
        return current;
    }
    let raised = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }) {
        Ok(()) => raised,
        Err(_) => current,
    }
}

/// `net.core.rmem_max`.
pub fn receive_buffer_max() -> Option<usize> {
    fs::read_to_string("/proc/sys/net/core/rmem_max").ok()?.trim().parse().ok()
}

/// What a figure depends on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Operating system and its version.
    pub kernel: String,
    /// Processor.
    pub cpu: String,
    /// Processors this process may use.
    pub cpus: usize,
    /// It says it runs under a hypervisor.
    pub virtual_machine: bool,
    /// Cost of the cheapest system call, which virtual machines and sandboxes inflate.
    pub getppid_ns: f64,
}

impl Machine {
    /// Looks and measures, for a few milliseconds.
    pub fn fingerprint() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let line = |name| cpuinfo.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
        let uname = rustix::system::uname();
        const ROUNDS: u32 = 20_000;
        let before = now();
        for _ in 0..ROUNDS {
            let _ = std::hint::black_box(getppid());
        }
        let cost = now().since(before).as_nanos() as f64 / f64::from(ROUNDS);
        Self {
            kernel: format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy()),
            cpu: line("model name").map_or_else(String::new, |(_, name)| name.trim().to_string()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            virtual_machine: line("flags").is_some_and(|(_, flags)| flags.contains(" hypervisor")),
            getppid_ns: (cost * 10.0).round() / 10.0,
        }
    }
}
