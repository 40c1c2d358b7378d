//! A call and its rights, message by message, where other sites may lend: it waits, is let in, refused or given up, and
//! whatever happens each right goes back once.

mod desk;
#[path = "admission/place.rs"]
mod place;

use desk::{LEFT, RIGHT, Sent, request, response};
use place::{PHONE, Place, answer_call, assert_over_limit, config, head_of, place, place_with, register, with_offer};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use strowger::base::Instant;
use strowger::base::time::Duration;
use strowger::observe::{CallResult, DropReason, EndCause, LimitReason};
use strowger::shard::{Input, Mail};
use strowger::sip::wire::HeaderName;
use strowger::tally::{Cell, Note};

#[test]
fn a_call_waits_for_a_right_and_goes_on_with_it() {
    let mut place = place();
    let sent = place.call("one", "+15550100");
    assert_eq!((sent.len(), response(&sent, LEFT, 100).view().status()), (1, 100));
    place.desk.wait(Duration::from_millis(120));
    let (call, permit) = (place.asker(), place.grant());
    let sent = place.letter(call, permit);
    // Let in: that nobody is registered is another matter.
    response(&sent, LEFT, 480);
    let record = &place.desk.records[0];
    assert_eq!((record.limit, record.limit_wait), (None, Some(Duration::from_millis(120))));
    place.assert_balanced(1);
}

#[test]
fn a_wait_ends_in_time_with_the_limit_of_all_sites() {
    let mut place = place();
    place.call("one", "+15550100");
    assert!(place.desk.wait(Duration::from_millis(399)).is_empty());
    assert_over_limit(&place.desk.wait(Duration::from_millis(1)));
    let record = &place.desk.records[0];
    assert_eq!((record.result, record.cause, record.status), (CallResult::Limited, EndCause::Limited, 403));
    assert_eq!((record.limit, record.limit_wait), (Some(LimitReason::BorrowTimeout), Some(Duration::from_millis(400))));
    assert_eq!((place.desk.counters.limits(LimitReason::BorrowTimeout), place.cell.refused()), (1, 1));
    // The right that comes too late goes back.
    let (call, permit) = (place.asker(), place.grant());
    assert!(place.letter(call, permit).is_empty());
    place.assert_balanced(0);
}

#[test]
fn a_right_that_was_freed_here_serves_the_call_that_was_denied_one() {
    let mut place = place();
    place.call("one", "+15550100");
    let call = place.asker();
    place.cell.set_usable(1);
    response(&place.letter(call, None), LEFT, 480);
    place.assert_balanced(1);
}

#[test]
fn a_denied_right_is_a_refusal_at_once() {
    let mut place = place();
    place.call("one", "+15550100");
    let call = place.asker();
    assert_over_limit(&place.letter(call, None));
    assert_eq!(place.desk.counters.limits(LimitReason::Account), 1);
    place.assert_balanced(0);
}

#[test]
fn a_caller_that_gives_up_while_waiting_takes_nothing() {
    let mut place = place();
    place.call("one", "+15550100");
    let call = place.asker();
    place.desk.wait(Duration::from_millis(30));
    let sent = place.cancel("one");
    response(&sent, LEFT, 200);
    response(&sent, LEFT, 487);
    let permit = place.grant();
    assert!(place.letter(call, permit).is_empty());
    let record = &place.desk.records[0];
    assert_eq!((record.result, record.limit_wait), (CallResult::Cancelled, Some(Duration::from_millis(30))));
    place.assert_balanced(0);
}

#[test]
fn a_node_that_stops_says_so_to_those_who_wait() {
    let mut place = place();
    place.call("one", "+15550100");
    place.desk.input(Input::Mail(Mail::Drain));
    assert_eq!(place.desk.shard.audit().calls_live, 1, "a call that has begun goes on");
    let sent = place.desk.input(Input::Mail(Mail::Stop));
    let sent: Vec<Sent> = sent.into_iter().map(|(to, bytes)| (to, desk::read(bytes))).collect();
    response(&sent, LEFT, 503);
    place.assert_balanced(0);
}

