//! Numbers and names as octets, most significant first: what the wire and the ledger are made of.
//!
//! Owned by [`super`]. A [`Reader`] takes what it is asked for or says that it is not there; it never looks past its end.

use crate::tally::message::ACCOUNT_NAME_MAX;
use std::sync::Arc;

/// What is wrong with octets, in words for the log.
pub type Malformed = &'static str;

pub(in crate::tally) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(in crate::tally) const fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or("it ends too early")?;
        self.rest = rest;
        Ok(*head)
    }

    pub(in crate::tally) fn u8(&mut self) -> Result<u8, Malformed> {
        self.take::<1>().map(|[octet]| octet)
    }

    pub(in crate::tally) fn u16(&mut self) -> Result<u16, Malformed> {
        self.take().map(u16::from_be_bytes)
    }

    pub(in crate::tally) fn u32(&mut self) -> Result<u32, Malformed> {
        self.take().map(u32::from_be_bytes)
    }

    pub(in crate::tally) fn u64(&mut self) -> Result<u64, Malformed> {
        self.take().map(u64::from_be_bytes)
    }

    pub(in crate::tally) fn u128(&mut self) -> Result<u128, Malformed> {
        self.take().map(u128::from_be_bytes)
    }

    pub(in crate::tally) fn boolean(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err("neither true nor false"),
        }
    }

    /// A name of 1 to [`ACCOUNT_NAME_MAX`] octets.
    pub(in crate::tally) fn name(&mut self) -> Result<Arc<str>, Malformed> {
        let len = usize::from(self.u8()?);
        let (name, rest) = self.rest.split_at_checked(len).ok_or("a name ends too early")?;
        self.rest = rest;
        if name.is_empty() {
            return Err("an empty name");
        }
        std::str::from_utf8(name).map(Arc::from).map_err(|_| "a name is not UTF-8")
    }

    pub(in crate::tally) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Nothing may be left.
    pub(in crate::tally) const fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err("octets left over") }
    }
}

/// A value that has no form on the wire or in the ledger: a name that is empty or too long, or too much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oversize;

impl std::fmt::Display for Oversize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name is empty or longer than 255 octets, or there is too much for one message")
    }
}

impl std::error::Error for Oversize {}

pub(in crate::tally) fn put_name(out: &mut Vec<u8>, name: &str) -> Result<(), Oversize> {
    if name.is_empty() || name.len() > ACCOUNT_NAME_MAX {
        return Err(Oversize);
    }
    out.push(u8::try_from(name.len()).map_err(|_| Oversize)?);
    out.extend_from_slice(name.as_bytes());
    Ok(())
}

pub(in crate::tally) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(in crate::tally) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(in crate::tally) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(in crate::tally) fn put_u128(out: &mut Vec<u8>, value: u128) {
    out.extend_from_slice(&value.to_be_bytes());
}
