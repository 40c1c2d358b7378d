//! A ledger cut at every octet and with every bit turned: what was acknowledged is read, or the file is refused.

use super::*;
use crate::tally::message::{LoanId, RequestId, SiteId};
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::Arc;

fn name() -> impl Strategy<Value = Arc<str>> {
    prop_oneof![Just("é".repeat(127)), "[a-z0-9.-]{1,12}"].prop_map(Arc::from)
}

fn record() -> impl Strategy<Value = Record> {
    let id = any::<(u32, u64)>();
    (0..9, name(), any::<u16>().prop_map(SiteId), id, any::<(u32, u64, u64, u32)>(), any::<(u128, bool)>()).prop_map(
        |(kind, account, site, (incarnation, number), (amount, total, ceded, base), (disk, retired))| match kind {
            0 => Record::Disk { name: account, disk },
            1 => Record::Incarnation(incarnation),
            2 => Record::Site { site, name: account, disk, incarnation, retired },
            3 => Record::Founded,
            4 => Record::Issued { account, limit: amount },
            5 => Record::Placed { account, site, total, ceded, base },
            6 => Record::Received { account, home: site, total, ceded, base },
            7 => {
                let request = RequestId { incarnation: base, number: total };
                Record::Lent { loan: LoanId { incarnation, number }, account, to: site, request, amount }
            }
            _ => Record::Home { loan: LoanId { incarnation, number } },
        },
    )
}

/// A file of these batches, and where each one ends.
fn file(batches: &[Vec<Record>]) -> (Vec<u8>, Vec<usize>) {
    let mut octets = new_file(&batches[0]).unwrap();
    let mut ends = vec![octets.len()];
    for (number, batch) in (BATCH_FIRST + 1..).zip(&batches[1..]) {
        put_batch(&mut octets, number, batch).unwrap();
        ends.push(octets.len());
    }
    (octets, ends)
}

fn small() -> Vec<Vec<Record>> {
    let base = |amount| Record::Issued { account: "atlanta".into(), limit: amount };
    let home = Record::Home { loan: LoanId { incarnation: 1, number: 9 } };
    vec![
        vec![Record::Disk { name: "ams".into(), disk: 77 }, Record::Incarnation(1)],
        vec![base(3), home.clone(), base(4)],
        vec![home],
        vec![base(5), base(6), base(7)],
    ]
}

/// What the first `count` batches say.
fn said(batches: &[Vec<Record>], count: usize) -> Vec<Record> {
    batches[..count].concat()
}

proptest! {
    #[test]
    fn every_record_is_read_back(batches in vec(vec(record(), 1..6), 1..6)) {
        let (octets, ends) = file(&batches);
        let replay = replay(&octets).unwrap();
        prop_assert_eq!(replay.records, said(&batches, batches.len()));
        prop_assert_eq!((replay.good_bytes, replay.cut_bytes), (octets.len() as u64, 0));
        prop_assert_eq!(replay.next_batch, ends.len() as u64 + 1);
    }

    #[test]
    fn any_octets_are_read_or_refused(head: bool, octets: Vec<u8>) {
        let mut file = if head { file(&small()).0 } else { Vec::new() };
        file.extend_from_slice(&octets);
        let _ = replay(&file);
        let _ = record::read(&octets);
    }
}

#[test]
fn a_ledger_cut_at_every_octet_says_what_was_acknowledged() {
    let batches = small();
    let (octets, ends) = file(&batches);
    for cut in 0..octets.len() {
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let got = replay(&octets[..cut]);
        if whole == 0 {
            assert!(matches!(got, Err(LedgerError::Damaged { .. } | LedgerError::NotALedger)), "{cut}: {got:?}");
            continue;
        }
        let good_bytes = ends[whole - 1];
        let expected = Replay {
            records: said(&batches, whole),
            good_bytes: good_bytes as u64,
            cut_bytes: (cut - good_bytes) as u64,
            next_batch: whole as u64 + 1,
        };
        assert_eq!(got, Ok(expected), "cut at {cut}");
        let mut again = octets[..good_bytes].to_vec();
        put_batch(&mut again, whole as u64 + 1, &[Record::Founded]).unwrap();
        assert_eq!(replay(&again).unwrap().records.last(), Some(&Record::Founded), "and it can be continued");
    }
}

