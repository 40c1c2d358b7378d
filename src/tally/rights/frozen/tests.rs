//! Two sites, one of which changes its process; and octets that somebody has damaged. Everything else:
//! `sim -- limits --take-overs`.

use super::*;
use crate::base::time::Duration;
use crate::tally::rights::tests::{ACCOUNT, Node, borrow, link, pair, pair_that, said, settings, settle, terms};
use crate::tally::rights::{Policy, Record};
use crate::tally::{Message, Note, SiteId};
use proptest::prelude::*;

fn octets(rights: &Rights) -> Vec<u8> {
    rmp_serde::to_vec_named(&rights.freeze().unwrap()).unwrap()
}

fn read(octets: &[u8]) -> Frozen {
    rmp_serde::from_slice(octets).unwrap()
}

/// Thaws with cells that calls hold their rights in again.
fn thawed(octets: &[u8], cell: &Arc<Cell>, now: Instant) -> Result<Rights, String> {
    let (settings, random) = (settings(Policy::Keep), Random::from_u64(9));
    Rights::thaw(settings, vec!["peer".into()], read(octets), &mut |_| Some(Arc::clone(cell)), random, now)
}

/// The node goes on in another process, after a pause: links are cut, calls come along.
fn change_process(node: &mut Node, now: Instant, pause: Duration) {
    node.rights.link_down(now, node.peer.unwrap());
    said(node, now);
    let octets = octets(&node.rights);
    let cell = Cell::new(0);
    node.rights = thawed(&octets, &cell, now + pause).unwrap();
    node.permits.iter_mut().for_each(|permit| *permit = cell.hold());
    node.cell = cell;
}

const NOW: Instant = Instant::from_millis(2_010);

/// A home that has lent, and a site that has borrowed and has calls up and waiting; nothing is on its way.
fn in_the_middle() -> (Node, Node) {
    let now = Instant::from_millis(10);
    let (mut home, mut away) = pair(4);
    home.permits.extend((0..2).map_while(|_| home.cell.admit()));
    away.permits.extend((0..2).map_while(|_| away.cell.admit()));
    away.rights.note(now, Note::Phones { account: ACCOUNT.into(), phones: 7 });
    home.permits.pop();
    away.rights.note(now, borrow(1, now));
    settle(now, &mut home, &mut away);
    settle(NOW, &mut home, &mut away);
    away.rights.note(NOW, borrow(2, NOW));
    said(&mut away, NOW);
    (home, away)
}

#[test]
fn what_is_thawed_is_what_was_frozen() {
    let now = NOW;
    let (home, away) = in_the_middle();
    assert_eq!((home.view(now).lent, away.view(now).borrowed, away.rights.totals().waiters), (1, 1, 1));
    for node in [&home, &away] {
        let before = octets(&node.rights);
        let cell = Cell::new(0);
        let rights = thawed(&before, &cell, now).unwrap();
        let permits: Vec<_> = node.permits.iter().map(|_| cell.hold()).collect();
        assert_eq!(cell.read(), node.cell.read());
        assert!(octets(&rights) == before, "{:?}", rights.freeze());
        assert_eq!((rights.totals(), rights.me()), (node.rights.totals(), &node.identity));
        assert!(rights.peers().all(|peer| !peer.linked) && cell.is_cut_off() && !cell.may_borrow());
        drop(permits);
    }
}

#[test]
fn calls_keep_their_rights_and_rights_go_home_after_them() {
    let (mut home, mut away) = in_the_middle();
    change_process(&mut away, NOW, Duration::from_secs(1));
    change_process(&mut home, NOW, Duration::from_secs(1));
    let at = |second: u64| NOW + Duration::from_secs(1 + second);
    link(at(0), &mut home, &mut away);
    for second in 0..90 {
        settle(at(second), &mut home, &mut away);
        let (up, usable) = [&home, &away]
            .map(|node| node.cell.read())
            .into_iter()
            .fold((0, 0), |sum, cell| (sum.0 + cell.0, sum.1 + cell.0.max(cell.1)));
        assert_eq!((up, usable), (4, 4), "three leases of calls, second {second}");
    }
    assert_eq!(away.answers, [true, false], "the call that waited hears that there is none");
    home.permits.clear();
    away.permits.clear();
    for second in 90..120 {
        settle(at(second), &mut home, &mut away);
    }
    assert_eq!((home.view(at(120)).lent, away.view(at(120)).borrowed), (0, 0));
    assert_eq!((home.cell.read(), away.cell.read()), ((0, 2), (0, 2)));
}

