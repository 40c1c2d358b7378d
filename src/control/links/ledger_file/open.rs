//! Opening a ledger: one process only, what was never acknowledged cut off, and one more start written down before
//! anything is sent.

use super::at_rest::Position;
use super::storage::{Disk, Storage};
use super::writer::Appender;
use crate::tally::ledger::{self, LedgerError, Replay};
use crate::tally::{Identity, Record};
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file's name in the data folder.
pub const FILE_NAME: &str = "ledger";
const LOCK_NAME: &str = "ledger.lock";

/// A ledger that is ours.
#[derive(Debug)]
pub struct Opened {
    /// Who we are: `incarnation` is on disk.
    pub identity: Identity,
    /// Everything that it says, this start included.
    pub records: Vec<Record>,
    /// It was made just now: there was none.
    pub created: bool,
    /// Octets of an unfinished write that were cut off.
    pub cut_bytes: u64,
    /// What to give to [`super::start`].
    pub file: LedgerFile,
}

/// The file, and the lock on it as long as this lives.
#[derive(Debug)]
pub struct LedgerFile {
    pub(super) appender: Appender<Disk>,
    pub(super) lock: File,
    pub(super) from: Position,
}

/// Why there is no ledger.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it.
    InUse(PathBuf),
    /// It belongs to a node of another name.
    OtherNode {
        /// Where.
        path: PathBuf,
        /// Whose.
        name: String,
    },
    /// It must not be used as it is.
    Unusable(PathBuf, LedgerError),
    /// The disk refuses.
    Io(PathBuf, io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => write!(f, "{}: another process has this ledger open", path.display()),
            Self::OtherNode { path, name } => write!(
                f,
                "{}: this ledger belongs to the node \"{name}\"; set node.name back, or node.data_dir to a folder of its own",
                path.display()
            ),
            Self::Unusable(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {}

/// Opens the ledger in `folder`, or makes one with the random `disk` number; writes this start to it.
///
/// # Errors
/// See [`OpenError`]; nothing may be sent to another site then.
pub fn open(folder: &Path, name: &str, disk: u128) -> Result<Opened, OpenError> {
    let path = folder.join(FILE_NAME);
    let failed = |error| OpenError::Io(path.clone(), error);
    let lock = take_lock(folder)?;
    let (octets, created) = match std::fs::read(&path) {
        Ok(octets) => (octets, false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let record = Record::Disk { name: name.into(), disk };
            let octets = ledger::new_file(&[record]).map_err(|error| failed(io::Error::other(error)))?;
            Disk::create(&path, &octets).map_err(failed)?;
            (octets, true)
        }
        Err(error) => return Err(failed(error)),
    };
    let replay = ledger::replay(&octets).map_err(|error| OpenError::Unusable(path.clone(), error))?;
    let mut identity = identity(&path, &replay)?;
    if *identity.name != *name {
        return Err(OpenError::OtherNode { path: path.clone(), name: identity.name.to_string() });
    }
    let mut storage = Disk::open(&path).map_err(failed)?;
    if replay.cut_bytes > 0 {
        storage.truncate(replay.good_bytes).and_then(|()| storage.sync()).map_err(failed)?;
    }
    let next = identity.incarnation.checked_add(1);
    identity.incarnation = next.ok_or_else(|| failed(io::Error::other("no start is left in it")))?;
    let Replay { mut records, good_bytes, cut_bytes, next_batch } = replay;
    let mut appender = Appender::new(storage, good_bytes, next_batch);
    let start = Record::Incarnation(identity.incarnation);
    appender.commit(std::slice::from_ref(&start)).map_err(failed)?;
    records.push(start);
    Ok(Opened { identity, records, created, cut_bytes, file: LedgerFile { appender, lock, from: Position::default() } })
}

/// Whose ledger it is, and its last start.
fn identity(path: &Path, replay: &Replay) -> Result<Identity, OpenError> {
    let Some(Record::Disk { name, disk }) = replay.records.first() else {
        return Err(OpenError::Unusable(path.to_owned(), LedgerError::NotALedger));
    };
    let starts = replay.records.iter().filter_map(|record| match record {
        Record::Incarnation(incarnation) => Some(*incarnation),
        _ => None,
    });
    Ok(Identity { name: name.clone(), disk: *disk, incarnation: starts.max().unwrap_or(0) })
}

fn take_lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join(LOCK_NAME);
    let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = opened.map_err(|error| OpenError::Io(path.clone(), error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path)),
        Err(TryLockError::Error(error)) => Err(OpenError::Io(path, error)),
    }
}