#[test]
fn a_ledger_with_any_bit_turned_is_refused() {
    let (octets, _) = file(&small());
    for bit in 0..octets.len() * 8 {
        let mut turned = octets.clone();
        turned[bit / 8] ^= 1 << (bit % 8);
        let got = replay(&turned);
        assert!(got.is_err(), "bit {bit}: {got:?}");
    }
}

/// Parts of the last write that never reached the disk, as zeros or as what was there before.
#[test]
fn a_last_batch_with_holes_is_cut() {
    let batches = small();
    let (octets, ends) = file(&batches);
    let start = ends[2];
    for filler in [0, 0x5a] {
        for hole in start..octets.len() {
            for end in [hole + 4, octets.len()].into_iter().filter(|end| *end <= octets.len()) {
                let mut torn = octets.clone();
                torn[hole..end].fill(filler);
                let changed: u32 = torn.iter().zip(&octets).map(|(one, other)| (one ^ other).count_ones()).sum();
                match replay(&torn) {
                    Ok(replay) if changed == 0 => assert_eq!(replay.cut_bytes, 0),
                    Ok(replay) => assert_eq!((replay.records, replay.good_bytes), (said(&batches, 3), start as u64)),
                    Err(error) => {
                        assert!(changed == 1 && matches!(error, LedgerError::Damaged { .. }), "{hole}..{end}: {error}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_hole_before_the_last_batch_is_damage() {
    let (octets, ends) = file(&small());
    for hole in ends[0]..ends[2] {
        let mut damaged = octets.clone();
        damaged[hole..ends[2]].fill(0xaa);
        let at = ends[..2].iter().rfind(|end| **end <= hole).copied().unwrap() as u64;
        match replay(&damaged) {
            Err(LedgerError::Damaged { at: said }) => assert!(said >= at && said <= hole as u64),
            other => panic!("{hole}: {other:?}"),
        }
    }
    let mut lost = octets[..ends[0]].to_vec();
    lost.extend_from_slice(&octets[ends[1]..]);
    assert_eq!(replay(&lost), Err(LedgerError::Damaged { at: ends[0] as u64 }), "a whole batch is missing");
}

#[test]
fn each_refusal_says_what_to_do() {
    assert_eq!(replay(b"[node]\nname = \"ams\"\n"), Err(LedgerError::NotALedger));
    let (mut octets, _) = file(&small());
    octets[15] = 2;
    assert_eq!(replay(&octets), Err(LedgerError::Newer { version: 2 }));
    octets[15] = 1;
    let unknown = octets.len() as u64;
    put_batch(&mut octets, 5, &[Record::Founded]).unwrap();
    let last = octets.len() - 1;
    octets[last] = 200;
    let start = last - FRAME_HEADER_BYTES;
    let sum = crc32c([&octets[start..start + 12], &octets[last..]]);
    octets[start + 12..last].copy_from_slice(&sum.to_be_bytes());
    let what = "a record that this version does not have";
    assert_eq!(replay(&octets), Err(LedgerError::Unknown { at: unknown, what }));
    for (error, words) in [
        (LedgerError::NotALedger, "restore the disk"),
        (LedgerError::Newer { version: 2 }, "upgrade"),
        (LedgerError::Damaged { at: 7 }, "Do not cut it"),
        (LedgerError::Unknown { at: 7, what }, "upgrade"),
    ] {
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_record_without_a_form_leaves_nothing() {
    let mut out = vec![9];
    let long = Record::Issued { account: "a".repeat(256).into(), limit: 1 };
    assert_eq!(put_batch(&mut out, 2, &[Record::Founded, long]), Err(Oversize));
    assert_eq!(put_batch(&mut out, 2, &[]), Ok(()));
    assert_eq!(out, [9]);
    assert_eq!(replay(&new_file(&[]).unwrap()), Err(LedgerError::Damaged { at: 16 }), "a file is never empty");
}

#[test]
fn tags_that_nothing_writes_are_refused_by_name() {
    for (tag, what) in [(6, "base rights as an amount"), (11, "a forgotten account"), (99, "does not have")] {
        assert!(record::read(&[tag, 1, b'a', 0, 0, 0, 1]).unwrap_err().contains(what));
    }
}
