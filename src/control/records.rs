//! Call records to disk: one NDJSON file a day, written in groups, each group synced.
//!
//! A disk that refuses (full, gone, read-only) costs no record: they wait in a bounded spool and go out when it takes
//! them again. Only a full spool loses records, and that is counted, logged and shown. A group that was written in part
//! is cut off again, so that the file holds whole lines and no record twice.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use time::Date;

use super::clock::{Clock, date};
use super::record_line::record_line;
use crate::config::Records;
use crate::observe::CallRecord;

/// Records between the workers and the writer; a worker that finds it full counts a drop.
pub const QUEUE_MAX: usize = 8_192;
const GROUP_MAX: usize = 512;
/// Records are taken together that come within this of each other. They wait for `flush_interval` in any case, so that a
/// process that is killed leaves no more unwritten, and a busy node's writer wakes twenty times a second.
const GATHER: Duration = Duration::from_millis(50);
const RETRY: Duration = Duration::from_secs(1);

/// What metrics and readiness read.
#[derive(Debug, Default)]
pub struct RecordStatus {
    /// On disk.
    pub written: AtomicU64,
    /// Waiting in memory.
    pub spooled: AtomicU64,
    /// Lost for ever, because the spool was full or the process ended.
    pub lost: AtomicU64,
    /// Most that may wait.
    pub spool_max: AtomicU64,
    failing: Mutex<Option<String>>,
}

impl RecordStatus {
    /// Why the disk refuses, while it does.
    #[must_use]
    pub fn failing(&self) -> Option<String> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_failing(&self, why: Option<String>) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

/// A line and the day it belongs to.
struct Waiting {
    day: Date,
    line: String,
}

struct Writer {
    settings: Records,
    node: String,
    clock: Clock,
    status: Arc<RecordStatus>,
    spool: VecDeque<Waiting>,
    file: Option<(Date, File)>,
    retry_at: Option<Instant>,
    /// When the oldest waiting record must be on disk.
    flush_at: Option<Instant>,
}

/// A running writer.
#[derive(Debug)]
pub struct RecordSink {
    /// Where workers put records; the writer ends when every clone is gone.
    pub sender: Sender<Box<CallRecord>>,
    /// What it has done.
    pub status: Arc<RecordStatus>,
    /// To be joined at the end.
    pub thread: JoinHandle<()>,
}

/// Starts the writer. It ends, after a last try, when every sender is gone.
///
/// # Errors
/// The folder cannot be made, or no thread.
pub fn start(settings: &Records, node: &str, clock: Clock) -> io::Result<RecordSink> {
    std::fs::create_dir_all(&settings.dir)?;
    let status = Arc::new(RecordStatus::default());
    status.spool_max.store(u64::from(settings.spool_max), Relaxed);
    let mut writer = Writer::new(settings.clone(), node, clock, Arc::clone(&status));
    let (sender, receiver) = bounded(QUEUE_MAX);
    let thread = std::thread::Builder::new().name("records".into()).spawn(move || writer.run(&receiver))?;
    Ok(RecordSink { sender, status, thread })
}

impl Writer {
    fn new(settings: Records, node: &str, clock: Clock, status: Arc<RecordStatus>) -> Self {
        let (spool, file) = (VecDeque::new(), None);
        Self { settings, node: node.to_owned(), clock, status, spool, file, retry_at: None, flush_at: None }
    }

