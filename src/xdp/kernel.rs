//! The loaded relay: attached to the devices, with a table for each shard.
//!
//! Native on each device if its driver has it, else generic with a warning. Links end with the process: when it is dropped, or
//! killed, no frame meets the program any more. With a folder under a BPF file system the links are pinned there: then they
//! outlive a crash (floods stay out), and what is left of the dead process is removed before the next start; its rules have
//! ended by their deadlines. A process that takes over gets all of it instead: see `succession`.

use super::commons::Shared;
use super::devices::Device;
use super::features::mute;
use super::links::{Attached, Will, pin_link};
use super::load::{Loaded, load, not_followed, open_all, shows_no_tags, takes_no_frames};
use super::memory::Memory;
use super::mirror::Running;
use super::options::XdpOptions;
use super::probe::explain_attach;
use super::sys::{Mode, Program};
use super::table::{ShardTable, Slice, TableOptions, name};
use super::ticks::Ticks;
use crate::base::Unusable;
use crate::base::time::Duration;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Acquire;
use std::time::Instant;

const PATIENCE: Duration = Duration::from_secs(2);
const PATIENCE_STEP: Duration = Duration::from_millis(10);

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
            xdp.warnings.push(takes_no_frames(mute));
            xdp.attach_all(&program, &devices, folder, Mode::Generic)?;
        }
        let generic = xdp.without_tags();
        xdp.warnings.extend(shows_no_tags(&generic));
        Ok(xdp)
    }

    /// Sees to it that nobody behind a VLAN is relayed where the program is not shown tags; those devices.
    pub(super) fn without_tags(&self) -> Vec<u32> {
        let generic: Vec<u32> = self.attached.iter().filter(|at| !at.native).map(|at| at.ifindex).collect();
        self.running.without_tags(generic.iter().copied());
        generic
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
        name(self.is_native())
    }

    fn is_native(&self) -> bool {
        self.attached.iter().all(|attached| attached.native)
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
            native: self.is_native(),
            memory: self.memory.clone(),
            ways: Arc::new(self.running.mirror()),
            commons: Arc::new(Shared::new(self.memory.clone(), self.is_ours.clone())),
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
