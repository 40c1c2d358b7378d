//! The file itself: appended to, synced, cut, replaced. Behind a trait, so that tests can let it fail.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where batches go.
pub trait Storage: Send + 'static {
    /// Adds octets at the end; in case of an error some of them may be there.
    ///
    /// # Errors
    /// The disk's.
    fn append(&mut self, octets: &[u8]) -> io::Result<()>;
    /// Everything that was appended is on disk.
    ///
    /// # Errors
    /// The disk's. What was appended since the last success may or may not be there, and must be written again.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts what is behind `bytes`.
    ///
    /// # Errors
    /// The disk's.
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;
    /// Puts `octets` in the place of everything; all or nothing, and on disk only after the next [`Self::sync`].
    ///
    /// # Errors
    /// The disk's; then everything is as it was.
    fn replace(&mut self, octets: &[u8]) -> io::Result<()>;
    /// The open file, for another process.
    ///
    /// # Errors
    /// There is none.
    fn descriptor(&self) -> io::Result<OwnedFd> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A real file.
#[derive(Debug)]
pub struct Disk {
    file: File,
    path: PathBuf,
    /// The folder may still name the file that was replaced.
    folder_pending: bool,
}

impl Disk {
    /// Opens the file that is there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).open(path)?;
        Ok(Self { file, path: path.to_owned(), folder_pending: true })
    }

    /// The file that another process had open for appending. Its folder may not have been synced.
    pub(super) fn adopt(path: &Path, file: File) -> Self {
        Self { file, path: path.to_owned(), folder_pending: true }
    }

    /// Makes a file with these octets, on disk under its name when this returns.
    pub(super) fn create(path: &Path, octets: &[u8]) -> io::Result<Self> {
        let file = put_in_place(path, octets)?;
        let mut disk = Self { file, path: path.to_owned(), folder_pending: true };
        disk.sync()?;
        Ok(disk)
    }
}

impl Storage for Disk {
    fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        self.file.write_all(octets)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.folder_pending {
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
            self.folder_pending = false;
        }
        self.file.sync_data()
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn replace(&mut self, octets: &[u8]) -> io::Result<()> {
        self.file = put_in_place(&self.path, octets)?;
        self.folder_pending = true;
        Ok(())
    }

    fn descriptor(&self) -> io::Result<OwnedFd> {
        self.file.try_clone().map(OwnedFd::from)
    }
}

/// A new file beside the old one, on disk as a whole before it takes the name.
fn put_in_place(path: &Path, octets: &[u8]) -> io::Result<File> {
    let new = path.with_extension("new");
    let _ = std::fs::remove_file(&new);
    let write = || {
        let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(octets)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        Ok(file)
    };
    write().inspect_err(|_| {
        let _ = std::fs::remove_file(&new);
    })
}