#[test]
fn a_right_of_somebody_else_is_no_answer() {
    let mut place = place();
    place.call("one", "+15550100");
    let (call, other) = (place.asker(), Cell::new(1));
    assert!(place.letter(call, other.admit()).is_empty());
    assert_eq!(other.read(), (0, 1));
    assert_over_limit(&place.desk.wait(Duration::from_millis(400)));
    place.assert_balanced(0);
}

#[test]
fn nobody_to_ask_is_a_refusal_at_once() {
    let mut place = place();
    place.cell.set_may_borrow(false);
    place.cell.set_cut_off(true);
    assert_over_limit(&place.call("one", "+15550100"));
    assert_eq!(place.desk.records[0].limit, Some(LimitReason::CutOff));
    assert!(place.desk.notes.iter().any(|note| matches!(note, Note::Wanted { account } if **account == *"alice")));
    place.assert_balanced(0);
}

#[test]
fn a_keeper_that_stands_still_is_waited_for_and_not_believed() {
    let mut place = place();
    place.cell.set_usable(5);
    place.pulse.beat(Instant::ZERO, Duration::from_millis(900));
    place.call("one", "+15550100");
    let call = place.asker();
    place.pulse.beat(Instant::ZERO, Duration::from_secs(1 << 20));
    let permit = place.cell.admit();
    response(&place.letter(call, permit), LEFT, 480);
    place.assert_balanced(1);
}

#[test]
fn a_full_trunk_is_told_in_its_own_terms() {
    let mut place = place();
    for branch in ["one", "two"] {
        place.call(branch, "+15550100");
    }
    let sent = place.call("three", "+15550100");
    let refusal = response(&sent, LEFT, 480).view();
    assert_eq!(refusal.header(HeaderName::Reason), Some(&b"Q.850;cause=34;text=\"trunk limit 2\""[..]));
    assert_eq!(place.desk.records[0].limit, Some(LimitReason::TrunkCalls));
    place.desk.wait(Duration::from_secs(1));
    place.assert_balanced(0);
}

#[test]
fn an_emergency_number_is_never_refused_and_takes_no_right() {
    let mut place = place();
    for branch in ["one", "two"] {
        place.call(branch, "+4420");
    }
    // Both trunks are full by now, and the node takes no new calls.
    place.desk.input(Input::Mail(Mail::Drain));
    response(&place.call("three", "+4420"), LEFT, 503);
    let sent = place.call("four", "112");
    request(&sent, RIGHT, "INVITE");
    assert_eq!(place.desk.directory.trunks[1].cell.as_ref().map(|cell| cell.read()), Some((1, 1)));
    let sent = place.desk.input(Input::Mail(Mail::Stop));
    assert!(!sent.is_empty());
    assert_eq!(place.cell.read(), (0, 0));
    // It has a row at all sites, under a name that counts for no account.
    let rows: Vec<&Note> = place.desk.notes.iter().filter(|note| matches!(note, Note::Began { .. })).collect();
    assert!(matches!(rows[..], [Note::Began { account, .. }] if **account == *"left (emergency)"), "{rows:?}");
    place.assert_balanced(1);
}

#[test]
fn the_emergency_service_is_called_by_its_name() {
    let mut place = place();
    for (branch, urn) in [("one", "urn:service:sos"), ("two", "urn:service:sos.police")] {
        let sent = place.desk.receive(LEFT, &with_offer(&head_of("INVITE", branch, urn)));
        let out = request(&sent, RIGHT, "INVITE").view();
        assert_eq!(out.uri().raw(), b"sip:112@203.0.113.9:5060", "the first emergency number stands for it");
        assert_eq!(out.to().uri().user(), Some(&b"112"[..]));
    }
    let sent = place.desk.receive(LEFT, &with_offer(&head_of("INVITE", "three", "urn:service:counseling")));
    response(&sent, LEFT, 416);
    place.desk.input(Input::Mail(Mail::TellCalls));
    let Some(Note::Calls { calls, .. }) = place.desk.notes.last() else { panic!("{:?}", place.desk.notes) };
    assert!(calls.len() == 2 && calls.iter().all(|call| *call.account == *"left (emergency)"), "{calls:?}");
    place.desk.input(Input::Mail(Mail::Stop));
    place.assert_balanced(2);
    assert_eq!(&*place.desk.records[0].to, "urn:service:sos");
}

