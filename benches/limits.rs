//! Limits across sites: what an admission costs, what an account costs, what news of other sites' calls cost, what the
//! ledger's disk costs.
//!
//! `cargo bench --bench limits`; each line `figure NAME MEDIAN MIN MAX` is of 10 rounds after a discarded one. Goals:
//! `admit_ns` <= 20 alone. `floor` is the fewest atomic operations with which an admission that is given back can be
//! counted at all: one compare-and-swap and one subtraction. `-- --admit` measures admissions alone, in lines `ratio …` as
//! `benches/compare/run` reads them. `cargo bench --bench limits -- --ledger DIR` writes records
//! into `DIR` and tells microseconds per fsync and records per fsync for one writer that waits for each record, and for
//! one that keeps the queue full.

mod held;

use held::held;
use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};
use strowger::base::id::Token;
use strowger::base::{self, Random, ShardId, Slot};
use strowger::control::links::ledger_file::{self, NotTaken};
use strowger::tally::ledger;
use strowger::tally::rights::{Home, Output, Rights, Settings, Terms};
use strowger::tally::sessions::{Bounds, News, Replica, Row, SessionMessage, Sessions};
use strowger::tally::wire::{Frame, VERSION_NEWEST, decode, encode};
use strowger::tally::{Cell, Identity, Record};

const ROUNDS: usize = 11;
const ADMISSIONS: u32 = 2_000_000;
const ACCOUNTS: usize = 1_000_000;
const DELTAS: u64 = 10_000;

/// Median, least and most of some rounds after a first one.
fn rounds(mut round: impl FnMut() -> f64) -> String {
    round();
    let mut rounds: Vec<f64> = (1..ROUNDS).map(|_| round()).collect();
    rounds.sort_by(f64::total_cmp);
    format!("{:.2} {:.2} {:.2}", rounds[rounds.len() / 2], rounds[0], rounds[rounds.len() - 1])
}

fn figure(name: &str, round: impl FnMut() -> f64) {
    println!("figure {name} {}", rounds(round));
}

fn nanos_each(count: u32, elapsed: Duration) -> f64 {
    elapsed.as_nanos() as f64 / f64::from(count)
}

fn admissions(cell: &Arc<Cell>) -> Duration {
    let start = Instant::now();
    for _ in 0..ADMISSIONS {
        drop(black_box(black_box(cell).admit()));
    }
    start.elapsed()
}

fn floor(word: &AtomicU64) -> Duration {
    let start = Instant::now();
    for _ in 0..ADMISSIONS {
        let seen = black_box(word).load(Ordering::Relaxed);
        let taken = word.compare_exchange_weak(seen, seen + 1, Ordering::AcqRel, Ordering::Relaxed);
        let _ = black_box(taken);
        black_box(word).fetch_sub(1, Ordering::AcqRel);
    }
    start.elapsed()
}

/// The slower one of two threads that start together.
fn two_threads(cells: [&Arc<Cell>; 2]) -> Duration {
    let barrier = Barrier::new(2);
    let run = |cell| {
        barrier.wait();
        admissions(cell)
    };
    std::thread::scope(|scope| {
        let threads = cells.map(|cell| scope.spawn(move || run(cell)));
        threads.map(|thread| thread.join().expect("no panic")).into_iter().max().expect("two")
    })
}

fn admit(kind: &str) {
    let cells: Vec<_> = (0..2).map(|_| Cell::new(1_000)).collect();
    let word = AtomicU64::new(0);
    let say = |name: &str, found: String| println!("{kind} {name} {found}");
    say("floor_ns", rounds(|| nanos_each(ADMISSIONS, floor(&word))));
    say("admit_ns", rounds(|| nanos_each(ADMISSIONS, admissions(&cells[0]))));
    let together = |cells| rounds(|| nanos_each(ADMISSIONS, two_threads(cells)));
    say("admit_two_threads_one_account_ns", together([&cells[0], &cells[0]]));
    say("admit_two_threads_two_accounts_ns", together([&cells[0], &cells[1]]));
}

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
}

