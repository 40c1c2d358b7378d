//! [`Message`] as octets. One tag each; the fields in the order of the type.

use super::octets::{Malformed, Oversize, Reader, put_name, put_u32, put_u64};
use crate::base::Instant;
use crate::tally::message::{Figures, LoanId, Message, RequestId};

/// Since then a request says whether it is urgent.
const SINCE_URGENT: u8 = 3;
/// Since then the rounds of a founding have numbers.
const SINCE_ROUNDS: u8 = 3;

pub(super) fn put(out: &mut Vec<u8>, version: u8, message: &Message) -> Result<(), Oversize> {
    match message {
        Message::Request { request, account, wanted, urgent, sent_at } => {
            out.push(1);
            put_request(out, *request);
            put_name(out, account)?;
            put_u32(out, *wanted);
            put_u64(out, sent_at.as_nanos());
            if version >= SINCE_URGENT {
                out.push(u8::from(*urgent));
            }
        }
        Message::Loan { request, loan, account, amount, sent_at } => {
            out.push(2);
            put_request(out, *request);
            put_loan(out, *loan);
            put_name(out, account)?;
            put_u32(out, *amount);
            put_u64(out, sent_at.as_nanos());
        }
        Message::Denied { request } => {
            out.push(3);
            put_request(out, *request);
        }
        Message::Renew { loan, sent_at } => timed(out, 4, *loan, *sent_at),
        Message::Renewed { loan, sent_at } => timed(out, 5, *loan, *sent_at),
        Message::Closed { loan } => {
            out.push(6);
            put_loan(out, *loan);
        }
        Message::Return { loan } => {
            out.push(7);
            put_loan(out, *loan);
        }
        Message::Placed { account, total } => total_of(out, 8, account, *total)?,
        Message::Received { account, total } => total_of(out, 9, account, *total)?,
        Message::Ceded { account, total } => total_of(out, 10, account, *total)?,
        Message::Settled { account, total } => total_of(out, 11, account, *total)?,
        Message::Recall { account, amount } => {
            out.push(12);
            put_name(out, account)?;
            put_u32(out, *amount);
        }
        Message::Founding { round } => {
            out.push(13);
            put_round(out, version, *round);
        }
        Message::Founded { clear, round } => {
            out.extend_from_slice(&[14, u8::from(*clear)]);
            put_round(out, version, *round);
        }
        Message::Figures { account, figures } => {
            out.push(15);
            put_name(out, account)?;
            for figure in [figures.base, figures.lent, figures.borrowed, figures.live, figures.refused] {
                put_u32(out, figure);
            }
        }
    }
    Ok(())
}

pub(super) fn read(reader: &mut Reader<'_>, version: u8) -> Result<Message, Malformed> {
    Ok(match reader.u8()? {
        1 => Message::Request {
            request: request(reader)?,
            account: reader.name()?,
            wanted: reader.u32()?,
            sent_at: instant(reader)?,
            urgent: if version >= SINCE_URGENT { reader.boolean()? } else { true },
        },
        2 => Message::Loan {
            request: request(reader)?,
            loan: loan(reader)?,
            account: reader.name()?,
            amount: reader.u32()?,
            sent_at: instant(reader)?,
        },
        3 => Message::Denied { request: request(reader)? },
        4 => Message::Renew { loan: loan(reader)?, sent_at: instant(reader)? },
        5 => Message::Renewed { loan: loan(reader)?, sent_at: instant(reader)? },
        6 => Message::Closed { loan: loan(reader)? },
        7 => Message::Return { loan: loan(reader)? },
        8 => Message::Placed { account: reader.name()?, total: reader.u64()? },
        9 => Message::Received { account: reader.name()?, total: reader.u64()? },
        10 => Message::Ceded { account: reader.name()?, total: reader.u64()? },
        11 => Message::Settled { account: reader.name()?, total: reader.u64()? },
        12 => Message::Recall { account: reader.name()?, amount: reader.u32()? },
        13 => Message::Founding { round: read_round(reader, version)? },
        14 => Message::Founded { clear: reader.boolean()?, round: read_round(reader, version)? },
        15 => Message::Figures { account: reader.name()?, figures: figures(reader)? },
        _ => return Err("a message about rights that this version does not have"),
    })
}

fn put_round(out: &mut Vec<u8>, version: u8, round: u64) {
    if version >= SINCE_ROUNDS {
        put_u64(out, round);
    }
}

fn read_round(reader: &mut Reader<'_>, version: u8) -> Result<u64, Malformed> {
    if version >= SINCE_ROUNDS { reader.u64() } else { Ok(0) }
}

fn timed(out: &mut Vec<u8>, tag: u8, loan: LoanId, sent_at: Instant) {
    out.push(tag);
    put_loan(out, loan);
    put_u64(out, sent_at.as_nanos());
}

fn total_of(out: &mut Vec<u8>, tag: u8, account: &str, total: u64) -> Result<(), Oversize> {
    out.push(tag);
    put_name(out, account)?;
    put_u64(out, total);
    Ok(())
}

pub(in crate::tally) fn put_request(out: &mut Vec<u8>, request: RequestId) {
    put_u32(out, request.incarnation);
    put_u64(out, request.number);
}

pub(in crate::tally) fn put_loan(out: &mut Vec<u8>, loan: LoanId) {
    put_u32(out, loan.incarnation);
    put_u64(out, loan.number);
}

pub(in crate::tally) fn request(reader: &mut Reader<'_>) -> Result<RequestId, Malformed> {
    Ok(RequestId { incarnation: reader.u32()?, number: reader.u64()? })
}

pub(in crate::tally) fn loan(reader: &mut Reader<'_>) -> Result<LoanId, Malformed> {
    Ok(LoanId { incarnation: reader.u32()?, number: reader.u64()? })
}

fn instant(reader: &mut Reader<'_>) -> Result<Instant, Malformed> {
    reader.u64().map(Instant::from_nanos)
}

fn figures(reader: &mut Reader<'_>) -> Result<Figures, Malformed> {
    Ok(Figures {
        base: reader.u32()?,
        lent: reader.u32()?,
        borrowed: reader.u32()?,
        live: reader.u32()?,
        refused: reader.u32()?,
    })
}
