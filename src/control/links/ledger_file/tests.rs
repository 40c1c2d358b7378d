//! Real files, and a disk that refuses when it is told to.

use super::storage::Storage;
use super::writer::Appender;
use super::*;
use crate::tally::Record;
use crate::tally::ledger::{self, LedgerError, replay};
use crossbeam::channel::{Receiver, unbounded};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(30);

fn base(amount: u32) -> Record {
    Record::Issued { account: "atlanta".into(), limit: amount }
}

struct Before {
    incarnation: u32,
    records: Vec<Record>,
    created: bool,
}

/// What was in the ledger, its writer, and a word for each change.
fn start_real(folder: &Path) -> (Before, LedgerWriter, Receiver<()>) {
    let opened = open(folder, "ams", 7).unwrap();
    let (sender, changes) = unbounded();
    let before = Before { incarnation: opened.identity.incarnation, records: opened.records, created: opened.created };
    (before, start(opened.file, move || sender.send(()).unwrap_or_default()).unwrap(), changes)
}

fn wait_for(changes: &Receiver<()>, mut done: impl FnMut() -> bool) {
    while !done() {
        changes.recv_timeout(LONG).expect("a change");
    }
}

#[test]
fn what_is_acknowledged_is_read_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (opened, writer, changes) = start_real(folder.path());
    assert!(opened.created);
    assert_eq!(opened.incarnation, 1);
    for seq in 1..=3_000 {
        let mut record = base(seq as u32);
        while let Err(NotTaken(back)) = writer.append(seq, record) {
            record = back;
            changes.recv_timeout(LONG).expect("room comes with a change");
        }
    }
    wait_for(&changes, || writer.status().durable() == 3_000);
    let [records, batches, failures] = writer.status().counts();
    assert_eq!((records, failures), (3_000, 0));
    assert!(batches <= 3_000);
    let path = folder.path().join(FILE_NAME);
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    assert!(matches!(open(folder.path(), "ams", 8), Err(OpenError::InUse(_))), "one process only");
    drop(writer);
    let (opened, writer, _changes) = start_real(folder.path());
    assert_eq!((opened.created, opened.incarnation, opened.records.len()), (false, 2, 3_003));
    assert_eq!(opened.records[0], Record::Disk { name: "ams".into(), disk: 7 });
    assert_eq!(opened.records[3_001], base(3_000));
    assert_eq!(opened.records[3_002], Record::Incarnation(2));
    drop(writer);
    assert!(matches!(open(folder.path(), "ber", 8), Err(OpenError::OtherNode { name, .. }) if name == "ams"));
}

#[test]
fn an_unfinished_write_is_cut_and_damage_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    drop(open(folder.path(), "ams", 7).unwrap());
    let sound = std::fs::read(&path).unwrap();
    let mut torn = sound.clone();
    ledger::put_batch(&mut torn, 3, &[base(1), base(2)]).unwrap();
    torn.truncate(torn.len() - 5);
    std::fs::write(&path, &torn).unwrap();
    let opened = open(folder.path(), "ams", 7).unwrap();
    assert_eq!((opened.cut_bytes as usize, opened.identity.incarnation), (torn.len() - sound.len(), 2));
    drop(opened);
    let mut octets = std::fs::read(&path).unwrap();
    assert_eq!(replay(&octets).unwrap().cut_bytes, 0);
    let middle = sound.len() - 1;
    octets[middle] ^= 0xff;
    std::fs::write(&path, &octets).unwrap();
    let error = open(folder.path(), "ams", 7).unwrap_err();
    assert!(matches!(error, OpenError::Unusable(_, LedgerError::Damaged { .. })), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), octets, "nothing was cut");
}

