//! What the control plane's tasks share, and how they reach shards and the supervisor.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};
use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::limits::Desk;
use super::links::Handle;
use super::log::LogSettings;
use super::records::RecordStatus;
use super::token::Bearer;
use crate::base::{ShardId, Source};
use crate::observe::Counters;
use crate::shard::mailbox::{Answer, Mail, Query};

/// How letters reach shards: a bounded queue and a waker for each.
pub trait Post: Send + Sync + 'static {
    /// How many shards there are.
    fn shards(&self) -> u8;

    /// Delivers; false when the queue is full or the shard is gone.
    fn post(&self, to: ShardId, mail: Mail) -> bool;
}

/// How long shards have to answer.
pub const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// What the supervisor (the main thread) is asked to do. Every reply has one sentence for a person on failure.
#[derive(Debug)]
pub enum Request {
    /// Read the configuration again; the reply is the printed diff.
    Reload(Sender<Result<Vec<String>, String>>),
    /// Take no new calls; with `stop`, end once they are gone or `node.drain_timeout` has passed.
    Drain {
        /// End afterwards.
        stop: bool,
    },
    /// Take new calls again; refused once it is ending.
    Undrain(Sender<Result<(), String>>),
    /// Another process asks for everything: what it said, and where the conversation goes on.
    TakeOver {
        /// The connection.
        stream: UnixStream,
        /// Its first line.
        asked: serde_json::Value,
    },
    /// SIGUSR2: start the program anew, to take over.
    Upgrade,
    /// SIGTERM, SIGINT: drain, then stop; a second one stops at once.
    Terminate,
}

/// Requests waiting for the supervisor.
pub const REQUESTS_MAX: usize = 64;

/// Totals of the control plane, over all processes that have followed each other with the same calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Call records on disk.
    pub records_written: u64,
    /// Call records lost for ever.
    pub records_lost: u64,
    /// Lines that standard error refused.
    pub log_lines_lost: u64,
}

/// Shared by HTTP and the Unix socket.
pub struct State {
    /// `node.name`.
    pub node: String,
    /// The driver that was chosen.
    pub backend: String,
    /// `xdp`, or why not in a word.
    pub fast_path: String,
    /// Limits, and the links to other sites.
    pub limits: Desk,
    /// The admin token.
    pub bearer: Bearer,
    /// One for each shard.
    pub counters: Vec<Arc<Counters>>,
    /// The way to the shards.
    pub post: Arc<dyn Post>,
    /// The shards' clock.
    pub clock: Clock,
    /// What the log does.
    pub log: Arc<LogSettings>,
    /// What the record writer does.
    pub records: Arc<RecordStatus>,
    /// Of the processes before.
    pub before: Totals,
    /// To the supervisor.
    pub requests: Sender<Request>,
    /// All sockets are open.
    pub started: AtomicBool,
    /// No new calls.
    pub draining: AtomicBool,
    /// Every shard answered the supervisor's last round.
    pub shards_answer: AtomicBool,
}

impl State {
    /// Why this node should get no new calls; empty when it is ready.
    #[must_use]
    pub fn unready(&self) -> Vec<String> {
        let mut why = Vec::new();
        if !self.started.load(Relaxed) {
            why.push("starting".to_owned());
        }
        if self.draining.load(Relaxed) {
            why.push("draining".to_owned());
        }
        if !self.shards_answer.load(Relaxed) {
            why.push("a shard does not answer".to_owned());
        }
        if self.limits.links.as_ref().is_some_and(Handle::is_closed) {
            why.push("the keeper of the rights has ended".to_owned());
        }
        let (spooled, most) = (self.records.spooled.load(Relaxed), self.records.spool_max.load(Relaxed));
        if let Some(failing) = self.records.failing()
            && spooled >= most / 2
        {
            why.push(format!("call records cannot be written and the spool fills ({spooled} of {most}): {failing}"));
        }
        why
    }

