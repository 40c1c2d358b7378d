//! The merge laws, and copies that heal whatever happens to what they are told.

use super::*;
use crate::base::{ShardId, Slot};
use crate::tally::sessions::rows::hash_for_test;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

const ROWS_MAX: usize = 1_000;

fn keyed() -> RandomState {
    RandomState::with_seeds(1, 2, 3, 4)
}

fn token(number: u32) -> Token {
    Token { shard: ShardId(1), slot: Slot { index: number, generation: 1 }, salt: 7 }
}

fn account(number: u32) -> Arc<str> {
    format!("account-{}", number % 5).into()
}

fn identity(name: &str, disk: u128, incarnation: u32) -> Identity {
    Identity { name: name.into(), disk, incarnation }
}

fn bounds() -> Bounds {
    Bounds { rows_max: ROWS_MAX, operations_max: 16, sites_max: 4 }
}

/// What a site did: each step begins a call, or ends the one at that place among those that are up.
type Life = Vec<(bool, prop::sample::Index)>;

fn life() -> impl Strategy<Value = Life> {
    vec((prop::bool::weighted(0.6), any::<prop::sample::Index>()), 0..60)
}

/// All operations of a life.
fn operations(life: &Life) -> Vec<Operation> {
    let (mut up, mut out) = (Vec::new(), Vec::new());
    for (number, (begins, which)) in (1u64..).zip(life) {
        if *begins || up.is_empty() {
            up.push(number);
            let row = Row { account: account(number as u32), call: token(number as u32), started: Instant::ZERO };
            out.push(Operation::Began(row));
        } else {
            out.push(Operation::Ended { row: up.swap_remove(which.index(up.len())) });
        }
    }
    out
}

/// The state after `length` operations of the life of an incarnation.
fn prefix(lives: &[Life], (incarnation, length): (usize, prop::sample::Index)) -> Replica {
    let operations = operations(&lives[incarnation]);
    let length = length.index(operations.len() + 1);
    let mut replica = Replica::new(incarnation as u32, ROWS_MAX, keyed());
    assert_eq!(replica.apply(incarnation as u32, 1, operations[..length].to_vec()), Applied::New(length));
    replica
}

/// Everything that a replica is, in a form that can be compared.
fn state(replica: &Replica) -> (u32, u64, u64, BTreeMap<u64, Row>) {
    let rows = replica.rows().map(|row| (row.number, row.to_row())).collect();
    (replica.incarnation(), replica.sequence(), replica.hash(), rows)
}

fn merged(one: &Replica, other: &Replica) -> Replica {
    let mut replica = one.clone();
    replica.merge(other.clone());
    replica
}

/// Two lives of a site, and how much of which somebody knows.
fn known() -> impl Strategy<Value = (usize, prop::sample::Index)> {
    (0..2usize, any::<prop::sample::Index>())
}