#[test]
fn a_number_means_one_thing_for_ever() {
    let (mut home, mut away) = in_the_middle();
    let lent = |node: &Node| node.ledger.iter().filter(|record| matches!(record, Record::Lent { .. })).count();
    let before = lent(&home);
    change_process(&mut away, NOW, Duration::ZERO);
    change_process(&mut home, NOW, Duration::ZERO);
    home.permits.clear();
    let later = NOW + Duration::from_millis(500);
    link(later, &mut home, &mut away);
    away.rights.note(later, borrow(3, later));
    settle(later, &mut home, &mut away);
    assert!(lent(&home) > before);
    let mut loans: Vec<_> = home.rights.loans_out().map(|end| end.loan).collect();
    let all = loans.len();
    loans.dedup();
    assert_eq!((loans.len(), away.rights.totals().refused), (all, 0));
}

#[test]
fn nothing_may_be_on_its_way() {
    let now = Instant::from_millis(10);
    let (mut home, mut away) = pair(1);
    away.rights.note(now, borrow(1, now));
    assert_eq!(away.rights.freeze().err().as_deref(), Some("outputs wait"));
    let mut said_here = said(&mut away, now).into_iter();
    let request = said_here.find(|message| matches!(message, Message::Request { .. })).unwrap();
    home.rights.handle(now, home.peer.unwrap(), request);
    let mut seq = 0;
    while let Some(output) = home.rights.poll_output() {
        if let crate::tally::rights::Output::Persist { seq: at, .. } = output {
            seq = at;
        }
    }
    assert_eq!(home.rights.freeze().err().as_deref(), Some("records are not on disk yet"));
    home.rights.durable(now, seq);
    said(&mut home, now);
    home.rights.ledger_works(now, false);
    assert_eq!(home.rights.freeze().err().as_deref(), Some("the ledger cannot be written"));
    home.rights.ledger_works(now, true);
    assert_eq!(home.rights.freeze().map(|_| ()), Ok(()));
}

#[test]
fn a_loan_that_ended_in_the_pause_admits_nothing_before_the_first_turn() {
    let (mut home, mut away) = pair(1);
    let now = Instant::from_millis(10);
    away.rights.note(now, borrow(1, now));
    settle(now, &mut home, &mut away);
    away.permits.clear();
    assert_eq!(away.cell.read(), (0, 1));
    change_process(&mut away, now, Duration::from_secs(29));
    assert_eq!(away.cell.read(), (0, 1));
    change_process(&mut away, now, Duration::from_secs(31));
    assert_eq!(away.cell.read(), (0, 0));
}

#[test]
fn an_account_that_is_gone_keeps_its_cell_while_calls_stand_on_it() {
    let now = Instant::from_millis(10);
    let (mut home, mut away) = pair(10);
    away.permits.extend(away.cell.admit());
    away.rights.link_down(now, away.peer.unwrap());
    said(&mut away, now);
    let before = octets(&away.rights);
    let standing: Vec<_> = read(&before).standing().map(|(name, calls)| (name.to_string(), calls)).collect();
    assert_eq!(standing, [(ACCOUNT.to_owned(), 1)]);
    let thaw = |now, octets: &[u8], cell: Option<&Arc<Cell>>| {
        let random = Random::from_u64(3);
        Rights::thaw(settings(Policy::Keep), vec!["home".into()], read(octets), &mut |_| cell.cloned(), random, now)
    };
    assert!(thaw(now, &before, None).is_err_and(|why| why.contains(ACCOUNT)));
    let cell = Cell::new(0);
    away.rights = thaw(now, &before, Some(&cell)).unwrap();
    away.permits = vec![cell.hold()];
    away.rights.drop_account(now, ACCOUNT);
    home.rights.drop_account(now, ACCOUNT);
    let live = |from: Instant, home: &mut Node, away: &mut Node| {
        link(from, home, away);
        (1..40).for_each(|quarter| settle(from + Duration::from_millis(250 * quarter), home, away));
    };
    live(now, &mut home, &mut away);
    assert_eq!((home.rights.issued(ACCOUNT), cell.read()), (1, (1, 1)), "a call is up");
    away.permits.clear();
    let later = now + Duration::from_secs(20);
    away.rights = thaw(later, &octets(&away.rights), None).unwrap();
    live(later, &mut home, &mut away);
    assert_eq!(home.rights.issued(ACCOUNT), 0);
}

