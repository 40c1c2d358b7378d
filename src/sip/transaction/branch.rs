//! Branches that find their way home: the cookie of RFC 3261 §8.1.1.7, the token of the call and 64 random bits.

use crate::base::Random;
use crate::base::id::{TOKEN_LEN, Token};
use crate::sip::wire::BRANCH_COOKIE;

const SALT_LEN: usize = 16;

/// Length of a branch of ours.
pub const BRANCH_LEN: usize = BRANCH_COOKIE.len() + TOKEN_LEN + SALT_LEN;

/// A branch of ours.
pub type Branch = [u8; BRANCH_LEN];

pub(super) fn new_branch(random: &mut Random, token: Token) -> Branch {
    let mut branch = [0; BRANCH_LEN];
    let (cookie, rest) = branch.split_at_mut(BRANCH_COOKIE.len());
    let (owner, salt) = rest.split_at_mut(TOKEN_LEN);
    cookie.copy_from_slice(BRANCH_COOKIE);
    owner.copy_from_slice(&token.encode());
    salt.copy_from_slice(&random.hex::<SALT_LEN>());
    branch
}

/// Whose call a branch of ours belongs to: a response that reaches another shard is handed to that one.
#[must_use]
pub fn owner_of_branch(branch: &[u8]) -> Option<Token> {
    Token::decode(branch.strip_prefix(BRANCH_COOKIE)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ShardId, Slot};

    #[test]
    fn a_branch_names_its_owner_and_is_new_each_time() {
        let token = Token { shard: ShardId(3), slot: Slot { index: 7, generation: 9 }, salt: 11 };
        let mut random = Random::from_u64(1);
        let (first, second) = (new_branch(&mut random, token), new_branch(&mut random, token));
        assert_ne!(first, second);
        assert_eq!((owner_of_branch(&first), owner_of_branch(&second)), (Some(token), Some(token)));
        assert_eq!((owner_of_branch(b"z9hG4bKabc"), owner_of_branch(&first[7..])), (None, None));
    }
}
