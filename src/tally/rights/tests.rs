//! Single behaviours, between two sites with a good disk and a good network. Everything else: `tests/sim/limits`.

use super::*;
use crate::base::{ShardId, Slot};
use crate::tally::{Figures, Message, Note, RequestId};

pub(super) const ACCOUNT: &str = "acme";

/// A site and what it is called.
pub(super) struct Node {
    pub rights: Rights,
    pub identity: Identity,
    pub cell: Arc<Cell>,
    pub peer: Option<SiteId>,
    pub ledger: Vec<Record>,
    pub permits: Vec<super::super::Permit>,
    pub answers: Vec<bool>,
    pub hung_up: u32,
}

pub(super) fn settings(policy: Policy) -> Settings {
    Settings { max_call: Duration::from_secs(60), policy, ..Settings::default() }
}

pub(super) fn terms(me: &str, limit: u32) -> Terms {
    let home = if me == "home" { Home::Here } else { Home::At("home".into()) };
    Terms { limit, home, allowance: 0 }
}

impl Node {
    fn new(name: &str, peer: &str, limit: u32, policy: Policy) -> Self {
        let identity = Identity { name: name.into(), disk: name.len() as u128, incarnation: 1 };
        let random = Random::from_u64(1);
        let settings = settings(policy);
        let mut rights =
            Rights::open(settings, identity.clone(), vec![peer.into()], &[], random, Instant::from_millis(1));
        let cell = Cell::new(0);
        rights.set_account(Instant::from_millis(1), ACCOUNT.into(), terms(name, limit), Arc::clone(&cell));
        let (ledger, permits, answers) = (Vec::new(), Vec::new(), Vec::new());
        Self { rights, identity, cell, peer: None, ledger, permits, answers, hung_up: 0 }
    }

    pub fn view(&self, now: Instant) -> View {
        self.rights.view(now, ACCOUNT).unwrap()
    }
}

/// Passes everything to and fro until nothing is left.
pub(super) fn settle(now: Instant, a: &mut Node, b: &mut Node) {
    loop {
        let moved = drain(now, a, b) + drain(now, b, a);
        if moved == 0 {
            return;
        }
    }
}

fn drain(now: Instant, from: &mut Node, to: &mut Node) -> usize {
    let mut moved = 0;
    while from.rights.next_deadline().is_some_and(|at| at <= now) {
        from.rights.handle_timeout(now);
    }
    while let Some(output) = from.rights.poll_output() {
        moved += 1;
        match output {
            Output::Persist { seq, record } => {
                from.ledger.push(record);
                from.rights.durable(now, seq);
            }
            Output::Send { message, .. } => to.rights.handle(now, to.peer.unwrap(), message),
            Output::Right { permit, .. } => {
                from.answers.push(permit.is_some());
                from.permits.extend(permit);
            }
            Output::HangUp { calls, .. } => from.hung_up += calls,
            Output::Event(_) => {}
        }
    }
    moved
}

pub(super) fn link(now: Instant, a: &mut Node, b: &mut Node) {
    a.peer = Some(a.rights.link_up(now, b.identity.clone()).unwrap());
    b.peer = Some(b.rights.link_up(now, a.identity.clone()).unwrap());
    settle(now, a, b);
}

pub(super) fn pair(limit: u32) -> (Node, Node) {
    pair_that(Policy::Keep, limit)
}

pub(super) fn pair_that(policy: Policy, limit: u32) -> (Node, Node) {
    let (mut home, mut away) = (Node::new("home", "away", limit, policy), Node::new("away", "home", limit, policy));
    link(Instant::from_millis(2), &mut home, &mut away);
    (home, away)
}

pub(super) fn borrow(call: u32, now: Instant) -> Note {
    let call = Slot { index: call, generation: 0 };
    Note::Borrow { account: ACCOUNT.into(), shard: ShardId(0), call, deadline: now + Duration::from_millis(400) }
}