    /// What deserves a look although the node is ready.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let records = self.records.failing().map(|why| format!("call records cannot be written: {why}"));
        let ledger = self.limits.links.as_ref().and_then(|links| links.ledger().failing());
        let ledger = ledger.map(|why| format!("the ledger cannot be written, no right is lent or placed: {why}"));
        let links = self.limits.links.iter().map(Handle::status);
        let peers = links.flat_map(|status| status.peers.iter().enumerate().map(move |(at, peer)| (status, at, peer)));
        let of_links = peers.flat_map(|(status, at, peer)| {
            let differs = status.disagreement(at);
            let differs = differs.map(|found| format!("{} has other limits in its configuration: {found}", peer.name));
            let refused = status.refusal(at).map(|why| format!("no link to {}, {why}", peer.name));
            differs.into_iter().chain(refused)
        });
        records.into_iter().chain(ledger).chain(of_links).collect()
    }

    /// So far, with the processes before.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            records_written: self.before.records_written + self.records.written.load(Relaxed),
            records_lost: self.before.records_lost + self.records.lost.load(Relaxed),
            log_lines_lost: self.before.log_lines_lost + self.log.lost.load(Relaxed),
        }
    }

    /// What the next process goes on from: records that wait here are written by this one after it has said its last.
    #[must_use]
    pub fn totals_to_hand_on(&self) -> Totals {
        let (waiting, totals) = (self.records.spooled.load(Relaxed), self.totals());
        Totals { records_written: totals.records_written + waiting, ..totals }
    }

    /// Asks every shard and waits, bounded. Blocks: not for the runtime's thread.
    #[must_use]
    pub fn ask(&self, query: Query) -> Answers {
        ask(self.post.as_ref(), query, ANSWER_WAIT)
    }

    /// Asks the shards one after the other until one answers, for what every shard knows. Blocks.
    #[must_use]
    pub fn ask_any(&self, query: Query) -> Answers {
        for shard in (0..self.post.shards()).map(ShardId) {
            let (reply, receiver) = bounded(1);
            if self.post.post(shard, Mail::Query { query, reply })
                && let Ok(answer) = receiver.recv_timeout(ANSWER_WAIT)
            {
                return Answers { answers: vec![answer], missing: 0 };
            }
        }
        Answers { answers: Vec::new(), missing: usize::from(self.post.shards()) }
    }
}

/// What the shards said.
#[derive(Debug, Default)]
pub struct Answers {
    /// In the order they came.
    pub answers: Vec<Answer>,
    /// Shards that did not answer in time.
    pub missing: usize,
}

/// Asks every shard at once; each answers in its own time, together within `wait`.
#[must_use]
pub fn ask(post: &dyn Post, query: Query, wait: Duration) -> Answers {
    let shards = post.shards();
    let (reply, receiver) = bounded(usize::from(shards).max(1));
    let asked =
        (0..shards).filter(|&shard| post.post(ShardId(shard), Mail::Query { query, reply: reply.clone() })).count();
    drop(reply);
    let answers = collect(&receiver, asked, Instant::now() + wait);
    Answers { missing: usize::from(shards) - answers.len(), answers }
}

fn collect(receiver: &Receiver<Answer>, count: usize, deadline: Instant) -> Vec<Answer> {
    let mut answers = Vec::with_capacity(count);
    while answers.len() < count
        && let Ok(answer) = receiver.recv_deadline(deadline)
    {
        answers.push(answer);
    }
    answers
}

/// Tells the shard that owns `call` to end it. The error is a sentence for a person.
///
/// # Errors
/// No such call, or no answer.
pub fn hangup(post: &dyn Post, call: crate::observe::CallId) -> Result<(), String> {
    let shard = call.0.shard;
    if shard.0 >= post.shards() {
        return Err(format!("no call {call}"));
    }
    let (reply, receiver) = bounded(1);
    if !post.post(shard, Mail::Hangup { call, reply }) {
        return Err(format!("shard {} is too busy to be told; try again", shard.0));
    }
    match receiver.recv_timeout(ANSWER_WAIT) {
        Ok(Answer::Hangup { found: true }) => Ok(()),
        Ok(_) => Err(format!("no call {call}; `strowger show calls` lists them")),
        Err(_) => Err(format!("shard {} does not answer", shard.0)),
    }
}

