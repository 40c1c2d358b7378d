//! Sites that are linked: rights move between them, calls are known at all of them, and nobody else gets in.

#[path = "links/changes.rs"]
mod changes;
#[path = "links/relay.rs"]
mod relay;
#[path = "links/site.rs"]
mod site;
#[path = "links/stranger.rs"]
mod stranger;

use std::path::Path;
use std::time::{Duration, Instant as StdInstant};

use site::{BOUND, Site, certify, places, run, until};
use stranger::{Stranger, client, hello};
use strowger::base::id::Token;
use strowger::base::{Instant, ShardId, Slot};
use strowger::control::links::{AccountTerms, Accounts, Question, Reason};
use strowger::shard::Mail;
use strowger::tally::message::{LoanId, Message, RequestId};
use strowger::tally::wire::{Bye, Frame, Hello};
use strowger::tally::{Note, Permit};

/// Three linked sites; `a` is the home of all accounts.
fn three(root: &Path, accounts: &[(&'static str, u32)]) -> [Site; 3] {
    let keys = root.join("keys");
    certify(&keys, &["a", "b", "c"]);
    let places = places(["a", "b", "c"]);
    let peers: Vec<_> = places.iter().map(|place| (place.name, place.address)).collect();
    let sites = places.map(|place| {
        let others: Vec<_> = peers.iter().copied().filter(|(name, _)| *name != place.name).collect();
        run(root, &keys, place, &others, accounts, "a")
    });
    until("all sites are linked", || sites.iter().all(Site::is_linked));
    sites
}

/// A call of the account `alice` waits at the site for a right.
fn borrow(site: &Site, account: &str) -> Option<Permit> {
    let deadline = site.clock.now() + Duration::from_secs(5);
    let call = Slot { index: 7, generation: 1 };
    site.notes.send(Note::Borrow { account: account.into(), shard: ShardId(0), call, deadline }).unwrap();
    match site.letters.recv_timeout(BOUND).unwrap() {
        Mail::Right { call: answered, permit } => {
            assert_eq!(answered, call);
            permit
        }
        other => panic!("{other:?}"),
    }
}

fn usable(sites: &[Site], account: &str) -> u32 {
    sites.iter().map(|site| site.cell(account).1).sum()
}

#[test]
fn rights_are_placed_borrowed_and_returned() {
    let root = tempfile::tempdir().unwrap();
    let sites = three(root.path(), &[("wide", 9), ("narrow", 2)]);
    let [a, b, _] = &sites;
    until("each site has its share", || sites.iter().all(|site| site.cell("wide").1 >= 3));
    assert_eq!(usable(&sites, "wide"), 9);
    assert!(sites.iter().all(|site| site.pulse.beats(site.clock.now())), "shards may trust the cells");
    until("the home has all of a small limit", || a.cell("narrow").1 == 2);
    assert_eq!(b.cell("narrow"), (0, 0));
    assert!(b.cells["narrow"].may_borrow());

    let permit = borrow(b, "narrow").expect("a right of the home");
    assert!(b.cell("narrow").0 == 1 && usable(&sites, "narrow") <= 2, "others may be on their way");
    let told = b.account("narrow");
    assert!(told["borrowed"].as_u64() >= Some(1) && told["home"] == "a", "{told}");
    assert_eq!(told["loans_in"][0]["site"], "a");
    until("the home knows its loan", || a.account("narrow")["lent"].as_u64() >= Some(1));
    drop(permit);
    until("the right is home again", || a.cell("narrow") == (0, 2) && b.cell("narrow") == (0, 0));
    sites.into_iter().for_each(Site::stop);
}

#[test]
fn calls_are_known_everywhere_and_go_with_their_site() {
    let root = tempfile::tempdir().unwrap();
    let [a, b, c] = three(root.path(), &[("alice", 9)]);
    let call = |index| Token { shard: ShardId(0), slot: Slot { index, generation: 1 }, salt: 9 };
    until("each has its share", || [&a, &b, &c].iter().all(|site| site.cell("alice").1 == 3));
    for index in 0..5 {
        let (call, started) = (call(index), a.clock.now());
        a.notes.send(Note::Began { account: "alice".into(), call, started }).unwrap();
    }
    a.notes.send(Note::Ended { account: "alice".into(), call: call(0) }).unwrap();
    let listed = |site: &Site| site.ask(Question::Calls { limit: 100 }).unwrap();
    for site in [&b, &c] {
        until("the calls of a are known", || listed(site)["rows"].as_array().unwrap().len() == 4);
        let shown = listed(site);
        assert!(shown["rows"].as_array().unwrap().iter().all(|row| row["site"] == "a" && row["stale_s"].is_number()));
        let told = site.account("alice");
        let of_a = told["sites"].as_array().unwrap().iter().find(|one| one["site"] == "a").unwrap();
        assert_eq!(of_a["calls"], 4, "{told}");
    }
    a.stop();
    until("b has seen it go", || !b.handle.status().is_up(0));
    assert_eq!(listed(&b)["sites"][0]["linked"], false);
    let links = b.ask(Question::Links).unwrap();
    assert_eq!((links["rows"][0]["state"].as_str(), links["rows"][0]["incarnation"].as_u64()), (Some("down"), Some(1)));
    let refused = b.ask(Question::Retire { name: "c".into(), incarnation: 1 }).unwrap_err();
    assert!(refused.contains("fence it first"), "{refused}");
    let retired = b.ask(Question::Retire { name: "a".into(), incarnation: 1 }).unwrap();
    assert_eq!(retired["dropped"].as_u64(), Some(3), "{retired}");
    assert_eq!(listed(&b)["rows"].as_array().map(Vec::len), Some(0), "its calls go with it");
    assert_eq!(b.cell("alice"), (0, 0), "what it had made is void");
    [b, c].into_iter().for_each(Site::stop);
}

#[test]
fn a_restart_forgets_what_was_borrowed_and_keeps_what_was_placed() {
    let root = tempfile::tempdir().unwrap();
    let keys = root.path().join("keys");
    certify(&keys, &["a", "b"]);
    let [at_a, at_b] = places(["a", "b"]);
    let (address_a, address_b) = (at_a.address, at_b.address);
    let accounts = [("alice", 8)];
    let a = run(root.path(), &keys, at_a, &[("b", address_b)], &accounts, "a");
    let b = run(root.path(), &keys, at_b, &[("a", address_a)], &accounts, "a");
    until("both have their share", || a.cell("alice").1 == 4 && b.cell("alice").1 == 4);
    assert_eq!(b.handle.me().incarnation, 1);
    b.stop();
    let place = site::Place { name: "b", socket: std::net::UdpSocket::bind(address_b).unwrap(), address: address_b };
    let b = run(root.path(), &keys, place, &[("a", address_a)], &accounts, "a");
    assert_eq!(b.handle.me().incarnation, 2);
    until("the share is there again", || b.cell("alice").1 == 4);
    until("they are linked again", || a.is_linked() && b.is_linked());
    assert_eq!(a.handle.status().rows(a.clock.now())[0]["incarnation"], 2);
    [a, b].into_iter().for_each(Site::stop);
}

#[test]
fn a_certificate_of_another_authority_is_refused_and_said() {
    let root = tempfile::tempdir().unwrap();
    let (keys, others) = (root.path().join("keys"), root.path().join("others"));
    certify(&keys, &["a"]);
    certify(&others, &["b"]);
    let [at_a, at_b] = places(["a", "b"]);
    let (address_a, address_b) = (at_a.address, at_b.address);
    let a = run(root.path(), &keys, at_a, &[("b", address_b)], &[("alice", 8)], "a");
    let b = run(root.path(), &others, at_b, &[("a", address_a)], &[("alice", 8)], "a");
    let refused = |site: &Site| site.handle.status().refusals(Reason::Certificate) > 0;
    until("both refuse", || refused(&a) && refused(&b));
    let rows = a.handle.status().rows(a.clock.now());
    assert_eq!((rows[0]["state"].as_str(), rows[0]["refusal"]["reason"].as_str()), (Some("down"), Some("certificate")));
    let what = rows[0]["refusal"]["what"].as_str().unwrap();
    let said = ["its certificate is not accepted here: ", "it does not accept our certificate: "];
    assert!(said.iter().any(|words| what.starts_with(words)) && !what.contains("handshake"), "{what}");
    assert_eq!((a.is_linked(), b.is_linked(), b.cell("alice")), (false, false, (0, 0)));
    [a, b].into_iter().for_each(Site::stop);
}

/// A site `a` that knows a peer `b`, and what is needed to pose as `b` or as `c`.
fn alone(root: &Path) -> (Site, std::net::SocketAddr) {
    let keys = root.join("keys");
    certify(&keys, &["a", "b", "c"]);
    let [at_a, nobody] = places(["a", "b"]);
    let address = at_a.address;
    (run(root, &keys, at_a, &[("b", nobody.address)], &[("alice", 2)], "b"), address)
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(BOUND, work).await.expect("in time") })
}

