//! The loaded relay: makes the memory, loads the program, attaches it to the devices, and gives each shard its table.
//!
//! Native on each device if its driver has it, else generic with a warning. Links end with the process: when it is dropped, or
//! killed, no frame meets the program any more. With a folder under a BPF file system the links are pinned there: then they
//! outlive a crash (floods stay out), and what is left of the dead process is removed before the next start; its rules have
//! ended by their deadlines. A process that takes over gets all of it instead: see [`succession`](super::succession).

use super::devices::{Device, choose, list};
use super::features::mute;
use super::layout::{Constants, Reason};
use super::memory::Memory;
use super::mirror::Running;
use super::object::Object;
use super::probe::{Host, MTU_ALWAYS_TAKEN, explain_attach, no_xdp};
use super::succession::{Attached, Will};
use super::sys::{Mode, Program, pin};
use super::table::{Commons, ShardTable, Slice, TableOptions};
use super::ticks::Ticks;
use super::{OBJECT, layout};
use crate::base::Unusable;
use crate::base::time::Duration;
use crate::media::path::{PassReason, PathTotals};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Instant;

const PATIENCE: Duration = Duration::from_secs(2);
const PATIENCE_STEP: Duration = Duration::from_millis(10);

/// What the relay is to be.
#[derive(Clone, Debug)]
pub struct XdpOptions {
    /// Where media sockets are bound.
    pub v4: Option<Ipv4Addr>,
    /// The same.
    pub v6: Option<Ipv6Addr>,
    /// Of all shards.
    pub port_min: u16,
    /// The last.
    pub port_max: u16,
    /// By name; empty = those that own the addresses.
    pub devices: Vec<String>,
    /// Rules end so long after the last sweep of their shard.
    pub dead_man: Duration,
    /// A folder of our own under a BPF file system, where links outlive the process.
    pub pin: Option<PathBuf>,
}

impl XdpOptions {
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.v4.map(IpAddr::V4).into_iter().chain(self.v6.map(IpAddr::V6)).collect()
    }

    pub(super) fn constants(&self) -> Constants {
        let v6 = self.v6.unwrap_or(Ipv6Addr::UNSPECIFIED).octets();
        let (mut v6_prefix, mut v6_last) = ([0; 12], [0; 4]);
        v6_prefix.copy_from_slice(&v6[..12]);
        v6_last.copy_from_slice(&v6[12..]);
        let first = u32::from(self.port_min).next_multiple_of(2);
        Constants {
            v4_base: self.v4.map_or(0, Into::into),
            v4_count: self.v4.is_some().into(),
            v6_prefix,
            v6_base: u32::from_be_bytes(v6_last),
            v6_count: self.v6.is_some().into(),
            port_min: u16::try_from(first).unwrap_or(u16::MAX - 1),
            pairs: (u32::from(self.port_max) + 1).saturating_sub(first) / 2,
            cpus: cpus(),
        }
    }
}

/// CPUs that may ever run the program.
fn cpus() -> u32 {
    let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = possible.trim().rsplit(['-', ',']).next().and_then(|last| last.parse::<u32>().ok());
    last.map_or(1024, |last| last + 1)
}

/// Program and memory, attached to nothing yet.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) memory: Arc<Memory>,
    pub(super) program: Program,
    pub(super) ticks: Ticks,
    devices: Vec<Device>,
}

pub(super) fn wanted_devices(options: &XdpOptions) -> Result<Vec<Device>, Unusable> {
    let failed = |error: std::io::Error| {
        no_xdp(format!("devices cannot be listed ({error})"), "allow AF_NETLINK in the unit's RestrictAddressFamilies")
    };
    choose(&list().map_err(failed)?, &options.devices, &options.addresses())
}