proptest! {
    #[test]
    fn merging_is_a_join(lives in [life(), life()], a in known(), b in known(), c in known()) {
        let [a, b, c] = [a, b, c].map(|known| prefix(&lives, known));
        prop_assert_eq!(state(&merged(&a, &b)), state(&merged(&b, &a)), "commutative");
        prop_assert_eq!(state(&merged(&merged(&a, &b), &c)), state(&merged(&a, &merged(&b, &c))), "associative");
        prop_assert_eq!(state(&merged(&a, &a)), state(&a), "idempotent");
        let joined = merged(&a, &b);
        for part in [&a, &b] {
            let order = |one: &Replica| (one.incarnation(), one.sequence());
            prop_assert!(order(&joined) >= order(part), "monotone");
            prop_assert_eq!(state(&merged(&joined, part)), state(&joined), "an upper bound");
        }
    }

    #[test]
    fn the_tables_agree_with_the_operations(life in life()) {
        let all = operations(&life);
        let mut replica = Replica::new(0, ROWS_MAX, keyed());
        let mut expected = BTreeMap::new();
        for (number, operation) in (1u64..).zip(all) {
            match operation.clone() {
                Operation::Began(row) => {
                    expected.insert(number, row);
                }
                Operation::Ended { row } => {
                    expected.remove(&row);
                }
            }
            replica.apply(0, number, vec![operation]);
            prop_assert_eq!(&state(&replica).3, &expected);
            let hash = expected.iter().fold(0u64, |sum, (number, row)| sum.wrapping_add(hash_for_test(*number, row)));
            prop_assert_eq!(replica.hash(), hash);
        }
        let mut sum = 0;
        for number in 0..5 {
            let name = account(number);
            let mut of_it: Vec<u64> = replica.of_account(&name).map(|row| row.number).collect();
            of_it.sort_unstable();
            let expected: Vec<u64> =
                expected.iter().filter(|(_, row)| row.account == name).map(|(number, _)| *number).collect();
            prop_assert_eq!(&of_it, &expected);
            prop_assert_eq!(replica.count(&name) as usize, expected.len());
            sum += expected.len();
        }
        prop_assert_eq!(replica.accounts().map(|(_, count)| count as usize).sum::<usize>(), sum);
        prop_assert_eq!(replica.accounts().count(), (0..5).filter(|one| replica.count(&account(*one)) > 0).count());
    }

    /// Pieces of the operations, some lost, some twice, in any order; then a digest is compared until nothing is missing.
    #[test]
    fn whatever_is_lost_or_doubled_heals(
        life in life(),
        pieces in vec((any::<prop::sample::Index>(), 1..9usize), 0..30),
        snapshot_order in any::<u64>(),
    ) {
        let all = operations(&life);
        let writer = identity("ams", 1, 3);
        let mut random = Random::from_u64(snapshot_order);
        let mut own = Sessions::new(writer.clone(), bounds(), &mut random);
        replay(&mut own, &all);
        let mut reader = Sessions::new(identity("ber", 2, 1), bounds(), &mut random);
        reader.link_up(&writer).unwrap();
        for (start, length) in pieces.into_iter().filter(|_| !all.is_empty()) {
            let start = start.index(all.len());
            let operations = all[start..all.len().min(start + length)].to_vec();
            let before = reader.replica(&writer).unwrap().sequence();
            let message = SessionMessage::Operations { first: start as u64 + 1, operations };
            let reaction = reader.handle(Instant::ZERO, &writer, message);
            prop_assert_eq!(matches!(reaction, Reaction::Reply(_)), start as u64 > before, "a gap is asked for");
            prop_assert!(reader.replica(&writer).unwrap().sequence() >= before);
        }
        heal(&own, &mut reader, &mut random);
        prop_assert_eq!(state(reader.replica(&writer).unwrap()), state(own.own()));
        prop_assert!(!reader.sites().next().unwrap().behind);
    }

    #[test]
    fn a_peer_says_what_it_likes(messages in vec(nonsense(), 0..40)) {
        let peer = identity("ams", 1, 3);
        let mut reader = Sessions::new(identity("ber", 2, 1), bounds(), &mut Random::from_u64(1));
        reader.link_up(&peer).unwrap();
        for message in messages {
            let _ = reader.handle(Instant::ZERO, &peer, message);
            let replica = reader.replica(&peer).unwrap();
            prop_assert!(replica.len() <= ROWS_MAX);
            prop_assert_eq!(replica.rows().count(), replica.len());
        }
    }
}

fn nonsense() -> impl Strategy<Value = SessionMessage> {
    let number = || prop_oneof![0..20u64, Just(u64::MAX - 1), Just(u64::MAX)];
    let row = || any::<u32>().prop_map(|one| Row { account: account(one), call: token(one), started: Instant::ZERO });
    let operation = prop_oneof![row().prop_map(Operation::Began), number().prop_map(|row| Operation::Ended { row })];
    prop_oneof![
        (number(), vec(operation, 0..5))
            .prop_map(|(first, operations)| SessionMessage::Operations { first: first.max(1), operations }),
        (number(), 0..3u32, 0..4u32, vec((number(), row()), 0..4))
            .prop_map(|(at, part, parts, rows)| SessionMessage::Snapshot { at, part, parts, rows }),
        (number(), any::<u32>(), any::<u64>()).prop_map(|(sequence, rows, hash)| {
            SessionMessage::Digest(Digest { sequence, rows, hash, unlisted: rows })
        }),
    ]
}

