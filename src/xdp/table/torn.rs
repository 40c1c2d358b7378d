//! What the program may find while a rule is written: every interleaving of its loads with the writer's stores.
//!
//! The program loads deadline and sequence as one word, then the fields in its own order, then the sequence again, and changes
//! the packet if the first load was of a live rule and both sequences are alike and even (`prog/relay.bpf.c`). Its loads take
//! place at points of the writer's life that never go back. So it can mix fields of two rules if, and only if, there are two
//! such points with fields that differ between them: looking at all pairs of points is looking at every interleaving.

use super::write;
use crate::media::path::FastRule;
use crate::xdp::layout::Row;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

/// The row at one point of the writer's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    deadline: u32,
    sequence: u32,
    fields: [u32; 17],
}

impl Point {
    fn of(row: &Row) -> Self {
        let (a, b) = (&row.source, &row.to);
        let fields = [
            row.ssrc.load(Relaxed),
            row.rtp.load(Relaxed).into(),
            row.hop.load(Relaxed).into(),
            row.ports.load(Relaxed),
            row.ports_out.load(Relaxed),
            a[0].load(Relaxed),
            a[1].load(Relaxed),
            a[2].load(Relaxed),
            a[3].load(Relaxed),
            row.from.load(Relaxed),
            b[0].load(Relaxed),
            b[1].load(Relaxed),
            b[2].load(Relaxed),
            b[3].load(Relaxed),
            row.udp_change.load(Relaxed).into(),
            row.ip_change.load(Relaxed).into(),
            row.dscp.load(Relaxed).into(),
        ];
        Self { deadline: row.deadline.load(Relaxed), sequence: row.sequence.load(Relaxed), fields }
    }

    fn is_live(&self) -> bool {
        self.deadline > 1
    }
}

/// The first two points between which the program would take a packet with fields of two rules.
fn torn(life: &[Point]) -> Option<(usize, usize)> {
    let accepted = |first: &Point, last: &Point| first.sequence == last.sequence && first.sequence.is_multiple_of(2);
    life.iter().enumerate().filter(|(_, first)| first.is_live()).find_map(|(from, first)| {
        let rest = life[from..].iter().enumerate();
        let mut ends = rest.filter(|(_, last)| accepted(first, last)).map(|(further, _)| from + further);
        ends.find(|&to| life[from..=to].iter().any(|point| point.fields != first.fields)).map(|to| (from, to))
    })
}

/// Rule after rule in one row, each taken out before the next one, with nothing in between.
fn life(of: &[FastRule]) -> Vec<Point> {
    let (row, points) = (Row::default(), RefCell::new(Vec::new()));
    let seen = |row: &Row| points.borrow_mut().push(Point::of(row));
    seen(&row);
    for (hop, rule) in (1..).zip(of) {
        row.deadline.store(0, Relaxed);
        seen(&row);
        let own: SocketAddr = if rule.source.is_ipv6() { "[fd00::1]:20044" } else { "10.0.0.1:20044" }.parse().unwrap();
        write(&row, rule, own, hop, 1000, &seen);
        // A sweep.
        row.deadline.store(2000, Relaxed);
        seen(&row);
    }
    points.into_inner()
}

fn rules() -> Vec<FastRule> {
    let rule = |number: u8, of: [&str; 3]| {
        let [source, to, from] = of.map(|text| text.parse().unwrap());
        let (ssrc, payload_type, dscp) = (u32::from(number) * 0x0101_0101, number, number);
        FastRule { source, to, from, ssrc, payload_type, clock_rate: 8000, dscp }
    };
    vec![
        rule(1, ["10.1.0.9:4000", "10.2.0.8:5000", "10.0.0.1:20050"]),
        rule(2, ["10.3.0.7:4002", "10.4.0.6:5002", "10.0.0.1:20052"]),
        rule(3, ["[fd01::9]:4004", "[fd02::8]:5004", "[fd00::1]:20054"]),
        rule(1, ["10.1.0.9:4000", "10.2.0.8:5000", "10.0.0.1:20050"]),
    ]
}

#[test]
fn no_interleaving_mixes_two_rules() {
    let life = life(&rules());
    assert!(life.len() > 4 * 20, "every store is a point: {}", life.len());
    assert_eq!(torn(&life), None);
    let whole: std::collections::BTreeSet<_> =
        life.iter().filter(|point| point.is_live() && point.sequence % 2 == 0).map(|point| point.fields).collect();
    assert_eq!(whole.len(), rules().len(), "what is live is one of the rules");
}

#[test]
fn each_part_of_the_order_is_needed() {
    let life = life(&rules());
    let with = |change: fn(&mut Point)| {
        let mut life = life.clone();
        life.iter_mut().for_each(change);
        torn(&life)
    };
    assert!(with(|point| point.sequence = 0).is_some(), "a sequence that stands still");
    let never_odd = |point: &mut Point| point.sequence = point.sequence.next_multiple_of(2);
    assert!(
        with(|point| point.deadline = 1000).is_none(),
        "a rule that is not taken out first: the sequence alone holds"
    );
    let both = |point: &mut Point| (point.sequence, point.deadline) = (point.sequence.next_multiple_of(2), 1000);
    assert!(with(never_odd).is_none() && with(both).is_some(), "taken out and never odd: either alone holds, not none");
}
