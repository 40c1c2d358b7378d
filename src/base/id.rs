//! Names that carry their owner: a shard, a slot, a generation, so that any shard can hand a message to the right one.

use super::slab::Slot;
use serde::{Deserialize, Serialize};

/// One shard of this node, counted from zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShardId(pub u8);

/// What our own tags, Call-IDs and branches carry: the owner and its slot. The salt makes them unguessable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Token {
    /// The shard that owns the call.
    pub shard: ShardId,
    /// The slot in its table.
    pub slot: Slot,
    /// Random; compared by the owner.
    pub salt: u32,
}

/// Length of a written token: one marker, then hexadecimal shard, index, generation, salt.
pub const TOKEN_LEN: usize = 1 + 2 + 8 + 8 + 8;
const MARKER: u8 = b's';
const HEX: &[u8; 16] = b"0123456789abcdef";

impl Token {
    /// The token as it stands in a tag, a Call-ID or behind the branch cookie.
    #[must_use]
    pub fn encode(self) -> [u8; TOKEN_LEN] {
        let mut out = [MARKER; TOKEN_LEN];
        let words = [
            (u64::from(self.shard.0), 2),
            (u64::from(self.slot.index), 8),
            (u64::from(self.slot.generation), 8),
            (u64::from(self.salt), 8),
        ];
        let mut at = 1;
        for (value, digits) in words {
            for digit in (0..digits).rev() {
                out[at] = HEX[(value >> (digit * 4)) as usize & 0xf];
                at += 1;
            }
        }
        out
    }

    /// Reads the token at the start of `text`; what follows it is not looked at.
    #[must_use]
    pub fn decode(text: &[u8]) -> Option<Self> {
        let text = text.get(..TOKEN_LEN)?;
        if text[0] != MARKER {
            return None;
        }
        let shard = hex(&text[1..3])?;
        Some(Self {
            shard: ShardId(u8::try_from(shard).ok()?),
            slot: Slot { index: hex(&text[3..11])?, generation: hex(&text[11..19])? },
            salt: hex(&text[19..27])?,
        })
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u32::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_token_reads_back(shard: u8, index: u32, generation: u32, salt: u32) {
            let token = Token { shard: ShardId(shard), slot: Slot { index, generation }, salt };
            let mut text = token.encode().to_vec();
            text.extend_from_slice(b"-2");
            prop_assert_eq!(Token::decode(&text), Some(token));
        }

        #[test]
        fn foreign_text_never_panics(text: Vec<u8>) {
            let _ = Token::decode(&text);
        }
    }
}