/// Makes a site's own rows by its calls.
fn replay(sessions: &mut Sessions, operations: &[Operation]) {
    let mut rows = BTreeMap::new();
    for (number, operation) in (1u64..).zip(operations) {
        match operation {
            Operation::Began(row) => {
                sessions.began(Arc::clone(&row.account), row.call, row.started);
                rows.insert(number, row.clone());
            }
            Operation::Ended { row } => {
                let row = rows.remove(row).unwrap();
                sessions.ended(&row.account, row.call);
            }
        }
        assert_eq!(sessions.sequence(), number);
    }
}

/// Digests and what they lead to, the parts of a snapshot in any order and some of them twice.
fn heal(own: &Sessions, reader: &mut Sessions, random: &mut Random) {
    let writer = own.identity().clone();
    for _ in 0..3 {
        let Reaction::Reply(want) = reader.handle(Instant::ZERO, &writer, own.digest()) else { return };
        let SessionMessage::Want { after: mut cursor } = want else { panic!("a reply is a wish") };
        loop {
            match own.news(cursor) {
                News::Nothing => break,
                News::Operations { message, up_to } => {
                    let _ = reader.handle(Instant::ZERO, &writer, message);
                    cursor = up_to;
                }
                News::Snapshot(snapshot) => {
                    cursor = snapshot.up_to();
                    let mut parts: Vec<_> = snapshot.collect();
                    parts.extend_from_within(..parts.len() / 2);
                    while !parts.is_empty() {
                        let part = parts.swap_remove(random.below(parts.len() as u64) as usize);
                        let _ = reader.handle(Instant::ZERO, &writer, part);
                    }
                }
            }
        }
    }
    panic!("it does not heal");
}

/// A site with `count` calls up.
fn busy(incarnation: u32, count: u32) -> Sessions {
    let bounds = Bounds { rows_max: 5_000, ..bounds() };
    let mut own = Sessions::new(identity("ams", 1, incarnation), bounds, &mut Random::from_u64(1));
    for number in 0..count {
        own.began(account(number), token(number), Instant::from_millis(u64::from(number)));
    }
    own
}

#[test]
fn a_site_that_is_far_behind_gets_all_rows_in_parts() {
    let own = busy(1, 4_000);
    let mut reader =
        Sessions::new(identity("ber", 2, 1), Bounds { rows_max: 5_000, ..bounds() }, &mut Random::from_u64(2));
    assert_eq!(reader.link_up(own.identity()), Ok(SessionMessage::Want { after: 0 }));
    let News::Snapshot(snapshot) = own.news(0) else { panic!("16 operations are kept") };
    assert!(snapshot.count() > 1, "more than one part");
    heal(&own, &mut reader, &mut Random::from_u64(3));
    assert_eq!(state(reader.replica(own.identity()).unwrap()), state(own.own()));
    assert_eq!(reader.counters().snapshots, 1);
    assert_eq!(
        reader.counts("account-0").map(|(site, count)| (&*site.name, count)).collect::<Vec<_>>(),
        [("ams", 800)]
    );
    assert_eq!(reader.rows_of("account-0").count(), 800);
}

#[test]
fn a_lower_incarnation_is_fenced() {
    let (old, new) = (busy(1, 3), busy(2, 5));
    let mut reader = Sessions::new(identity("ber", 2, 1), bounds(), &mut Random::from_u64(2));
    reader.link_up(old.identity()).unwrap();
    heal(&old, &mut reader, &mut Random::from_u64(3));
    assert_eq!(reader.replica(old.identity()).unwrap().len(), 3);
    assert_eq!(reader.link_up(new.identity()), Ok(SessionMessage::Want { after: 0 }));
    assert_eq!(reader.replica(new.identity()).unwrap().len(), 0, "the calls of a process that is gone are gone");
    let News::Operations { message, .. } = old.news(0) else { panic!("few operations") };
    assert_eq!(reader.handle(Instant::ZERO, old.identity(), message), Reaction::Nothing);
    assert_eq!((reader.counters().fenced, reader.replica(new.identity()).unwrap().len()), (1, 0));
    assert_eq!(reader.link_up(old.identity()), Err(Fenced { seen: 2 }));
    reader.link_down(old.identity());
    assert!(reader.sites().next().unwrap().linked, "the end of an old link does not end the new one");
}