#[test]
fn only_a_configured_peer_with_its_own_certificate_is_heard() {
    let root = tempfile::tempdir().unwrap();
    let (a, address) = alone(root.path());
    let keys = root.path().join("keys");
    let greeted = |shown: &'static str, said: Hello| {
        let config = client(&keys, &keys, shown);
        block_on(async {
            let mut stranger = Stranger::dial(config, address, "a").await.unwrap();
            stranger.say(&Frame::Hello(said)).await;
            stranger.hear().await
        })
    };
    assert_eq!(greeted("c", hello("c", 3, 1)), Some(Frame::Bye(Bye::Stranger)), "no peer of that name");
    assert_eq!(greeted("c", hello("b", 3, 1)), Some(Frame::Bye(Bye::Stranger)), "not what its certificate says");
    let newer = Hello { oldest: 4, newest: 9, ..hello("b", 3, 1) };
    assert_eq!(greeted("b", newer), Some(Frame::Bye(Bye::Version)));
    assert!(matches!(greeted("b", hello("b", 3, 1)), Some(Frame::Hello(_))));
    let status = a.handle.status();
    until("all are counted", || status.refusals(Reason::Stranger) == 2 && status.refusals(Reason::Version) == 1);
    a.stop();
}

/// A site that is fenced is told so before it can believe in a link: it would find one and lose it for ever.
#[test]
fn an_old_incarnation_hears_that_it_is_fenced_and_no_greeting() {
    let root = tempfile::tempdir().unwrap();
    let (a, address) = alone(root.path());
    let keys = root.path().join("keys");
    let greeted = |incarnation, start| {
        let config = client(&keys, &keys, "b");
        block_on(async {
            let mut stranger = Stranger::dial(config, address, "a").await.unwrap();
            stranger.say(&Frame::Hello(Hello { start, ..hello("b", 3, incarnation) })).await;
            stranger.hear().await
        })
    };
    assert!(matches!(greeted(5, 77), Some(Frame::Hello(_))));
    until("the first link is gone", || !a.handle.status().is_up(0));
    assert_eq!(greeted(4, 77), Some(Frame::Bye(Bye::Fenced)));
    assert_eq!(greeted(5, 78), Some(Frame::Bye(Bye::Fenced)), "a copy of the disk as it was before that start");
    until("both are counted", || a.handle.status().refusals(Reason::Fenced) == 2);
    assert!(matches!(greeted(5, 77), Some(Frame::Hello(_))), "the same process may come back");
    until("the link is gone", || !a.handle.status().is_up(0));
    assert_eq!(greeted(4, 77), Some(Frame::Bye(Bye::Fenced)));
    until("it is counted", || a.handle.status().refusals(Reason::Fenced) == 3);
    let why = a.handle.status().refusal(0).expect("it is shown");
    assert!(why.starts_with("fenced: incarnation 5 of it has been seen"), "{why}");
    a.stop();
}