    fn run(&mut self, records: &Receiver<Box<CallRecord>>) {
        loop {
            let deadline = [self.retry_at, self.flush_at].into_iter().flatten().max();
            let received = match deadline {
                None => records.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => records.recv_deadline(deadline),
            };
            match received {
                Ok(record) => {
                    self.take(&record);
                    let more = records.try_iter().take(GROUP_MAX).inspect(|record| self.take(record)).count();
                    // While this thread sleeps, a shard with a record wakes nobody: a system call less for each call. A full
                    // group means that more waits.
                    if more < GROUP_MAX {
                        std::thread::sleep(GATHER.min(self.settings.flush_interval));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let due = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if due || self.spool.len() >= GROUP_MAX && self.retry_at.is_none() {
                self.write();
            }
        }
        self.write();
        if !self.spool.is_empty() {
            let left = self.spool.len();
            self.status.lost.fetch_add(left as u64, Relaxed);
            tracing::error!(left, "call records could not be written before the end and are lost");
        }
    }

    fn take(&mut self, record: &CallRecord) {
        if self.spool.len() >= self.settings.spool_max as usize {
            if self.status.lost.fetch_add(1, Relaxed) == 0 {
                tracing::error!("the spool of call records is full: records are being lost (records.spool_max)");
            }
            return;
        }
        let reading = self.clock.reading();
        let day = reading.wall(record.ended).date();
        self.spool.push_back(Waiting { day, line: record_line(record, &self.node, &reading) });
        self.status.spooled.store(self.spool.len() as u64, Relaxed);
        self.flush_at.get_or_insert_with(|| Instant::now() + self.settings.flush_interval);
    }

    /// Writes what waits, group by group, until the disk refuses.
    fn write(&mut self) {
        self.retry_at = None;
        self.flush_at = None;
        while let Some(first) = self.spool.front() {
            let day = first.day;
            let group = self.spool.iter().take(GROUP_MAX).take_while(|waiting| waiting.day == day);
            let lines: Vec<&str> = group.map(|waiting| waiting.line.as_str()).collect();
            let (count, text) = (lines.len(), lines.concat());
            if let Err(error) = self.append(day, text.as_bytes()) {
                self.refused(&error);
                break;
            }
            self.spool.drain(..count);
            self.status.written.fetch_add(count as u64, Relaxed);
            if self.status.failing().is_some() {
                tracing::info!("call records are written again");
                self.status.set_failing(None);
            }
        }
        self.status.spooled.store(self.spool.len() as u64, Relaxed);
    }

    fn refused(&mut self, error: &io::Error) {
        self.file = None;
        self.retry_at = Some(Instant::now() + RETRY);
        self.flush_at = self.retry_at;
        let why = format!("{}: {error}", self.settings.dir.display());
        if self.status.failing().as_ref() != Some(&why) {
            tracing::error!(%why, waiting = self.spool.len(), "call records cannot be written; they wait in memory");
            self.status.set_failing(Some(why));
        }
    }

    fn append(&mut self, day: Date, bytes: &[u8]) -> io::Result<()> {
        let path = file_of(&self.settings.dir, &date(day));
        if self.file.as_ref().is_none_or(|(open, file)| *open != day || !is_at(file, &path)) {
            std::fs::create_dir_all(&self.settings.dir)?;
            self.file = Some((day, open(&path)?));
        }
        let Some((_, file)) = &mut self.file else { return Ok(()) };
        // While one process takes over from another both write.
        file.lock()?;
        let length = file.metadata()?.len();
        let written = file.write_all(bytes).and_then(|()| file.sync_data());
        if written.is_err() {
            let _ = file.set_len(length);
        }
        let _ = file.unlock();
        written
    }
}

/// False once somebody has moved or removed the file: writing on would put records where nobody looks.
fn is_at(file: &File, path: &Path) -> bool {
    let here = file.metadata().map(|found| (found.dev(), found.ino()));
    let there = std::fs::metadata(path).map(|found| (found.dev(), found.ino()));
    matches!((here, there), (Ok(here), Ok(there)) if here == there)
}

/// Opens for appending. A last line without its end is from a crash and was never reported as written: it is cut.
fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    file.lock()?;
    let length = file.seek(SeekFrom::End(0))?;
    let whole = whole_lines(&mut file, length)?;
    if whole < length {
        file.set_len(whole)?;
        tracing::warn!(path = %path.display(), bytes = length - whole, "cut an unfinished line from a file of records");
    }
    file.unlock()?;
    Ok(file)
}

/// The length up to the last line break.
fn whole_lines(file: &mut File, length: u64) -> io::Result<u64> {
    const STEP: u64 = 64 * 1024;
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(STEP);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        Read::by_ref(file).take(end - start).read_to_end(&mut bytes)?;
        if let Some(at) = bytes.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Where a day's records are.
#[must_use]
pub fn file_of(dir: &Path, day: &str) -> PathBuf {
    dir.join(format!("{day}.ndjson"))
}

#[cfg(test)]
mod tests {
    use super::super::record_line::tests::record;
    use super::*;

    fn writer(dir: &Path, spool_max: u32) -> Writer {
        let settings = Records { dir: dir.to_owned(), spool_max, flush_interval: Duration::from_millis(10) };
        Writer::new(settings, "n", Clock::new(Instant::now()), Arc::default())
    }

    fn lines(path: &Path) -> Vec<String> {
        std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }

    fn today(writer: &Writer) -> PathBuf {
        file_of(&writer.settings.dir, &date(writer.clock.wall(record(0).ended).date()))
    }

    #[test]
    fn a_full_disk_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path(), 100);
        let path = today(&writer);
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        (0..3).for_each(|index| writer.take(&record(index)));
        writer.write();
        assert_eq!((writer.spool.len(), writer.status.spooled.load(Relaxed)), (3, 3));
        assert!(writer.status.failing().is_some_and(|why| why.contains("No space left")));
        std::fs::remove_file(&path).unwrap();
        writer.take(&record(3));
        writer.write();
        assert_eq!((lines(&path).len(), writer.status.written.load(Relaxed)), (4, 4));
        assert_eq!((writer.status.failing(), writer.status.lost.load(Relaxed)), (None, 0));
    }

    #[test]
    fn a_file_that_is_moved_away_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path(), 100);
        let path = today(&writer);
        for round in 1..=3 {
            writer.take(&record(round));
            writer.write();
            std::fs::rename(&path, dir.path().join(format!("{round}.old"))).unwrap();
        }
        for round in 1..=3 {
            assert_eq!(lines(&dir.path().join(format!("{round}.old"))).len(), 1);
        }
    }

    #[test]
    fn a_full_spool_counts_what_it_loses() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let mut writer = writer(&dir.path().join("file"), 2);
        (0..5).for_each(|index| writer.take(&record(index)));
        writer.write();
        assert_eq!((writer.spool.len(), writer.status.lost.load(Relaxed)), (2, 3));
    }

    #[test]
    fn a_torn_line_is_cut_and_whole_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path(), 100);
        let path = today(&writer);
        std::fs::write(&path, format!("{{\"call\":\"x\"}}\n{{\"call\":\"{}", "y".repeat(200_000))).unwrap();
        writer.take(&record(0));
        writer.write();
        let lines = lines(&path);
        assert_eq!(lines[0], "{\"call\":\"x\"}");
        assert!(lines.len() == 2 && lines[1].starts_with("{\"call\":\"call_s00"));
    }

    #[test]
    fn the_thread_writes_all_before_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Records { dir: dir.path().join("r"), spool_max: 100, flush_interval: Duration::from_secs(3600) };
        let clock = Clock::new(Instant::now());
        let RecordSink { sender, status, thread } = start(&settings, "n", clock).unwrap();
        (0..10).for_each(|index| sender.send(Box::new(record(index))).unwrap());
        drop(sender);
        thread.join().unwrap();
        assert_eq!(status.written.load(Relaxed), 10);
    }
}