/// The table of transactions is full of calls that ring; only those that must not be refused still get in.
#[test]
fn overload_does_not_refuse_an_emergency() {
    let config =
        config().replace("[media]", "[shards]\ntransactions_max = 16\n[media]").replace("max_calls", "max_cps");
    let mut place = place_with(
        &config.replace("max_cps = 5", "max_calls = 5").replace("max_cps = 2", "").replace("max_cps = 1", ""),
    );
    let ordinary = (0..17).map(|number| {
        let sent = place.call(&format!("b{number}"), "+4420");
        sent.iter().any(|(_, message)| !message.view().is_request() && message.view().status() == 503)
    });
    assert_eq!(ordinary.filter(|refused| *refused).count(), 1);
    assert_eq!(place.desk.counters.limits(LimitReason::Overload), 1);
    request(&place.call("urgent", "112"), RIGHT, "INVITE");
    let urn = with_offer(&head_of("INVITE", "urn", "urn:service:sos"));
    request(&place.desk.receive(LEFT, &urn), RIGHT, "INVITE");
    response(&place.call("late", "+4420"), LEFT, 503);
    place.desk.input(Input::Mail(Mail::Stop));
    place.assert_balanced(2);
}

#[test]
fn the_newest_calls_of_an_account_end_when_its_rights_are_withdrawn() {
    let mut place = place();
    register(&mut place);
    place.cell.set_usable(5);
    place.desk.directory.trunks[0].cell.as_ref().expect("a cap").set_usable(3);
    for branch in ["one", "two", "three"] {
        request(&place.call(branch, "+15550100"), PHONE, "INVITE");
        place.desk.wait(Duration::from_millis(10));
    }
    place.desk.records.clear();
    let budget = Arc::new(AtomicU32::new(2));
    let hang_up = |account: &str| Mail::HangUpSome { account: account.into(), budget: Arc::clone(&budget) };
    assert!(place.desk.input(Input::Mail(hang_up("bob"))).is_empty());
    let sent = place.desk.input(Input::Mail(hang_up("alice")));
    let sent: Vec<Sent> = sent.into_iter().map(|(to, bytes)| (to, desk::read(bytes))).collect();
    assert_over_limit(&sent);
    let ended: Vec<&str> = place.desk.records.iter().map(|record| &*record.caller.sip_call_id).collect();
    assert_eq!(ended, ["three@left.example", "two@left.example"]);
    assert!(place.desk.records.iter().all(|record| record.limit == Some(LimitReason::Withdrawn)));
    assert_eq!((budget.load(Ordering::Relaxed), place.cell.read()), (0, (1, 5)));
    let left = Arc::new(AtomicU32::new(9));
    place.desk.input(Input::Mail(Mail::HangUpSome { account: "alice".into(), budget: Arc::clone(&left) }));
    assert_eq!(left.load(Ordering::Relaxed), 8, "only as many as there are");
    place.desk.wait(Duration::from_secs(8_000));
    place.assert_balanced(3);
}

