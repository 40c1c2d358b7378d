//! The ledger as octets: [`Record`]s in batches, each whole or not there, and a reader that tells an unfinished write from
//! damage.
//!
//! Owned by [`crate::tally`]; `control::links::ledger_file` does the writing and the fsyncs. A file begins with
//! [`HEADER`]; then come frames: `u32` length of the record, `u64` number of the batch (its highest bit: the batch ends
//! here), `u32` CRC-32C of these and of the record, the record. Two rules let the reader judge a frame that is broken:
//!
//! - A batch is written after the one before it is on disk. So if a frame of a *later* batch is sound, the broken one was
//!   once acknowledged, and the file is damaged.
//! - A file gets its name when its first batch is on disk. So a broken first batch is damage.
//!
//! Everything else is the last batch, which may be unfinished: nothing depended on it, and it is cut. One case remains:
//! a bit that has turned in a last batch that was finished. Where turning one bit back makes the frame sound, it is
//! damage too.

mod checksum;
mod record;
#[cfg(test)]
mod tests;

use super::record::Record;
use super::wire::{Malformed, Oversize};
use checksum::crc32c;
use std::fmt;

/// The first octets of every ledger; the last one is the version of its form.
pub const HEADER: [u8; 16] = *b"strowger ledger\x01";
/// Most octets of one record.
pub const RECORD_BYTES_MAX: usize = 1024;
/// The number of a file's first batch: its snapshot.
pub const BATCH_FIRST: u64 = 1;

const FRAME_HEADER_BYTES: usize = 16;
/// In the batch's number: this record is its last one.
const BATCH_END: u64 = 1 << 63;

/// Appends one batch to `out`, which stays as it was in case of an error. No records: nothing.
///
/// # Errors
/// A record has no form in the ledger: a name is too long.
pub fn put_batch(out: &mut Vec<u8>, batch: u64, records: &[Record]) -> Result<(), Oversize> {
    let start = out.len();
    for (at, record) in records.iter().enumerate() {
        let end = if at + 1 == records.len() { BATCH_END } else { 0 };
        if let Err(error) = put_frame(out, batch | end, record) {
            out.truncate(start);
            return Err(error);
        }
    }
    Ok(())
}

/// A new file: what is known so far as its first batch. It gets its name when it is on disk.
///
/// # Errors
/// As [`put_batch`].
pub fn new_file(records: &[Record]) -> Result<Vec<u8>, Oversize> {
    let mut out = HEADER.to_vec();
    put_batch(&mut out, BATCH_FIRST, records)?;
    Ok(out)
}

fn put_frame(out: &mut Vec<u8>, batch: u64, record: &Record) -> Result<(), Oversize> {
    let start = out.len();
    let body = start + FRAME_HEADER_BYTES;
    out.resize(body, 0);
    record::put(out, record)?;
    let len = out.len() - body;
    if len > RECORD_BYTES_MAX {
        return Err(Oversize);
    }
    out[start..start + 4].copy_from_slice(&u32::try_from(len).map_err(|_| Oversize)?.to_be_bytes());
    out[start + 4..start + 12].copy_from_slice(&batch.to_be_bytes());
    let sum = crc32c([&out[start..start + 12], &out[body..]]);
    out[start + 12..body].copy_from_slice(&sum.to_be_bytes());
    Ok(())
}

/// What a ledger says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// All of whole batches, in order.
    pub records: Vec<Record>,
    /// Octets of the header and of whole batches: the file is to be cut here before anything is added.
    pub good_bytes: u64,
    /// Octets behind it, of a batch that was never finished.
    pub cut_bytes: u64,
    /// The number of the next batch.
    pub next_batch: u64,
}

