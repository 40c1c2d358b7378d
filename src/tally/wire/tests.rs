//! What goes in comes out, at both versions; what is cut, foreign or newer is refused.

use super::*;
use crate::base::id::Token;
use crate::base::time::Duration;
use crate::base::{ShardId, Slot};
use crate::tally::message::{Figures, LoanId, RequestId};
use crate::tally::sessions::{Digest, Operation, Row as Session};
use crate::tally::terms::{BUCKETS, Row, Shared};
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::Arc;

fn name() -> impl Strategy<Value = Arc<str>> {
    prop_oneof![Just("atlanta".to_owned()), Just("é".repeat(127)), "[a-z0-9.-]{1,12}"].prop_map(Arc::from)
}

fn instant() -> impl Strategy<Value = Instant> {
    any::<u64>().prop_map(Instant::from_nanos)
}

fn identity() -> impl Strategy<Value = Identity> {
    (name(), any::<u128>(), any::<u32>()).prop_map(|(name, disk, incarnation)| Identity { name, disk, incarnation })
}

fn row() -> impl Strategy<Value = Session> {
    (name(), any::<(u8, u32, u32, u32)>(), instant()).prop_map(
        |(account, (shard, index, generation, salt), started)| {
            let call = Token { shard: ShardId(shard), slot: Slot { index, generation }, salt };
            Session { account, call, started }
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![row().prop_map(Operation::Began), any::<u64>().prop_map(|row| Operation::Ended { row })]
}

fn sessions() -> impl Strategy<Value = SessionMessage> {
    prop_oneof![
        any::<u64>().prop_map(|after| SessionMessage::Want { after }),
        (1..u64::MAX, vec(operation(), 0..9))
            .prop_map(|(first, operations)| SessionMessage::Operations { first, operations }),
        (any::<u64>(), 0..9u32, vec((any::<u64>(), row()), 0..9))
            .prop_map(|(at, part, rows)| SessionMessage::Snapshot { at, part, parts: 9, rows }),
        any::<(u64, u32, u64, u32)>().prop_map(|(sequence, rows, hash, unlisted)| {
            SessionMessage::Digest(Digest { sequence, rows, hash, unlisted })
        }),
    ]
}

fn rights() -> impl Strategy<Value = Message> {
    let request = any::<(u32, u64)>().prop_map(|(incarnation, number)| RequestId { incarnation, number });
    let loan = any::<(u32, u64)>().prop_map(|(incarnation, number)| LoanId { incarnation, number });
    (0..15, request, loan, name(), any::<(u32, u64, bool)>(), any::<[u32; 5]>(), instant()).prop_map(
        |(kind, request, loan, account, (amount, total, clear), five, sent_at)| match kind {
            0 => Message::Request { request, account, wanted: amount, urgent: clear, sent_at },
            1 => Message::Loan { request, loan, account, amount, sent_at },
            2 => Message::Denied { request },
            3 => Message::Renew { loan, sent_at },
            4 => Message::Renewed { loan, sent_at },
            5 => Message::Closed { loan },
            6 => Message::Return { loan },
            7 => Message::Placed { account, total },
            8 => Message::Received { account, total },
            9 => Message::Ceded { account, total },
            10 => Message::Settled { account, total },
            11 => Message::Recall { account, amount },
            12 => Message::Founding { round: total },
            13 => Message::Founded { clear, round: total },
            _ => {
                let [base, lent, borrowed, live, refused] = five;
                Message::Figures { account, figures: Figures { base, lent, borrowed, live, refused } }
            }
        },
    )
}

fn terms() -> impl Strategy<Value = TermsMessage> {
    let row =
        (name(), any::<u32>(), proptest::option::of(name())).prop_map(|(name, limit, home)| Row { name, limit, home });
    let part = 0..BUCKETS as u16;
    prop_oneof![
        any::<(u64, u64, u32, bool, u32, u32, u64)>().prop_map(
            |(lease, max_call, drift_ppm, drops, allowance, accounts, hash)| {
                let (lease, max_call) = (Duration::from_nanos(lease), Duration::from_nanos(max_call));
                let shared = Shared { lease, max_call, drift_ppm, drops, allowance };
                TermsMessage::Digest { shared, accounts, hash }
            }
        ),
        Just(TermsMessage::AskParts),
        any::<[u64; 4]>().prop_map(|sums| {
            let mut parts = Box::new([0; BUCKETS]);
            parts[..4].copy_from_slice(&sums);
            TermsMessage::Parts(parts)
        }),
        part.clone().prop_map(|part| TermsMessage::AskRows { part }),
        (part, vec(row, 0..9), any::<bool>()).prop_map(|(part, rows, cut)| TermsMessage::Rows { part, rows, cut }),
    ]
}

/// A frame that both versions have.
fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        (1..9u8, 0..9u8, identity(), instant(), any::<(u64, u64)>()).prop_map(
            |(oldest, more, identity, clock, (calendar_ms, start))| {
                Frame::Hello(Hello { oldest, newest: oldest + more, identity, clock, calendar_ms, start })
            }
        ),
        instant().prop_map(|stamp| Frame::Ping { stamp }),
        (instant(), instant()).prop_map(|(stamp, clock)| Frame::Pong { stamp, clock }),
        rights().prop_map(Frame::Rights),
        sessions().prop_map(Frame::Sessions),
        any::<u8>().prop_map(|code| Frame::Bye(Bye::from_code(code))),
    ]
}

