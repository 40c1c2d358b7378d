//! A site changes its process while calls stand on its rights: to the others it was away for a moment, and nothing else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use strowger::base::id::Token;
use strowger::base::{ShardId, Slot};
use strowger::control::links::{Question, Reason};
use strowger::tally::{Cell, Note};

use super::site::{Call, Site, until};
use super::{borrow, three, usable};

const LIMIT: u32 = 9;

/// The cells of one account at all sites, read again and again: whenever nothing moved between two readings, no more rights
/// are in use than there are.
struct Watch {
    cells: Arc<Mutex<Vec<Arc<Cell>>>>,
    over: Arc<AtomicBool>,
    readings: Arc<AtomicU64>,
    thread: JoinHandle<u32>,
}

impl Watch {
    fn start(sites: &[Site], account: &str) -> Self {
        let cells = Arc::new(Mutex::new(sites.iter().map(|site| Arc::clone(&site.cells[account])).collect::<Vec<_>>()));
        let (over, readings) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (cells_there, over_there, counted) = (Arc::clone(&cells), Arc::clone(&over), Arc::clone(&readings));
        let thread = std::thread::spawn(move || {
            let mut most = 0;
            while !over_there.load(Relaxed) {
                let cells = cells_there.lock().unwrap();
                let read = || cells.iter().map(|cell| cell.read()).collect::<Vec<_>>();
                let (first, second) = (read(), read());
                if first == second {
                    most = most.max(first.iter().map(|(live, usable)| live.max(usable)).sum());
                    counted.fetch_add(1, Relaxed);
                }
                drop(cells);
                std::thread::yield_now();
            }
            most
        });
        Self { cells, over, readings, thread }
    }

    /// A site has other cells from now on.
    fn replace(&self, at: usize, cell: &Arc<Cell>) {
        self.cells.lock().unwrap()[at] = Arc::clone(cell);
    }

    /// The most rights that were in use at once.
    fn end(self) -> u32 {
        assert!(self.readings.load(Relaxed) > 100, "it has seen something");
        self.over.store(true, Relaxed);
        self.thread.join().unwrap()
    }
}

fn token(index: u32) -> Token {
    Token { shard: ShardId(0), slot: Slot { index, generation: 1 }, salt: 9 }
}

fn began(site: &Site, index: u32) {
    let (call, started) = (token(index), site.clock.now());
    site.notes.send(Note::Began { account: "wide".into(), call, started }).unwrap();
}

fn calls_of(site: &Site, of: &str) -> usize {
    let told = site.ask(Question::Calls { limit: 100 }).unwrap();
    told["rows"].as_array().unwrap().iter().filter(|row| row["site"] == of).count()
}

/// As many calls as there can be at a site: on its own rights, then on those of the others.
fn fill(site: &Site) -> Vec<Call> {
    let mut calls: Vec<Call> =
        std::iter::from_fn(|| site.cells["wide"].admit()).map(|permit| ("wide", permit)).collect();
    until("all rights are in use there", || {
        if (calls.len() as u32) < LIMIT {
            calls.extend(borrow(site, "wide").map(|permit| ("wide", permit)));
        }
        calls.len() as u32 == LIMIT
    });
    calls
}

/// Nobody has been taken for a copy, nor for a later start.
fn are_as_they_were(sites: &[Site]) {
    for site in sites {
        let status = site.handle.status();
        assert_eq!((site.handle.me().incarnation, status.refusals(Reason::Fenced)), (1, 0));
        assert!(
            status.rows(site.clock.now()).iter().all(|row| row["incarnation"] == 1),
            "{:?}",
            status.rows(site.clock.now())
        );
    }
}

fn longest_loan(site: &Site) -> f64 {
    let told = site.account("wide");
    let left = told["loans_in"].as_array().unwrap().iter().filter_map(|loan| loan["left_s"].as_f64());
    left.fold(0.0, f64::max)
}