#[test]
fn a_home_issues_once_its_peers_agree_and_shares_what_is_large() {
    let alone = Node::new("home", "away", 10, Policy::Keep);
    assert_eq!(alone.cell.read(), (0, 0), "nobody has said that the old ledger is out of use");
    let (home, away) = pair(10);
    assert_eq!((home.cell.read(), away.cell.read()), ((0, 5), (0, 5)));
    let (home, away) = pair(3);
    assert_eq!((home.cell.read(), away.cell.read()), ((0, 3), (0, 0)));
}

#[test]
fn a_call_that_waits_gets_a_borrowed_right_and_the_right_goes_home() {
    let (mut home, mut away) = pair(1);
    let now = Instant::from_millis(10);
    assert!(away.cell.may_borrow());
    away.rights.note(now, borrow(1, now));
    settle(now, &mut home, &mut away);
    assert_eq!((away.answers.as_slice(), home.cell.read(), away.cell.read()), (&[true][..], (0, 0), (1, 1)));
    away.rights.note(now, borrow(2, now));
    settle(now, &mut home, &mut away);
    assert_eq!(away.answers, [true, false], "there is one right only");
    away.permits.clear();
    for second in 1..20 {
        settle(Instant::from_millis(10 + second * 1_000), &mut home, &mut away);
    }
    assert_eq!((home.cell.read(), away.cell.read()), ((0, 1), (0, 0)));
}

#[test]
fn a_loan_that_is_called_in_ends_with_its_calls_and_ends_none() {
    for policy in [Policy::Keep, Policy::Drop] {
        let (mut home, mut away) = pair_that(policy, 1);
        away.rights.note(Instant::from_millis(10), borrow(1, Instant::from_millis(10)));
        settle(Instant::from_millis(10), &mut home, &mut away);
        for tenth in 1..600 {
            let now = Instant::from_millis(10 + tenth * 100);
            home.rights.note(now, Note::Wanted { account: ACCOUNT.into() });
            settle(now, &mut home, &mut away);
        }
        assert_eq!((away.permits.len(), away.hung_up), (1, 0), "{policy:?}: it is up after two leases");
        assert_eq!((away.cell.read(), home.cell.read()), ((1, 0), (0, 0)), "{policy:?}: and the last on this right");
        away.permits.clear();
        for tenth in 600..606 {
            settle(Instant::from_millis(10 + tenth * 100), &mut home, &mut away);
        }
        assert_eq!(home.cell.read(), (0, 1), "{policy:?}");
    }
}

#[test]
fn a_loan_that_nobody_asked_for_is_refused_and_counted() {
    let (mut home, mut away) = pair(1);
    let request = RequestId { incarnation: 1, number: 77 };
    let loan = LoanId { incarnation: 1, number: 1 };
    let (account, sent_at) = (Arc::from(ACCOUNT), Instant::ZERO);
    let from = away.peer.unwrap();
    away.rights.handle(Instant::from_millis(9), from, Message::Loan { request, loan, account, amount: 5, sent_at });
    settle(Instant::from_millis(9), &mut home, &mut away);
    assert_eq!((away.cell.read(), away.rights.totals().refused), ((0, 0), 1));
}

#[test]
fn without_a_ledger_nothing_is_lent_and_calls_go_on() {
    let (mut home, mut away) = pair(2);
    let now = Instant::from_millis(10);
    home.rights.ledger_works(now, false);
    let permit = home.cell.admit();
    away.rights.note(now, borrow(1, now));
    settle(now, &mut home, &mut away);
    assert_eq!((permit.is_some(), away.answers.as_slice()), (true, &[false][..]));
    assert_eq!(away.view(now).refusal.map(|(why, _)| why), Some(Refusal::Denied));
}