#[test]
fn compaction_keeps_what_came_before_and_after() {
    let folder = tempfile::tempdir().unwrap();
    let (_, writer, changes) = start_real(folder.path());
    for seq in 1..=100 {
        writer.append(seq, base(seq as u32)).unwrap();
    }
    let short = vec![Record::Disk { name: "ams".into(), disk: 7 }, Record::Incarnation(1), base(100)];
    writer.compact(short.clone()).unwrap();
    writer.append(101, base(101)).unwrap();
    wait_for(&changes, || writer.status().durable() == 101);
    assert!(!writer.status().wants_compaction());
    drop(writer);
    let octets = std::fs::read(folder.path().join(FILE_NAME)).unwrap();
    assert_eq!(replay(&octets).unwrap().records, [short, vec![base(101)]].concat());
    assert_eq!(folder.path().read_dir().unwrap().count(), 2, "the file and its lock");
    assert_eq!(folder.path().join(FILE_NAME).metadata().unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_ledger_goes_on_in_another_hand_and_is_never_free_in_between() {
    let folder = tempfile::tempdir().unwrap();
    let (_, writer, changes) = start_real(folder.path());
    for seq in 1..=100 {
        writer.append(seq, base(seq as u32)).unwrap();
    }
    let answer = writer.rest().unwrap();
    let at_rest = answer.recv_timeout(LONG).unwrap().unwrap();
    assert_eq!((at_rest.position.durable, writer.status().durable()), (100, 100), "what came before is on disk");
    let other = LedgerFile::take_on(folder.path(), at_rest).unwrap();
    let path = folder.path().join(FILE_NAME);
    assert_eq!(other.from.bytes, path.metadata().unwrap().len());
    drop((writer, changes));
    assert!(matches!(open(folder.path(), "ams", 8), Err(OpenError::InUse(_))), "the lock goes along");
    let (sender, changes) = unbounded();
    let writer = start(other, move || sender.send(()).unwrap_or_default()).unwrap();
    writer.append(101, base(101)).unwrap();
    wait_for(&changes, || writer.status().durable() == 101);
    assert_eq!(writer.status().counts()[0], 101, "counts go on");
    drop(writer);
    let found = replay(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!((found.records.len(), found.cut_bytes, found.records.last()), (103, 0, Some(&base(101))));
}

#[test]
fn a_ledger_of_another_folder_or_another_length_is_not_taken_on() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, writer, _changes) = start_real(folder.path());
    let at_rest = || writer.rest().unwrap().recv_timeout(LONG).unwrap().unwrap();
    let why = LedgerFile::take_on(other.path(), at_rest()).unwrap_err();
    assert!(why.contains("node.data_dir") && why.contains(other.path().to_str().unwrap()), "{why}");
    std::fs::write(other.path().join(FILE_NAME), "").unwrap();
    let why = LedgerFile::take_on(other.path(), at_rest()).unwrap_err();
    assert!(why.contains("another file"), "{why}");
    let mut odd = at_rest();
    odd.position.bytes += 1;
    let why = LedgerFile::take_on(folder.path(), odd).unwrap_err();
    assert!(why.contains("octets"), "{why}");
}

#[test]
fn a_ledger_that_has_grown_is_compacted_once() {
    let folder = tempfile::tempdir().unwrap();
    let (_, writer, changes) = start_real(folder.path());
    let long = Record::Issued { account: "a".repeat(255).into(), limit: 1 };
    for seq in 1..=20_000 {
        while writer.append(seq, long.clone()).is_err() {
            changes.recv_timeout(LONG).expect("room comes with a change");
        }
    }
    wait_for(&changes, || writer.status().durable() == 20_000);
    assert!(writer.status().wants_compaction());
    writer.compact(vec![Record::Disk { name: "ams".into(), disk: 7 }, Record::Incarnation(1)]).unwrap();
    assert!(!writer.status().wants_compaction(), "not while one is under way");
    writer.append(20_001, base(1)).unwrap();
    wait_for(&changes, || writer.status().durable() == 20_001);
    assert!(!writer.status().wants_compaction());
    assert_eq!(writer.status().bytes(), folder.path().join(FILE_NAME).metadata().unwrap().len());
    assert!(writer.status().bytes() < 1_000);
}

#[test]
fn a_full_disk_is_said_and_nothing_is_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("full");
    symlink("/dev/full", &path).unwrap();
    let (sender, changes) = unbounded();
    let appender = Appender::new(storage::Disk::open(&path).unwrap(), 0, 1);
    let writer =
        writer::start(appender, None, Position::default(), move || sender.send(()).unwrap_or_default()).unwrap();
    writer.append(1, base(1)).unwrap();
    wait_for(&changes, || !writer.status().works());
    assert!(writer.status().failing().unwrap().contains("No space left"), "{:?}", writer.status().failing());
    assert_eq!(writer.status().durable(), 0);
    let mut seq = 1;
    while writer.append(seq + 1, base(1)).is_ok() {
        seq += 1;
        assert!(seq <= QUEUE_MAX as u64 + 1, "the queue is bounded");
    }
    assert_eq!(writer.room(), 0);
    drop(writer);
}

/// What the disk does with the next calls, the first one first; then it does its work.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    /// Half of it arrives.
    AppendsHalf,
    /// The octets are gone, and the kernel forgets that they ever were to be written.
    SyncLoses,
    TruncateFails,
    ReplaceFails,
}