fn encoded(version: u8, frame: &Frame) -> Vec<u8> {
    let mut out = Vec::new();
    encode(version, frame, &mut out).expect("a frame that fits");
    out
}

/// What a version has no room for is read as it was before.
fn as_read(version: u8, frame: &Frame) -> Frame {
    let mut frame = frame.clone();
    if let (2, Frame::Rights(message)) = (version, &mut frame) {
        match message {
            Message::Request { urgent, .. } => *urgent = true,
            Message::Founding { round } | Message::Founded { round, .. } => *round = 0,
            _ => {}
        }
    }
    frame
}

proptest! {
    #[test]
    fn every_frame_comes_back_at_both_versions(frames in vec(frame(), 1..5)) {
        for version in [VERSION_OLDEST, VERSION_NEWEST] {
            let mut stream: Vec<u8> = frames.iter().flat_map(|frame| encoded(version, frame)).collect();
            for sent in &frames {
                let (got, taken) = decode(&stream).expect("sound").expect("whole");
                prop_assert_eq!(&got, &as_read(version, sent));
                stream.drain(..taken);
            }
            prop_assert!(stream.is_empty());
        }
    }

    #[test]
    fn words_about_terms_come_back_and_version_2_has_none(message in terms()) {
        let frame = Frame::Terms(message);
        let mut octets = encoded(VERSION_NEWEST, &frame);
        for end in LENGTH_BYTES..octets.len() {
            prop_assert!(decode_one(&octets[LENGTH_BYTES..end]).is_err());
        }
        prop_assert_eq!(decode(&octets), Ok(Some((frame.clone(), octets.len()))));
        prop_assert_eq!(encode(VERSION_OLDEST, &frame, &mut Vec::new()), Err(Oversize));
        octets[LENGTH_BYTES] = VERSION_OLDEST;
        prop_assert_eq!(decode(&octets), Err(WireError::Kind(7)));
    }

    #[test]
    fn a_frame_that_is_not_all_there_is_waited_for(frame in frame(), version in VERSION_OLDEST..=VERSION_NEWEST) {
        let octets = encoded(version, &frame);
        for end in 0..octets.len() {
            prop_assert_eq!(decode(&octets[..end]), Ok(None));
        }
        // A frame that claims to be shorter than it is must not be taken for another one; a greeting may not be cut either.
        // It may have been written before there was a number of the start.
        let first = matches!(frame, Frame::Hello(_)).then(|| octets.len() - 8);
        for end in (LENGTH_BYTES..octets.len()).filter(|end| Some(*end) != first) {
            prop_assert!(decode_one(&octets[LENGTH_BYTES..end]).is_err());
        }
    }

    #[test]
    fn any_octets_are_a_frame_or_an_error(octets: Vec<u8>, version in 0..5u8, kind in 0..9u8, tag in 0..17u8) {
        let _ = decode(&octets);
        let _ = decode_one(&octets);
        let mut like = vec![version, kind, tag];
        like.extend_from_slice(&octets);
        if let Ok(frame) = decode_one(&like) {
            let again = encoded(version, &frame);
            prop_assert_eq!(decode_one(&again[LENGTH_BYTES..]), Ok(frame));
        }
    }

    #[test]
    fn a_changed_octet_never_panics(frame in frame(), at: prop::sample::Index, change in 1..=255u8) {
        let mut octets = encoded(VERSION_NEWEST, &frame);
        let at = at.index(octets.len());
        octets[at] ^= change;
        let _ = decode(&octets);
    }
}

