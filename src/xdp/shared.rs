//! Memory that the program reads and writes too: an array of rows, in a map's value or (for tests of what is written) in
//! ordinary memory.

use super::layout::{Hop, Moment, Row, Totals};
use super::sys::{MMAPABLE, Map, MapOptions, RDONLY_PROG, map_type};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io::{Error, Result};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;

/// Shapes that may lie in shared memory.
///
/// # Safety
/// Only atomics and `repr(C)` arrays of them: any bits are a value, and a shared reference allows every write.
pub unsafe trait Plain: Sync + Send {}

// SAFETY: all fields are atomics; `repr(C)`.
unsafe impl Plain for Row {}
// SAFETY: as above.
unsafe impl Plain for Hop {}
// SAFETY: as above.
unsafe impl Plain for Totals {}
// SAFETY: as above.
unsafe impl Plain for Moment {}

#[derive(Debug)]
enum Backing {
    /// The map's value, this many octets of it mapped. The map lives as long as the mapping.
    Mapped(Map, usize),
    Ordinary(Layout),
}

/// An array of rows.
#[derive(Debug)]
pub struct Shared<T: Plain> {
    first: NonNull<T>,
    len: usize,
    backing: Backing,
}

// SAFETY: it is a slice of `T`s, which are `Sync` and `Send`, with its owner.
unsafe impl<T: Plain> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Plain> Sync for Shared<T> {}

impl<T: Plain> Shared<T> {
    /// A map whose one value is `len` rows, all zero.
    ///
    /// # Errors
    /// The kernel's: `EPERM`, `ENOMEM`, `E2BIG` beyond what one value may hold.
    pub fn create(name: &str, len: usize) -> Result<Self> {
        let value_size = u32::try_from(len.max(1) * size_of::<T>()).map_err(Error::other)?;
        let options =
            MapOptions { name, kind: map_type::ARRAY, key_size: 4, value_size, max_entries: 1, flags: MMAPABLE };
        Self::of(Map::create(&options)?, len)
    }

    /// The value of a map of another process, `len` rows of the same shape.
    ///
    /// # Errors
    /// The kernel's, where the map is smaller.
    pub fn of(map: Map, len: usize) -> Result<Self> {
        let bytes = (len.max(1) * size_of::<T>()).next_multiple_of(page_size());
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let fd = map.as_fd().as_raw_fd();
        // SAFETY: a new mapping at an address that the kernel chooses; the kernel refuses one that is longer than the map.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, libc::MAP_SHARED, fd, 0) };
        if address == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        let first = NonNull::new(address.cast::<T>()).ok_or_else(|| Error::other("mapped at zero"))?;
        Ok(Self { first, len, backing: Backing::Mapped(map, bytes) })
    }

    /// Ordinary memory, which no program sees.
    #[must_use]
    pub fn ordinary(len: usize) -> Self {
        let layout = Layout::array::<T>(len.max(1)).expect("less than the address space");
        // SAFETY: the size is not zero.
        let address = unsafe { alloc_zeroed(layout) };
        let Some(first) = NonNull::new(address.cast::<T>()) else { handle_alloc_error(layout) };
        Self { first, len, backing: Backing::Ordinary(layout) }
    }

    /// The map, where there is one.
    #[must_use]
    pub fn map(&self) -> Option<&Map> {
        match &self.backing {
            Backing::Mapped(map, _) => Some(map),
            Backing::Ordinary(_) => None,
        }
    }
}

impl<T: Plain> Deref for Shared<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `len` rows are mapped or allocated there until drop, aligned (pages, or their layout), and zero or what the
        // kernel wrote: values of `T` either way. Everything in them is atomic, so writes from elsewhere are no matter.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl<T: Plain> Drop for Shared<T> {
    fn drop(&mut self) {
        match &self.backing {
            Backing::Mapped(_, bytes) => {
                // SAFETY: the whole of our own mapping; slices of it have ended with the borrow of `self`.
                unsafe { libc::munmap(self.first.as_ptr().cast(), *bytes) };
            }
            // SAFETY: allocated with this layout, and slices of it have ended with the borrow of `self`.
            Backing::Ordinary(layout) => unsafe { dealloc(self.first.as_ptr().cast(), *layout) },
        }
    }
}

/// A map whose one value never changes again, so that the verifier takes it for numbers.
///
/// # Errors
/// The kernel's.
pub fn constant(name: &str, value: &[u8]) -> Result<Map> {
    let value_size = u32::try_from(value.len()).map_err(Error::other)?;
    let options =
        MapOptions { name, kind: map_type::ARRAY, key_size: 4, value_size, max_entries: 1, flags: RDONLY_PROG };
    let map = Map::create(&options)?;
    map.update(&0u32.to_ne_bytes(), value)?;
    map.freeze()?;
    Ok(map)
}

fn page_size() -> usize {
    // SAFETY: asks for a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn ordinary_memory_is_zero_aligned_and_shared() {
        let rows = Shared::<Row>::ordinary(3);
        assert_eq!((rows.len(), (&raw const rows[2]).addr() % 128), (3, 0));
        std::thread::scope(|scope| {
            let last = scope.spawn(|| rows[2].packets.fetch_add(1, Relaxed));
            assert_eq!(last.join().unwrap(), 0);
        });
        assert_eq!((rows[2].packets.load(Relaxed), rows[0].packets.load(Relaxed)), (1, 0));
        assert!(rows.map().is_none());
        assert!(Shared::<Hop>::ordinary(0).is_empty());
    }
}