fn accounts() {
    let (before, resident) = (held(), resident_bytes());
    let mut cells = Vec::with_capacity(ACCOUNTS);
    cells.resize_with(ACCOUNTS, || Cell::new(10));
    let list = ACCOUNTS * size_of::<Arc<Cell>>();
    println!("figure bytes_per_cell {}", (held() - before - list) / ACCOUNTS);
    println!("figure bytes_per_cell_resident {}", (resident_bytes() - resident - list) / ACCOUNTS);
    let mut random = Random::from_u64(1);
    let order: Vec<usize> = (0..ADMISSIONS).map(|_| random.below(ACCOUNTS as u64) as usize).collect();
    figure("admit_any_of_1000000_accounts_ns", || {
        let start = Instant::now();
        for at in &order {
            drop(black_box(cells[*at].admit()));
        }
        nanos_each(ADMISSIONS, start.elapsed())
    });
}

fn site(name: &str, disk: u128) -> Identity {
    Identity { name: name.into(), disk, incarnation: 1 }
}

/// What is durable is said to be so at once.
fn drain(rights: &mut Rights, records: &mut Vec<Record>) {
    while let Some(output) = rights.poll_output() {
        if let Output::Persist { seq, record } = output {
            records.push(record);
            rights.durable(base::Instant::ZERO, seq);
        }
    }
}

fn open_rights(ledger: &[Record]) -> Rights {
    let random = Random::from_u64(1);
    Rights::open(Settings::default(), site("ams", 1), vec!["ber".into()], ledger, random, base::Instant::ZERO)
}

/// The rights machine of a home with 1,000,000 accounts, its ledger, and the start of the next process.
fn rights() {
    let names: Vec<Arc<str>> = (0..ACCOUNTS).map(|number| format!("account-{number:07}").into()).collect();
    let cells: Vec<Arc<Cell>> = names.iter().map(|_| Cell::new(0)).collect();
    let terms = Terms { limit: 10, home: Home::Here, allowance: 0 };
    let mut records = Vec::new();
    let mut rights = open_rights(&[Record::Founded]);
    let before = held();
    let start = Instant::now();
    for (name, cell) in names.iter().zip(&cells) {
        rights.set_account(base::Instant::ZERO, Arc::clone(name), terms.clone(), Arc::clone(cell));
        drain(&mut rights, &mut records);
    }
    println!("figure set_account_us {:.2}", start.elapsed().as_secs_f64() * 1e6 / ACCOUNTS as f64);
    let list = records.capacity() * size_of::<Record>();
    println!("figure bytes_per_account_of_rights {}", (held() - before - list) / ACCOUNTS);
    let usable = cells.iter().filter(|cell| cell.read().1 == 10).count();
    println!("figure accounts_usable {usable}");
    records = rights.snapshot();
    let file = ledger::new_file(&records).expect("it fits");
    println!("figure ledger_bytes_per_account {}", file.len() / ACCOUNTS);
    let start = Instant::now();
    let replayed = ledger::replay(&file).expect("sound").records;
    println!("figure ledger_replay_of_1000000_accounts_s {:.2}", start.elapsed().as_secs_f64());
    let start = Instant::now();
    black_box(open_rights(&replayed));
    println!("figure rights_open_of_1000000_accounts_s {:.2}", start.elapsed().as_secs_f64());
}

fn token(number: u64) -> Token {
    Token { shard: ShardId(0), slot: Slot { index: number as u32, generation: 1 }, salt: 1 }
}

/// A site with 20,000 calls of 1,000 accounts up, and what it has to tell after 10,000 more begins and ends.
fn busy_site() -> (Sessions, Vec<SessionMessage>, u64) {
    let mut random = Random::from_u64(1);
    let names: Vec<Arc<str>> = (0..1_000).map(|number| format!("account-{number:04}").into()).collect();
    let mut own = Sessions::new(site("ams", 1), Bounds::default(), &mut random);
    let mut up = Vec::new();
    let begin = |own: &mut Sessions, up: &mut Vec<_>, random: &mut Random, number| {
        let name = &names[random.below(1_000) as usize];
        own.began(Arc::clone(name), token(number), base::Instant::from_millis(number));
        up.push((Arc::clone(name), token(number)));
    };
    for number in 0..20_000 {
        begin(&mut own, &mut up, &mut random, number);
    }
    let before = own.sequence();
    for number in 0..DELTAS / 2 {
        begin(&mut own, &mut up, &mut random, 20_000 + number);
        let (name, call) = up.swap_remove(random.below(up.len() as u64) as usize);
        own.ended(&name, call);
    }
    let mut messages = Vec::new();
    let mut cursor = before;
    while let News::Operations { message, up_to } = own.news(cursor) {
        messages.push(message);
        cursor = up_to;
    }
    assert_eq!(cursor, before + DELTAS);
    (own, messages, before)
}