#[test]
fn octets_that_are_no_frame_end_the_link() {
    let root = tempfile::tempdir().unwrap();
    let (a, address) = alone(root.path());
    let keys = root.path().join("keys");
    for greets in [false, true] {
        let last = block_on(async {
            let mut stranger = Stranger::dial(client(&keys, &keys, "b"), address, "a").await.unwrap();
            if greets {
                stranger.say(&Frame::Hello(hello("b", 3, 1))).await;
                assert!(matches!(stranger.hear().await, Some(Frame::Hello(_))));
            }
            stranger.send.write_all(b"\x00\x00\x00\x05GARBAGE AND MORE OF IT").await.unwrap();
            let mut last = None;
            while let Some(frame) = stranger.hear().await {
                last = Some(frame);
            }
            last
        });
        assert!(matches!(last, Some(Frame::Bye(Bye::Garbage | Bye::Version))), "{last:?}");
    }
    let status = a.handle.status();
    until("both are counted", || status.refusals(Reason::Garbage) + status.refusals(Reason::Version) == 2);
    a.stop();
}

#[test]
fn forged_and_replayed_loans_make_no_right() {
    let root = tempfile::tempdir().unwrap();
    let (a, address) = alone(root.path());
    let keys = root.path().join("keys");
    let loan = |request| {
        Frame::Rights(Message::Loan {
            request,
            loan: LoanId { incarnation: 1, number: 1 },
            account: "alice".into(),
            amount: 2,
            sent_at: Instant::from_nanos(u64::MAX),
        })
    };
    block_on(async {
        let mut stranger = Stranger::dial(client(&keys, &keys, "b"), address, "a").await.unwrap();
        stranger.say(&Frame::Hello(hello("b", 3, 1))).await;
        for number in 0..3 {
            stranger.say(&loan(RequestId { incarnation: 1, number })).await;
        }
        stranger.say(&loan(RequestId { incarnation: 9, number: 0 })).await;
        let placed = Message::Placed { account: "nobody".into(), total: 5 };
        stranger.say(&Frame::Rights(placed)).await;
        stranger.say(&Frame::Ping { stamp: Instant::from_millis(77) }).await;
        loop {
            match stranger.hear().await.expect("the link stands") {
                Frame::Pong { stamp, .. } if stamp == Instant::from_millis(77) => break,
                _ => {}
            }
        }
        assert_eq!(a.cell("alice"), (0, 0), "no request was open");
    });
    until("the refusals are counted", || a.handle.status().totals().refused >= 3);
    a.stop();
}

