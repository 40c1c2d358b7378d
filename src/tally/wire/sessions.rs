//! [`SessionMessage`] as octets. An account's name is written once a message and then named by its place.

use super::octets::{Malformed, Oversize, Reader, put_name, put_u16, put_u32, put_u64};
use crate::base::id::Token;
use crate::base::{Instant, ShardId, Slot};
use crate::tally::sessions::{Digest, Operation, Row, SessionMessage};
use ahash::RandomState;
use hashbrown::HashMap;
use std::sync::Arc;

/// Fewest octets of an operation and of a row with its number: a count that cannot be true is refused before anything
/// is allocated for it.
const OPERATION_BYTES_MIN: usize = 9;
const ROW_BYTES_MIN: usize = 31;

pub(super) fn put(out: &mut Vec<u8>, message: &SessionMessage) -> Result<(), Oversize> {
    match message {
        SessionMessage::Want { after } => {
            out.push(1);
            put_u64(out, *after);
        }
        SessionMessage::Operations { first, operations } => {
            out.push(2);
            put_u64(out, *first);
            put_u32(out, u32::try_from(operations.len()).map_err(|_| Oversize)?);
            let mut names = Writing::new();
            for operation in operations {
                match operation {
                    Operation::Began(row) => {
                        out.push(1);
                        names.put_row(out, row)?;
                    }
                    Operation::Ended { row } => {
                        out.push(2);
                        put_u64(out, *row);
                    }
                }
            }
        }
        SessionMessage::Snapshot { at, part, parts, rows } => {
            out.push(3);
            put_u64(out, *at);
            put_u32(out, *part);
            put_u32(out, *parts);
            put_u32(out, u32::try_from(rows.len()).map_err(|_| Oversize)?);
            let mut names = Writing::new();
            for (number, row) in rows {
                put_u64(out, *number);
                names.put_row(out, row)?;
            }
        }
        SessionMessage::Digest(digest) => {
            out.push(4);
            put_u64(out, digest.sequence);
            put_u32(out, digest.rows);
            put_u64(out, digest.hash);
            put_u32(out, digest.unlisted);
        }
    }
    Ok(())
}

pub(super) fn read(reader: &mut Reader<'_>) -> Result<SessionMessage, Malformed> {
    Ok(match reader.u8()? {
        1 => SessionMessage::Want { after: reader.u64()? },
        2 => {
            let first = reader.u64()?;
            if first == 0 {
                return Err("operations count from 1");
            }
            let mut operations = Vec::with_capacity(count(reader, OPERATION_BYTES_MIN)?);
            let mut names = Vec::new();
            for _ in 0..operations.capacity() {
                operations.push(match reader.u8()? {
                    1 => Operation::Began(row(reader, &mut names)?),
                    2 => Operation::Ended { row: reader.u64()? },
                    _ => return Err("an operation that this version does not have"),
                });
            }
            SessionMessage::Operations { first, operations }
        }
        3 => {
            let (at, part, parts) = (reader.u64()?, reader.u32()?, reader.u32()?);
            if part >= parts {
                return Err("a part beyond the last");
            }
            let mut rows = Vec::with_capacity(count(reader, ROW_BYTES_MIN)?);
            let mut names = Vec::new();
            for _ in 0..rows.capacity() {
                rows.push((reader.u64()?, row(reader, &mut names)?));
            }
            SessionMessage::Snapshot { at, part, parts, rows }
        }
        4 => SessionMessage::Digest(Digest {
            sequence: reader.u64()?,
            rows: reader.u32()?,
            hash: reader.u64()?,
            unlisted: reader.u32()?,
        }),
        _ => return Err("a message about sessions that this version does not have"),
    })
}

fn count(reader: &mut Reader<'_>, bytes_min: usize) -> Result<usize, Malformed> {
    let count = reader.u32()? as usize;
    if count > reader.remaining() / bytes_min {
        return Err("a count larger than what follows");
    }
    Ok(count)
}

/// Names that a message has had so far. The hash needs no secret: the names are our own configuration's.
struct Writing<'a> {
    places: HashMap<&'a str, u16, RandomState>,
}

impl<'a> Writing<'a> {
    fn new() -> Self {
        Self { places: HashMap::with_hasher(RandomState::with_seeds(1, 2, 3, 4)) }
    }

    fn put_row(&mut self, out: &mut Vec<u8>, row: &'a Row) -> Result<(), Oversize> {
        match self.places.get(&*row.account) {
            Some(place) => put_u16(out, *place),
            None => {
                put_u16(out, 0);
                put_name(out, &row.account)?;
                let place = u16::try_from(self.places.len() + 1).map_err(|_| Oversize)?;
                self.places.insert(&row.account, place);
            }
        }
        out.push(row.call.shard.0);
        put_u32(out, row.call.slot.index);
        put_u32(out, row.call.slot.generation);
        put_u32(out, row.call.salt);
        put_u64(out, row.started.as_nanos());
        Ok(())
    }
}

fn row(reader: &mut Reader<'_>, names: &mut Vec<Arc<str>>) -> Result<Row, Malformed> {
    let account = match reader.u16()? {
        0 => {
            let name = reader.name()?;
            names.push(Arc::clone(&name));
            name
        }
        place => names.get(usize::from(place) - 1).map(Arc::clone).ok_or("a name that was not given")?,
    };
    let shard = ShardId(reader.u8()?);
    let slot = Slot { index: reader.u32()?, generation: reader.u32()? };
    let call = Token { shard, slot, salt: reader.u32()? };
    Ok(Row { account, call, started: Instant::from_nanos(reader.u64()?) })
}
