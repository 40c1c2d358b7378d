//! A [`Record`] as octets: one tag each, the fields in the order of the type. A tag's meaning never changes.

use crate::tally::message::SiteId;
use crate::tally::record::Record;
use crate::tally::wire::{Malformed, Oversize, Reader, loan, put_loan, put_name, put_request, request};
use crate::tally::wire::{put_u16, put_u32, put_u64, put_u128};

pub(super) fn put(out: &mut Vec<u8>, record: &Record) -> Result<(), Oversize> {
    match record {
        Record::Disk { name, disk } => {
            out.push(1);
            put_name(out, name)?;
            put_u128(out, *disk);
        }
        Record::Incarnation(incarnation) => {
            out.push(2);
            put_u32(out, *incarnation);
        }
        Record::Site { site, name, disk, incarnation, retired } => {
            out.push(3);
            put_u16(out, site.0);
            put_name(out, name)?;
            put_u128(out, *disk);
            put_u32(out, *incarnation);
            out.push(u8::from(*retired));
        }
        Record::Founded => out.push(4),
        Record::Issued { account, limit } => {
            out.push(5);
            put_name(out, account)?;
            put_u32(out, *limit);
        }
        Record::Placed { account, site, total, ceded, base } => moved(out, 7, account, *site, [*total, *ceded], *base)?,
        Record::Received { account, home, total, ceded, base } => {
            moved(out, 8, account, *home, [*total, *ceded], *base)?;
        }
        Record::Lent { loan, account, to, request, amount } => {
            out.push(9);
            put_loan(out, *loan);
            put_name(out, account)?;
            put_u16(out, to.0);
            put_request(out, *request);
            put_u32(out, *amount);
        }
        Record::Home { loan } => {
            out.push(10);
            put_loan(out, *loan);
        }
    }
    Ok(())
}

fn moved(out: &mut Vec<u8>, tag: u8, account: &str, site: SiteId, totals: [u64; 2], base: u32) -> Result<(), Oversize> {
    out.push(tag);
    put_name(out, account)?;
    put_u16(out, site.0);
    totals.into_iter().for_each(|total| put_u64(out, total));
    put_u32(out, base);
    Ok(())
}

pub(super) fn read(octets: &[u8]) -> Result<Record, Malformed> {
    let mut reader = Reader::new(octets);
    let reader = &mut reader;
    let record = match reader.u8()? {
        1 => Record::Disk { name: reader.name()?, disk: reader.u128()? },
        2 => Record::Incarnation(reader.u32()?),
        3 => Record::Site {
            site: SiteId(reader.u16()?),
            name: reader.name()?,
            disk: reader.u128()?,
            incarnation: reader.u32()?,
            retired: reader.boolean()?,
        },
        4 => Record::Founded,
        5 => Record::Issued { account: reader.name()?, limit: reader.u32()? },
        7 => Record::Placed {
            account: reader.name()?,
            site: SiteId(reader.u16()?),
            total: reader.u64()?,
            ceded: reader.u64()?,
            base: reader.u32()?,
        },
        8 => Record::Received {
            account: reader.name()?,
            home: SiteId(reader.u16()?),
            total: reader.u64()?,
            ceded: reader.u64()?,
            base: reader.u32()?,
        },
        9 => Record::Lent {
            loan: loan(reader)?,
            account: reader.name()?,
            to: SiteId(reader.u16()?),
            request: request(reader)?,
            amount: reader.u32()?,
        },
        10 => Record::Home { loan: loan(reader)? },
        // Nothing was ever released that wrote them: they are not to be used again.
        6 => return Err("a record of base rights as an amount, which no version writes"),
        11 => return Err("a record of a forgotten account, which no version writes"),
        _ => return Err("a record that this version does not have"),
    };
    reader.end()?;
    Ok(record)
}