/// Why a ledger cannot be used. None of these is mended by itself: what is forgotten would be lent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerError {
    /// It does not begin like one.
    NotALedger,
    /// Its form is a later one.
    Newer {
        /// Its version.
        version: u8,
    },
    /// A record that was on disk once is broken.
    Damaged {
        /// Where it begins.
        at: u64,
    },
    /// A sound record says what this version does not understand.
    Unknown {
        /// Where it begins.
        at: u64,
        /// What about it.
        what: Malformed,
    },
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotALedger => f.write_str(
                "this is not a ledger; if it was one, restore the disk, or move the file away and start as a new site \
                 without rights after retiring the old one at the other sites",
            ),
            Self::Newer { version } => {
                write!(f, "the ledger has form {version}, this software reads {}: upgrade it", HEADER[15])
            }
            Self::Damaged { at } => write!(
                f,
                "the ledger is damaged at octet {at}, and not by an unfinished write. Do not cut it: rights that are lent \
                 would be lent again. Restore the disk, or move the file away and start as a new site without rights \
                 after retiring the old one at the other sites (strowger site retire)"
            ),
            Self::Unknown { at, what } => {
                write!(f, "the ledger's record at octet {at} cannot be understood ({what}): upgrade this software")
            }
        }
    }
}

impl std::error::Error for LedgerError {}

/// Reads a whole ledger.
///
/// # Errors
/// It must not be used as it is.
pub fn replay(octets: &[u8]) -> Result<Replay, LedgerError> {
    let (header, version) = octets
        .get(..HEADER.len())
        .and_then(|head| head.split_last())
        .map_or(Err(LedgerError::NotALedger), |(version, header)| Ok((header, *version)))?;
    if *header != HEADER[..HEADER.len() - 1] || version == 0 {
        return Err(LedgerError::NotALedger);
    }
    if version > HEADER[HEADER.len() - 1] {
        return Err(LedgerError::Newer { version });
    }
    let mut replay =
        Replay { records: Vec::new(), good_bytes: HEADER.len() as u64, cut_bytes: 0, next_batch: BATCH_FIRST };
    let (mut at, mut whole) = (HEADER.len(), 0);
    while let Some(frame) = octets.get(at..).and_then(frame).filter(|frame| frame.batch == replay.next_batch) {
        let record = record::read(frame.body).map_err(|what| LedgerError::Unknown { at: at as u64, what })?;
        replay.records.push(record);
        at += FRAME_HEADER_BYTES + frame.body.len();
        if frame.ends {
            replay.next_batch += 1;
            replay.good_bytes = at as u64;
            whole = replay.records.len();
        }
    }
    let rest = octets.get(at..).unwrap_or_default();
    if replay.next_batch == BATCH_FIRST || is_damage(rest, replay.next_batch) {
        return Err(LedgerError::Damaged { at: at as u64 });
    }
    replay.records.truncate(whole);
    replay.cut_bytes = octets.len() as u64 - replay.good_bytes;
    Ok(replay)
}

struct FrameView<'a> {
    batch: u64,
    ends: bool,
    body: &'a [u8],
}

/// The sound frame at the start.
fn frame(octets: &[u8]) -> Option<FrameView<'_>> {
    let (header, rest) = octets.split_first_chunk::<FRAME_HEADER_BYTES>()?;
    let (summed, sum) = header.split_at(12);
    let (len, batch) = summed.split_at(4);
    let len = u32::from_be_bytes(len.try_into().ok()?) as usize;
    let batch = u64::from_be_bytes(batch.try_into().ok()?);
    if len == 0 || len > RECORD_BYTES_MAX {
        return None;
    }
    let body = rest.get(..len)?;
    let sound = crc32c([summed, body]).to_be_bytes() == *sum;
    sound.then_some(FrameView { batch: batch & !BATCH_END, ends: batch & BATCH_END != 0, body })
}

/// Whether the broken frame at the start of `rest`, of the last batch or of one before it, was once sound.
fn is_damage(rest: &[u8], batch: u64) -> bool {
    let later = |at: usize| frame(&rest[at..]).is_some_and(|frame| frame.batch > batch);
    one_bit_off(rest, batch) || (0..rest.len()).any(later)
}

fn one_bit_off(rest: &[u8], batch: u64) -> bool {
    let mut copy = rest[..rest.len().min(FRAME_HEADER_BYTES + RECORD_BYTES_MAX)].to_vec();
    (0..copy.len() * 8).any(|bit| {
        copy[bit / 8] ^= 1 << (bit % 8);
        let sound = frame(&copy).is_some_and(|frame| frame.batch == batch);
        copy[bit / 8] ^= 1 << (bit % 8);
        sound
    })
}
