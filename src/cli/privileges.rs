//! The process's capabilities: it gives them away as soon as it has what it needed them for.
//!
//! Capabilities belong to threads, and a new thread inherits those of the one that made it. So the first step comes before
//! any thread is made, the second when the sockets are open. A [`Starter`] is made before both: the program that takes over
//! in place is started with what this one was started with.

use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};

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

/// A thread that gives nothing away and does nothing but start a program.
#[derive(Debug)]
pub struct Starter {
    commands: Sender<Command>,
    children: Receiver<std::io::Result<Child>>,
}

impl Starter {
    /// To be called first of all.
    ///
    /// # Errors
    /// No thread can be made.
    pub fn new() -> std::io::Result<Self> {
        let ((commands, asked), (tell, children)) = (channel::<Command>(), channel());
        std::thread::Builder::new().name("starter".into()).spawn(move || {
            while let Ok(mut command) = asked.recv() {
                if tell.send(command.spawn()).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { commands, children })
    }

    /// Starts it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn start(&self, command: Command) -> std::io::Result<Child> {
        let gone = || std::io::Error::other("the thread that starts programs died");
        self.commands.send(command).map_err(|_| gone())?;
        self.children.recv().map_err(|_| gone())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_started_with_what_was_there_before_it_was_given_away() {
        let before = capabilities(None).expect("capget").permitted;
        std::thread::spawn(move || {
            let starter = Starter::new().expect("a thread");
            keep_none();
            let mut command = Command::new("grep");
            command.args(["CapPrm", "/proc/self/status"]).stdout(std::process::Stdio::piped());
            let output = starter.start(command).expect("grep").wait_with_output().expect("its words");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let bits = u64::from_str_radix(text.trim_start_matches("CapPrm:").trim(), 16).expect("hexadecimal");
            // Without root or ambient capabilities a program gets none, whoever starts it.
            assert_eq!(bits, if geteuid().is_root() { before.bits() } else { 0 }, "{text}");
        })
        .join()
        .expect("no panic");
    }

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