#[test]
fn news_arrives_through_a_slow_path_and_heals_after_a_cut() {
    let root = tempfile::tempdir().unwrap();
    let keys = root.path().join("keys");
    certify(&keys, &["a", "b"]);
    let [at_a, at_b] = places(["a", "b"]);
    let (address_a, address_b) = (at_a.address, at_b.address);
    let path = relay::Relay::start(address_a, address_b, Duration::from_millis(50));
    let a = run(root.path(), &keys, at_a, &[("b", path.towards_b)], &[("alice", 9)], "a");
    let b = run(root.path(), &keys, at_b, &[("a", path.towards_a)], &[("alice", 9)], "a");
    until("they are linked", || a.is_linked() && b.is_linked());
    let knows = |site: &Site, calls: usize| {
        site.ask(Question::Calls { limit: 100 }).unwrap()["rows"].as_array().unwrap().len() == calls
    };
    let began = |index| {
        let call = Token { shard: ShardId(0), slot: Slot { index, generation: 1 }, salt: 9 };
        a.notes.send(Note::Began { account: "alice".into(), call, started: a.clock.now() }).unwrap();
    };
    until("b has asked for what there is", || a.handle.status().lag(0, a.clock.now()) > Duration::from_millis(90));
    let sent = StdInstant::now();
    began(1);
    until("the news is there", || knows(&b, 1));
    let took = sent.elapsed();
    println!("news took {:.2} ms over a path of 50 ms", took.as_secs_f64() * 1e3);
    assert!(took >= Duration::from_millis(50));
    path.cut(true);
    began(2);
    until("both see that the other is silent", || !a.is_linked() && !b.is_linked());
    assert!(b.handle.status().lag(0, b.clock.now()) > Duration::from_secs(1));
    path.cut(false);
    until("the rest arrives", || knows(&b, 2));
    [a, b].into_iter().for_each(Site::stop);
}