fn sessions() {
    let (own, messages, before) = busy_site();
    let rows = |count: u64| {
        (1..=count).map(|number| {
            let account = format!("account-{:04}", number % 1_000).into();
            (number, Row { account, call: token(number), started: base::Instant::ZERO })
        })
    };
    let keyed = ahash::RandomState::with_seeds(1, 2, 3, 4);
    let copy = Replica::new(1, 200_000, keyed).from_snapshot(1, before, rows(before));
    figure("merge_10000_deltas_us", || {
        let (mut copy, messages) = (copy.clone(), messages.clone());
        let start = Instant::now();
        for message in messages {
            if let SessionMessage::Operations { first, operations } = message {
                black_box(copy.apply(1, first, operations));
            }
        }
        let elapsed = start.elapsed();
        assert_eq!(copy.sequence(), own.sequence());
        elapsed.as_secs_f64() * 1e6
    });
    let mut wire = Vec::new();
    figure("write_10000_deltas_us", || {
        wire.clear();
        let frames: Vec<Frame> = messages.iter().cloned().map(Frame::Sessions).collect();
        let start = Instant::now();
        frames.iter().for_each(|frame| encode(VERSION_NEWEST, frame, &mut wire).expect("it fits"));
        start.elapsed().as_secs_f64() * 1e6
    });
    figure("read_10000_deltas_us", || {
        let start = Instant::now();
        let mut rest = wire.as_slice();
        while let Ok(Some((frame, taken))) = decode(rest) {
            black_box(frame);
            rest = &rest[taken..];
        }
        start.elapsed().as_secs_f64() * 1e6
    });
    println!("figure bytes_per_delta_on_the_wire {:.1}", wire.len() as f64 / DELTAS as f64);
    let before = held();
    let copy = copy.clone();
    println!("figure bytes_per_session {}", (held() - before) / copy.len());
    let mut queries = 0u32;
    figure("count_of_an_account_ns", || {
        let start = Instant::now();
        for number in 0..100_000u32 {
            queries += own.counts(if number % 2 == 0 { "account-0007" } else { "account-0900" }).count() as u32;
        }
        nanos_each(100_000, start.elapsed())
    });
    black_box(queries);
}

/// Microseconds per fsync and records per fsync on the disk under `folder`.
fn ledger_disk(folder: &Path) {
    let folder = folder.join("strowger-ledger-bench");
    std::fs::create_dir_all(&folder).expect("a folder");
    let opened = ledger_file::open(&folder, "bench", 1).expect("a ledger");
    let (sender, changes) = mpsc::channel();
    let writer = ledger_file::start(opened.file, move || sender.send(()).unwrap_or_default()).expect("a thread");
    let mut seq = 0;
    for (name, waiting_max) in [("one_at_a_time", 1), ("queue_of_100", 100), ("queue_full", 100_000)] {
        let [records, batches, _] = writer.status().counts();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(3) {
            while seq < writer.status().durable() + waiting_max {
                let record = Record::Issued { account: "atlanta.example.com".into(), limit: seq as u32 };
                match writer.append(seq + 1, record) {
                    Ok(()) => seq += 1,
                    Err(NotTaken(_)) => break,
                }
            }
            changes.recv().expect("a change");
        }
        while writer.status().durable() < seq {
            changes.recv().expect("a change");
        }
        let elapsed = start.elapsed().as_secs_f64();
        let [records_now, batches_now, failures] = writer.status().counts();
        assert_eq!(failures, 0);
        let (records, batches) = ((records_now - records) as f64, (batches_now - batches) as f64);
        println!("figure ledger_{name}_us_per_fsync {:.1}", elapsed * 1e6 / batches);
        println!("figure ledger_{name}_records_per_fsync {:.1}", records / batches);
        println!("figure ledger_{name}_records_per_second {:.0}", records / elapsed);
    }
    drop(writer);
    std::fs::remove_dir_all(&folder).expect("our own folder");
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--ledger") {
        return ledger_disk(Path::new(arguments.get(at + 1).map_or(".", String::as_str)));
    }
    if arguments.iter().any(|argument| argument == "--admit") {
        return admit("ratio");
    }
    admit("figure");
    accounts();
    rights();
    sessions();
}
