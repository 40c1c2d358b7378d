//! Links: the program's places at the devices. Where they are pinned, and how they change when they change their process.

use super::probe::no_xdp;
use super::sys::{Program, pin};
use crate::base::Unusable;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

/// A device with our program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Its name.
    pub name: String,
    /// Its number; also the order of the map of devices is that of this list.
    pub ifindex: u32,
    /// In its driver.
    pub native: bool,
}

pub(super) fn pin_link(link: BorrowedFd<'_>, path: &Path) -> Result<(), Unusable> {
    let made = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| pin(link, path));
    made.map_err(|error| {
        let reason = format!("a link cannot be pinned at {} ({error})", path.display());
        no_xdp(reason, "mount a BPF file system there (mount -t bpf bpf /sys/fs/bpf)")
    })
}

/// What is still to be done to links that another process leaves to us, once they are ours. Done by a thread that was made
/// while there were capabilities: they are given away before the word comes.
#[derive(Debug)]
pub(super) struct Will {
    begin: Sender<()>,
    done: Receiver<Result<(), String>>,
}

impl Will {
    /// Has it done, and waits for it.
    pub(super) fn carry_out(self) -> Result<(), String> {
        let _ = self.begin.send(());
        self.done.recv().unwrap_or_else(|_| Err("the thread that does it died".to_owned()))
    }
}

struct Switch {
    /// Instead of the one that the links have.
    program: Option<Program>,
    links: Vec<OwnedFd>,
    unpin: Vec<PathBuf>,
    pin: Vec<PathBuf>,
}

impl Switch {
    fn run(self) -> Result<(), String> {
        for (link, program) in self.links.iter().filter_map(|link| Some((link, self.program.as_ref()?))) {
            program.replace(link.as_fd()).map_err(|error| format!("a link does not take the new program ({error})"))?;
        }
        for path in &self.unpin {
            let _ = std::fs::remove_file(path);
        }
        for (link, path) in self.links.iter().zip(&self.pin) {
            // What a dead process left there.
            let _ = std::fs::remove_file(path);
            pin_link(link.as_fd(), path).map_err(|why| why.reason)?;
        }
        Ok(())
    }

    fn wait(self) -> std::io::Result<Will> {
        let ((begin, begun), (tell, done)) = (channel(), channel());
        std::thread::Builder::new().name("xdp-heir".into()).spawn(move || {
            if begun.recv().is_ok() {
                let _ = tell.send(self.run());
            }
        })?;
        Ok(Will { begin, done })
    }
}

/// For links that a process leaves which has pinned them at `old_pins`; nothing where all stays as it is.
pub(super) fn will(
    program: Option<Program>,
    links: &[OwnedFd],
    old_pins: &[PathBuf],
    pins: &[PathBuf],
) -> std::io::Result<Option<Will>> {
    let (stay, go) = (old_pins == pins, old_pins != pins);
    if program.is_none() && stay {
        return Ok(None);
    }
    let links = links.iter().map(OwnedFd::try_clone).collect::<std::io::Result<_>>()?;
    let of = |paths: &[PathBuf]| if go { paths.to_vec() } else { Vec::new() };
    Switch { program, links, unpin: of(old_pins), pin: of(pins) }.wait().map(Some)
}