fn hello(oldest: u8, newest: u8) -> Hello {
    let identity = Identity { name: "ams".into(), disk: 7, incarnation: 3 };
    Hello { oldest, newest, identity, clock: Instant::from_millis(5), calendar_ms: 1, start: 2 }
}

#[test]
fn the_newest_version_of_both_is_spoken() {
    assert_eq!(hello(2, 3).agree(), Ok(3));
    assert_eq!(hello(1, 2).agree(), Ok(2));
    assert_eq!(hello(3, 4).agree(), Ok(3));
    let older = hello(1, 1).agree().unwrap_err().to_string();
    assert!(older.ends_with("this site 2 to 3; upgrade the other site, one version at a time"), "{older}");
    let refused = hello(4, 5).agree().unwrap_err();
    assert_eq!(refused, NoCommonVersion { oldest: 4, newest: 5 });
    assert_eq!(
        refused.to_string(),
        "it speaks versions 4 to 5 of the link, this site 2 to 3; upgrade this site, one version at a time"
    );
}

#[test]
fn a_newer_frame_is_refused_by_its_version() {
    for frame in [Frame::Ping { stamp: Instant::ZERO }, Frame::Rights(Message::Founding { round: 1 })] {
        let octets = encoded(VERSION_NEWEST + 1, &frame);
        assert_eq!(decode(&octets), Err(WireError::Version(4)));
    }
    assert_eq!(
        WireError::Version(4).to_string(),
        "a frame of version 4; this site speaks 2 to 3",
        "what the operator reads"
    );
}

#[test]
fn a_greeting_of_a_later_version_can_be_read() {
    let mut octets = encoded(2, &Frame::Hello(hello(3, 9)));
    octets.extend_from_slice(b"what a later version adds");
    assert_eq!(decode_one(&octets[LENGTH_BYTES..]), Ok(Frame::Hello(hello(3, 9))));
}

#[test]
fn too_much_is_refused_on_both_sides() {
    let length = u32::try_from(FRAME_BYTES_MAX + 1).unwrap();
    assert_eq!(decode(&length.to_be_bytes()), Err(WireError::TooLong(length)));
    let mut out = vec![1, 2, 3];
    let long = Message::Recall { account: "a".repeat(256).into(), amount: 1 };
    assert_eq!(encode(2, &Frame::Rights(long), &mut out), Err(Oversize));
    let operations = vec![Operation::Ended { row: 1 }; FRAME_BYTES_MAX / 9];
    let many = SessionMessage::Operations { first: 1, operations };
    assert_eq!(encode(2, &Frame::Sessions(many), &mut out), Err(Oversize));
    assert_eq!(out, [1, 2, 3], "nothing of it is left");
    let mut claim = vec![2, 6, 2];
    claim.extend_from_slice(&1u64.to_be_bytes());
    claim.extend_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(decode_one(&claim), Err(WireError::Malformed("a count larger than what follows")));
}

#[test]
fn the_form_of_a_greeting_is_for_ever() {
    let octets = encoded(2, &Frame::Hello(hello(1, 2)));
    let expected: &[u8] = b"\0\0\0\x38\0\x01SWLK\x01\x02\x03ams\
        \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07\0\0\0\x03\0\0\0\0\0\x4c\x4b\x40\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02";
    assert_eq!(octets, expected);
    let first = Hello { start: 0, ..hello(1, 2) };
    let cut = octets.len() - 8;
    assert_eq!(decode_one(&octets[LENGTH_BYTES..cut]), Ok(Frame::Hello(first)), "as it was written at first");
}

proptest! {
    #[test]
    fn a_row_never_costs_more_than_it_says(operations in vec(operation(), 0..20), rows in vec((any::<u64>(), row()), 0..20)) {
        let said: usize = operations.iter().map(Operation::cost).sum();
        let took = encoded(2, &Frame::Sessions(SessionMessage::Operations { first: 1, operations })).len();
        prop_assert!(took <= said + 32);
        let said: usize = rows.iter().map(|(_, row)| row.cost()).sum();
        let took = encoded(2, &Frame::Sessions(SessionMessage::Snapshot { at: 1, part: 0, parts: 1, rows })).len();
        prop_assert!(took <= said + 32);
    }
}
