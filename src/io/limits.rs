//! How many descriptors this process may have: a shard holds two for each pair of media ports.

use std::io::{Error, Result};

/// Present and highest number of descriptors (`RLIMIT_NOFILE`).
///
/// # Errors
/// The kernel's.
pub fn descriptors() -> Result<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer describes a live, writable local.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if result == 0 { Ok((limit.rlim_cur, limit.rlim_max)) } else { Err(Error::last_os_error()) }
}

/// Takes as many as are allowed without a privilege; returns how many that is.
///
/// # Errors
/// The kernel's.
pub fn raise_descriptors() -> Result<u64> {
    let (now, most) = descriptors()?;
    if now >= most {
        return Ok(now);
    }
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: the pointer describes a live local that is only read.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    if result == 0 { Ok(most) } else { Err(Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raising_reaches_the_highest() {
        let (_, most) = descriptors().unwrap();
        assert_eq!(raise_descriptors().unwrap(), most);
        assert_eq!(descriptors().unwrap(), (most, most));
    }
}