/// Has the shards do no more about a source. The error is a sentence for a person.
///
/// # Errors
/// Nothing is done about it, or no answer.
pub fn unblock(post: &dyn Post, source: Source) -> Result<(), String> {
    let (reply, receiver) = bounded(1);
    if !post.post(ShardId(0), Mail::Unblock { source, reply }) {
        return Err("shard 0 is too busy to be told; try again".to_owned());
    }
    match receiver.recv_timeout(ANSWER_WAIT) {
        Ok(Answer::Unblock { found: true }) => Ok(()),
        Ok(_) => Err(format!("{source} is neither blocked nor muted; `strowger show blocked` lists who is")),
        Err(_) => Err("shard 0 does not answer".to_owned()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::Config;
    use crate::control::links::{AccountTerms, Accounts};
    use crate::shard::mailbox::ShardInfo;
    use crate::tally::Cell;

    /// Two shards that answer at once; the second one may be deaf.
    pub struct Answering {
        pub deaf: AtomicBool,
    }

    impl Post for Answering {
        fn shards(&self) -> u8 {
            2
        }

        fn post(&self, to: ShardId, mail: Mail) -> bool {
            match mail {
                Mail::Query { reply, .. } if to.0 == 1 && self.deaf.load(Relaxed) => {
                    std::mem::forget(reply);
                    true
                }
                Mail::Query { query: Query::Shard, reply } => {
                    reply.send(Answer::Shard(ShardInfo { shard: to.0, calls: 4, ..ShardInfo::default() })).is_ok()
                }
                Mail::Query { query: Query::Calls { .. }, reply } => reply.send(Answer::Calls(Vec::new())).is_ok(),
                Mail::Query { query: Query::Trunks, reply } => {
                    let address = ([192, 0, 2, 1], 5060).into();
                    let (name, calls, calls_max) = ("a".to_owned(), None, None);
                    let trunk = crate::shard::mailbox::TrunkInfo {
                        name,
                        address,
                        transport: "udp",
                        calls,
                        calls_max,
                        resting: false,
                    };
                    reply.send(Answer::Trunks(vec![trunk])).is_ok()
                }
                Mail::Query { reply, .. } => reply.send(Answer::Registrations(Vec::new())).is_ok(),
                Mail::Unblock { source, reply } => {
                    reply.send(Answer::Unblock { found: source == Source::of([192, 0, 2, 7].into()) }).is_ok()
                }
                Mail::Hangup { call, reply } => reply.send(Answer::Hangup { found: call.0.salt == 1 }).is_ok(),
                _ => true,
            }
        }
    }

    /// A state with two shards, and what the supervisor would receive.
    pub fn state() -> (Arc<State>, Receiver<Request>) {
        let config = Config::default();
        let (requests, receiver) = bounded(REQUESTS_MAX);
        let records = Arc::new(RecordStatus::default());
        records.spool_max.store(100, Relaxed);
        let alice = AccountTerms { name: "alice".into(), limit: 3, home: None, cell: Cell::new(3) };
        let accounts = Accounts::new(vec![alice], 0);
        let state = State {
            node: "n".into(),
            backend: "epoll".into(),
            fast_path: "off".into(),
            limits: Desk::new(Arc::new(accounts), None),
            bearer: Bearer::new("secret"),
            counters: vec![Arc::default(), Arc::default()],
            post: Arc::new(Answering { deaf: AtomicBool::new(false) }),
            clock: Clock::new(Instant::now()),
            log: Arc::new(LogSettings::new(&config.log)),
            records,
            before: Totals { records_written: 5, records_lost: 1, log_lines_lost: 2 },
            requests,
            started: AtomicBool::new(true),
            draining: AtomicBool::new(false),
            shards_answer: AtomicBool::new(true),
        };
        (Arc::new(state), receiver)
    }

    #[test]
    fn a_deaf_shard_is_missed_and_the_others_are_heard() {
        let post = Answering { deaf: AtomicBool::new(true) };
        let answers = ask(&post, Query::Shard, Duration::from_millis(20));
        assert_eq!((answers.answers.len(), answers.missing), (1, 1));
    }

    #[test]
    fn totals_go_on_from_the_process_before() {
        let (state, _requests) = state();
        state.records.written.store(10, Relaxed);
        state.records.spooled.store(3, Relaxed);
        let now = Totals { records_written: 15, records_lost: 1, log_lines_lost: 2 };
        assert_eq!(state.totals(), now);
        assert_eq!(state.totals_to_hand_on(), Totals { records_written: 18, ..now });
    }

    #[test]
    fn readiness_says_why_not() {
        let (state, _requests) = state();
        assert_eq!(state.unready(), Vec::<String>::new());
        state.draining.store(true, Relaxed);
        assert_eq!(state.unready(), ["draining"]);
    }
}