pub(super) fn load(options: &XdpOptions) -> Result<Loaded, Unusable> {
    let devices = wanted_devices(options)?;
    let host = Host::read();
    let constants = options.constants();
    let rows = (constants.v4_count + constants.v6_count) as usize * constants.pairs as usize;
    let bytes = rows * size_of::<layout::Row>();
    let memory = Memory::create(constants).map_err(|error| host.explain_memory(&error, bytes))?;
    let object = Object::parse(OBJECT)
        .ok_or_else(|| no_xdp("the program in this binary is broken", "build it again with src/xdp/prog/build"))?;
    let load = |name| memory.load(&object, name).map_err(|rejected| host.explain_program(&rejected));
    let program = load("relay")?;
    let clock = load("clock")?;
    clock
        .test_run(&[0; 64], None, 1, &mut [])
        .map_err(|error| no_xdp(format!("the kernel's tick cannot be read ({error})"), "run Linux 5.15 or newer"))?;
    let ticks = Ticks::new(&memory.moment[0], Ticks::tick());
    Ok(Loaded { memory: Arc::new(memory), program, ticks, devices })
}

/// Opens every pair, so that nothing is dropped before its shard says otherwise, and lets frames leave by these devices.
pub(super) fn open_all(memory: &Memory, indices: &[(u32, u16)]) -> Result<(), Unusable> {
    for row in memory.rows4.iter().chain(memory.rows6.iter()) {
        row.state.store(layout::state::OPEN, Relaxed);
    }
    for (ifindex, index) in indices {
        let map = memory.devices.as_ref();
        let put = map.map(|map| map.update(&u32::from(*index).to_ne_bytes(), &ifindex.to_ne_bytes()));
        if let Some(Err(error)) = put {
            return Err(no_xdp(format!("frames may not leave by a device ({error})"), "report this"));
        }
    }
    Ok(())
}

pub(super) fn not_followed(error: std::io::Error) -> Unusable {
    let reason = format!("neighbours cannot be followed ({error})");
    no_xdp(reason, "allow AF_NETLINK in the unit's RestrictAddressFamilies")
}

/// What attaching would come to, as far as it can be told without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreseen {
    /// The devices' names.
    pub devices: Vec<String>,
    /// What would be worse than it might be, and how it gets better.
    pub warnings: Vec<String>,
}

/// What `strowger check` may say: loads everything, attaches nothing, since a network card stops for a moment when its
/// driver is given a program.
///
/// # Errors
/// The reason and the remedy.
pub fn probe(options: &XdpOptions) -> Result<Foreseen, Unusable> {
    let devices = load(options)?.devices;
    let veths: Vec<Device> = devices.iter().filter(|device| device.kind == "veth").cloned().collect();
    let warnings = devices.iter().filter_map(great_mtu).chain(mute(&veths).map(takes_no_frames)).collect();
    Ok(Foreseen { devices: devices.into_iter().map(|device| device.name).collect(), warnings })
}

fn great_mtu(device: &Device) -> Option<String> {
    (device.mtu > MTU_ALWAYS_TAKEN).then(|| {
        let Device { name, mtu, .. } = device;
        format!("the MTU of {name} is {mtu}: many drivers have native XDP up to {MTU_ALWAYS_TAKEN} only, else generic XDP is used, which is slower")
    })
}

fn takes_no_frames(device: &Device) -> String {
    let name = &device.name;
    let remedy = match device.kind.as_str() {
        "veth" => "give its peer a program or GRO before it is put up (ethtool -K PEER gro on)",
        _ => "use a newer driver",
    };
    format!("generic XDP, since {name} takes no frames from a program: {remedy}")
}

/// The relay in the kernel, while this lives.
#[derive(Debug)]
pub struct Xdp {
    pub(super) memory: Arc<Memory>,
    pub(super) ticks: Ticks,
    pub(super) dead_man: Duration,
    pub(super) running: Running,
    pub(super) warnings: Vec<String>,
    /// Where the links are, in their order.
    pub(super) attached: Vec<Attached>,
    pub(super) pins: Vec<PathBuf>,
    /// For so long a device may be taken by a link that is going.
    pub(super) patience: Duration,
    pub(super) links: Vec<OwnedFd>,
    /// False while another process has it: then nothing is ended here.
    pub(super) is_ours: Arc<AtomicBool>,
    /// What is still to be done once it is ours.
    pub(super) will: Option<Will>,
}

