//! Any octets from another site, and any octets as a ledger: read or refused; what was read is written and read again.

use strowger::base::{Instant, Random};
use strowger::tally::Identity;
use strowger::tally::ledger;
use strowger::tally::sessions::{Bounds, Sessions};
use strowger::tally::wire::{Frame, decode, encode};

/// The first octet chooses: a stream of frames, or a ledger.
pub fn run(octets: &[u8]) {
    match octets.split_first() {
        Some((b'L', file)) => read_ledger(file),
        Some((_, stream)) => read_frames(stream),
        None => {}
    }
}

fn read_frames(mut stream: &[u8]) {
    let site = |name: &str, disk| Identity { name: name.into(), disk, incarnation: 1 };
    let peer = site("ams", 1);
    let bounds = Bounds { rows_max: 16, operations_max: 16, sites_max: 2 };
    let mut sessions = Sessions::new(site("ber", 2), bounds, &mut Random::from_u64(1));
    assert!(sessions.link_up(&peer).is_ok());
    while let Ok(Some((frame, taken))) = decode(stream) {
        let version = stream[4].max(1);
        let mut again = Vec::new();
        encode(version, &frame, &mut again).expect("what was read can be written");
        assert_eq!(decode(&again), Ok(Some((frame.clone(), again.len()))));
        assert!(again.len() <= taken, "and is not longer");
        stream = &stream[taken..];
        match frame {
            Frame::Sessions(message) => {
                let _ = sessions.handle(Instant::ZERO, &peer, message);
                assert!(sessions.replica(&peer).is_some_and(|replica| replica.len() <= bounds.rows_max));
            }
            Frame::Hello(hello) => {
                let _ = hello.agree().map_err(|error| error.to_string());
            }
            _ => {}
        }
    }
}

fn read_ledger(file: &[u8]) {
    match ledger::replay(file) {
        Ok(replay) => {
            let good = usize::try_from(replay.good_bytes).expect("a length");
            let again = ledger::replay(&file[..good]).expect("what is good stays good");
            assert_eq!((again.records, again.cut_bytes), (replay.records.clone(), 0));
            let written = ledger::new_file(&replay.records).expect("what was read can be written");
            assert_eq!(ledger::replay(&written).expect("and read").records, replay.records);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