#[test]
fn an_account_that_is_dropped_everywhere_leaves_no_right_behind() {
    let (mut home, mut away) = pair(10);
    let permit = away.cell.admit();
    let drop_at = Instant::from_millis(10);
    home.rights.drop_account(drop_at, ACCOUNT);
    away.rights.drop_account(drop_at, ACCOUNT);
    for step in 0..40 {
        settle(Instant::from_millis(10 + step * 250), &mut home, &mut away);
    }
    assert_eq!((home.rights.issued(ACCOUNT), away.cell.read()), (1, (1, 1)), "a call is up");
    drop(permit);
    for step in 40..80 {
        settle(Instant::from_millis(10 + step * 250), &mut home, &mut away);
    }
    assert_eq!((home.rights.issued(ACCOUNT), home.cell.read(), away.cell.read()), (0, (0, 0), (0, 0)));
}

#[test]
fn a_cell_that_is_replaced_counts_the_calls_of_the_one_before() {
    let (mut home, _away) = pair(10);
    let permits = [home.cell.admit(), home.cell.admit()];
    let now = Instant::from_millis(10);
    let next = Cell::new(0);
    home.rights.set_account(now, ACCOUNT.into(), terms("home", 10), Arc::clone(&next));
    assert_eq!((home.cell.read().1, next.read()), (0, (0, 3)));
    drop(permits);
    home.rights.handle_timeout(Instant::from_millis(600));
    assert_eq!(next.read(), (0, 5));
}

#[test]
fn a_snapshot_says_what_the_ledger_says() {
    let (mut home, mut away) = pair(10);
    let now = Instant::from_millis(10);
    let permits: Vec<_> = (0..5).map(|_| away.cell.admit()).collect();
    away.rights.note(now, borrow(1, now));
    settle(now, &mut home, &mut away);
    assert!(home.view(now).lent > 0);
    let reopen = |records: &[Record]| {
        let identity = Identity { incarnation: 2, ..home.identity.clone() };
        let peers = vec!["away".into()];
        let rights = Rights::open(Settings::default(), identity, peers, records, Random::from_u64(2), now);
        let view = rights.view(now, ACCOUNT).unwrap();
        (rights.totals().founded, view.issued, view.base, view.lent, view.placed)
    };
    assert_eq!(reopen(&home.ledger), reopen(&home.rights.snapshot()));
    assert_eq!(reopen(&home.ledger).1, Some(10));
    drop(permits);
}

/// What is said to the other site, everything due done and all disks quick.
pub(super) fn said(node: &mut Node, now: Instant) -> Vec<Message> {
    let mut said = Vec::new();
    while let Some(output) = node.rights.poll_output() {
        match output {
            Output::Persist { seq, .. } => node.rights.durable(now, seq),
            Output::Send { message, .. } => said.push(message),
            _ => {}
        }
    }
    said
}

#[test]
fn an_idle_right_stays_where_phones_are_until_a_call_needs_it() {
    let (mut home, mut away) = pair(1);
    let phones = |phones| Note::Phones { account: ACCOUNT.into(), phones };
    let mut at = 10;
    let mut live = |home: &mut Node, away: &mut Node, seconds: u64| {
        for _ in 0..10 * seconds {
            at += 100;
            settle(Instant::from_millis(at), home, away);
        }
        Instant::from_millis(at)
    };
    away.rights.note(Instant::from_millis(10), phones(3));
    let now = live(&mut home, &mut away, 90);
    assert_eq!((home.cell.read(), away.cell.read()), ((0, 0), (0, 1)), "three leases later");
    home.rights.note(now, borrow(1, now));
    let now = live(&mut home, &mut away, 1);
    assert_eq!((home.answers.as_slice(), home.cell.read(), away.cell.read()), (&[true][..], (1, 1), (0, 0)));
    home.permits.clear();
    home.rights.note(now, phones(1));
    live(&mut home, &mut away, 90);
    assert_eq!((home.cell.read(), away.cell.read()), ((0, 1), (0, 0)), "nobody takes the last one from other phones");
    home.rights.note(now, phones(0));
    live(&mut home, &mut away, 90);
    assert_eq!((home.cell.read(), away.cell.read()), ((0, 0), (0, 1)));
    away.rights.note(now, phones(0));
    live(&mut home, &mut away, 30);
    assert_eq!((home.cell.read(), away.cell.read()), ((0, 1), (0, 0)));
}