#[test]
fn sites_that_mean_different_limits_stay_linked_and_it_is_said() {
    let root = tempfile::tempdir().unwrap();
    let keys = root.path().join("keys");
    certify(&keys, &["a", "b"]);
    let [at_a, at_b] = places(["a", "b"]);
    let (address_a, address_b) = (at_a.address, at_b.address);
    let a = run(root.path(), &keys, at_a, &[("b", address_b)], &[("alice", 8), ("bob", 2)], "a");
    let b = run(root.path(), &keys, at_b, &[("a", address_a)], &[("alice", 8), ("bob", 3)], "a");
    let differs = |site: &Site| site.handle.status().disagreement(0).map(|found| found.to_string());
    until("both have found it", || differs(&a).is_some() && differs(&b).is_some());
    assert_eq!(differs(&a).as_deref(), Some("account \"bob\": limit 3 there, 2 here"));
    assert_eq!(differs(&b).as_deref(), Some("account \"bob\": limit 2 there, 3 here"));
    assert!(a.is_linked() && b.is_linked());
    let links = a.ask(Question::Links).unwrap();
    assert_eq!(
        (&links["rows"][0]["terms"], links["rows"][0]["differs"].is_string()),
        (&"differ".into(), true),
        "{links}"
    );
    assert_eq!(a.account("bob")["sites"][0]["differs"], "limit 3 there, 2 here");
    assert!(a.account("alice")["sites"][0]["differs"].is_null());
    until("alice has her rights as ever", || a.cell("alice").1 == 4 && b.cell("alice").1 == 4);

    let terms = [("alice", 8), ("bob", 2)].map(|(name, limit)| AccountTerms {
        name: name.into(),
        limit,
        home: Some("a".into()),
        cell: std::sync::Arc::clone(&b.cells[name]),
    });
    b.handle.publish(std::sync::Arc::new(Accounts::new(terms.into(), 0)));
    until("they agree after a reload", || differs(&a).is_none() && differs(&b).is_none());
    assert_eq!(a.ask(Question::Links).unwrap()["rows"][0]["terms"], "same");
    [a, b].into_iter().for_each(Site::stop);
}

#[test]
fn a_peer_of_the_version_before_is_not_told_what_it_cannot_read() {
    let root = tempfile::tempdir().unwrap();
    let (a, address) = alone(root.path());
    let keys = root.path().join("keys");
    for (newest, told) in [(2, false), (3, true)] {
        let heard = block_on(async {
            let mut stranger = Stranger::dial(client(&keys, &keys, "b"), address, "a").await.unwrap();
            stranger.say(&Frame::Hello(Hello { oldest: 2, newest, ..hello("b", 3, u32::from(newest)) })).await;
            let (mut heard, mut pings) = (Vec::new(), 0);
            while pings < 2 {
                let frame = stranger.hear().await.expect("the link stands");
                pings += u8::from(matches!(frame, Frame::Ping { .. }));
                heard.push(frame);
            }
            heard
        });
        assert_eq!(heard.iter().any(|frame| matches!(frame, Frame::Terms(_))), told, "{heard:?}");
    }
    let shown = a.handle.status().rows(a.clock.now());
    assert!(shown[0]["terms"].is_null() && shown[0]["differs"].is_null(), "it has not said: {}", shown[0]);
    a.stop();
}

#[test]
fn a_keeper_that_dies_is_known_and_admits_nothing_more() {
    let root = tempfile::tempdir().unwrap();
    let keys = root.path().join("keys");
    certify(&keys, &["a", "b"]);
    let [at_a, nobody] = places(["a", "b"]);
    let site = run(root.path(), &keys, at_a, &[("b", nobody.address)], &[("alice", 2)], "b");
    until("shards may trust the cells", || site.pulse.beats(site.clock.now()));
    assert!(!site.is_dead());
    site.plant_panic();
    let deadline = site.clock.now() + Duration::from_millis(50);
    let call = Slot { index: 7, generation: 1 };
    site.notes.send(Note::Borrow { account: "alice".into(), shard: ShardId(0), call, deadline }).unwrap();
    until("it is known to have died", || site.is_dead());
    until("shards trust the cells no more", || !site.pulse.beats(site.clock.now()));
    assert!(site.handle.is_closed() && site.ask(Question::Links).unwrap_err().contains("has ended"));
}