impl Xdp {
    /// Loads and attaches. Every pair is open until its shard says otherwise: nothing is dropped before.
    ///
    /// # Errors
    /// The reason and the remedy; nothing stays attached then.
    pub fn start(options: &XdpOptions) -> Result<Self, Unusable> {
        let Loaded { memory, program, ticks, devices } = load(options)?;
        let indices: Vec<(u32, u16)> = (0..).zip(&devices).map(|(index, device)| (device.ifindex, index)).collect();
        open_all(&memory, &indices)?;
        let running = Running::start(memory.clone(), &indices).map_err(not_followed)?;
        let mut xdp = Self {
            memory,
            ticks,
            dead_man: options.dead_man,
            running,
            warnings: Vec::new(),
            attached: Vec::new(),
            pins: Vec::new(),
            patience: Duration::ZERO,
            links: Vec::new(),
            is_ours: Arc::new(AtomicBool::new(true)),
            will: None,
        };
        if let Some(folder) = &options.pin {
            // What a dead process left; a living one keeps its links, and we hear that its devices are taken.
            let gone = devices.iter().filter(|device| std::fs::remove_file(folder.join(&device.name)).is_ok()).count();
            if gone > 0 {
                xdp.patience = PATIENCE;
            }
        }
        let folder = options.pin.as_deref();
        xdp.attach_all(&program, &devices, folder, Mode::Native)?;
        if xdp.attached.iter().any(|attached| attached.native)
            && let Some(mute) = mute(&devices)
        {
            xdp.patience = PATIENCE;
            xdp.detach();
            xdp.warnings = vec![takes_no_frames(mute)];
            xdp.attach_all(&program, &devices, folder, Mode::Generic)?;
        }
        Ok(xdp)
    }

    /// To each device in the best mode that it has.
    fn attach_all(
        &mut self,
        program: &Program,
        devices: &[Device],
        folder: Option<&Path>,
        best: Mode,
    ) -> Result<(), Unusable> {
        for device in devices {
            let native = self.attach(program, device, folder, best)? == Mode::Native;
            self.attached.push(Attached { name: device.name.clone(), ifindex: device.ifindex, native });
        }
        Ok(())
    }

