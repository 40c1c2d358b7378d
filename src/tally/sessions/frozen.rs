//! The session database at rest, to go on in another process as the same incarnation.
//!
//! Owned by [`Sessions`]. Our own rows go along: nobody else can write them, and their numbers must go on, since other
//! sites hold copies that are prefixes of our operations. With them go the last operations, for sites that missed a few
//! while the link was cut; who is further behind gets a snapshot, as ever.
//!
//! Copies of other sites stay behind. They decide nothing, each of them may be as large as our own rows, and the pause is
//! as long as what is frozen is large; every new link asks for them anyway ([`Sessions::link_up`]), and what is over the
//! link comes after the pause. The price: of a site that cannot be reached now, people see no calls until it can.

use super::message::{Operation, Row};
use super::own::Own;
use super::{Bounds, Counters, Sessions};
use crate::tally::message::Identity;
use ahash::RandomState;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Operations that go along: of some seconds under full load, and a fraction of what the rows take.
const OPERATIONS_KEPT: usize = 4_096;
/// Operations are numbered far below the end of their numbers.
const SEQUENCE_MAX: u64 = 1 << 62;

/// [`Sessions`] at rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Frozen {
    identity: Identity,
    sequence: u64,
    /// Each with its number, oldest first.
    rows: Vec<(u64, Row)>,
    /// The last ones.
    operations: Vec<Operation>,
    unlisted: u32,
    /// Of the tables' keys.
    seeds: [u64; 4],
    counters: Counters,
}

impl Sessions {
    /// Our own rows and how they came about.
    #[must_use]
    pub fn freeze(&self) -> Frozen {
        let (rows, operations) = self.own.at_rest(OPERATIONS_KEPT);
        Frozen {
            identity: self.identity.clone(),
            sequence: self.sequence(),
            rows,
            operations,
            unlisted: self.unlisted(),
            seeds: self.seeds,
            counters: self.counters,
        }
    }

    /// A database that goes on where another one stopped, without links.
    ///
    /// # Errors
    /// What is frozen is damaged, or larger than the bounds.
    pub fn thaw(bounds: Bounds, frozen: Frozen) -> Result<Self, String> {
        let Frozen { identity, sequence, rows, operations, unlisted, seeds, counters } = frozen;
        if sequence > SEQUENCE_MAX || counters.all().into_iter().any(|count| count > SEQUENCE_MAX) {
            return Err("the sessions at rest are damaged: a count is too high".to_owned());
        }
        let [a, b, c, d] = seeds;
        let keyed = RandomState::with_seeds(a, b, c, d);
        let own = Own::new(identity.incarnation, bounds.rows_max, bounds.operations_max, keyed.clone());
        let Some(own) = own.resumed(sequence, rows, operations, unlisted) else {
            return Err("the sessions at rest contradict themselves, or are more than there is room for".to_owned());
        };
        Ok(Self { identity, own, sites: BTreeMap::new(), bounds, seeds, keyed, counters })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Token;
    use crate::base::{Instant, Random, ShardId, Slot};
    use crate::tally::sessions::{News, Reaction, SessionMessage};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::sync::Arc;

    const BOUNDS: Bounds = Bounds { rows_max: 30, operations_max: 16, sites_max: 2 };

    fn token(number: u32) -> Token {
        Token { shard: ShardId(1), slot: Slot { index: number, generation: 1 }, salt: 7 }
    }

    fn account(number: u32) -> Arc<str> {
        format!("account-{}", number % 3).into()
    }

    fn sessions(name: &str) -> Sessions {
        let identity = Identity { name: name.into(), disk: u128::MAX - 5, incarnation: 3 };
        Sessions::new(identity, BOUNDS, &mut Random::from_u64(1))
    }

    /// Calls that begin and end; more than there is room for.
    fn live(sessions: &mut Sessions, life: &[(bool, u32)]) {
        for (begins, call) in life {
            match begins {
                true => sessions.began(account(*call), token(*call), Instant::from_millis(u64::from(*call))),
                false => sessions.ended(&account(*call), token(*call)),
            }
        }
    }

    fn life() -> impl Strategy<Value = Vec<(bool, u32)>> {
        vec((prop::bool::weighted(0.7), 0..50_u32), 0..120)
    }

    fn octets(sessions: &Sessions) -> Vec<u8> {
        rmp_serde::to_vec_named(&sessions.freeze()).unwrap()
    }

    /// Brings the copy of `from` up to date, over a new link.
    fn follow(from: &Sessions, to: &mut Sessions) {
        let peer = from.identity().clone();
        let now = Instant::from_millis(1);
        let SessionMessage::Want { mut after } = to.link_up(&peer).unwrap() else { panic!("it wants nothing") };
        for _ in 0..100 {
            after = match from.news(after) {
                News::Nothing => break,
                News::Operations { message, up_to } => {
                    assert_eq!(to.handle(now, &peer, message), Reaction::Nothing);
                    up_to
                }
                News::Snapshot(parts) => {
                    let up_to = parts.up_to();
                    parts.for_each(|part| assert_eq!(to.handle(now, &peer, part), Reaction::Nothing));
                    up_to
                }
            };
        }
        assert_eq!(to.handle(now, &peer, from.digest()), Reaction::Nothing, "the copy is the same");
        assert_eq!(to.replica(&peer).map(|copy| copy.hash()), Some(from.own().hash()));
    }

    proptest! {
        #[test]
        fn a_thawed_site_goes_on_and_copies_follow(before in life(), after in life(), seen: prop::sample::Index) {
            let (mut site, mut other) = (sessions("a"), sessions("b"));
            let (old, new) = before.split_at(seen.index(before.len() + 1));
            live(&mut site, old);
            follow(&site, &mut other);
            live(&mut site, new);
            let frozen = octets(&site);
            let mut thawed = Sessions::thaw(BOUNDS, rmp_serde::from_slice(&frozen).unwrap()).unwrap();
            prop_assert!(octets(&thawed) == frozen);
            prop_assert_eq!((thawed.digest(), thawed.counters()), (site.digest(), site.counters()));
            follow(&thawed, &mut other);
            // From here on both live the same life.
            live(&mut site, &after);
            live(&mut thawed, &after);
            prop_assert_eq!((thawed.digest(), thawed.counters()), (site.digest(), site.counters()));
            prop_assert!(octets(&thawed) == octets(&site));
            follow(&thawed, &mut other);
        }

        #[test]
        fn damaged_octets_are_an_error_or_a_database(
            before in life(),
            damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            after in life(),
        ) {
            let mut site = sessions("a");
            live(&mut site, &before);
            let mut octets = octets(&site);
            for (at, octet) in damage {
                let at = at.index(octets.len());
                octets[at] = octet;
            }
            let Ok(frozen) = rmp_serde::from_slice::<Frozen>(&octets) else { return Ok(()) };
            if let Ok(mut thawed) = Sessions::thaw(BOUNDS, frozen) {
                live(&mut thawed, &after);
                (0..9).for_each(|after| drop(thawed.news(after)));
            }
        }

        #[test]
        fn any_octets_are_read_without_harm(octets: Vec<u8>) {
            let _ = rmp_serde::from_slice::<Frozen>(&octets);
        }
    }

    #[test]
    fn more_rows_than_there_is_room_for_are_refused() {
        let mut site = sessions("a");
        live(&mut site, &[(true, 1), (true, 2)]);
        let less = Bounds { rows_max: 1, ..BOUNDS };
        assert!(Sessions::thaw(less, site.freeze()).is_err());
    }
}
