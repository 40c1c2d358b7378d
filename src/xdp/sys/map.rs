//! Maps: memory that programs and processes share through the kernel.

use super::{Command, bpf, name, number, owned};
use std::io::Result;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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
