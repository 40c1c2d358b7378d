//! The relay in the kernel changes its process: program, arrays and links stay where they are, and a new process goes on with
//! them by their descriptors.
//!
//! Owned by the hand-over. The old process tells its [`Inventory`] and gives the descriptors; the new one looks what they are
//! worth to it ([`Fit`]):
//!
//! * **The same program, addresses, ports and devices.** The arrays are mapped and rules stay in: media goes on in the kernel
//!   while both processes stand still, and the counters in the rows are read on from where the old one had read them. The hop
//!   table rests meanwhile: rules name its rows by number, so the new process takes their neighbours along, row by row.
//! * **Another program or other numbers in it, on the same devices.** It is loaded beside the old one with arrays of its own,
//!   the old process takes all streams up, and once the word has been given each link gets the new program in the place of
//!   the old one: no device is without, and no driver is set up anew.
//! * **Other devices.** Nothing is taken on.
//!
//! Until the word nothing may be changed here that the old process would miss, and whatever ends with this process must leave
//! no trace: so [`Xdp`] is not ours before [`settle`](Xdp::settle), and not any more after [`give_away`](Xdp::give_away).

use super::OBJECT;
use super::hops::Neighbour;
use super::kernel::Xdp;
use super::layout::Constants;
use super::links::{Attached, Will, will};
use super::load::{Loaded, load, not_followed, open_all, wanted_devices};
use super::memory::{Memory, NAMES};
use super::mirror::Running;
use super::options::XdpOptions;
use super::probe::{Host, no_xdp};
use super::ticks::Ticks;
use crate::base::Unusable;
use crate::base::time::Duration;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Release;

/// What a loaded relay says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Which program: the hash of its object.
    pub program: String,
    /// What was fixed when it was loaded.
    pub constants: Constants,
    /// The arrays and maps, by their names in the program; their descriptors come first.
    pub arrays: Vec<String>,
    /// Where it is attached.
    pub devices: Vec<Attached>,
    /// Where its links are pinned.
    pub pins: Vec<PathBuf>,
}

/// What a process that goes leaves to the next.
#[derive(Debug)]
pub struct Left {
    /// What it is.
    pub inventory: Inventory,
    /// Of [`Xdp::descriptors`].
    pub descriptors: Vec<OwnedFd>,
}

/// What it is worth to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Rules stay in.
    Same,
    /// Its links get our program.
    OtherProgram,
    /// It cannot be taken on: why, in words.
    OtherDevices(String),
}

