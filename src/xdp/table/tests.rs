//! The table upon ordinary memory: what it writes, what it reads, and that nothing is left behind.

use super::*;
use crate::xdp::layout::{Constants, Moment};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32};

const TICK: Duration = Duration::from_millis(4);

/// One hop for all, with a switch.
#[derive(Debug, Default)]
struct OneWay {
    closed: AtomicU32,
    kept: AtomicU32,
    adopted: AtomicU32,
    /// There is no way to this one.
    beyond: OnceLock<IpAddr>,
}

impl Ways for OneWay {
    fn resolve(&self, to: Aim) -> Option<u16> {
        (self.closed.load(Relaxed) == 0 && self.beyond.get() != Some(&to.to)).then_some(7)
    }

    fn keep(&self, _: Aim, hop: u16) -> bool {
        assert_eq!(hop, 7);
        self.kept.fetch_add(1, Relaxed);
        self.closed.load(Relaxed) == 0
    }

    fn adopt(&self, to: Aim, hop: u16) {
        assert_eq!((to.dscp, hop), (46, 7));
        self.adopted.fetch_add(1, Relaxed);
    }
}

#[derive(Debug)]
struct NoCommons {
    is_ours: AtomicBool,
}

impl Commons for NoCommons {
    fn block(&self, _: IpAddr, _: u64) {}

    fn totals(&self) -> PathTotals {
        PathTotals { closed: 3, ..PathTotals::default() }
    }

    fn is_ours(&self) -> bool {
        self.is_ours.load(Relaxed)
    }
}