/// What would be found after a power cut is `durable`; `cached` is what a reader sees until then.
#[derive(Debug, Default)]
struct Fake {
    durable: Vec<u8>,
    cached: Vec<u8>,
    mishaps: Vec<Mishap>,
}

#[derive(Clone, Debug, Default)]
struct FakeDisk(Arc<Mutex<Fake>>);

impl Fake {
    fn mishap(&mut self, matching: fn(&Mishap) -> bool) -> bool {
        let found = self.mishaps.first().is_some_and(matching);
        if found {
            self.mishaps.remove(0);
        }
        found
    }
}

fn refused() -> io::Error {
    io::Error::from(io::ErrorKind::StorageFull)
}

impl Storage for FakeDisk {
    fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        let mut fake = self.0.lock().unwrap();
        let fails = fake.mishap(|one| matches!(one, Mishap::AppendsHalf));
        let part = if fails { &octets[..octets.len() / 2] } else { octets };
        fake.cached.extend_from_slice(part);
        if fails { Err(refused()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut fake = self.0.lock().unwrap();
        if fake.mishap(|one| matches!(one, Mishap::SyncLoses)) {
            // The pages are clean now, but what is behind the old end never reached the disk: zeros.
            let old = fake.durable.len();
            let zeros = fake.cached.len() - old;
            fake.cached.truncate(old);
            fake.cached.resize(old + zeros, 0);
            return Err(io::Error::other("input/output error"));
        }
        fake.durable = fake.cached.clone();
        Ok(())
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        let mut fake = self.0.lock().unwrap();
        if fake.mishap(|one| matches!(one, Mishap::TruncateFails)) {
            return Err(refused());
        }
        fake.cached.truncate(bytes as usize);
        Ok(())
    }

    fn replace(&mut self, octets: &[u8]) -> io::Result<()> {
        let mut fake = self.0.lock().unwrap();
        if fake.mishap(|one| matches!(one, Mishap::ReplaceFails)) {
            return Err(refused());
        }
        fake.cached = octets.to_vec();
        Ok(())
    }
}

#[test]
fn nothing_is_acknowledged_that_a_power_cut_would_take() {
    use Mishap::{AppendsHalf, ReplaceFails, SyncLoses, TruncateFails};
    for mishaps in [
        vec![AppendsHalf, TruncateFails],
        vec![SyncLoses],
        vec![AppendsHalf, SyncLoses, TruncateFails],
        vec![SyncLoses, AppendsHalf],
        vec![ReplaceFails],
        vec![],
    ] {
        let disk = FakeDisk::default();
        let file = ledger::new_file(&[Record::Founded]).unwrap();
        {
            let mut fake = disk.0.lock().unwrap();
            (fake.durable, fake.cached, fake.mishaps) = (file.clone(), file.clone(), mishaps.clone());
        }
        let (sender, changes) = unbounded();
        let appender = Appender::new(disk.clone(), file.len() as u64, 2);
        let writer =
            writer::start(appender, None, Position::default(), move || sender.send(()).unwrap_or_default()).unwrap();
        writer.append(1, base(1)).unwrap();
        writer.append(2, base(2)).unwrap();
        writer.compact(vec![Record::Founded, base(2)]).unwrap();
        writer.append(3, base(3)).unwrap();
        wait_for(&changes, || {
            let durable = writer.status().durable();
            let found = replay(&disk.0.lock().unwrap().durable).unwrap().records;
            let last = base(durable as u32);
            assert!(durable == 0 || found.contains(&last) || found.contains(&base(3)), "{mishaps:?}: {found:?}");
            durable == 3
        });
        assert!(writer.status().works());
        assert_eq!(writer.status().counts()[0], 3);
        let failures = writer.status().counts()[2];
        assert_eq!(failures as usize, mishaps.len(), "{mishaps:?}");
        drop(writer);
        let found = replay(&disk.0.lock().unwrap().durable).unwrap();
        let expected = match mishaps.as_slice() {
            [ReplaceFails] => vec![Record::Founded, base(1), base(2), base(3)],
            _ => vec![Record::Founded, base(2), base(3)],
        };
        assert_eq!(found.records, expected, "{mishaps:?}");
    }
}

struct Panics;

impl Storage for Panics {
    fn append(&mut self, _: &[u8]) -> io::Result<()> {
        panic!("planted")
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn replace(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_panics_is_known_to_be_dead() {
    let writer = start_on(Panics, || {}).unwrap();
    assert!(!writer.is_dead());
    writer.append(1, base(1)).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !writer.is_dead() {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
    assert_eq!(writer.status().durable(), 0);
    assert_eq!(writer.append(2, base(1)), Err(NotTaken(base(1))));
}
