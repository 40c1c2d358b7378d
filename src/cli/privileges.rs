//! The process's capabilities: it gives them away as soon as it has what it needed them for.
//!
//! Capabilities belong to threads, and a new thread inherits those of the one that made it. So the first step comes before
//! any thread is made, the second when the sockets are open.

use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// Gives away everything but what opening sockets and files still takes: after the fast path is attached.
pub fn keep_for_sockets() {
    keep(CapabilitySet::NET_BIND_SERVICE | files());
}

/// Gives away the rest.
pub fn keep_none() {
    keep(files());
}

/// Root without this cannot read a file of another user, such as the appliance's own data.
fn files() -> CapabilitySet {
    if geteuid().is_root() { CapabilitySet::DAC_OVERRIDE } else { CapabilitySet::empty() }
}

/// Leaves this thread, and those that it makes from now on, at most these.
fn keep(wanted: CapabilitySet) {
    let Ok(have) = capabilities(None) else { return };
    let left = CapabilitySets {
        effective: have.effective & wanted,
        permitted: have.permitted & wanted,
        inheritable: CapabilitySet::empty(),
    };
    if left.permitted != have.permitted
        && let Err(error) = set_capabilities(None, left)
    {
        tracing::warn!(%error, "capabilities could not be given away");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_away_stays_away_from_this_thread_and_those_it_makes() {
        std::thread::spawn(|| {
            keep_for_sockets();
            keep_none();
            let mine = || capabilities(None).expect("capget").permitted;
            assert!((mine() - files()).is_empty(), "{:?}", mine());
            let of_child = std::thread::spawn(mine).join().expect("no panic");
            assert_eq!(of_child, mine());
        })
        .join()
        .expect("no panic");
    }
}