#[test]
fn a_site_that_boasts_is_asked_and_nothing_overflows() {
    let (_, mut away) = pair(1);
    let now = Instant::from_millis(10);
    let figures = Figures { base: u32::MAX, refused: 1, ..Figures::default() };
    let account = Arc::from(ACCOUNT);
    away.rights.handle(now, away.peer.unwrap(), Message::Figures { account, figures });
    away.rights.note(now, borrow(1, now));
    let asked = said(&mut away, now).into_iter().any(|message| matches!(message, Message::Request { .. }));
    assert!(asked);
}

#[test]
fn a_late_answer_counts_for_no_later_round() {
    let mut home = Node::new("home", "away", 10, Policy::Keep);
    let now = Instant::from_millis(2);
    let peer = Identity { name: "away".into(), disk: 9, incarnation: 1 };
    let site = home.rights.link_up(now, peer).unwrap();
    let round = |said: Vec<Message>| match said[..] {
        [Message::Founding { round }] => round,
        ref other => panic!("{other:?}"),
    };
    let first = round(said(&mut home, now));
    home.rights.handle(now, site, Message::Founded { clear: true, round: first });
    let second = round(said(&mut home, now));
    home.rights.handle(now, site, Message::Founded { clear: true, round: first });
    home.rights.handle(now, site, Message::Founded { clear: false, round: first });
    assert!(!home.rights.totals().founded && said(&mut home, now).is_empty());
    home.rights.handle(now, site, Message::Founded { clear: true, round: second });
    assert!(home.rights.totals().founded);
}

#[test]
fn what_concerns_all_accounts_is_done_in_pieces() {
    const ACCOUNTS: usize = 3_000;
    let now = Instant::from_millis(2);
    let mut away = Node::new("away", "home", 10, Policy::Keep);
    let cells: Vec<Arc<Cell>> = (0..ACCOUNTS).map(|_| Cell::new(0)).collect();
    for (number, cell) in cells.iter().enumerate() {
        away.rights.set_account(now, format!("a{number}").into(), terms("away", 10), Arc::clone(cell));
    }
    let old = Identity { name: "home".into(), disk: 1, incarnation: 5 };
    let site = away.rights.link_up(now, old.clone()).unwrap();
    let work = |away: &mut Node| {
        let mut turns = 0;
        while away.rights.next_deadline() == Some(Instant::ZERO) {
            away.rights.handle_timeout(now);
            turns += 1;
        }
        turns
    };
    work(&mut away);
    for number in 0..ACCOUNTS {
        away.rights.handle(now, site, Message::Placed { account: format!("a{number}").into(), total: 2 });
    }
    let usable = || cells.iter().map(|cell| cell.read().1).sum::<u32>();
    assert_eq!(usable(), 2 * ACCOUNTS as u32);
    said(&mut away, now);
    let new = Identity { disk: 2, incarnation: 1, ..old };
    let site = away.rights.link_up(now, new).unwrap();
    work(&mut away);
    said(&mut away, now);
    away.rights.handle(now, site, Message::Founding { round: 7 });
    assert_eq!(said(&mut away, now), [Message::Founded { clear: false, round: 7 }], "the first account says so");

    let retired = away.rights.retire(now, "home", 5).unwrap();
    assert_eq!((retired.rights, retired.dropped), (0, 2 * ACCOUNTS as u64));
    assert!(away.rights.is_sweeping() && usable() > 0);
    assert!(work(&mut away) >= 2);
    assert_eq!((away.rights.is_sweeping(), usable()), (false, 0));
    said(&mut away, now);
    away.rights.handle(now, site, Message::Founding { round: 8 });
    assert_eq!(said(&mut away, now), [], "not all have been looked at");
    assert_eq!(work(&mut away), 2);
    assert_eq!(said(&mut away, now), [Message::Founded { clear: true, round: 8 }]);
}