#[test]
fn what_contradicts_itself_is_refused() {
    let (home, away) = in_the_middle();
    let mut refused = Vec::new();
    let mut damage = |node: &Node, by: &dyn Fn(&mut Frozen)| {
        let mut frozen = node.rights.freeze().unwrap();
        by(&mut frozen);
        let octets = rmp_serde::to_vec_named(&frozen).unwrap();
        let why = thawed(&octets, &Cell::new(0), NOW).err().unwrap_or_default();
        refused.push(why.rsplit(": ").next().unwrap_or_default().to_owned());
    };
    damage(&home, &|frozen| frozen.accounts.push(Row { busy: None, ..frozen.accounts[0].clone() }));
    damage(&home, &|frozen| frozen.accounts[0].placed[0].site = SiteId(7));
    damage(&home, &|frozen| frozen.accounts[0].placed[0].ceded += 100);
    damage(&home, &|frozen| frozen.accounts[0].placed.extend_from_within(..));
    damage(&home, &|frozen| frozen.loan_number = 0);
    damage(&away, &|frozen| frozen.request_number = 0);
    damage(&away, &|frozen| frozen.accounts[0].received[0].settled += 1);
    damage(&away, &|frozen| frozen.accounts[0].busy.iter_mut().for_each(|busy| busy.loans.extend_from_within(..)));
    damage(&away, &|frozen| frozen.accounts[0].issued = u32::MAX);
    let expected = [
        "an account is there twice, or there are too many",
        "a site of a placement",
        "a placement",
        "a site of a placement",
        "a loan out",
        "a question",
        "a receipt",
        "a loan in",
        "more rights than there can be",
    ];
    assert_eq!(refused, expected);
}

/// What people and peers may do to a machine, so that every table is touched.
fn use_it(rights: &mut Rights, now: Instant) {
    let peer = Identity { name: "home".into(), disk: 4, incarnation: 1 };
    let site = rights.link_up(now, peer).ok();
    for step in 0..40 {
        let now = now + Duration::from_secs(step);
        rights.note(now, borrow(step as u32, now));
        rights.note(now, Note::Wanted { account: ACCOUNT.into() });
        rights.handle_timeout(now);
        if let Some(site) = site {
            let account = || Arc::from(ACCOUNT);
            rights.handle(now, site, Message::Placed { account: account(), total: step });
            rights.handle(now, site, Message::Recall { account: account(), amount: 3 });
            rights.handle(now, site, Message::Settled { account: account(), total: step });
        }
        while rights.poll_output().is_some() {}
        rights.durable(now, u64::MAX);
        let _ = (rights.view(now, ACCOUNT), rights.totals(), rights.snapshot());
    }
    rights.set_account(now, ACCOUNT.into(), terms("away", 3), Cell::new(0));
    while rights.poll_output().is_some() {}
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_octets_are_an_error_or_a_machine(
        which: bool,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let now = NOW;
        let (home, away) = in_the_middle();
        let mut octets = octets(if which { &home.rights } else { &away.rights });
        for (at, octet) in damage {
            let at = at.index(octets.len());
            octets[at] = octet;
        }
        octets.truncate(cut.map_or(octets.len(), |at| at.index(octets.len())));
        let Ok(frozen) = rmp_serde::from_slice::<Frozen>(&octets) else { return Ok(()) };
        let (settings, random) = (settings(Policy::Drop), Random::from_u64(1));
        let cell = Cell::new(0);
        let thawed = Rights::thaw(settings, vec!["home".into()], frozen, &mut |_| Some(Arc::clone(&cell)), random, now);
        if let Ok(mut rights) = thawed {
            use_it(&mut rights, now);
        }
    }

    #[test]
    fn any_octets_are_read_without_harm(octets: Vec<u8>) {
        let _ = rmp_serde::from_slice::<Frozen>(&octets);
    }
}

#[test]
fn a_change_under_drop_ends_no_call_whose_loan_is_renewed_in_time() {
    let (mut home, mut away) = pair_that(Policy::Drop, 1);
    let now = Instant::from_millis(10);
    away.rights.note(now, borrow(1, now));
    settle(now, &mut home, &mut away);
    let mut at = now;
    for _ in 0..20 {
        away.rights.link_down(at, away.peer.unwrap());
        home.rights.link_down(at, home.peer.unwrap());
        said(&mut away, at);
        said(&mut home, at);
        let frozen = away.rights.freeze().unwrap();
        at += Duration::from_secs(2);
        let cell = Cell::new(0);
        let random = Random::from_u64(5);
        let cells = &mut |_: &str| Some(Arc::clone(&cell));
        away.rights = Rights::thaw(settings(Policy::Drop), vec!["home".into()], frozen, cells, random, at).unwrap();
        away.permits = vec![cell.hold()];
        away.cell = cell;
        at += Duration::from_secs(1);
        link(at, &mut home, &mut away);
        at += Duration::from_secs(3);
        settle(at, &mut home, &mut away);
    }
    assert_eq!((away.hung_up, away.cell.read(), home.cell.read()), (0, (1, 1), (0, 0)));
}