fn table() -> (ShardTable, Arc<Memory>, Arc<OneWay>) {
    let constants = Constants {
        v4_base: 0x0a00_0001,
        v4_count: 1,
        v6_prefix: [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        v6_base: 1,
        v6_count: 1,
        port_min: 20_000,
        pairs: 100,
        cpus: 1,
    };
    let memory = Arc::new(Memory::ordinary(constants));
    let (table, ways) = table_on(&memory, true);
    (table, memory, ways)
}

fn table_on(memory: &Arc<Memory>, native: bool) -> (ShardTable, Arc<OneWay>) {
    let ways = Arc::new(OneWay::default());
    let slice = Slice { socket_base: 1_000, port_min: 20_040, port_max: 20_079, tells_totals: true };
    let table = ShardTable::new(TableOptions {
        native,
        memory: memory.clone(),
        ways: ways.clone(),
        commons: Arc::new(NoCommons { is_ours: AtomicBool::new(true) }),
        ticks: Ticks::new(&Moment::default(), TICK),
        dead_man: Duration::from_secs(10),
        slice,
    });
    (table, ways)
}

fn rule(v6: bool) -> FastRule {
    let [source, to, from] = if v6 {
        ["[fd00::9]:4000", "[fd00::8]:5000", "[fd00::1]:20050"]
    } else {
        ["10.0.0.9:4000", "10.0.0.8:5000", "10.0.0.1:20050"]
    };
    let at = |text: &str| text.parse().unwrap();
    FastRule {
        source: at(source),
        to: at(to),
        from: at(from),
        ssrc: 0x0102_0304,
        payload_type: 8,
        clock_rate: 8000,
        dscp: 46,
    }
}

const NOW: Instant = Instant::from_millis(100_000);
const V4: SocketKey = SocketKey(1_004);
const V6: SocketKey = SocketKey(1_044);

#[test]
fn a_key_finds_the_row_of_its_port() {
    let (mut table, memory, _) = table();
    for (key, v6) in [(V4, false), (V6, true)] {
        assert!(table.apply(NOW, PathRequest::Opened { key }));
        assert_eq!(memory.rows(v6)[22].state.load(Relaxed), state::OPEN, "port 20044");
        assert_eq!(table.key(table.pair(key).unwrap()), key);
    }
    let open = |v6| memory.rows(v6).iter().filter(|row| row.state.load(Relaxed) != state::CLOSED).count();
    assert_eq!((open(false), open(true)), (1, 1));
    for key in [999, 1_005, 1_080, u32::MAX].map(SocketKey) {
        assert!(!table.apply(NOW, PathRequest::Opened { key }), "{key:?}");
    }
}

#[test]
fn a_generic_program_relays_nobody_to_whom_there_is_no_way_since_it_may_not_be_shown_his_tag() {
    let (_, memory, _) = table();
    for native in [true, false] {
        let (mut table, ways) = table_on(&memory, native);
        ways.beyond.set(rule(false).source.ip()).unwrap();
        assert!(table.apply(NOW, PathRequest::Opened { key: V4 }));
        assert_eq!(table.apply(NOW, PathRequest::Down { key: V4, rule: rule(false) }), native);
    }
}

#[test]
fn a_rule_goes_in_whole_and_comes_out_at_once() {
    let (mut table, memory, ways) = table();
    let row = &memory.rows4[22];
    assert!(!table.apply(NOW, PathRequest::Down { key: V4, rule: rule(false) }), "nobody has the pair");
    table.apply(NOW, PathRequest::Opened { key: V4 });
    ways.closed.store(1, Relaxed);
    assert!(!table.apply(NOW, PathRequest::Down { key: V4, rule: rule(false) }), "no way is known");
    ways.closed.store(0, Relaxed);
    assert!(!table.apply(NOW, PathRequest::Down { key: V4, rule: rule(true) }), "another family");
    let rtcp = FastRule { payload_type: 72, ..rule(false) };
    assert!(!table.apply(NOW, PathRequest::Down { key: V4, rule: rtcp }));
    assert_eq!((row.deadline.load(Relaxed), row.sequence.load(Relaxed)), (0, 0));

    assert!(table.apply(NOW, PathRequest::Down { key: V4, rule: rule(false) }));
    assert!(row.deadline.load(Relaxed) > 0);
    assert_eq!((row.sequence.load(Relaxed), row.state.load(Relaxed), row.hop.load(Relaxed)), (2, state::SETTLED, 7));
    assert_eq!(row.source[3].load(Relaxed).to_ne_bytes(), [10, 0, 0, 9]);
    assert_eq!(row.to[0].load(Relaxed).to_ne_bytes(), [10, 0, 0, 8]);
    assert_eq!(row.from.load(Relaxed).to_ne_bytes(), [10, 0, 0, 1]);
    assert_eq!(row.ports.load(Relaxed), ports(4000, 20_044));
    assert_eq!(row.ports_out.load(Relaxed), ports(20_050, 5000));
    assert_eq!(row.ssrc.load(Relaxed).to_ne_bytes(), [1, 2, 3, 4]);
    assert_eq!((row.rtp.load(Relaxed).to_ne_bytes(), row.dscp.load(Relaxed)), ([0x80, 8], 46));
    assert_eq!(row.ns_per_unit_q8.load(Relaxed), 125_000 * 256);

    table.apply(NOW, PathRequest::Up { key: V4 });
    assert_eq!((row.deadline.load(Relaxed), row.state.load(Relaxed)), (0, state::OPEN));
    table.apply(NOW, PathRequest::Closed { key: V4 });
    assert_eq!(row.state.load(Relaxed), state::CLOSED);
    assert!(table.installed.is_empty() && table.places.iter().all(|place| *place == 0));
}

#[test]
fn counts_are_news_since_the_last_reading_across_the_wrap() {
    let (mut table, memory, _) = table();
    let row = &memory.rows6[22];
    row.packets.store(u32::MAX - 1, Relaxed);
    row.octets.store(u32::MAX - 99, Relaxed);
    table.apply(NOW, PathRequest::Opened { key: V6 });
    assert!(table.apply(NOW, PathRequest::Down { key: V6, rule: rule(true) }));
    assert_eq!(table.read(NOW, V6), FastCounts::default(), "what was there before is not this rule's");
    row.packets.store(2, Relaxed);
    row.octets.store(588, Relaxed);
    row.highest.store(77, Relaxed);
    row.jitter_ns.store(1_500_000, Relaxed);
    row.last.store(table.ticks.at(Ticks::monotonic()) as u32, Relaxed);
    let mut told = Vec::new();
    table.sweep(NOW, &mut |key, swept| told.push((key, swept)));
    let [(key, Swept::Counts(counts))] = told[..] else { panic!("{told:?}") };
    assert_eq!((key, counts.packets, counts.bytes, counts.highest), (V6, 4, 688, 77));
    assert_eq!(counts.jitter, Duration::from_micros(1_500));
    assert!(counts.last.is_some_and(|last| NOW.since(last) < Duration::from_secs(1)));
    table.sweep(NOW, &mut |_, _| panic!("nothing has come"));

    table.apply(NOW, PathRequest::Up { key: V6 });
    row.packets.store(3, Relaxed);
    assert_eq!(table.read(NOW, V6).packets, 1, "the rest");
}

#[test]
fn a_sweep_puts_deadlines_off_and_keeps_hops() {
    let (mut table, memory, ways) = table();
    let row = &memory.rows4[22];
    table.apply(NOW, PathRequest::Opened { key: V4 });
    table.apply(NOW, PathRequest::Down { key: V4, rule: rule(false) });
    row.deadline.store(1, Relaxed);
    table.sweep(NOW, &mut |_, _| {});
    assert!(row.deadline.load(Relaxed) > 1);
    assert_eq!(ways.kept.load(Relaxed), 1);
    table.apply(NOW, PathRequest::Up { key: V4 });
    table.sweep(NOW, &mut |_, _| {});
    assert_eq!((row.deadline.load(Relaxed), ways.kept.load(Relaxed)), (0, 1), "what is up stays up");
}

#[test]
fn a_way_that_changed_takes_the_rule_out_and_its_counts_are_told() {
    let (mut table, memory, ways) = table();
    let row = &memory.rows4[22];
    table.apply(NOW, PathRequest::Opened { key: V4 });
    table.apply(NOW, PathRequest::Down { key: V4, rule: rule(false) });
    row.packets.store(9, Relaxed);
    ways.closed.store(1, Relaxed);
    let mut told = Vec::new();
    table.sweep(NOW, &mut |key, swept| told.push((key, swept)));
    assert!(matches!(told[..], [(V4, Swept::Counts(FastCounts { packets: 9, .. })), (V4, Swept::Refused)]), "{told:?}");
    assert_eq!((row.deadline.load(Relaxed), row.state.load(Relaxed)), (0, state::OPEN));
    table.sweep(NOW, &mut |_, _| panic!("it is told once"));
}

#[test]
fn another_process_goes_on_with_a_rule_and_reads_on_where_the_first_had_read() {
    let (mut table, memory, _) = table();
    let row = &memory.rows4[22];
    table.apply(NOW, PathRequest::Opened { key: V4 });
    table.apply(NOW, PathRequest::Down { key: V4, rule: rule(false) });
    row.packets.store(9, Relaxed);
    assert_eq!(table.read(NOW, V4).packets, 9);
    row.packets.store(11, Relaxed);
    let (mark, deadline) = (table.mark(V4), row.deadline.load(Relaxed));
    assert_eq!(mark.packets, 9);
    table.commons = Arc::new(NoCommons { is_ours: AtomicBool::new(false) });

    let (mut next, ways) = table_on(&memory, true);
    let adopted = PathRequest::Adopted { key: V4, to: rule(false).to.ip(), mark };
    assert!(next.apply(NOW, adopted));
    drop(table);
    assert_eq!((row.deadline.load(Relaxed), row.state.load(Relaxed)), (deadline, state::SETTLED), "the rule stays in");
    row.packets.store(12, Relaxed);
    assert_eq!(next.read(NOW, V4).packets, 3, "what came meanwhile is counted once");
    next.sweep(NOW, &mut |_, _| panic!("nothing has come"));
    assert_eq!((ways.adopted.load(Relaxed), ways.kept.load(Relaxed)), (1, 1));
    next.apply(NOW, PathRequest::Up { key: V4 });
    assert_eq!((row.deadline.load(Relaxed), row.state.load(Relaxed)), (0, state::OPEN));
    assert!(!next.apply(NOW, adopted), "no rule is there");
}

#[test]
fn many_go_down_and_up_in_any_order_and_a_table_that_ends_leaves_no_rule() {
    let (mut table, memory, _) = table();
    let keys: Vec<SocketKey> = (0..20).map(|pair| SocketKey(1_000 + 2 * pair)).collect();
    for &key in &keys {
        table.apply(NOW, PathRequest::Opened { key });
        assert!(table.apply(NOW, PathRequest::Down { key, rule: rule(false) }));
    }
    for &key in keys.iter().step_by(3).rev() {
        table.apply(NOW, PathRequest::Up { key });
    }
    let alive = || memory.rows4.iter().filter(|row| row.deadline.load(Relaxed) != 0).count();
    assert_eq!((alive(), table.installed.len()), (13, 13));
    for (place, installed) in table.installed.iter().enumerate() {
        assert_eq!(table.places[installed.pair] as usize, place + 1);
    }
    assert_eq!(table.totals().map(|totals| totals.closed), Some(3));
    drop(table);
    assert_eq!(alive(), 0);
}