#[test]
fn a_copy_that_differs_is_asked_for_anew() {
    let own = busy(1, 3);
    let mut reader = Sessions::new(identity("ber", 2, 1), bounds(), &mut Random::from_u64(2));
    reader.link_up(own.identity()).unwrap();
    let forged = vec![Operation::Began(Row { account: account(9), call: token(9), started: Instant::ZERO }); 3];
    let _ = reader.handle(Instant::ZERO, own.identity(), SessionMessage::Operations { first: 1, operations: forged });
    heal(&own, &mut reader, &mut Random::from_u64(3));
    assert_eq!(state(reader.replica(own.identity()).unwrap()), state(own.own()));
    assert_eq!(reader.counters().diverged, 1);
}

#[test]
fn a_full_table_counts_what_it_does_not_list() {
    let small = Bounds { rows_max: 2, ..bounds() };
    let mut own = Sessions::new(identity("ams", 1, 1), small, &mut Random::from_u64(1));
    for number in 0..4 {
        own.began(account(0), token(number), Instant::ZERO);
        own.began(account(0), token(number), Instant::ZERO);
    }
    assert_eq!((own.own().len(), own.unlisted(), own.counters().rows_full), (2, 4, 4));
    own.ended("account-0", token(3));
    own.ended("account-0", token(0));
    assert_eq!((own.own().len(), own.unlisted()), (1, 3));
    let mut reader = Sessions::new(identity("ber", 2, 1), small, &mut Random::from_u64(2));
    reader.link_up(own.identity()).unwrap();
    heal(&own, &mut reader, &mut Random::from_u64(3));
    assert_eq!(reader.sites().next().unwrap().unlisted, 3, "its word, with the digest");
}

#[test]
fn a_reader_that_is_full_says_so_and_stays_in_step() {
    let own = busy(1, 10);
    let small = Bounds { rows_max: 4, ..bounds() };
    let mut reader = Sessions::new(identity("ber", 2, 1), small, &mut Random::from_u64(2));
    reader.link_up(own.identity()).unwrap();
    heal(&own, &mut reader, &mut Random::from_u64(3));
    let view = reader.sites().next().unwrap();
    assert_eq!((view.rows, view.unlisted, view.sequence, view.behind), (4, 6, 10, false));
}

#[test]
fn silence_is_stated() {
    let own = busy(1, 1);
    let mut reader = Sessions::new(identity("ber", 2, 1), bounds(), &mut Random::from_u64(2));
    reader.link_up(own.identity()).unwrap();
    assert_eq!(reader.sites().next().unwrap().heard, None);
    let _ = reader.handle(Instant::from_millis(7), own.identity(), own.digest());
    let view = reader.sites().next().unwrap();
    assert_eq!((view.heard, view.behind, view.linked), (Some(Instant::from_millis(7)), true, true));
    reader.link_down(own.identity());
    assert!(!reader.sites().next().unwrap().linked);
    reader.forget("ams", 1);
    assert_eq!(reader.sites().count(), 0);
}

#[test]
fn sites_are_bounded_and_the_longest_silent_goes() {
    let mut reader = Sessions::new(identity("ber", 2, 1), bounds(), &mut Random::from_u64(2));
    for disk in 10..14 {
        let peer = identity("ams", disk, 1);
        reader.link_up(&peer).unwrap();
        let digest = SessionMessage::Digest(Digest::default());
        let _ = reader.handle(Instant::from_millis(disk as u64), &peer, digest);
    }
    assert_eq!(
        reader.link_up(&identity("ams", 14, 1)),
        Ok(SessionMessage::Want { after: u64::MAX }),
        "asks for nothing"
    );
    assert_eq!(reader.counters().sites_full, 1);
    reader.link_down(&identity("ams", 12, 1));
    reader.link_down(&identity("ams", 11, 1));
    assert_eq!(reader.link_up(&identity("ams", 14, 1)), Ok(SessionMessage::Want { after: 0 }));
    assert_eq!(reader.sites().map(|site| site.identity.disk).collect::<Vec<_>>(), [10, 12, 13, 14]);
}

#[test]
fn the_hash_of_rows_is_part_of_the_protocol() {
    let row = Row { account: "atlanta.example".into(), call: token(5), started: Instant::from_millis(3) };
    assert_eq!(hash_for_test(9, &row), 17_219_778_525_942_860_615);
}
