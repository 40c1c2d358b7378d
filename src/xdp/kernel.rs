//! The loaded relay: makes the memory, loads the program, attaches it to the devices, and gives each shard its table.
//!
//! Native on each device if its driver has it, else generic with a warning. Links end with the process: when it is dropped, or
//! killed, no frame meets the program any more. With a folder under a BPF file system the links are pinned there: then they
//! outlive a crash (floods stay out), and what is left of the dead process is removed before the next start; its rules have
//! ended by their deadlines.

use super::devices::{Device, choose, list};
use super::features::mute;
use super::layout::{Constants, Reason};
use super::memory::Memory;
use super::mirror::Running;
use super::object::Object;
use super::probe::{Host, MTU_ALWAYS_TAKEN, Unusable, explain_attach};
use super::sys::{Mode, Program, pin};
use super::table::{Commons, ShardTable, Slice, TableOptions};
use super::ticks::Ticks;
use super::{OBJECT, layout};
use crate::base::time::Duration;
use crate::media::path::{PassReason, PathTotals};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
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
    fn addresses(&self) -> Vec<IpAddr> {
        self.v4.map(IpAddr::V4).into_iter().chain(self.v6.map(IpAddr::V6)).collect()
    }

    fn constants(&self) -> Constants {
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
struct Loaded {
    memory: Arc<Memory>,
    program: Program,
    ticks: Ticks,
    devices: Vec<Device>,
}

fn load(options: &XdpOptions) -> Result<Loaded, Unusable> {
    let failed = |error: std::io::Error| {
        Unusable::new(
            format!("devices cannot be listed ({error})"),
            "allow AF_NETLINK in the unit's RestrictAddressFamilies",
        )
    };
    let devices = choose(&list().map_err(failed)?, &options.devices, &options.addresses())?;
    let host = Host::read();
    let constants = options.constants();
    let rows = (constants.v4_count + constants.v6_count) as usize * constants.pairs as usize;
    let bytes = rows * size_of::<layout::Row>();
    let memory = Memory::create(constants).map_err(|error| host.explain_memory(&error, bytes))?;
    let object = Object::parse(OBJECT).ok_or_else(|| {
        Unusable::new("the program in this binary is broken", "build it again with src/xdp/prog/build")
    })?;
    let load = |name| memory.load(&object, name).map_err(|rejected| host.explain_program(&rejected));
    let program = load("relay")?;
    let clock = load("clock")?;
    clock.test_run(&[0; 64], None, 1, &mut []).map_err(|error| {
        Unusable::new(format!("the kernel's tick cannot be read ({error})"), "run Linux 5.15 or newer")
    })?;
    let ticks = Ticks::new(&memory.moment[0], Ticks::tick());
    Ok(Loaded { memory: Arc::new(memory), program, ticks, devices })
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
    memory: Arc<Memory>,
    ticks: Ticks,
    dead_man: Duration,
    running: Running,
    mode: Mode,
    warnings: Vec<String>,
    devices: Vec<String>,
    pins: Vec<PathBuf>,
    /// For so long a device may be taken by a link that is going.
    patience: Duration,
    _links: Vec<OwnedFd>,
    _program: Program,
}

impl Xdp {
    /// Loads and attaches. Every pair is open until its shard says otherwise: nothing is dropped before.
    ///
    /// # Errors
    /// The reason and the remedy; nothing stays attached then.
    pub fn start(options: &XdpOptions) -> Result<Self, Unusable> {
        let Loaded { memory, program, ticks, devices } = load(options)?;
        for row in memory.rows4.iter().chain(memory.rows6.iter()) {
            row.state.store(layout::state::OPEN, Relaxed);
        }
        let indices: Vec<(u32, u16)> = (0..).zip(&devices).map(|(index, device)| (device.ifindex, index)).collect();
        for (ifindex, index) in &indices {
            let map = memory.devices.as_ref();
            let put = map.map(|map| map.update(&u32::from(*index).to_ne_bytes(), &ifindex.to_ne_bytes()));
            if let Some(Err(error)) = put {
                return Err(Unusable::new(format!("frames may not leave by a device ({error})"), "report this"));
            }
        }
        let failed = |error: std::io::Error| {
            let reason = format!("neighbours cannot be followed ({error})");
            Unusable::new(reason, "allow AF_NETLINK in the unit's RestrictAddressFamilies")
        };
        let running = Running::start(memory.clone(), &indices).map_err(failed)?;
        let mut xdp = Self {
            memory,
            ticks,
            dead_man: options.dead_man,
            running,
            mode: Mode::Native,
            warnings: Vec::new(),
            devices: devices.iter().map(|device| device.name.clone()).collect(),
            pins: Vec::new(),
            patience: Duration::ZERO,
            _links: Vec::new(),
            _program: program,
        };
        if let Some(folder) = &options.pin {
            // What a dead process left; a living one keeps its links, and we hear that its devices are taken.
            let gone = devices.iter().filter(|device| std::fs::remove_file(folder.join(&device.name)).is_ok()).count();
            if gone > 0 {
                xdp.patience = PATIENCE;
            }
        }
        let is_any_native = xdp.attach_all(&devices, options.pin.as_deref(), Mode::Native)?;
        if is_any_native && let Some(mute) = mute(&devices) {
            xdp.patience = PATIENCE;
            xdp.detach();
            xdp.warnings = vec![takes_no_frames(mute)];
            xdp.attach_all(&devices, options.pin.as_deref(), Mode::Generic)?;
        }
        Ok(xdp)
    }

    /// To each device in the best mode that it has; true where one is native.
    fn attach_all(&mut self, devices: &[Device], folder: Option<&Path>, best: Mode) -> Result<bool, Unusable> {
        self.mode = best;
        let mut is_any_native = false;
        for device in devices {
            match self.attach(device, folder, best)? {
                Mode::Native => is_any_native = true,
                Mode::Generic => self.mode = Mode::Generic,
            }
        }
        Ok(is_any_native)
    }

    /// The kernel lets go of a link that nobody has any more a moment after the last of it is gone.
    fn attach_after_the_dead(&self, device: &Device, mode: Mode) -> std::io::Result<OwnedFd> {
        let until = Instant::now() + self.patience;
        loop {
            match self._program.attach(device.ifindex, mode) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < until => {
                    std::thread::sleep(PATIENCE_STEP);
                }
                done => return done,
            }
        }
    }

    fn detach(&mut self) {
        for path in self.pins.drain(..) {
            let _ = std::fs::remove_file(path);
        }
        self._links.clear();
    }

    fn attach(&mut self, device: &Device, folder: Option<&Path>, best: Mode) -> Result<Mode, Unusable> {
        let pinned_at = folder.map(|folder| folder.join(&device.name));
        let attach = |mode| self.attach_after_the_dead(device, mode);
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
            let made = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| pin(link.as_fd(), &path));
            made.map_err(|error| {
                let reason = format!("{} cannot be pinned at {} ({error})", device.name, path.display());
                Unusable::new(reason, "mount a BPF file system there (mount -t bpf bpf /sys/fs/bpf)")
            })?;
            self.pins.push(path);
        }
        self._links.push(link);
        Ok(mode)
    }

    /// `"xdp"`, or `"xdp-generic"` where one device has it only so.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.mode {
            Mode::Native => "xdp",
            Mode::Generic => "xdp-generic",
        }
    }

    /// What is worse than it might be, and how it gets better.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Where it is attached.
    #[must_use]
    pub fn devices(&self) -> &[String] {
        &self.devices
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
            commons: Arc::new(Shared { memory: self.memory.clone() }),
            ticks: self.ticks,
            dead_man: self.dead_man,
            slice,
        })
    }
}

impl Drop for Xdp {
    fn drop(&mut self) {
        self.detach();
    }
}

/// The blocklist and the totals.
#[derive(Debug)]
struct Shared {
    memory: Arc<Memory>,
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