fn program() -> String {
    Sha256::digest(OBJECT).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Inventory {
    /// Whether a process with these options may go on with it.
    ///
    /// # Errors
    /// There is nothing that these options could be attached to.
    pub fn fit(&self, options: &XdpOptions) -> Result<Fit, Unusable> {
        let wanted: BTreeSet<_> =
            wanted_devices(options)?.into_iter().map(|device| (device.ifindex, device.name)).collect();
        Ok(self.compare(&program(), &options.constants(), &wanted))
    }

    fn compare(&self, program: &str, constants: &Constants, wanted: &BTreeSet<(u32, String)>) -> Fit {
        let have: BTreeSet<_> = self.devices.iter().map(|device| (device.ifindex, device.name.clone())).collect();
        if have != *wanted {
            let names = |devices: &BTreeSet<(u32, String)>| {
                devices.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(", ")
            };
            return Fit::OtherDevices(format!(
                "the running process relays on {}, the new one would on {}",
                names(&have),
                names(wanted)
            ));
        }
        let same = self.program == program && self.constants == *constants && self.arrays == NAMES;
        if same { Fit::Same } else { Fit::OtherProgram }
    }
}

impl Xdp {
    /// What another process is told.
    #[must_use]
    pub fn inventory(&self) -> Inventory {
        Inventory {
            program: program(),
            constants: self.memory.constants,
            arrays: NAMES.map(str::to_owned).to_vec(),
            devices: self.attached.clone(),
            pins: self.pins.clone(),
        }
    }

    /// The arrays and maps, then the links.
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.memory.descriptors().into_iter().chain(self.links.iter().map(AsFd::as_fd)).collect()
    }

    /// While all shards stand still: whose the rows of the hop table are. They stay so until [`go_on`](Self::go_on).
    #[must_use]
    pub fn rest(&self) -> Vec<Neighbour> {
        self.running.rest()
    }

    /// Nothing was given away.
    pub fn go_on(&self) {
        self.running.wake();
    }

    /// Another process has it: nothing of it ends with this one any more.
    pub fn give_away(&self) {
        self.is_ours.store(false, Release);
    }

    /// Goes on with what another process leaves, once it is [ours](Self::settle).
    ///
    /// # Errors
    /// The reason and the remedy; the other process misses nothing then.
    pub fn inherit(options: &XdpOptions, left: Left, fit: &Fit) -> Result<Self, Unusable> {
        let Left { inventory, descriptors } = left;
        if descriptors.len() != inventory.arrays.len() + inventory.devices.len() {
            return Err(no_xdp("the running process has sent other descriptors than it says", "drain and restart"));
        }
        let mut arrays = descriptors;
        let links = arrays.split_off(inventory.arrays.len());
        let indices: Vec<(u32, u16)> = (0..).zip(&inventory.devices).map(|(at, device)| (device.ifindex, at)).collect();
        let (memory, ticks, running, program) = if *fit == Fit::Same {
            let failed = |error: std::io::Error| {
                let reason = format!("the arrays of the running process cannot be used ({error})");
                no_xdp(reason, "drain and restart")
            };
            let memory = Memory::adopt(inventory.constants, &mut arrays.into_iter()).map_err(failed)?;
            let memory = Arc::new(memory);
            let running = Running::start_resting(memory.clone(), &indices).map_err(not_followed)?;
            let ticks = Ticks::new(&memory.moment[0], Ticks::tick());
            (memory, ticks, running, None)
        } else {
            let Loaded { memory, program, ticks, .. } = load(options)?;
            open_all(&memory, &indices)?;
            let running = Running::start(memory.clone(), &indices).map_err(not_followed)?;
            (memory, ticks, running, Some(program))
        };
        let pins: Vec<PathBuf> = match &options.pin {
            Some(folder) => inventory.devices.iter().map(|device| folder.join(&device.name)).collect(),
            None => Vec::new(),
        };
        let will = will(program, &links, &inventory.pins, &pins)
            .map_err(|error| no_xdp(format!("nobody can take it on ({error})"), "raise LimitNOFILE= or TasksMax="))?;
        let mut warnings = Vec::new();
        if !Host::read().may_freshen() {
            warnings.push(
                "without CAP_NET_ADMIN neighbours are not kept fresh: streams come up to the sockets whenever one goes stale; \
                 start this process with the capabilities of an ordinary start"
                    .to_owned(),
            );
        }
        let heir = Self {
            memory,
            ticks,
            dead_man: options.dead_man,
            running,
            warnings,
            attached: inventory.devices,
            pins,
            patience: Duration::ZERO,
            links,
            is_ours: Arc::new(AtomicBool::new(false)),
            will,
        };
        heir.without_tags();
        Ok(heir)
    }

    /// Whose the rows of the hop table are, as the process before left it.
    pub fn take_rows(&self, neighbours: Vec<Neighbour>) {
        self.running.take_rows(neighbours);
    }

    /// The word has been given: it is ours.
    ///
    /// # Errors
    /// Why its links could not be made ours; nothing is attached any more then.
    pub fn settle(&mut self) -> Result<(), String> {
        self.is_ours.store(true, Release);
        self.running.wake();
        self.will.take().map_or(Ok(()), Will::carry_out).inspect_err(|_| self.detach())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory() -> Inventory {
        let attached = |name: &str, ifindex| Attached { name: name.to_owned(), ifindex, native: true };
        Inventory {
            program: "p".to_owned(),
            constants: Constants { pairs: 7, ..Constants::default() },
            arrays: NAMES.map(str::to_owned).to_vec(),
            devices: vec![attached("b", 4), attached("a", 3)],
            pins: vec!["/sys/fs/bpf/x/b".into()],
        }
    }

    #[test]
    fn rules_stay_only_where_program_numbers_and_devices_are_the_same() {
        let inventory = inventory();
        let devices = |list: &[(u32, &str)]| list.iter().map(|(index, name)| (*index, (*name).to_owned())).collect();
        let both = devices(&[(3, "a"), (4, "b")]);
        let numbers = inventory.constants;
        assert_eq!(inventory.compare("p", &numbers, &both), Fit::Same);
        assert_eq!(inventory.compare("q", &numbers, &both), Fit::OtherProgram);
        assert_eq!(inventory.compare("p", &Constants { pairs: 8, ..numbers }, &both), Fit::OtherProgram);
        let fewer = Inventory { arrays: vec!["rows4".to_owned()], ..inventory.clone() };
        assert_eq!(fewer.compare("p", &numbers, &both), Fit::OtherProgram);
        for other in [devices(&[(3, "a")]), devices(&[(3, "a"), (5, "b")])] {
            assert!(matches!(inventory.compare("p", &numbers, &other), Fit::OtherDevices(_)), "{other:?}");
        }
        let Fit::OtherDevices(why) = inventory.compare("p", &numbers, &devices(&[(3, "a")])) else { unreachable!() };
        assert_eq!(why, "the running process relays on a, b, the new one would on a");
    }

    #[test]
    fn an_inventory_goes_over_the_wire_as_it_is() {
        let text = serde_json::to_string(&inventory()).unwrap();
        assert_eq!(serde_json::from_str::<Inventory>(&text).unwrap(), inventory());
        assert_eq!(program().len(), 64);
    }
}
