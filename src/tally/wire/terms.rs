//! [`TermsMessage`] as octets; version 2 has none of them.

use super::octets::{Malformed, Oversize, Reader, put_name, put_u16, put_u32, put_u64};
use crate::base::time::Duration;
use crate::tally::terms::{BUCKETS, Row, Shared, TermsMessage};

/// Fewest octets of an account: a count that cannot be true is refused before anything is allocated for it.
const ROW_BYTES_MIN: usize = 7;

pub(super) fn put(out: &mut Vec<u8>, message: &TermsMessage) -> Result<(), Oversize> {
    match message {
        TermsMessage::Digest { shared, accounts, hash } => {
            out.push(1);
            put_u64(out, nanos(shared.lease)?);
            put_u64(out, nanos(shared.max_call)?);
            put_u32(out, shared.drift_ppm);
            out.push(u8::from(shared.drops));
            put_u32(out, shared.allowance);
            put_u32(out, *accounts);
            put_u64(out, *hash);
        }
        TermsMessage::AskParts => out.push(2),
        TermsMessage::Parts(parts) => {
            out.push(3);
            parts.iter().for_each(|part| put_u64(out, *part));
        }
        TermsMessage::AskRows { part } => {
            out.push(4);
            put_u16(out, *part);
        }
        TermsMessage::Rows { part, rows, cut } => {
            out.push(5);
            put_u16(out, *part);
            out.push(u8::from(*cut));
            put_u32(out, u32::try_from(rows.len()).map_err(|_| Oversize)?);
            for row in rows {
                put_name(out, &row.name)?;
                put_u32(out, row.limit);
                out.push(u8::from(row.home.is_some()));
                row.home.iter().try_for_each(|home| put_name(out, home))?;
            }
        }
    }
    Ok(())
}

fn nanos(span: Duration) -> Result<u64, Oversize> {
    u64::try_from(span.as_nanos()).map_err(|_| Oversize)
}

pub(super) fn read(reader: &mut Reader<'_>) -> Result<TermsMessage, Malformed> {
    Ok(match reader.u8()? {
        1 => {
            let shared = Shared {
                lease: Duration::from_nanos(reader.u64()?),
                max_call: Duration::from_nanos(reader.u64()?),
                drift_ppm: reader.u32()?,
                drops: reader.boolean()?,
                allowance: reader.u32()?,
            };
            TermsMessage::Digest { shared, accounts: reader.u32()?, hash: reader.u64()? }
        }
        2 => TermsMessage::AskParts,
        3 => {
            let mut parts = Box::new([0; BUCKETS]);
            for part in parts.iter_mut() {
                *part = reader.u64()?;
            }
            TermsMessage::Parts(parts)
        }
        4 => TermsMessage::AskRows { part: part(reader)? },
        5 => {
            let (part, cut, count) = (part(reader)?, reader.boolean()?, reader.u32()? as usize);
            if count > reader.remaining() / ROW_BYTES_MIN {
                return Err("more accounts than octets");
            }
            let mut rows = Vec::with_capacity(count);
            for _ in 0..count {
                let (name, limit) = (reader.name()?, reader.u32()?);
                let home = if reader.boolean()? { Some(reader.name()?) } else { None };
                rows.push(Row { name, limit, home });
            }
            TermsMessage::Rows { part, rows, cut }
        }
        _ => return Err("a message about terms that this version does not have"),
    })
}

fn part(reader: &mut Reader<'_>) -> Result<u16, Malformed> {
    let part = reader.u16()?;
    if usize::from(part) < BUCKETS { Ok(part) } else { Err("a part that there is not") }
}
