//! Branches of our requests, which name their owner, so that an answer finds it without a table. RFC 3261 §8.1.1.7.

use bytes::BufMut;
use strowger::base::id::{TOKEN_LEN, Token};

use super::octets::decimal;
use super::scan;

const COOKIE: &[u8] = b"z9hG4bK";

/// Whose request a branch belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A call of the calling side.
    Uac,
    /// A call of the answering side.
    Uas,
    /// A registration.
    Register,
}

/// The branch of an owner's request number `serial`.
#[derive(Clone, Copy, Debug)]
pub struct Branch {
    token: [u8; TOKEN_LEN],
    owner: Owner,
    serial: u32,
}

impl Branch {
    /// With the token as it is written.
    pub fn new(token: [u8; TOKEN_LEN], owner: Owner, serial: u32) -> Self {
        Self { token, owner, serial }
    }

    /// Appends it.
    pub fn write(&self, out: &mut impl BufMut) {
        out.put_slice(COOKIE);
        out.put_slice(&self.token);
        out.put_slice(match self.owner {
            Owner::Uac => b"c",
            Owner::Uas => b"u",
            Owner::Register => b"r",
        });
        decimal(out, self.serial);
    }

    /// Reads a branch of ours.
    pub fn read(branch: &[u8]) -> Option<(Token, Owner, u32)> {
        let text = branch.strip_prefix(COOKIE)?;
        let token = Token::decode(text)?;
        let owner = match text.get(TOKEN_LEN)? {
            b'c' => Owner::Uac,
            b'u' => Owner::Uas,
            b'r' => Owner::Register,
            _ => return None,
        };
        Some((token, owner, scan::number(&text[TOKEN_LEN + 1..])?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strowger::base::{ShardId, Slot};

    #[test]
    fn a_branch_names_its_owner() {
        let token = Token { shard: ShardId(3), slot: Slot { index: 9, generation: 2 }, salt: 77 };
        let mut text = Vec::new();
        Branch::new(token.encode(), Owner::Register, 4_000_000_000).write(&mut text);
        assert_eq!(Branch::read(&text), Some((token, Owner::Register, 4_000_000_000)));
        assert_eq!(Branch::read(b"z9hG4bKsomething-of-another"), None);
        assert_eq!(Branch::read(&text[..text.len() - 10]), None);
    }
}
