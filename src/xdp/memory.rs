//! Everything that the program names: its arrays and maps, made to the measure of one configuration.

use super::layout::{Constants, HOPS_MAX, Hop, Moment, Row, Totals};
use super::object::{Object, Target};
use super::shared::{Shared, constant};
use super::sys::{Map, MapOptions, Program, Rejected, map_type};
use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Blocked sources at most; the one not seen for longest makes room.
pub const BLOCKED_MAX: u32 = 65_536;
/// Devices at most.
pub const DEVICES_MAX: u32 = 64;

/// What there is, in the order of its descriptors.
pub const NAMES: [&str; 8] = ["rows4", "rows6", "hops", "totals", "moment", "constants", "blocked", "devices"];

/// The arrays and maps of one loaded program.
#[derive(Debug)]
pub struct Memory {
    /// What was fixed when it was made.
    pub constants: Constants,
    /// Pairs of ports of our IPv4 addresses.
    pub rows4: Shared<Row>,
    /// Of our IPv6 addresses.
    pub rows6: Shared<Row>,
    /// Next hops.
    pub hops: Shared<Hop>,
    /// What was not relayed, by CPU.
    pub totals: Shared<Totals>,
    /// The kernel's clocks.
    pub moment: Shared<Moment>,
    numbers: Option<Map>,
    /// Blocked source addresses.
    pub blocked: Option<Map>,
    /// Devices by the index that a hop names.
    pub devices: Option<Map>,
}

impl Memory {
    /// Makes them, all zero: every pair is closed.
    ///
    /// # Errors
    /// The kernel's: `EPERM`, `ENOMEM`.
    pub fn create(constants: Constants) -> Result<Self> {
        let map = |name, kind, key_size, value_size, max_entries| {
            Map::create(&MapOptions { name, kind, key_size, value_size, max_entries, flags: 0 })
        };
        Ok(Self {
            rows4: Shared::create("strowger_rows4", rows(constants.v4_count, constants.pairs))?,
            rows6: Shared::create("strowger_rows6", rows(constants.v6_count, constants.pairs))?,
            hops: Shared::create("strowger_hops", HOPS_MAX)?,
            totals: Shared::create("strowger_totals", constants.cpus as usize)?,
            moment: Shared::create("strowger_moment", 1)?,
            numbers: Some(constant("strowger_numbers", &constants.encode())?),
            blocked: Some(map("strowger_block", map_type::LRU_HASH, 16, 8, BLOCKED_MAX)?),
            devices: Some(map("strowger_device", map_type::DEVMAP, 4, 4, DEVICES_MAX)?),
            constants,
        })
    }

    /// That of another process, by the descriptors that [`descriptors`](Self::descriptors) gave there.
    ///
    /// # Errors
    /// One is missing, or a map is smaller than these constants say.
    pub fn adopt(constants: Constants, descriptors: &mut impl Iterator<Item = OwnedFd>) -> Result<Self> {
        let mut next = || descriptors.next().map(Map::from).ok_or_else(|| Error::other("an array is missing"));
        Ok(Self {
            rows4: Shared::of(next()?, rows(constants.v4_count, constants.pairs))?,
            rows6: Shared::of(next()?, rows(constants.v6_count, constants.pairs))?,
            hops: Shared::of(next()?, HOPS_MAX)?,
            totals: Shared::of(next()?, constants.cpus as usize)?,
            moment: Shared::of(next()?, 1)?,
            numbers: Some(next()?),
            blocked: Some(next()?),
            devices: Some(next()?),
            constants,
        })
    }

    /// Everything, as [`NAMES`] says, for [`adopt`](Self::adopt); nothing of ordinary memory.
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let shared = [self.rows4.map(), self.rows6.map(), self.hops.map(), self.totals.map(), self.moment.map()];
        let maps = [self.numbers.as_ref(), self.blocked.as_ref(), self.devices.as_ref()];
        shared.into_iter().chain(maps).flatten().map(AsFd::as_fd).collect()
    }

    /// The same in ordinary memory, where no program sees it.
    #[must_use]
    pub fn ordinary(constants: Constants) -> Self {
        Self {
            rows4: Shared::ordinary(rows(constants.v4_count, constants.pairs)),
            rows6: Shared::ordinary(rows(constants.v6_count, constants.pairs)),
            hops: Shared::ordinary(HOPS_MAX),
            totals: Shared::ordinary(constants.cpus as usize),
            moment: Shared::ordinary(1),
            numbers: None,
            blocked: None,
            devices: None,
            constants,
        }
    }

    /// Loads one of the object's programs upon this memory.
    ///
    /// # Errors
    /// The kernel's, with the verifier's words.
    pub fn load(&self, object: &Object<'_>, program: &str) -> std::result::Result<Program, Rejected> {
        let map = |map: Option<&Map>| map.map(|map| map.as_fd().as_raw_fd());
        let resolve = |name: &str| match name {
            "rows4" => map(self.rows4.map()).map(Target::Value),
            "rows6" => map(self.rows6.map()).map(Target::Value),
            "hops" => map(self.hops.map()).map(Target::Value),
            "totals" => map(self.totals.map()).map(Target::Value),
            "moment" => map(self.moment.map()).map(Target::Value),
            "constants" => map(self.numbers.as_ref()).map(Target::Value),
            "blocked" => map(self.blocked.as_ref()).map(Target::Map),
            "devices" => map(self.devices.as_ref()).map(Target::Map),
            _ => None,
        };
        let linked = object.link(program, &resolve);
        let code = linked.map_err(|log| Rejected { error: Error::other("the object is broken"), log })?;
        Program::load(program, &code, object.license())
    }

    /// The rows of one family.
    #[must_use]
    pub fn rows(&self, v6: bool) -> &[Row] {
        if v6 { &self.rows6 } else { &self.rows4 }
    }
}

fn rows(addresses: u32, pairs: u32) -> usize {
    addresses as usize * pairs as usize
}