#[test]
fn sites_change_their_processes_under_calls_on_borrowed_rights() {
    let root = tempfile::tempdir().unwrap();
    let mut sites = Vec::from(three(root.path(), &[("wide", LIMIT), ("narrow", 2)]));
    until("each site has its share", || sites.iter().all(|site| site.cell("wide").1 == 3));
    let watch = Watch::start(&sites, "wide");
    let mut calls = fill(&sites[1]);
    (0..LIMIT).for_each(|index| began(&sites[1], index));
    until("a knows the calls of b", || calls_of(&sites[0], "b") == 9);
    assert!(sites[1].account("wide")["borrowed"].as_u64() >= Some(4), "{}", sites[1].account("wide"));
    let mut told = LIMIT;
    // The borrower, the home, a lender; the borrower again.
    for at in [1, 0, 2, 1] {
        let site = sites.remove(at);
        if at == 1 {
            // Said just before its shards stand still.
            began(&site, told);
            told += 1;
        }
        let before = site.cell("wide");
        let of_site: &mut [Call] = if at == 1 { &mut calls } else { &mut [] };
        let seen = |cells: &HashMap<&str, Arc<Cell>>| {
            assert_eq!(cells["wide"].read(), before, "what it had, it has: no hold, and nothing given back");
            watch.replace(at, &cells["wide"]);
        };
        let site = site.take_over(of_site, seen);
        until("shards may trust the cells", || site.pulse.beats(site.clock.now()));
        assert!(site.cell("wide").1 >= before.0, "a right under each call");
        sites.insert(at, site);
        until("all are linked again", || sites.iter().all(Site::is_linked));
        are_as_they_were(&sites);
        until("all know the calls of b", || sites.iter().all(|site| calls_of(site, "b") == told as usize));
    }
    assert_eq!(sites[1].cell("wide"), (LIMIT, LIMIT));
    let mut left = longest_loan(&sites[1]);
    until("its loans are renewed", || {
        let before = std::mem::replace(&mut left, longest_loan(&sites[1]));
        left > before
    });
    until("the home has its small limit still", || sites[0].cell("narrow").1 == 2);
    drop(calls);
    let is_home = |site: &Site| {
        let told = site.account("wide");
        told["base"] == 3 && told["lent"] == 0 && told["borrowed"] == 0 && told["live"] == 0
    };
    until("every right is home", || sites.iter().all(is_home));
    assert_eq!(usable(&sites, "wide"), LIMIT);
    let permit = borrow(&sites[2], "narrow").expect("rights move as ever");
    drop(permit);
    assert_eq!(watch.end(), LIMIT, "never more than the limit, and all of it");
    sites.into_iter().for_each(Site::stop);
}

#[test]
fn a_change_of_process_that_fails_leaves_the_site_whole() {
    let root = tempfile::tempdir().unwrap();
    let sites = three(root.path(), &[("wide", LIMIT)]);
    until("each site has its share", || sites.iter().all(|site| site.cell("wide").1 == 3));
    let watch = Watch::start(&sites, "wide");
    let [a, b, c] = &sites;
    let calls = fill(b);
    let connections = |site: &Site| site.handle.status().rows(site.clock.now())[0]["connections"].as_u64();
    for _ in 0..2 {
        let before = connections(a);
        b.fail_to_take_over();
        until("it is linked again", || connections(a) > before && [a, b, c].iter().all(|site| site.is_linked()));
        until("shards may trust the cells", || b.pulse.beats(b.clock.now()));
        assert_eq!(b.cell("wide"), (LIMIT, LIMIT));
        are_as_they_were(&sites);
    }
    // It had only said goodbye.
    drop(b.links.as_ref().unwrap().rest().unwrap());
    until("it is linked again", || sites.iter().all(Site::is_linked));
    began(b, 1);
    until("a hears of its calls", || calls_of(a, "b") == 1);
    drop(calls);
    until("every right is home", || sites.iter().all(|site| site.cell("wide") == (0, 3)));
    assert_eq!(watch.end(), LIMIT);
    sites.into_iter().for_each(Site::stop);
}

#[test]
fn an_account_that_the_new_process_lacks_keeps_its_rights_under_its_calls() {
    let root = tempfile::tempdir().unwrap();
    let mut sites = Vec::from(three(root.path(), &[("wide", LIMIT), ("narrow", 2)]));
    until("each site has its share", || sites.iter().all(|site| site.cell("wide").1 == 3));
    let watch = Watch::start(&sites, "wide");
    let mut calls = fill(&sites[1]);
    let mut b = sites.remove(1);
    b.forget("wide");
    let b = b.take_over(&mut calls, |cells| watch.replace(1, &cells["wide"]));
    sites.insert(1, b);
    until("all are linked again", || sites.iter().all(Site::is_linked));
    assert_eq!(sites[1].cell("wide").0, LIMIT, "its calls are up");
    assert!(sites[1].cells["wide"].admit().is_none(), "and no new one begins");
    drop(calls);
    until("every right has gone to the others", || {
        sites[1].cell("wide") == (0, 0) && sites[0].cell("wide").1 + sites[2].cell("wide").1 == LIMIT
    });
    assert_eq!(watch.end(), LIMIT);
    sites.into_iter().for_each(Site::stop);
}