#[test]
fn what_waited_in_the_sockets_of_a_paused_process_is_not_relayed_under_drop() {
    for (policy, stale) in [("keep", true), ("drop", false)] {
        let mut place = place_with(&format!("[limits]\npolicy = \"{policy}\"\n{}", config()));
        register(&mut place);
        place.cell.set_usable(5);
        place.read_mail(place.desk.shard.last_beat());
        let out = request(&place.call("one", "+15550100"), PHONE, "INVITE").clone();
        let local = answer_call(&mut place, &out);
        let socket = place.desk.sockets.iter().find(|(bind, _)| *bind == local).expect("it is open").1;
        let mut sequence = 0u8;
        let mut relays = |place: &mut Place| {
            sequence += 1;
            let mut packet = [0u8; 172];
            packet[..12].copy_from_slice(&[0x80, 0, 0, sequence, 0, 0, sequence, 0, 1, 2, 3, 4]);
            place.desk.datagram(socket.0, "198.51.100.7:4000", &packet).0.is_some()
        };
        assert!(relays(&mut place), "{policy}");
        place.pulse.beat(place.desk.now, Duration::from_millis(900));
        place.read_mail(place.desk.shard.last_beat());
        place.desk.now += Duration::from_millis(900);
        assert!(relays(&mut place), "{policy}: as long as the keeper's word holds");
        // It stands still, and goes on: first come the packets that waited, then the keeper, then its letters.
        place.desk.now += Duration::from_secs(60);
        assert_eq!(relays(&mut place), stale, "{policy}");
        place.pulse.beat(place.desk.now, Duration::from_millis(900));
        assert_eq!(relays(&mut place), stale, "{policy}: the keeper's letters are not read yet");
        let beat = place.desk.shard.last_beat();
        let look_at = place.desk.shard.next_deadline().expect("timers");
        assert!(policy == "keep" || look_at <= place.desk.now, "it looks at the pulse also without traffic");
        let dropped = place.desk.counters.drops(DropReason::MediaUntrusted);
        assert_eq!(dropped, if stale { 0 } else { 2 }, "{policy}");
        place.read_mail(beat);
        assert!(relays(&mut place), "{policy}: its right did not end");
        let (account, budget) = ("alice".into(), Arc::new(AtomicU32::new(1)));
        place.desk.input(Input::Mail(Mail::HangUpSome { account, budget }));
        assert!(!relays(&mut place), "{policy}: it has been hung up");
    }
}

#[test]
fn a_call_that_has_its_right_takes_no_second_one() {
    let mut place = place();
    register(&mut place);
    place.call("one", "+15550100");
    place.desk.wait(Duration::from_millis(50));
    let told = place.desk.notes.iter().filter_map(|note| match note {
        Note::Phones { account, phones } => Some((&**account, *phones)),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [("alice", 1)], "a right for the phone that came");
    let (call, permit) = (place.asker(), place.grant());
    request(&place.letter(call, permit), PHONE, "INVITE");
    place.desk.wait(Duration::from_millis(50));
    let again = place.grant();
    assert!(place.letter(call, again).is_empty());
    assert_eq!(place.cell.read(), (1, 2));
    place.cancel("one");
    assert_eq!(place.desk.records[0].limit_wait, Some(Duration::from_millis(50)));
    place.desk.wait(Duration::from_secs(8_000));
    place.assert_balanced(1);
}

#[test]
fn all_calls_are_told_to_a_keeper_that_asks() {
    let mut place = place();
    register(&mut place);
    place.cell.set_usable(5);
    place.call("one", "+15550100");
    place.desk.input(Input::Mail(Mail::TellCalls));
    let Some(Note::Calls { calls, .. }) = place.desk.notes.last().cloned() else { panic!("{:?}", place.desk.notes) };
    let began = place.desk.notes.iter().find_map(|note| match note {
        Note::Began { account, call, started } => Some((Arc::clone(account), *call, *started)),
        _ => None,
    });
    assert_eq!(began, Some((Arc::clone(&calls[0].account), calls[0].call, calls[0].started)));
    assert_eq!(calls.len(), 1);
}

#[test]
fn an_account_that_comes_back_by_reload_finds_its_calls_counted() {
    let config = strowger::config::read(&config(), "test.toml").config.expect("good");
    let mut without = config.clone();
    without.accounts.clear();
    let first = strowger::call::Directory::new(&config, None);
    let call = first.accounts[0].cell.admit();
    let second = strowger::call::Directory::new(&without, Some(&first));
    let third = strowger::call::Directory::new(&without, Some(&second));
    drop((first, second));
    let fourth = strowger::call::Directory::new(&config, Some(&third));
    assert_eq!(fourth.accounts[0].cell.read(), (1, 5));
    drop(call);
    assert_eq!(fourth.accounts[0].cell.read(), (0, 5));
}