    /// The kernel lets go of a link that nobody has any more a moment after the last of it is gone.
    fn attach_after_the_dead(&self, program: &Program, device: &Device, mode: Mode) -> std::io::Result<OwnedFd> {
        let until = Instant::now() + self.patience;
        loop {
            match program.attach(device.ifindex, mode) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < until => {
                    std::thread::sleep(PATIENCE_STEP);
                }
                done => return done,
            }
        }
    }

    pub(super) fn detach(&mut self) {
        for path in self.pins.drain(..) {
            let _ = std::fs::remove_file(path);
        }
        self.links.clear();
        self.attached.clear();
    }

    fn attach(
        &mut self,
        program: &Program,
        device: &Device,
        folder: Option<&Path>,
        best: Mode,
    ) -> Result<Mode, Unusable> {
        let pinned_at = folder.map(|folder| folder.join(&device.name));
        let attach = |mode| self.attach_after_the_dead(program, device, mode);
        let explain = |mode, error| explain_attach(&device.name, device.mtu, mode, &error);
        let (mode, link) = match attach(best) {
            Ok(link) => (best, link),
            Err(error) if best == Mode::Generic => return Err(explain(Mode::Generic, error)),
            Err(error) => {
                let native = explain(Mode::Native, error);
                let link = attach(Mode::Generic).map_err(|error| match error.raw_os_error() {
                    Some(libc::EBUSY | libc::EEXIST) => native.clone(),
                    _ => explain(Mode::Generic, error),
                })?;
                self.warnings.push(format!("generic XDP on {}: {}; {}", device.name, native.reason, native.remedy));
                (Mode::Generic, link)
            }
        };
        if let Some(path) = pinned_at {
            pin_link(link.as_fd(), &path)?;
            self.pins.push(path);
        }
        self.links.push(link);
        Ok(mode)
    }

    /// `"xdp"`, or `"xdp-generic"` where one device has it only so.
    #[must_use]
    pub fn name(&self) -> &'static str {
        if self.attached.iter().all(|attached| attached.native) { "xdp" } else { "xdp-generic" }
    }

    /// What is worse than it might be, and how it gets better.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Where it is attached.
    #[must_use]
    pub fn devices(&self) -> Vec<&str> {
        self.attached.iter().map(|attached| attached.name.as_str()).collect()
    }

    /// What the program sees.
    #[must_use]
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// The fast path of one shard.
    #[must_use]
    pub fn shard(&self, slice: Slice) -> ShardTable {
        ShardTable::new(TableOptions {
            name: self.name(),
            memory: self.memory.clone(),
            ways: Arc::new(self.running.mirror()),
            commons: Arc::new(Shared { memory: self.memory.clone(), is_ours: self.is_ours.clone() }),
            ticks: self.ticks,
            dead_man: self.dead_man,
            slice,
        })
    }
}

impl Drop for Xdp {
    fn drop(&mut self) {
        if self.is_ours.load(Acquire) {
            self.detach();
        }
    }
}

pub(super) fn pin_link(link: BorrowedFd<'_>, path: &Path) -> Result<(), Unusable> {
    let made = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| pin(link, path));
    made.map_err(|error| {
        let reason = format!("a link cannot be pinned at {} ({error})", path.display());
        no_xdp(reason, "mount a BPF file system there (mount -t bpf bpf /sys/fs/bpf)")
    })
}

/// The blocklist and the totals.
#[derive(Debug)]
struct Shared {
    memory: Arc<Memory>,
    is_ours: Arc<AtomicBool>,
}

impl Commons for Shared {
    fn block(&self, source: IpAddr, ticks: u64) {
        let mut key = [0; 16];
        match source {
            IpAddr::V4(source) => key = source.to_ipv6_mapped().octets(),
            // A host has a whole /64 to send from.
            IpAddr::V6(source) => key[..8].copy_from_slice(&source.octets()[..8]),
        }
        if let Some(blocked) = &self.memory.blocked {
            // Refused after capabilities were dropped, on old kernels: then the sockets see the source as before.
            let _ = blocked.update(&key, &ticks.to_ne_bytes());
        }
    }

    fn is_ours(&self) -> bool {
        self.is_ours.load(Acquire)
    }

    fn totals(&self) -> PathTotals {
        let count =
            |reason: Reason| self.memory.totals.iter().map(|cpu| cpu.count[reason as usize].load(Relaxed)).sum::<u64>();
        let mut totals =
            PathTotals { closed: count(Reason::Closed), blocked: count(Reason::Blocked), ..PathTotals::default() };
        for reason in Reason::ALL {
            let as_told = match reason {
                Reason::Closed | Reason::Blocked => continue,
                Reason::Open | Reason::Control => PassReason::Open,
                Reason::Expired => PassReason::Expired,
                Reason::Source => PassReason::Source,
                Reason::NotRtp => PassReason::NotRtp,
                Reason::Stream => PassReason::Unexpected,
                Reason::NoHop => PassReason::NoHop,
                Reason::TooBig | Reason::NoRoom => PassReason::TooBig,
                Reason::Unusual => PassReason::Odd,
                Reason::Torn => PassReason::Torn,
            };
            totals.passed[as_told.index()] += count(reason);
        }
        totals
    }
}
